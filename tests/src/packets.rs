//! Encodes and parses MQTT 3.1.1 packets for tests. This module does not use the codecs of the client and the emulator.
//! So the tests can find a mistake in these codecs.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A PINGREQ.
pub const PINGREQ: &[u8] = b"\xc0\x00";

/// A PINGRESP.
pub const PINGRESP: &[u8] = b"\xd0\x00";

/// A DISCONNECT.
pub const DISCONNECT: &[u8] = b"\xe0\x00";

/// The types of packets.
pub mod kind {
    /// CONNECT.
    pub const CONNECT: u8 = 1;
    /// CONNACK.
    pub const CONNACK: u8 = 2;
    /// PUBLISH.
    pub const PUBLISH: u8 = 3;
    /// PUBACK.
    pub const PUBACK: u8 = 4;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 8;
    /// SUBACK.
    pub const SUBACK: u8 = 9;
    /// PINGREQ.
    pub const PINGREQ: u8 = 12;
    /// PINGRESP.
    pub const PINGRESP: u8 = 13;
}

/// A packet: the first byte of its header, and all bytes after the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub rest: Vec<u8>,
}

/// The fields of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub body: Vec<u8>,
    /// Quality of service.
    pub qos: u8,
    /// The DUP flag. It is set if the sender has sent the packet before.
    pub duplicate: bool,
    /// The packet ID. It is 0 if the quality of service is 0.
    pub id: u16,
}

/// The fields of a CONNECT with a user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client ID.
    pub client_id: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Option<String>,
    /// CleanSession.
    pub clean: bool,
    /// The keep-alive interval in seconds.
    pub keep_alive: u16,
}

impl Packet {
    /// The type, one of [`kind`].
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Reads one packet. Returns `None` if the connection ends first.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Self> {
        let mut header = Vec::new();
        let length = loop {
            header.push(stream.read_u8().await.ok()?);
            if let Some((_, length)) = lengths(&header) {
                break length;
            }
        };
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await.ok()?;
        Some(Self { first: header[0], rest })
    }

    /// Parses a PUBLISH. Returns `None` if the packet is not a valid PUBLISH.
    #[must_use]
    pub fn publish(&self) -> Option<Publish> {
        if self.kind() != kind::PUBLISH {
            return None;
        }
        let qos = self.first >> 1 & 3;
        let mut fields = Fields(&self.rest);
        let topic = fields.text()?;
        let id = if qos > 0 { fields.number()? } else { 0 };
        Some(Publish { topic, body: fields.0.to_vec(), qos, duplicate: self.first & 8 != 0, id })
    }

    /// Parses a SUBSCRIBE. Returns its packet ID and its filters, each with a quality of service. Returns `None` if the
    /// packet is not a valid SUBSCRIBE.
    #[must_use]
    pub fn subscribe(&self) -> Option<(u16, Vec<(String, u8)>)> {
        if self.first != 0x82 {
            return None;
        }
        let mut fields = Fields(&self.rest);
        let id = fields.number()?;
        let mut filters = Vec::new();
        while !fields.0.is_empty() {
            filters.push((fields.text()?, fields.bytes(1)?[0]));
        }
        Some((id, filters))
    }

    /// Parses a CONNECT with a user name. Returns `None` for any other packet.
    #[must_use]
    pub fn connect(&self) -> Option<Connect> {
        let mut fields = Fields(&self.rest);
        if self.first != 0x10 || fields.text()? != "MQTT" || fields.bytes(1)? != [4] {
            return None;
        }
        let flags = fields.bytes(1)?[0];
        let keep_alive = fields.number()?;
        let (client_id, username) = (fields.text()?, fields.text()?);
        let password = if flags & 0x40 != 0 { Some(fields.text()?) } else { None };
        Some(Connect { client_id, username, password, clean: flags & 2 != 0, keep_alive })
    }
}

