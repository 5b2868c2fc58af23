//! Certificates from the first one to the last one: bootstrap, renewals, expiry.

use hubward::{Device, DeviceEvent, Message, TransportKind};
use hubward_tests::cloud::HUB;

use super::super::on_every_transport;
use super::super::scene::{DEVICE, OTHER_HUB, event, hub_of};
use super::scene::{Bootstrap, LIFE, RENEWAL, Scene, Sender, renewed};

on_every_transport!(
    three_renewals_after_a_bootstrap_with_a_key,
    three_renewals_after_a_bootstrap_with_a_certificate,
    a_start_uses_the_stored_certificate_without_dps,
    a_certificate_that_expired_while_the_device_was_off_is_replaced,
    a_certificate_that_expires_while_the_device_is_connected_is_replaced,
    a_move_brings_a_new_certificate,
    without_a_policy_the_device_uses_its_credential,
    a_policy_that_is_removed_ends_the_certificates,
);

async fn three_renewals_after_a_bootstrap_with_a_key(kind: TransportKind) {
    three_renewals(kind, Bootstrap::Key).await;
}

async fn three_renewals_after_a_bootstrap_with_a_certificate(kind: TransportKind) {
    three_renewals(kind, Bootstrap::Certificate).await;
}

async fn three_renewals(kind: TransportKind, bootstrap: Bootstrap) {
    let scene = Scene::start(kind, bootstrap).await;
    let (device, events) = scene.connect_with_events().await;
    let expected = [
        "the device registers at ",
        "DPS assigned the device to localhost as dev-1",
        "DPS issued a certificate to the device, which will renew it in 5 days ",
        "the hub localhost accepted the device with the issued certificate",
    ];
    assert_eq!(events.len(), expected.len(), "{events:#?}");
    assert!(events.iter().zip(expected).all(|(event, start)| event.starts_with(start)), "{events:#?}");
    scene.send_with_certificate(&device, "with the first certificate").await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    for renewal in 1..=3 {
        scene.pass(RENEWAL);
        let texts = renewed(&mut events).await;
        let expected = [
            "the hub issued a certificate to the device, which will renew it in 5 days ",
            "the hub localhost accepted the device with the issued certificate",
            "the hub accepted the renewed certificate: the device keeps it",
        ];
        assert_eq!(texts.len(), expected.len(), "renewal {renewal}: {texts:#?}");
        assert!(texts.iter().zip(expected).all(|(text, start)| text.starts_with(start)), "{renewal}: {texts:#?}");
        scene.send_with_certificate(&device, &format!("with the renewed certificate {renewal}")).await;
        assert_eq!((scene.issued(), scene.logins()), ((1, renewal), 1 + renewal), "one login for each");
    }
    assert!(sender.finish(&scene.cloud).await > 3, "the device has sent messages all the time");
    assert_eq!(scene.registrations(), 1, "DPS was not needed any more");
}

async fn a_start_uses_the_stored_certificate_without_dps(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    drop(scene.connect().await);
    for start in 1..=2 {
        let (device, events) = scene.connect_with_events().await;
        scene.send_with_certificate(&device, &format!("start {start}")).await;
        assert_eq!((scene.registrations(), scene.issued()), (1, (1, 0)), "start {start}: {events:#?}");
        assert!(
            events[0].starts_with("the device uses the hub localhost and the device id dev-1 from the cache"),
            "{events:#?}"
        );
    }
    // A certificate that became due while the device was off is renewed at once.
    scene.pass(RENEWAL);
    let device = scene.connect().await;
    scene.until(|| scene.issued() == (1, 1) && scene.logins() == 5).await;
    scene.send_with_certificate(&device, "with the renewed certificate").await;
    assert_eq!(scene.registrations(), 1);
}

async fn a_certificate_that_expired_while_the_device_was_off_is_replaced(kind: TransportKind) {
    for bootstrap in [Bootstrap::Key, Bootstrap::Certificate] {
        let scene = Scene::start(kind, bootstrap).await;
        drop(scene.connect().await);
        scene.pass(LIFE);
        let (device, events) = scene.connect_with_events().await;
        assert!(events[1].ends_with("the issued certificate has expired"), "{events:#?}");
        scene.send_with_certificate(&device, "x").await;
        assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (2, (2, 0), 2), "{events:#?}");
    }
}

async fn a_certificate_that_expires_while_the_device_is_connected_is_replaced(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let sender = Sender::start(&device);
    scene.pass(LIFE);
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    scene.send_with_certificate(&device, "with the second certificate").await;
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (2, (2, 0), 2));
    // The next one is renewed as usual.
    scene.pass(RENEWAL);
    renewed(&mut events).await;
    assert_eq!((scene.registrations(), scene.issued()), (2, (2, 1)));
    sender.finish(&scene.cloud).await;
}

async fn a_move_brings_a_new_certificate(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    let mut events = device.events();
    scene.enroll(OTHER_HUB, Some("week"));
    device.reprovision();
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { moved_from: Some(_), .. })).await;
    assert_eq!(hub_of(&device), OTHER_HUB);
    scene.send_with_certificate(&device, "at the other hub").await;
    scene.pass(RENEWAL);
    renewed(&mut events).await;
    // The hub deletes the device: DPS creates it again, with another certificate.
    scene.enroll(HUB, Some("week"));
    assert!(scene.cloud.emulator.delete_device(OTHER_HUB, DEVICE), "the hub knows the device");
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { moved_from: Some(_), .. })).await;
    scene.send_with_certificate(&device, "at the first hub").await;
    assert_eq!((scene.registrations(), scene.issued()), (3, (3, 1)));
}

async fn without_a_policy_the_device_uses_its_credential(kind: TransportKind) {
    let scene = Scene::without_policy(kind, Bootstrap::Key).await;
    let (device, events) = scene.connect_with_events().await;
    assert!(
        events.contains(
            &"the device has no issued certificate: DPS has assigned the hub without a certificate; it uses the \
              primary key at the hub too"
                .to_owned()
        ),
        "{events:#?}"
    );
    device.send(Message::new("x")).await.expect("acknowledged");
    drop(device);
    let (device, events) = scene.connect_with_events().await;
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.logins()), (1, 2), "the second start asks DPS nothing: {events:#?}");
    // The next registration asks again.
    scene.cloud.emulator.put_credential_policy("week", 7).expect("a policy");
    scene.enroll(HUB, Some("week"));
    reprovision(&device).await;
    scene.send_with_certificate(&device, "with a certificate").await;
    assert_eq!((scene.registrations(), scene.issued()), (2, (1, 0)));
}

async fn a_policy_that_is_removed_ends_the_certificates(kind: TransportKind) {
    let scene = Scene::start(kind, Bootstrap::Key).await;
    let device = scene.connect().await;
    scene.cloud.emulator.delete(DEVICE).expect("an enrollment");
    let keys = scene.settings.credential.clone();
    let hubward::Credential::SharedKey(key) = keys else { panic!("{keys:?}") };
    let enrollment = scene.cloud.emulator.enrollment(DEVICE).hubs([HUB]).keys(&key, &key);
    enrollment.create().expect("an enrollment");
    reprovision(&device).await;
    device.send(Message::new("with the key")).await.expect("acknowledged");
    drop(device);
    let device = scene.connect().await;
    device.send(Message::new("with the key again")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.issued(), scene.logins()), (2, (1, 0), 3));
}

/// Registers the device again, and waits until it is connected.
async fn reprovision(device: &Device) {
    let mut events = device.events();
    device.reprovision();
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
}
