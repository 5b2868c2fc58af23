//! Tests of the codec. Their bytes were copied from the standard by hand.

use bytes::{Bytes, BytesMut};

use super::*;

const MAX: usize = 300 * 1024;

/// A CONNECT with a will, a user name and a password.
const FULL_CONNECT: &[u8] = b"\x10\x1c\x00\x04MQTT\x04\xce\x00\x3c\x00\x02d1\x00\x01w\x00\x02by\x00\x01u\x00\x02pw";
/// The same CONNECT without will, user name and password.
const BARE_CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02d1";

fn decode_all(bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
    decode(&mut BytesMut::from(bytes), MAX)
}

fn bare_connect() -> Connect {
    Connect { client_id: "d1".into(), clean_session: true, keep_alive: 0, will: None, username: None, password: None }
}

fn publish(qos: u8, packet_id: u16) -> Publish {
    Publish { topic: "a/b".into(), body: "hi".into(), qos, packet_id, retain: false, duplicate: false }
}

#[test]
fn reads_every_packet_a_client_may_send() {
    let full = Connect {
        keep_alive: 60,
        will: Some(Will { topic: "w".into(), body: "by".into(), qos: 1, retain: false }),
        username: Some("u".into()),
        password: Some(Bytes::from_static(b"pw")),
        ..bare_connect()
    };
    for (bytes, expected) in [
        (FULL_CONNECT, Incoming::Connect(Box::new(full))),
        (BARE_CONNECT, Incoming::Connect(Box::new(bare_connect()))),
        (b"\x30\x07\x00\x03a/bhi", Incoming::Publish(publish(0, 0))),
        (b"\x32\x09\x00\x03a/b\x12\x34hi", Incoming::Publish(publish(1, 0x1234))),
        (b"\x34\x09\x00\x03a/b\x00\x01hi", Incoming::Publish(publish(2, 1))),
        (
            b"\x3b\x09\x00\x03a/b\x00\x01hi",
            Incoming::Publish(Publish { retain: true, duplicate: true, ..publish(1, 1) }),
        ),
        (b"\x40\x02\x00\x07", Incoming::Puback(7)),
        (b"\x50\x02\x00\x07", Incoming::QoS2),
        (b"\x62\x02\x00\x07", Incoming::QoS2),
        (b"\x70\x02\x00\x07", Incoming::QoS2),
        (
            b"\x82\x0e\x00\x0a\x00\x03a/#\x01\x00\x03+/b\x02",
            Incoming::Subscribe(10, vec![("a/#".into(), 1), ("+/b".into(), 2)]),
        ),
        (b"\xa2\x07\x00\x0a\x00\x03a/b", Incoming::Unsubscribe(10, vec!["a/b".into()])),
        (b"\xc0\x00", Incoming::Pingreq),
        (b"\xe0\x00", Incoming::Disconnect),
    ] {
        let mut input = BytesMut::from(bytes);
        assert_eq!(decode(&mut input, MAX), Ok(Some(expected)), "{bytes:x?}");
        assert!(input.is_empty());
        // Decode every shorter prefix of the packet. The decoder must report that the packet is incomplete, and not an
        // error.
        for length in 0..bytes.len() {
            assert_eq!(decode_all(&bytes[..length]), Ok(None), "{bytes:x?} cut at {length}");
        }
    }
}

#[test]
fn takes_one_packet_at_a_time() {
    let mut input = BytesMut::from(&b"\xc0\x00\xe0\x00\x40"[..]);
    assert_eq!(decode(&mut input, MAX), Ok(Some(Incoming::Pingreq)));
    assert_eq!(decode(&mut input, MAX), Ok(Some(Incoming::Disconnect)));
    assert_eq!(decode(&mut input, MAX), Ok(None));
    assert_eq!(&input[..], b"\x40");
}

