//! Answers a direct method by running a program. The program reads the payload of the call as JSON from its standard
//! input, and writes the payload of the answer as JSON to its standard output.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use hubward::limits;
use serde::de::IgnoredAny;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::failure::Failure;
use crate::process_group::{self, ProcessGroup};

/// Time limit for reading the output of a program after the program has ended.
const READ_AFTER_EXIT: Duration = Duration::from_millis(500);

/// The program to run for each call.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    limit: Duration,
}

/// The answer to a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CallResult {
    pub(super) status: i32,
    /// JSON, or empty.
    pub(super) body: Vec<u8>,
    /// Why the program did not produce a valid answer.
    pub(super) problem: Option<String>,
}

impl Program {
    /// Finds the program at `path`. Looks up a name without a folder in `PATH`.
    ///
    /// # Errors
    /// If the program does not exist or is not executable.
    pub(super) fn find(path: &Path, arguments: &[OsString], limit: Duration) -> Result<Self, Failure> {
        let named = path.components().count() == 1 && !path.is_absolute();
        let found = if named {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|it| runs(&it.join(path)))
        } else {
            runs(path)
        };
        if !found {
            return Err(Failure::usage(format!("--exec {}: there is no such executable program", path.display()))
                .hint("name an executable program, such as ./answer.sh; put its arguments after --"));
        }
        // Make a relative path absolute now, so that every call runs the program that was found here.
        let path = if named { path.to_owned() } else { std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) };
        Ok(Self { path, arguments: arguments.to_vec(), limit })
    }

    /// Runs the program for one method call.
    ///
    /// If the program reaches its time limit, or if the caller drops the future, kills the program and all processes
    /// that the program has started.
    pub(super) async fn call(&self, method: &str, payload: &[u8]) -> CallResult {
        // The cloud chooses the method name. Refuse a name that begins with `-`, because the program would read it as
        // an option.
        if method.starts_with('-') {
            return CallResult::failed(404, "a method name that begins with - is not passed to the program".to_owned());
        }
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .arg(method)
            .env("HUBWARD_METHOD", method)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in std::env::vars_os() {
            if holds_secret(&name.to_string_lossy(), &value.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        let late = || CallResult::failed(504, format!("the program took longer than {:?} and was killed", self.limit));
        let deadline = Instant::now() + self.limit;
        let (mut child, mut group) = match timeout_at(deadline, process_group::start(command)).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return CallResult::failed(500, format!("the program does not start: {error}")),
            Err(_) => return late(),
        };
        let outcome = timeout_at(deadline, exchange(&mut child, &mut group, payload)).await;
        if !matches!(outcome, Ok(Ok(_))) {
            group.kill();
            // Ignore an error: the program may already have ended.
            let _ = child.kill().await;
        }
        match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => CallResult::failed(500, format!("the output of the program cannot be read: {error}")),
            Err(_) => late(),
        }
    }
}

/// Returns whether an environment variable probably holds a key, a connection string or a token. Checks the name and
/// the value.
///
/// The program must not inherit a variable with a credential.
fn holds_secret(name: &str, value: &str) -> bool {
    const NAMED: [&str; 7] = [
        "SYMMETRIC_KEY",
        "SECONDARY_KEY",
        "GROUP_KEY",
        "CONNECTION_STRING",
        "SAS_TOKEN",
        "BEARER_TOKEN",
        "PASS_PHRASE",
    ];
    const FORMS: [&str; 2] = ["sharedaccesskey=", "sharedaccesssignature"];
    let (name, value) = (name.to_ascii_uppercase(), value.to_ascii_lowercase());
    NAMED.iter().any(|it| name.contains(it)) || FORMS.iter().any(|it| value.contains(it))
}

/// Whether the file exists and is executable.
fn runs(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else {
        // Windows adds the extension `.exe` when it starts a program.
        return cfg!(windows) && path.with_extension("exe").is_file();
    };
    #[cfg(unix)]
    let may_run = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let may_run = true;
    metadata.is_file() && may_run
}

/// Writes the payload to the standard input of the program, and reads the answer from its standard output.
async fn exchange(child: &mut Child, group: &mut ProcessGroup, payload: &[u8]) -> std::io::Result<CallResult> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut body = Vec::new();
    let ended = {
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program may close its input without reading it. That is not an error.
                let _ = stdin.write_all(payload).await;
            }
        };
        let read = async {
            if let Some(stdout) = stdout {
                stdout.take(limits::METHOD_PAYLOAD_MAX as u64 + 1).read_to_end(&mut body).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let mut transfer = pin!(async { tokio::join!(write, read).1 });
        tokio::select! {
            biased;
            done = &mut transfer => {
                done?;
                None
            }
            ended = child.wait() => {
                group.release();
                // The program has ended. A process that it left in the background may keep the output open, for example
                // a process that reboots the machine after the answer is sent. So do not wait until the output is
                // closed. A short limit is enough, because the pipe already contains all output of the program itself.
                if let Ok(done) = timeout(READ_AFTER_EXIT, transfer).await {
                    done?;
                }
                Some(ended?)
            }
        }
    };
    if body.len() > limits::METHOD_PAYLOAD_MAX {
        group.kill();
        child.kill().await?;
        return Ok(CallResult::failed(500, format!("the answer has more than {} bytes", limits::METHOD_PAYLOAD_MAX)));
    }
    let ended = match ended {
        Some(ended) => ended,
        None => {
            let ended = child.wait().await?;
            group.release();
            ended
        }
    };
    body.truncate(body.trim_ascii_end().len());
    if !body.is_empty() && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
        return Ok(CallResult::failed(500, "the program's answer is not JSON".to_owned()));
    }
    if ended.success() {
        return Ok(CallResult { status: 200, body, problem: None });
    }
    let problem = format!("the program ended with {ended}");
    if body.is_empty() {
        return Ok(CallResult::failed(500, problem));
    }
    Ok(CallResult { status: 500, body, problem: Some(problem) })
}

