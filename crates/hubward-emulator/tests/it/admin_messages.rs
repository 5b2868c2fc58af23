//! Messages to devices and modules over the admin port. The tests write the requests by hand.

use hubward_emulator::{CloudMessageState, Emulator, Outcome};
use tokio::net::TcpStream;

use crate::client::{Reply, http, hub_connect, read_publish, receive, send, subscribe, tls};

const HUB: &str = "localhost";

async fn request(emulator: &Emulator, head: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let length = body.len();
    let request = format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    http(&mut stream, &request).await.expect("an answer")
}

async fn post(emulator: &Emulator, path: &str, body: &str) -> Reply {
    request(emulator, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json"), body).await
}

/// Returns the error code. The code is in the member `Message` of the body, which is a string that contains JSON.
fn code(reply: &Reply) -> u64 {
    let message = reply.json()["Message"].as_str().expect("a text").to_owned();
    let inner: serde_json::Value = serde_json::from_str(&message).expect("JSON");
    inner["errorCode"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_message_is_sent_listed_and_delivered() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    let body = r#"{"body": "hello", "messageId": "m1", "correlationId": "c1", "userId": "u1",
        "contentType": "text/plain", "contentEncoding": "utf-8", "ack": "full",
        "expiryTimeUtc": "2999-01-01T00:00:00Z", "properties": {"k 1": "v/1", "flag": null}}"#;
    let refused = post(&emulator, "/messages/localhost/d1", body).await;
    assert_eq!((refused.status, code(&refused)), (400, 400_004), "kept for two days at most: {}", refused.body);
    let body = body.replace(r#""expiryTimeUtc": "2999-01-01T00:00:00Z""#, r#""timeToLiveInSeconds": 120"#);
    let sent = post(&emulator, "/messages/LOCALHOST/d1", &body).await;
    assert_eq!((sent.status, sent.body.as_str()), (200, r#"{"messageId":"m1"}"#));
    let waiting = request(&emulator, "GET /messages/localhost/d1 HTTP/1.1", "").await.json();
    let message = &waiting["messages"][0];
    assert_eq!((&message["messageId"], &message["state"]), (&"m1".into(), &"enqueued".into()), "{waiting}");
    assert_eq!((&message["deliveryCount"], &message["sequenceNumber"]), (&0.into(), &1.into()));
    assert!(message["expiryTimeUtc"].as_str() > message["enqueuedTimeUtc"].as_str());

    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut stream, "d1", &key, true).await.expect("a CONNACK");
    send(&mut stream, &subscribe(1, &[("devices/d1/messages/devicebound/#", 1)])).await;
    receive(&mut stream).await.expect("a SUBACK");
    let (topic, body, puback) = read_publish(&receive(&mut stream).await.expect("a message"));
    let expected = "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                    &%24.cid=c1&%24.uid=u1&%24.ct=text%2Fplain&%24.ce=utf-8&iothub-ack=full&flag&k%201=v%2F1";
    assert_eq!((topic.as_str(), body.as_str()), (expected, "hello"));
    assert_eq!(emulator.cloud_messages(HUB, "d1")[0].state, CloudMessageState::Invisible);
    send(&mut stream, &puback.expect("QoS 1")).await;
    let feedback = emulator.wait_until(|it| it.feedback(HUB).pop()).await;
    assert_eq!((feedback.original_message_id.as_str(), feedback.status_code), ("m1", Outcome::Success));
    let waiting = request(&emulator, "GET /messages/localhost/d1 HTTP/1.1", "").await;
    assert_eq!(waiting.body, r#"{"messages":[]}"#);
    // The absolute expiry is in the past. The message expires immediately, and the sender gets feedback.
    let past =
        r#"{"bodyBase64": "/wA=", "expiryTimeUtc": "2001-02-03T04:05:06Z", "ack": "negative", "messageId": "old"}"#;
    assert_eq!(post(&emulator, "/messages/localhost/d1", past).await.status, 200);
    let feedback = emulator.wait_until(|it| it.feedback(HUB).into_iter().find(|it| it.original_message_id == "old"));
    let feedback = feedback.await;
    assert_eq!(feedback.status_code, Outcome::Expired);
    assert_eq!(feedback.enqueued_time_utc, "2001-02-03T04:05:06.0000000Z");
}

#[tokio::test]
async fn a_module_has_inputs() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device(HUB, "d1").expect("a device");
    emulator.add_module(HUB, "d1", "m1").expect("a module");
    let path = "/messages/localhost/d1/modules/m1";
    let sent = post(&emulator, path, r#"{"body": "x", "inputName": "in", "senderDeviceId": "d2"}"#).await;
    let id = sent.json()["messageId"].as_str().expect("an id").to_owned();
    let waiting = request(&emulator, &format!("GET {path} HTTP/1.1"), "").await.json();
    assert_eq!((&waiting["messages"][0]["messageId"], &waiting["messages"][0]["input"]), (&id.into(), &"in".into()));
}

#[tokio::test]
async fn invalid_messages_are_refused_with_the_services_code() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device(HUB, "d1").expect("a device");
    emulator.add_module(HUB, "d1", "m1").expect("a module");
    let device = "/messages/localhost/d1";
    let module = "/messages/localhost/d1/modules/m1";
    for (path, body, expected) in [
        (device, "{", 400_006),
        (device, "[]", 400_004),
        (device, r#"{"text": "a typing error"}"#, 400_004),
        (device, r#"{"body": {"an": "object"}}"#, 400_004),
        (device, r#"{"body": "a", "bodyBase64": "YQ=="}"#, 400_004),
        (device, r#"{"bodyBase64": "?"}"#, 400_004),
        (device, r#"{"ack": "maybe"}"#, 400_004),
        (device, r#"{"expiryTimeUtc": "tomorrow"}"#, 400_004),
        (device, r#"{"expiryTimeUtc": "2001-02-03T04:05:06Z", "timeToLiveInSeconds": 1}"#, 400_004),
        (device, r#"{"timeToLiveInSeconds": 172801}"#, 400_004),
        (device, r#"{"timeToLiveInSeconds": 18446744073709551615}"#, 400_004),
        (device, r#"{"properties": {"iothub-ack": "full"}}"#, 400_004),
        (device, r#"{"inputName": "in"}"#, 400_004),
        (module, r#"{"body": "no input"}"#, 400_004),
        (module, r#"{"inputName": "in", "senderModuleId": "m2"}"#, 400_004),
        ("/messages/localhost/d2", "{}", 404_001),
        ("/messages/localhost/d1/modules/m2", r#"{"inputName": "in"}"#, 404_010),
        ("/messages/elsewhere/d1", "{}", 401_001),
    ] {
        let reply = post(&emulator, path, body).await;
        assert_eq!((code(&reply), u64::from(reply.status)), (expected, expected / 1000), "{path} {body}");
    }
    let large = format!(r#"{{"body": "{}"}}"#, "x".repeat(65_537));
    assert_eq!(code(&post(&emulator, device, &large).await), 413_001);
    let untyped = request(&emulator, &format!("POST {device} HTTP/1.1\r\nContent-Type: text/plain"), "{}").await;
    assert_eq!(untyped.status, 415, "a page of another origin cannot send this type");
    let deleted = request(&emulator, &format!("DELETE {device} HTTP/1.1"), "").await;
    assert_eq!((deleted.status, deleted.header("allow")), (405, Some("GET, HEAD, POST")));
    for (path, expected) in [("/messages/localhost/d2", 404_001), ("/messages/localhost/d1/modules/m2", 404_010)] {
        assert_eq!(code(&request(&emulator, &format!("GET {path} HTTP/1.1"), "").await), expected);
    }
    assert!(emulator.cloud_messages(HUB, "d1").is_empty());
    for number in 0..50 {
        assert_eq!(post(&emulator, device, "{}").await.status, 200, "{number}");
    }
    let full = post(&emulator, device, "{}").await;
    assert_eq!((full.status, full.header("iothub-errorcode")), (403, Some("DeviceMaximumQueueDepthExceeded")));
}
