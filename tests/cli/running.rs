//! A command that stays until somebody ends it.

use std::process::ExitStatus;
use std::time::Duration;

use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A command that does not say what it should hangs.
const HANG: Duration = Duration::from_secs(60);

/// A running `hubward`, read line by line. Ends with the value.
pub(super) struct Running {
    child: Child,
    /// `None` once nobody reads any more.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    pub(super) fn start(invocation: Invocation) -> Self {
        let mut child = invocation.spawn();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines: Some(lines) }
    }

    /// `hubward emulator` with a data directory, on free ports.
    pub(super) fn emulator<'a>(data_dir: &'a str, more: impl IntoIterator<Item = &'a str>) -> Self {
        let fixed = ["emulator", "--data-dir", data_dir, "--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
        Self::start(Invocation::hubward(fixed).args(["--retry-after", "0s"]).args(more))
    }

    /// The next line, if there is one.
    pub(super) async fn line(&mut self) -> Option<String> {
        let lines = self.lines.as_mut()?;
        let line = tokio::time::timeout(HANG, lines.next_line()).await.expect("it says something or ends");
        line.expect("stdout can be read")
    }

    /// The next line, which is JSON.
    pub(super) async fn json(&mut self) -> Value {
        let line = self.line().await.expect("there is a line");
        serde_json::from_str(&line).expect(&line)
    }

    /// Lines up to and with the first of this type.
    pub(super) async fn json_until(&mut self, kind: &str) -> Vec<Value> {
        let mut lines = vec![self.json().await];
        while lines.last().is_some_and(|it| it["type"] != kind) {
            lines.push(self.json().await);
        }
        lines
    }

    /// Waits until its log says this. What else has stood there by then is gone.
    pub(super) async fn logged(&mut self, text: &str) {
        let pipe = self.child.stderr.as_mut().expect("a pipe");
        let mut lines = BufReader::new(pipe).lines();
        loop {
            let line = tokio::time::timeout(HANG, lines.next_line()).await.expect("it logs something or ends");
            if line.expect("stderr can be read").expect("there is a line").contains(text) {
                return;
            }
        }
    }

    /// Types Ctrl-C; gives how it ended, what else stood on stdout, and stderr.
    pub(super) async fn interrupt(self) -> (ExitStatus, String, String) {
        self.signal("-INT").await
    }

    /// The same with another signal.
    pub(super) async fn signal(self, signal: &str) -> (ExitStatus, String, String) {
        self::signal(&self.child, signal).await;
        self.end().await
    }

    /// Types Ctrl-C again and again; gives how it ended.
    pub(super) async fn interrupt_until_ended(mut self) -> ExitStatus {
        loop {
            signal(&self.child, "-INT").await;
            if let Ok(ended) = tokio::time::timeout(Duration::from_millis(20), self.child.wait()).await {
                return ended.expect("it can be waited for");
            }
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> String {
        self.child.id().expect("it runs").to_string()
    }

    /// Closes its stdout without reading on.
    pub(super) fn stop_reading(&mut self) {
        self.lines = None;
    }

    /// Goes away without reading on; gives how it ended, and stderr.
    pub(super) async fn close_stdout(mut self) -> (ExitStatus, String) {
        self.stop_reading();
        let (ended, _, stderr) = self.end().await;
        (ended, stderr)
    }

    /// Waits for its end.
    pub(super) async fn end(mut self) -> (ExitStatus, String, String) {
        let ended =
            tokio::time::timeout(HANG, self.child.wait()).await.expect("it ends").expect("it can be waited for");
        let mut rest = String::new();
        while let Some(line) = self.line().await {
            rest.push_str(&line);
            rest.push('\n');
        }
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).await.expect("stderr is text");
        }
        (ended, rest, stderr)
    }
}

/// Sends a signal, such as `-INT`.
pub(super) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args([name, &id]).status().await.expect("there is a kill");
    assert!(sent.success(), "it runs");
}

/// Waits for the end of a program, and reads what it says to the test.
pub(super) async fn finished(child: Child) -> Ran {
    let output = tokio::time::timeout(HANG, child.wait_with_output()).await.expect("it ends");
    let output = output.expect("it can be waited for");
    Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}

/// The variables of a `device` line.
pub(super) fn variables(device: &Value) -> Vec<(String, String)> {
    assert_eq!(device["type"], "device");
    let variables = device["variables"].as_object().expect("variables");
    variables.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}
