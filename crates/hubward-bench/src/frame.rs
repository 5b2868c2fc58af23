//! Encodes and decodes the MQTT 3.1.1 packets that a telemetry run needs. The code is written by hand.
//!
//! The sink and the bound use this module in place of an MQTT library, to spend less processor time.
//!
//! Source: MQTT 3.1.1, sections 2.2 (fixed header), 3.1 to 3.4, 3.8, 3.9.

use std::io;

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
/// PUBLISH with QoS 1, without DUP and RETAIN.
pub(crate) const PUBLISH_QOS1: u8 = 0x32;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const PINGREQ: u8 = 0xc0;
pub(crate) const PINGRESP: u8 = 0xd0;
pub(crate) const DISCONNECT: u8 = 0xe0;

/// One packet at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The first byte: packet type and flags.
    pub(crate) header: u8,
    /// The bytes after the remaining length.
    pub(crate) body: &'a [u8],
    /// The length of the whole packet in bytes.
    pub(crate) len: usize,
}

/// Returns the packet at the start of `bytes`. Returns `None` if the packet is incomplete.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the remaining length has more than four bytes.
pub(crate) fn first(bytes: &[u8]) -> io::Result<Option<Frame<'_>>> {
    let Some((&header, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for (index, byte) in rest.iter().enumerate() {
        if index == 4 {
            return Err(invalid("the remaining length has more than four bytes"));
        }
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            let end = start + length;
            return Ok(bytes.get(start..end).map(|body| Frame { header, body, len: end }));
        }
    }
    Ok(None)
}

/// Returns the packet id from the body of a PUBLISH with QoS 1.
pub(crate) fn publish_id(body: &[u8]) -> Option<[u8; 2]> {
    let (topic_len, rest) = body.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*topic_len))..)?;
    rest.first_chunk::<2>().copied().filter(|it| *it != [0, 0])
}

/// The PUBACK for a packet id.
pub(crate) const fn puback([high, low]: [u8; 2]) -> [u8; 4] {
    [PUBACK, 2, high, low]
}

/// A CONNECT with user name and password.
pub(crate) fn connect(client_id: &str, user_name: &str, password: &str) -> Vec<u8> {
    // The start of the body: protocol name and level; flags for user name, password and clean session; keep-alive in
    // seconds.
    let mut body = b"\0\x04MQTT\x04\xc2\0\x3c".to_vec();
    for text in [client_id, user_name, password] {
        push_text(&mut body, text);
    }
    packet(CONNECT, &body)
}

/// An encoded PUBLISH with QoS 1. Only its packet id changes from message to message.
#[derive(Debug)]
pub(crate) struct PublishTemplate {
    bytes: Vec<u8>,
    id_at: usize,
}

impl PublishTemplate {
    pub(crate) fn new(topic: &str, payload: &[u8]) -> Self {
        let mut body = Vec::new();
        push_text(&mut body, topic);
        let id_at = body.len();
        body.extend([0, 0]);
        body.extend(payload);
        let bytes = packet(PUBLISH_QOS1, &body);
        let header_len = bytes.len() - body.len();
        Self { bytes, id_at: header_len + id_at }
    }

    /// Appends the packet with this id.
    pub(crate) fn push(&self, out: &mut Vec<u8>, id: u16) {
        let at = out.len() + self.id_at;
        out.extend_from_slice(&self.bytes);
        out[at..at + 2].copy_from_slice(&id.to_be_bytes());
    }
}

pub(crate) fn invalid(rule: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend(body);
    bytes
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the texts of a run are short");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_parsed_once_it_is_complete() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"\x40", None),
            (b"\x40\x02\0", None),
            (b"\x40\x02\0\x07", Some((PUBACK, &b"\0\x07"[..], 4))),
            (b"\x40\x02\0\x07\x40", Some((PUBACK, b"\0\x07", 4))),
            (b"\xc0\0", Some((PINGREQ, b"", 2))),
        ] {
            let expected = expected.map(|(header, body, len)| Frame { header, body, len });
            assert_eq!(first(bytes).expect("a length"), expected, "{bytes:x?}");
        }
        assert!(first(b"\x32\xff\xff\xff\xff\x01").is_err());
    }

    /// Source: MQTT 3.1.1, figures 3.2 to 3.6 and 3.11 to 3.12.
    #[test]
    fn frames_match_the_standard() {
        assert_eq!(connect("d", "u", "p"), b"\x10\x13\0\x04MQTT\x04\xc2\0\x3c\0\x01d\0\x01u\0\x01p");
        let mut out = b"before".to_vec();
        PublishTemplate::new("a/b", b"hello").push(&mut out, 0x1234);
        assert_eq!(out, b"before\x32\x0c\0\x03a/b\x12\x34hello");
        assert_eq!(puback([0x12, 0x34]), [0x40, 2, 0x12, 0x34]);
    }

    #[test]
    fn a_long_publish_is_parsed() {
        let mut out = Vec::new();
        PublishTemplate::new("a/b", &[7; 256]).push(&mut out, 9);
        let frame = first(&out).expect("a length").expect("a whole frame");
        assert_eq!((frame.header, frame.len), (PUBLISH_QOS1, out.len()));
        assert_eq!(publish_id(frame.body), Some([0, 9]));
        assert_eq!(publish_id(b"\0\x03a/b\0\0"), None, "0 is not a valid packet id");
        assert_eq!(publish_id(b"\0\x05a/b"), None);
    }
}
