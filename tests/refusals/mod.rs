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
use hubward_tests::report::{Endpoint, Expected, SUCCESS};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
