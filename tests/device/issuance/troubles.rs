//! Hubs and a DPS that refuse, fail, throttle or do not answer while a certificate is renewed.

use std::time::Duration;

use hubward::device::CredentialChangeError;
use hubward::{DeviceEvent, Message, SharedKey, TransportKind};
use hubward_emulator::{ConnectionState, Fault, Point};
use hubward_tests::cloud::HUB;
use tokio::task::JoinSet;

use super::super::on_every_transport;
use super::super::scene::{DEVICE, event, short};
use super::scene::{Bootstrap, LIFE, RENEWAL, Scene, Sender, days, renewed};

on_every_transport!(
    a_failed_renewal_is_tried_again,
    a_hub_that_never_renews_leads_back_to_dps,
    a_refused_certificate_is_rolled_back,
    a_hub_that_fails_with_the_new_certificate_gets_the_old_one,
    a_hub_that_refuses_every_certificate_leads_back_to_dps,
    an_expired_certificate_waits_for_dps,
    a_connected_device_with_an_expired_certificate_stays_connected_while_dps_fails,
    a_clock_that_was_wrong_at_the_start_leads_back_to_the_hub,
    a_wrong_clock_causes_no_needless_certificates,
    an_interrupted_registration_continues_with_its_request,
    a_device_without_a_certificate_uses_its_cache_if_dps_fails,
    new_credentials_are_tried_at_dps,
    a_device_ends_during_a_request,
);

/// The body of a hub that is busy.
fn busy(retry_after: u64) -> Fault {
    let body = format!(
        "{{\"errorCode\":429002,\"message\":\"busy\",\"trackingId\":\"t\",\
         \"timestampUtc\":\"2026-01-31T00:49:39.467401528Z\",\"info\":null,\"retryAfter\":{retry_after}}}"
    );
    Fault::Body { status: 429, content_type: "application/json".into(), bytes: body.into_bytes() }
}

async fn a_failed_renewal_is_tried_again(kind: TransportKind) {
    let (request, result) = (Point::HubCertificateRequest, Point::HubCertificate);
    let mut cases = JoinSet::new();
    for (point, fault, times, expected) in [
        (request, Fault::status(400, 400_004, "no"), 1, "refused (exchange) with status 400, code 400004: no"),
        // The client tries three times to replace the pending request.
        (request, Fault::status(409, 409_004, "another"), 4, "refused (exchange) with status 409, code 409004"),
        (request, Fault::status(403, 403_010, "tier"), 1, "refused (exchange) with status 403, code 403010"),
        (request, busy(2), 1, "refused (exchange) with status 429, code 429002: busy"),
        (request, Fault::Never, 1, "the hub did not send a certificate"),
        (result, Fault::status(400, 400_037, "no"), 1, "refused (exchange) with status 400, code 400037: no"),
        (result, Fault::Never, 1, "the hub did not send a certificate"),
        (result, Fault::wrong_json(), 1, "cannot be read"),
    ] {
        cases.spawn(fail_once(kind, point, fault, times, expected));
    }
    while let Some(case) = cases.join_next().await {
        case.expect("a case without a panic");
    }
}

/// A renewal fails in this way, and the next one works.
async fn fail_once(kind: TransportKind, point: Point, fault: Fault, times: usize, expected: &str) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let mut settings = scene.device();
    if let Some(issuance) = &mut settings.certificate_issuance {
        issuance.request_timeout = Duration::from_secs(1);
    }
    let device = settings.connect().await.expect("a connected device");
    let mut events = device.events();
    let sender = Sender::start(&device);
    for _ in 0..times {
        scene.cloud.emulator.fault(point, fault.clone()).expect("a fault that fits");
    }
    scene.pass(RENEWAL);
    let failed = event(&mut events, |it| matches!(it, DeviceEvent::CertificateRenewalFailed { .. })).await;
    let text = failed.to_string();
    assert!(text.contains(expected) && failed.is_trouble(), "{fault:?}: {text}");
    let DeviceEvent::CertificateRenewalFailed { retry_in, .. } = failed else { unreachable!("the same event") };
    // The hub asks for 2 s. Otherwise, the wait is between 0.5 and 1 s.
    let asked = if fault == busy(2) { Duration::from_secs(2) } else { Duration::from_millis(500) };
    assert!(retry_in >= asked && retry_in <= asked + Duration::from_secs(1), "{fault:?}: {retry_in:?}");
    renewed(&mut events).await;
    scene.send_with_certificate(&device, "with the renewed certificate").await;
    sender.finish(&scene.cloud).await;
    assert_eq!((scene.registrations(), scene.logins()), (1, 2), "{fault:?}");
}

