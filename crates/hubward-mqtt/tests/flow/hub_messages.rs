//! A hub: messages to the device, and the order of their acknowledgements. The topics are copied by hand from `[doc]`
//! iot/iot-mqtt-connect-to-iot-hub.md.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use hubward_mqtt::MqttHub;
use hubward_transport::{
    CallId, Delivery, Disposition, Downstream, HubConnection, HubTransport, Lock, Message, ModuleId, RefusedBy, Reply,
    SasToken, TransportError, TransportKind,
};
use tokio::join;

use crate::hub::{TOKEN, exchange, login, open, ready, tag, telemetry};
use crate::peer::{CONNACK, DISCONNECT, Peer, network, publish};

const DEVICE_BOUND: &str = "devices/d1/messages/devicebound/";

/// Polls once and returns the events, or no events if the poll is pending.
async fn poll_once(connection: &mut dyn HubConnection) -> Vec<Downstream> {
    let mut events = Vec::new();
    poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = connection.poll_exchange(cx, &mut events) {
            panic!("{error}");
        }
        Poll::Ready(())
    })
    .await;
    events
}

fn deliveries(events: Vec<Downstream>) -> Vec<Delivery> {
    let delivery = |event| match event {
        Downstream::Message(delivery) => *delivery,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(delivery).collect()
}

fn complete(lock: Lock) -> Reply {
    Reply::Settle { lock, disposition: Disposition::Complete }
}

/// Closes the connection and returns the packet ids of the PUBACKs that were written before DISCONNECT.
async fn acknowledged(mut connection: Box<dyn HubConnection>, mut peer: Peer) -> Vec<u16> {
    poll_fn(|cx| connection.poll_close(cx)).await;
    let mut ids = Vec::new();
    loop {
        let packet = peer.packet().await;
        match packet[0] {
            0x40 => ids.push(u16::from_be_bytes([packet[2], packet[3]])),
            0x32 => {}
            _ => {
                assert_eq!(packet, DISCONNECT);
                return ids;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_has_its_properties_and_is_acknowledged_when_it_is_completed() {
    let (mut connection, mut peer) = ready().await;
    let topic = "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                 &iothub-ack=full&k=v&plus=a+b&flag&empty=";
    peer.send(&publish(Some(0x1234), topic, b"hello")).await;
    let [delivery] = deliveries(exchange(&mut *connection).await.expect("a message")).try_into().expect("one");
    let message = &delivery.message;
    assert_eq!((&message.body[..], message.message_id(), message.ack()), (&b"hello"[..], Some("m1"), Some("full")));
    assert_eq!(message.to(), Some("/devices/d1/messages/deviceBound"));
    let properties: Vec<_> = message.properties().collect();
    assert_eq!(properties, [("k", Some("v")), ("plus", Some("a+b")), ("flag", None), ("empty", Some(""))]);

    assert_eq!(poll_once(&mut *connection).await, []);
    let lock = delivery.lock.expect("a lock");
    for disposition in [Disposition::Abandon, Disposition::Reject] {
        let error = connection.start_reply(&Reply::Settle { lock, disposition }).expect_err("not in MQTT");
        assert!(matches!(error, TransportError::Unsupported(_)), "{error}");
    }
    connection.start_reply(&complete(lock)).expect("a lock");
    // The telemetry message after the PUBACK shows that nothing else was written.
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    assert_eq!(poll_once(&mut *connection).await, []);
    peer.expect(b"\x40\x02\x12\x34\x32\x20\x00\x1bdevices/d1/messages/events/\x00\x01x").await;
    for lock in [lock, Lock(99)] {
        let error = connection.start_reply(&complete(lock)).expect_err("settled before, or never received");
        assert!(matches!(error, TransportError::Request(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_at_qos_0_has_no_lock() {
    let (mut connection, mut peer) = ready().await;
    peer.send(&publish(None, DEVICE_BOUND, b"x")).await;
    peer.send(&publish(None, "devices/d1/messages/devicebound", b"y")).await;
    let events = deliveries(exchange(&mut *connection).await.expect("messages"));
    assert!(events.iter().all(|it| it.lock.is_none() && it.message.bag.is_empty()), "{events:?}");
    assert_eq!(events.len(), 2);
    assert_eq!(acknowledged(connection, peer).await, [] as [u16; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_module_receives_messages_on_its_inputs() {
    let mut module = login("d1");
    module.identity = module.identity.clone().module(ModuleId::new("m1").expect("an id"));
    let (mut connection, mut peer) = open(&module, 64 * 1024).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    for (id, topic, input, application) in [
        (1, "devices/d1/modules/m1/inputs/in%201/%24.cdid=d1&%24.cmid=m2&k=v/", "in 1", 1),
        (2, "devices/d1/modules/m1/inputs/in", "in", 0),
        // Message 3 has an empty property name between two valid names. The input name of message 4 is not UTF-8.
        (3, "devices/d1/modules/m1/inputs/in%202/a=1&=2&b=3", "in 2", 2),
        (4, "devices/d1/modules/m1/inputs/%FF/a=1", "%FF", 1),
    ] {
        peer.send(&publish(Some(id), topic, b"x")).await;
        let [delivery] = deliveries(exchange(&mut *connection).await.expect("a message")).try_into().expect("one");
        assert_eq!(delivery.message.input.as_deref(), Some(input), "{topic}");
        assert_eq!(delivery.message.properties().count(), application, "{topic}");
        assert_eq!(delivery.message.sender_module(), (id == 1).then_some("m2"), "{topic}");
        connection.start_reply(&complete(delivery.lock.expect("a lock"))).expect("a lock");
    }
    assert_eq!(acknowledged(connection, peer).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_keep_the_order_of_arrival() {
    let (mut connection, mut peer) = ready().await;
    for id in [7, 8, 9] {
        peer.send(&publish(Some(id), DEVICE_BOUND, b"x")).await;
    }
    // The program does not settle messages 10 to 14, because the client itself marks them as handled. The client still
    // acknowledges them in order.
    peer.send(&publish(Some(10), "$iothub/twin/PATCH/properties/desired/?$version=2", b"{}")).await;
    peer.send(&publish(Some(11), "$iothub/methods/POST/m/?$rid=1", b"")).await;
    peer.send(&publish(Some(12), "$iothub/twin/res/200/?$rid=1-1", b"")).await;
    peer.send(&publish(Some(13), "devices/other/messages/devicebound/", b"")).await;
    peer.send(&publish(Some(14), "", b"")).await;
    peer.send(&publish(Some(15), DEVICE_BOUND, b"x")).await;
    let mut events = exchange(&mut *connection).await.expect("messages");
    let last = events.pop();
    assert_eq!((events.pop(), events.pop()), (Some(Downstream::Unreadable(None)), Some(Downstream::Unreadable(None))));
    assert!(matches!(events.pop(), Some(Downstream::Method(_))));
    assert!(matches!(events.pop(), Some(Downstream::Desired(_))));
    events.extend(last);
    let locks: Vec<_> = deliveries(events).into_iter().map(|it| it.lock.expect("a lock")).collect();
    let [seven, eight, nine, fifteen] = locks.try_into().expect("four");

    for (lock, held_back, expected) in [
        (nine, 1, &b""[..]),
        (fifteen, 2, b""),
        (seven, 2, b"\x40\x02\x00\x07"),
        (
            eight,
            0,
            b"\x40\x02\x00\x08\x40\x02\x00\x09\x40\x02\x00\x0a\x40\x02\x00\x0b\x40\x02\x00\x0c\x40\x02\x00\x0d\
              \x40\x02\x00\x0e\x40\x02\x00\x0f",
        ),
    ] {
        connection.start_reply(&complete(lock)).expect("a lock");
        assert_eq!(connection.held_back(), held_back, "without the messages that the client settles");
        assert_eq!(poll_once(&mut *connection).await, []);
        peer.expect(expected).await;
    }
    assert_eq!(acknowledged(connection, peer).await, [] as [u16; 0], "no other acknowledgement and no repeated one");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_lock_is_acknowledged_at_once_if_no_message_precedes_it() {
    let (mut connection, mut peer) = ready().await;
    peer.send(&publish(Some(1), "$iothub/twin/PATCH/properties/desired/?$version=2", b"{}")).await;
    peer.send(&publish(Some(2), "nothing/we/know", b"{}")).await;
    let expected = [Downstream::Desired("{}".into()), Downstream::Unreadable(None)];
    assert_eq!(exchange(&mut *connection).await.expect("a notice"), expected);
    peer.expect(b"\x40\x02\x00\x01\x40\x02\x00\x02").await;
    peer.send(&publish(Some(3), "$iothub/twin/res/200/?$rid=1-1", b"{}")).await;
    assert_eq!(poll_once(&mut *connection).await, [], "it answers no request");
    peer.expect(b"\x40\x02\x00\x03").await;
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_is_reported_and_an_unreadable_call_can_be_refused() {
    for (topic, call) in [
        ("$iothub/methods/POST/%FF/?$rid=7f", Some("7f")),
        ("$iothub/methods/POST//?$rid=7f", Some("7f")),
        ("$iothub/methods/POST/a%00b%F0/?$rid=", None),
        ("$iothub/methods/POST/m", None),
        ("$iothub/twin/res/ok/?$rid=1", None),
        ("$iothub/somethingNew", None),
    ] {
        let (mut connection, mut peer) = ready().await;
        peer.send(&publish(None, topic, b"{}")).await;
        let call = call.map(|it| CallId(it.into()));
        let events = exchange(&mut *connection).await.expect("an event");
        assert_eq!(events, [Downstream::Unreadable(call.clone())], "{topic}");
        if let Some(call) = call {
            connection.start_reply(&Reply::Method { call, status: 400, body: "{}".into() }).expect("a legal topic");
            assert_eq!(poll_once(&mut *connection).await, []);
            peer.expect(b"\x30\x24\x00\x20$iothub/methods/res/400/?$rid=7f{}").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_dropped_message_is_handed_over_again_and_unblocks_later_acknowledgements() {
    let (mut connection, mut peer) = ready().await;
    let sent = [1, 2, 3].map(|id| publish(Some(id), DEVICE_BOUND, &[b'0' + u8::try_from(id).expect("small")]));
    for packet in &sent {
        peer.send(packet).await;
    }
    let received = deliveries(exchange(&mut *connection).await.expect("messages"));
    let [first, second, third] =
        received.iter().map(|it| it.lock.expect("a lock")).collect::<Vec<_>>().try_into().expect("3");
    connection.start_reply(&Reply::Release { lock: first }).expect("it is held");
    connection.start_reply(&complete(third)).expect("a lock");
    for reply in [Reply::Release { lock: first }, complete(first), Reply::Release { lock: third }] {
        let error = connection.start_reply(&reply).expect_err("it is not held");
        assert!(matches!(error, TransportError::Request(_)), "{reply:?}");
    }
    // The hub redelivers all three messages after its lock timeout. The client returns only the dropped message again.
    // The program still holds the second message and has completed the third.
    for packet in &sent {
        let mut again = packet.clone();
        again[0] |= 0b1000;
        peer.send(&again).await;
    }
    let again = deliveries(exchange(&mut *connection).await.expect("the first one"));
    assert_eq!(again, received[..1], "with its old lock");
    connection.start_reply(&complete(first)).expect("it is held again");
    assert_eq!(poll_once(&mut *connection).await, []);
    peer.expect(b"\x40\x02\x00\x01").await;
    connection.start_reply(&complete(second)).expect("a lock");
    assert_eq!(acknowledged(connection, peer).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_message_redelivered_before_its_acknowledgement_is_handed_over_once() {
    let (mut connection, mut peer) = ready().await;
    let first = publish(Some(5), DEVICE_BOUND, b"x");
    let mut again = first.clone();
    again[0] |= 0b1000;
    peer.send(&first).await;
    peer.send(&again).await;
    let [delivery] = deliveries(exchange(&mut *connection).await.expect("a message")).try_into().expect("one");
    connection.start_reply(&complete(delivery.lock.expect("a lock"))).expect("a lock");
    assert_eq!(poll_once(&mut *connection).await, []);
    peer.expect(b"\x40\x02\x00\x05").await;
    // After the acknowledgement, the client returns a redelivered message again.
    peer.send(&again).await;
    let [delivery] = deliveries(exchange(&mut *connection).await.expect("a message")).try_into().expect("one");
    assert!(delivery.lock.is_some());
    assert_eq!(acknowledged(connection, peer).await, [] as [u16; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_invalid_properties_is_handed_over() {
    for (bag, readable) in [
        ("=v", &[][..]),
        ("a=1&&b=2", &[("a", "1"), ("b", "2")]),
        ("a=b=c&d=e", &[("d", "e")]),
        ("a=%FF&d=e/x=y", &[("d", "e")]),
        ("?a=1&=", &[("a", "1")]),
    ] {
        let (mut connection, mut peer) = ready().await;
        peer.send(&publish(Some(1), &format!("{DEVICE_BOUND}{bag}"), b"body")).await;
        let [delivery] = deliveries(exchange(&mut *connection).await.expect("a message")).try_into().expect("one");
        let read: Vec<_> = delivery.message.properties().collect();
        let expected: Vec<_> = readable.iter().map(|(name, value)| (*name, Some(*value))).collect();
        assert_eq!((&delivery.message.body[..], read), (&b"body"[..], expected), "{bag}");
        assert!(delivery.lock.is_some(), "{bag}");
        assert_eq!(acknowledged(connection, peer).await, [] as [u16; 0], "not before it is completed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_settles_nothing_blocks_no_telemetry_and_uses_bounded_memory() {
    let (mut connection, mut peer) = ready().await;
    let (mut handed_over, mut left) = (0, 0);
    for id in 1..=5000_u16 {
        peer.send(&publish(Some(id), DEVICE_BOUND, b"x")).await;
        for event in poll_once(&mut *connection).await {
            match event {
                Downstream::Message(_) => handed_over += 1,
                other => assert_eq!(other, Downstream::MessageOverLimit),
            }
            left = u32::from(id) - handed_over;
        }
    }
    assert_eq!((handed_over, left), (4096, 904), "the other messages stay with the hub");
    // Methods and telemetry still work.
    peer.send(&publish(Some(5001), "$iothub/methods/POST/m/?$rid=1", b"")).await;
    assert!(matches!(poll_once(&mut *connection).await[..], [Downstream::Method(_)]));
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    peer.send(b"\x40\x02\x00\x01").await;
    assert_eq!(exchange(&mut *connection).await.expect("a PUBACK"), [Downstream::Done(tag(1))]);
    for lock in (0..4096).map(Lock) {
        connection.start_reply(&complete(lock)).expect("a lock");
    }
    let expected: Vec<_> = (1..=4096).collect();
    assert_eq!(acknowledged(connection, peer).await, expected, "and no message after the gap");
}

#[tokio::test(start_paused = true)]
async fn the_login_and_its_refusal_contain_the_servers_time() {
    let server_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (connack, shown) in [
        (CONNACK, None),
        (CONNACK, Some(server_time)),
        (b"\x20\x02\x00\x05", None),
        (b"\x20\x02\x00\x05", Some(server_time)),
    ] {
        let (dialer, mut listener) = network(64 * 1024);
        if let Some(shown) = shown {
            dialer.show_time(shown);
        }
        let hub = MqttHub::new(TransportKind::MqttWs, dialer, 443);
        let token = SasToken::parse(TOKEN).expect("a token");
        let mut connection = hub.open(&login("d1"), Some(&token)).await.expect("a connection");
        let mut peer = listener.accept().await;
        peer.send(connack).await;
        match exchange(&mut *connection).await {
            Ok(events) => {
                assert_eq!(events, [Downstream::Ready { session_present: false, server_time: shown }]);
            }
            Err(error) => {
                let refusal = error.refusal().expect("a refusal");
                assert_eq!((refusal.by, refusal.server_time), (RefusedBy::Connack(5), shown));
            }
        }
    }
}
