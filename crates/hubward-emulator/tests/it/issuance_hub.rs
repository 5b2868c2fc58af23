//! The topics of certificate requests at a hub. Each row of the observed behaviour of the service is one exchange.
//!
//! Source of topics, codes and members: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
//! `csr-scenarions.md` (a live run of 2026-01-30).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_emulator::{Emulator, Fault, Point};
use serde_json::{Value, json};

use crate::client::{QOS1, Tls, before_pong, packet, publish, receive, send, string, subscribe};
use crate::issuance::{
    FILTER, HUB, Issued, answer, ask, connect, enrolled, last_refusal, renew, request, subscribe_to_answers, world,
};
use crate::lab;

const HOUR: Duration = Duration::from_secs(3600);

/// The first request id of a test.
const ID: &str = "5ecd03d5-8183-412b-9d6e-b95a7f36feb7";

fn body(csr: &str) -> String {
    json!({ "id": "d1", "csr": csr }).to_string()
}

/// Connects `d1`, requests a certificate whose result is an hour away, and returns the answer 202.
async fn pending(emulator: &Emulator, stream: &mut Tls, request_id: &str, csr: &str) -> Value {
    emulator.fault(Point::HubCertificate, Fault::Delay(HOUR)).expect("it fits");
    ask(stream, request_id, &body(csr)).await;
    let accepted = answer(stream, 202, request_id).await;
    assert!(before_pong(stream).await.is_empty(), "the result is an hour away");
    accepted
}

async fn unsubscribe(stream: &mut Tls) {
    let mut rest = vec![0, 9];
    rest.extend(string(FILTER));
    send(stream, &packet(0xa2, &rest)).await;
    assert_eq!(receive(stream).await.as_deref(), Some(&b"\xb0\x02\x00\x09"[..]));
}

fn is_long_timestamp(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2026-01-31T00:49:39.467401528Z".len() && text.ends_with('Z')
}

#[tokio::test]
async fn a_request_gets_202_and_then_the_chain() {
    let (emulator, first) = world().await;
    let mut stream = first.subscribed(&emulator, "d1").await;
    let new = request("d1");
    ask(&mut stream, ID, &body(&new.csr)).await;
    let accepted = answer(&mut stream, 202, ID).await;
    assert_eq!(accepted.as_object().expect("an object").len(), 2, "{accepted}");
    assert!(is_long_timestamp(&accepted["operationExpires"]), "{accepted}");
    assert_eq!(accepted["correlationId"].as_str().map(str::len), Some(36), "{accepted}");
    let done = answer(&mut stream, 200, ID).await;
    assert_eq!(done.as_object().expect("an object").len(), 2, "{done}");
    assert_eq!(done["correlationId"], accepted["correlationId"]);
    let second = new.issued(&done["certificates"]);
    assert_eq!((second.leaf.certificate.common_name(), second.days()), (Some("d1"), 30));
    assert_ne!(second.leaf.certificate.serial_number(), first.leaf.certificate.serial_number());
    assert_eq!(second.issuers, first.issuers);

    // A second request works at once, also with QoS 0.
    let third = request("d1");
    let topic = "$iothub/credentials/POST/issueCertificate/?$rid=a1b2";
    send(&mut stream, &publish(0, topic, 0, body(&third.csr).as_bytes())).await;
    answer(&mut stream, 202, "a1b2").await;
    let third = third.issued(&answer(&mut stream, 200, "a1b2").await["certificates"]);
    // The open connection continues. Every certificate is good for the next one.
    assert!(before_pong(&mut stream).await.is_empty());
    for certificate in [&first, &second, &third] {
        assert_eq!(certificate.at_hub(&emulator, "d1", true).await.1, b"\x20\x02\x00\x00");
    }
    let events = emulator.events().all();
    let lines: Vec<_> = events.iter().map(ToString::to_string).filter(|it| it.contains("issued")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("dps issued a certificate to d1 at localhost: policy `default`, serial"), "{lines:?}");
    assert!(lines[2].starts_with("hub issued a certificate to d1 at localhost: policy `default`, serial"), "{lines:?}");
}