/// Returns two lengths: of the fixed header, and of the rest of the packet. Returns `None` if the header is incomplete.
///
/// # Panics
/// If the length has more than four bytes.
#[must_use]
pub fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut rest = 0;
    for (index, byte) in bytes.iter().skip(1).enumerate() {
        assert!(index < 4, "a length has at most four bytes");
        rest |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 2, rest));
        }
    }
    None
}

/// Reads the fields of a packet, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.bytes(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.number()?);
        String::from_utf8(self.bytes(length)?.to_vec()).ok()
    }
}

/// Writes bytes and flushes the stream.
///
/// # Errors
/// If the connection is closed.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Returns a packet with this first byte and this content.
#[must_use]
pub fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = rest.len();
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// A CONNECT.
#[must_use]
pub fn connect(login: &Connect) -> Vec<u8> {
    let Connect { client_id, username, password, clean, keep_alive } = login;
    let mut rest = b"\x00\x04MQTT\x04".to_vec();
    rest.push(0x80 | if password.is_some() { 0x40 } else { 0 } | if *clean { 2 } else { 0 });
    rest.extend(keep_alive.to_be_bytes());
    for field in [client_id, username].into_iter().chain(password) {
        rest.extend(text(field));
    }
    packet(0x10, &rest)
}

/// Returns a PUBLISH. A PUBLISH with quality of service 0 contains no packet ID.
#[must_use]
pub fn publish(topic: &str, body: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut rest = text(topic);
    if qos > 0 {
        rest.extend_from_slice(&id.to_be_bytes());
    }
    rest.extend_from_slice(body);
    packet(0x30 | qos << 1, &rest)
}

/// Returns a SUBSCRIBE to several filters. Each filter has its own quality of service.
#[must_use]
pub fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut rest = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        rest.extend(text(filter));
        rest.push(*qos);
    }
    packet(0x82, &rest)
}

/// A PUBACK.
#[must_use]
pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// A CONNACK.
#[must_use]
pub fn connack(session_present: bool, code: u8) -> Vec<u8> {
    packet(0x20, &[u8::from(session_present), code])
}

/// Returns a SUBACK with one return code for each filter.
#[must_use]
pub fn suback(id: u16, codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&id.to_be_bytes(), codes].concat())
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a text of at most 65,535 bytes");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed by hand from MQTT 3.1.1, sections 2.2.3, 3.1, 3.3 and 3.8.
    #[tokio::test]
    async fn packets_match_the_standard() {
        assert_eq!(publish("a/b", b"hi", 1, 10), b"\x32\x09\x00\x03a/b\x00\x0ahi");
        assert_eq!(publish("a/b", b"", 0, 10), b"\x30\x05\x00\x03a/b");
        assert_eq!(subscribe(10, &[("a/b", 1)]), b"\x82\x08\x00\x0a\x00\x03a/b\x01");
        assert_eq!(subscribe(10, &[("a", 1), ("b", 0)]), b"\x82\x0a\x00\x0a\x00\x01a\x01\x00\x01b\x00");
        let login =
            Connect { client_id: "c".into(), username: "u".into(), password: None, clean: true, keep_alive: 10 };
        assert_eq!(connect(&login), b"\x10\x10\x00\x04MQTT\x04\x82\x00\x0a\x00\x01c\x00\x01u");
        let login = Connect { password: Some("p".into()), clean: false, ..login };
        assert_eq!(connect(&login), b"\x10\x13\x00\x04MQTT\x04\xc0\x00\x0a\x00\x01c\x00\x01u\x00\x01p");
        let read = Packet::read(&mut &connect(&login)[..]).await.expect("a packet");
        assert_eq!(read.connect(), Some(login));
        assert_eq!(packet(0x30, &[0; 321])[..3], [0x30, 0xc1, 0x02]);
        let packet = Packet::read(&mut &publish("a", &[7; 200], 1, 3)[..]).await.expect("a packet");
        let publish = packet.publish().expect("a PUBLISH");
        assert_eq!((publish.topic.as_str(), publish.body.len(), publish.qos, publish.id), ("a", 200, 1, 3));
        assert_eq!(Packet::read(&mut &b"\x30\x05\x00"[..]).await, None, "truncated");
    }
}
