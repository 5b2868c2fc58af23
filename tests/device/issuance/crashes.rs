//! A device that ends at any step of an issuance. The next start works.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubward::{DeviceEvent, TransportKind};
use hubward_emulator::{Fault, Point};
use tokio::sync::Notify;

use super::super::on_every_transport;
use super::scene::{Bootstrap, RENEWAL, Scene};

on_every_transport!(
    at_each_step_of_a_registration,
    at_each_step_of_a_renewal,
    a_renewed_certificate_that_was_never_accepted_is_rolled_back_after_a_crash,
    at_random_moments,
    a_damaged_file_is_set_aside,
);

/// When a device ends.
#[derive(Debug, Clone)]
enum Moment {
    /// When this fault has happened at this point.
    Fault(Point, Fault),
    /// When the certificate is stored. The hub does not answer the connection with it.
    Stored,
}

/// Starts the device, and drops it at this moment. `pass` is the time that passes after the start.
async fn run_until(scene: &Scene, moment: &Moment, pass: Option<Duration>) {
    let emulator = &scene.cloud.emulator;
    let stored = Arc::new(Notify::new());
    let notify = Arc::clone(&stored);
    let settings = scene.device().on_event(move |it| {
        if matches!(it, DeviceEvent::CertificateIssued { .. }) {
            notify.notify_one();
        }
    });
    let device = settings.spawn().expect("valid settings");
    if pass.is_some() {
        device.connected().await.expect("the device has not ended");
    }
    let (point, fault) = match moment {
        Moment::Fault(point, fault) => (*point, fault.clone()),
        Moment::Stored => (Point::HubConnect, Fault::Never),
    };
    emulator.fault(point, fault).expect("a fault that fits");
    if let Some(time) = pass {
        scene.pass(time);
    }
    match moment {
        Moment::Fault(point, _) => scene.until(|| emulator.faults_left(*point) == 0).await,
        Moment::Stored => stored.notified().await,
    }
    drop(device);
    emulator.clear_faults();
}

async fn at_each_step_of_a_registration(kind: TransportKind) {
    for (moment, registrations, issued) in [
        // The request has left the device, and DPS has not read it.
        (Moment::Fault(Point::DpsRegister, Fault::Never), 1, 1),
        // DPS has issued a certificate, and the device has not received it.
        (Moment::Fault(Point::DpsPoll, Fault::Never), 2, 2),
        // The device has stored the certificate, but perhaps not its hub.
        (Moment::Stored, 2, 2),
        // The device has stored both, and has not used them.
        (Moment::Fault(Point::HubConnect, Fault::Never), 1, 1),
    ] {
        let scene = Scene::start(kind, Bootstrap::Key).await;
        run_until(&scene, &moment, None).await;
        let (device, events) = scene.connect_with_events().await;
        scene.send_with_certificate(&device, "after the crash").await;
        let found = (scene.registrations(), scene.issued(), scene.refused_logins());
        assert!(found.0 <= registrations && found.1.0 <= issued && found.2 == 0, "{moment:?}: {found:?} {events:#?}");
        assert!(!events.iter().any(|it| it.contains("the device starts without it")), "{moment:?}: {events:#?}");
        drop(device);
        let (device, events) = scene.connect_with_events().await;
        scene.send_with_certificate(&device, "after a restart").await;
        assert_eq!(scene.registrations(), found.0, "{moment:?}: {events:#?}");
    }
}

async fn at_each_step_of_a_renewal(kind: TransportKind) {
    let hour = Duration::from_secs(60 * 60);
    for (moment, issued) in [
        // The request has left the device, and the hub has not read it.
        (Moment::Fault(Point::HubCertificateRequest, Fault::Never), 1),
        // The hub works on the request. The next request replaces it.
        (Moment::Fault(Point::HubCertificate, Fault::Delay(hour)), 1),
        // The hub has issued a certificate, and the device has not received it.
        (Moment::Fault(Point::HubCertificate, Fault::Never), 2),
        // The device has stored the certificate, and has not used it.
        (Moment::Stored, 1),
    ] {
        let scene = Scene::start(kind, Bootstrap::Key).await;
        drop(scene.connect().await);
        run_until(&scene, &moment, Some(RENEWAL)).await;
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, kept) = (Arc::clone(&events), Arc::new(Notify::new()));
        let notify = Arc::clone(&kept);
        let settings = scene.device().on_event(move |it| {
            heard.lock().expect("events").push(it.to_string());
            if matches!(it, DeviceEvent::CertificateKept { .. }) {
                notify.notify_one();
            }
        });
        let device = settings.connect().await.expect("a connected device");
        kept.notified().await;
        scene.send_with_certificate(&device, "with the renewed certificate").await;
        let events = events.lock().expect("events").clone();
        let found = (scene.registrations(), scene.issued(), scene.refused_logins());
        assert_eq!(found, (1, (1, issued), 0), "{moment:?}: {events:#?}");
        assert!(!events.iter().any(|it| it.contains("could not be renewed")), "{moment:?}: {events:#?}");
    }
}

async fn a_renewed_certificate_that_was_never_accepted_is_rolled_back_after_a_crash(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    drop(scene.connect().await);
    run_until(&scene, &Moment::Fault(Point::HubConnect, Fault::Never), Some(RENEWAL)).await;
    scene.cloud.emulator.fault(Point::HubConnect, Fault::Connack(5)).expect("a fault that fits");
    let (device, mut events) = scene.spawn(scene.device());
    events.next(|it| matches!(it, DeviceEvent::CertificateRolledBack { .. })).await;
    events.next(|it| matches!(it, DeviceEvent::Connected { .. })).await;
    events.next(|it| matches!(it, DeviceEvent::CertificateKept { .. })).await;
    scene.send_with_certificate(&device, "with the renewed certificate").await;
    assert_eq!((scene.registrations(), scene.issued()), (1, (1, 2)));
}

async fn at_random_moments(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let mut rng = fastrand::Rng::with_seed(kind as u64);
    let mut starts = 0;
    for round in 0..12 {
        if round % 3 == 1 {
            scene.pass(RENEWAL);
        }
        let device = scene.device().spawn().expect("valid settings");
        tokio::time::sleep(Duration::from_micros(rng.u64(..60_000))).await;
        drop(device);
        starts += 1;
        let (device, events) = scene.connect_with_events().await;
        scene.send_with_certificate(&device, &format!("round {round}")).await;
        assert!(!events.iter().any(|it| it.contains("the device starts without it")), "round {round}: {events:#?}");
        starts += 1;
    }
    assert!(scene.registrations() <= starts, "{} registrations in {starts} starts", scene.registrations());
}

async fn a_damaged_file_is_set_aside(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    drop(scene.connect().await);
    let good = std::fs::read(scene.file()).expect("a file");
    std::fs::write(scene.file(), &good[..good.len() / 2]).expect("a file");
    let (device, events) = scene.connect_with_events().await;
    scene.send_with_certificate(&device, "x").await;
    assert!(
        events.iter().any(|it| it.starts_with("the certificate store `") && it.contains("is damaged")),
        "{events:#?}"
    );
    assert_eq!((scene.registrations(), scene.issued(), scene.refused_logins()), (2, (2, 0), 0), "{events:#?}");
}
