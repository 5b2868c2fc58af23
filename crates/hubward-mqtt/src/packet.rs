//! Encodes and decodes MQTT packets.
//!
//! `rumqttc` does the encoding and decoding. Its decoder accepts some packets that a client must refuse; this module
//! refuses these packets before it decodes them.

use std::fmt;
use std::num::NonZeroU16;

use bytes::{Buf, Bytes, BytesMut};
use hubward_proto::ProtoError;
pub(crate) use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self, Packet};
use rumqttc::mqttbytes::{Error, check};

const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;

/// A packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The response to CONNECT. Code 0 means that the server accepted the login.
    ConnAck { session_present: bool, code: u8 },
    /// A message.
    Publish(Message),
    /// The acknowledgement of a message that the client sent.
    PubAck(NonZeroU16),
    /// The response to a subscription to one filter.
    SubAck { id: u16, granted: bool },
    /// The response to a ping.
    PingResp,
}

/// A message from the server. `Debug` omits topic and body, because they can contain private user data.
#[derive(PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    /// The packet id to acknowledge; `None` at QoS 0.
    pub(crate) id: Option<NonZeroU16>,
    /// Whether the server marks the message as redelivered.
    pub(crate) dup: bool,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Removes the first packet from `bytes` and returns it. Returns `None` if the packet is incomplete. If
/// `first` is set, accepts only CONNACK.
///
/// Returns an error if the specification requires a client to close the connection.
///
/// Accepts packets with harmless flaws: wildcards in a topic name, DUP at QoS 0, and a CONNACK whose reserved bits are
/// not 0. If the client closed the connection, a server with this flaw would send such a packet on the next connection
/// too, and the client could never stay connected.
pub(crate) fn decode(bytes: &mut BytesMut, max: usize, first: bool) -> Result<Option<Incoming>, ProtoError> {
    // Fast path for PUBACK, because the client receives one for each message that it sends.
    if let ([0x40, 2, high, low, ..], false) = (&bytes[..], first) {
        let id = packet_id(u16::from_be_bytes([*high, *low]))?;
        bytes.advance(4);
        return Ok(Some(Incoming::PubAck(id)));
    }
    let Some(&kind) = bytes.first() else { return Ok(None) };
    // Check the first byte before the length: it shows whether the peer speaks MQTT.
    check_kind(kind, first)?;
    match check(bytes.iter(), max) {
        Ok(_) => {}
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded(size)) => {
            return Err(ProtoError::TooLarge { what: "the MQTT packet", size, limit: max });
        }
        Err(problem) => return Err(malformed(&problem)),
    }
    let length_is = |expected: u8, name| {
        (bytes[1] == expected).then_some(()).ok_or_else(|| unexpected(format!("{name} has the wrong length")))
    };
    match kind {
        CONNACK => length_is(2, "a CONNACK")?,
        PUBACK => length_is(2, "a PUBACK")?,
        SUBACK => length_is(3, "a SUBACK")?,
        PINGRESP => length_is(0, "a PINGRESP")?,
        _ => {}
    }
    Ok(Some(match Packet::read(bytes, max) {
        Ok(Packet::ConnAck(it)) => Incoming::ConnAck { session_present: it.session_present, code: it.code as u8 },
        // A code that MQTT 3.1.1 does not define is still a refusal.
        Err(Error::InvalidConnectReturnCode(code)) => Incoming::ConnAck { session_present: false, code },
        Ok(Packet::Publish(it)) => {
            Incoming::Publish(Message { topic: it.topic, body: it.payload, id: NonZeroU16::new(it.pkid), dup: it.dup })
        }
        Ok(Packet::PubAck(it)) => Incoming::PubAck(packet_id(it.pkid)?),
        Ok(Packet::SubAck(it)) => Incoming::SubAck {
            id: it.pkid,
            granted: it.return_codes.iter().all(|code| *code != v4::SubscribeReasonCode::Failure),
        },
        Ok(Packet::PingResp) => Incoming::PingResp,
        Ok(_) => return Err(unexpected("a packet that only a client sends")),
        Err(problem) => return Err(malformed(&problem)),
    }))
}

