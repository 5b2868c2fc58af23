//! Tests the image without a container engine: umoci unpacks it, and bubblewrap starts it in its own namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::{Inputs, tools};

/// The script that uses the running image.
const SCRIPT: &str = "xtask/src/dist/image/use_image.sh";

/// Unpacks the image, and starts its entry point as the user of the image. Then checks the health of the emulator,
/// registers a device, and stops the emulator.
///
/// If this machine does not permit user namespaces, only checks that the program starts with the libraries of the
/// image.
pub(super) fn test(inputs: &Inputs<'_>, packages: &[PathBuf]) -> Result<(), String> {
    let [archive] = packages else { return Err("there is not exactly one image".to_owned()) };
    let layout = inputs.scratch.join("layout");
    tools::make_folder(&layout)?;
    tools::run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&layout))?;
    // umoci is a program of another project. It checks the digests, and that the files follow the OCI specification.
    let bundle = inputs.scratch.join("bundle");
    let image = format!("{}:{}", layout.display(), inputs.version);
    tools::run(Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle))?;
    let config: Value = serde_json::from_str(&tools::read(&bundle.join("config.json"))?)
        .map_err(|error| format!("umoci wrote a config.json that is not JSON: {error}"))?;
    let process = Process::read(&config["process"])?;

    let root = bundle.join("rootfs");
    if let Some(reason) = namespaces_are_refused()? {
        println!("skipped: the image is not started, because this machine refuses user namespaces: {reason}");
        return start_with_own_libraries(&root, &process);
    }
    start_in_namespaces(inputs.scratch, &root, &process)
}

/// The process that the image describes.
#[derive(Debug)]
struct Process {
    entrypoint: Vec<String>,
    variables: Vec<(String, String)>,
    user: u64,
}

impl Process {
    /// Reads the member `process` of an OCI runtime configuration.
    fn read(value: &Value) -> Result<Self, String> {
        let words = |name: &str| -> Vec<String> {
            let words = value[name].as_array().into_iter().flatten();
            words.filter_map(|it| it.as_str().map(str::to_owned)).collect()
        };
        let variables = words("env");
        let variables = variables.iter().filter_map(|it| it.split_once('='));
        let user = value["user"]["uid"].as_u64().filter(|it| *it != 0).ok_or("the image runs as root")?;
        let entrypoint = words("args");
        if entrypoint.is_empty() {
            return Err("the image has no entry point".to_owned());
        }
        Ok(Self {
            entrypoint,
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            user,
        })
    }
}

/// Returns the reason if this machine does not permit the namespaces.
fn namespaces_are_refused() -> Result<Option<String>, String> {
    let mut probe = network();
    probe.args(["--", "bwrap", "--unshare-user", "--ro-bind", "/", "/", "--", "true"]);
    let ended = tools::outcome(&mut probe)?;
    let reason = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Ok((!ended.status.success()).then_some(reason))
}

/// Returns a bubblewrap command without a program. The program that the caller adds has its own network and its own
/// process ids. When the command ends, all its processes end.
fn network() -> Command {
    let mut bwrap = Command::new("bwrap");
    bwrap.args(["--unshare-user", "--uid", "0", "--gid", "0", "--unshare-net", "--unshare-pid", "--cap-add", "ALL"]);
    bwrap.args(["--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc"]);
    bwrap
}

fn start_in_namespaces(scratch: &Path, root: &Path, process: &Process) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let script = crate::spawn::root().join(SCRIPT);
    let user = process.user.to_string();
    let mut command = network();
    command.env_clear().envs(process.variables.iter().map(|(name, value)| (name, value)));
    command.env("ENTRYPOINT", process.entrypoint.join(" "));
    command.args(["--", "/bin/sh"]).arg(script).arg(scratch).args([path.as_str(), "TERM"]);
    // The script adds the program of the image to this command. The program sees only the files of the image.
    command.args(["bwrap", "--unshare-user", "--uid", &user, "--gid", &user, "--unsetenv", "ENTRYPOINT"]);
    command.arg("--bind").arg(root).arg("/").args(["--ro-bind", "/proc", "/proc", "--dev", "/dev", "--chdir", "/"]);
    let printed = tools::text(&mut command)?;
    if printed.contains(r#""acknowledged":3"#) {
        println!("the image registered a device, and its hub acknowledged 3 messages");
        return Ok(());
    }
    Err(format!("the device did not send three messages:\n{printed}"))
}

/// Starts the program with the loader and the libraries of the image, without namespaces. If the image contains no
/// loader, starts the program alone.
fn start_with_own_libraries(root: &Path, process: &Process) -> Result<(), String> {
    let library = |file: &Path| file.file_name().is_some_and(|it| it.to_string_lossy().contains(".so"));
    let found = tools::text(Command::new("find").arg(root).args(["-type", "f", "-name", "*.so*"]))?;
    let found: Vec<&Path> = found.lines().map(Path::new).filter(|it| library(it)).collect();
    let loader = found.iter().find(|it| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("ld-")));
    let program = root.join(process.entrypoint[0].trim_start_matches('/'));
    let Some(loader) = loader else { return tools::run(Command::new(program).arg("--version")) };
    let folders: Vec<String> = found.iter().filter_map(|it| Some(it.parent()?.display().to_string())).collect();
    tools::run(
        Command::new(loader)
            .args(["--inhibit-cache", "--library-path", &folders.join(":")])
            .arg(program)
            .arg("--version"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_process_of_an_image() {
        let value = json!({"args": ["/usr/bin/a", "b"], "env": ["A=1=2"], "user": {"uid": 65532, "gid": 65532}});
        let process = Process::read(&value).expect("valid");
        assert_eq!(process.entrypoint, ["/usr/bin/a", "b"]);
        assert_eq!(process.variables, [("A".to_owned(), "1=2".to_owned())]);
        assert_eq!(process.user, 65532);
        let root = json!({"args": ["/usr/bin/a"], "env": [], "user": {"uid": 0, "gid": 0}});
        assert_eq!(Process::read(&root).expect_err("root"), "the image runs as root");
    }
}
