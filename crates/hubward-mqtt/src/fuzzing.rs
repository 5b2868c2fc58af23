//! Gives the fuzz targets of this repository access to the packet decoder. This module is not part of the API. The
//! decoder is private; other code uses it only through a connection.

use bytes::BytesMut;

use crate::packet::{self, Incoming};

/// The result of decoding one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// Number of bytes that the decoder consumed.
    pub taken: usize,
    /// The packet as this crate encodes it again. `None` if the packet is not a PUBLISH.
    pub again: Option<Vec<u8>>,
}

/// Decodes one packet of a server. Returns `Ok(None)` if the packet is incomplete.
///
/// # Errors
/// The reason as text, if the decoder refuses the packet.
pub fn read(bytes: &[u8], max: usize, first: bool) -> Result<Option<Read>, String> {
    let mut buffer = BytesMut::from(bytes);
    let packet = packet::decode(&mut buffer, max, first).map_err(|problem| problem.to_string())?;
    let Some(packet) = packet else {
        assert_eq!(buffer.len(), bytes.len(), "the decoder consumes nothing of an incomplete packet");
        return Ok(None);
    };
    let again = match packet {
        Incoming::Publish(message) => {
            let mut out = BytesMut::new();
            let written = match message.id {
                Some(id) => packet::publish(&mut out, id, message.topic, message.body, message.dup),
                None => packet::publish_qos0(&mut out, message.topic, message.body),
            };
            written.ok().map(|()| out.to_vec())
        }
        _ => None,
    };
    Ok(Some(Read { taken: bytes.len() - buffer.len(), again }))
}
