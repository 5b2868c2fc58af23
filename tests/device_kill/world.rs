//! The emulator with two hubs, and one device at a time.

use std::sync::Arc;

use hubward_emulator::{Emulator, Enrollment, Event, EventKind, EventSource};
use hubward_tests::cloud::HUB;
use tempfile::TempDir;

const HUBS: [&str; 2] = [HUB, "127.0.0.1"];

/// The policy of the certificates that devices get.
const POLICY: &str = "week";

pub(super) struct World {
    emulator: Emulator,
    folder: TempDir,
    /// The number of the present device.
    number: usize,
    enrollment: Enrollment,
    /// The position in `HUBS` of the hub to which DPS assigns the device.
    hub: usize,
    /// Whether the device gets certificates, and renews them all the time.
    renews: bool,
}

impl World {
    pub(super) async fn start() -> Self {
        let emulator = Emulator::builder().hubs(HUBS).start().await.expect("the emulator starts");
        let folder = tempfile::tempdir().expect("a folder");
        emulator.put_credential_policy(POLICY, 7).expect("a policy of seven days");
        let enrollment = enroll(&emulator, 0, 0, false, None);
        Self { emulator, folder, number: 0, enrollment, hub: 0, renews: false }
    }

    /// Replaces the device with one that has never registered.
    pub(super) fn next_device(&mut self, renews: bool) {
        self.number += 1;
        self.renews = renews;
        self.enrollment = enroll(&self.emulator, self.number, self.hub, renews, None);
    }

    /// Moves the device to the other hub: its enrollment names only this hub, and the old hub does not know the device
    /// any more. So the old hub refuses the device, and it has to register.
    pub(super) fn move_device(&mut self) {
        let old = HUBS[self.hub];
        self.hub = 1 - self.hub;
        self.enrollment = enroll(&self.emulator, self.number, self.hub, self.renews, Some(&self.enrollment));
        self.emulator.delete_device(old, self.enrollment.registration_id());
    }

    /// The environment of the device.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.enrollment.vars();
        let cache = self.folder.path().join(format!("device-{}.json", self.number));
        variables.push(("HUBWARD_CACHE_FILE", cache.to_str().expect("text").to_owned()));
        variables.extend(self.renews.then(|| ("DEVICE_RENEWS", "1".to_owned())));
        variables
    }

    /// The hub to which DPS has assigned the device, if this hub still knows the device.
    pub(super) fn assigned_hub(&self) -> Option<String> {
        let id = self.enrollment.registration_id();
        let hub = self.emulator.registration(id)?.assigned_hub?;
        self.emulator.device(&hub, id).map(|_| hub)
    }

    /// How often the present device has registered.
    pub(super) fn registrations(&self) -> usize {
        let id = self.enrollment.registration_id();
        self.count(EventSource::Dps, EventKind::Registered, |it| it == id)
    }

    /// How many certificates the hubs have issued to all devices.
    pub(super) fn renewals(&self) -> usize {
        self.count(EventSource::Hub, EventKind::CertificateIssued, |_| true)
    }

    fn count(&self, source: EventSource, kind: EventKind, of: impl Fn(&str) -> bool) -> usize {
        let events = self.emulator.events().all();
        let is_counted = |it: &&Arc<Event>| it.source == source && it.kind == kind && it.id.as_deref().is_some_and(&of);
        events.iter().filter(is_counted).count()
    }
}

/// Creates the enrollment of a device, or changes it. A changed one keeps its keys.
fn enroll(emulator: &Emulator, number: usize, hub: usize, renews: bool, before: Option<&Enrollment>) -> Enrollment {
    let mut builder = emulator.enrollment(format!("dev-{number}")).hubs([HUBS[hub]]);
    if renews {
        builder = builder.credential_policy(POLICY);
    }
    if let Some(before) = before {
        builder = builder.keys(before.primary_key(), before.secondary_key());
    }
    builder.create().expect("a valid enrollment")
}
