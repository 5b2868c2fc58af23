//! Running `hubward` as a user does, and reading what it says.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Far beyond every `--timeout` of a test, and below what the test runner grants.
const HANG: Duration = Duration::from_secs(90);

/// A command line, with nothing in its environment that a user's machine may hold.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

/// How a run ended, and all it said.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr.
    pub stderr: Vec<u8>,
}

impl Invocation {
    /// `hubward` with these arguments.
    #[must_use]
    pub fn hubward<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(crate::binary::hubward()).args(arguments)
    }

    /// Any program.
    #[must_use]
    pub fn of(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            let ours = ["PROVISIONING_", "HUBWARD_", "IOTHUB_"].iter().any(|it| name.starts_with(it));
            if ours || name.ends_with("_PROXY") {
                command.env_remove(&variable);
            }
        }
        Self { command, stdin: None }
    }

    /// More arguments.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Variables.
    #[must_use]
    pub fn vars<N: AsRef<str>>(mut self, variables: &[(N, String)]) -> Self {
        self.command.envs(variables.iter().map(|(name, value)| (name.as_ref(), value)));
        self
    }

    /// What it reads from standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Where its stdout goes, instead of to the test.
    #[must_use]
    pub fn stdout(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stdout(target);
        self
    }

    /// Where its stderr goes, instead of to the test.
    #[must_use]
    pub fn stderr(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stderr(target);
        self
    }

    /// Starts it and leaves it running; it ends with the handle.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn spawn(mut self) -> Child {
        self.command.spawn().expect("the program starts")
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it does not start, or hangs: its deadlines are its own business, and far below ours.
    pub async fn run(self) -> Ran {
        self.run_within(HANG).await
    }

    /// Runs a program that may take longer than others.
    ///
    /// # Panics
    /// If it does not start, or has not ended by then.
    pub async fn run_within(mut self, limit: Duration) -> Ran {
        let mut child = self.command.spawn().expect("the program starts");
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that does not read it all has its reasons.
            let _ = pipe.write_all(&bytes).await;
        }
        let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
            panic!("{:?} does not end", self.command);
        };
        let output = output.expect("the program can be waited for");
        Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }
}

impl Ran {
    /// The JSON lines on stdout.
    ///
    /// # Errors
    /// Says which line is none, or breaks the rules that every line follows: version, type, and one
    /// `result` or `error` at the end, nowhere else.
    pub fn lines(&self) -> Result<Vec<Value>, String> {
        let text = std::str::from_utf8(&self.stdout).map_err(|error| format!("stdout is no text: {error}"))?;
        let mut lines = Vec::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).map_err(|error| format!("`{line}` is no JSON: {error}"))?;
            if value["version"] != 1 || !value["type"].is_string() {
                return Err(format!("`{line}` has no version 1 or no type"));
            }
            lines.push(value);
        }
        let is_end = |it: &Value| it["type"] == "result" || it["type"] == "error";
        let ends = lines.iter().filter(|it| is_end(it)).count();
        if ends != 1 || !lines.last().is_some_and(is_end) {
            return Err(format!("not one result or error at the end, but {ends}:\n{text}\n{}", self.stderr_text()));
        }
        Ok(lines)
    }

    /// The last of [`Ran::lines`].
    ///
    /// # Errors
    /// As for [`Ran::lines`].
    pub fn last(&self) -> Result<Value, String> {
        let last = self.lines()?.pop().ok_or("there are no lines")?;
        let code = last["exitCode"].as_i64();
        if code != self.code.map(i64::from) {
            return Err(format!("it ended with {:?}, but said {last}", self.code));
        }
        Ok(last)
    }

    /// What stands on stdout.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What stands on stderr.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
