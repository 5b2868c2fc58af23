//! Serialization of values that need a special form: keys, which only this module may write, and values with a body
//! of bytes.

/// Two keys as base64. Only the owner can read the file.
pub(crate) mod key_pair {
    use hubward_sas::SharedKey;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use crate::state::store::KeyPair;

    pub(crate) fn serialize<S: Serializer>(keys: &KeyPair, to: S) -> Result<S::Ok, S::Error> {
        let (primary, secondary) = (keys.primary.expose_base64(), keys.secondary.expose_base64());
        (primary.as_str(), secondary.as_str()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyPair, D::Error> {
        let (primary, secondary) = <(String, String)>::deserialize(from)?;
        // Drops the parser's message, because it may contain a part of the key.
        let read = |text: &str| SharedKey::from_base64(text).map_err(|_| D::Error::custom("no key"));
        Ok(KeyPair { primary: read(&primary)?, secondary: read(&secondary)? })
    }
}

/// The keys of a policy.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Keys(#[serde(with = "key_pair")] pub(super) crate::state::store::KeyPair);

/// Properties with their version.
pub(crate) mod properties {
    use hubward_proto::hub::Properties;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};
    use serde_json::{Map, Value};

    pub(crate) fn serialize<S: Serializer>(properties: &Properties, to: S) -> Result<S::Ok, S::Error> {
        (properties.version, &properties.values).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Properties, D::Error> {
        let (version, values) = <(u64, Map<String, Value>)>::deserialize(from)?;
        Ok(Properties::new(version, values))
    }
}

/// JSON followed by raw bytes: the length of the JSON, the JSON, the bytes.
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
