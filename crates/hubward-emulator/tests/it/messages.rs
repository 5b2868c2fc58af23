//! Cloud-to-device messages over MQTT, with hand-written packets.

use std::time::Duration;

use hubward_emulator::{
    Ack, CloudMessageState, CloudToDevice, ConnectionState, Emulator, FeedbackRecord, Outcome, SendProblem,
};
use hubward_sas::SharedKey;

use crate::client::{QOS1, Tls, hub_connect, publish, read_publish, receive, send, subscribe, tls};

const FILTER: &str = "devices/d1/messages/devicebound/#";
const HUB: &str = "localhost";
const MINUTE: Duration = Duration::from_secs(60);

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    (emulator, key)
}

/// Connects; `present` is the expected session-present flag.
async fn connected(emulator: &Emulator, key: &SharedKey, clean: bool, present: u8) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", key, clean).await, Some(vec![0x20, 2, present, 0]));
    stream
}

async fn subscribed(stream: &mut Tls, qos: u8) {
    send(stream, &subscribe(1, &[(FILTER, qos)])).await;
    assert_eq!(receive(stream).await, Some(vec![0x90, 3, 0, 1, qos.min(1)]));
}

async fn unsubscribed(stream: &mut Tls) {
    let mut unsubscribe = 2_u16.to_be_bytes().to_vec();
    unsubscribe.extend(crate::client::string(FILTER));
    send(stream, &crate::client::packet(0xa2, &unsubscribe)).await;
    assert_eq!(receive(stream).await.as_deref(), Some(&b"\xb0\x02\x00\x02"[..]));
}

/// A message as the client received it.
#[derive(Debug, PartialEq)]
struct Got {
    topic: String,
    body: String,
    duplicate: bool,
    puback: Option<Vec<u8>>,
}

async fn got(stream: &mut Tls) -> Got {
    let packet = receive(stream).await.expect("a message");
    let (topic, body, puback) = read_publish(&packet);
    Got { topic, body, duplicate: packet[0] & 0b1000 != 0, puback }
}

/// Receives `count` messages and acknowledges each. Returns the body and the DUP flag of each message.
async fn acknowledged(stream: &mut Tls, count: usize) -> Vec<(String, bool)> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let message = got(stream).await;
        send(stream, &message.puback.expect("QoS 1")).await;
        bodies.push((message.body, message.duplicate));
    }
    bodies
}

/// Checks that the client receives no packet before the response to a ping.
async fn nothing_comes(stream: &mut Tls) {
    send(stream, b"\xc0\x00").await;
    assert_eq!(receive(stream).await.as_deref(), Some(&b"\xd0\x00"[..]));
}

fn post(emulator: &Emulator, body: &str) {
    let message = CloudToDevice::new(body.to_owned()).message_id(body).ack(Ack::Full);
    assert_eq!(emulator.send_to_device(HUB, "d1", message), Ok(body.to_owned()));
}

fn waiting(emulator: &Emulator) -> Vec<(String, CloudMessageState, u32)> {
    let messages = emulator.cloud_messages(HUB, "d1");
    messages.into_iter().map(|it| (it.message_id, it.state, it.delivery_count)).collect()
}

/// Waits until there are `count` feedback records and returns them.
async fn feedback(emulator: &Emulator, count: usize) -> Vec<(String, Outcome)> {
    let records = |it: &Emulator| Some(it.feedback(HUB)).filter(|it: &Vec<FeedbackRecord>| it.len() >= count);
    let records = crate::client::patient(emulator.wait_until(records)).await;
    records.into_iter().map(|it| (it.original_message_id, it.status_code)).collect()
}

fn success(ids: &[&str]) -> Vec<(String, Outcome)> {
    ids.iter().map(|it| ((*it).to_owned(), Outcome::Success)).collect()
}

#[tokio::test]
async fn a_message_has_the_documented_form_and_its_puback_completes_it() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 2).await;
    let message = CloudToDevice::new("hello").message_id("m1").ack(Ack::Full).property("k", "v");
    assert_eq!(emulator.send_to_device("LOCALHOST", "d1", message).as_deref(), Ok("m1"));
    let message = got(&mut stream).await;
    // Copied by hand from the protocol notes.
    let topic = "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                 &iothub-ack=full&k=v";
    assert_eq!((message.topic.as_str(), message.body.as_str(), message.duplicate), (topic, "hello", false));
    assert_eq!(waiting(&emulator), [("m1".to_owned(), CloudMessageState::Invisible, 1)]);
    assert_eq!(emulator.device(HUB, "d1").expect("the device").cloud_to_device_message_count, 1);
    send(&mut stream, &message.puback.expect("QoS 1")).await;
    assert_eq!(feedback(&emulator, 1).await, success(&["m1"]));
    assert_eq!(waiting(&emulator), []);
    let record = &emulator.feedback(HUB)[0];
    let device = emulator.device(HUB, "d1").expect("the device");
    assert_eq!((&record.device_id, &record.device_generation_id), (&device.device_id, &device.generation_id));
}

