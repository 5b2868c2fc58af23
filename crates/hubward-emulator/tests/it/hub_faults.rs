//! Scripted faults of twins, methods and acknowledgements.

use std::time::Duration;

use hubward_emulator::{Emulator, Fault, Invocation, InvokeError, Point};
use hubward_sas::SharedKey;
use serde_json::json;

use crate::client::{QOS1, before_pong, listening, patient, publish, read_publish, receive, send};

const EVENTS: &str = "devices/d1/messages/events/";
const GET: &str = "$iothub/twin/GET/?$rid=1";
const REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?$rid=1";
const ANSWERS: (&str, u8) = ("$iothub/twin/res/#", 0);
const NOTICES: (&str, u8) = ("$iothub/twin/PATCH/properties/desired/#", 0);
const CALLS: (&str, u8) = ("$iothub/methods/POST/#", 0);
const SOON: Duration = Duration::from_millis(30);
const PUBACK: &str = "[40, 2, 0, 7]";

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    (emulator, key)
}

fn reported(emulator: &Emulator) -> u64 {
    emulator.twin("localhost", "d1").expect("a twin").reported.version
}

/// The topics, without the GUID of a stray answer.
fn topics(packets: Vec<(String, String)>) -> Vec<String> {
    let short = |topic: String| match topic.split_once("$rid=") {
        Some((_, rest)) if rest.len() >= 36 => topic.replace(&rest[..36], "stray"),
        _ => topic,
    };
    packets.into_iter().map(|(topic, _)| short(topic)).collect()
}

