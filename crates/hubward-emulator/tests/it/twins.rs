//! Tests of twins. The tests write the packets of the device by hand. For the service side, they call the Rust API.

use std::time::Duration;

use hubward_emulator::{ConnectionState, Emulator, Invocation, InvokeError, TwinProblem};
use hubward_proto::service::{InitialTwin, TwinProperties};
use hubward_sas::SharedKey;
use serde_json::{Map, Value, json};

use crate::client::{QOS1, before_pong, hub_connect, listening, publish, read_publish, receive, send, subscribe, tls};

const GET: &str = "$iothub/twin/GET/?$rid=1";
const REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?$rid=2";
const ANSWERS: (&str, u8) = ("$iothub/twin/res/#", 0);
const NOTICES: (&str, u8) = ("$iothub/twin/PATCH/properties/desired/#", 0);

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    (emulator, key)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn map(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).expect("an object")
}

fn notice(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

#[tokio::test]
async fn a_device_reads_its_twin_and_reports() {
    let (emulator, key) = emulator().await;
    emulator.patch_desired("LOCALHOST", "d1", json!({"interval": 30, "gone": null})).expect("fine");
    let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
    send(&mut stream, &publish(0, GET, 0, b"")).await;
    let (topic, body, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(json(&body), json!({"desired": {"interval": 30, "$version": 2}, "reported": {"$version": 1}}));

    // The PUBACK of the request comes before the response.
    send(&mut stream, &publish(QOS1, REPORTED, 9, br#"{"fan":{"speed":1,"on":true},"old":1}"#)).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x09"[..]));
    let answer = receive(&mut stream).await.expect("an answer");
    assert_eq!(answer, publish(0, "$iothub/twin/res/204/?$rid=2&$version=2", 0, b""));
    send(&mut stream, &publish(0, REPORTED, 0, br#"{"fan":{"on":null},"old":null}"#)).await;
    send(&mut stream, &publish(0, "$iothub/twin/GET/?$rid=a%20b&x=y", 0, b" ")).await;
    let packets = before_pong(&mut stream).await;
    assert_eq!(packets[0], ("$iothub/twin/res/204/?$rid=2&$version=3".into(), String::new()));
    assert_eq!(packets[1].0, "$iothub/twin/res/200/?$rid=a%20b");
    assert_eq!(json(&packets[1].1)["reported"], json!({"fan": {"speed": 1}, "$version": 3}));

    let twin = emulator.twin("localhost", "d1").expect("a twin");
    assert_eq!((twin.reported.version, twin.reported.values), (3, map(json!({"fan": {"speed": 1}}))));
    assert_eq!((twin.desired.version, twin.connection_state), (2, ConnectionState::Connected));
}

#[tokio::test]
async fn responses_need_a_subscription() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[NOTICES]).await;
    send(&mut stream, &publish(0, GET, 0, b"")).await;
    send(&mut stream, &publish(0, REPORTED, 0, br#"{"a":1}"#)).await;
    // A report without a request id is accepted, but gets no response.
    for topic in ["$iothub/twin/PATCH/properties/reported/", "$iothub/twin/PATCH/properties/reported/?$rid="] {
        send(&mut stream, &publish(0, topic, 0, br#"{"b":2}"#)).await;
    }
    assert_eq!(before_pong(&mut stream).await, []);
    let reported = emulator.twin("localhost", "d1").expect("a twin").reported;
    assert_eq!((reported.version, reported.values), (4, map(json!({"a": 1, "b": 2}))));
    // QoS 1 works too.
    send(&mut stream, &subscribe(2, &[("$iothub/twin/res/#", 1)])).await;
    receive(&mut stream).await.expect("a SUBACK");
    send(&mut stream, &publish(0, GET, 0, b"")).await;
    let (topic, _, puback) = read_publish(&receive(&mut stream).await.expect("an answer"));
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=1");
    send(&mut stream, &puback.expect("QoS 1")).await;
    assert_eq!(before_pong(&mut stream).await, []);
}

#[tokio::test]
async fn an_invalid_report_is_refused_and_changes_nothing() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
    let nine = (0..9).map(|it| (it.to_string(), Value::from("x".repeat(4000)))).collect::<Map<_, _>>();
    for (body, status, code) in [
        ("no JSON".to_owned(), 400, 400_004),
        (String::new(), 400, 400_004),
        ("[1]".to_owned(), 400, 400_004),
        ("null".to_owned(), 400, 400_004),
        (r#"{"a.b":1}"#.to_owned(), 400, 400_004),
        (r#"{"$version":7}"#.to_owned(), 400, 400_004),
        (r#"{"a":4503599627370496}"#.to_owned(), 400, 400_004),
        (json!({ "a": "x".repeat(4097) }).to_string(), 400, 400_004),
        (r#"{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":{"10":{"11":{"a":1}}}}}}}}}}}}"#.to_owned(), 400, 400_004),
        (Value::Object(nine).to_string(), 403, 403_100),
    ] {
        send(&mut stream, &publish(0, REPORTED, 0, body.as_bytes())).await;
        let (topic, answer, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
        assert_eq!(topic, format!("$iothub/twin/res/{status}/?$rid=2"), "{answer}");
        let answer = json(&answer);
        assert_eq!(answer["errorCode"], code);
        assert!(answer["message"].is_string() && answer["trackingId"].is_string(), "{answer}");
    }
    assert_eq!(emulator.twin("localhost", "d1").expect("a twin").reported.version, 1);
}

#[tokio::test]
async fn desired_changes_are_published_to_subscribers() {
    let (emulator, key) = emulator().await;
    let mut unsubscribed = listening(&emulator, &key, &[ANSWERS]).await;
    emulator.patch_desired("localhost", "d1", json!({"a": 1})).expect("fine");
    assert_eq!(before_pong(&mut unsubscribed).await, []);
    let mut stream = listening(&emulator, &key, &[NOTICES]).await;
    assert_eq!(before_pong(&mut stream).await, [], "missed changes are not published later");
    emulator.patch_desired("localhost", "d1", json!({"a": null, "b": {"c": 1}})).expect("fine");
    assert_eq!(before_pong(&mut stream).await, [(notice(3), r#"{"$version":3,"a":null,"b":{"c":1}}"#.to_owned())]);
    assert_eq!(emulator.patch_tags("localhost", "d1", json!({"site": "x"})), Ok(5));
    assert_eq!(emulator.replace_desired("localhost", "d1", json!({"d": 2})), Ok(4));
    assert_eq!(before_pong(&mut stream).await, [(notice(4), r#"{"$version":4,"b":null,"d":2}"#.to_owned())]);
    // The hub sends the notification once, although two filters match the topic. It uses QoS 1, the higher QoS of the
    // two.
    let filters = [("$iothub/twin/PATCH/properties/desired/#", 0), ("$iothub/twin/PATCH/properties/desired/+", 1)];
    let mut stream = listening(&emulator, &key, &filters).await;
    emulator.patch_desired("localhost", "d1", json!({"d": 3})).expect("fine");
    let packet = receive(&mut stream).await.expect("a notice");
    assert_eq!((packet[0], read_publish(&packet).0), (0x32, notice(5)));
    assert_eq!(before_pong(&mut stream).await, []);
}

#[tokio::test]
async fn a_kept_subscription_gets_desired_changes_again() {
    let (emulator, key) = emulator().await;
    for present in [0, 1] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let connack = hub_connect(&mut stream, "d1", &key, false).await;
        assert_eq!(connack, Some(vec![0x20, 2, present, 0]));
        if present == 0 {
            send(&mut stream, &subscribe(1, &[NOTICES])).await;
            receive(&mut stream).await.expect("a SUBACK");
        }
        let version = emulator.patch_desired("localhost", "d1", json!({"a": present})).expect("fine");
        assert_eq!(before_pong(&mut stream).await[0].0, notice(version));
    }
}

#[tokio::test]
async fn a_hundred_changes_are_published_in_order() {
    for qos in [0, 1] {
        let (emulator, key) = emulator().await;
        let filter = ("$iothub/twin/PATCH/properties/desired/#", qos);
        let mut stream = listening(&emulator, &key, &[filter]).await;
        for number in 1..=100 {
            emulator.patch_desired("localhost", "d1", json!({ "n": number })).expect("fine");
        }
        for number in 1..=100 {
            let (topic, body, puback) = read_publish(&receive(&mut stream).await.expect("a notice"));
            assert_eq!((topic, json(&body)["n"].clone()), (notice(number + 1), Value::from(number)));
            if let Some(puback) = puback {
                send(&mut stream, &puback).await;
            }
        }
        assert_eq!(emulator.twin("localhost", "d1").expect("a twin").desired.version, 101);
    }
}

/// If a device does not acknowledge its notifications, the hub stops sending notifications at a limit and discards
/// further ones. The hub still responds to requests of the device.
#[tokio::test]
async fn a_device_that_acknowledges_nothing_loses_notices_only() {
    let (emulator, key) = emulator().await;
    let notices = ("$iothub/twin/PATCH/properties/desired/#", 1);
    let mut stream = listening(&emulator, &key, &[ANSWERS, notices]).await;
    for number in 0..200 {
        emulator.patch_desired("localhost", "d1", json!({ "n": number })).expect("fine");
        // Wait until the connection has read the notification from its channel.
        if number % 50 == 0 {
            before_pong(&mut stream).await;
        }
    }
    let mut pubacks = Vec::new();
    let mut versions = Vec::new();
    send(&mut stream, &publish(0, GET, 0, b"")).await;
    let mut take = |packet: &[u8]| {
        let (topic, _, puback) = read_publish(packet);
        pubacks.extend(puback);
        versions.extend(topic.rsplit_once("$version=").and_then(|(_, it)| it.parse::<u64>().ok()));
        topic
    };
    while take(&receive(&mut stream).await.expect("a packet")) != "$iothub/twin/res/200/?$rid=1" {}
    assert!(versions.len() <= 16, "{versions:?}");
    assert_eq!(emulator.twin("localhost", "d1").expect("a twin").desired.version, 201);
}

#[tokio::test]
async fn an_enrollment_sets_the_initial_twin() {
    let emulator = Emulator::start().await.expect("started");
    let twin = InitialTwin {
        tags: map(json!({"site": "a"})),
        properties: TwinProperties { desired: map(json!({"interval": 30})), ..TwinProperties::default() },
    };
    let device = emulator.enrollment("dev-1").initial_twin(twin).create().expect("enrolled");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let password = crate::client::dps_token(&emulator, device.primary_key(), "dev-1");
    let request = format!(
        "PUT /{}/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {password}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope()
    );
    assert_eq!(crate::client::http(&mut stream, &request).await.expect("an answer").status, 202);
    let twin = emulator.twin("localhost", "dev-1").expect("a twin");
    assert_eq!((twin.desired.version, twin.desired.values), (1, map(json!({"interval": 30}))));
    assert_eq!((twin.tags, twin.connection_state), (map(json!({"site": "a"})), ConnectionState::Disconnected));
}

#[tokio::test]
async fn invalid_changes_of_the_service_side_are_refused() {
    let (emulator, _) = emulator().await;
    for (problem, code) in [
        (emulator.patch_desired("localhost", "d2", json!({})), 404_001),
        (emulator.patch_desired("localhost", "d1/m", json!({})), 404_001),
        (emulator.patch_desired("elsewhere", "d1", json!({})), 404_001),
        (emulator.patch_desired("localhost", "d1", json!(1)), 400_006),
        (emulator.patch_desired("localhost", "d1", json!({"a b": 1})), 400_004),
        (emulator.patch_tags("localhost", "d1", json!({"a": "x".repeat(4096), "b": "x".repeat(4096)})), 413_001),
    ] {
        let problem: TwinProblem = problem.expect_err("refused");
        assert_eq!((problem.code(), problem.status()), (code, (code / 1000) as u16), "{problem}");
    }
    assert_eq!(emulator.twin("localhost", "d1").expect("a twin").version, 2);
    assert_eq!(emulator.twin("localhost", "d2"), None);
}

/// If a device does not read, the service side and all other devices still work without delay.
#[tokio::test]
async fn a_device_that_reads_nothing_delays_no_other() {
    let (emulator, key) = emulator().await;
    let _deaf = listening(&emulator, &key, &[NOTICES, ("$iothub/methods/POST/#", 0)]).await;
    let large: Map<String, Value> = (0..7).map(|it| (it.to_string(), "x".repeat(4096).into())).collect();
    let mut version = 1;
    let at_once = || Invocation::new("m").response_timeout(Duration::ZERO);
    // Change the twin until the buffers of the sockets and of the emulator are full.
    loop {
        assert!(version < 20_000, "the buffers are bounded");
        version = emulator.patch_desired("localhost", "d1", Value::Object(large.clone())).expect("fine");
        match emulator.invoke_method("localhost", "d1", at_once()).await {
            Err(InvokeError::TooMany) => break,
            other => assert_eq!(other, Err(InvokeError::Timeout)),
        }
    }
    assert_eq!(emulator.patch_desired("localhost", "d1", json!({"7": 1})), Ok(version + 1), "the twin keeps it");
    let key = emulator.add_device("localhost", "d2").expect("a device");
    let mut other = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut other, "d2", &key, true).await.expect("a CONNACK");
    assert_eq!(before_pong(&mut other).await, []);
}
