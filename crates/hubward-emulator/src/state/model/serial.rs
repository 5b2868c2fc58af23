//! Serialization of values that need a special form.

/// Serializes two keys as base64 for the state file. Only the owner of the file can read it.
pub(crate) mod key_pair {
    use hubward_sas::SharedKey;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use crate::state::model::KeyPair;

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

/// Properties and their version.
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
