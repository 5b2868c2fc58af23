//! Runs `hubward` as a user does, and reads its output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Maximum time of a command. It is far longer than every `--timeout` that a test uses. But it is shorter than the time
/// after which the test runner kills a test.
const LIMIT: Duration = Duration::from_secs(90);

/// A command line. The command inherits the environment of the test, except the proxy settings and the variables that
/// the programs under test read.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub struct Ran {
    /// The exit code. `None` if a signal ended the program.
    pub code: Option<i32>,
    /// The bytes on stdout.
    pub stdout: Vec<u8>,
    /// The bytes on stderr.
    pub stderr: Vec<u8>,
}

impl Invocation {
    /// Runs `hubward` with these arguments.
    #[must_use]
    pub fn hubward<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(crate::binary::hubward()).args(arguments)
    }

    /// Runs any program.
    #[must_use]
    pub fn of(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            let ours = ["PROVISIONING_", "HUBWARD_", "IOTHUB_", "X509_"].iter().any(|it| name.starts_with(it));
            if ours || name.ends_with("_PROXY") {
                command.env_remove(&variable);
            }
        }
        Self { command, stdin: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets environment variables.
    #[must_use]
    pub fn vars<N: AsRef<str>>(mut self, variables: &[(N, String)]) -> Self {
        self.command.envs(variables.iter().map(|(name, value)| (name.as_ref(), value)));
        self
    }

    /// Sets the bytes that the program reads from stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Connects the program's stdout to this target. By default, the test reads stdout.
    #[must_use]
    pub fn stdout(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stdout(target);
        self
    }

    /// Connects the program's stderr to this target. By default, the test reads stderr.
    #[must_use]
    pub fn stderr(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stderr(target);
        self
    }

    /// Starts the program and does not wait for its end. If the returned handle is dropped, the program is killed.
    ///
    /// # Panics
    /// If the program does not start.
    #[must_use]
    pub fn spawn(mut self) -> Child {
        self.command.spawn().expect("the program starts")
    }

    /// Runs the program until it exits.
    ///
    /// # Panics
    /// If the program does not start, or does not exit within 90 s. This limit is far longer than the program's own
    /// time limits.
    pub async fn run(self) -> Ran {
        self.run_within(LIMIT).await
    }

    /// Runs a program until it exits. Waits at most `limit`, for programs that take longer than others.
    ///
    /// # Panics
    /// If the program does not start, or does not exit within `limit`.
    pub async fn run_within(mut self, limit: Duration) -> Ran {
        let mut child = self.command.spawn().expect("the program starts");
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // Ignore an error: the program may exit before it has read all of its input.
            let _ = pipe.write_all(&bytes).await;
        }
        let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
            panic!("{:?} did not exit within {limit:?}", self.command);
        };
        let output = output.expect("the program can be waited for");
        Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }
}

impl Ran {
    /// Returns the lines of stdout, parsed as JSON.
    ///
    /// # Errors
    /// In each of these cases:
    ///
    /// * stdout is not UTF-8.
    /// * A line is not JSON, is not of version 1, or has no type.
    /// * The last line is neither a `result` nor an `error`, or an earlier line is one.
    pub fn lines(&self) -> Result<Vec<Value>, String> {
        let text = std::str::from_utf8(&self.stdout).map_err(|error| format!("stdout is not UTF-8: {error}"))?;
        let mut lines = Vec::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).map_err(|error| format!("`{line}` is not JSON: {error}"))?;
            if value["version"] != 1 || !value["type"].is_string() {
                return Err(format!("`{line}` has no version 1 or no type"));
            }
            lines.push(value);
        }
        let is_end = |it: &Value| it["type"] == "result" || it["type"] == "error";
        let ends = lines.iter().filter(|it| is_end(it)).count();
        if ends != 1 || !lines.last().is_some_and(is_end) {
            return Err(format!(
                "expected one result or error at the end, found {ends}:\n{text}\n{}",
                self.stderr_text()
            ));
        }
        Ok(lines)
    }

    /// Returns the last of [`Ran::lines`].
    ///
    /// # Errors
    /// As for [`Ran::lines`]. Also if the last line does not contain the exit code of the program.
    pub fn last(&self) -> Result<Value, String> {
        let last = self.lines()?.pop().ok_or("stdout is empty")?;
        let code = last["exitCode"].as_i64();
        if code != self.code.map(i64::from) {
            return Err(format!("the program exited with {:?}, but its last line is {last}", self.code));
        }
        Ok(last)
    }

    /// Stdout as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Stderr as text, without the lines that [`without_rule_notes`] removes.
    #[must_use]
    pub fn warnings(&self) -> String {
        without_rule_notes(&self.stderr_text())
    }
}

/// Removes the lines about `HUBWARD_CONNECT_TO` from the stderr of a command. If a rule in this variable redirects a
/// host name to an emulator, the command prints one such line for the host name.
#[must_use]
pub fn without_rule_notes(stderr: &str) -> String {
    let is_note = |it: &&str| it.starts_with("connecting to ") && it.ends_with(", HUBWARD_CONNECT_TO\n");
    stderr.split_inclusive('\n').filter(|it| !is_note(it)).collect()
}
