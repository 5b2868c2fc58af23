//! Decodes packets.
//!
//! Source: MQTT 3.1.1 (OASIS Standard, 29 October 2014), sections 2 and 3.

use bytes::BytesMut;

use super::fields::Fields;
use super::malformed::Malformed;
use super::{Connect, Incoming, Publish, Will};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// Removes one packet from the front of `input`. Returns `None` if `input` does not contain a whole packet.
///
/// `max` is the maximum size of a packet in bytes, including the header. Refuses a larger packet as soon as its length
/// is known, before the rest of the packet arrives.
pub(crate) fn decode(input: &mut BytesMut, max: usize) -> Result<Option<Incoming>, Malformed> {
    let Some(&first) = input.first() else { return Ok(None) };
    let (kind, flags) = (first >> 4, first & 0x0f);
    check_flags(kind, flags)?;
    let Some((length, header)) = remaining_length(&input[1..])? else { return Ok(None) };
    let whole = 1 + header + length;
    if whole > max {
        return Err(Malformed::TooLarge);
    }
    if input.len() < whole {
        return Ok(None);
    }
    let mut packet = input.split_to(whole);
    let fields = Fields(packet.split_off(1 + header).freeze());
    read(kind, flags, fields).map(Some)
}

/// Decodes the remaining length of a packet. Returns the remaining length, and the number of bytes that encode it.
/// Returns `None` if `bytes` contains only a part of the encoded length.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let overlong = at > 0 && *byte == 0;
            return if overlong { Err(Malformed::Length) } else { Ok(Some((length, at + 1))) };
        }
    }
    if bytes.len() >= 4 { Err(Malformed::Length) } else { Ok(None) }
}

/// Source: MQTT 3.1.1, table 2.2.
fn check_flags(kind: u8, flags: u8) -> Result<(), Malformed> {
    let valid = match kind {
        CONNECT | PUBACK | PUBREC | PUBCOMP | PINGREQ | DISCONNECT => flags == 0,
        SUBSCRIBE | UNSUBSCRIBE | PUBREL => flags == 0b0010,
        PUBLISH if flags & 0b0110 == 0b0110 => return Err(Malformed::Qos),
        PUBLISH if flags & 0b1110 == 0b1000 => return Err(Malformed::Duplicate),
        PUBLISH => true,
        _ => return Err(Malformed::Type),
    };
    if valid { Ok(()) } else { Err(Malformed::Flags) }
}

fn read(kind: u8, flags: u8, mut fields: Fields) -> Result<Incoming, Malformed> {
    let packet = match kind {
        CONNECT => Incoming::Connect(Box::new(connect(&mut fields)?)),
        PUBLISH => Incoming::Publish(publish(flags, &mut fields)?),
        PUBACK => Incoming::Puback(fields.packet_id()?),
        PUBREC | PUBREL | PUBCOMP => {
            fields.packet_id()?;
            Incoming::QoS2
        }
        SUBSCRIBE => {
            let packet_id = fields.packet_id()?;
            let filters = list(&mut fields, |fields| {
                let filter = fields.filter()?;
                match fields.byte()? {
                    qos @ 0..=2 => Ok((filter, qos)),
                    _ => Err(Malformed::Qos),
                }
            })?;
            Incoming::Subscribe(packet_id, filters)
        }
        UNSUBSCRIBE => Incoming::Unsubscribe(fields.packet_id()?, list(&mut fields, Fields::filter)?),
        PINGREQ => Incoming::Pingreq,
        _ => Incoming::Disconnect,
    };
    fields.end()?;
    Ok(packet)
}

/// Source: MQTT 3.1.1, section 3.1.
fn connect(fields: &mut Fields) -> Result<Connect, Malformed> {
    let name = fields.string()?;
    if name != "MQTT" && name != "MQIsdp" {
        return Err(Malformed::Protocol);
    }
    // A packet of another protocol level has another format, so the rest of this packet is not read.
    if name != "MQTT" || fields.byte()? != 4 {
        return Err(Malformed::Level);
    }
    let flags = fields.byte()?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    let (has_username, has_password, has_will) = (has(7), has(6), has(2));
    let (will_retain, will_qos) = (has(5), (flags >> 3) & 0b11);
    if has(0) || (has_password && !has_username) || (!has_will && (will_retain || will_qos != 0)) {
        return Err(Malformed::Flags);
    }
    if will_qos == 3 {
        return Err(Malformed::Qos);
    }
    let keep_alive = fields.number()?;
    let client_id = fields.string()?;
    let will = if has_will {
        Some(Will { topic: fields.topic()?, body: fields.binary()?, qos: will_qos, retain: will_retain })
    } else {
        None
    };
    Ok(Connect {
        client_id,
        clean_session: has(1),
        keep_alive,
        will,
        username: if has_username { Some(fields.string()?) } else { None },
        password: if has_password { Some(fields.binary()?) } else { None },
    })
}

/// Source: MQTT 3.1.1, section 3.3.
fn publish(flags: u8, fields: &mut Fields) -> Result<Publish, Malformed> {
    let qos = (flags >> 1) & 0b11;
    let topic = fields.topic()?;
    let packet_id = if qos == 0 { 0 } else { fields.packet_id()? };
    Ok(Publish {
        topic,
        body: fields.rest(),
        qos,
        packet_id,
        retain: flags & 0b0001 != 0,
        duplicate: flags & 0b1000 != 0,
    })
}

/// One or more items, up to the end of the packet.
fn list<T>(
    fields: &mut Fields,
    mut read: impl FnMut(&mut Fields) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut items = Vec::new();
    while !fields.is_empty() {
        items.push(read(fields)?);
    }
    if items.is_empty() { Err(Malformed::NoFilter) } else { Ok(items) }
}
