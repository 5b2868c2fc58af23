//! Tests of the errors that the program reports if the service refuses it, fails, or does not answer.
//!
//! The tests are a table of cases and transports. For each cell, the real program runs against an emulator of its own,
//! which misbehaves as the case requires.
//!
//! In some cases, the program connects to another peer instead, such as a web server without TLS.

mod deadlines;
mod dps;
mod hub;
mod network;
mod usage;

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;

use hubward::TransportKind;
use hubward_emulator::{Builder, Emulator, Fault, Point};
use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SUCCESS: Expected = Expected {
    exit_code: 0,
    stage: None,
    endpoint: Endpoint::None,
    fault: "",
    hint: "",
    service_code: None,
    tracking_id: Some(false),
    message: "",
};

const CASE: Case = Case { name: "", cloud: |it| it, arrange: |_| {}, expected: SUCCESS, except: &[] };

const ONLY_MQTT: &[(TransportKind, &str)] =
    &[(TransportKind::Https, "HTTPS has no login, no subscription and no acknowledgement")];

const ONLY_WEBSOCKET: &[(TransportKind, &str)] = &[
    (TransportKind::Https, "HTTPS does not upgrade to WebSocket"),
    (TransportKind::Mqtt, "plain MQTT does not upgrade to WebSocket"),
];

/// The device in every scene.
const DEVICE: &str = "dev-1";

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// How the emulator starts.
    cloud: fn(Builder) -> Builder,
    /// Prepares the emulator and the command line. Runs before the command.
    arrange: fn(&mut Scene),
    expected: Expected,
    /// Transports that cannot have this case. Each has a reason.
    except: &'static [(TransportKind, &'static str)],
}

/// The expected content of the last line of the output.
#[derive(Debug, Clone, Copy)]
struct Expected {
    exit_code: i32,
    /// `None`: the command succeeds.
    stage: Option<&'static str>,
    endpoint: Endpoint,
    fault: &'static str,
    /// Text that the hint must contain.
    hint: &'static str,
    service_code: Option<u32>,
    /// `Some(true)`: the error must contain a tracking ID. `Some(false)`: it must not. `None`: it may.
    tracking_id: Option<bool>,
    /// Text that the message or one of its causes must contain.
    message: &'static str,
}

/// The endpoint that the error must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Dps,
    Hub,
    /// No endpoint, because the command fails before it connects.
    None,
    /// The endpoint with this name and the port of DPS.
    DpsNamed(&'static str),
    /// The endpoint with this name and the port of the hub.
    HubNamed(&'static str),
}

/// An emulator, and the command that connects to it.
struct Scene {
    kind: TransportKind,
    emulator: Emulator,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    /// Sockets and emulators that must stay open until the scene is dropped.
    keep: Vec<Box<dyn Any + Send + Sync>>,
    folder: TempDir,
}

impl Scene {
    async fn new(kind: TransportKind, cloud: fn(Builder) -> Builder) -> Self {
        let emulator = cloud(Emulator::builder()).start().await.expect("the emulator starts");
        let enrolled = emulator.enroll(DEVICE).expect("a valid id");
        let variables = enrolled.vars().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let folder = tempfile::tempdir().expect("a folder");
        Self { kind, emulator, variables, arguments: Vec::new(), keep: Vec::new(), folder }
    }

    /// Sets an environment variable of the command.
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(it, _)| it != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    fn add_arguments<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
    }

    /// Scripts a fault that happens once.
    fn fault(&self, point: Point, fault: Fault) {
        self.emulator.fault(point, fault).expect("a fault that fits the point");
    }

    /// Makes the emulator misbehave in this way every time.
    fn fault_always(&self, point: Point, fault: Fault) {
        self.emulator.fault_always(point, fault).expect("a fault that fits the point");
    }

    /// Listens on a free port. Returns the listener and the port.
    fn listen() -> (TcpListener, u16) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        (listener, port)
    }

    /// Writes a file for the command line. Returns the path of the file.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.to_str().expect("a path that is text").to_owned()
    }

    async fn run(&self) -> Ran {
        let fixed = ["provision", "--output", "json", "--transport", self.kind.as_str()];
        Invocation::hubward(fixed).args(self.arguments.iter().map(String::as_str)).vars(&self.variables).run().await
    }
}

