//! DPS over MQTT, with hand-written packets.

use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::SharedKey;
use serde_json::{Value, json};

use crate::client::{
    Login, QOS1, Tls, connect, dps_connect, dps_token, publish, read_publish, receive, send, subscribe, tls,
};

const FILTER: &str = "$dps/registrations/res/#";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";

async fn connected(emulator: &Emulator, id: &str, key: &SharedKey) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    let password = dps_token(emulator, key, id);
    let connack = dps_connect(&mut stream, emulator.id_scope(), id, &password).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    stream
}

async fn answer(stream: &mut Tls) -> (String, Value) {
    let packet = receive(stream).await.expect("an answer");
    let (topic, body, acknowledgement) = read_publish(&packet);
    if let Some(puback) = acknowledgement {
        send(stream, &puback).await;
    }
    (topic, serde_json::from_str(&body).expect("JSON"))
}

/// The packets of Microsoft's Python sample.
#[tokio::test]
async fn registers_like_the_python_sdk() {
    let emulator = Emulator::builder().retry_after(Some(Duration::from_secs(2))).start().await.expect("started");
    let device = emulator.enroll("r").expect("enrolled");
    let mut stream = connected(&emulator, "r", device.primary_key()).await;
    send(&mut stream, &subscribe(1, &[(FILTER, 1)])).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x90\x03\x00\x01\x01"[..]));

    let body = br#"{"payload": null, "registrationId": "r"}"#;
    send(&mut stream, &publish(QOS1, &format!("{REGISTER}uuid-1"), 2, body)).await;
    // The PUBACK comes before the response.
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x02"[..]));
    let (topic, body) = answer(&mut stream).await;
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=uuid-1&retry-after=2");
    let operation = body["operationId"].as_str().expect("an id").to_owned();
    assert_eq!(body, json!({"operationId": operation, "status": "assigning"}));

    let poll = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
    send(&mut stream, &publish(QOS1, &poll, 3, b" ")).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x03"[..]));
    assert_eq!(answer(&mut stream).await.0, "$dps/registrations/res/202/?$rid=2&retry-after=2");
    // QoS 0: no PUBACK. The body is empty.
    send(&mut stream, &publish(0, &poll, 0, b"")).await;
    let (topic, body) = answer(&mut stream).await;
    assert_eq!(topic, "$dps/registrations/res/200/?$rid=2");
    assert_eq!(body["registrationState"]["assignedHub"], "localhost");
    send(&mut stream, b"\xc0\x00").await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\xd0\x00"[..]));
    send(&mut stream, b"\xe0\x00").await;
    assert_eq!(receive(&mut stream).await, None);
}

#[tokio::test]
async fn a_wrong_key_is_refused_at_the_registration() {
    let emulator = Emulator::start().await.expect("started");
    emulator.enroll("dev-1").expect("enrolled");
    let wrong_key = SharedKey::generate().expect("a key");
    for id in ["dev-1", "unknown"] {
        let mut stream = connected(&emulator, id, &wrong_key).await;
        // Sends all packets at once.
        let mut bytes = subscribe(1, &[(FILTER, 0)]);
        bytes.extend(publish(0, &format!("{REGISTER}1"), 0, b""));
        send(&mut stream, &bytes).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x90\x03\x00\x01\x00"[..]));
        let (topic, body) = answer(&mut stream).await;
        assert_eq!(topic, "$dps/registrations/res/401/?$rid=1");
        assert_eq!((&body["errorCode"], &body["message"]), (&json!(401_002), &json!("Unauthorized")));
        assert!(body["trackingId"].is_string() && body["timestampUtc"].is_string());
    }
}

