//! Faults over the admin port.

use hubward_emulator::{Emulator, EventKind};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{QOS1, Reply, before_pong, http, listening, publish, send};

async fn ask(emulator: &Emulator, line: &str, body: &Value) -> Reply {
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http(&mut stream, &request).await.expect("an answer")
}

/// Sends 100 messages while `script` is active. Returns one character per message: `x` if it is acknowledged.
async fn acknowledged(script: &Value) -> String {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    let scripted = ask(&emulator, "POST /api/faults", script).await;
    assert_eq!(scripted.status, 201, "{}", scripted.body);
    let mut pattern = String::new();
    for id in 1..=100 {
        send(&mut device, &publish(QOS1, "devices/d1/messages/events/", id, b"x")).await;
        pattern.push(if before_pong(&mut device).await.is_empty() { '.' } else { 'x' });
    }
    pattern
}

#[tokio::test]
async fn the_same_seed_causes_the_same_faults() {
    let script = |seed: u64| {
        json!({
            "point": "HubPublish", "fault": {"kind": "HoldPuback"}, "times": "always", "device": "d1",
            "probability": 0.3, "seed": seed,
        })
    };
    let first = acknowledged(&script(42)).await;
    assert_eq!(acknowledged(&script(42)).await, first);
    assert_ne!(acknowledged(&script(43)).await, first);
    assert!(first.contains('.') && first.contains('x'), "{first}");
}

#[tokio::test]
async fn faults_are_scripted_listed_and_cleared() {
    let emulator = Emulator::start().await.expect("started");
    let delay = json!({"point": "DpsPoll", "fault": {"kind": "Delay", "millis": 5}, "times": 3, "device": "d1"});
    let scripted = ask(&emulator, "POST /api/faults", &delay).await;
    let expected = json!({
        "id": 1, "point": "DpsPoll", "fault": {"kind": "Delay", "millis": 5}, "times": 3, "device": "d1", "happened": 0,
    });
    assert_eq!((scripted.status, scripted.json()), (201, expected.clone()));
    let chance = json!({"point": "HubPublish", "fault": {"kind": "HoldPuback"}, "probability": 0.5});
    let chance = ask(&emulator, "POST /api/faults", &chance).await.json();
    assert!(chance["seed"].is_u64() && chance["times"] == 1, "{chance}");
    let all = ask(&emulator, "GET /api/faults", &Value::Null).await.json();
    assert_eq!(all["faults"], json!([expected, chance]));
    let points = all["points"].as_array().expect("an array");
    let publish = points.iter().find(|it| it["point"] == "HubPublish").expect("the point");
    assert_eq!(publish["forOneDevice"], true);
    assert!(publish["faults"].as_array().expect("kinds").contains(&json!("HoldPuback")), "{publish}");
    assert_eq!(points.len(), 18);
    let event = emulator.events().wait_for(|it| it.kind == EventKind::FaultScripted).await;
    assert_eq!(event.message, "Delay(5ms) at DpsPoll, 3 times, for d1");

    assert_eq!(ask(&emulator, "DELETE /api/faults/1", &Value::Null).await.status, 200);
    assert_eq!(ask(&emulator, "DELETE /api/faults/1", &Value::Null).await.status, 404);
    assert_eq!(ask(&emulator, "DELETE /api/faults", &Value::Null).await.json(), json!({"cleared": 1}));
    assert_eq!(ask(&emulator, "GET /api/faults", &Value::Null).await.json()["faults"], json!([]));
}

#[tokio::test]
async fn invalid_faults_are_refused_with_a_message() {
    let emulator = Emulator::start().await.expect("started");
    let cut = json!({"kind": "Cut"});
    for (script, message) in [
        (
            json!({"point": "HubPublish", "fault": {"kind": "Connack", "code": 5}}),
            "Connack(5) cannot happen at HubPublish.",
        ),
        (
            json!({"point": "MqttAccept", "fault": cut, "device": "d1"}),
            "the device of an event at MqttAccept is not known yet",
        ),
        (json!({"point": "DpsPoll", "fault": cut, "times": 0}), "a fault must happen at least once"),
        (json!({"point": "DpsPoll", "fault": cut, "probability": 2}), "a fault must happen at least once"),
        (json!({"point": "DpsPoll", "fault": cut, "seed": 2}), "A seed needs a probability"),
        (json!({"point": "DpsPol", "fault": cut}), "The body is not valid: unknown variant `DpsPol`"),
        (json!({"point": "DpsPoll", "fault": {"kind": "Cat"}}), "The body is not valid: unknown variant `Cat`"),
        (json!({"point": "DpsPoll", "fault": {"kind": "Status", "status": 7}}), "status must be 200 to 599."),
        (json!({"point": "DpsPoll", "fault": cut, "times": "never"}), "The body is not valid"),
        (json!({"point": "DpsPoll", "fault": cut, "colour": "red"}), "The body is not valid: unknown field `colour`"),
        (json!({"point": "DpsPoll"}), "The body is not valid: missing field `fault`"),
    ] {
        let refused = ask(&emulator, "POST /api/faults", &script).await;
        let text = refused.json()["message"].as_str().expect("a sentence").to_owned();
        assert!(refused.status == 400 && text.starts_with(message), "{script}: {text}");
    }
    for _ in 0..500 {
        emulator.fault(hubward_emulator::Point::DpsPoll, hubward_emulator::Fault::Cut).expect("fits");
    }
    let full = ask(&emulator, "POST /api/faults", &json!({"point": "DpsPoll", "fault": cut})).await;
    assert_eq!(full.status, 409, "{}", full.body);
}
