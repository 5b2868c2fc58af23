//! How a device or module authenticates at its hub.

use serde::{Deserialize, Serialize};

use crate::dps::model::word;
use crate::service::SymmetricKeys;

word! {
    /// How a device or module authenticates.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `AuthenticationMechanism`.
    AuthenticationType {
        /// With a token that the device or module signs with one of its keys.
        Sas = "sas",
        /// With a self-signed certificate, which the hub identifies by its thumbprint.
        SelfSigned = "selfSigned",
        /// With a certificate of an authority that the hub trusts.
        CertificateAuthority = "certificateAuthority",
        /// The identity does not authenticate.
        None = "none",
    }
}

/// How a device or module authenticates, with its secrets. `Debug` output contains no secret.
///
/// Source: `[sdk]` azure-iot-hub (Python), `AuthenticationMechanism`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Authentication {
    /// The type of authentication; [`AuthenticationType::Sas`] if absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AuthenticationType>,
    /// The keys. The service generates them if they are absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// The thumbprints of the device's or module's certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
}

impl Authentication {
    /// Authentication with tokens. With `None`, the service generates the keys.
    #[must_use]
    pub const fn sas(keys: Option<SymmetricKeys>) -> Self {
        Self { kind: Some(AuthenticationType::Sas), symmetric_key: keys, x509_thumbprint: None }
    }

    /// Authentication with self-signed certificates.
    #[must_use]
    pub const fn self_signed(thumbprint: X509Thumbprint) -> Self {
        Self { kind: Some(AuthenticationType::SelfSigned), symmetric_key: None, x509_thumbprint: Some(thumbprint) }
    }

    /// Authentication with certificates of an authority that the hub trusts.
    #[must_use]
    pub const fn certificate_authority() -> Self {
        Self { kind: Some(AuthenticationType::CertificateAuthority), symmetric_key: None, x509_thumbprint: None }
    }
}

/// The thumbprints of two certificates, in hexadecimal digits.
///
/// Source: `[sdk]` azure-iot-hub (Python), `X509Thumbprint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Thumbprint {
    /// The thumbprint of the first certificate.
    pub primary_thumbprint: Option<String>,
    /// The thumbprint of the second certificate.
    pub secondary_thumbprint: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_mechanism() {
        let text = json!({"type": "sas", "symmetricKey": {"primaryKey": "YQ==", "secondaryKey": "Yg=="},
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}});
        let read: Authentication = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(read.kind, Some(AuthenticationType::Sas));
        assert_eq!(serde_json::to_value(&read).expect("JSON"), text);
        // Some clients send no type, and keys without values.
        let text = r#"{"symmetricKey":{"primaryKey":null,"secondaryKey":null}}"#;
        let read: Authentication = serde_json::from_str(text).expect("nulls");
        assert_eq!(read, Authentication { symmetric_key: Some(SymmetricKeys::default()), ..Authentication::default() });
    }

    #[test]
    fn keeps_an_unknown_type_and_prints_no_key() {
        let text = r#"{"type":"quantum","symmetricKey":{"primaryKey":"c2VjcmV0","secondaryKey":"c2VjcmV0"}}"#;
        let read: Authentication = serde_json::from_str(text).expect("an unknown word");
        assert_eq!(read.kind, Some(AuthenticationType::Unknown("quantum".into())));
        assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        assert!(!format!("{read:?}").contains("c2VjcmV0"), "{read:?}");
    }
}
