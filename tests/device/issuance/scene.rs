//! An emulator that issues certificates for 7 days, and a device whose clock follows the emulator's.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hubward::device::{CertificateIssuance, DeviceEvents};
use hubward::hub::Backoff;
use hubward::{Device, DeviceEvent, DeviceSettings, Message, Settings, TransportKind};
use hubward_emulator::{Emulator, EventKind, EventSource};
use hubward_proto::service::AllocationPolicy;
use hubward_tests::cloud::{Cloud, HUB, fast_reconnect, settings};
use hubward_tests::pki::{Authority, Identity, Validity};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::scene::{DEVICE, OTHER_HUB, event, short};

/// The life of a certificate.
pub(super) const LIFE: Duration = days(7);

/// After this time, a renewal is due, with any jitter.
pub(super) const RENEWAL: Duration = days(6);

/// How the device proves its identity to DPS.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bootstrap {
    Key,
    Certificate,
}

pub(super) struct Scene {
    pub(super) cloud: Cloud,
    /// The settings of the device, with the credential for DPS.
    pub(super) settings: Settings,
    bootstrap: Bootstrap,
    factory: Identity,
    /// How far both clocks are ahead, in seconds.
    ahead: Arc<AtomicU64>,
    folder: TempDir,
}

/// The events of a device, from its start on.
pub(super) struct Heard(mpsc::UnboundedReceiver<DeviceEvent>);

/// A device that sends numbered messages all the time.
pub(super) struct Sender {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

pub(super) const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

impl Scene {
    /// Starts an emulator in which the device is enrolled with a policy for certificates.
    pub(super) async fn start(kind: TransportKind, bootstrap: Bootstrap) -> Self {
        let scene = Self::without_policy(kind, bootstrap).await;
        scene.cloud.emulator.put_credential_policy("week", 7).expect("a policy");
        scene.enroll(HUB, Some("week"));
        scene
    }

    /// Starts an emulator in which the device is enrolled without a policy for certificates.
    pub(super) async fn without_policy(kind: TransportKind, bootstrap: Bootstrap) -> Self {
        let cloud = Cloud::with(Emulator::builder().hubs([HUB, OTHER_HUB])).await;
        let folder = tempfile::tempdir().expect("a folder");
        let factory = Authority::root("factory").device(DEVICE, Validity::Now);
        let (chain, key) = factory.write(folder.path());
        let scene = Self {
            settings: settings(&cloud.emulator.ready().x509_vars(DEVICE, &chain, &key)),
            cloud,
            bootstrap,
            factory,
            ahead: Arc::default(),
            folder,
        };
        scene.enroll(HUB, None);
        let settings = match bootstrap {
            Bootstrap::Certificate => scene.settings.clone(),
            Bootstrap::Key => settings(&scene.cloud.emulator.vars(DEVICE).expect("an enrollment")),
        };
        let settings = settings.transport(kind).options(|it| it.hub_options(fast_reconnect()));
        Self { settings, ..scene }
    }

    /// Creates or changes the enrollment.
    pub(super) fn enroll(&self, hub: &str, policy: Option<&str>) {
        let enrollment = self.cloud.emulator.enrollment(DEVICE).allocation(AllocationPolicy::Static).hubs([hub]);
        let enrollment = match policy {
            Some(policy) => enrollment.credential_policy(policy),
            None => enrollment,
        };
        match self.bootstrap {
            Bootstrap::Key => enrollment.create().map(drop),
            Bootstrap::Certificate => enrollment.create_with_certificates(&self.factory.leaf().to_pem(), None),
        }
        .expect("a valid enrollment");
    }

    /// The file of the certificates.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("certificates")
    }

