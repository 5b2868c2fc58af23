//! Scripted faults over real sockets.

use std::time::Duration;

use hubward_emulator::{Emulator, Fault, Point};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{
    QOS1, Tls, dps_connect, dps_token, http, hub_connect, patient, publish, read_head, read_publish, receive, send,
    subscribe, tls,
};

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

async fn registering(emulator: &Emulator) -> (Tls, Tls, String) {
    let device = emulator.enroll("dev-1").expect("enrolled");
    let password = dps_token(emulator, device.primary_key(), "dev-1");
    let mut mqtt = tls(emulator, emulator.mqtt_addr()).await;
    dps_connect(&mut mqtt, emulator.id_scope(), "dev-1", &password).await.expect("a CONNACK");
    send(&mut mqtt, &subscribe(1, &[("$dps/registrations/res/#", 0)])).await;
    receive(&mut mqtt).await.expect("a SUBACK");
    let request = format!(
        "PUT /{}/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {password}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope()
    );
    (mqtt, tls(emulator, emulator.https_addr()).await, request)
}

#[tokio::test]
async fn a_scripted_status_works_on_both_transports() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    for _ in 0..2 {
        emulator.fault(Point::DpsRegister, Fault::throttled("7")).expect("fits");
    }
    let reply = http(&mut https, &request).await.expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    assert_eq!((reply.header("x-ms-error-code"), &reply.json()["errorCode"]), (Some("429001"), &429_001.into()));
    send(&mut mqtt, &publish(0, REGISTER, 0, b"")).await;
    let (topic, body, _) = read_publish(&receive(&mut mqtt).await.expect("an answer"));
    assert_eq!(topic, "$dps/registrations/res/429/?$rid=1&retry-after=7");
    assert!(body.contains("throttled"), "{body}");
    assert_eq!(emulator.faults_left(Point::DpsRegister), 0);
    assert_eq!(http(&mut https, &request).await.expect("an answer").status, 202);
}

#[tokio::test]
async fn scripted_bodies_are_sent_unchanged() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    emulator.fault_always(Point::DpsRegister, Fault::gateway_html()).expect("fits");
    let reply = http(&mut https, &request).await.expect("an answer");
    assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html")));
    assert!(reply.body.starts_with("<html>"));
    send(&mut mqtt, &publish(0, REGISTER, 0, b"")).await;
    let (topic, body, _) = read_publish(&receive(&mut mqtt).await.expect("an answer"));
    assert!(topic == "$dps/registrations/res/502/?$rid=1" && body.starts_with("<html>"), "{topic}");
    emulator.clear_faults();
    for _ in 0..2 {
        emulator.fault(Point::DpsRegister, Fault::RetryAfter(Some("soon".into()))).expect("fits");
    }
    let reply = http(&mut https, &request).await.expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after")), (202, Some("soon")));
    send(&mut mqtt, &publish(0, REGISTER, 0, b"")).await;
    let (topic, _, _) = read_publish(&receive(&mut mqtt).await.expect("an answer"));
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=1&retry-after=soon");
    emulator.fault(Point::DpsRegister, Fault::body(vec![b'x'; 1_000_000])).expect("fits");
    assert_eq!(http(&mut https, &request).await.expect("an answer").body.len(), 1_000_000);
    emulator.fault(Point::DpsRegister, Fault::Chunked(10)).expect("fits");
    send(&mut https, request.as_bytes()).await;
    let head = patient(read_head(&mut https)).await.expect("an answer").to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
    let mut size = [0; 3];
    patient(https.read_exact(&mut size)).await.expect("a chunk");
    assert_eq!(&size, b"A\r\n");
}

#[tokio::test]
async fn cut_ends_the_connection_without_a_response() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    emulator.fault_always(Point::DpsRegister, Fault::Cut).expect("fits");
    assert!(http(&mut https, &request).await.is_err());
    send(&mut mqtt, &publish(QOS1, REGISTER, 1, b"")).await;
    assert_eq!(receive(&mut mqtt).await, None);
}

