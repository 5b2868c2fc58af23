//! `hubward device run`: one complete device.

use std::time::Duration;

use hubward_emulator::{CloudToDevice, Emulator, Fault, Invocation, Point};
use serde_json::{Value, json};

use super::cloud;
use super::device::{HUB, Lines, TRANSPORTS, assert_refused, device, known, known_module, types};
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn run_serves_the_twin_methods_messages_and_telemetry() {
    for transport in TRANSPORTS {
        let (emulator, enrolled) = cloud().await;
        let arguments = [
            ["run", "--report", r#"{"firmware": "2.1"}"#, "--interval", "50ms", "--body", "21.5"].as_slice(),
            &["--method", "ping=200,{\"pong\": true}", "--method", "reboot=202"],
        ]
        .concat();
        let running = Running::start(device(transport, &arguments, &enrolled.vars()));
        let mut lines = Lines::of(running);
        let connected = lines.next("connected").await;
        assert_eq!((&connected["deviceId"], &connected["transport"]), (&json!("dev-1"), &json!(transport)));
        let twin = lines.next("twin").await;
        assert_eq!(twin["reported"]["properties"], json!({}));
        assert_eq!(lines.next("reported").await["reportedVersion"], 2);
        assert_eq!(emulator.twin(HUB, "dev-1").expect("a twin").reported.values["firmware"], "2.1");

        lines.next("desired").await;
        let version = emulator.patch_desired(HUB, "dev-1", json!({"interval": 5})).expect("a patch");
        let desired = lines.next("desired").await;
        assert_eq!((&desired["desiredVersion"], &desired["properties"]), (&json!(version), &json!({"interval": 5})));

        for (name, status, payload) in [
            ("ping", 200, json!({"pong": true})),
            ("reboot", 202, Value::Null),
            ("other", 404, json!({"error": "there is no such method"})),
        ] {
            let invocation = Invocation::new(name).payload(json!([1])).connect_timeout(Duration::from_secs(60));
            let result = emulator.invoke_method(HUB, "dev-1", invocation).await.expect("an answer");
            assert_eq!((result.status, result.payload.unwrap_or_default()), (status, payload.clone()), "{name}");
            assert_eq!(lines.next("call").await["payload"], json!([1]));
            let answer = lines.next("answer").await;
            assert_eq!((&answer["method"], &answer["status"]), (&json!(name), &json!(status)));
        }

        emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("hello")).expect("room in the queue");
        assert_eq!(lines.next("received").await["body"], "hello");
        lines.next("completed").await;
        lines.next("sent").await;
        lines.next("sent").await;
        // Wait until the hub has read the device's acknowledgement of the message. If the connection ended earlier, the
        // hub would redeliver the message on the next connection.
        emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;

        // The device loses its connection and reconnects by itself. It prints a line for each of these two events. The
        // fault delays the reconnect until the test has read the first line.
        emulator.fault_always(Point::HubConnect, Fault::Cut).expect("a valid fault");
        assert!(emulator.disconnect_device(HUB, "dev-1"));
        let lost = lines.find("a lost connection", |it| it["state"] == "disconnected").await;
        emulator.clear_faults();
        assert_eq!(lost["type"], "state", "{lost}");
        assert!(lost["attempt"].as_u64() >= Some(1), "{lost}");
        assert!(lost["cause"].is_string() && lost["fault"] == "network" && lost["nextTryInMs"].is_u64(), "{lost}");
        lines.find("a new connection", |it| it["state"] == "connected").await;

        let (ended, rest, stderr) = lines.running.interrupt().await;
        assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
        let last: Value = serde_json::from_str(rest.lines().last().expect("a line")).expect(&rest);
        let facts = (&last["type"], &last["calls"], &last["received"], &last["completed"]);
        assert_eq!(facts, (&json!("result"), &json!(3), &json!(1), &json!(1)), "{last}");
        assert_eq!(last["messages"], last["acknowledged"]);
        let log = emulator.telemetry(HUB).expect("the hub").all();
        assert!(log.len() as u64 >= last["acknowledged"].as_u64().expect("a number"));
        assert!(log.iter().all(|it| &it.message.body[..] == b"21.5"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_after_the_duration_of_for() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let ran = device("mqtt", &["run", "--for", "1s"], &variables).run().await;
    let lines = ran.lines().expect("lines");
    assert_eq!(types(&lines)[0], "connected");
    let last = ran.last().expect("a result");
    assert_eq!((&last["exitCode"], &last["messages"], &last["calls"]), (&json!(0), &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_works_for_a_module() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known_module(&emulator, "dev-1", "filter");
    emulator.send_to_input(HUB, "dev-1", "filter", "in", CloudToDevice::new("x")).expect("room in the queue");
    let running = Running::start(device("mqtt-ws", &["run"], &variables));
    let mut lines = Lines::of(running);
    assert_eq!(lines.next("connected").await["moduleId"], "filter");
    assert_eq!(lines.next("received").await["input"], "in");
    lines.next("twin").await;
    let (ended, rest, stderr) = lines.running.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unacknowledged_telemetry_is_an_error() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("a valid fault");
    let arguments = ["run", "--for", "300ms", "--interval", "100ms", "--timeout", "60s"];
    let ran = device("mqtt", &arguments, &variables).run().await;
    let last = ran.last().unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!((&last["exitCode"], &last["stage"]), (&json!(10), &json!("hub-send")), "{last}");
    assert!(types(&ran.lines().expect("lines")).contains(&"unsent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_of_run_are_refused_before_connecting() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("a valid fault");
    for (arguments, expected) in [
        (["run", "--method", "ping"].as_slice(), "NAME=STATUS"),
        (&["run", "--method", "ping=200,{"], "not JSON"),
        (&["run", "--method", "ping=200", "--method", "ping=201"], "given twice"),
        (&["run", "--report", "[]"], "not an object"),
        (&["run", "--report", "@/nowhere"], "/nowhere"),
        (&["run", "--body", "x"], "--interval"),
        (&["run", "--for", "soon"], "500ms"),
    ] {
        assert_refused(arguments, &variables, 2, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_hub_that_refused_the_login() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("a valid fault");
    let ran = device("mqtt", &["run", "--for", "1s"], &variables).run().await;
    let last = ran.last().expect("an error");
    let facts = (&last["exitCode"], &last["stage"], &last["fault"], &last["endpoint"]);
    assert_eq!(facts, (&json!(5), &json!("hub-login"), &json!("credential"), &json!("localhost:8883")), "{last}");
}
