//! What the parsers do with bytes, for the fuzz targets of this repository. Not part of the API: they
//! are private, and only whole connections reach them otherwise.

use bytes::BytesMut;
use serde_json::Value;

use crate::mqtt::codec::{Incoming, Outgoing, decode};
pub use crate::service::fuzzing::{enrollment, headers};

/// What was read off the front.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// Bytes that were taken.
    pub taken: usize,
    /// A message or an acknowledgement as our own encoder writes it.
    pub again: Option<Vec<u8>>,
}

/// Takes one packet of a client; `Ok(None)` if there is none yet, `Err` if it is refused.
///
/// # Errors
/// The reason, in words.
pub fn read(bytes: &[u8], most: usize) -> Result<Option<Read>, String> {
    let mut buffer = BytesMut::from(bytes);
    let packet = decode(&mut buffer, most).map_err(|problem| problem.to_string())?;
    let Some(packet) = packet else {
        assert_eq!(buffer.len(), bytes.len(), "nothing is taken of an incomplete packet");
        return Ok(None);
    };
    let outgoing = match packet {
        Incoming::Publish(publish) => Some(Outgoing::Publish(publish)),
        Incoming::Puback(id) => Some(Outgoing::Puback(id)),
        _ => None,
    };
    let again = outgoing.map(|packet| {
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        out.to_vec()
    });
    Ok(Some(Read { taken: bytes.len() - buffer.len(), again }))
}

/// Reads a query for twins and asks it of one document; `None` if it is no query. Space before and
/// after it changes nothing.
#[must_use]
pub fn query(text: &str, document: &Value) -> Option<Option<Value>> {
    let row = crate::service::query_of(text, document);
    assert_eq!(crate::service::query_of(text, document), row, "asked again, it says the same");
    if text.chars().count() < 8190 {
        assert_eq!(crate::service::query_of(&format!(" {text}\n"), document), row);
    }
    row
}
