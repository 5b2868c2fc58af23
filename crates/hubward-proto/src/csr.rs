//! A certificate request (PKCS#10) as DPS and hubs read it.

use std::fmt;
use std::str::FromStr;

use crate::{ProtoError, limits};

/// A certificate request (PKCS#10): the base64 text of its DER form, without PEM lines. The subject of the request must
/// be exactly `CN={registration id}`, or `CN={device id}` at a hub.
///
/// This type checks the alphabet and the length of the text, but not the request in it. A certificate request is not
/// secret.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices, 2025-07-01-preview; `[sdk]` Azure/azure-iot-sdk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Csr(String);

impl Csr {
    /// Creates the request from its base64 text: at most [`limits::CSR_MAX`] characters of the standard alphabet, with
    /// padding.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`] if the text is too long. [`ProtoError::Unexpected`] if the text is empty or not base64.
    pub fn new(text: impl Into<String>) -> Result<Self, ProtoError> {
        let text = text.into();
        if text.len() > limits::CSR_MAX {
            let (what, size, limit) = ("the certificate request", text.len(), limits::CSR_MAX);
            return Err(ProtoError::TooLarge { what, size, limit });
        }
        if !is_base64(&text) {
            return Err(ProtoError::Unexpected("the certificate request must be the base64 text of DER".to_owned()));
        }
        Ok(Self(text))
    }

    /// Returns the base64 text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Csr {
    type Err = ProtoError;

    fn from_str(text: &str) -> Result<Self, ProtoError> {
        Self::new(text)
    }
}

/// Returns whether `text` is base64 of at least one byte, with padding. Source: RFC 4648, section 4.
fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !digits.is_empty()
        && text.len().is_multiple_of(4)
        && digits.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_base64_of_at_most_8192_characters() {
        let (longest, long) = ("A".repeat(8192), "A".repeat(8196));
        for (text, valid) in [
            ("AAAA", true),
            ("AA+/", true),
            ("AAA=", true),
            ("AA==", true),
            (longest.as_str(), true),
            (long.as_str(), false),
            ("", false),
            ("====", false),
            ("A===", false),
            ("AAA", false),
            ("AA-_", false),
            ("AAAA\n", false),
            ("AA =", false),
            ("-----BEGIN CERTIFICATE REQUEST-----", false),
        ] {
            assert_eq!(Csr::new(text).is_ok(), valid, "{text:.40}");
        }
    }
}
