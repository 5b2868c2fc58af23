//! Encodes packets.

use bytes::{BufMut as _, BytesMut};

use super::{Outgoing, Publish};

impl Outgoing {
    /// Appends the packet.
    pub(crate) fn encode(&self, output: &mut BytesMut) {
        match self {
            Self::Connack { session_present, code } => {
                output.extend_from_slice(&[0x20, 2, u8::from(*session_present), *code]);
            }
            Self::Publish(publish) => encode_publish(publish, output),
            Self::Puback(id) => {
                output.extend_from_slice(&[0x40, 2]);
                output.put_u16(*id);
            }
            Self::Suback(id, codes) => {
                output.put_u8(0x90);
                put_length(output, 2 + codes.len());
                output.put_u16(*id);
                output.extend_from_slice(codes);
            }
            Self::Unsuback(id) => {
                output.extend_from_slice(&[0xb0, 2]);
                output.put_u16(*id);
            }
            Self::Pingresp => output.extend_from_slice(&[0xd0, 0]),
        }
    }
}

fn encode_publish(publish: &Publish, output: &mut BytesMut) {
    let Publish { topic, body, qos, packet_id, retain, duplicate } = publish;
    let Ok(length) = u16::try_from(topic.len()) else {
        // Only a scripted fault can make a topic too long.
        return tracing::warn!(bytes = topic.len(), "a publish is not sent: its topic does not fit into a packet");
    };
    output.put_u8(0x30 | u8::from(*duplicate) << 3 | qos << 1 | u8::from(*retain));
    let id = if *qos == 0 { 0 } else { 2 };
    put_length(output, 2 + topic.len() + id + body.len());
    output.put_u16(length);
    output.extend_from_slice(topic.as_bytes());
    if *qos > 0 {
        output.put_u16(*packet_id);
    }
    output.extend_from_slice(body);
}

/// Source: MQTT 3.1.1, section 2.2.3.
fn put_length(output: &mut BytesMut, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        output.put_u8(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
