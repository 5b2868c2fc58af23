//! How a device starts: with and without an assignment cache, and with settings that do not work.

use std::sync::{Arc, Mutex};

use hubward::device::{NamedCredential, SetAsideReason};
use hubward::{ConnectError, Credential, DeviceEvent, Message, SharedKey, TransportKind, json};
use hubward_tests::cloud::HUB;

use super::on_every_transport;
use super::scene::{DEVICE, Scene};

on_every_transport!(
    the_second_start_needs_no_dps,
    a_damaged_cache_is_set_aside,
    the_initial_twin_reaches_the_program,
    a_second_key_works,
    connect_fails_like_that_of_settings,
);

async fn the_second_start_needs_no_dps(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    device.send(Message::new("first")).await.expect("acknowledged");
    device.close(std::time::Duration::from_secs(10)).await.expect("nothing is left");
    assert_eq!((scene.registrations(), scene.logins()), (1, 1));
    let device = scene.connect().await;
    device.send(Message::new("second")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.logins()), (1, 2), "no registration, one login");
}

async fn a_damaged_cache_is_set_aside(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    drop(scene.connect().await);
    std::fs::write(scene.cache(), b"{ not what was written").expect("a file");
    let events: Arc<Mutex<Vec<DeviceEvent>>> = Arc::default();
    let heard = Arc::clone(&events);
    let settings = scene.device().on_event(move |it| heard.lock().expect("events").push(it.clone()));
    let device = settings.connect().await.expect("a damaged cache stops nothing");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 2);
    let events = events.lock().expect("events");
    let Some(DeviceEvent::CacheSetAside(warning)) = events.first() else { panic!("{events:?}") };
    assert!(matches!(warning.reason, SetAsideReason::Damaged(_)), "{warning}");
    let kept = warning.renamed_to.as_ref().expect("a new name");
    assert!(kept.exists() && scene.cache().exists(), "the damaged file is kept, and there is a new cache");
}

async fn the_initial_twin_reaches_the_program(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.device().spawn().expect("valid settings");
    let mut desired = device.desired().expect("a receiver");
    let properties = desired.changed().await.expect("the first state");
    assert_eq!(properties.values.get("interval"), Some(&json!(30)));
}

async fn a_second_key_works(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let right = scene.settings.credential.clone();
    let wrong = SharedKey::generate().expect("a key");
    let settings =
        scene.device().settings(|it| it.credential(wrong)).fallback(NamedCredential::new("spare key", right));
    let device = settings.clone().connect().await.expect("the second key is right");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 2, "one was refused");
    drop(device);
    let device = settings.connect().await.expect("a device with a cache");
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!((scene.registrations(), scene.logins()), (2, 2), "the cache says which key works");
}

async fn connect_fails_like_that_of_settings(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let emulator = &scene.cloud.emulator;
    let wrong: Credential = SharedKey::generate().expect("a key").into();
    let with_wrong_key = scene.settings.clone().credential(wrong);
    compare("a wrong key", with_wrong_key).await;
    emulator.disable(DEVICE).expect("an enrollment");
    compare("a disabled enrollment", scene.settings.clone()).await;
    emulator.enable(DEVICE).expect("an enrollment");
    compare("another DPS", scene.settings.clone().options(|it| it.ca_file("there/is/no/such/file"))).await;
    drop(scene.connect().await);
    assert!(emulator.set_device_enabled(HUB, DEVICE, false), "the hub knows the device");
    compare("a disabled device", scene.settings.clone()).await;
    let settings = scene.settings.clone();
    scene.cloud.emulator.shutdown().await;
    compare("no emulator", settings).await;
}

/// Connects twice: as `Settings` and as a `Device`. The errors must have the same type and the same diagnosis.
async fn compare(case: &str, settings: hubward::Settings) {
    let simple = settings.clone().connect().await.map(drop).expect_err(case);
    let device = settings.device().policy(super::scene::short()).connect().await.map(drop).expect_err(case);
    assert_eq!(std::mem::discriminant(&simple), std::mem::discriminant(&device), "{case}: {simple:?} {device:?}");
    let (mut expected, mut found) = (simple.diagnosis(), device.diagnosis());
    (expected.tracking_id, found.tracking_id) = (None, None);
    assert_eq!(found, expected, "{case}: {device}");
    assert!(!matches!(device, ConnectError::HubDeadline { .. }), "{case}: at once");
}
