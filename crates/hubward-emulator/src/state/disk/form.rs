//! Serializes rows. A row is JSON, or JSON followed by a body of bytes.

use crate::state::model::KeyPair;

/// The keys of a policy.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Keys(#[serde(with = "crate::state::model::key_pair")] pub(super) KeyPair);

/// Serializes JSON and raw bytes. The result contains the length of the JSON, the JSON, and the bytes, in this order.
pub(super) fn framed(head: &impl serde::Serialize, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.reserve(256 + body.len());
    serde_json::to_writer(&mut bytes, head).expect("the state always serializes");
    let length = u32::try_from(bytes.len() - 4).expect("a head is smaller than 4 GiB");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads what [`framed`] wrote; `None` if the bytes are not valid.
pub(super) fn unframed<'a, H: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<(H, &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (head, body) = rest.split_at_checked(length)?;
    Some((serde_json::from_slice(head).ok()?, body))
}

/// A value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the state always serializes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = framed(&("a", 1), b"\0body");
        assert_eq!(unframed::<(&str, u32)>(&bytes), Some((("a", 1), b"\0body".as_slice())));
        for length in 0..bytes.len() - b"\0body".len() {
            assert_eq!(unframed::<(&str, u32)>(&bytes[..length]), None, "{length}");
        }
        assert_eq!(unframed::<(&str, u32)>(&[0xff; 8]), None);
    }
}