#[tokio::test]
async fn no_message_is_sent_before_the_subscription() {
    let (emulator, key) = emulator().await;
    post(&emulator, "before");
    let mut stream = connected(&emulator, &key, true, 0).await;
    post(&emulator, "connected");
    nothing_comes(&mut stream).await;
    // The SUBACK comes before the messages.
    subscribed(&mut stream, 1).await;
    post(&emulator, "after");
    let expected = ["before", "connected", "after"].map(|it| (it.to_owned(), false));
    assert_eq!(acknowledged(&mut stream, 3).await, expected);
    assert_eq!(feedback(&emulator, 3).await, success(&["before", "connected", "after"]));
    // After an unsubscribe, no message is sent.
    unsubscribed(&mut stream).await;
    post(&emulator, "late");
    nothing_comes(&mut stream).await;
    assert_eq!(waiting(&emulator), [("late".to_owned(), CloudMessageState::Enqueued, 0)]);
}

#[tokio::test]
async fn a_message_with_quality_of_service_0_is_completed_when_it_is_sent() {
    let (emulator, key) = emulator().await;
    post(&emulator, "1");
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 0).await;
    post(&emulator, "2");
    for body in ["1", "2"] {
        let message = got(&mut stream).await;
        assert_eq!((message.body.as_str(), message.puback), (body, None));
    }
    assert_eq!(feedback(&emulator, 2).await, success(&["1", "2"]));
}

#[tokio::test]
async fn a_kept_session_gets_the_rest_again_without_subscribing() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, false, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "1");
    post(&emulator, "2");
    let (first, second) = (got(&mut stream).await, got(&mut stream).await);
    send(&mut stream, &first.puback.expect("QoS 1")).await;
    assert_eq!(feedback(&emulator, 1).await, success(&["1"]));
    drop(stream);
    let offline =
        |it: &Emulator| (it.device(HUB, "d1")?.connection_state == ConnectionState::Disconnected).then_some(());
    emulator.wait_until(offline).await;
    assert_eq!(waiting(&emulator), [("2".to_owned(), CloudMessageState::Enqueued, 1)], "visible at once");
    post(&emulator, "3");
    let mut stream = connected(&emulator, &key, false, 1).await;
    assert_eq!(got(&mut stream).await, Got { duplicate: true, ..second }, "the same packet id, and DUP");
    assert_eq!(got(&mut stream).await.body, "3");
    // A client with a clean session must subscribe again.
    let mut stream = connected(&emulator, &key, true, 0).await;
    nothing_comes(&mut stream).await;
    subscribed(&mut stream, 1).await;
    assert_eq!(acknowledged(&mut stream, 2).await, [("2".to_owned(), true), ("3".to_owned(), true)]);
    assert_eq!(feedback(&emulator, 3).await, success(&["1", "2", "3"]));
}

#[tokio::test]
async fn a_connection_that_is_taken_over_or_cut_loses_no_message() {
    let (emulator, key) = emulator().await;
    let mut first = connected(&emulator, &key, false, 0).await;
    subscribed(&mut first, 1).await;
    post(&emulator, "1");
    assert!(!got(&mut first).await.duplicate);
    let mut second = connected(&emulator, &key, false, 1).await;
    assert_eq!(receive(&mut first).await, None);
    assert!(got(&mut second).await.duplicate);
    assert!(emulator.disconnect_device(HUB, "d1"));
    assert_eq!(receive(&mut second).await, None);
    let mut third = connected(&emulator, &key, false, 1).await;
    assert_eq!(acknowledged(&mut third, 1).await, [("1".to_owned(), true)]);
    assert_eq!(feedback(&emulator, 1).await, success(&["1"]));
}