#[test]
fn refuses_what_a_server_must_refuse() {
    for (bytes, expected) in [
        // Packet types that only a server sends, and reserved ones.
        (&b"\x00\x00"[..], Malformed::Type),
        (b"\x20\x02\x00\x00", Malformed::Type),
        (b"\x90\x03\x00\x01\x00", Malformed::Type),
        (b"\xb0\x02\x00\x01", Malformed::Type),
        (b"\xd0\x00", Malformed::Type),
        (b"\xf0\x00", Malformed::Type),
        // Flags.
        (b"\x11", Malformed::Flags),
        (b"\x80\x08\x00\x01\x00\x03a/b\x00", Malformed::Flags),
        (b"\x83\x08\x00\x01\x00\x03a/b\x00", Malformed::Flags),
        (b"\xa0\x07\x00\x01\x00\x03a/b", Malformed::Flags),
        (b"\x60\x02\x00\x01", Malformed::Flags),
        (b"\x42\x02\x00\x01", Malformed::Flags),
        (b"\xc1\x00", Malformed::Flags),
        (b"\xe8\x00", Malformed::Flags),
        (b"\x36\x09\x00\x03a/b\x00\x01hi", Malformed::Qos),
        (b"\x38\x07\x00\x03a/bhi", Malformed::Duplicate),
        // Remaining length: five bytes, or more bytes than needed.
        (b"\xc0\x80\x80\x80\x80\x00", Malformed::Length),
        (b"\xc0\x80\x00", Malformed::Length),
        (b"\xc0\xff\xff\xff\xff", Malformed::Length),
        (b"\x30\xff\xff\xff\x7f", Malformed::TooLarge),
        // Packet id 0.
        (b"\x32\x09\x00\x03a/b\x00\x00hi", Malformed::PacketId),
        (b"\x40\x02\x00\x00", Malformed::PacketId),
        (b"\x62\x02\x00\x00", Malformed::PacketId),
        (b"\x82\x08\x00\x00\x00\x03a/b\x00", Malformed::PacketId),
        (b"\xa2\x07\x00\x00\x00\x03a/b", Malformed::PacketId),
        // Trailing bytes, unexpected bodies, truncated fields.
        (b"\xc0\x01\x00", Malformed::Trailing),
        (b"\xe0\x01\x00", Malformed::Trailing),
        (b"\x40\x03\x00\x01\x00", Malformed::Trailing),
        (b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x02d1\x00", Malformed::Trailing),
        (b"\x40\x01\x00", Malformed::Short),
        (b"\x32\x05\x00\x03a/b", Malformed::Short),
        (b"\x82\x07\x00\x01\x00\x03a/b", Malformed::Short),
        (b"\x82\x02\x00\x01", Malformed::NoFilter),
        (b"\xa2\x02\x00\x01", Malformed::NoFilter),
        // Topics and filters.
        (b"\x30\x02\x00\x00", Malformed::Topic),
        (b"\x30\x05\x00\x03a/#", Malformed::Topic),
        (b"\x30\x05\x00\x03+/a", Malformed::Topic),
        (b"\x30\x05\x00\x03a\x00b", Malformed::Nul),
        (b"\x30\x05\x00\x03a\xffb", Malformed::Utf8),
        (b"\x30\x05\x00\x03\xed\xa0\x80", Malformed::Utf8),
        (b"\x82\x08\x00\x01\x00\x03a/b\x03", Malformed::Qos),
        (b"\x82\x08\x00\x01\x00\x03a/b\x81", Malformed::Qos),
        (b"\x82\x05\x00\x01\x00\x00\x00", Malformed::Filter),
        (b"\x82\x08\x00\x01\x00\x03#/a\x00", Malformed::Filter),
        (b"\x82\x07\x00\x01\x00\x02a#\x00", Malformed::Filter),
        (b"\x82\x07\x00\x01\x00\x02a+\x00", Malformed::Filter),
        // CONNECT: name, level, reserved bit, password without user name, will flags.
        (b"\x10\x0e\x00\x04MQTt\x04\x02\x00\x00\x00\x02d1", Malformed::Protocol),
        (b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x02d1", Malformed::Level),
        (b"\x10\x0e\x00\x04MQTT\x03\x02\x00\x00\x00\x02d1", Malformed::Level),
        (b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x00\x00\x02d1", Malformed::Level),
        (b"\x10\x0e\x00\x04MQTT\x04\x03\x00\x00\x00\x02d1", Malformed::Flags),
        (b"\x10\x12\x00\x04MQTT\x04\x42\x00\x00\x00\x02d1\x00\x02pw", Malformed::Flags),
        (b"\x10\x0e\x00\x04MQTT\x04\x0a\x00\x00\x00\x02d1", Malformed::Flags),
        (b"\x10\x0e\x00\x04MQTT\x04\x22\x00\x00\x00\x02d1", Malformed::Flags),
        (b"\x10\x12\x00\x04MQTT\x04\x1e\x00\x00\x00\x02d1\x00\x01w\x00\x00", Malformed::Qos),
        (b"\x10\x12\x00\x04MQTT\x04\x06\x00\x00\x00\x02d1\x00\x01#\x00\x00", Malformed::Topic),
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02d\x00", Malformed::Nul),
    ] {
        // Append zero bytes, so that the input contains at least as many bytes as the header announces. The decoder
        // must then report the error of the packet, and must not wait for more bytes.
        let mut input = BytesMut::from(bytes);
        input.extend_from_slice(&[0; 8]);
        assert_eq!(decode(&mut input, MAX), Err(expected), "{bytes:x?}");
    }
}

#[test]
fn a_packet_that_is_too_large_is_refused_by_its_length() {
    assert_eq!(decode(&mut BytesMut::from(&b"\x30\xff\x7f"[..]), 100), Err(Malformed::TooLarge));
    let exact = b"\x30\x07\x00\x03a/bhi";
    assert_eq!(decode(&mut BytesMut::from(&exact[..]), 8), Err(Malformed::TooLarge));
    assert!(matches!(decode(&mut BytesMut::from(&exact[..]), 9), Ok(Some(_))));
}

#[test]
fn writes_every_packet_a_server_sends() {
    let long = Publish { body: vec![b'x'; 200].into(), ..publish(1, 2) };
    let mut long_bytes = b"\x32\xcf\x01\x00\x03a/b\x00\x02".to_vec();
    long_bytes.extend_from_slice(&[b'x'; 200]);
    for (packet, expected) in [
        (Outgoing::Connack { session_present: false, code: 0 }, &b"\x20\x02\x00\x00"[..]),
        (Outgoing::Connack { session_present: true, code: 0 }, b"\x20\x02\x01\x00"),
        (Outgoing::Connack { session_present: false, code: 5 }, b"\x20\x02\x00\x05"),
        (Outgoing::Publish(publish(0, 0)), b"\x30\x07\x00\x03a/bhi"),
        (Outgoing::Publish(publish(1, 0x1234)), b"\x32\x09\x00\x03a/b\x12\x34hi"),
        (Outgoing::Publish(long), &long_bytes),
        (Outgoing::Puback(0x0102), b"\x40\x02\x01\x02"),
        (Outgoing::Suback(10, vec![0, 1, 0x80]), b"\x90\x05\x00\x0a\x00\x01\x80"),
        (Outgoing::Unsuback(10), b"\xb0\x02\x00\x0a"),
        (Outgoing::Pingresp, b"\xd0\x00"),
    ] {
        let mut output = BytesMut::new();
        packet.encode(&mut output);
        assert_eq!(&output[..], expected, "{packet:?}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let Ok(Some(Incoming::Connect(connect))) = decode_all(FULL_CONNECT) else { panic!("a CONNECT") };
    assert!(!format!("{connect:?}").contains("pw"));
}

/// Changes valid packets at random, with a fixed seed. The decoder must not panic. It must either remove or refuse
/// every whole packet.
#[test]
fn mutated_packets_never_panic() {
    let valid: [&[u8]; 7] = [
        FULL_CONNECT,
        BARE_CONNECT,
        b"\x32\x09\x00\x03a/b\x12\x34hi",
        b"\x82\x0e\x00\x0a\x00\x03a/#\x01\x00\x03+/b\x02",
        b"\xa2\x07\x00\x0a\x00\x03a/b",
        b"\x40\x02\x00\x07",
        b"\xc0\x00",
    ];
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let (mut packets, mut refusals) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = random.choice(valid).expect("not empty").to_vec();
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..bytes.len());
            match random.u8(0..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.insert(at, random.u8(..)),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << random.u8(0..8),
            }
        }
        let mut input = BytesMut::from(&bytes[..]);
        let before = input.len();
        match decode(&mut input, 64) {
            Ok(Some(_)) => {
                assert!(input.len() < before, "a packet that takes no bytes would be read for ever");
                packets += 1;
            }
            Ok(None) => assert_eq!(input.len(), before),
            Err(_) => refusals += 1,
        }
    }
    assert!(packets > 10_000 && refusals > 10_000, "{packets} packets, {refusals} refusals");
}