/// Appends a PUBLISH at QoS 1.
pub(crate) fn publish(
    out: &mut BytesMut,
    id: NonZeroU16,
    topic: String,
    body: Bytes,
    dup: bool,
) -> Result<(), ProtoError> {
    let packet = v4::Publish { dup, qos: QoS::AtLeastOnce, retain: false, topic, pkid: id.get(), payload: body };
    out.reserve(packet.size());
    append(out, |out| packet.write(out))
}

/// Appends a PUBLISH at QoS 0.
pub(crate) fn publish_qos0(out: &mut BytesMut, topic: String, body: Bytes) -> Result<(), ProtoError> {
    let packet = v4::Publish { dup: false, qos: QoS::AtMostOnce, retain: false, topic, pkid: 0, payload: body };
    out.reserve(packet.size());
    append(out, |out| packet.write(out))
}

/// Appends a SUBSCRIBE to one filter.
pub(crate) fn subscribe(out: &mut BytesMut, id: u16, filter: &str, qos: QoS) -> Result<(), ProtoError> {
    let mut packet = v4::Subscribe::new(filter, qos);
    packet.pkid = id;
    append(out, |out| packet.write(out))
}

/// Appends a PUBACK.
pub(crate) fn puback(out: &mut BytesMut, id: NonZeroU16) -> Result<(), ProtoError> {
    append(out, |out| v4::PubAck::new(id.get()).write(out))
}

/// Appends a PINGREQ.
pub(crate) fn pingreq(out: &mut BytesMut) -> Result<(), ProtoError> {
    append(out, |out| v4::PingReq.write(out))
}

/// Appends a DISCONNECT.
pub(crate) fn disconnect(out: &mut BytesMut) -> Result<(), ProtoError> {
    append(out, |out| v4::Disconnect.write(out))
}

/// Appends a complete packet. On an error, leaves `out` unchanged.
fn append(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Result<usize, Error>) -> Result<(), ProtoError> {
    let before = out.len();
    match write(out) {
        Ok(_) => Ok(()),
        Err(problem) => {
            out.truncate(before);
            Err(ProtoError::Unexpected(format!("the packet cannot be encoded: {problem}")))
        }
    }
}

/// Checks the first byte of a packet: its type and the flags that MQTT 3.1.1 requires (section 2.2.2).
fn check_kind(kind: u8, first: bool) -> Result<(), ProtoError> {
    match kind {
        CONNACK => Ok(()),
        _ if first => Err(unexpected(format!("the first packet is not CONNACK (it begins with 0x{kind:02x})"))),
        PUBACK | SUBACK | PINGRESP => Ok(()),
        0x30..=0x3f if kind & 0b0110 == 0b0110 => Err(unexpected("a PUBLISH at QoS 3")),
        0x30..=0x3f if kind & 0b0100 != 0 => {
            Err(unexpected("a PUBLISH at QoS 2, which the client did not subscribe to"))
        }
        0x30..=0x3f => Ok(()),
        _ => Err(unexpected(format!("a packet that a server may not send here (it begins with 0x{kind:02x})"))),
    }
}

fn packet_id(id: u16) -> Result<NonZeroU16, ProtoError> {
    NonZeroU16::new(id).ok_or_else(|| unexpected("the packet id is 0"))
}

fn unexpected(what: impl Into<String>) -> ProtoError {
    ProtoError::Unexpected(what.into())
}

