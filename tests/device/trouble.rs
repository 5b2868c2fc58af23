//! A device that is disabled or deleted, and a DPS that does not answer.

use hubward::{DeviceEvent, Message, TransportKind};
use hubward_emulator::{Fault, Point};
use hubward_tests::cloud::HUB;

use super::on_every_transport;
use super::scene::{DEVICE, Scene, event};

on_every_transport!(
    a_disabled_device_connects_when_it_is_enabled_again,
    a_device_that_was_deleted_everywhere_connects_when_it_is_created_again,
    a_device_with_a_cache_needs_no_dps,
    a_device_waits_for_dps,
);

async fn a_disabled_device_connects_when_it_is_enabled_again(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    let mut events = device.events();
    assert!(scene.cloud.emulator.set_device_enabled(HUB, DEVICE, false), "the hub knows the device");
    // The device registers, DPS assigns the same hub, and the hub refuses again.
    let is_refusal = |it: &DeviceEvent| it.to_string().starts_with("the hub localhost refused the device");
    event(&mut events, is_refusal).await;
    event(&mut events, |it| matches!(it, DeviceEvent::Assigned { moved_from: None, .. })).await;
    event(&mut events, is_refusal).await;
    assert!(scene.cloud.emulator.set_device_enabled(HUB, DEVICE, true), "the hub knows the device");
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { moved_from: None, .. })).await;
    device.send(Message::new("x")).await.expect("acknowledged");
}

async fn a_device_that_was_deleted_everywhere_connects_when_it_is_created_again(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    let mut events = device.events();
    let keys = scene.cloud.emulator.export();
    scene.cloud.emulator.delete(DEVICE).expect("an enrollment");
    assert!(scene.cloud.emulator.delete_device(HUB, DEVICE), "the hub knows the device");
    event(&mut events, |it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
    event(&mut events, |it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
    let receipt = device.enqueue(Message::new("x")).await.expect("room");
    scene.cloud.emulator.import(&keys).expect("the same state as before");
    event(&mut events, |it| matches!(it, DeviceEvent::Connected { .. })).await;
    receipt.await.expect("acknowledged");
}

async fn a_device_with_a_cache_needs_no_dps(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    drop(scene.connect().await);
    scene.cloud.emulator.fault_always(Point::DpsRegister, Fault::Cut).expect("a fault that fits");
    let device = scene.connect().await;
    device.send(Message::new("x")).await.expect("acknowledged");
    let mut events = device.events();
    // A request for a registration does not cost the device its hub.
    device.reprovision();
    let failed = event(&mut events, |it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
    assert!(failed.to_string().contains("staying with the hub, because"), "{failed}");
    device.send(Message::new("x")).await.expect("acknowledged");
}

async fn a_device_waits_for_dps(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    scene.cloud.emulator.fault_always(Point::DpsRegister, Fault::Cut).expect("a fault that fits");
    let device = scene.device().spawn().expect("valid settings");
    let mut events = device.events();
    let receipt = device.enqueue(Message::new("before there is a hub")).await.expect("room");
    for _ in 0..3 {
        event(&mut events, |it| matches!(it, DeviceEvent::RegistrationFailed { .. })).await;
    }
    scene.cloud.emulator.clear_faults();
    receipt.await.expect("acknowledged");
    assert_eq!(scene.registrations(), 1);
}