async fn a_hub_that_never_renews_leads_back_to_dps(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    let fault = Fault::status(500, 500_001, "no");
    scene.cloud.emulator.fault_always(Point::HubCertificateRequest, fault).expect("a fault that fits");
    scene.pass(RENEWAL);
    let failed = event(&mut events, |it| matches!(it, DeviceEvent::CertificateRenewalFailed { .. })).await;
    assert!(failed.to_string().contains("trying again in 5 min"), "the usual time for this code: {failed}");
    scene.pass(days(1));
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    scene.send_with_certificate(&device, "with the certificate of DPS").await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (2, (2, 0), 2));
    sender.finish(&scene.cloud).await;
}

async fn a_refused_certificate_is_rolled_back(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    scene.cloud.emulator.fault(Point::HubConnect, Fault::Connack(5)).expect("a fault that fits");
    scene.pass(RENEWAL);
    let rolled_back = event(&mut events, |it| matches!(it, DeviceEvent::CertificateRolledBack { .. })).await;
    let text = rolled_back.to_string();
    assert!(text.starts_with("the renewed certificate does not work: localhost:"), "{text}");
    let end = "the device uses the old one again, connecting with the issued certificate now, because the previous \
               certificate is still valid";
    assert!(text.ends_with(end), "{text}");
    // The device works with the old certificate, and tries again.
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    renewed(&mut events).await;
    sender.finish(&scene.cloud).await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (1, (1, 2), 3));
}

async fn a_hub_that_fails_with_the_new_certificate_gets_the_old_one(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    for _ in 0..3 {
        scene.cloud.emulator.fault(Point::HubConnect, Fault::Connack(3)).expect("a fault that fits");
    }
    scene.pass(RENEWAL);
    event(&mut events, |it| matches!(it, DeviceEvent::CertificateRolledBack { .. })).await;
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    renewed(&mut events).await;
    sender.finish(&scene.cloud).await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (1, (1, 2), 3));
}

async fn a_hub_that_refuses_every_certificate_leads_back_to_dps(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Certificate).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    // The renewed certificate and the one before it.
    for _ in 0..2 {
        scene.cloud.emulator.fault(Point::HubConnect, Fault::Connack(5)).expect("a fault that fits");
    }
    scene.pass(RENEWAL);
    event(&mut events, |it| matches!(it, DeviceEvent::CertificateRolledBack { .. })).await;
    let refused = event(&mut events, |it| matches!(it, DeviceEvent::HubFailed { .. })).await;
    assert!(refused.to_string().contains("connecting with the issued certificate now"), "{refused}");
    let refused = event(&mut events, |it| matches!(it, DeviceEvent::HubFailed { .. })).await;
    assert!(refused.to_string().contains("registering with the certificate "), "{refused}");
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    sender.finish(&scene.cloud).await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (2, (2, 1), 2));
}

async fn an_expired_certificate_waits_for_dps(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    drop(scene.connect().await);
    scene.pass(LIFE);
    let fault = Fault::status(503, 503_000, "no");
    for _ in 0..3 {
        scene.cloud.emulator.fault(Point::DpsRegister, fault.clone()).expect("a fault that fits");
    }
    let (device, mut events) = scene.spawn(scene.device());
    scene.until(|| scene.cloud.emulator.faults_left(Point::DpsRegister) == 0).await;
    events.next(|it| matches!(it, DeviceEvent::Connected { .. })).await;
    scene.send_with_certificate(&device, "x").await;
    assert_eq!((scene.issued(), scene.logins(), scene.refused_logins()), ((2, 0), 2, 0));
}

async fn a_connected_device_with_an_expired_certificate_stays_connected_while_dps_fails(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    for _ in 0..2 {
        scene.cloud.emulator.fault(Point::DpsRegister, Fault::Cut).expect("a fault that fits");
    }
    scene.pass(LIFE);
    for _ in 0..2 {
        let failed = event(&mut events, |it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
        assert!(failed.to_string().ends_with("staying with the hub, because DPS is not reachable"), "{failed}");
        assert_eq!(scene.logins(), 1, "the connection works all the time");
    }
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    scene.send_with_certificate(&device, "with the second certificate").await;
    sender.finish(&scene.cloud).await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (1 + 1, (2, 0), 2));
}

