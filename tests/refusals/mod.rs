//! Every way in which somebody says no, or says nothing: what the command tells about it.
//!
//! One table, case × transport. Each run is the real program against an emulator of its own that
//! misbehaves as the case wants it, or against a peer that is none.

mod deadlines;
mod dps;
mod hub;
mod network;
mod usage;

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;

use hubward::TransportKind;
use hubward_emulator::{Builder, Emulator};
use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const NOTHING: Expected = Expected {
    exit_code: 0,
    stage: None,
    endpoint: Endpoint::None,
    fault: "",
    hint: "",
    service_code: None,
    tracking_id: Some(false),
    says: "",
};

const CASE: Case = Case { name: "", cloud: |it| it, arrange: |_| {}, expected: NOTHING, not_over: &[] };

const HTTPS_HAS_NO_MQTT: &[(TransportKind, &str)] =
    &[(TransportKind::Https, "nothing is logged in to, subscribed or acknowledged over HTTPS")];

/// The device of every scene.
const DEVICE: &str = "dev-1";

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// How the emulator starts.
    cloud: fn(Builder) -> Builder,
    /// What is done to it, and to the command line, before the command runs.
    arrange: fn(&mut Scene),
    expected: Expected,
    /// Transports that cannot have it, each with the reason.
    not_over: &'static [(TransportKind, &'static str)],
}

/// What the last line must say.
#[derive(Debug, Clone, Copy)]
struct Expected {
    exit_code: i32,
    /// `None`: it goes well in spite of everything.
    stage: Option<&'static str>,
    endpoint: Endpoint,
    fault: &'static str,
    /// What the hint must mention.
    hint: &'static str,
    service_code: Option<u32>,
    /// Whether the service named a tracking id; it must then stand there. `None`: as it likes.
    tracking_id: Option<bool>,
    /// What message or causes must mention.
    says: &'static str,
}

/// Whom the error must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Dps,
    Hub,
    /// It never came to talking to anybody.
    None,
    /// As it stands, with the port of DPS.
    DpsNamed(&'static str),
    /// As it stands, with the port of the hub.
    HubNamed(&'static str),
}

/// An emulator, and the command that is going to talk to it.
struct Scene {
    kind: TransportKind,
    emulator: Emulator,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    /// Sockets, other emulators and the like that must live as long.
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

    /// Changes a variable of the command.
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(it, _)| it != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    fn argue<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
    }

    /// A file for an argument; gives its path.
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
    /// What is not as expected, one line each.
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
        let tracked = last["trackingId"].as_str().is_some_and(|it| !it.is_empty());
        must(self.tracking_id.is_none_or(|it| it == tracked), &format!("tracking id: {:?}", self.tracking_id));
        let text = format!("{}{}", last["message"], last["causes"]);
        must(text.contains(self.says), &format!("a message with `{}`", self.says));
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

/// Runs the table's column of one transport and names every cell that is wrong.
async fn run_column(kind: TransportKind) {
    // Built before anything waits for it.
    let _ = hubward_tests::binary::hubward();
    // Most cells wait for a deadline most of the time.
    let at_a_time = Arc::new(Semaphore::new(12));
    let mut runs = JoinSet::new();
    for case in cases().filter(|it| it.not_over.iter().all(|(not, _)| *not != kind)) {
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
async fn say_what_to_do_over_https() {
    run_column(TransportKind::Https).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn say_what_to_do_over_mqtt() {
    run_column(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn say_what_to_do_over_mqtt_ws() {
    run_column(TransportKind::MqttWs).await;
}

#[test]
fn the_table_names_each_case_once_and_every_absence_has_a_reason() {
    let mut names = std::collections::BTreeSet::new();
    for case in cases() {
        assert!(!case.name.is_empty() && names.insert(case.name), "{:?} stands twice", case.name);
        assert!(case.not_over.len() < 3 && case.not_over.iter().all(|(_, why)| why.len() > 20), "{}", case.name);
    }
}
