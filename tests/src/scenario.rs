//! A scenario: a name, a body, and whether it may run against a live service.

use std::pin::Pin;

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

impl Scenario {
    /// Runs it over one transport; `None` if it cannot run against this target.
    pub async fn run(&self, target: &Target, kind: TransportKind) -> Option<Outcome> {
        let run = match (self.body, target) {
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
            (Body::Emulator(_), Target::Live(_)) => return None,
        };
        Some(run)
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
