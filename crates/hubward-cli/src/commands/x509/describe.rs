//! A certificate as JSON and as text.

use std::time::SystemTime;

use hubward_x509::Certificate;
use serde_json::{Value, json};
use x509_cert::der::DateTime;

/// The members of a certificate. The names, except `isAuthority`, are those of `X509CertificateInfo` in the
/// service's API.
///
/// Source: `[doc]` azure-rest-api-specs, `X509CertificateInfo`.
pub(super) fn members(certificate: &Certificate) -> Value {
    json!({
        "subjectName": certificate.subject_name(),
        "issuerName": certificate.issuer_name(),
        "notBeforeUtc": time(certificate.not_before()),
        "notAfterUtc": time(certificate.not_after()),
        "serialNumber": certificate.serial_number(),
        "version": certificate.version(),
        "sha1Thumbprint": certificate.sha1_thumbprint(),
        "sha256Thumbprint": certificate.sha256_thumbprint(),
        "isAuthority": certificate.is_authority(),
    })
}

/// The lines of a certificate, without the subject.
pub(super) fn lines(certificate: &Certificate) -> Vec<(&'static str, String)> {
    let issuer = if certificate.is_self_signed() {
        "itself (self-signed)".to_owned()
    } else {
        certificate.issuer_name().to_owned()
    };
    let kind = if certificate.is_authority() { "authority (CA)" } else { "not an authority (CA)" };
    vec![
        ("issuer", issuer),
        ("valid", format!("{} to {}", time(certificate.not_before()), time(certificate.not_after()))),
        ("kind", format!("{kind}, X.509 version {}", certificate.version())),
        ("serial number", certificate.serial_number().to_owned()),
        ("SHA-1", certificate.sha1_thumbprint()),
        ("SHA-256", certificate.sha256_thumbprint()),
    ]
}

/// Names and values in two columns.
pub(super) fn aligned<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<_> = lines.into_iter().collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("  {name:width$}  {value}")).collect();
    lines.join("\n")
}

/// A time in UTC, such as `2026-01-31T08:00:00Z`.
fn time(time: SystemTime) -> String {
    // The time of a certificate is between the years 1950 and 9999. `DateTime` begins in 1970.
    DateTime::from_system_time(time).map_or_else(|_| "before 1970".to_owned(), |it| it.to_string())
}
