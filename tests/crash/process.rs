//! The program under test: `hubward emulator` with a data directory.

use hubward_tests::command::Invocation;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::HANG;
use crate::cli::running::line_variables;

pub(super) struct Process {
    child: Child,
    /// The `ready` line; null before the emulator prints it.
    ready: Value,
    /// Environment variables of a device.
    variables: Vec<(String, String)>,
    stderr: JoinHandle<String>,
}

impl Process {
    /// Starts the emulator without waiting until it is ready.
    pub(super) fn spawn(directory: &str) -> Self {
        let arguments = ["emulator", "--dev-keys", "--output", "json", "--retry-after", "0s", "--data-dir", directory];
        let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
        let mut child = Invocation::hubward(arguments).args(ports).spawn();
        let mut pipe = child.stderr.take().expect("a pipe");
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            // Ignore an error: a killed process may have written only a part of a UTF-8 character.
            let _ = pipe.read_to_string(&mut text).await;
            text
        });
        Self { child, ready: Value::Null, variables: Vec::new(), stderr }
    }

    /// Starts the emulator and waits until it is ready.
    pub(super) async fn start(directory: &str) -> Self {
        let mut process = Self::spawn(directory);
        let mut lines = BufReader::new(process.child.stdout.take().expect("a pipe")).lines();
        let mut device = Value::Null;
        while process.ready.is_null() || device.is_null() {
            let line = timeout(HANG, lines.next_line()).await.expect("a line or the end of stdout");
            let Some(line) = line.expect("stdout can be read") else {
                panic!("the emulator does not start: {}", process.stderr.await.unwrap_or_default());
            };
            let line: Value = serde_json::from_str(&line).expect("JSON");
            match line["type"].as_str() {
                Some("ready") => process.ready = line,
                Some("device") => device = line,
                _ => {}
            }
        }
        // Reads and ignores the rest of the output. Otherwise the pipe would become full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        process.variables = line_variables(&device);
        process
    }

    /// `HOST:PORT` of the admin port.
    pub(super) fn admin(&self) -> String {
        self.ready["admin"].as_str().expect("a URL").trim_start_matches("http://").to_owned()
    }

    /// Environment variables of a device.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// Kills the emulator with SIGKILL and waits for its end.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("the emulator runs until the test kills it");
    }
}
