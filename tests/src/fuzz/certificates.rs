//! Certificates, private keys and certificate requests.

use std::time::{Duration, UNIX_EPOCH};

use hubward_x509::{CHAIN_MAX, Certificate, CertificateRequest, CertificateSigner};

use super::text;

/// Certificates as PEM, as DER, and in the forms of the service APIs.
pub(super) fn certificates(bytes: &[u8]) -> bool {
    let chain = Certificate::chain_from_pem(bytes);
    if let Ok(chain) = &chain {
        assert!((1..=CHAIN_MAX).contains(&chain.len()));
        let written: String = chain.iter().map(Certificate::to_pem).collect();
        assert_eq!(Certificate::chain_from_pem(written.as_bytes()).as_ref(), Ok(chain), "the same certificates");
        // Chains that belong together and chains that do not.
        let links = Certificate::check_links(chain);
        let issued = chain.windows(2).all(|it| it[0].is_issued_by(&it[1]));
        assert!(links.is_ok() || !issued, "a chain is refused only if a certificate is not issued by the next one");
    }
    let der = Certificate::from_der(bytes);
    let service = text(bytes).map(Certificate::from_service_text);
    if let Some(issued) = text(bytes).and_then(|it| Certificate::chain_from_service_texts(&[it]).ok()) {
        assert!((1..=CHAIN_MAX).contains(&issued.len()));
        assert_eq!(service.as_ref().and_then(|it| it.as_ref().ok()), issued.first(), "the same first certificate");
    }
    for certificate in chain.iter().flatten().chain(&der).chain(service.iter().flatten()) {
        check_certificate(certificate);
    }
    chain.is_ok() || der.is_ok() || service.is_some_and(|it| it.is_ok())
}

fn check_certificate(certificate: &Certificate) {
    assert_eq!(Certificate::from_der(certificate.der()).as_ref(), Ok(certificate));
    assert_eq!(Certificate::from_service_text(&certificate.to_pem()).as_ref(), Ok(certificate));
    assert_eq!((certificate.sha1_thumbprint().len(), certificate.sha256_thumbprint().len()), (40, 64));
    assert!((1..=3).contains(&certificate.version()));
    assert!(certificate.serial_number().bytes().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase()));
    for name in [certificate.subject_name(), certificate.issuer_name()] {
        assert!(!name.chars().any(char::is_control), "a name cannot control a terminal: {name:?}");
    }
    let (first, last) = (certificate.not_before(), certificate.not_after());
    assert_eq!(certificate.check_dates(first).is_ok(), first <= last, "valid from its first second");
    assert!(certificate.check_dates(last + Duration::from_secs(1)).is_err(), "invalid after its last second");
    let _ = (certificate.is_self_signed(), certificate.public_key(), certificate.check_dates(UNIX_EPOCH));
    if let Some(id) = certificate.common_name() {
        assert_eq!(certificate.check_registration_id(id).is_ok(), id.chars().count() <= 64);
    }
}

/// A passphrase, a line feed, and a private key.
pub(super) fn private_keys(bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().position(|it| *it == b'\n') else { return false };
    let (Some(passphrase), key) = (text(&bytes[..end]), &bytes[end + 1..]) else { return false };
    let signer = match CertificateSigner::from_pem(key, Some(passphrase)) {
        Ok(it) => it,
        Err(error) => {
            let message = error.to_string();
            // Only lines of base64 can be a key. Other lines can be equal to a part of our own message.
            let is_base64 = |it: &u8| it.is_ascii_alphanumeric() || b"+/=".contains(it);
            for line in key.split(|it| *it == b'\n').filter(|it| it.len() > 32 && it.iter().all(is_base64)) {
                assert!(!text(line).is_some_and(|it| message.contains(it)), "a part of the key in {message}");
            }
            return false;
        }
    };
    assert!(signer.sign(b"message").is_ok_and(|it| !it.is_empty()));
    assert_eq!(format!("{signer:?}"), format!("CertificateSigner {{ algorithm: {:?}, .. }}", signer.algorithm()));
    true
}

/// A certificate request as PEM or as DER.
pub(super) fn certificate_requests(bytes: &[u8]) -> bool {
    let Ok(request) = CertificateRequest::from_der(bytes).or_else(|_| CertificateRequest::from_pem(bytes)) else {
        return false;
    };
    assert_eq!(CertificateRequest::from_der(request.der()).as_ref(), Ok(&request));
    assert!(!request.subject_name().chars().any(char::is_control), "{:?}", request.subject_name());
    let _ = (request.is_signed_by_its_key(), request.public_key(), request.common_name());
    true
}