#[tokio::test]
async fn an_unreadable_login_is_refused_at_connect() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let password = dps_token(&emulator, device.primary_key(), "dev-1");
    let good = format!("{}/registrations/dev-1/api-version=2019-03-31", emulator.id_scope());
    let scope_only = format!("{}/registrations/dev-1", emulator.id_scope());
    for (client_id, username, password) in [
        ("dev-1", good.as_str(), "no token"),
        ("dev-2", &good, &password),
        ("dev-1", &scope_only, &password),
        ("", &good, &password),
    ] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let login = Login { client_id, username, password, clean: true, keep_alive: 0, will: None };
        // The client sends a SUBSCRIBE before it reads the CONNACK. The emulator does not read the SUBSCRIBE, but the
        // client must still receive the CONNACK with the refusal.
        let mut bytes = connect(&login);
        bytes.extend(subscribe(1, &[(FILTER, 1)]));
        send(&mut stream, &bytes).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x20\x02\x00\x05"[..]), "{client_id} {username}");
        assert_eq!(receive(&mut stream).await, None);
    }
}

#[tokio::test]
async fn unsupported_packets_and_topics_end_the_connection() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let long = format!("{REGISTER}{}", "x".repeat(2000));
    for bytes in [
        publish(0b0100, &format!("{REGISTER}1"), 1, b""),
        publish(0, "$dps/registrations/PUT/iotdps-register/", 0, b""),
        publish(0, "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1", 0, b""),
        publish(0, "devices/dev-1/messages/events/", 0, b""),
        publish(0, &long, 0, b""),
        b"\xc0\x01\x00".to_vec(),
        vec![0x10, 0],
    ] {
        let mut stream = connected(&emulator, "dev-1", device.primary_key()).await;
        send(&mut stream, &bytes).await;
        assert_eq!(receive(&mut stream).await, None, "{bytes:x?}");
    }
    // Other filters are refused without ending the connection.
    let mut stream = connected(&emulator, "dev-1", device.primary_key()).await;
    send(&mut stream, &subscribe(7, &[("#", 1), (FILTER, 2), ("devices/dev-1/messages/devicebound/#", 0)])).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x90\x05\x00\x07\x80\x01\x80"[..]));
}

#[tokio::test]
async fn an_operation_outlives_its_connection() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let mut operation = String::new();
    for round in 0..3 {
        let mut stream = connected(&emulator, "dev-1", device.secondary_key()).await;
        send(&mut stream, &subscribe(1, &[(FILTER, 0)])).await;
        receive(&mut stream).await.expect("a SUBACK");
        let topic = match round {
            0 => format!("{REGISTER}1"),
            _ => format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId={operation}"),
        };
        send(&mut stream, &publish(0, &topic, 0, b"")).await;
        let (_, body) = answer(&mut stream).await;
        operation = body["operationId"].as_str().expect("an id").to_owned();
        assert_eq!(body["status"], if round == 2 { "assigned" } else { "assigning" });
    }
}

/// After a CONNECT with a wrong key, a packet may be as large as the largest CONNECT. After a CONNECT with the correct
/// key, it may be as large as the largest registration.
#[tokio::test]
async fn the_packet_limit_depends_on_authentication() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let wrong_key = SharedKey::generate().expect("a key");
    for (key, length, status) in [
        (device.primary_key(), 96 * 1024 + 1, Some("413")),
        (device.primary_key(), 200_000, None),
        (&wrong_key, 70_000, Some("401")),
        (&wrong_key, 80_000, None),
    ] {
        let mut stream = connected(&emulator, "dev-1", key).await;
        send(&mut stream, &subscribe(1, &[(FILTER, 0)])).await;
        receive(&mut stream).await.expect("a SUBACK");
        let sent = publish(0, &format!("{REGISTER}1"), 0, &vec![b' '; length]);
        // Ignore a failure: the emulator may close the connection before the client has sent the whole packet.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &sent).await;
        match status {
            Some(status) => assert_eq!(answer(&mut stream).await.0, format!("$dps/registrations/res/{status}/?$rid=1")),
            None => assert_eq!(receive(&mut stream).await, None, "{length}"),
        }
    }
}
