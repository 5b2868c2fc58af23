//! A certificate request (PKCS#10): its subject and its public key, and whether the owner of the key made it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use const_oid::db::rfc5912;
use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, SliceReader};
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::key_kind::RSA_BITS_MIN;
use crate::signature::{Signature, Signed};
use crate::{CertificateError, KeyAlgorithm, input, name};

/// The labels of a request. Source: `[doc]` RFC 7468, section 7; `[sdk]` OpenSSL, `pem.h`.
const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

/// A request for a certificate.
///
/// Source: `[doc]` RFC 2986.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    der: Vec<u8>,
    subject_name: String,
    common_name: Option<String>,
    public_key: SubjectPublicKeyInfoOwned,
}

impl CertificateRequest {
    /// Reads a request from DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`]
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        Self::read(der, "the DER data")
    }

    /// Reads the first request of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`] if the text is not PEM, contains no request, or if the request is malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let from = "the PEM text";
        let blocks = input::blocks(text, from)?;
        match blocks.iter().find(|it| LABELS.contains(&it.label)) {
            Some(block) => Self::read(&block.decode(from)?, from),
            None => Err(CertificateError::NoRequest { from: from.to_owned() }),
        }
    }

    fn read(der: &[u8], from: &str) -> Result<Self, CertificateError> {
        let info = CertReq::from_der(der)
            .map_err(|error| CertificateError::Malformed { from: from.to_owned(), problem: error.to_string() })?
            .info;
        Ok(Self {
            der: der.to_owned(),
            subject_name: name::text_of(&info.subject),
            common_name: name::common_name(&info.subject),
            public_key: info.public_key,
        })
    }

    /// The request as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request as base64 of DER, without line breaks: the form that DPS and hubs read.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// The subject, in the form of [`Certificate::subject_name`](crate::Certificate::subject_name).
    #[must_use]
    pub fn subject_name(&self) -> &str {
        &self.subject_name
    }

    /// The common name (CN) of the subject. If there are several, the first.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The public key as DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        // The key was read from DER, so it can be written.
        self.public_key.to_der().unwrap_or_default()
    }

    /// The bits of the public key, without its algorithm: the point of an EC key, or the DER of an RSA key.
    #[must_use]
    pub fn public_key_bits(&self) -> &[u8] {
        self.public_key.subject_public_key.raw_bytes()
    }

    /// The kind of the public key. Returns `None` for a key that Azure IoT does not accept, such as P-521, Ed25519, or
    /// RSA with fewer than 2,048 bits.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        let algorithm = &self.public_key.algorithm;
        match algorithm.oid {
            rfc5912::ID_EC_PUBLIC_KEY => match algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()? {
                rfc5912::SECP_256_R_1 => Some(KeyAlgorithm::EcP256),
                rfc5912::SECP_384_R_1 => Some(KeyAlgorithm::EcP384),
                _ => None,
            },
            rfc5912::RSA_ENCRYPTION => {
                let key = AnyRef::from_der(self.public_key_bits()).ok()?;
                let modulus = UintRef::decode(&mut SliceReader::new(key.value()).ok()?).ok()?;
                let modulus = modulus.as_bytes();
                let bits = modulus.first().map_or(0, |it| modulus.len() * 8 - it.leading_zeros() as usize);
                (bits >= RSA_BITS_MIN).then_some(KeyAlgorithm::Rsa)
            }
            _ => None,
        }
    }

    /// Whether the request's own key has signed it. Otherwise, the sender may not have the private key.
    #[must_use]
    pub fn is_signed_by_its_key(&self) -> bool {
        Signed::from_der(&self.der).is_ok_and(|it| it.check(&self.public_key) == Signature::Valid)
    }
}

impl fmt::Debug for CertificateRequest {
    /// Writes the subject.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateRequest({})", self.subject_name)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384};

    use super::*;

    #[test]
    fn a_request_shows_its_subject_and_that_its_sender_has_the_key() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "dev-1");
        let made = params.serialize_request(&key).expect("a request");
        let request = CertificateRequest::from_der(made.der()).expect("a request");
        assert_eq!(request.common_name(), Some("dev-1"));
        assert!(request.is_signed_by_its_key());
        for text in [made.pem().expect("PEM"), made.pem().expect("PEM").replace(" CERT", " NEW CERT")] {
            assert_eq!(CertificateRequest::from_pem(text.as_bytes()).as_ref(), Ok(&request), "{text}");
        }
        // One bit in the signature, and one in the subject.
        let subject = made.der().windows(5).position(|it| it == b"dev-1").expect("the subject");
        for at in [made.der().len() - 1, subject + 4] {
            let mut der = made.der().to_vec();
            der[at] ^= 1;
            let damaged = CertificateRequest::from_der(&der).expect("still a request");
            assert!(!damaged.is_signed_by_its_key(), "byte {at}");
        }
    }

    #[test]
    fn a_request_names_the_kind_of_its_key() {
        for (text, expected) in [
            (include_str!("tests/data/p256.csr"), Some(KeyAlgorithm::EcP256)),
            (include_str!("tests/data/p384.csr"), Some(KeyAlgorithm::EcP384)),
            (include_str!("tests/data/rsa2048.csr"), Some(KeyAlgorithm::Rsa)),
            (include_str!("tests/data/rsa1024.csr"), None),
            (include_str!("tests/data/p521.csr"), None),
            (include_str!("tests/data/ed25519.csr"), None),
        ] {
            let request = CertificateRequest::from_pem(text.as_bytes()).expect("a request");
            assert_eq!(request.key_algorithm(), expected, "{text}");
            assert!(request.is_signed_by_its_key() || expected.is_none(), "{text}");
            assert!(request.public_key().ends_with(request.public_key_bits()), "{text}");
        }
    }

    #[test]
    fn other_data_is_no_request() {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        for der in [&b""[..], b"\x30\x00", certificate.der()] {
            let error = CertificateRequest::from_der(der).expect_err("no request");
            assert!(matches!(error, CertificateError::Malformed { .. }), "{error}");
        }
        let error = CertificateRequest::from_pem(certificate.pem().as_bytes()).expect_err("no request");
        assert_eq!(error, CertificateError::NoRequest { from: "the PEM text".into() });
    }
}