#[tokio::test]
async fn never_keeps_the_connection_open_without_a_response() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    emulator.fault_always(Point::DpsRegister, Fault::Never).expect("fits");
    send(&mut mqtt, &publish(QOS1, REGISTER, 1, b"")).await;
    send(&mut mqtt, b"\xc0\x00").await;
    // The PUBACK comes directly before the response to the ping.
    assert_eq!(receive(&mut mqtt).await.as_deref(), Some(&b"\x40\x02\x00\x01"[..]));
    assert_eq!(receive(&mut mqtt).await.as_deref(), Some(&b"\xd0\x00"[..]));
    // At `MqttAccept`, the emulator reads the client's hello and never responds.
    emulator.fault(Point::HttpsAccept, Fault::Never).expect("fits");
    let mut tcp = TcpStream::connect(emulator.https_addr()).await.expect("connected");
    tcp.write_all(b"\x16\x03\x01").await.expect("sent");
    tcp.shutdown().await.expect("half closed");
    let mut rest = Vec::new();
    patient(tcp.read_to_end(&mut rest)).await.expect("the end, and nothing before it");
    assert!(rest.is_empty());
    // Over HTTPS, no response arrives either, until the emulator shuts down.
    emulator.clear_faults();
    emulator.fault(Point::DpsRegister, Fault::Never).expect("fits");
    send(&mut https, request.as_bytes()).await;
    emulator.wait_until(|it| (it.faults_left(Point::DpsRegister) == 0).then_some(())).await;
    emulator.shutdown().await;
    let _ = patient(https.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn duplicate_stray_and_early_responses() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, _, _) = registering(&emulator).await;
    let mut ask = async |fault: Fault| {
        emulator.fault(Point::DpsRegister, fault).expect("fits");
        send(&mut mqtt, &publish(QOS1, REGISTER, 1, b"")).await;
        send(&mut mqtt, b"\xc0\x00").await;
        let mut kinds = Vec::new();
        loop {
            let packet = receive(&mut mqtt).await.expect("a packet");
            match packet[0] & 0xf0 {
                0xd0 => return kinds,
                0x40 => kinds.push("puback".to_owned()),
                _ => kinds.push(read_publish(&packet).0),
            }
        }
    };
    let answer = "$dps/registrations/res/202/?$rid=1&retry-after=0";
    assert_eq!(ask(Fault::Duplicate).await, ["puback", answer, answer]);
    assert_eq!(ask(Fault::BeforePuback).await, [answer, "puback"]);
    let stray = ask(Fault::Stray).await;
    assert!(stray.len() == 3 && stray[1].starts_with("$dps/registrations/res/401/?$rid=") && stray[2] == answer);
    assert_eq!(ask(Fault::Delay(Duration::from_millis(1))).await, ["puback", answer]);
}

#[tokio::test]
async fn a_dripping_response_is_complete_in_the_end() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    let drip = Fault::Drip(Duration::from_millis(1));
    for _ in 0..2 {
        emulator.fault(Point::DpsRegister, drip.clone()).expect("fits");
    }
    assert_eq!(http(&mut https, &request).await.expect("an answer").json()["status"], "assigning");
    send(&mut mqtt, &publish(0, REGISTER, 0, b"")).await;
    assert!(read_publish(&receive(&mut mqtt).await.expect("an answer")).1.contains("assigning"));
    emulator.fault(Point::MqttAccept, Fault::Drip(Duration::from_micros(10))).expect("fits");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut hub = tls(&emulator, emulator.mqtt_addr()).await;
    assert!(hub_connect(&mut hub, "d1", &key, true).await.is_some());
}

