//! The certificates of authorities that a DPS or a hub knows, in the JSON format of Azure Resource Manager (ARM).
//!
//! In Azure, these requests do not go to the DPS or the hub, but to ARM. The emulator has them at its admin port.

use serde::{Deserialize, Serialize};

/// The certificate of an authority. An upload contains only `properties` with `certificate` and `is_verified`.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager, `CertificateResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CaCertificate {
    /// The name of the certificate; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version of the certificate; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The certificate, and what the service knows about it.
    pub properties: CaCertificateProperties,
}

impl CaCertificate {
    /// An upload. `certificate` is the base64 text of the certificate (DER or PEM). If `is_verified` is set, the
    /// service trusts the certificate without a proof that the caller has its key.
    #[must_use]
    pub fn new(certificate: impl Into<String>, is_verified: bool) -> Self {
        let certificate = Some(certificate.into());
        let properties = CaCertificateProperties { certificate, is_verified: Some(is_verified), ..Default::default() };
        Self { properties, ..Self::default() }
    }
}

/// The contents of a certificate of an authority, and its state at the service.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager, `CertificateProperties` and
/// `VerificationCodeResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CaCertificateProperties {
    /// The subject, such as `CN=Contoso Root`; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The end of the validity, such as `Sat, 31 Dec 2039 23:59:59 GMT`; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<String>,
    /// SHA-1 of the certificate, 40 upper-case hexadecimal digits; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// Whether the service trusts the certificate. In an upload, `true` skips the proof of possession.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_verified: Option<bool>,
    /// The time of the first upload, in the form of `expiry`; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The time of the last change, in the form of `expiry`; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// The certificate in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The common name (CN) that the certificate of the proof must have. Only the answer to the request for a code
    /// contains it; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_code: Option<String>,
}

/// All certificates of authorities.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager, `CertificateListDescription`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CaCertificateList {
    /// The certificates.
    pub value: Vec<CaCertificate>,
}

impl CaCertificateList {
    /// A list of these certificates.
    #[must_use]
    pub const fn new(value: Vec<CaCertificate>) -> Self {
        Self { value }
    }
}

/// The proof that a caller has the key of an authority: a certificate that this key has signed, and whose common name
/// (CN) is the verification code.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager, `VerificationCodeRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CaCertificateProof {
    /// The certificate in base64 (DER or PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl CaCertificateProof {
    /// `certificate` is the base64 text of the certificate (DER or PEM).
    #[must_use]
    pub fn new(certificate: impl Into<String>) -> Self {
        Self { certificate: Some(certificate.into()) }
    }
}

/// A refusal of Azure Resource Manager.
///
/// Source: `[doc]` azure-rest-api-specs, common types of the resource manager, `ErrorResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArmRefusal {
    /// The error.
    pub error: ArmError,
}

/// The error in an [`ArmRefusal`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ArmError {
    /// The name of the error, such as `NotFound`.
    pub code: String,
    /// A text for people.
    pub message: String,
}

impl ArmRefusal {
    /// A refusal with this name and text.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error: ArmError { code: code.into(), message: message.into() } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_and_written_unchanged() {
        let answer = json!({"name": "cert", "etag": "AAAAAAExpTQ=", "properties": {
            "subject": "CN=testdevice1", "expiry": "Sat, 31 Dec 2039 23:59:59 GMT",
            "thumbprint": "97388663832D0393C9246CAB4FBA2C8677185A25", "isVerified": false,
            "created": "Thu, 12 Oct 2017 19:23:50 GMT", "updated": "Thu, 12 Oct 2017 19:26:56 GMT",
            "certificate": "MA=="}});
        let read: CaCertificate = serde_json::from_value(answer.clone()).expect("an answer");
        assert_eq!(json!(read), answer);
        let read: CaCertificateList = serde_json::from_value(json!({"value": [answer]})).expect("a list");
        assert_eq!(read.value[0].properties.is_verified, Some(false));
    }

    #[test]
    fn an_upload_contains_only_the_certificate_and_whether_it_is_verified() {
        let upload = json!(CaCertificate::new("MA==", true));
        assert_eq!(upload, json!({"properties": {"certificate": "MA==", "isVerified": true}}));
        assert_eq!(json!(CaCertificateProof::new("MA==")), json!({"certificate": "MA=="}));
    }
}
