//! Verifies the signature of a certificate or of a certificate request, with the algorithms of ring.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// The result of checking a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    Valid,
    Invalid,
    /// ring cannot check this algorithm with this kind of key, for example SHA-1 or P-521.
    Unknown,
}

/// A signed DER structure: the signed bytes, the algorithm and the signature. Certificates and certificate requests
/// have this form. Source: RFC 5280, section 4.1; RFC 2986, section 4.2.
pub(crate) struct Signed<'a> {
    body: &'a [u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn from_der(der: &'a [u8]) -> Result<Self, der::Error> {
        let outer = AnyRef::from_der(der)?;
        let mut reader = SliceReader::new(outer.value())?;
        let body = reader.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierOwned::decode(&mut reader)?;
        let signature = BitStringRef::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { body, algorithm, signature: signature.raw_bytes() })
    }

    /// Whether the holder of this public key made the signature.
    pub(crate) fn check(&self, public_key: &SubjectPublicKeyInfoOwned) -> Signature {
        let (Some(signed_with), Some(key_kind)) = (parts(&self.algorithm), parts(&public_key.algorithm)) else {
            return Signature::Invalid;
        };
        let fits = |it: &&&dyn SignatureVerificationAlgorithm| {
            *it.signature_alg_id() == *signed_with && *it.public_key_alg_id() == *key_kind
        };
        let key = public_key.subject_public_key.raw_bytes();
        let all = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
        let mut algorithms = all.iter().filter(fits).peekable();
        if algorithms.peek().is_none() {
            return Signature::Unknown;
        }
        let is_valid = algorithms.any(|it| it.verify_signature(key, self.body, self.signature).is_ok());
        if is_valid { Signature::Valid } else { Signature::Invalid }
    }
}

/// The DER of an algorithm's name and parameters, without the sequence around them. rustls compares this form.
fn parts(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let der = algorithm.to_der().ok()?;
    Some(AnyRef::from_der(&der).ok()?.value().to_vec())
}