#[tokio::test]
async fn faults_of_twin_responses() {
    for (point, topic, answer) in [
        (Point::HubTwinGet, GET, "$iothub/twin/res/200/?$rid=1"),
        (Point::HubReported, REPORTED, "$iothub/twin/res/204/?$rid=1&$version="),
    ] {
        let (emulator, key) = emulator().await;
        let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
        let mut ask = async |fault: Fault| {
            emulator.fault(point, fault).expect("fits");
            let before = reported(&emulator);
            send(&mut stream, &publish(QOS1, topic, 7, br#"{"a":1}"#)).await;
            let packets = before_pong(&mut stream).await;
            let bodies = packets.iter().map(|it| it.1.clone()).collect::<String>();
            // The version changes with each report.
            let plain = |it: String| it.split_inclusive("$version=").take(1).collect::<String>();
            let topics: Vec<_> = topics(packets).into_iter().map(plain).collect();
            (topics, bodies, reported(&emulator) - before)
        };
        let applied = u64::from(point == Point::HubReported);
        let (topics, body, change) = ask(Fault::status(429, 429_001, "Slow down.")).await;
        assert_eq!((&topics[..], change), (&[PUBACK.into(), "$iothub/twin/res/429/?$rid=1".to_owned()][..], 0));
        assert!(body.contains(r#""errorCode":429001"#) && body.contains("Slow down."), "{body}");
        let (topics, _, change) = ask(Fault::Never).await;
        assert_eq!((&topics[..], change), (&[PUBACK.to_owned()][..], 0));
        let (topics, _, change) = ask(Fault::Duplicate).await;
        assert_eq!((topics, change), (vec![PUBACK.into(), answer.to_owned(), answer.into()], applied));
        let (topics, _, change) = ask(Fault::BeforePuback).await;
        assert_eq!((topics, change), (vec![answer.to_owned(), PUBACK.into()], applied));
        let (topics, _, change) = ask(Fault::Stray).await;
        assert_eq!((topics.len(), topics[2].as_str(), change), (3, answer, applied));
        assert!(topics[1].contains("$rid=stray"), "{topics:?}");
        let (topics, body, change) = ask(Fault::body("<html>")).await;
        assert_eq!(
            (topics[1][..20].to_owned(), body.as_str(), change),
            ("$iothub/twin/res/200".into(), "<html>", applied)
        );
        let before = reported(&emulator);
        emulator.fault(point, Fault::Cut).expect("fits");
        send(&mut stream, &publish(QOS1, topic, 7, br#"{"a":1}"#)).await;
        assert_eq!((receive(&mut stream).await, reported(&emulator)), (None, before));
    }
}

/// The hub answers later packets before a delayed packet.
#[tokio::test]
async fn a_delayed_response_does_not_delay_others() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[ANSWERS, NOTICES]).await;
    emulator.fault(Point::HubReported, Fault::Delay(SOON)).expect("fits");
    emulator.fault(Point::HubDesired, Fault::Delay(2 * SOON)).expect("fits");
    let mut bytes = publish(0, REPORTED, 0, br#"{"a":1}"#);
    bytes.extend(publish(0, GET, 0, b""));
    send(&mut stream, &bytes).await;
    for number in 0..2 {
        emulator.patch_desired("localhost", "d1", json!({ "n": number })).expect("fine");
    }
    let mut topics = Vec::new();
    while topics.len() < 4 {
        topics.push(read_publish(&receive(&mut stream).await.expect("a publish")).0);
    }
    let at = |topic: &str| topics.iter().position(|it| it == topic).expect(topic);
    let notice = |version: u64| at(&format!("$iothub/twin/PATCH/properties/desired/?$version={version}"));
    assert!(at("$iothub/twin/res/200/?$rid=1") < at("$iothub/twin/res/204/?$rid=1&$version=2"), "{topics:?}");
    assert!(notice(3) < notice(2), "{topics:?}");
}

#[tokio::test]
async fn faults_of_notices() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[NOTICES]).await;
    let mut version = 1;
    for (fault, times) in [(Fault::Never, 0), (Fault::Duplicate, 2)] {
        emulator.fault(Point::HubDesired, fault.clone()).expect("fits");
        version = emulator.patch_desired("localhost", "d1", json!({"a": 1})).expect("fine");
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        assert_eq!(topics(before_pong(&mut stream).await), vec![topic; times], "{fault:?}");
    }
    emulator.fault(Point::HubDesired, Fault::Cut).expect("fits");
    assert_eq!(emulator.patch_desired("localhost", "d1", json!({"a": 2})), Ok(version + 1), "the twin keeps it");
    assert_eq!(receive(&mut stream).await, None);
    // A device without a subscription gets no notification. The fault therefore does not happen, and still waits at the
    // end.
    emulator.fault(Point::HubDesired, Fault::Never).expect("fits");
    let mut stream = listening(&emulator, &key, &[]).await;
    emulator.patch_desired("localhost", "d1", json!({"a": 3})).expect("fine");
    assert_eq!(before_pong(&mut stream).await, []);
    assert_eq!(emulator.faults_left(Point::HubDesired), 1);
}

#[tokio::test]
async fn faults_of_method_calls() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[CALLS]).await;
    let invoke = |time| emulator.invoke_method("localhost", "d1", Invocation::new("m").response_timeout(time));
    emulator.fault(Point::HubMethod, Fault::Never).expect("fits");
    assert_eq!(invoke(SOON).await, Err(InvokeError::Timeout));
    assert_eq!(before_pong(&mut stream).await, []);
    for (fault, calls) in [(Fault::Duplicate, 2), (Fault::Stray, 2), (Fault::Delay(SOON), 1)] {
        emulator.fault(Point::HubMethod, fault.clone()).expect("fits");
        let device = async {
            let mut ids = Vec::new();
            for number in 0..calls {
                let (topic, ..) = read_publish(&receive(&mut stream).await.expect("a call"));
                let id = topic.strip_prefix("$iothub/methods/POST/m/?$rid=").expect("a call").to_owned();
                let topic = format!("$iothub/methods/res/{number}/?$rid={id}");
                send(&mut stream, &publish(0, &topic, 0, b"")).await;
                ids.push(id);
            }
            ids.dedup();
            ids.len()
        };
        let (answered, ids) = tokio::join!(patient(invoke(Duration::from_secs(30))), device);
        // The expected values are the status of the response and the number of different request ids.
        //
        // With `Stray`, the device receives an invented call and then the real call. The response to the invented call
        // has no effect, so the caller gets the second response (status 1).
        //
        // With the other faults, the caller gets the first response (status 0).
        let stray = fault == Fault::Stray;
        assert_eq!((answered.expect("an answer").status, ids), if stray { (1, 2) } else { (0, 1) }, "{fault:?}");
    }
    emulator.fault(Point::HubMethod, Fault::Cut).expect("fits");
    assert_eq!(patient(invoke(Duration::from_secs(30))).await, Err(InvokeError::ConnectionClosed));
    assert_eq!(receive(&mut stream).await, None);
}

/// Pings and twin requests work while the hub holds every PUBACK.
#[tokio::test]
async fn a_held_acknowledgement_delays_acknowledgements_only() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
    emulator.fault(Point::HubPublish, Fault::HoldPubackFor(Duration::from_secs(3600))).expect("fits");
    let mut bytes = publish(QOS1, EVENTS, 1, b"hi");
    bytes.extend(publish(QOS1, EVENTS, 2, b"hi"));
    bytes.extend(publish(QOS1, GET, 3, b""));
    send(&mut stream, &bytes).await;
    assert_eq!(topics(before_pong(&mut stream).await), ["$iothub/twin/res/200/?$rid=1"]);
    assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 2, "logged at once");
    assert_eq!(before_pong(&mut stream).await, []);
}

#[tokio::test]
async fn held_acknowledgements_arrive_later_and_in_order() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[]).await;
    emulator.fault(Point::HubPublish, Fault::HoldPubackFor(2 * SOON)).expect("fits");
    emulator.fault(Point::HubPublish, Fault::HoldPubackFor(SOON)).expect("fits");
    let bytes: Vec<u8> = (1..=4).flat_map(|id| publish(QOS1, EVENTS, id, b"hi")).collect();
    send(&mut stream, &bytes).await;
    for id in 1..=4 {
        assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, id]));
    }
    // The hub no longer holds PUBACKs.
    send(&mut stream, &publish(QOS1, EVENTS, 7, b"hi")).await;
    assert_eq!(topics(before_pong(&mut stream).await), [PUBACK]);
}