#[tokio::test]
async fn at_most_sixteen_messages_are_unacknowledged() {
    let (emulator, key) = emulator().await;
    for number in 1..=20 {
        post(&emulator, &number.to_string());
    }
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    let mut pubacks = Vec::new();
    for _ in 0..16 {
        pubacks.push(got(&mut stream).await.puback.expect("QoS 1"));
    }
    nothing_comes(&mut stream).await;
    // The hub ignores an acknowledgement out of order.
    send(&mut stream, &pubacks[1]).await;
    nothing_comes(&mut stream).await;
    for puback in &pubacks {
        send(&mut stream, puback).await;
    }
    let rest: Vec<_> = (17..=20).map(|it| (it.to_string(), false)).collect();
    assert_eq!(acknowledged(&mut stream, 4).await, rest);
    let ids: Vec<_> = (1..=20).map(|it| it.to_string()).collect();
    assert_eq!(feedback(&emulator, 20).await, success(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_device_that_does_not_read_delays_no_other() {
    let (emulator, key) = emulator().await;
    let other = emulator.add_device(HUB, "d2").expect("a device");
    let mut slow = connected(&emulator, &key, true, 0).await;
    subscribed(&mut slow, 1).await;
    for number in 1..=50 {
        let body = format!("{number:02}").repeat(30_000);
        emulator.send_to_device(HUB, "d1", CloudToDevice::new(body)).expect("room");
    }
    let refused = emulator.send_to_device(HUB, "d1", CloudToDevice::new("one too many")).expect_err("full");
    assert_eq!((refused.code(), &refused), (403_004, &SendProblem::QueueFull));
    let mut quick = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut quick, "d2", &other, true).await.expect("a CONNACK");
    send(&mut quick, &subscribe(1, &[("devices/+/messages/devicebound/#", 1)])).await;
    receive(&mut quick).await.expect("a SUBACK");
    emulator.send_to_device(HUB, "d2", CloudToDevice::new("hi")).expect("room");
    assert_eq!(got(&mut quick).await.body, "hi");
    // The hub still accepts telemetry from the slow device. At the end, all messages have arrived.
    send(&mut slow, &publish(QOS1, "devices/d1/messages/events/", 9, b"still here")).await;
    let (mut bodies, mut acknowledgements) = (Vec::new(), 0);
    while bodies.len() < 50 || acknowledgements < 1 {
        let packet = receive(&mut slow).await.expect("a packet");
        if packet[0] == 0x40 {
            assert_eq!(packet, [0x40, 2, 0, 9]);
            acknowledgements += 1;
            continue;
        }
        let (_, body, puback) = read_publish(&packet);
        bodies.push(body[..2].to_owned());
        send(&mut slow, &puback.expect("QoS 1")).await;
    }
    assert_eq!(bodies, (1..=50).map(|it| format!("{it:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_expires_by_the_emulators_clock() {
    let (emulator, key) = emulator().await;
    post(&emulator, "an hour");
    let message = |id: &str| CloudToDevice::new("").message_id(id);
    let short = message("a minute").ack(Ack::Negative).expires_after(MINUTE);
    emulator.send_to_device(HUB, "d1", short).expect("room");
    emulator.send_to_device(HUB, "d1", message("silent").expires_after(MINUTE)).expect("room");
    emulator.clock_ahead(MINUTE * 2);
    assert_eq!(feedback(&emulator, 1).await, [("a minute".to_owned(), Outcome::Expired)]);
    assert_eq!(waiting(&emulator), [("an hour".to_owned(), CloudMessageState::Enqueued, 0)]);
    emulator.clock_ahead(MINUTE * 61);
    assert_eq!(waiting(&emulator), []);
    assert_eq!(feedback(&emulator, 2).await[1], ("an hour".to_owned(), Outcome::Expired));
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    nothing_comes(&mut stream).await;
}

#[tokio::test]
async fn an_unacknowledged_message_is_sent_again_when_its_lock_ends() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "1");
    let first = got(&mut stream).await;
    emulator.clock_ahead(Duration::from_secs(50));
    nothing_comes(&mut stream).await;
    emulator.clock_ahead(Duration::from_secs(70));
    let again = got(&mut stream).await;
    assert_eq!(again, Got { duplicate: true, ..first });
    assert_eq!(waiting(&emulator), [("1".to_owned(), CloudMessageState::Invisible, 2)]);
    send(&mut stream, &again.puback.expect("QoS 1")).await;
    assert_eq!(feedback(&emulator, 1).await, success(&["1"]));
}

#[tokio::test]
async fn a_message_whose_lock_ends_waits_for_a_subscription() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "1");
    let first = got(&mut stream).await;
    unsubscribed(&mut stream).await;
    emulator.clock_ahead(Duration::from_secs(70));
    nothing_comes(&mut stream).await;
    assert_eq!(waiting(&emulator), [("1".to_owned(), CloudMessageState::Enqueued, 1)]);
    subscribed(&mut stream, 1).await;
    assert_eq!(got(&mut stream).await, Got { duplicate: true, ..first });
}

#[tokio::test]
async fn acknowledgements_follow_the_first_receipt_even_after_a_lock_has_ended() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "a");
    let first = got(&mut stream).await;
    emulator.clock_ahead(Duration::from_secs(30));
    post(&emulator, "b");
    let second = got(&mut stream).await;
    assert_eq!((first.body.as_str(), second.body.as_str(), second.duplicate), ("a", "b", false));
    // The lock of the first message has ended. The lock of the second message ends in about 25 seconds.
    emulator.clock_ahead(Duration::from_secs(65));
    let again = got(&mut stream).await;
    assert_eq!(again, Got { duplicate: true, puback: first.puback.clone(), ..first });
    nothing_comes(&mut stream).await;
    let (a, b) = (again.puback.expect("QoS 1"), second.puback.expect("QoS 1"));
    // The hub ignores this acknowledgement of the second message, because the client has not acknowledged the first
    // message yet.
    send(&mut stream, &b).await;
    nothing_comes(&mut stream).await;
    let both =
        |a, b| [("a".to_owned(), CloudMessageState::Invisible, a), ("b".to_owned(), CloudMessageState::Invisible, b)];
    assert_eq!(waiting(&emulator), both(2, 1));
    send(&mut stream, &a).await;
    nothing_comes(&mut stream).await;
    assert_eq!(waiting(&emulator), both(2, 1)[1..]);
    send(&mut stream, &b).await;
    assert_eq!(feedback(&emulator, 2).await, success(&["a", "b"]));
}

