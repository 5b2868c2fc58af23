//! Two symmetric keys.

use hubward_sas::{KeyError, SasToken, SharedKey};

/// Two keys. A device may use either key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPair {
    pub(crate) primary: SharedKey,
    pub(crate) secondary: SharedKey,
}

impl KeyPair {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        Ok(Self { primary: SharedKey::generate()?, secondary: SharedKey::generate()? })
    }

    /// Derives the keys of a device. `self` contains the keys of the enrollment group.
    pub(crate) fn derive(&self, registration_id: &str) -> Self {
        Self { primary: self.primary.derive(registration_id), secondary: self.secondary.derive(registration_id) }
    }

    pub(crate) fn signed(&self, token: &SasToken) -> bool {
        // Check both keys every time, so the duration does not reveal which key was used.
        token.is_signed_by(&self.primary) | token.is_signed_by(&self.secondary)
    }
}
