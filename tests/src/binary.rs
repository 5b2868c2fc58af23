//! Builds the programs under test, and returns their paths. The programs are `hubward` and the examples of the façade
//! crate `hubward`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the path of the program `hubward`. Builds it with its default features, in the profile of the running test.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn hubward() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build("hubward-cli", "--bin", "hubward", ""))
}

/// The façade's example `quickstart`: the program of the README.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn quickstart_example() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| example("quickstart"))
}

/// An example of the façade.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    build("hubward", "--example", name, "examples")
}

/// The root of the repository.
///
/// # Panics
/// Never: this package is inside the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is inside the repository")
}

/// Builds a program and returns its path. Runs `cargo build` even if the program exists, because only cargo can tell
/// whether the program is up to date.
///
/// cargo-nextest runs each test in a process of its own. The first test builds the program and stores the ID of the
/// nextest run in a file. Later tests find the ID and do not build again.
fn build(package: &str, kind: &str, name: &str, folder: &str) -> PathBuf {
    // The test is in `target/PROFILE/deps`. With a target triple, it is in `target/TRIPLE/PROFILE/deps`.
    let test = std::env::current_exe().expect("the path of the test");
    let deps = test.parent().expect("the folder of the test");
    let profile_dir = if deps.ends_with("deps") { deps.parent().expect("the folder of the profile") } else { deps };
    let profile = match profile_dir.file_name().and_then(|it| it.to_str()).expect("the name of the profile") {
        "debug" => "dev",
        other => other,
    };
    let path = profile_dir.join(folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let stamp = profile_dir.join(format!("{name}.nextest-run"));
    if path.is_file() && run.is_some() && std::fs::read_to_string(&stamp).ok() == run {
        return path;
    }
    let mut target_dir = profile_dir.parent().expect("the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if !target_dir.join("CACHEDIR.TAG").exists()
        && target_dir.parent().is_some_and(|it| it.join("CACHEDIR.TAG").exists())
    {
        let triple = target_dir.file_name().expect("a triple");
        cargo.arg("--config").arg(format!("build.target={:?}", triple.to_string_lossy()));
        target_dir = target_dir.parent().expect("the parent, checked above");
    }
    cargo
        .current_dir(repository())
        .args(["build", "--quiet", "--package", package, kind, name, "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir);
    // cargo has set variables that describe this package, such as `CARGO_PKG_NAME`. Do not pass them to the nested
    // cargo: if a build script reads such a variable, the nested cargo would see a changed value and run the script
    // again.
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if ours.iter().any(|it| text.starts_with(it)) {
            cargo.env_remove(&variable);
        }
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{package} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(path.is_file(), "{} does not exist after the build", path.display());
    if let Some(run) = run {
        std::fs::write(&stamp, run).expect("the target directory can be written");
    }
    path
}
