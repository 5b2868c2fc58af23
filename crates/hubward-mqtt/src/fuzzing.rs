//! What the packet decoder does with bytes, for the fuzz targets of this repository. Not part of the
//! API: the decoder is private, and only whole connections reach it otherwise.

use bytes::BytesMut;

use crate::packet::{self, Incoming};

/// What was read off the front.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// Bytes that were taken.
    pub taken: usize,
    /// A message as our own encoder writes it.
    pub again: Option<Vec<u8>>,
}

/// Takes one packet of a server; `Ok(None)` if there is none yet, `Err` if it is refused.
///
/// # Errors
/// The reason, in words.
pub fn read(bytes: &[u8], most: usize, first: bool) -> Result<Option<Read>, String> {
    let mut buffer = BytesMut::from(bytes);
    let packet = packet::decode(&mut buffer, most, first).map_err(|problem| problem.to_string())?;
    let Some(packet) = packet else {
        assert_eq!(buffer.len(), bytes.len(), "nothing is taken of an incomplete packet");
        return Ok(None);
    };
    let again = match packet {
        Incoming::Publish(message) => {
            let mut out = BytesMut::new();
            let written = match message.id {
                Some(id) => packet::publish(&mut out, id, message.topic, message.body, message.dup),
                None => packet::publish_unanswered(&mut out, message.topic, message.body),
            };
            written.ok().map(|()| out.to_vec())
        }
        _ => None,
    };
    Ok(Some(Read { taken: bytes.len() - buffer.len(), again }))
}
