//! `hubward device c2d receive`.

use hubward_emulator::{Ack, CloudToDevice, Emulator};
use serde_json::json;

use super::device::{HUB, TRANSPORTS, device, known, known_module, types};
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn receive_prints_and_completes_each_message() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known(&emulator, "dev-1");
        let message = CloudToDevice::new("open the valve")
            .message_id("m-1")
            .correlation_id("c-1")
            .content_type("text/plain")
            .ack(Ack::Full)
            .property("k", "v w")
            .flag("urgent");
        emulator.send_to_device(HUB, "dev-1", message).expect("room in the queue");
        let mut running = Running::start(device(transport, &["c2d", "receive", "--count", "2"], &variables));
        let lines = running.json_until("completed").await;
        assert_eq!(types(&lines), ["connected", "received", "completed"]);
        let received = &lines[1];
        assert_eq!((&received["message"], &received["body"]), (&json!(1), &json!("open the valve")));
        assert_eq!((&received["messageId"], &received["correlationId"]), (&json!("m-1"), &json!("c-1")));
        assert_eq!((&received["contentType"], &received["ack"]), (&json!("text/plain"), &json!("full")));
        assert_eq!(received["to"], "/devices/dev-1/messages/deviceBound");
        assert_eq!(received["properties"], json!({"k": "v w", "urgent": null}));
        // The hub got the first message before the command started. It gets this message while the command waits. The
        // body is not UTF-8, so the command must print it as base64.
        emulator.send_to_device(HUB, "dev-1", CloudToDevice::new(vec![0xff, 0])).expect("room in the queue");
        let (ended, rest, stderr) = running.end().await;
        assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
        let lines: Vec<serde_json::Value> = rest.lines().map(|it| serde_json::from_str(it).expect(it)).collect();
        assert_eq!(types(&lines), ["received", "completed", "result"]);
        assert_eq!((&lines[0]["bodyBase64"], &lines[0]["body"]), (&json!("/wA="), &json!(null)));
        assert_eq!((&lines[2]["received"], &lines[2]["completed"]), (&json!(2), &json!(2)));
        // The command has acknowledged both messages, so the hub must delete them.
        emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_complete_leaves_messages_in_the_queue() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known(&emulator, "dev-1");
        emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("x").message_id("m-1")).expect("room in the queue");
        let arguments = ["c2d", "receive", "--count", "1", "--no-complete"];
        let ran = device(transport, &arguments, &variables).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!(types(&lines), ["connected", "received", "left", "result"]);
        assert_eq!((&lines[3]["received"], &lines[3]["completed"]), (&json!(1), &json!(0)));
        let left = emulator.cloud_messages(HUB, "dev-1");
        assert_eq!((left.len(), left[0].message_id.as_str()), (1, "m-1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_receives_messages_to_its_inputs() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known_module(&emulator, "dev-1", "filter");
        let message = CloudToDevice::new("21.5").property("unit", "C");
        emulator.send_to_input(HUB, "dev-1", "filter", "readings", message).expect("room in the queue");
        let ran = device(transport, &["c2d", "receive", "--count", "1"], &variables).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!(types(&lines), ["connected", "received", "completed", "result"]);
        assert_eq!((&lines[1]["input"], &lines[1]["body"]), (&json!("readings"), &json!("21.5")));
        assert_eq!(lines[1]["properties"], json!({"unit": "C"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_for_end_receive_with_success() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let mut running = Running::start(device("mqtt", &["c2d", "receive"], &variables));
    running.json_until("connected").await;
    let (ended, rest, stderr) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&rest).expect(&rest)["received"], 0);
    let ran = device("mqtt", &["c2d", "receive", "--for", "500ms"], &variables).run().await;
    assert_eq!(ran.last().expect("a result")["received"], 0);
}
