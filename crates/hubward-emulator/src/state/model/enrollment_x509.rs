//! The certificates of an enrollment: checks them, and adds what the service reads from them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_proto::service::{
    X509Attestation, X509CaReferences, X509CertificateInfo, X509CertificateWithInfo, X509Certificates,
};
use hubward_x509::Certificate;

use super::enroll_error::EnrollError;
use crate::state::clock::timestamp;

/// Checks the certificates of a new or changed enrollment, and fills `info`. `before` contains the certificates of the
/// existing enrollment.
///
/// An individual enrollment needs `clientCertificates`. A group needs either `signingCertificates` or `caReferences`.
///
/// Source: `[doc]` azure-rest-api-specs, `X509Attestation`. `[guess]`:
///
/// * An individual enrollment with another member is refused.
/// * The emulator keeps each certificate as the base64 of its DER, whatever form the request has.
/// * A certificate that has only `info` is the existing one. Operators' tools send an enrollment back as they read it.
pub(super) fn complete(
    id: &str,
    is_group: bool,
    x509: &mut X509Attestation,
    before: Option<&X509Attestation>,
) -> Result<(), EnrollError> {
    for certificates in [&mut x509.client_certificates, &mut x509.signing_certificates] {
        take_if_empty(certificates);
    }
    if x509.ca_references.as_mut().is_some_and(is_without_names) {
        x509.ca_references = None;
    }
    let wrong = |problem: &str| Err(EnrollError::Setting { id: id.to_owned(), problem: problem.to_owned() });
    let present = (is_group, &x509.client_certificates, &x509.signing_certificates, &x509.ca_references);
    let (member, certificates) = match present {
        (false, Some(_), None, None) => ("clientCertificates", &mut x509.client_certificates),
        (false, ..) => return wrong("attestation.x509 of an individual enrollment must have clientCertificates only"),
        (true, None, Some(_), None) => ("signingCertificates", &mut x509.signing_certificates),
        (true, None, None, Some(names)) if names.primary.is_none() => {
            return wrong("attestation.x509.caReferences.primary is missing");
        }
        (true, None, None, Some(_)) => return Ok(()),
        (true, ..) => {
            return wrong("attestation.x509 of a group must have either signingCertificates or caReferences");
        }
    };
    let Some(X509Certificates { primary, secondary }) = certificates else { return Ok(()) };
    let Some(primary) = primary else {
        return wrong(&format!("attestation.x509.{member}.primary is missing"));
    };
    fill(id, &format!("{member}.primary"), primary, before)?;
    match secondary {
        Some(secondary) => fill(id, &format!("{member}.secondary"), secondary, before),
        None => Ok(()),
    }
}

/// The contents of a certificate, as the service shows them.
///
/// Source: `[doc]` azure-rest-api-specs, `X509CertificateInfo`.
pub(crate) fn info(certificate: &Certificate) -> X509CertificateInfo {
    X509CertificateInfo {
        subject_name: certificate.subject_name().to_owned(),
        sha1_thumbprint: certificate.sha1_thumbprint(),
        sha256_thumbprint: certificate.sha256_thumbprint(),
        issuer_name: certificate.issuer_name().to_owned(),
        not_before_utc: timestamp(certificate.not_before()),
        not_after_utc: timestamp(certificate.not_after()),
        serial_number: certificate.serial_number().to_owned(),
        version: i32::from(certificate.version()),
    }
}

/// The certificates of an enrollment in their order: primary, secondary.
pub(crate) fn certificates(of: Option<&X509Certificates>) -> impl Iterator<Item = &X509CertificateWithInfo> {
    of.into_iter().flat_map(|it| [&it.primary, &it.secondary]).flatten()
}

/// Removes certificates without contents, which some clients send for absent members.
fn take_if_empty(certificates: &mut Option<X509Certificates>) {
    let Some(both) = certificates else { return };
    for one in [&mut both.primary, &mut both.secondary] {
        let text = one.as_mut().and_then(|it| it.certificate.take()).filter(|it| !it.trim().is_empty());
        match (one.as_mut(), text) {
            (Some(one), Some(text)) => one.certificate = Some(text),
            (Some(with_info), None) if with_info.info.as_ref().is_some_and(|it| !is_empty(it)) => {}
            _ => *one = None,
        }
    }
    if both.primary.is_none() && both.secondary.is_none() {
        *certificates = None;
    }
}

fn is_empty(info: &X509CertificateInfo) -> bool {
    *info == X509CertificateInfo::default()
}

/// Removes empty names. Returns whether no name is left.
fn is_without_names(names: &mut X509CaReferences) -> bool {
    for name in [&mut names.primary, &mut names.secondary] {
        *name = name.take().filter(|it| !it.is_empty());
    }
    names.primary.is_none() && names.secondary.is_none()
}

fn fill(
    id: &str,
    member: &str,
    certificate: &mut X509CertificateWithInfo,
    before: Option<&X509Attestation>,
) -> Result<(), EnrollError> {
    let wrong = |problem: String| EnrollError::Setting { id: id.to_owned(), problem };
    let Some(text) = &certificate.certificate else {
        let asked = certificate.info.as_ref().map(|it| it.sha256_thumbprint.as_str());
        let of = |it| certificates(it).find(|it| it.info.as_ref().map(|it| it.sha256_thumbprint.as_str()) == asked);
        let known = before
            .and_then(|it| of(it.client_certificates.as_ref()).or_else(|| of(it.signing_certificates.as_ref())))
            .ok_or_else(|| wrong(format!("attestation.x509.{member} has no certificate")))?;
        *certificate = known.clone();
        return Ok(());
    };
    let read = Certificate::from_service_text(text)
        .map_err(|problem| wrong(format!("attestation.x509.{member} cannot be read: {problem}")))?;
    certificate.certificate = Some(STANDARD.encode(read.der()));
    certificate.info = Some(info(&read));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_info_of_a_request_is_replaced_even_if_it_is_partial() {
        let certificate = crate::lab::self_signed("dev-1").certificate;
        let pem = serde_json::to_string(&certificate.to_pem()).expect("JSON");
        for members in ["", r#", "info": {}"#, r#", "info": {"subjectName": "CN=other", "version": null}"#] {
            let text = format!(
                r#"{{"clientCertificates":
                    {{"primary": {{"certificate": {pem}{members}}}, "secondary": {{"info": {{}}}}}}}}"#
            );
            let mut x509: X509Attestation = serde_json::from_str(&text).expect("it can be read");
            complete("dev-1", false, &mut x509, None).expect("it is complete");
            let certificates = x509.client_certificates.expect("certificates");
            assert_eq!(certificates.primary.expect("a certificate").info, Some(info(&certificate)), "{members}");
            assert_eq!(certificates.secondary, None, "{members}");
        }
    }
}
