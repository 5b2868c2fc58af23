//! An emulator with two hubs, and a device with an assignment cache.

use std::path::PathBuf;
use std::time::Duration;

use hubward::device::DeviceEvents;
use hubward::hub::Backoff;
use hubward::{Device, DeviceEvent, DevicePolicy, DeviceSettings, HubOptions, Settings, TransportKind};
use hubward_emulator::{ConnectionState, Emulator, EventKind, EventSource};
use hubward_proto::service::{AllocationPolicy, InitialTwin};
use hubward_tests::cloud::{Cloud, HUB, fast_reconnect, settings};
use tempfile::TempDir;

/// The registration id and the device id.
pub(super) const DEVICE: &str = "dev-1";

/// The hub to which a device moves.
pub(super) const OTHER_HUB: &str = "127.0.0.1";

pub(super) struct Scene {
    pub(super) cloud: Cloud,
    /// The settings of the device, with the primary key of its enrollment.
    pub(super) settings: Settings,
    folder: TempDir,
}

impl Scene {
    /// Starts an emulator in which the device is enrolled at [`HUB`].
    pub(super) async fn start(kind: TransportKind) -> Self {
        let cloud = Cloud::with(Emulator::builder().hubs([HUB, OTHER_HUB])).await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = enroll(&cloud, HUB).transport(kind).options(|it| it.hub_options(short_waits()));
        Self { cloud, settings, folder }
    }

    /// Changes the enrollment: its device belongs to this hub.
    pub(super) fn assign(&self, hub: &str) {
        let _unchanged = enroll(&self.cloud, hub);
    }

    /// The file of the assignment cache.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.path().join("assignment.cache")
    }

    /// The settings of the device, with short waits and its cache.
    pub(super) fn device(&self) -> DeviceSettings {
        self.settings.clone().device().cache(self.cache()).policy(short())
    }

    /// Connects the device.
    pub(super) async fn connect(&self) -> Device {
        self.device().connect().await.expect("a connected device")
    }

    /// Number of registrations that DPS has accepted or refused.
    pub(super) fn registrations(&self) -> usize {
        let events = self.cloud.emulator.events().all();
        let of_dps = events.iter().filter(|it| it.source == EventSource::Dps);
        let outcomes = [EventKind::Registered, EventKind::RegistrationFailed, EventKind::Refused];
        of_dps.filter(|it| outcomes.contains(&it.kind)).count()
    }

    /// Number of connections that the hubs have accepted.
    pub(super) fn logins(&self) -> usize {
        let events = self.cloud.emulator.events().all();
        events.iter().filter(|it| it.source == EventSource::Hub && it.kind == EventKind::Connected).count()
    }

    /// Waits until the device is connected to this hub.
    pub(super) async fn arrival(&self, hub: &str) {
        self.cloud.emulator.wait_until(|_| self.is_connected_to(hub).then_some(())).await;
    }

    /// Whether the device is connected to this hub.
    pub(super) fn is_connected_to(&self, hub: &str) -> bool {
        self.cloud.emulator.device(hub, DEVICE).is_some_and(|it| it.connection_state == ConnectionState::Connected)
    }
}

/// Waits for an event that satisfies `wanted`.
pub(super) async fn event(events: &mut DeviceEvents, wanted: impl Fn(&DeviceEvent) -> bool) -> DeviceEvent {
    loop {
        let event = events.next().await.expect("the device has not ended");
        if wanted(&event) {
            return event;
        }
    }
}

/// Options with which a client waits for milliseconds after a failure, also after a refusal.
fn short_waits() -> HubOptions {
    let wait = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
    fast_reconnect().refused_backoff(wait)
}

/// A policy whose waits last for milliseconds.
pub(super) fn short() -> DevicePolicy {
    let wait = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
    DevicePolicy::default()
        .hub_failures(3)
        .hub_failing_for(Duration::ZERO)
        .refused_wait(wait)
        .registration_wait(wait)
        .server_error_wait(Duration::ZERO)
        .limits_reconnects(false)
}

fn enroll(cloud: &Cloud, hub: &str) -> Settings {
    let mut twin = InitialTwin::default();
    twin.properties.desired.insert("interval".into(), 30.into());
    let enrollment = cloud.emulator.enrollment(DEVICE).allocation(AllocationPolicy::Static).hubs([hub]);
    settings(&enrollment.initial_twin(twin).create().expect("an enrollment").vars())
}

/// The hub of the client of a device.
pub(super) fn hub_of(device: &Device) -> String {
    device.login().map(|it| it.identity.host.to_string()).unwrap_or_default()
}
