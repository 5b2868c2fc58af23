//! A command that runs until a test ends it.

use std::process::ExitStatus;
use std::time::Duration;

use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A test fails if its command prints no line and does not end within this time.
const HANG: Duration = Duration::from_secs(60);

/// A running command. The test reads the output line by line. If this value is dropped, the command is killed.
pub(crate) struct Running {
    child: Child,
    /// `None` if the test has closed its end of the pipe.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    pub(crate) fn start(invocation: Invocation) -> Self {
        let mut child = invocation.spawn();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines: Some(lines) }
    }

    /// Starts `hubward emulator` with a data directory, on free ports.
    pub(super) fn emulator<'a>(data_dir: &'a str, more: impl IntoIterator<Item = &'a str>) -> Self {
        let fixed = ["emulator", "--data-dir", data_dir, "--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
        Self::start(Invocation::hubward(fixed).args(["--retry-after", "0s"]).args(more))
    }

    /// Reads the next line of stdout. Returns `None` at the end of stdout.
    pub(super) async fn line(&mut self) -> Option<String> {
        let lines = self.lines.as_mut()?;
        let line = tokio::time::timeout(HANG, lines.next_line()).await.expect("a line or the end of stdout");
        line.expect("stdout can be read")
    }

    /// Reads the next line of stdout. Fails the test if stdout ends.
    pub(crate) async fn next_line(&mut self) -> String {
        match self.line().await {
            Some(line) => line,
            None => panic!("stdout ended; stderr: {}", self.stderr().await),
        }
    }

    /// Reads stdout up to the first line that contains `end`. Returns the text, including that line.
    pub(super) async fn text_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            text.push_str(&self.next_line().await);
            text.push('\n');
        }
        text
    }

    /// The next line, parsed as JSON.
    pub(super) async fn json(&mut self) -> Value {
        let line = self.next_line().await;
        serde_json::from_str(&line).expect(&line)
    }

    /// Reads lines up to the first line of this type. Returns the lines, parsed as JSON, including that line.
    pub(super) async fn json_until(&mut self, kind: &str) -> Vec<Value> {
        let mut lines = vec![self.json().await];
        while lines.last().is_some_and(|it| it["type"] != kind) {
            lines.push(self.json().await);
        }
        lines
    }

    /// Reads stderr up to the first line that contains this text.
    pub(super) async fn logged(&mut self, text: &str) {
        let pipe = self.child.stderr.as_mut().expect("a pipe");
        let mut lines = BufReader::new(pipe).lines();
        loop {
            let line = tokio::time::timeout(HANG, lines.next_line()).await.expect("a line or the end of stderr");
            if line.expect("stderr can be read").expect("a line").contains(text) {
                return;
            }
        }
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end. Returns the exit status, the rest of stdout, and stderr.
    pub(crate) async fn interrupt(self) -> (ExitStatus, String, String) {
        self.signal("-INT").await
    }

    /// Sends a signal, such as `-TERM`, and waits for the end. Returns the exit status, the rest of stdout, and stderr.
    pub(super) async fn signal(self, signal: &str) -> (ExitStatus, String, String) {
        self::signal(&self.child, signal).await;
        self.end().await
    }

    /// Sends SIGINT, as Ctrl-C does, again and again until the command ends. Returns the exit status.
    pub(super) async fn interrupt_until_ended(mut self) -> ExitStatus {
        loop {
            signal(&self.child, "-INT").await;
            if let Ok(ended) = tokio::time::timeout(Duration::from_millis(20), self.child.wait()).await {
                return ended.expect("an exit status");
            }
        }
    }

    /// Closes the read end of stdout.
    pub(super) fn stop_reading(&mut self) {
        self.lines = None;
    }

    /// Closes the test's end of stdout and waits until the command ends. Returns the exit status and stderr.
    pub(super) async fn close_stdout(mut self) -> (ExitStatus, String) {
        self.stop_reading();
        let (ended, _, stderr) = self.end().await;
        (ended, stderr)
    }

    /// Waits until the command ends. Returns the exit status, the rest of stdout, and stderr.
    pub(crate) async fn end(mut self) -> (ExitStatus, String, String) {
        let ended = tokio::time::timeout(HANG, self.child.wait()).await.expect("the command ends");
        let ended = ended.expect("an exit status");
        let mut rest = String::new();
        while let Some(line) = self.line().await {
            rest.push_str(&line);
            rest.push('\n');
        }
        let stderr = self.stderr().await;
        (ended, rest, stderr)
    }

    /// The rest of stderr.
    async fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let read = tokio::time::timeout(HANG, pipe.read_to_string(&mut text)).await;
            read.expect("the command closes stderr").expect("stderr is text");
        }
        text
    }
}

/// Sends a signal, such as `-INT`, to a running process.
pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the process runs").to_string();
    let sent = Command::new("kill").args([name, &id]).status().await.expect("`kill` is installed");
    assert!(sent.success(), "the process runs");
}

/// Waits until a program ends. Returns its exit code, and its output on the pipes that the test holds.
pub(super) async fn finished(child: Child) -> Ran {
    let output = tokio::time::timeout(HANG, child.wait_with_output()).await.expect("the program ends");
    let output = output.expect("an exit status");
    Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}

/// Returns the variables in a `device` line of the emulator.
pub(super) fn variables(device: &Value) -> Vec<(String, String)> {
    assert_eq!(device["type"], "device");
    line_variables(device)
}

/// Returns the variables in a `device` or `operator` line of the emulator.
pub(crate) fn line_variables(line: &Value) -> Vec<(String, String)> {
    let variables = line["variables"].as_object().expect("variables");
    variables.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a string").to_owned())).collect()
}
