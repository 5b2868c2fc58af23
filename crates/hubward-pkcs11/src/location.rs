//! Where a key is: the module, the token and the key, and the PIN of the token.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use cryptoki::types::AuthPin;

/// Where a key is.
///
/// If the module has only one token, the token need not be named. If the token has only one key of the wanted kind, the
/// key need not be named.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct KeyLocation {
    /// Path of the PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// Label of the token.
    pub token_label: Option<String>,
    /// Serial number of the token.
    pub token_serial: Option<String>,
    /// Label of the key (`CKA_LABEL`).
    pub key_label: Option<String>,
    /// Id of the key (`CKA_ID`).
    pub key_id: Option<Vec<u8>>,
    /// The user's PIN. A token with its own keypad needs none.
    pub pin: Option<Pin>,
}

impl KeyLocation {
    /// Creates a location without names: the only key of the only token of this module.
    pub fn new(module: impl Into<PathBuf>) -> Self {
        Self { module: module.into(), token_label: None, token_serial: None, key_label: None, key_id: None, pin: None }
    }

    /// Sets [`KeyLocation::token_label`].
    pub fn token_label(mut self, label: impl Into<String>) -> Self {
        self.token_label = Some(label.into());
        self
    }

    /// Sets [`KeyLocation::token_serial`].
    pub fn token_serial(mut self, serial: impl Into<String>) -> Self {
        self.token_serial = Some(serial.into());
        self
    }

    /// Sets [`KeyLocation::key_label`].
    pub fn key_label(mut self, label: impl Into<String>) -> Self {
        self.key_label = Some(label.into());
        self
    }

    /// Sets [`KeyLocation::key_id`].
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Sets [`KeyLocation::pin`].
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }
}

/// The PIN of a token. The memory is wiped when the last clone is dropped. `Debug` does not print it.
#[derive(Clone)]
pub struct Pin(Arc<AuthPin>);

impl Pin {
    /// Takes the PIN.
    #[must_use]
    pub fn new(pin: impl Into<Box<str>>) -> Self {
        Self(Arc::new(AuthPin::new(pin.into())))
    }

    pub(crate) fn auth(&self) -> &AuthPin {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}