#[tokio::test]
async fn malformed_requests_are_refused_at_once() {
    let (emulator, device) = world().await;
    let mut stream = device.subscribed(&emulator, "d1").await;
    let csr = request("d1").csr;
    let long = "A".repeat(8196);
    for (body, code) in [
        (String::new(), 400_004),
        (r#"["not", "an", "object"]"#.to_owned(), 400_004),
        (json!({ "id": "d1", "csr": "" }).to_string(), 400_004),
        (json!({ "id": "d1", "csr": long }).to_string(), 400_004),
        (json!({ "id": "d1", "csr": "not-valid-base64!!@@##" }).to_string(), 400_004),
        (json!({ "id": "d1" }).to_string(), 400_004),
        (json!({ "id": "wrong-device", "csr": csr }).to_string(), 400_004),
        (json!({ "id": "", "csr": csr }).to_string(), 400_004),
        (json!({ "id": "d1", "csr": csr, "unknownField": "value" }).to_string(), 400_004),
        (json!({ "id": "d1", "csr": csr, "replace": "123" }).to_string(), 400_004),
        (r#"{"id": "d1", "csr":"#.to_owned(), 400_006),
    ] {
        ask(&mut stream, "a1b2", &body).await;
        let refusal = answer(&mut stream, 400, "a1b2").await;
        let members: Vec<_> = refusal.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["errorCode", "info", "message", "timestampUtc", "trackingId"], "{body:.80}");
        assert_eq!((&refusal["errorCode"], &refusal["info"]), (&json!(code), &Value::Null), "{body:.80}");
        assert!(is_long_timestamp(&refusal["timestampUtc"]), "{refusal}");
        let logged = last_refusal(&emulator);
        assert!(
            logged.starts_with("hub refused d1 at localhost: ") && logged.ends_with(&format!(", {code}")),
            "{logged}"
        );
    }
    // The id of the request is not valid either; that the hub answers is our choice.
    ask(&mut stream, "-ab-", &body(&csr)).await;
    assert_eq!(answer(&mut stream, 400, "-ab-").await["errorCode"], 400_004);
    renew(&mut stream, "d1", "a1b3").await;
}

#[tokio::test]
async fn a_csr_that_is_no_csr_is_refused_after_202() {
    let (emulator, device) = world().await;
    let mut stream = device.subscribed(&emulator, "d1").await;
    for (name, csr) in [
        ("base64 of something else", STANDARD.encode("This is not a certificate request.")),
        ("another common name", request("d2").csr),
    ] {
        ask(&mut stream, ID, &body(&csr)).await;
        answer(&mut stream, 202, ID).await;
        let refusal = answer(&mut stream, 400, ID).await;
        assert_eq!(refusal["errorCode"], 400_037, "{name}");
        let info = json!({ "credentialError": "400000", "credentialMessage": "CSR did not pass verification" });
        assert_eq!(refusal["info"], info, "{name}");
        assert!(last_refusal(&emulator).ends_with(", 400037"), "{name}: {}", last_refusal(&emulator));
    }
    // The refused request is no longer pending.
    renew(&mut stream, "d1", "a1b2").await;
}

#[tokio::test]
async fn a_second_request_waits_or_replaces_the_first() {
    let (emulator, device) = world().await;
    let mut stream = device.subscribed(&emulator, "d1").await;
    for replace in [ID, "*"] {
        let csr = request("d1").csr;
        let accepted = pending(&emulator, &mut stream, ID, &csr).await;
        let conflict = json!({
            "requestId": ID,
            "operationExpires": accepted["operationExpires"],
            "correlationId": accepted["correlationId"],
        });
        for (request_id, replace, status, code, info) in [
            ("a1b2", None, 409, 409_004, conflict.clone()),
            (ID, None, 409, 409_004, conflict),
            ("a1b2", Some("db8c0f73"), 412, 412_001, json!({ "requestId": "db8c0f73" })),
        ] {
            let mut body = json!({ "id": "d1", "csr": csr });
            if let Some(replace) = replace {
                body["replace"] = json!(replace);
            }
            ask(&mut stream, request_id, &body.to_string()).await;
            let refusal = answer(&mut stream, status, request_id).await;
            assert_eq!((&refusal["errorCode"], &refusal["info"]), (&json!(code), &info), "{body:.200}");
        }
        let new = request("d1");
        ask(&mut stream, "a1b3", &json!({ "id": "d1", "csr": new.csr, "replace": replace }).to_string()).await;
        answer(&mut stream, 202, "a1b3").await;
        new.issued(&answer(&mut stream, 200, "a1b3").await["certificates"]);
    }
    // Nothing is pending.
    for (replace, status) in [("a1b3", 412), ("*", 202)] {
        ask(&mut stream, "a1b4", &json!({ "id": "d1", "csr": request("d1").csr, "replace": replace }).to_string())
            .await;
        answer(&mut stream, status, "a1b4").await;
    }
    answer(&mut stream, 200, "a1b4").await;
    // The results of the replaced requests never come.
    emulator.clock_ahead(2 * HOUR);
    assert!(before_pong(&mut stream).await.is_empty());
}

#[tokio::test]
async fn some_requests_get_no_answer() {
    let (emulator, device) = world().await;
    let csr = request("d1").csr;
    let mut stream = device.subscribed(&emulator, "d1").await;
    for topic in [
        "$iothub/credentials/POST/issueCertificate/",
        "$iothub/credentials/POST/issueCertificate/?$rid=",
        "$iothub/credentials/POST/issueCertificate",
    ] {
        send(&mut stream, &publish(QOS1, topic, 6, body(&csr).as_bytes())).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x06"[..]), "{topic}");
        assert!(before_pong(&mut stream).await.is_empty(), "{topic}");
        assert!(last_refusal(&emulator).contains("it has no request id"), "{}", last_refusal(&emulator));
    }
    // A client that has not subscribed gets no answer, even if it subscribes later.
    let (mut stream, _) = device.at_hub(&emulator, "d1", true).await;
    ask(&mut stream, ID, &body(&csr)).await;
    assert!(before_pong(&mut stream).await.is_empty(), "never subscribed");
    assert!(last_refusal(&emulator).contains("has not subscribed"), "{}", last_refusal(&emulator));
    subscribe_to_answers(&mut stream).await;
    assert!(before_pong(&mut stream).await.is_empty(), "subscribed after the publish");
    // The ignored request is not pending.
    renew(&mut stream, "d1", "a1b2").await;
}

/// Whether the result of a request is waiting at the device's hub, after all preparations.
async fn delivered(stream: &mut Tls, key: &crate::issuance::Request) -> bool {
    let packets = before_pong(stream).await;
    let Some((topic, body)) = packets.first() else { return false };
    assert_eq!((packets.len(), topic.as_str()), (1, &*format!("$iothub/credentials/res/200/?$rid={ID}")));
    let body: Value = serde_json::from_str(body).expect("JSON");
    key.issued(&body["certificates"]);
    true
}

#[tokio::test]
async fn the_result_follows_the_subscription() {
    let (emulator, device) = world().await;
    let mut ahead = Duration::ZERO;
    let mut later = || {
        ahead += 2 * HOUR;
        emulator.clock_ahead(ahead);
    };
    let new = request("d1");

    // Unsubscribe after 202, and subscribe again.
    let mut stream = device.subscribed(&emulator, "d1").await;
    pending(&emulator, &mut stream, ID, &new.csr).await;
    unsubscribe(&mut stream).await;
    later();
    assert!(!delivered(&mut stream, &new).await, "unsubscribed");
    subscribe_to_answers(&mut stream).await;
    assert!(delivered(&mut stream, &new).await, "subscribed again");

    // The client stays subscribed.
    pending(&emulator, &mut stream, ID, &new.csr).await;
    later();
    answer(&mut stream, 200, ID).await;

    // Reconnect with clean session 0: before and after the result is ready.
    for is_ready_first in [true, false] {
        let (mut stream, _) = device.at_hub(&emulator, "d1", false).await;
        subscribe_to_answers(&mut stream).await;
        pending(&emulator, &mut stream, ID, &new.csr).await;
        drop(stream);
        if is_ready_first {
            later();
        }
        let (mut stream, connack) = device.at_hub(&emulator, "d1", false).await;
        assert_eq!(connack, b"\x20\x02\x01\x00", "the hub kept the session");
        if !is_ready_first {
            assert!(before_pong(&mut stream).await.is_empty(), "not ready");
            later();
        }
        new.issued(&answer(&mut stream, 200, ID).await["certificates"]);
    }

    // Reconnect with clean session 1: without a subscription, and then with one.
    let mut stream = device.subscribed(&emulator, "d1").await;
    pending(&emulator, &mut stream, ID, &new.csr).await;
    drop(stream);
    later();
    let (mut stream, connack) = device.at_hub(&emulator, "d1", true).await;
    assert_eq!(connack, b"\x20\x02\x00\x00");
    assert!(!delivered(&mut stream, &new).await, "no subscription");
    drop(stream);
    let mut stream = device.subscribed(&emulator, "d1").await;
    assert!(delivered(&mut stream, &new).await, "subscribed");

    // A request expires after 12 hours.
    pending(&emulator, &mut stream, ID, &new.csr).await;
    unsubscribe(&mut stream).await;
    for _ in 0..7 {
        later();
    }
    subscribe_to_answers(&mut stream).await;
    assert!(!delivered(&mut stream, &new).await, "expired");
    renew(&mut stream, "d1", "a1b2").await;
}

#[tokio::test]
async fn a_result_is_kept_until_the_client_acknowledges_it() {
    let (emulator, device) = world().await;
    let new = request("d1");
    let mut stream = device.subscribed(&emulator, "d1").await;
    ask(&mut stream, ID, &body(&new.csr)).await;
    answer(&mut stream, 202, ID).await;
    let unacknowledged = receive(&mut stream).await.expect("the result");
    // The hub sends the result once in a connection.
    unsubscribe(&mut stream).await;
    subscribe_to_answers(&mut stream).await;
    assert!(!delivered(&mut stream, &new).await, "the same connection");

    let mut stream = device.subscribed(&emulator, "d1").await;
    let again = answer(&mut stream, 200, ID).await;
    let (_, first, _) = crate::client::read_publish(&unacknowledged);
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON"), again, "the same certificate");
    assert!(before_pong(&mut stream).await.is_empty(), "the PUBACK arrived");
    let mut stream = device.subscribed(&emulator, "d1").await;
    assert!(!delivered(&mut stream, &new).await, "acknowledged");

    // A request that has a result is no longer pending.
    ask(&mut stream, ID, &body(&new.csr)).await;
    answer(&mut stream, 202, ID).await;
    receive(&mut stream).await.expect("a result without a PUBACK");
    renew(&mut stream, "d1", "a1b2").await;
}

#[tokio::test]
async fn an_accepted_request_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = Emulator::builder().data_dir(folder.path()).start().await.expect("started");
    let device: Issued = enrolled(&emulator).await;
    let (mut stream, _) = device.at_hub(&emulator, "d1", false).await;
    subscribe_to_answers(&mut stream).await;
    let new = request("d1");
    pending(&emulator, &mut stream, ID, &new.csr).await;
    emulator.shutdown().await;

    let builder = Emulator::builder().data_dir(folder.path()).clock_ahead(2 * HOUR);
    let emulator = builder.start().await.expect("started again");
    let (mut stream, connack) = device.at_hub(&emulator, "d1", false).await;
    assert_eq!(connack, b"\x20\x02\x01\x00");
    let renewed = new.issued(&answer(&mut stream, 200, ID).await["certificates"]);
    assert_eq!(renewed.issuers, device.issuers, "the authority stays the same");
    assert_eq!(renewed.at_hub(&emulator, "d1", false).await.1, b"\x20\x02\x01\x00");
}

