//! A device moves to another hub while its handle stays in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubward::{DeviceEvent, Message, MethodResponse, TransportKind, json};
use hubward_emulator::Invocation;
use hubward_tests::cloud::HUB;

use super::on_every_transport;
use super::scene::{DEVICE, OTHER_HUB, Scene, event, hub_of};

on_every_transport!(
    a_handle_survives_a_move,
    an_operator_moves_a_device_with_a_method,
    a_device_follows_a_move_that_it_was_not_told_of,
);

async fn a_handle_survives_a_move(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let count = move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(MethodResponse::new(204)) }
    };
    device.serve_method("count", count).expect("methods are supported");
    let mut desired = device.desired().expect("a receiver");
    assert_eq!(desired.changed().await.expect("a state").values.get("interval"), Some(&json!(30)));
    device.report(&json!({ "fan": "on" })).await.expect("reported");
    let mut events = device.events();

    scene.assign(OTHER_HUB);
    let mut receipts = Vec::new();
    for number in 0..20 {
        receipts.push(device.enqueue(Message::new(format!("{number}"))).await.expect("room"));
        if number == 9 {
            device.reprovision();
        }
    }
    let moved = event(&mut events, |it| matches!(it, DeviceEvent::Connected { moved_from: Some(_), .. })).await;
    let text = moved.to_string();
    assert!(text.ends_with("at localhost before, so the program should report all properties again"), "{text}");
    for (number, receipt) in receipts.into_iter().enumerate() {
        receipt.await.unwrap_or_else(|error| panic!("message {number}: {error}"));
    }
    device.send(Message::new("at the new hub")).await.expect("acknowledged");
    assert_eq!(hub_of(&device), OTHER_HUB);

    scene.cloud.emulator.patch_desired(OTHER_HUB, DEVICE, json!({ "interval": 60 })).expect("a twin");
    while desired.changed().await.expect("a state").values.get("interval") != Some(&json!(60)) {}
    let call = Invocation::new("count").connect_timeout(std::time::Duration::from_secs(30));
    let answer = scene.cloud.emulator.invoke_method(OTHER_HUB, DEVICE, call).await.expect("an answer");
    assert_eq!((answer.status, calls.load(Ordering::SeqCst)), (204, 1), "the handler is still registered");
    device.report(&json!({ "fan": "off" })).await.expect("reported at the new hub");

    assert_eq!((scene.registrations(), scene.logins()), (2, 2), "one registration and one login more");
    let total: u64 =
        [HUB, OTHER_HUB].iter().filter_map(|it| scene.cloud.emulator.telemetry(it)).map(|it| it.total()).sum();
    assert!(total >= 21, "each message reached a hub: {total}");
}

async fn an_operator_moves_a_device_with_a_method(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.device().reprovision_method("reprovision").connect().await.expect("a connected device");
    scene.assign(OTHER_HUB);
    let call = Invocation::new("reprovision").connect_timeout(std::time::Duration::from_secs(30));
    let answer = scene.cloud.emulator.invoke_method(HUB, DEVICE, call).await.expect("an answer");
    assert_eq!(answer.status, 200);
    scene.arrival(OTHER_HUB).await;
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 2);
}

async fn a_device_follows_a_move_that_it_was_not_told_of(kind: TransportKind) {
    let scene = Scene::start(kind).await;
    let device = scene.connect().await;
    scene.assign(OTHER_HUB);
    assert!(scene.cloud.emulator.delete_device(HUB, DEVICE), "the hub knows the device");
    scene.arrival(OTHER_HUB).await;
    device.send(Message::new("x")).await.expect("acknowledged");
    assert_eq!(scene.registrations(), 2, "exactly one registration more");
    // The cache has the new hub.
    drop(device);
    let again = scene.connect().await;
    assert_eq!(hub_of(&again), OTHER_HUB);
    assert_eq!(scene.registrations(), 2);
}
