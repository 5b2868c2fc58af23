//! Tests the bytes of direct methods and of messages to a device.

use hubward::{CloudMessages, MethodResponse};
use hubward_tests::packets;

use super::peer::{Peer, client, device, module};

const METHODS: &str = "$iothub/methods/POST/#";

/// The client returns the request ID of a call unchanged. One request ID is from the documentation's example.
#[tokio::test]
async fn a_request_id_is_opaque() {
    let (client, mut hub) = client(device());
    client
        .serve_methods(async |call| MethodResponse::json(200, &(call.name(), call.json::<serde_json::Value>()?)))
        .expect("MQTT has methods");
    let mut peer = hub.accept().await;
    peer.grant_subscription(METHODS).await;
    for (name, decoded, rid) in [
        ("reboot", "reboot", "1"),
        ("reboot", "reboot", "1f"),
        ("reboot", "reboot", "8dd4ae6e-b1c5-4c5c-a1ea-1ee8c5d2f7d9"),
        // This request ID contains many of the special characters that a topic may contain. A topic cannot contain `+`
        // or `#`, and an `&` would end the request ID.
        ("reboot", "reboot", "a%20b=d/e?f$g"),
        ("a%20b%2Fc", "a b/c", "ü:;,.!~*'()"),
        ("%E6%B8%A9", "温", "00000000000000000000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        peer.publish(&format!("$iothub/methods/POST/{name}/?$rid={rid}"), b"[1.5]", 0, 0).await;
        let answer = peer.next_publish().await;
        assert_eq!(answer.topic, format!("$iothub/methods/res/200/?$rid={rid}"));
        assert_eq!(String::from_utf8_lossy(&answer.body), format!("[{decoded:?},[1.5]]"));
    }
    // If the body of a call is empty, the handler gets no payload. If the body is not JSON, the client calls no
    // handler, and answers the call itself.
    peer.publish("$iothub/methods/POST/m/?$rid=2", b"", 0, 0).await;
    assert_eq!(peer.next_publish().await.body, br#"["m",null]"#);
    peer.publish("$iothub/methods/POST/m/?$rid=3", b"{", 1, 5).await;
    assert_eq!(
        peer.next_packet().await,
        parse(&packets::puback(5)).await,
        "the client acknowledges a call with quality of service 1"
    );
    assert_eq!(peer.next_publish().await.topic, "$iothub/methods/res/400/?$rid=3");
}

/// The client answers a call only on the connection on which the call arrived.
#[tokio::test]
async fn a_call_ends_with_its_connection() {
    let (client, mut hub) = client(device());
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    client
        .serve_methods(move |call| {
            let (started, opened) = (started.clone(), opened.clone());
            async move {
                started.send(()).map_err(std::io::Error::other)?;
                drop(opened.acquire().await?);
                MethodResponse::json(200, call.name())
            }
        })
        .expect("MQTT has methods");
    let mut first = hub.accept().await;
    first.grant_subscription(METHODS).await;
    first.publish("$iothub/methods/POST/old/?$rid=1", b"", 0, 0).await;
    starts.recv().await.expect("a started call");
    drop(first);
    let mut second = hub.accept().await;
    second.grant_subscription(METHODS).await;
    // A hub may use the same request ID again after a reconnect.
    second.publish("$iothub/methods/POST/new/?$rid=1", b"", 0, 0).await;
    starts.recv().await.expect("a started call");
    gate.add_permits(2);
    assert_eq!(second.next_publish().await.body, br#""new""#);
    // If the client had answered the old call, this answer would arrive before the message below.
    let (sent, publish) = tokio::join!(client.send(hubward::Message::new("x")), second.next_publish());
    sent.expect("acknowledged");
    assert_eq!(publish.topic, "devices/d1/messages/events/");
    assert_eq!(client.counts().methods_unanswered, 1);
}

/// The client decodes every form of properties. It sends a PUBACK when the application completes the message.
#[tokio::test]
async fn the_properties_of_a_message_are_decoded() {
    let (client, mut hub) = client(device());
    let mut messages = client.cloud_messages().expect("a device");
    let mut peer = hub.accept().await;
    peer.grant_subscription("devices/d1/messages/devicebound/#").await;
    for (id, (bag, expected)) in [
        ("%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&iothub-ack=full&k=v", vec![("k", Some("v"))]),
        ("", vec![]),
        ("prop1&prop2=&prop3=a%20string", vec![("prop1", None), ("prop2", Some("")), ("prop3", Some("a string"))]),
        ("?prop1&prop2=", vec![("prop1", None), ("prop2", Some(""))]),
        ("a=1+2&b=1%2B2&%25=100%25", vec![("a", Some("1+2")), ("b", Some("1+2")), ("%", Some("100%"))]),
        ("%C3%A9=%E6%B8%A9%E5%BA%A6", vec![("é", Some("温度"))]),
        ("$.mid=m1&k=raw space", vec![("k", Some("raw space"))]),
        ("k=1&k=2", vec![("k", Some("2"))]),
        ("k=v/", vec![("k", Some("v"))]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = u16::try_from(id + 100).expect("a packet id");
        peer.publish(&format!("devices/d1/messages/devicebound/{bag}"), b"\x00\xff", 1, id).await;
        let message = messages.next().await.expect("a message");
        assert_eq!(message.properties().collect::<Vec<_>>(), expected, "{bag}");
        assert_eq!(&message.body[..], b"\x00\xff");
        if bag.contains("mid") {
            assert_eq!(message.message_id(), Some("m1"), "{bag}");
        }
        if bag.contains("iothub-ack") {
            assert_eq!(message.to(), Some("/devices/d1/messages/deviceBound"));
            assert_eq!(message.ack(), Some("full"));
        }
        message.complete().await.expect("completed");
        assert_eq!(peer.next_packet().await, parse(&packets::puback(id)).await, "{bag}");
    }
}

/// The client acknowledges messages in the order in which they arrived (MQTT 3.1.1, 4.6.0-2).
///
/// After a reconnect, a hub that kept the session delivers unacknowledged messages again, without waiting for a
/// SUBSCRIBE.
#[tokio::test]
async fn acknowledgements_keep_the_order_of_the_messages() {
    let (client, mut hub) = client(device());
    let mut messages = client.cloud_messages().expect("a device");
    let mut peer = hub.accept().await;
    peer.grant_subscription("devices/d1/messages/devicebound/#").await;
    let [first, second, third] = deliver_three(&mut peer, &mut messages, 1).await;
    third.complete().await.expect("a delayed acknowledgement");
    first.complete().await.expect("sent");
    assert_eq!(peer.next_packet().await.rest, [0, 1]);
    // The third message is completed, but the second one is not, so the client must not acknowledge the third message
    // yet.
    //
    // To check this, the client sends telemetry, which must be the next packet that the hub gets.
    let (sent, publish) = tokio::join!(client.send(hubward::Message::new("x")), peer.next_publish());
    sent.expect("acknowledged");
    assert_eq!(publish.topic, "devices/d1/messages/events/");
    second.complete().await.expect("acknowledgements of the second and third message");
    assert_eq!(peer.next_packet().await.rest, [0, 2]);
    assert_eq!(peer.next_packet().await.rest, [0, 3]);

    let [dropped, ..] = deliver_three(&mut peer, &mut messages, 4).await;
    drop(dropped);
    drop(peer);
    let mut peer = hub.accept_session(true).await;
    let again = packets::publish("devices/d1/messages/devicebound/", b"4", 1, 4);
    peer.send(&again).await;
    let message = messages.next().await.expect("a second delivery");
    assert_eq!(&message.body[..], b"4");
    message.complete().await.expect("completed");
    let mut packet = peer.next_packet().await;
    if let Some((id, filters)) = packet.subscribe() {
        // The hub kept the session, but the client may still subscribe again.
        peer.send(&packets::suback(id, &[filters[0].1])).await;
        packet = peer.next_packet().await;
    }
    assert_eq!(packet, parse(&packets::puback(4)).await);
}

async fn deliver_three(peer: &mut Peer, messages: &mut CloudMessages, first: u16) -> [hubward::CloudMessage; 3] {
    for id in first..first + 3 {
        peer.publish("devices/d1/messages/devicebound/", id.to_string().as_bytes(), 1, id).await;
    }
    let mut next = async || messages.next().await.expect("a message");
    [next().await, next().await, next().await]
}

/// A message to an input of a module. The message also says which module sent it.
#[tokio::test]
async fn a_message_to_an_input_is_decoded() {
    let (client, mut hub) = client(module());
    let mut inputs = client.inputs().expect("a module");
    let mut peer = hub.accept().await;
    peer.grant_subscription("devices/d1/modules/m1/inputs/#").await;
    peer.publish("devices/d1/modules/m1/inputs/in%201/%24.cdid=d1&%24.cmid=sender&k=v", b"x", 1, 9).await;
    let message = inputs.next().await.expect("a message");
    assert_eq!(message.input.as_deref(), Some("in 1"));
    assert_eq!((message.sender_device(), message.sender_module()), (Some("d1"), Some("sender")));
    assert_eq!(message.properties().collect::<Vec<_>>(), [("k", Some("v"))]);
    message.complete().await.expect("completed");
    assert_eq!(peer.next_packet().await, parse(&packets::puback(9)).await);
}

/// Parses the bytes of one packet.
async fn parse(mut bytes: &[u8]) -> packets::Packet {
    packets::Packet::read(&mut bytes).await.expect("a packet")
}