#[tokio::test]
async fn an_older_api_version_has_no_certificate_requests() {
    let (emulator, device) = world().await;
    for (username, granted) in [
        ("localhost/d1/?api-version=2021-04-12", 0x80),
        ("localhost/d1", 0x80),
        ("localhost/d1/?api-version=2025-08-01-preview", 1),
        ("localhost/d1/?api-version=2026-11-02-preview", 1),
    ] {
        let mut stream = device.tls(&emulator).await;
        send(&mut stream, &connect("d1", username, true)).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x20\x02\x00\x00"[..]), "{username}");
        send(&mut stream, &subscribe(7, &[(FILTER, 1)])).await;
        assert_eq!(receive(&mut stream).await, Some(vec![0x90, 3, 0, 7, granted]), "{username}");
        if granted == 1 {
            renew(&mut stream, "d1", "a1b2").await;
        } else {
            let topic = "$iothub/credentials/POST/issueCertificate/?$rid=a1b2";
            send(&mut stream, &publish(QOS1, topic, 5, body(&request("d1").csr).as_bytes())).await;
            assert_eq!(receive(&mut stream).await, None, "{username}: the hub closes the connection");
        }
    }
}

#[tokio::test]
async fn a_device_without_a_policy_gets_no_certificate() {
    let (emulator, _) = world().await;
    let root = lab::root("root");
    emulator.add_authority("root-1", &root.certificate.to_pem(), true).expect("added");
    emulator.add_ca_signed_device(HUB, "d2").expect("a device");
    let device = Issued { leaf: root.device("d2"), issuers: vec![] };
    let mut stream = device.subscribed(&emulator, "d2").await;
    ask(&mut stream, ID, &json!({ "id": "d2", "csr": request("d2").csr }).to_string()).await;
    assert_eq!(answer(&mut stream, 403, ID).await["errorCode"], 403_010);
    assert!(last_refusal(&emulator).contains("DPS has not issued one"), "{}", last_refusal(&emulator));
}