#[tokio::test]
async fn faults_happen_at_hubs() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let log = emulator.telemetry("localhost").expect("the hub");
    for code in [1, 2, 3, 4, 5] {
        emulator.fault(Point::HubConnect, Fault::Connack(code)).expect("fits");
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        assert_eq!(hub_connect(&mut stream, "d1", &key, true).await, Some(vec![0x20, 2, 0, code]));
        assert_eq!(receive(&mut stream).await, None);
    }
    emulator.fault(Point::HubConnect, Fault::Cut).expect("fits");
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", &key, true).await, None);

    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut stream, "d1", &key, true).await.expect("a CONNACK");
    emulator.fault(Point::HubSubscribe, Fault::Suback128).expect("fits");
    send(&mut stream, &subscribe(1, &[("$iothub/twin/res/#", 1)])).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x90\x03\x00\x01\x80"[..]));
    for (fault, pubacks, logged) in [
        (Fault::HoldPuback, 0, 1),
        (Fault::Never, 0, 1),
        (Fault::Duplicate, 2, 2),
        (Fault::Delay(Duration::from_millis(1)), 1, 3),
    ] {
        emulator.fault(Point::HubPublish, fault.clone()).expect("fits");
        let mut bytes = publish(QOS1, "devices/d1/messages/events/", 7, b"hi");
        bytes.extend_from_slice(b"\xc0\x00");
        send(&mut stream, &bytes).await;
        for _ in 0..pubacks {
            assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x07"[..]), "{fault:?}");
        }
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\xd0\x00"[..]), "{fault:?}");
        assert_eq!(log.total(), logged, "{fault:?}");
    }
    emulator.fault(Point::HubPublish, Fault::Cut).expect("fits");
    send(&mut stream, &publish(QOS1, "devices/d1/messages/events/", 7, b"hi")).await;
    assert_eq!(receive(&mut stream).await, None);
    assert_eq!(log.total(), 3);
}

#[tokio::test]
async fn faults_happen_at_websocket_handshakes() {
    let emulator = Emulator::start().await.expect("started");
    let request = "GET /$iothub/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    emulator.fault(Point::WebSocketUpgrade, Fault::status(503, 503_001, "Later")).expect("fits");
    emulator.fault(Point::WebSocketUpgrade, Fault::Cut).expect("fits");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    assert_eq!(http(&mut stream, request).await.expect("an answer").status, 503);
    assert!(http(&mut stream, request).await.is_err());
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    send(&mut stream, request.as_bytes()).await;
    assert!(patient(read_head(&mut stream)).await.expect("an answer").starts_with("HTTP/1.1 101"));
}

/// Over MQTT, the Retry-After is a part of the topic of the response. This Retry-After is longer than the longest topic
/// of a packet, so the emulator cannot send the response.
#[tokio::test]
async fn a_response_that_does_not_fit_into_a_packet_is_not_sent() {
    let emulator = Emulator::start().await.expect("started");
    let (mut mqtt, mut https, request) = registering(&emulator).await;
    emulator.fault(Point::DpsRegister, Fault::RetryAfter(Some("9".repeat(70_000)))).expect("fits");
    send(&mut mqtt, &publish(QOS1, REGISTER, 1, b"")).await;
    assert_eq!(receive(&mut mqtt).await.as_deref(), Some(&b"\x40\x02\x00\x01"[..]));
    send(&mut mqtt, &publish(QOS1, REGISTER, 2, b"")).await;
    assert_eq!(receive(&mut mqtt).await.as_deref(), Some(&b"\x40\x02\x00\x02"[..]));
    let (topic, _, _) = read_publish(&receive(&mut mqtt).await.expect("an answer"));
    assert!(topic.starts_with("$dps/registrations/res/202/"), "{topic}");

    // A scripted header must not change the length of the response.
    let headers = [("content-length", "1"), ("Transfer-Encoding", "chunked"), ("x-odd", "a")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let fault = Fault::StatusWith { status: 503, code: 503_000, message: "m".into(), headers };
    emulator.fault(Point::DpsRegister, fault).expect("fits");
    let reply = http(&mut https, &request).await.expect("an answer");
    assert_eq!((reply.status, reply.header("x-odd"), &reply.json()["message"]), (503, Some("a"), &"m".into()));
    assert_eq!(http(&mut https, &request).await.expect("an answer").status, 202);
}
