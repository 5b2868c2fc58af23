//! Tests of direct methods. The tests write the packets of the device by hand. To invoke a method, they call the Rust
//! API.

use std::time::Duration;

use hubward_emulator::{Emulator, Invocation, InvokeError};
use hubward_sas::SharedKey;
use serde_json::json;

use crate::client::{QOS1, Tls, before_pong, listening, patient, publish, read_publish, receive, send, subscribe};

const FILTER: (&str, u8) = ("$iothub/methods/POST/#", 1);
const PATIENT: Duration = Duration::from_secs(30);

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    (emulator, key)
}

/// Method, request id and payload of the next call.
async fn called(stream: &mut Tls) -> (String, String, String) {
    let packet = receive(stream).await.expect("a call");
    assert_eq!(packet[0], 0x30, "QoS 0 for every subscription: {packet:x?}");
    let (topic, body, _) = read_publish(&packet);
    let rest = topic.strip_prefix("$iothub/methods/POST/").expect("a call");
    let (name, id) = rest.split_once("/?$rid=").expect("a request id");
    (name.to_owned(), id.to_owned(), body)
}

async fn answer(stream: &mut Tls, status: &str, id: &str, body: &str) {
    let topic = format!("$iothub/methods/res/{status}/?$rid={id}");
    send(stream, &publish(0, &topic, 0, body.as_bytes())).await;
}

#[tokio::test]
async fn a_response_reaches_the_caller_with_any_status() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[FILTER]).await;
    let mut ids = Vec::new();
    for (invocation, name, payload, status, body, result) in [
        (
            Invocation::new("reboot").payload(json!({"delay": 3})),
            "reboot",
            r#"{"delay":3}"#,
            "200",
            r#"{"ok":true}"#,
            200,
        ),
        (Invocation::new("a b/c+#é"), "a%20b%2Fc%2B%23%C3%A9", "", "-7", "null", -7),
        (Invocation::new("x").payload(serde_json::Value::Null), "x", "null", "404", "", 404),
        (Invocation::new("x").payload("text"), "x", "\"text\"", "2147483647", " [1, 2] ", i32::MAX),
    ] {
        let device = async {
            let call = called(&mut stream).await;
            assert_eq!((call.0.as_str(), call.2.as_str()), (name, payload));
            answer(&mut stream, status, &call.1, body).await;
            call.1
        };
        let (answered, id) = tokio::join!(patient(emulator.invoke_method("LOCALHOST", "d1", invocation)), device);
        let answered = answered.expect("an answer");
        let expected = (!body.is_empty()).then(|| serde_json::from_str(body).expect("JSON"));
        assert_eq!((answered.status, answered.payload), (result, expected));
        assert_eq!(answered.body, body);
        ids.push(id);
    }
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn calls_are_answered_in_any_order() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[FILTER]).await;
    let device = async {
        let (first, second) = (called(&mut stream).await, called(&mut stream).await);
        answer(&mut stream, "2", &second.1, "").await;
        // The hub must ignore the next two responses: the first is for a call that does not exist, and the second is
        // for a call that the device has already responded to.
        answer(&mut stream, "9", "unknown", "").await;
        answer(&mut stream, "9", &second.1, "").await;
        answer(&mut stream, "1", &first.1, "").await;
        assert_eq!((first.0.as_str(), second.0.as_str()), ("first", "second"));
        assert_eq!(before_pong(&mut stream).await, []);
    };
    let invoke = |name: &str| patient(emulator.invoke_method("localhost", "d1", Invocation::new(name)));
    let (first, second, ()) = tokio::join!(biased; invoke("first"), invoke("second"), device);
    assert_eq!((first.expect("an answer").status, second.expect("an answer").status), (1, 2));
}

#[tokio::test]
async fn a_device_without_a_subscription_is_not_online() {
    let (emulator, key) = emulator().await;
    let invoke = |id: &'static str| emulator.invoke_method("localhost", id, Invocation::new("m"));
    assert_eq!(invoke("d1").await, Err(InvokeError::NotOnline));
    let mut stream = listening(&emulator, &key, &[("$iothub/twin/res/#", 0)]).await;
    assert_eq!(invoke("d1").await.expect_err("not subscribed").code(), 404_103);
    assert_eq!(before_pong(&mut stream).await, []);
    assert_eq!(invoke("d2").await.expect_err("unknown").code(), 404_001);
    assert_eq!(invoke("d1/m").await.expect_err("unknown").code(), 404_010);
    assert!(emulator.set_device_enabled("localhost", "d1", false));
    assert_eq!(invoke("d1").await.expect_err("disabled").code(), 404_001);
}

