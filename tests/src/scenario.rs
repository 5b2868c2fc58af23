//! A scenario has a name, a body, and a list of transports. It runs once for each transport. Some scenarios may run
//! against a live service.

use std::pin::Pin;

use hubward::transport::check_hub_transport;
use hubward::{Settings, TransportKind};

use crate::cloud::Cloud;

/// The outcome of a scenario. An error says which expectation was not met.
pub type Outcome = Result<(), String>;

/// A running body.
pub type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Behaviour that must be the same over every transport.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// The function to run.
    pub body: Body,
    /// The transports over which it runs.
    pub over: Transports,
}

/// The transports over which a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transports {
    /// All transports. The scenario uses DPS, and perhaps the hub.
    All,
    /// MQTT and MQTT over WebSocket. The scenario uses only the hub, and the client cannot connect to a hub over HTTPS.
    Hub,
}

/// The two kinds of bodies.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// A body that needs only the settings of an enrolled device. It may run against a live service.
    Anywhere(fn(Settings) -> Running),
    /// A body that reads or controls the cloud's side. It needs the emulator.
    Emulator(fn(Cloud, TransportKind) -> Running),
}

/// The service that a scenario uses.
#[derive(Debug, Clone)]
pub enum Target {
    /// An emulator that is started only for this scenario.
    Emulator,
    /// The service that the settings name.
    Live(Box<Settings>),
}

/// The result of running a scenario.
#[derive(Debug)]
pub enum RunResult {
    /// The scenario ran.
    Ended(Outcome),
    /// The scenario cannot run against this target, for this reason.
    Skipped(&'static str),
    /// The scenario does not run over this transport.
    NotApplicable,
}

impl Scenario {
    /// Returns `true` if the scenario runs over this transport.
    #[must_use]
    pub fn applies_to(&self, kind: TransportKind) -> bool {
        self.over == Transports::All || check_hub_transport(kind).is_ok()
    }

    /// Runs the scenario over one transport.
    pub async fn run(&self, target: &Target, kind: TransportKind) -> RunResult {
        if !self.applies_to(kind) {
            return RunResult::NotApplicable;
        }
        RunResult::Ended(match (self.body, target) {
            (Body::Anywhere(body), Target::Live(settings)) => body((**settings).clone().transport(kind)).await,
            (Body::Anywhere(body), Target::Emulator) => {
                let cloud = Cloud::start().await;
                let settings = cloud.device("dev-1").transport(kind);
                // `cloud` lives until the body has ended, so the emulator keeps running.
                let outcome = body(settings).await;
                drop(cloud);
                outcome
            }
            (Body::Emulator(body), Target::Emulator) => body(Cloud::start().await, kind).await,
            (Body::Emulator(_), Target::Live(_)) => {
                return RunResult::Skipped("inspects or controls the service, which only the emulator allows");
            }
        })
    }
}

/// Converts an error to text. The text contains what the scenario was doing, the error, and the causes of the error.
pub fn context<T, E: std::error::Error>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    })
}

/// Returns an error with the text of `what` if the condition is false.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}
