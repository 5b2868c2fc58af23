//! Entry points for the fuzz targets of this repository. They are not part of the API.
//!
//! The parsers are private. Without these entry points, a fuzz target would need a network connection to reach the
//! parsers.

use bytes::BytesMut;
use serde_json::Value;

use crate::doors::mqtt::codec::{Incoming, Outgoing, decode};
pub use crate::services::api::fuzzing::{enrollment, headers};

/// The result of decoding one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// Number of bytes that the decoder consumed.
    pub taken: usize,
    /// The message or acknowledgement, encoded again by our encoder.
    pub again: Option<Vec<u8>>,
}

/// Decodes one packet of a client. `most` is the maximum size of a packet in bytes. Returns `Ok(None)` if the packet is
/// incomplete.
///
/// # Errors
/// The reason, as text, why the decoder refuses the packet.
pub fn read(bytes: &[u8], most: usize) -> Result<Option<Read>, String> {
    let mut buffer = BytesMut::from(bytes);
    let packet = decode(&mut buffer, most).map_err(|problem| problem.to_string())?;
    let Some(packet) = packet else {
        assert_eq!(buffer.len(), bytes.len(), "an incomplete packet consumes no bytes");
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

/// Parses a query for twins and runs the query on one document. Returns `None` if the query is not valid, and
/// `Some(None)` if the query does not select the document.
///
/// Asserts that the result stays the same if the query runs again, and if white space surrounds the query.
#[must_use]
pub fn query(text: &str, document: &Value) -> Option<Option<Value>> {
    let row = crate::services::api::hub::query_of(text, document);
    assert_eq!(crate::services::api::hub::query_of(text, document), row, "asked again, it says the same");
    if text.chars().count() < 8190 {
        assert_eq!(crate::services::api::hub::query_of(&format!(" {text}\n"), document), row);
    }
    row
}
