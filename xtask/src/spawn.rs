//! Spawns cargo and other programs in the root of the repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// Returns a command that runs a program in the root of the repository.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // cargo has set variables that describe xtask, such as `CARGO_PKG_NAME`. Do not pass them to a nested cargo: if the
    // build script of a package reads one of them, the nested cargo would see a changed value and build the package
    // again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let about_xtask = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if about_xtask.iter().any(|it| text.starts_with(it)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started xtask, or the one on the path.
pub(crate) struct Cargo;

impl Cargo {
    /// A cargo command.
    pub(crate) fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments);
        command
    }

    /// Whether an optional subcommand such as nextest is installed.
    pub(crate) fn has(subcommand: &str) -> bool {
        let mut probe = Self::command([subcommand, "--version"]);
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    }

    /// Returns the metadata of the packages in the workspace. Cargo reads only the manifests, without the network and
    /// without `Cargo.lock`.
    pub(crate) fn metadata() -> Result<Value, String> {
        let output = Self::command(["metadata", "--format-version", "1", "--no-deps"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err("cargo metadata failed; fix the manifest that it names above".to_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata is not JSON: {error}"))
    }

    /// The target directory.
    pub(crate) fn target_directory() -> Result<PathBuf, String> {
        let metadata = Self::metadata()?;
        let directory = metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
        Ok(PathBuf::from(directory))
    }
}

/// The outcome of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    code: u8,
}

impl Ended {
    pub(crate) const fn is_success(self) -> bool {
        self.code == 0
    }
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(ended.code)
    }
}

/// Runs a command and waits for it.
pub(crate) fn run(command: &mut Command) -> Ended {
    match command.status() {
        // A program that a signal has killed has no exit code. Use 1 instead.
        Ok(status) => Ended { code: status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1)) },
        Err(error) => {
            eprintln!("xtask: cannot run {}: {error}", command.get_program().display());
            Ended { code: 1 }
        }
    }
}

/// Prints the command and runs it. A reader of the output can then repeat the command.
pub(crate) fn show_and_run(command: &mut Command) -> Ended {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let line: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    eprintln!("$ {}", line.join(" "));
    run(command)
}