    /// The settings of the device, with short waits.
    pub(super) fn device(&self) -> DeviceSettings {
        let ahead = Arc::clone(&self.ahead);
        let issuance = CertificateIssuance::new(self.file())
            .clock(move || system_now() + Duration::from_secs(ahead.load(Ordering::SeqCst)))
            .check_every(Duration::from_millis(10))
            .retry_wait(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)));
        let cache = self.folder.path().join("assignment");
        self.settings.clone().device().cache(cache).policy(short()).certificate_issuance(issuance)
    }

    /// Connects the device.
    pub(super) async fn connect(&self) -> Device {
        self.device().connect().await.expect("a connected device")
    }

    /// Starts the device, without waiting for its hub. Returns its events from the start on, too.
    pub(super) fn spawn(&self, settings: DeviceSettings) -> (Device, Heard) {
        let (sender, heard) = mpsc::unbounded_channel();
        let settings = settings.on_event(move |it| drop(sender.send(it.clone())));
        (settings.spawn().expect("valid settings"), Heard(heard))
    }

    /// Connects the device. Returns its events from the start on, too.
    pub(super) async fn connect_with_events(&self) -> (Device, Vec<String>) {
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&events);
        let settings = self.device().on_event(move |it| heard.lock().expect("events").push(it.to_string()));
        let device = settings.connect().await.expect("a connected device");
        let events = events.lock().expect("events").clone();
        (device, events)
    }

    /// Moves the clocks of the emulator and of the device ahead.
    pub(super) fn pass(&self, time: Duration) {
        let ahead = self.ahead.load(Ordering::SeqCst) + time.as_secs();
        self.cloud.emulator.clock_ahead(Duration::from_secs(ahead));
        self.set_device_clock(Duration::from_secs(ahead));
    }

    /// Sets how far the clock of the device is ahead. The clock of the emulator stays.
    pub(super) fn set_device_clock(&self, ahead: Duration) {
        self.ahead.store(ahead.as_secs(), Ordering::SeqCst);
    }

    /// Waits until the condition holds. Looks again and again, because the emulator notes an event only after the
    /// change.
    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        let started = tokio::time::Instant::now();
        while !condition() {
            let events = self.cloud.emulator.events().all();
            assert!(started.elapsed() < Duration::from_secs(60), "{events:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Number of events of this kind in the emulator.
    fn count(&self, source: EventSource, kinds: &[EventKind]) -> usize {
        let events = self.cloud.emulator.events().all();
        events.iter().filter(|it| it.source == source && kinds.contains(&it.kind)).count()
    }

    /// Number of registrations that DPS has accepted or refused.
    pub(super) fn registrations(&self) -> usize {
        let outcomes = [EventKind::Registered, EventKind::RegistrationFailed, EventKind::Refused];
        self.count(EventSource::Dps, &outcomes)
    }

    /// Number of connections that the hubs have accepted.
    pub(super) fn logins(&self) -> usize {
        self.count(EventSource::Hub, &[EventKind::Connected])
    }

    /// Number of connections that the hubs have refused.
    pub(super) fn refused_logins(&self) -> usize {
        self.count(EventSource::Hub, &[EventKind::Refused])
    }

    /// Number of certificates that DPS and the hubs have issued.
    pub(super) fn issued(&self) -> (usize, usize) {
        let kind = [EventKind::CertificateIssued];
        (self.count(EventSource::Dps, &kind), self.count(EventSource::Hub, &kind))
    }

    /// Sends a message, and checks that the hub got it from a device with a certificate.
    pub(super) async fn send_with_certificate(&self, device: &Device, text: &str) {
        device.send(Message::new(text.to_owned())).await.expect("acknowledged");
        let log: Vec<_> = [HUB, OTHER_HUB].iter().filter_map(|it| self.cloud.emulator.telemetry(it)).collect();
        let found = log.iter().flat_map(|it| it.all()).find(|it| it.body_text() == text).expect("the message");
        let stamps = found.stamps();
        assert!(stamps.iter().any(|(_, value)| value.contains(r#""type":"x509""#)), "{stamps:?}");
    }
}

impl Heard {
    /// Waits for an event that satisfies `wanted`.
    pub(super) async fn next(&mut self, wanted: impl Fn(&DeviceEvent) -> bool) -> DeviceEvent {
        loop {
            let event = self.0.recv().await.expect("the device has not ended");
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Sender {
    /// Starts to send.
    pub(super) fn start(device: &Device) -> Self {
        let (device, is_over) = (device.clone(), Arc::new(AtomicBool::new(false)));
        let is_over_there = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !is_over_there.load(Ordering::SeqCst) {
                device.send(Message::new(format!("message {number}"))).await.expect("acknowledged");
                number += 1;
                tokio::task::yield_now().await;
            }
            number
        });
        Self { is_over, task }
    }

    /// Ends, and checks that the hubs have every message, in their order. Returns the number of messages.
    pub(super) async fn finish(self, cloud: &Cloud) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        let sent = self.task.await.expect("each message is acknowledged");
        let log = cloud.emulator.telemetry(HUB).expect("the hub");
        let mut found: Vec<String> = log.all().iter().map(|it| it.body_text()).collect();
        found.retain(|it| it.starts_with("message "));
        // A message whose acknowledgement was lost may be there twice.
        found.dedup();
        let expected: Vec<String> = (0..sent).map(|it| format!("message {it}")).collect();
        assert!(found == expected, "{} of {sent} messages", found.len());
        sent
    }
}

/// Waits until the device keeps a renewed certificate.
pub(super) async fn renewed(events: &mut DeviceEvents) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let next = event(events, |_| true).await;
        texts.push(next.to_string());
        if matches!(next, DeviceEvent::CertificateKept { .. }) {
            return texts;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the device is ahead of the system's")]
fn system_now() -> SystemTime {
    SystemTime::now()
}
