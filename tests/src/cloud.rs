//! The embedded emulator as scenarios see it.

use std::time::Duration;

use hubward::hub::Backoff;
use hubward::{
    Credential, DialOverride, HubClient, HubIdentity, HubOptions, HubSettings, Settings, SharedKey, TransportKind,
};
use hubward_emulator::{Builder, Emulator, Fault, Point, TelemetryLog};

use crate::raw::Raw;
use crate::scenario::because;

/// The hub that every emulator has.
pub const HUB: &str = "localhost";

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
    pub fn device(&self, id: &str) -> Settings {
        settings(&self.emulator.enroll(id).expect("a valid id").vars())
    }
}

impl Cloud {
    /// Makes a device known to the hub, without DPS; the second time, it is the same one.
    ///
    /// # Panics
    /// If the id is not valid.
    #[must_use]
    pub fn known(&self, id: &str, kind: TransportKind) -> Known {
        let key = self.emulator.add_device(HUB, id).expect("a valid id");
        let identity = HubIdentity::new(HUB.parse().expect("a host"), id.parse().expect("a valid id"));
        self.identity(identity, key, kind)
    }

    /// Makes a module of a device known to the hub, and the device too.
    ///
    /// # Panics
    /// If an id is not valid.
    #[must_use]
    pub fn module(&self, device: &str, module: &str, kind: TransportKind) -> Known {
        let mut identity = self.known(device, kind).settings.identity;
        let key = self.emulator.add_module(HUB, device, module).expect("a valid id");
        identity.module = Some(module.parse().expect("a valid id"));
        self.identity(identity, key, kind)
    }

    fn identity(&self, identity: HubIdentity, key: SharedKey, kind: TransportKind) -> Known {
        let (mqtt, https) = (self.emulator.mqtt_addr(), self.emulator.https_addr());
        let rules = DialOverride::parse_list(&format!(":8883:{mqtt},:443:{https}")).expect("rules");
        let settings = HubSettings::new(identity, Credential::SharedKey(key.clone()))
            .transport(kind)
            .options(|it| it.ca_file(self.emulator.ca_file()).dial_overrides(rules).hub_options(eager()));
        Known { settings, key }
    }

    /// The telemetry of the hub.
    ///
    /// # Panics
    /// Never: every emulator has this hub.
    #[must_use]
    pub fn log(&self) -> TelemetryLog {
        self.emulator.telemetry(HUB).expect("the hub that every emulator has")
    }

    /// Lets nobody connect who does not talk to the hub already, until [`Cloud::raise_barrier`].
    ///
    /// # Panics
    /// Never: the fault fits.
    pub fn lower_barrier(&self, kind: TransportKind) {
        let point = if is_web(kind) { Point::HttpsAccept } else { Point::MqttAccept };
        self.emulator.fault_always(point, Fault::Cut).expect("it fits");
    }

    /// Lets everybody connect again.
    pub fn raise_barrier(&self) {
        self.emulator.clear_faults();
    }
}

/// A device or module that the hub knows.
#[derive(Debug, Clone)]
pub struct Known {
    /// How it connects.
    pub settings: HubSettings,
    /// Its key.
    pub key: SharedKey,
}

impl Known {
    /// Connects with other options.
    #[must_use]
    pub fn options(mut self, options: HubOptions) -> Self {
        self.settings.options.hub_options = options;
        self
    }

    /// A client, connected.
    ///
    /// # Errors
    /// What went wrong, as text.
    pub async fn connect(&self) -> Result<HubClient, String> {
        because("connecting", self.settings.clone().connect().await)
    }

    /// A connection made of bytes.
    ///
    /// # Errors
    /// What went wrong, as text.
    pub async fn raw(&self, clean: bool) -> Result<Raw, String> {
        Raw::login(&self.settings, &self.key, clean).await
    }
}

/// Options of a client that comes back at once: a test need not wait for a service's recovery.
#[must_use]
pub fn eager() -> HubOptions {
    let short = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
    HubOptions::default().backoff(short).lasting(Duration::ZERO).duplicate_wait(Duration::from_millis(100))
}

/// The settings that variables describe, with a timeout that no test waits for.
///
/// # Panics
/// If they are not valid.
pub fn settings(variables: &[(&'static str, String)]) -> Settings {
    Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))
        .expect("the emulator's own settings")
        .options(|it| it.timeout(Duration::from_secs(60)))
}

/// The port that a transport uses, as the fault points tell them apart.
#[must_use]
pub const fn is_web(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Https | TransportKind::MqttWs)
}
