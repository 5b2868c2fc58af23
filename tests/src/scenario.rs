//! A scenario: a name, a body, over which transports it runs, and whether it may run against a live
//! service.

use std::pin::Pin;

use hubward::transport::check_hub_transport;
use hubward::{Settings, TransportKind};

use crate::cloud::Cloud;

/// How a scenario went; the text says what was not as it should be.
pub type Outcome = Result<(), String>;

/// A running body.
pub type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One thing that must work over every transport.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What the table calls it.
    pub name: &'static str,
    /// What to run.
    pub body: Body,
    /// Which transports it is about.
    pub over: Over,
}

/// Which transports a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// All: it is about provisioning, or about both services.
    Every,
    /// Those that reach a hub: it is about what a device does there.
    Hub,
}

/// The two kinds of bodies.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Needs nothing but the settings of an enrolled device: may run against a live service.
    Anywhere(fn(Settings) -> Running),
    /// Looks at or steers the cloud: emulator only.
    Emulator(fn(Cloud, TransportKind) -> Running),
}

/// What a scenario talks to.
#[derive(Debug, Clone)]
pub enum Target {
    /// An emulator of its own, started for it.
    Emulator,
    /// The service that the settings name.
    Live(Box<Settings>),
}

/// What came of running a scenario.
#[derive(Debug)]
pub enum Ran {
    /// It came to its end.
    Ended(Outcome),
    /// It cannot run against this target; why.
    Skipped(&'static str),
    /// It is not about this transport.
    NotAbout,
}

impl Scenario {
    /// Whether it is about a transport.
    #[must_use]
    pub fn is_about(&self, kind: TransportKind) -> bool {
        self.over == Over::Every || check_hub_transport(kind).is_ok()
    }

    /// Runs it over one transport.
    pub async fn run(&self, target: &Target, kind: TransportKind) -> Ran {
        if !self.is_about(kind) {
            return Ran::NotAbout;
        }
        Ran::Ended(match (self.body, target) {
            (Body::Anywhere(body), Target::Live(settings)) => body((**settings).clone().transport(kind)).await,
            (Body::Anywhere(body), Target::Emulator) => {
                let cloud = Cloud::start().await;
                let settings = cloud.device("dev-1").transport(kind);
                // The cloud lives as long as the body.
                let outcome = body(settings).await;
                drop(cloud);
                outcome
            }
            (Body::Emulator(body), Target::Emulator) => body(Cloud::start().await, kind).await,
            (Body::Emulator(_), Target::Live(_)) => {
                return Ran::Skipped("looks at or steers the service, which only the emulator lets us do");
            }
        })
    }
}

/// Turns an error into a scenario's text, with all its causes.
pub fn because<T, E: std::error::Error>(what: &str, result: Result<T, E>) -> Result<T, String> {
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

/// A condition that must hold.
pub fn must(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}