#[tokio::test]
async fn a_kept_session_without_a_reader_loses_nothing_however_often_it_reconnects() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, false, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "1");
    post(&emulator, "2");
    // Ten connections that acknowledge nothing. Token renewals have the same effect.
    for renewal in 0..10 {
        for body in ["1", "2"] {
            let message = got(&mut stream).await;
            assert_eq!((message.body.as_str(), message.duplicate), (body, renewal > 0), "renewal {renewal}");
        }
        if renewal % 2 == 0 {
            send(&mut stream, b"\xe0\x00").await;
            assert_eq!(receive(&mut stream).await, None, "DISCONNECT ends it");
        }
        stream = connected(&emulator, &key, false, 1).await;
    }
    assert_eq!(acknowledged(&mut stream, 2).await, [("1".to_owned(), true), ("2".to_owned(), true)]);
    assert_eq!(feedback(&emulator, 2).await, success(&["1", "2"]));
}

#[tokio::test]
async fn a_message_is_delivered_again_until_it_expires() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    post(&emulator, "slow");
    for minute in 1..=20_u32 {
        assert_eq!(got(&mut stream).await.duplicate, minute > 1, "minute {minute}");
        emulator.clock_ahead(MINUTE * minute + Duration::from_secs(10));
    }
    assert_eq!(got(&mut stream).await.body, "slow");
    emulator.clock_ahead(MINUTE * 61);
    assert_eq!(feedback(&emulator, 1).await, [("slow".to_owned(), Outcome::Expired)]);
}

#[tokio::test]
async fn a_message_is_dropped_after_the_maximum_delivery_count() {
    let builder = Emulator::builder().message_deliveries(2).message_lock(MINUTE * 10).message_ttl(MINUTE * 50);
    let emulator = builder.start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    post(&emulator, "poison");
    // A delivery does not count if the connection ends before the lock of the message ends.
    for connection in 0..5 {
        let mut stream = connected(&emulator, &key, true, 0).await;
        subscribed(&mut stream, 1).await;
        assert_eq!(got(&mut stream).await.duplicate, connection > 0, "connection {connection}");
    }
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    assert_eq!(got(&mut stream).await.body, "poison");
    emulator.clock_ahead(MINUTE * 11);
    assert_eq!(got(&mut stream).await.body, "poison", "one lock has ended");
    emulator.clock_ahead(MINUTE * 22);
    nothing_comes(&mut stream).await;
    assert_eq!(feedback(&emulator, 1).await, [("poison".to_owned(), Outcome::DeliveryCountExceeded)]);
    post(&emulator, "unread");
    emulator.clock_ahead(MINUTE * 80);
    assert_eq!(feedback(&emulator, 2).await[1], ("unread".to_owned(), Outcome::Expired), "after its 50 minutes");
}

#[tokio::test]
async fn deleting_a_device_deletes_its_messages() {
    let (emulator, _) = emulator().await;
    for (hub, device, code) in [("elsewhere", "d1", 401_001), (HUB, "d2", 404_001), (HUB, "d1/m1", 404_001)] {
        let refused = emulator.send_to_device(hub, device, CloudToDevice::new("")).expect_err("refused");
        assert_eq!(refused.code(), code, "{hub} {device}");
    }
    post(&emulator, "1");
    assert!(emulator.delete_device(HUB, "d1"));
    assert_eq!(emulator.feedback(HUB), [], "it is deleted with its device");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    assert_eq!(waiting(&emulator), []);
    post(&emulator, "2");
    post(&emulator, "3");
    assert_eq!(emulator.purge_messages(HUB, "d1"), 2);
    assert_eq!(feedback(&emulator, 2).await.last(), Some(&("3".to_owned(), Outcome::Purged)));
    post(&emulator, "4");
    let mut stream = connected(&emulator, &key, true, 0).await;
    subscribed(&mut stream, 1).await;
    assert_eq!(acknowledged(&mut stream, 1).await, [("4".to_owned(), false)]);
}