#[tokio::test]
async fn a_call_waits_for_the_device_until_the_connect_timeout() {
    let (emulator, key) = emulator().await;
    let invocation = || Invocation::new("m").connect_timeout(PATIENT);
    let device = async {
        let mut stream = listening(&emulator, &key, &[]).await;
        assert_eq!(before_pong(&mut stream).await, []);
        send(&mut stream, &subscribe(7, &[FILTER])).await;
        receive(&mut stream).await.expect("a SUBACK");
        let (_, id, _) = called(&mut stream).await;
        answer(&mut stream, "200", &id, "").await;
        stream
    };
    let (answered, mut stream) = tokio::join!(biased; emulator.invoke_method("localhost", "d1", invocation()), device);
    assert_eq!(answered.expect("an answer").status, 200);
    // The device has unsubscribed.
    let mut unsubscribe = vec![0xa2, 26, 0, 8];
    unsubscribe.extend(crate::client::string("$iothub/methods/POST/#"));
    send(&mut stream, &unsubscribe).await;
    receive(&mut stream).await.expect("an UNSUBACK");
    let soon = Invocation::new("m").connect_timeout(Duration::from_millis(20));
    assert_eq!(emulator.invoke_method("localhost", "d1", soon).await, Err(InvokeError::NotOnline));
}

#[tokio::test]
async fn the_longest_timeouts_are_accepted() {
    let (emulator, key) = emulator().await;
    let forever = Invocation::new("m").connect_timeout(Duration::MAX).response_timeout(Duration::MAX);
    let device = async {
        let mut stream = listening(&emulator, &key, &[FILTER]).await;
        let (_, id, _) = called(&mut stream).await;
        answer(&mut stream, "200", &id, "").await;
    };
    let invoke = patient(emulator.invoke_method("localhost", "d1", forever));
    let (answered, ()) = tokio::join!(biased; invoke, device);
    assert_eq!(answered.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_late_answer_is_dropped() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[FILTER]).await;
    let short = Invocation::new("m").response_timeout(Duration::from_millis(20));
    let problem = emulator.invoke_method("localhost", "d1", short).await.expect_err("no answer");
    assert_eq!((problem.status(), problem.code()), (504, 504_101));
    let (_, id, _) = called(&mut stream).await;
    let topic = format!("$iothub/methods/res/200/?$rid={id}");
    send(&mut stream, &publish(QOS1, &topic, 5, b"{}")).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x05"[..]));
    assert_eq!(before_pong(&mut stream).await, []);
}

#[tokio::test]
async fn the_end_of_a_connection_ends_its_calls() {
    let (emulator, key) = emulator().await;
    let mut first = listening(&emulator, &key, &[FILTER]).await;
    let invoke = emulator.invoke_method("localhost", "d1", Invocation::new("m").response_timeout(PATIENT));
    let device = async {
        let (_, id, _) = called(&mut first).await;
        let mut second = listening(&emulator, &key, &[FILTER]).await;
        // The hub drops a response that arrives over another connection.
        answer(&mut second, "200", &id, "").await;
        assert_eq!(before_pong(&mut second).await, []);
    };
    let (answered, ()) = tokio::join!(patient(invoke), device);
    assert_eq!(answered.expect_err("the connection has ended"), InvokeError::ConnectionClosed);
}

#[tokio::test]
async fn invalid_calls_are_refused() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[FILTER]).await;
    let invoke = |invocation| emulator.invoke_method("localhost", "d1", invocation);
    assert_eq!(invoke(Invocation::new("")).await, Err(InvokeError::Name));
    assert_eq!(invoke(Invocation::new("x".repeat(1025))).await, Err(InvokeError::Name));
    // The two quotes of the JSON text count towards the size.
    let large = Invocation::new("m").payload("x".repeat(131_071));
    assert_eq!(invoke(large).await, Err(InvokeError::TooLarge { size: 131_073, limit: 131_072 }));
    assert_eq!(before_pong(&mut stream).await, []);
    let device = async {
        let (_, id, body) = called(&mut stream).await;
        answer(&mut stream, "200", &id, &body).await;
    };
    let largest = "x".repeat(131_070);
    let (answered, ()) = tokio::join!(invoke(Invocation::new("m").payload(largest.clone())), device);
    assert_eq!(answered.expect("an answer").payload, Some(json!(largest)));
}

#[tokio::test]
async fn the_number_of_unanswered_calls_is_bounded() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[FILTER]).await;
    let invocation = || Invocation::new("m").response_timeout(PATIENT);
    let mut calls = tokio::task::JoinSet::new();
    let emulator = std::sync::Arc::new(emulator);
    for _ in 0..300 {
        let emulator = std::sync::Arc::clone(&emulator);
        calls.spawn(async move { emulator.invoke_method("localhost", "d1", invocation()).await });
    }
    for _ in 0..44 {
        let refused = patient(calls.join_next()).await.expect("a call").expect("no panic");
        assert_eq!(refused.expect_err("too many").code(), 403_800);
    }
    // The connection and further calls still work.
    for _ in 0..256 {
        let (_, id, _) = called(&mut stream).await;
        answer(&mut stream, "200", &id, "").await;
    }
    while let Some(answered) = patient(calls.join_next()).await {
        assert_eq!(answered.expect("no panic").expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn a_module_of_a_disabled_device_cannot_be_called() {
    let (emulator, _) = emulator().await;
    emulator.add_module("localhost", "d1", "m1").expect("a module");
    emulator.set_device_enabled("localhost", "d1", false);
    for (id, named) in [("d1", "d1"), ("d1/m1", "d1"), ("d2/m1", "d2")] {
        let error = emulator.invoke_method("localhost", id, Invocation::new("m")).await;
        let expected = InvokeError::NotFound { hub: "localhost".into(), id: named.into() };
        assert_eq!(error, Err(expected), "{id}");
    }
}
