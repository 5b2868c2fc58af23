//! MQTT 3.1.1 packets, written and read by hand: what a test puts on the wire is what it says, and
//! neither the client's codec nor the emulator's is asked.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A PINGREQ.
pub const PINGREQ: &[u8] = b"\xc0\x00";

/// A PINGRESP.
pub const PINGRESP: &[u8] = b"\xd0\x00";

/// A DISCONNECT.
pub const DISCONNECT: &[u8] = b"\xe0\x00";

/// A packet as it came: the first byte, and everything behind the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub rest: Vec<u8>,
}

/// What a PUBLISH says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic, as it stands there.
    pub topic: String,
    /// The payload.
    pub body: Vec<u8>,
    /// Quality of service.
    pub qos: u8,
    /// Whether it says that it was sent before.
    pub duplicate: bool,
    /// The packet id; 0 with quality of service 0.
    pub id: u16,
}

/// What a CONNECT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client id.
    pub client_id: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// CleanSession.
    pub clean: bool,
}

impl Packet {
    /// The type: 1 is CONNECT, 3 PUBLISH, 4 PUBACK, 8 SUBSCRIBE, 12 PINGREQ, 14 DISCONNECT.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Reads one packet; `None` where the connection ends.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Self> {
        let first = stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await.ok()?;
        Some(Self { first, rest })
    }

    /// The PUBLISH that this is.
    #[must_use]
    pub fn publish(&self) -> Option<Publish> {
        if self.kind() != 3 {
            return None;
        }
        let qos = self.first >> 1 & 3;
        let mut fields = Fields(&self.rest);
        let topic = fields.text()?;
        let id = if qos > 0 { fields.number()? } else { 0 };
        Some(Publish { topic, body: fields.0.to_vec(), qos, duplicate: self.first & 8 != 0, id })
    }

    /// Packet id and filters of the SUBSCRIBE that this is.
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

    /// The CONNECT that this is.
    #[must_use]
    pub fn connect(&self) -> Option<Connect> {
        let mut fields = Fields(&self.rest);
        if self.first != 0x10 || fields.text()? != "MQTT" || fields.bytes(1)? != [4] {
            return None;
        }
        let flags = fields.bytes(1)?[0];
        fields.number()?;
        let (client_id, username, password) = (fields.text()?, fields.text()?, fields.text()?);
        Some(Connect { client_id, username, password, clean: flags & 2 != 0 })
    }
}

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

/// Writes bytes and sees to it that they leave.
///
/// # Errors
/// If the connection has ended.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// A packet of this type and content.
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

/// A CONNECT with user name, password and keep-alive 60 s.
#[must_use]
pub fn connect(login: &Connect) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04".to_vec();
    rest.push(if login.clean { 0xc2 } else { 0xc0 });
    rest.extend_from_slice(&60_u16.to_be_bytes());
    for field in [&login.client_id, &login.username, &login.password] {
        rest.extend(text(field));
    }
    packet(0x10, &rest)
}

/// A PUBLISH; the id counts only with quality of service 1.
#[must_use]
pub fn publish(topic: &str, body: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut rest = text(topic);
    if qos > 0 {
        rest.extend_from_slice(&id.to_be_bytes());
    }
    rest.extend_from_slice(body);
    packet(0x30 | qos << 1, &rest)
}

/// A SUBSCRIBE to one filter.
#[must_use]
pub fn subscribe(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut rest = id.to_be_bytes().to_vec();
    rest.extend(text(filter));
    rest.push(qos);
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

/// A SUBACK with one code for each filter.
#[must_use]
pub fn suback(id: u16, codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&id.to_be_bytes(), codes].concat())
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a text of MQTT has at most 65,535 bytes");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed from MQTT 3.1.1, sections 2.2.3, 3.3 and 3.8.
    #[tokio::test]
    async fn packets_are_as_the_standard_shows_them() {
        assert_eq!(publish("a/b", b"hi", 1, 10), b"\x32\x09\x00\x03a/b\x00\x0ahi");
        assert_eq!(publish("a/b", b"", 0, 10), b"\x30\x05\x00\x03a/b");
        assert_eq!(subscribe(10, "a/b", 1), b"\x82\x08\x00\x0a\x00\x03a/b\x01");
        assert_eq!(packet(0x30, &[0; 321])[..3], [0x30, 0xc1, 0x02]);
        let packet = Packet::read(&mut &publish("a", &[7; 200], 1, 3)[..]).await.expect("a packet");
        let publish = packet.publish().expect("a PUBLISH");
        assert_eq!((publish.topic.as_str(), publish.body.len(), publish.qos, publish.id), ("a", 200, 1, 3));
        assert_eq!(Packet::read(&mut &b"\x30\x05\x00"[..]).await, None, "cut off");
    }
}
