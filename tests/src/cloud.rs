//! The embedded emulator as scenarios see it.

use std::time::Duration;

use hubward::{Settings, TransportKind};
use hubward_emulator::{Builder, Emulator};

/// A running emulator.
#[derive(Debug)]
pub struct Cloud {
    /// The emulator itself.
    pub emulator: Emulator,
}

impl Cloud {
    /// Starts one with the defaults: one hub `localhost`, no waiting.
    ///
    /// # Panics
    /// If it does not start: nothing can be tested then.
    pub async fn start() -> Self {
        Self::with(Emulator::builder()).await
    }

    /// Starts one as told.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn with(builder: Builder) -> Self {
        Self { emulator: builder.start().await.expect("the emulator starts") }
    }

    /// Enrolls a device with keys of its own and gives its settings.
    ///
    /// # Panics
    /// If the id is not valid.
    #[must_use]
    pub fn device(&self, id: &str) -> Settings {
        settings(&self.emulator.enroll(id).expect("a valid id").vars())
    }
}

/// The settings that variables describe, with a timeout that no test waits for.
///
/// # Panics
/// If they are not valid.
#[must_use]
pub fn settings(variables: &[(&'static str, String)]) -> Settings {
    Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))
        .expect("the emulator's own settings")
        .timeout(Duration::from_secs(60))
}

/// The port that a transport uses, as the fault points tell them apart.
#[must_use]
pub const fn is_web(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Https | TransportKind::MqttWs)
}
