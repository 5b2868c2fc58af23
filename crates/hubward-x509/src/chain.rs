//! A chain of certificates in PEM, and whether its certificates belong together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::signature::Signature;
use crate::{Certificate, CertificateError, FILE_MAX, input};

/// Maximum number of certificates in a chain. Chains of devices have two to four.
pub const CHAIN_MAX: usize = 10;

/// The labels of a certificate. Source: `[doc]` RFC 7468, section 5.1; `[sdk]` OpenSSL, `pem.h`.
const LABELS: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];

/// How a PEM text begins.
const BEGIN: &str = "-----BEGIN";

/// The label of a certificate with data that only OpenSSL can read.
const TRUSTED: &str = "TRUSTED CERTIFICATE";

/// Reads the certificates of a PEM text, in the order of the text. Ignores other blocks, for example a private key.
pub(crate) fn from_pem(text: &[u8], from: &str) -> Result<Vec<Certificate>, CertificateError> {
    let blocks = input::blocks(text, from)?;
    let certificates: Vec<_> = blocks.iter().filter(|it| LABELS.contains(&it.label)).collect();
    if certificates.is_empty() {
        if blocks.iter().any(|it| it.label == TRUSTED) {
            let problem =
                "`TRUSTED CERTIFICATE` is a format of OpenSSL only; `openssl x509 -in OLD -out NEW` converts it";
            return Err(CertificateError::Malformed { from: from.to_owned(), problem: problem.to_owned() });
        }
        return Err(CertificateError::NoCertificate { from: from.to_owned() });
    }
    if certificates.len() > CHAIN_MAX {
        return Err(CertificateError::TooManyCertificates { from: from.to_owned(), limit: CHAIN_MAX });
    }
    certificates.into_iter().map(|it| Certificate::read(&it.decode(from)?, from)).collect()
}

/// Reads a chain that a service has issued: each text is PEM, or the base64 of DER or PEM.
pub(crate) fn from_service_texts<'a>(
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Certificate>, CertificateError> {
    let from = "the issued chain";
    let (mut chain, mut size) = (Vec::new(), 0_usize);
    for text in texts {
        size = size.saturating_add(text.len());
        if size > FILE_MAX {
            return Err(CertificateError::TooLarge { from: from.to_owned(), limit: FILE_MAX });
        }
        if text.contains(BEGIN) {
            chain.extend(from_pem(text.as_bytes(), from)?);
        } else {
            let bytes = decode_base64(text)?;
            if bytes.starts_with(BEGIN.as_bytes()) {
                chain.extend(from_pem(&bytes, from)?);
            } else {
                chain.push(Certificate::read(&bytes, from)?);
            }
        }
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::TooManyCertificates { from: from.to_owned(), limit: CHAIN_MAX });
        }
    }
    if chain.is_empty() { Err(CertificateError::NoCertificate { from: from.to_owned() }) } else { Ok(chain) }
}

/// Decodes base64. Ignores line breaks and spaces.
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, CertificateError> {
    let from = "the text";
    if text.len() > FILE_MAX {
        return Err(CertificateError::TooLarge { from: from.to_owned(), limit: FILE_MAX });
    }
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(&compact)
        .map_err(|_| CertificateError::NotPem { from: from.to_owned(), problem: "it is neither PEM nor base64" })
}

/// Checks that each certificate is issued by the next one. Accepts a signature that ring cannot check, because the
/// service may be able to check it.
pub(crate) fn check_links(chain: &[Certificate]) -> Result<(), CertificateError> {
    for pair in chain.windows(2) {
        let [issued, next] = pair else { continue };
        let detail = if !issued.names_issuer(next) {
            ""
        } else if issued.signature_by(next) == Signature::Invalid {
            ", whose key did not sign it"
        } else {
            continue;
        };
        return Err(CertificateError::BrokenChain {
            subject: issued.subject_name().to_owned(),
            issuer: issued.issuer_name().to_owned(),
            next: next.subject_name().to_owned(),
            detail,
        });
    }
    Ok(())
}