impl Case {
    async fn run(&self, kind: TransportKind) -> Result<(), String> {
        let mut scene = Scene::new(kind, self.cloud).await;
        (self.arrange)(&mut scene);
        let ran = scene.run().await;
        let last = ran.last()?;
        let problems = self.expected.compare(kind, &last);
        if problems.is_empty() { Ok(()) } else { Err(format!("{problems}    {last}\n{}", ran.stderr_text())) }
    }
}

impl Expected {
    /// Lists the differences, one line each.
    fn compare(&self, kind: TransportKind, last: &Value) -> String {
        let mut problems = String::new();
        let mut must = |holds: bool, what: &dyn std::fmt::Display| {
            if !holds {
                let _ = writeln!(problems, "    expected {what}");
            }
        };
        must(last["exitCode"] == self.exit_code, &format!("exit code {}", self.exit_code));
        let Some(stage) = self.stage else {
            must(last["type"] == "result", &"a result");
            return problems;
        };
        must(last["type"] == "error", &"an error");
        must(last["stage"] == stage, &format!("stage {stage}"));
        let endpoint = self.endpoint.text(kind);
        must(last["endpoint"] == serde_json::json!(endpoint), &format!("endpoint {endpoint:?}"));
        must(last["fault"] == self.fault, &format!("fault {}", self.fault));
        let hint = last["hint"].as_str().unwrap_or_default();
        must(!hint.is_empty() && hint.contains(self.hint), &format!("a hint with `{}`", self.hint));
        must(last["serviceCode"] == serde_json::json!(self.service_code), &format!("code {:?}", self.service_code));
        let has_tracking_id = last["trackingId"].as_str().is_some_and(|it| !it.is_empty());
        must(self.tracking_id.is_none_or(|it| it == has_tracking_id), &format!("tracking id: {:?}", self.tracking_id));
        let text = format!("{}{}", last["message"], last["causes"]);
        must(text.contains(self.message), &format!("a message with `{}`", self.message));
        problems
    }
}

impl Endpoint {
    fn text(self, kind: TransportKind) -> Option<String> {
        let dps = if kind == TransportKind::Mqtt { 8883 } else { 443 };
        let hub = if kind == TransportKind::MqttWs { 443 } else { 8883 };
        match self {
            Self::Dps => Some(format!("localhost:{dps}")),
            Self::Hub => Some(format!("localhost:{hub}")),
            Self::DpsNamed(name) => Some(format!("{name}:{dps}")),
            Self::HubNamed(name) => Some(format!("{name}:{hub}")),
            Self::None => None,
        }
    }
}

/// The whole table.
fn cases() -> impl Iterator<Item = Case> {
    [dps::CASES, network::CASES, hub::CASES, usage::CASES, deadlines::CASES].into_iter().flatten().copied()
}

/// Runs all cases with one transport. The failure message names every case that failed.
async fn run_column(kind: TransportKind) {
    // Builds the program before the first case needs it.
    let _ = hubward_tests::binary::hubward();
    // Most cases only wait until a deadline ends. So several cases can run at the same time without slowing each other
    // down.
    let at_a_time = Arc::new(Semaphore::new(12));
    let mut runs = JoinSet::new();
    for case in cases().filter(|it| it.except.iter().all(|(not, _)| *not != kind)) {
        let at_a_time = at_a_time.clone();
        runs.spawn(async move {
            let _permit = at_a_time.acquire().await;
            (case.name, case.run(kind).await)
        });
    }
    let mut wrong = String::new();
    let mut count = 0;
    while let Some(run) = runs.join_next().await {
        count += 1;
        match run {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(problem))) => {
                let _ = writeln!(wrong, "{name} over {kind}:\n{problem}");
            }
            Err(panicked) => {
                let _ = writeln!(wrong, "a cell over {kind}: {panicked}");
            }
        }
    }
    assert!(wrong.is_empty(), "of {count} cells, these are wrong:\n{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_says_what_to_do_over_https() {
    run_column(TransportKind::Https).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_says_what_to_do_over_mqtt() {
    run_column(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_says_what_to_do_over_mqtt_ws() {
    run_column(TransportKind::MqttWs).await;
}

#[test]
fn each_case_has_a_unique_name_and_each_exception_a_reason() {
    let mut names = std::collections::BTreeSet::new();
    for case in cases() {
        assert!(!case.name.is_empty() && names.insert(case.name), "{:?}: the name is empty or not unique", case.name);
        assert!(case.except.len() < 3 && case.except.iter().all(|(_, why)| why.len() > 20), "{}", case.name);
    }
}
