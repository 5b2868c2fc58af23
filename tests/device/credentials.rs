//! A device changes its credentials while it is running.

use hubward::device::CredentialChangeError;
use hubward::{DeviceEvent, Message, SharedKey, TransportKind};
use hubward_tests::cloud::HUB;
use hubward_tests::pki::{Identity, Validity};

use super::on_every_transport;
use super::scene::{DEVICE, Scene, event};

on_every_transport!(
    a_second_key_replaces_the_first_one,
    a_wrong_key_is_rolled_back,
    a_new_certificate_replaces_the_old_one,
);

async fn a_second_key_replaces_the_first_one(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    let enrollment = scene.cloud.emulator.enroll(DEVICE).expect("the enrollment");
    let secondary = enrollment.secondary_key().clone();
    device.change_credentials([secondary.clone()]).await.expect("the hub knows the second key");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.logins()), (1, 2), "no registration");
    // The cache belongs to the new key.
    drop(device);
    let again = scene.device().settings(|it| it.credential(secondary)).connect().await.expect("a connected device");
    again.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 1);
}

async fn a_wrong_key_is_rolled_back(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let wrong = SharedKey::generate().expect("a key");
    let error = device.change_credentials([wrong]).await.expect_err("a wrong key");
    assert!(matches!(error, CredentialChangeError::RolledBack { .. }), "{error}");
    event(&mut events, |it| matches!(it, DeviceEvent::CredentialsRolledBack { .. })).await;
    device.send(Message::new("x")).await.expect("acknowledged with the old key");
    assert!(scene.is_connected_to(HUB));
}

/// Source: `[doc]` iot-dps/how-to-roll-certificates.md: the new certificate becomes the secondary one of the
/// enrollment, and the hub gets to know it when the device registers.
async fn a_new_certificate_replaces_the_old_one(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let [old, new] = [(); 2].map(|()| Identity::self_signed(DEVICE, Validity::Now));
    let enroll = |secondary: Option<&Identity>| {
        let enrollment = scene.cloud.emulator.enrollment(DEVICE).hubs([HUB]);
        let secondary = secondary.map(|it| it.leaf().to_pem());
        enrollment.create_with_certificates(&old.leaf().to_pem(), secondary.as_deref()).expect("an enrollment");
    };
    enroll(None);
    let settings = scene.device().settings(|it| it.credential(old.client_certificate()));
    let device = settings.connect().await.expect("a connected device");
    enroll(Some(&new));
    device.change_credentials([new.client_certificate()]).await.expect("DPS knows the new certificate");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 2, "the hub knows the new certificate after a registration");
}
