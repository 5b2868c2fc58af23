//! Helpers for the tests of `hubward device`. They create devices and modules at the hub.

use hubward_emulator::Emulator;
use hubward_tests::command::Invocation;
use serde_json::{Value, json};

use super::running::Running;

/// The transports that reach a hub.
pub(super) const TRANSPORTS: [&str; 2] = ["mqtt", "mqtt-ws"];

pub(super) const HUB: &str = "localhost";

/// Adds a device to the hub. Returns environment variables for the device: its connection string, and the settings with
/// which the program reaches the emulator.
pub(super) fn known(emulator: &Emulator, device: &str) -> Vec<(&'static str, String)> {
    let key = emulator.add_device(HUB, device).expect("a valid id").expose_base64();
    let text = format!("HostName={HUB};DeviceId={device};SharedAccessKey={}", key.as_str());
    with_connection_string(emulator, text)
}

/// Adds a module to the hub. Returns environment variables for the module, like [`known`].
pub(super) fn known_module(emulator: &Emulator, device: &str, module: &str) -> Vec<(&'static str, String)> {
    emulator.add_device(HUB, device).expect("a valid id");
    let key = emulator.add_module(HUB, device, module).expect("a valid id").expose_base64();
    let text = format!("HostName={HUB};DeviceId={device};ModuleId={module};SharedAccessKey={}", key.as_str());
    with_connection_string(emulator, text)
}

fn with_connection_string(emulator: &Emulator, text: String) -> Vec<(&'static str, String)> {
    let enrolled = emulator.enroll("unused-enrollment").expect("a valid id");
    let mut variables = enrolled.vars();
    variables.retain(|(name, _)| name.starts_with("HUBWARD_"));
    variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", text));
    variables
}

/// `hubward device …` with `--output json`.
pub(super) fn device(transport: &str, arguments: &[&str], variables: &[(&str, String)]) -> Invocation {
    // Arguments after `--` belong to the program that `--exec` names.
    let at = arguments.iter().position(|it| *it == "--").unwrap_or(arguments.len());
    Invocation::hubward(["device"])
        .args(arguments[..at].iter().copied())
        .args(["--transport", transport, "--output", "json"])
        .args(arguments[at..].iter().copied())
        .vars(variables)
}

/// Runs `hubward device …` with invalid arguments. Checks that the command prints one line: an error about the
/// arguments.
pub(super) async fn assert_refused(
    arguments: &[&str],
    variables: &[(&str, String)],
    exit_code: i32,
    expected_message: &str,
) {
    let ran = device("mqtt", arguments, variables).run().await;
    let last = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
    assert_eq!((&last["exitCode"], &last["stage"]), (&json!(exit_code), &json!("arguments")), "{last}");
    let message = last["message"].as_str().expect("a message");
    assert!(message.contains(expected_message), "{arguments:?}: {last}");
    assert_eq!(ran.lines().expect("lines").len(), 1, "only the error is printed: {arguments:?}");
}

/// The `type` of each line, in order.
pub(super) fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|it| it["type"].as_str()).collect()
}

/// The output lines of a running device. A test can take the lines in any order.
pub(super) struct Lines {
    pub(super) running: Running,
    seen: Vec<Value>,
}

impl Lines {
    pub(super) const fn of(running: Running) -> Self {
        Self { running, seen: Vec::new() }
    }

    /// Returns the first line that matches, and removes it from the lines seen so far. If no line matches, waits until
    /// the device prints such a line.
    pub(super) async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.remove(at);
            }
            let line = self.running.line().await.unwrap_or_else(|| panic!("no {what} in {:?}", self.seen));
            self.seen.push(serde_json::from_str(&line).expect(&line));
        }
    }

    /// Like [`find`](Self::find), for the first line of this type.
    pub(super) async fn next(&mut self, kind: &str) -> Value {
        self.find(kind, |it| it["type"] == kind).await
    }
}