impl CallResult {
    fn failed(status: i32, problem: String) -> Self {
        let body = serde_json::json!({ "error": problem }).to_string().into_bytes();
        Self { status, body, problem: Some(problem) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, limit: Duration) -> Program {
        Program::find(Path::new("sh"), &["-c".into(), script.into(), "sh".into()], limit).expect("a shell exists")
    }

    async fn call(script: &str, payload: &str) -> (i32, String, bool) {
        let CallResult { status, body, problem } = shell(script, LONG).call("reboot", payload.as_bytes()).await;
        (status, String::from_utf8(body).expect("text"), problem.is_some())
    }

    #[tokio::test]
    async fn the_program_gets_name_and_payload_and_returns_an_answer() {
        let echo = r#"printf '{"payload": %s, "name": "%s %s"}\n' "$(cat)" "$1" "$HUBWARD_METHOD""#;
        let answer = r#"{"payload": {"in": 5}, "name": "reboot reboot"}"#;
        assert_eq!(call(echo, r#"{"in": 5}"#).await, (200, answer.into(), false));
        assert_eq!(call("true", "1").await, (200, String::new(), false));
    }

    #[tokio::test]
    async fn a_failing_program_returns_status_500() {
        assert_eq!(call("cat; exit 3", "[1]").await, (500, "[1]".into(), true));
        for (script, says) in [
            ("exit 3", "exit status: 3"),
            ("echo no json", "not JSON"),
            ("head -c 131073 /dev/zero", "131072 bytes"),
            ("yes", "131072 bytes"),
        ] {
            let (status, body, problem) = call(script, "null").await;
            assert!(status == 500 && body.contains(says) && problem, "{script}: {status} {body}");
        }
    }

    #[tokio::test]
    async fn a_background_process_does_not_delay_the_answer() {
        let (folder, script) = (tempfile::tempdir().expect("a folder"), "sleep 1000 & echo $! > \"$0\"; echo '{}'");
        let file = folder.path().join("id");
        let arguments = ["-c".into(), script.into(), file.clone().into_os_string()];
        let program = Program::find(Path::new("sh"), &arguments, LONG).expect("there is a shell");
        let result = program.call("reboot", b"").await;
        assert_eq!((result.status, result.body, result.problem), (200, b"{}".to_vec(), None));
        let id = std::fs::read_to_string(file).expect("it ran");
        let ended = std::process::Command::new("kill").arg(id.trim()).status();
        assert!(ended.is_ok_and(|it| it.success()), "the background process still runs");
    }

    #[tokio::test]
    async fn a_method_name_cannot_be_an_option_of_the_program() {
        let (status, body, problem) = {
            let CallResult { status, body, problem } = shell("echo 1", LONG).call("--version", b"").await;
            (status, String::from_utf8(body).expect("text"), problem)
        };
        assert!(status == 404 && body.contains("begins with -") && problem.is_some(), "{status} {body}");
    }

    #[tokio::test]
    async fn a_slow_program_is_killed_with_everything_it_has_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ids");
        let script = format!("sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait", file.display());
        let result = shell(&script, Duration::from_millis(500)).call("reboot", b"").await;
        assert_eq!(result.status, 504);
        let ids = std::fs::read_to_string(&file).expect("it ran");
        let (started, program) = ids.split_once('\n').expect("two ids");
        // `call` has killed the program and has waited for its end, so `/proc` no longer contains the process.
        assert!(!Path::new("/proc").join(program.trim()).exists());
        // The program has started `sleep`. `call` must have killed `sleep` too. A killed process stays a zombie (`Z`)
        // until its parent waits for it, so the test also accepts a zombie.
        let ended = async {
            while std::fs::read_to_string(format!("/proc/{started}/stat")).is_ok_and(|it| !it.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, ended).await.expect("it was killed");
    }

    #[test]
    fn variables_with_credentials_are_recognized() {
        for (name, value) in [
            ("PROVISIONING_SYMMETRIC_KEY", "a2V5"),
            ("HUBWARD_SECONDARY_KEY", "a2V5"),
            ("IOTHUB_DEVICE_CONNECTION_STRING", "x"),
            ("IOTHUB_CONNECTION_STRING", "x"),
            ("PROVISIONING_CONNECTION_STRING", "x"),
            ("PROVISIONING_MASTER_SYMMETRIC_KEY", "a2V5"),
            ("X509_PASS_PHRASE", "correct horse"),
            ("OTHER", "Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=a2V5"),
            ("OTHER", "SharedAccessSignature sr=x&sig=y&se=1"),
        ] {
            assert!(holds_secret(name, value), "{name}={value}");
        }
        for name in ["PATH", "PROVISIONING_HOST", "HUBWARD_CA_FILE", "PROVISIONING_REGISTRATION_ID"] {
            assert!(!holds_secret(name, "value"), "{name}");
        }
    }

    #[test]
    fn a_missing_program_is_refused() {
        for path in ["./there/is/none", "no-such-program-anywhere", "/etc/passwd"] {
            assert!(Program::find(Path::new(path), &[], LONG).is_err(), "{path}");
        }
    }
}
