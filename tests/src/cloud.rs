//! The embedded emulator, and devices that connect to it.

use std::time::Duration;

use hubward::hub::Backoff;
use hubward::{
    Credential, DialOverride, HubClient, HubIdentity, HubOptions, HubSettings, Settings, SharedKey, TransportKind,
};
use hubward_emulator::{Builder, Emulator, Fault, Point, TelemetryLog};

use crate::raw::RawDevice;
use crate::scenario::context;

/// The default hub of an emulator.
pub const HUB: &str = "localhost";

/// A running emulator.
#[derive(Debug)]
pub struct Cloud {
    /// The emulator itself.
    pub emulator: Emulator,
}

impl Cloud {
    /// Starts an emulator with the defaults: one hub `localhost`, no delays.
    ///
    /// # Panics
    /// If the emulator does not start.
    pub async fn start() -> Self {
        Self::with(Emulator::builder()).await
    }

    /// Starts an emulator with these options.
    ///
    /// # Panics
    /// If the emulator does not start.
    pub async fn with(builder: Builder) -> Self {
        Self { emulator: builder.start().await.expect("the emulator starts") }
    }

    /// Creates an enrollment with generated keys. Returns the settings of its device.
    ///
    /// # Panics
    /// If the id is not valid.
    pub fn device(&self, id: &str) -> Settings {
        settings(&self.emulator.enroll(id).expect("a valid id").vars())
    }
}

impl Cloud {
    /// Creates a device at the hub without DPS. If the device exists, returns the existing device.
    ///
    /// # Panics
    /// If the id is not valid.
    #[must_use]
    pub fn hub_device(&self, id: &str, kind: TransportKind) -> HubDevice {
        let key = self.emulator.add_device(HUB, id).expect("a valid id");
        let identity = HubIdentity::new(HUB.parse().expect("a host"), id.parse().expect("a valid id"));
        self.hub_identity(identity, key, kind)
    }

    /// Creates a module at the hub. If its device does not exist, creates the device too.
    ///
    /// # Panics
    /// If an id is not valid.
    #[must_use]
    pub fn module(&self, device: &str, module: &str, kind: TransportKind) -> HubDevice {
        let mut identity = self.hub_device(device, kind).settings.identity;
        let key = self.emulator.add_module(HUB, device, module).expect("a valid id");
        identity.module = Some(module.parse().expect("a valid id"));
        self.hub_identity(identity, key, kind)
    }

    fn hub_identity(&self, identity: HubIdentity, key: SharedKey, kind: TransportKind) -> HubDevice {
        let (mqtt, https) = (self.emulator.mqtt_addr(), self.emulator.https_addr());
        let rules = DialOverride::parse_list(&format!(":8883:{mqtt},:443:{https}")).expect("rules");
        let settings = HubSettings::new(identity, Credential::SharedKey(key.clone()))
            .transport(kind)
            .options(|it| it.ca_file(self.emulator.ca_file()).dial_overrides(rules).hub_options(fast_reconnect()));
        HubDevice { settings, key }
    }

    /// Returns the telemetry that the hub has received.
    ///
    /// # Panics
    /// Never: every emulator has the default hub.
    #[must_use]
    pub fn log(&self) -> TelemetryLog {
        self.emulator.telemetry(HUB).expect("the hub that every emulator has")
    }

    /// Makes the emulator refuse new connections until [`Cloud::unblock_connections`] is called. Connections that are
    /// already open stay open.
    ///
    /// # Panics
    /// Never: the fault fits the point.
    pub fn block_connections(&self, kind: TransportKind) {
        let point = if is_web(kind) { Point::HttpsAccept } else { Point::MqttAccept };
        self.emulator.fault_always(point, Fault::Cut).expect("a fault that fits the point");
    }

    /// Accepts new connections again.
    pub fn unblock_connections(&self) {
        self.emulator.clear_faults();
    }
}

/// A device or module in the hub's identity registry.
#[derive(Debug, Clone)]
pub struct HubDevice {
    /// Its connection settings.
    pub settings: HubSettings,
    /// Its key.
    pub key: SharedKey,
}

impl HubDevice {
    /// Replaces the options of the client.
    #[must_use]
    pub fn options(mut self, options: HubOptions) -> Self {
        self.settings.options.hub_options = options;
        self
    }

    /// Connects a client.
    ///
    /// # Errors
    /// The reason, as text.
    pub async fn connect(&self) -> Result<HubClient, String> {
        context("connecting", self.settings.clone().connect().await)
    }

    /// Opens a connection on which a test writes its own bytes.
    ///
    /// # Errors
    /// The reason, as text.
    pub async fn raw(&self, clean: bool) -> Result<RawDevice, String> {
        RawDevice::login(&self.settings, &self.key, clean).await
    }
}

/// Returns options with which a client reconnects within milliseconds. With the default options, it would wait longer
/// before it reconnects.
pub fn fast_reconnect() -> HubOptions {
    let short = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
    HubOptions::default().backoff(short).backoff_reset_after(Duration::ZERO).duplicate_wait(Duration::from_millis(100))
}

/// Reads settings from variables, and sets a timeout that is longer than any test.
///
/// # Panics
/// If they are not valid.
pub fn settings(variables: &[(&'static str, String)]) -> Settings {
    Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))
        .expect("valid settings from the emulator")
        .options(|it| it.timeout(Duration::from_secs(60)))
}

/// Returns `true` if a transport connects to the HTTPS port. Tests use this to choose a fault point: the emulator has
/// one for the HTTPS port and one for the MQTT port.
#[must_use]
pub const fn is_web(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Https | TransportKind::MqttWs)
}
