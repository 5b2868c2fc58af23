//! The CA certificates that DPS and the hubs know. One table serves DPS and all hubs.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_x509::{Certificate, CertificateError};
use serde::{Deserialize, Serialize};

use super::Table;
use crate::state::clock::timestamp;
use crate::state::wire_id;

/// Maximum number of CA certificates.
///
/// Source: `[doc]` iot-dps/about-iot-dps.md, "Quotas and limits".
pub(crate) const AUTHORITIES_MAX: usize = 25;

/// Maximum number of characters of a name.
///
/// Source: `[doc]` azure-rest-api-specs, `CertificateName` of the resource manager; `[guess]` for DPS.
const NAME_MAX: usize = 64;

/// CA certificates by name in lower case.
pub(crate) type Authorities = Table<Authority>;

/// A CA certificate that the operator has uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Authority {
    /// The name in its original letter case.
    pub(crate) name: String,
    /// The certificate: base64 of its DER.
    pub(crate) certificate: String,
    /// Whether the operator has proved that they hold the key of the certificate. Without this proof, no device can use
    /// the certificate.
    pub(crate) is_verified: bool,
    /// The code for the proof, if the operator has asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verification_code: Option<String>,
    pub(crate) created: String,
    pub(crate) updated: String,
    pub(crate) etag: String,
}

impl Authority {
    /// Reads the certificate. Returns `None` if the state file contains an unreadable one.
    pub(crate) fn read(&self) -> Option<Certificate> {
        Certificate::from_service_text(&self.certificate).ok()
    }

    pub(crate) fn view(&self) -> AuthorityView {
        let Self { name, certificate: _, is_verified, verification_code, created, updated, etag } = self.clone();
        let certificate_pem = self.read().map(|it| it.to_pem()).unwrap_or_default();
        AuthorityView { name, certificate_pem, is_verified, verification_code, created, updated, etag }
    }
}

/// A CA certificate of the emulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AuthorityView {
    /// The name.
    pub name: String,
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// Whether devices can use the certificate.
    pub is_verified: bool,
    /// The code for the proof of possession, if one was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_code: Option<String>,
    /// When the certificate was created.
    pub created: String,
    /// When the certificate last changed.
    pub updated: String,
    /// The version of the entry.
    pub etag: String,
}

/// Why a CA certificate cannot be added.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The service would not accept the name.
    #[error("`{name}` is not a name for a CA certificate: 1 to {NAME_MAX} letters, digits, `-`, `.` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// The certificate cannot be read.
    #[error("the CA certificate `{name}` cannot be read: {problem}")]
    Certificate {
        /// The name.
        name: String,
        /// The cause.
        problem: CertificateError,
    },
    /// The emulator has the maximum number of CA certificates.
    #[error("there are already {limit} CA certificates, the maximum number")]
    TooMany {
        /// The maximum number.
        limit: usize,
    },
}

hubward_proto::debug_as_error_report!(AuthorityError);

/// Checks a name, and reads a certificate: PEM, or base64 of DER or PEM.
pub(crate) fn read(name: &str, text: &str) -> Result<Certificate, AuthorityError> {
    if !is_name(name) {
        return Err(AuthorityError::Name { name: name.to_owned() });
    }
    Certificate::from_service_text(text)
        .map_err(|problem| AuthorityError::Certificate { name: name.to_owned(), problem })
}

/// Whether the service accepts the name of a CA certificate.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it))
}

/// The entry of a new or replaced certificate.
pub(super) fn new_authority(
    name: &str,
    certificate: &Certificate,
    is_verified: bool,
    before: Option<&Authority>,
    now: SystemTime,
) -> Authority {
    Authority {
        name: name.to_owned(),
        certificate: STANDARD.encode(certificate.der()),
        is_verified,
        verification_code: None,
        created: before.map_or_else(|| timestamp(now), |it| it.created.clone()),
        updated: timestamp(now),
        etag: wire_id::authority_etag(),
    }
}