fn malformed(problem: &Error) -> ProtoError {
    ProtoError::Unexpected(format!("a malformed MQTT packet ({problem})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1024;

    fn id(id: u16) -> NonZeroU16 {
        NonZeroU16::new(id).expect("not zero")
    }

    /// The expected bytes are copied by hand from MQTT 3.1.1, sections 3.3, 3.4, 3.8, 3.12 and 3.14.
    #[test]
    fn encoded_packets_match_the_specification() {
        let written = |write: &dyn Fn(&mut BytesMut) -> Result<(), ProtoError>| {
            let mut out = BytesMut::new();
            write(&mut out).expect("a packet");
            out.to_vec()
        };
        assert_eq!(
            written(&|out| publish(out, id(0x0102), "a/b".into(), "xyz".into(), false)),
            b"\x32\x0a\x00\x03a/b\x01\x02xyz"
        );
        assert_eq!(
            written(&|out| publish(out, id(1), "a/b".into(), Bytes::new(), true)),
            b"\x3a\x07\x00\x03a/b\x00\x01"
        );
        let body = [b'.'; 321 - 7];
        let long = written(&|out| publish(out, id(7), "a/b".into(), Bytes::copy_from_slice(&body), false));
        assert_eq!(long[..10], *b"\x32\xc1\x02\x00\x03a/b\x00\x07", "321 is 0xc1 0x02: table 2.4");
        assert_eq!(
            written(&|out| subscribe(out, 0xff00, "$dps/registrations/res/#", QoS::AtLeastOnce)),
            b"\x82\x1d\xff\x00\x00\x18$dps/registrations/res/#\x01"
        );
        assert_eq!(
            written(&|out| subscribe(out, 0xffff, "$iothub/twin/res/#", QoS::AtMostOnce)),
            b"\x82\x17\xff\xff\x00\x12$iothub/twin/res/#\x00"
        );
        assert_eq!(
            written(&|out| publish_qos0(out, "$iothub/twin/GET/?$rid=1".into(), Bytes::new())),
            b"\x30\x1a\x00\x18$iothub/twin/GET/?$rid=1"
        );
        assert_eq!(written(&|out| puback(out, id(0x1234))), b"\x40\x02\x12\x34");
        assert_eq!(written(&|out| pingreq(out)), b"\xc0\x00");
        assert_eq!(written(&|out| disconnect(out)), b"\xe0\x00");
    }

    #[test]
    fn decodes_the_packets_of_a_server() {
        let message = |topic: &str, body: &'static [u8], id, dup| {
            Incoming::Publish(Message { topic: topic.into(), body: body.into(), id, dup })
        };
        for (bytes, expected) in [
            (&b"\x20\x02\x00\x00"[..], Incoming::ConnAck { session_present: false, code: 0 }),
            (b"\x20\x02\x01\x00", Incoming::ConnAck { session_present: true, code: 0 }),
            (b"\x20\x02\x00\x05", Incoming::ConnAck { session_present: false, code: 5 }),
            (b"\x20\x02\x00\x84", Incoming::ConnAck { session_present: false, code: 0x84 }),
            (b"\x40\x02\x12\x34", Incoming::PubAck(id(0x1234))),
            (b"\x90\x03\xff\x00\x01", Incoming::SubAck { id: 0xff00, granted: true }),
            (b"\x90\x03\xff\x00\x00", Incoming::SubAck { id: 0xff00, granted: true }),
            (b"\x90\x03\xff\x00\x80", Incoming::SubAck { id: 0xff00, granted: false }),
            (b"\xd0\x00", Incoming::PingResp),
            (b"\x30\x05\x00\x01txy", message("t", b"xy", None, false)),
            (b"\x32\x07\x00\x01t\x00\x09xy", message("t", b"xy", Some(id(9)), false)),
            (b"\x3b\x05\x00\x01t\x00\x09", message("t", b"", Some(id(9)), true)),
        ] {
            let mut buffer = BytesMut::from(bytes);
            buffer.extend_from_slice(b"\xd0");
            assert_eq!(decode(&mut buffer, MAX, false), Ok(Some(expected)), "{bytes:02x?}");
            assert_eq!(&buffer[..], b"\xd0", "{bytes:02x?}");
            for end in 0..bytes.len() {
                let mut part = BytesMut::from(&bytes[..end]);
                assert_eq!(decode(&mut part, MAX, false), Ok(None), "{bytes:02x?} cut at {end}");
                assert_eq!(part.len(), end, "an incomplete packet stays in the buffer");
            }
        }
    }

    #[test]
    fn refuses_packets_that_a_client_must_not_accept() {
        for (bytes, problem) in [
            (&b"\x20\x03\x00\x00\x00"[..], "CONNACK has the wrong length"),
            (b"\x20\x01\x00", "CONNACK has the wrong length"),
            (b"\x20\x00", "CONNACK has the wrong length"),
            (b"\x21\x02\x00\x00", "begins with 0x21"),
            (b"\x40\x02\x00\x00", "packet id is 0"),
            (b"\x40\x03\x00\x01\x00", "PUBACK has the wrong length"),
            (b"\x40\x82\x00\x00\x01", "PUBACK has the wrong length"),
            (b"\x42\x02\x00\x01", "begins with 0x42"),
            (b"\x90\x02\x00\x01", "SUBACK has the wrong length"),
            (b"\x90\x03\x00\x01\x03", "malformed"),
            (b"\xd0\x01\x00", "PINGRESP has the wrong length"),
            (b"\x36", "QoS 3"),
            (b"\x34", "QoS 2"),
            (b"\x32\x05\x00\x01t\x00\x00", "malformed"),
            (b"\x32\x04\x00\x01t\x00", "malformed"),
            (b"\x30\x03\x00\x09t", "malformed"),
            (b"\x30\x04\x00\x02\xff\xfe", "malformed"),
            (b"\x30\x01\x00", "malformed"),
            (b"\x30\xff\xff\xff\xff", "malformed"),
            (b"\x10", "begins with 0x10"),
            (b"\x50", "begins with 0x50"),
            (b"\xc0", "begins with 0xc0"),
            (b"\xe0", "begins with 0xe0"),
            (b"HTTP/1.1 400 Bad Request", "begins with 0x48"),
        ] {
            let error = decode(&mut BytesMut::from(bytes), MAX, false).expect_err(problem);
            assert!(error.to_string().contains(problem), "{bytes:02x?}: {error}");
        }
        assert_eq!(
            decode(&mut BytesMut::from(&b"\x30\x81\x08"[..]), MAX, false),
            Err(ProtoError::TooLarge { what: "the MQTT packet", size: 1025, limit: MAX })
        );
    }

    #[test]
    fn the_first_packet_must_be_a_connack() {
        for bytes in [&b"\x40\x02\x00\x01"[..], b"\xd0\x00", b"\x30\x03\x00\x01t", b"\x90"] {
            let error = decode(&mut BytesMut::from(bytes), MAX, true).expect_err("too early");
            assert!(error.to_string().contains("the first packet is not CONNACK"), "{error}");
        }
    }

    #[test]
    fn a_wrong_byte_never_panics_or_consumes_too_much() {
        for packet in [
            &b"\x20\x02\x01\x00"[..],
            b"\x40\x02\x12\x34",
            b"\x90\x03\xff\x00\x01",
            b"\xd0\x00",
            b"\x30\x05\x00\x01txy",
            b"\x32\x07\x00\x01t\x00\x09xy",
        ] {
            for position in 0..packet.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = BytesMut::from(packet);
                    bytes[position] = byte;
                    bytes.extend_from_slice(&[0; 300]);
                    let before = bytes.len();
                    match decode(&mut bytes, MAX, false) {
                        Ok(Some(_)) => assert!(bytes.len() <= before - 2, "the packet is consumed"),
                        Ok(None) => assert_eq!(bytes.len(), before, "the bytes stay in the buffer"),
                        Err(_) => {}
                    }
                }
            }
        }
    }
}
