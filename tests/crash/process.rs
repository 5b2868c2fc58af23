//! The program under test: `hubward emulator` with a data directory.

use std::time::Duration;

use hubward_tests::command::Invocation;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Process {
    child: Child,
    /// What it says of itself.
    ready: Value,
    /// What a device needs.
    variables: Vec<(String, String)>,
    stderr: JoinHandle<String>,
}

impl Process {
    /// Starts it and waits for nothing.
    pub(super) fn spawn(directory: &str) -> Self {
        let arguments = ["emulator", "--dev-keys", "--output", "json", "--retry-after", "0s", "--data-dir", directory];
        let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
        let mut child = Invocation::hubward(arguments).args(ports).spawn();
        let mut pipe = child.stderr.take().expect("a pipe");
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            // One that was killed may leave half a character.
            let _ = pipe.read_to_string(&mut text).await;
            text
        });
        Self { child, ready: Value::Null, variables: Vec::new(), stderr }
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(directory: &str) -> Self {
        let mut process = Self::spawn(directory);
        let mut lines = BufReader::new(process.child.stdout.take().expect("a pipe")).lines();
        let mut device = Value::Null;
        while process.ready.is_null() || device.is_null() {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it says something or ends");
            let Some(line) = line.expect("stdout can be read") else {
                panic!("it does not start: {}", process.stderr.await.unwrap_or_default());
            };
            let line: Value = serde_json::from_str(&line).expect("JSON");
            match line["type"].as_str() {
                Some("ready") => process.ready = line,
                Some("device") => device = line,
                _ => {}
            }
        }
        // Whatever more it says.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let variables = device["variables"].as_object().expect("variables");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        process.variables = variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        process
    }

    /// `HOST:PORT` of the admin port.
    pub(super) fn admin(&self) -> String {
        self.ready["admin"].as_str().expect("a URL").trim_start_matches("http://").to_owned()
    }

    /// What a device needs, by name.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// `kill -9`, and it is gone.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("it runs until it is killed");
    }
}