async fn a_clock_that_was_wrong_at_the_start_leads_back_to_the_hub(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    drop(scene.connect().await);
    scene.cloud.emulator.fault_always(Point::DpsRegister, Fault::Cut).expect("a fault that fits");
    scene.set_device_clock(days(1000));
    let (device, mut events) = scene.spawn(scene.device());
    for _ in 0..2 {
        events.next(|it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
    }
    scene.set_device_clock(Duration::ZERO);
    events.next(|it| matches!(it, DeviceEvent::Connected { .. })).await;
    scene.send_with_certificate(&device, "with the first certificate").await;
    assert_eq!((scene.registrations(), scene.issued(), scene.refused_logins()), (1, (1, 0), 0));
}

async fn a_wrong_clock_causes_no_needless_certificates(kind: TransportKind) {
    for ahead in [days(6), days(1000)] {
        let scene = Scene::start(kind, Bootstrap::Certificate).await;
        scene.set_device_clock(ahead);
        let device = scene.connect().await;
        scene.send_with_certificate(&device, "with the first certificate").await;
        let mut events = device.events();
        // The clock is still wrong, and the certificate is due.
        scene.cloud.emulator.clock_ahead(RENEWAL);
        scene.set_device_clock(ahead + RENEWAL);
        renewed(&mut events).await;
        scene.send_with_certificate(&device, "with the second certificate").await;
        assert_eq!((scene.registrations(), scene.issued()), (1, (1, 1)), "{ahead:?}");
    }
}

async fn an_interrupted_registration_continues_with_its_request(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    scene.cloud.emulator.fault(Point::DpsPoll, Fault::Never).expect("a fault that fits");
    let policy = short().registration_timeout(Duration::from_secs(2));
    let (device, _events) = scene.spawn(scene.device().policy(policy));
    device.connected().await.expect("the device has not ended");
    scene.send_with_certificate(&device, "x").await;
    assert_eq!((scene.registrations(), scene.issued(), scene.refused_logins()), (1, (1, 0), 0));
}

/// The program has just switched on issued certificates.
async fn a_device_without_a_certificate_uses_its_cache_if_dps_fails(kind: TransportKind) {
    let scene = Scene::without_policy(kind, Bootstrap::Key).await;
    let mut settings = scene.device();
    settings.certificate_issuance = None;
    drop(settings.connect().await.expect("a connected device"));
    scene.cloud.emulator.fault_always(Point::DpsRegister, Fault::Cut).expect("a fault that fits");
    let (device, events) = scene.connect_with_events().await;
    let accepted = "the hub localhost accepted the device with the primary key".to_owned();
    assert!(events[2].contains("failed") && events.contains(&accepted), "{events:#?}");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.logins()), (1, 2));
    // The next start asks DPS again.
    drop(device);
    scene.cloud.emulator.clear_faults();
    scene.cloud.emulator.put_credential_policy("week", 7).expect("a policy");
    scene.enroll(HUB, Some("week"));
    let device = scene.connect().await;
    scene.send_with_certificate(&device, "with a certificate").await;
    assert_eq!((scene.registrations(), scene.issued()), (2, (1, 0)));
}

/// The hub does not know the credentials of a device with a certificate.
async fn new_credentials_are_tried_at_dps(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let wrong = SharedKey::generate().expect("a key");
    let error = device.change_credentials([wrong]).await.expect_err("a wrong key");
    assert!(matches!(error, CredentialChangeError::RolledBack { .. }), "{error}");
    scene.until(|| scene.cloud.emulator.device(HUB, DEVICE).is_some()).await;
    scene.send_with_certificate(&device, "with the old key").await;
    let secondary = scene.cloud.emulator.enroll(DEVICE).expect("the enrollment").secondary_key().clone();
    device.change_credentials([secondary]).await.expect("DPS knows the second key");
    scene.send_with_certificate(&device, "with the second key").await;
    assert_eq!(scene.refused_logins(), 0);
}

async fn a_device_ends_during_a_request(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    scene.cloud.emulator.fault(Point::HubCertificateRequest, Fault::Never).expect("a fault that fits");
    scene.pass(RENEWAL);
    scene.until(|| scene.cloud.emulator.faults_left(Point::HubCertificateRequest) == 0).await;
    drop(device);
    let is_off = || {
        let found = scene.cloud.emulator.device(HUB, DEVICE).expect("the device");
        found.connection_state == ConnectionState::Disconnected
    };
    scene.until(is_off).await;
}
