//! Why a key in a token cannot be used.

use std::fmt;
use std::path::PathBuf;

use crate::KeyLocation;

/// Where an error happened. `Display` names the module, the token, the slot and the key, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Path of the module.
    pub module: PathBuf,
    /// Label or serial number of the token.
    pub token: Option<String>,
    /// Number of the slot.
    pub slot: Option<u64>,
    /// Label, or id in hexadecimal digits, of the key.
    pub key: Option<String>,
}

/// Why a key in a token cannot be used.
///
/// The message never contains the PIN.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The module cannot be loaded or initialized.
    #[error("the PKCS#11 module cannot be used ({place}): {problem}")]
    Module {
        /// The module.
        place: Place,
        /// Why.
        problem: String,
    },
    /// No token of the module matches the location.
    #[error("no token fits ({place}); the module has {found}")]
    NoToken {
        /// The wanted token.
        place: Place,
        /// The labels of all tokens.
        found: String,
    },
    /// Several tokens match the location.
    #[error("several tokens fit ({place}); the module has {found}")]
    SeveralTokens {
        /// The wanted token.
        place: Place,
        /// The labels of all tokens.
        found: String,
    },
    /// The token refused the PIN, or needs a PIN and there is none. Other errors of a login are [`Pkcs11Error::Call`].
    #[error("the login to the token failed ({place}): {problem}")]
    Login {
        /// The token.
        place: Place,
        /// Why.
        problem: String,
    },
    /// The token has no such key.
    #[error("the token has no such {kind} ({place})")]
    NoKey {
        /// The wanted key.
        place: Place,
        /// The kind of the key.
        kind: &'static str,
    },
    /// Several keys of the token match the location.
    #[error("several keys fit, each of which is a {kind} ({place})")]
    SeveralKeys {
        /// The wanted key.
        place: Place,
        /// The kind of the key.
        kind: &'static str,
    },
    /// The key is of a kind that is not supported.
    #[error("the key cannot be used ({place}): {problem}")]
    UnsupportedKey {
        /// The key.
        place: Place,
        /// The problem.
        problem: String,
    },
    /// A call of the module failed.
    #[error("the token failed ({place}): {problem}")]
    Call {
        /// The key.
        place: Place,
        /// The function of the module, and its error.
        problem: String,
    },
}

impl Pkcs11Error {
    /// Advice for the person who prepared the token.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Module { .. } => "check the path of the module, and the configuration that it needs",
            Self::NoToken { .. } => "check the label or the serial number of the token; `pkcs11-tool -L` lists tokens",
            Self::SeveralTokens { .. } => "name the token by its serial number; `pkcs11-tool -L` lists tokens",
            Self::Login { .. } => "check the PIN; a token locks itself after some wrong PINs",
            Self::NoKey { .. } => "check the label or the id of the key; `pkcs11-tool -O --login` lists keys",
            Self::SeveralKeys { .. } => "name the key by its id; `pkcs11-tool -O --login` lists keys",
            Self::UnsupportedKey { .. } => {
                "use an EC key (P-256, P-384) or an RSA key (2048 to 4096 bits) that may sign"
            }
            Self::Call { .. } => "check that the token is present, and that its module works",
        }
    }
}

impl fmt::Debug for Pkcs11Error {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Place {
    pub(crate) fn new(location: &KeyLocation) -> Self {
        let hex = |id: &Vec<u8>| id.iter().map(|it| format!("{it:02x}")).collect::<String>();
        Self {
            module: location.module.clone(),
            token: location.token_label.clone().or_else(|| location.token_serial.clone()),
            slot: None,
            key: location.key_label.clone().or_else(|| location.key_id.as_ref().map(hex)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module `{}`", self.module.display())?;
        if let Some(token) = &self.token {
            write!(f, ", token `{token}`")?;
        }
        if let Some(slot) = self.slot {
            write!(f, ", slot {slot}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key `{key}`")?;
        }
        Ok(())
    }
}

/// The text of an error of the module: short, and without data. The crate `cryptoki` describes some errors in whole
/// paragraphs.
pub(crate) fn text_of(error: &cryptoki::error::Error) -> String {
    match error {
        cryptoki::error::Error::Pkcs11(code, function) => format!("C_{function:?} returned {code:?}"),
        other => other.to_string(),
    }
}