#[tokio::test]
async fn faults_change_the_answers() {
    let (emulator, device) = world().await;
    let mut stream = device.subscribed(&emulator, "d1").await;
    let new = request("d1");
    let busy = || Fault::status(503, 503_001, "busy");

    emulator.fault(Point::HubCertificateRequest, busy()).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    let refusal = answer(&mut stream, 503, ID).await;
    assert_eq!((&refusal["errorCode"], &refusal["message"]), (&json!(503_001), &json!("busy")));

    emulator.fault(Point::HubCertificateRequest, Fault::Duplicate).expect("it fits");
    emulator.fault(Point::HubCertificate, Fault::Duplicate).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    for status in [202, 202, 200, 200] {
        answer(&mut stream, status, ID).await;
    }

    // The result is replaced, and the request is no longer pending.
    emulator.fault(Point::HubCertificate, busy()).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    answer(&mut stream, 202, ID).await;
    assert_eq!(answer(&mut stream, 503, ID).await["errorCode"], 503_001);
    emulator.fault(Point::HubCertificate, Fault::Never).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    answer(&mut stream, 202, ID).await;
    assert!(before_pong(&mut stream).await.is_empty(), "never");

    emulator.fault(Point::HubCertificateRequest, Fault::Never).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    assert!(before_pong(&mut stream).await.is_empty(), "never");

    // The connection closes before the result. The next connection gets it.
    emulator.fault(Point::HubCertificate, Fault::Cut).expect("it fits");
    ask(&mut stream, ID, &body(&new.csr)).await;
    answer(&mut stream, 202, ID).await;
    assert_eq!(receive(&mut stream).await, None, "cut");
    let mut stream = device.subscribed(&emulator, "d1").await;
    assert!(delivered(&mut stream, &new).await, "the next connection");
}
