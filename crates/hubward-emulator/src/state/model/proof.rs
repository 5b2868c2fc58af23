//! How the devices of an enrollment prove their identity.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{KeyPair, serial};

/// The secrets of an enrollment, which the emulator stores apart from its JSON to authenticate devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The devices sign tokens with these keys, or with keys that are derived from them.
    Keys(KeyPair),
    /// The devices have certificates. Certificates are public, so the JSON of the enrollment contains them.
    #[default]
    Certificates,
}

impl Proof {
    /// The keys; `None` if the devices have certificates.
    pub(crate) const fn keys(&self) -> Option<&KeyPair> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::Certificates => None,
        }
    }

    pub(crate) const fn is_certificates(&self) -> bool {
        matches!(self, Self::Certificates)
    }
}

impl Serialize for Proof {
    /// Writes the keys for the state file. Writes `null` if there are none.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keys(keys) => serial::key_pair::serialize(keys, to),
            Self::Certificates => to.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serial::key_pair::deserialize(from).map(Self::Keys)
    }
}
