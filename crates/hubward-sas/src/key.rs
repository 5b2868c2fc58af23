//! A symmetric key: parse, generate, derive the key of a device in a group, sign.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// Length of an HMAC-SHA256 signature in bytes.
pub const SIGNATURE_LEN: usize = 32;

/// A symmetric key of a device, an enrollment group or a policy.
///
/// The key is wiped from memory when dropped. It has no `Display`, and `Debug` shows only `SharedKey(..)`.
/// Two keys are compared in constant time.
#[derive(Clone)]
pub struct SharedKey(Zeroizing<Vec<u8>>);

impl SharedKey {
    /// Minimum length in bytes of a key that the services accept.
    ///
    /// Source: `[doc]` iot-dps/concepts-symmetric-key-attestation.md.
    pub const MIN_LEN: usize = 16;

    /// Maximum length in bytes of a key that the services accept.
    ///
    /// Source: `[doc]` iot-dps/concepts-symmetric-key-attestation.md.
    pub const MAX_LEN: usize = 64;

    /// Length in bytes of a key from [`SharedKey::generate`]. Microsoft's sources disagree: those until 2019 use 32
    /// bytes, and those since 2021 use 64 bytes. This constant has the newer value.
    pub const GENERATED_LEN: usize = 64;

    /// Parses the text that the Azure portal shows: standard base64 with padding. Ignores whitespace and line ends
    /// around the text, because keys usually come from files.
    ///
    /// # Errors
    /// [`KeyError`] if the text is empty, is not base64, or does not decode to 16 to 64 bytes.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyError::NotBase64)?);
        Self::from_bytes(&bytes)
    }

    /// Makes a key from raw bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`] if there are fewer than 16 or more than 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&bytes.len()) {
            return Err(KeyError::Length { bytes: bytes.len() });
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Generates a key of [`SharedKey::GENERATED_LEN`] bytes with the system's random number generator.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] if the generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; Self::GENERATED_LEN]);
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Randomness)?;
        Ok(Self(bytes))
    }

    /// Derives the key of one device in an enrollment group, where `self` is the group's key.
    ///
    /// DPS ignores the letter case of registration ids, but the derived key depends on the letter case. Use exactly the
    /// id with which the device registers.
    ///
    /// Source: `[doc]` iot-dps/concepts-symmetric-key-attestation.md, "Group enrollments";
    /// vector `derive-doc`.
    #[must_use]
    pub fn derive(&self, registration_id: &str) -> Self {
        Self(Zeroizing::new(self.sign(registration_id.as_bytes()).to_vec()))
    }

    /// Computes the HMAC-SHA256 of `message` with this key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), message);
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(tag.as_ref());
        signature
    }

    /// Returns whether `signature` is the HMAC-SHA256 of `message` with this key. Compares in constant time.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), message, signature).is_ok()
    }

    /// Reveals the key as standard base64 with padding. The returned text is wiped from memory when dropped.
    #[must_use]
    pub fn expose_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.0))
    }

    /// Reveals the raw bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        // Compare signatures instead of keys: equal keys give equal signatures, and ring compares signatures in
        // constant time.
        self.verify(b"hubward", &other.sign(b"hubward"))
    }
}

impl Eq for SharedKey {}

/// Why a text or a byte sequence is not a valid key. Never contains the text or the bytes.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is empty.
    #[error("the symmetric key is empty")]
    Empty,
    /// The text is not standard base64 with padding.
    #[error("the symmetric key is not base64 (expected A-Z a-z 0-9 + / and = padding)")]
    NotBase64,
    /// The key is too short or too long.
    #[error("the symmetric key has {bytes} bytes; a key has 16 to 64 bytes")]
    Length {
        /// Number of bytes after decoding.
        bytes: usize,
    },
    /// The operating system's random number generator failed.
    #[error("the system's random number generator failed, so no key was generated")]
    Randomness,
}

impl fmt::Debug for KeyError {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY32: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn refuses_an_invalid_key_without_repeating_it() {
        for (text, expected) in [
            ("", KeyError::Empty),
            (" \n", KeyError::Empty),
            ("not base64 secret", KeyError::NotBase64),
            ("AAECAwQFBgcICQoLDA0ODw", KeyError::NotBase64),
            ("AAEC", KeyError::Length { bytes: 3 }),
        ] {
            let error = SharedKey::from_base64(text).expect_err(text);
            assert_eq!(error, expected);
            assert!(text.trim().is_empty() || !error.to_string().contains(text));
        }
        assert_eq!(SharedKey::from_bytes(&[0; 65]), Err(KeyError::Length { bytes: 65 }));
    }

    #[test]
    fn accepts_a_key_with_a_line_end() {
        let key = SharedKey::from_base64(&format!("{KEY32}\r\n")).expect("a key");
        assert_eq!(key.expose_base64().as_str(), KEY32);
        assert_eq!(key.expose_bytes().len(), 32);
    }

    #[test]
    fn debug_shows_no_key() {
        let key = SharedKey::from_base64(KEY32).expect("a key");
        assert_eq!(format!("{key:?}"), "SharedKey(..)");
    }

    #[test]
    fn generates_different_keys_of_full_length() {
        let (one, other) = (SharedKey::generate().expect("one"), SharedKey::generate().expect("other"));
        assert_eq!(one.expose_bytes().len(), SharedKey::GENERATED_LEN);
        assert_ne!(one, other);
        assert_eq!(one, one.clone());
    }
}
