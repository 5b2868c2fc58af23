//! Checks that arbitrary input causes no panic and no wrong acknowledgement. The flow tests check how the client
//! handles each topic.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use hubward_transport::{DeviceId, HubHost, Lock, ModuleId};
use tokio::time::Instant;

use super::*;
use crate::ack_queue::Arrival;
use crate::packet::{self, Incoming};

const PACKET_MAX: usize = 64 * 1024;

fn router(module: bool) -> IncomingRouter {
    let host = HubHost::new("hub.example").expect("a host");
    let identity = HubIdentity::new(host, DeviceId::new("d1").expect("an id"));
    let identity = if module { identity.module(ModuleId::new("m1").expect("an id")) } else { identity };
    IncomingRouter::new(identity, "hub.example:8883".into())
}

/// A core with an open twin request under each of the tags 1 and 2.
fn core() -> Core {
    let mut core = Core::new(Duration::from_secs(60), Duration::from_secs(20), Instant::now());
    for (tag, kind) in [(1, TwinRequestKind::Get), (2, TwinRequestKind::PatchReported)] {
        core.on_twin_request(Tag(NonZeroU16::new(tag).expect("not zero")), kind, Instant::now()).expect("a free tag");
    }
    core
}

/// A PUBLISH at QoS 1, or at QoS 0 if `id` is `None`.
fn publish(id: Option<u16>, topic: &str, body: &str) -> Vec<u8> {
    let mut rest = u16::try_from(topic.len()).expect("short").to_be_bytes().to_vec();
    rest.extend(topic.as_bytes());
    rest.extend(id.map(u16::to_be_bytes).into_iter().flatten());
    rest.extend(body.as_bytes());
    let mut packet = vec![if id.is_some() { 0x32 } else { 0x30 }];
    let length = u8::try_from(rest.len()).expect("short");
    if length < 0x80 {
        packet.push(length);
    } else {
        packet.extend([length, 1]);
    }
    packet.extend(rest);
    packet
}

/// At least one message of each kind.
fn samples() -> Vec<Vec<u8>> {
    let twin = r#"{"desired":{"a":{"b":1},"$version":4},"reported":{"$version":7}}"#;
    let error = r#"{"errorCode":429001,"message":"no","trackingId":"t"}"#;
    let nested = r#"{"Message":"{\"errorCode\":404103,\"message\":\"m\"}","ExceptionMessage":"Tracking ID:t"}"#;
    vec![
        publish(Some(9), "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fd&iothub-ack=full&k=v", "x"),
        publish(None, "devices/d1/messages/devicebound/?a&b=", ""),
        publish(Some(9), "devices/d1/modules/m1/inputs/in%201/%24.cdid=d1&k=v/", "x"),
        publish(None, "$iothub/methods/POST/set%20fan/?$rid=7f", r#"{"a":1}"#),
        publish(Some(9), "$iothub/twin/res/200/?$rid=1-1", twin),
        publish(None, "$iothub/twin/res/204/?$rid=2-2&$version=8", ""),
        publish(None, "$iothub/twin/res/429/?$rid=1-1", error),
        publish(None, "$iothub/twin/res/404/?$rid=2-2", nested),
        publish(Some(9), "$iothub/twin/PATCH/properties/desired/?$version=5", r#"{"a":null,"$version":5}"#),
        publish(Some(9), "devices/d1/messages/devicebound", "\u{e9}"),
    ]
}

/// Passes the bytes to a connection. Panics if a message is lost or acknowledged wrongly.
fn feed(bytes: &[u8], module: bool) {
    let mut buffer = BytesMut::from(bytes);
    // A test may have changed the length in the header. Add padding, so that the packet is complete even if this length
    // is too large.
    buffer.extend_from_slice(&[b'&'; 300]);
    let Ok(Some(Incoming::Publish(message))) = packet::decode(&mut buffer, PACKET_MAX, false) else { return };
    let (mut router, mut core) = (router(module), core());
    let (id, topic) = (message.id, message.topic.clone());
    let ack = match id {
        None => AckNeed::None,
        Some(id) => match core.on_arrival(id, message.dup) {
            Arrival::New(lock) => AckNeed::OnSettlement(lock),
            other => panic!("{other:?}"),
        },
    };
    let routed = router.route(Event::Message(message, ack), &mut core, None);
    let shown = bytes.escape_ascii();
    let held = match &routed {
        Some(Downstream::Message(delivery)) => {
            assert_eq!(delivery.lock.is_some(), id.is_some(), "{shown}");
            delivery.lock
        }
        Some(Downstream::Twin(tag, _)) => {
            assert_eq!(tag.0.get(), 1, "{shown}");
            None
        }
        Some(Downstream::Reported(tag, _)) => {
            assert_eq!(tag.0.get(), 2, "{shown}");
            None
        }
        Some(Downstream::Refused(_, refusal)) => {
            assert!(refusal.to_string().len() < 1000, "{shown}");
            None
        }
        Some(Downstream::Method(call)) => {
            assert!(!call.id.0.is_empty() && !call.name.is_empty(), "{shown}");
            None
        }
        Some(Downstream::Unreadable(call)) => {
            assert!(call.as_ref().is_none_or(|it| !it.0.is_empty()), "{shown}");
            None
        }
        Some(Downstream::Desired(_)) => None,
        // A twin response that answers no request.
        None => {
            assert!(topic.starts_with("$iothub/twin/res/"), "{shown}");
            None
        }
        Some(other) => panic!("{other:?} for {shown}"),
    };
    // A message to the program is acknowledged after settlement. Every other message is acknowledged immediately.
    if let Some(lock) = held {
        assert_eq!(core.next_ack(), None, "{shown}");
        assert!(core.settle(lock) && !core.settle(lock), "{shown}");
    }
    assert_eq!(core.next_ack(), id, "{topic:?}");
    assert_eq!(core.next_ack(), None);
    assert!(!core.settle(Lock(1)));
}

#[test]
fn a_publish_with_a_wrong_byte_never_panics() {
    for sample in samples() {
        for module in [false, true] {
            feed(&sample, module);
            for position in 0..sample.len() {
                let flipped = (0..8).map(|bit| sample[position] ^ 1 << bit);
                for byte in flipped.chain(*b"/?&=%$#+-0\0\x7f\x80\xff") {
                    let mut bytes = sample.clone();
                    bytes[position] = byte;
                    feed(&bytes, module);
                }
            }
        }
    }
}

#[test]
fn a_mixture_of_publishes_never_panics() {
    let samples = samples();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % sides as u64).unwrap_or_default()
    };
    for _ in 0..50_000 {
        let mut bytes = samples[dice(samples.len())].clone();
        for _ in 0..=dice(4) {
            let at = dice(bytes.len());
            match dice(5) {
                0 => {
                    bytes.remove(at);
                }
                1 => bytes.insert(at, b"/?&=%$#+\0"[dice(9)]),
                2 => bytes[at] ^= 1 << dice(8),
                3 => bytes.truncate(at.max(4)),
                _ => {
                    let other = &samples[dice(samples.len())];
                    let from = dice(other.len());
                    bytes.truncate(at.max(4));
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
        // In most cases, correct the length in the header.
        if dice(8) != 0 && bytes.len() > 4 {
            let rest = bytes.len() - 2;
            let header =
                if rest < 0x80 { vec![rest as u8] } else { vec![(rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8] };
            bytes.splice(1..2, header);
        }
        feed(&bytes, dice(2) == 0);
    }
}
