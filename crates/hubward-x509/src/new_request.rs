//! Makes a certificate request (PKCS#10) for a private key.

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc4519, rfc5912};
use der::asn1::{Any, BitStringRef, Utf8StringRef};
use der::{Encode as _, Tag, TagNumber};

use crate::{COMMON_NAME_MAX, CertificateError, CertificateRequest, CertificateSigner, KeyAlgorithm};

impl CertificateRequest {
    /// Makes a request for a certificate of this key. The subject is exactly `CN={common_name}`, and the request has no
    /// attributes, as DPS and hubs require. For a device at DPS, the common name is the registration id.
    ///
    /// ```
    /// use hubward_x509::{CertificateRequest, DeviceKey, KeyAlgorithm};
    ///
    /// let key = DeviceKey::generate(KeyAlgorithm::EcP384)?;
    /// let request = CertificateRequest::new("dev-1", key.signer())?;
    /// assert_eq!(request.common_name(), Some("dev-1"));
    /// # Ok::<(), hubward_x509::CertificateError>(())
    /// ```
    ///
    /// Source: `[doc]` RFC 2986, section 4; `[sdk]` Azure/azure-iot-sdk for the subject.
    ///
    /// # Errors
    /// [`CertificateError::NoCommonName`] if the name is empty. [`CertificateError::LongCommonName`] if it has more
    /// than [`COMMON_NAME_MAX`] characters. [`CertificateError::UnsupportedKey`] if the key cannot sign.
    pub fn new(common_name: &str, key: &CertificateSigner) -> Result<Self, CertificateError> {
        let length = common_name.chars().count();
        if length == 0 {
            return Err(CertificateError::NoCommonName { subject: String::new() });
        }
        if length > COMMON_NAME_MAX {
            return Err(CertificateError::LongCommonName { length, limit: COMMON_NAME_MAX });
        }
        let failed = |problem: String| CertificateError::UnsupportedKey { from: "the request".to_owned(), problem };
        let body = body(common_name, key.public_key()).map_err(|error| failed(error.to_string()))?;
        let signature = key.sign(&body).map_err(failed)?;
        let der = signed(&body, key.algorithm(), &signature).map_err(|error| failed(error.to_string()))?;
        Self::from_der(&der)
    }
}

/// `CertificationRequestInfo`: the version 0, the subject, the public key, and no attributes.
fn body(common_name: &str, public_key: &[u8]) -> der::Result<Vec<u8>> {
    let attribute = sequence(&[rfc4519::CN.to_der()?, Utf8StringRef::new(common_name)?.to_der()?])?;
    let subject = sequence(&[Any::new(Tag::Set, attribute)?.to_der()?])?;
    let no_attributes = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    sequence(&[0_u8.to_der()?, subject, public_key.to_vec(), Any::new(no_attributes, [])?.to_der()?])
}

/// `CertificationRequest`: the body, the algorithm of the signature, and the signature.
fn signed(body: &[u8], algorithm: KeyAlgorithm, signature: &[u8]) -> der::Result<Vec<u8>> {
    let (name, parameters): (ObjectIdentifier, &[u8]) = match algorithm {
        KeyAlgorithm::EcP256 => (rfc5912::ECDSA_WITH_SHA_256, &[]),
        KeyAlgorithm::EcP384 => (rfc5912::ECDSA_WITH_SHA_384, &[]),
        // Source: `[doc]` RFC 4055, section 5: the parameters are NULL.
        KeyAlgorithm::Rsa => (rfc5912::SHA_256_WITH_RSA_ENCRYPTION, &[5, 0]),
    };
    let algorithm = sequence(&[name.to_der()?, parameters.to_vec()])?;
    sequence(&[body.to_vec(), algorithm, BitStringRef::from_bytes(signature)?.to_der()?])
}

fn sequence(parts: &[Vec<u8>]) -> der::Result<Vec<u8>> {
    Any::new(Tag::Sequence, parts.concat())?.to_der()
}
