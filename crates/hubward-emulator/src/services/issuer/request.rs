//! Checks certificate requests (CSR) of devices.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_proto::Csr;
use hubward_x509::{CertificateRequest, KeyAlgorithm};
use rcgen::{PublicKeyData, SignatureAlgorithm};

/// A certificate request that the authority may answer with a certificate.
#[derive(Debug)]
pub(crate) struct SigningRequest {
    request: CertificateRequest,
    algorithm: KeyAlgorithm,
}

impl SigningRequest {
    /// Reads a request for the common name `name`. The error is the reason for the log.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk: the subject is `CN={id}`; its tests request certificates for keys of the
    /// kinds P-256 and RSA-2048. `[doc]` iot/concept-certificate-issuance.md: P-384. `[guess]`: RSA with more bits is
    /// accepted too. The subject may have more parts, and letter case matters.
    pub(crate) fn read(csr: &Csr, name: &str) -> Result<Self, String> {
        let der = STANDARD.decode(csr.as_str()).map_err(|_| "the certificate request is not base64".to_owned())?;
        let request = CertificateRequest::from_der(&der)
            .map_err(|problem| format!("the certificate request cannot be read: {problem}"))?;
        let Some(algorithm) = request.key_algorithm() else {
            return Err("the key of the certificate request is not P-256, P-384 or RSA with 2,048 bits".to_owned());
        };
        if !request.is_signed_by_its_key() {
            return Err("the certificate request is not signed by its key".to_owned());
        }
        match request.common_name() {
            Some(found) if found == name => Ok(Self { request, algorithm }),
            Some(found) => Err(format!("the certificate request is for the common name `{found}` instead of `{name}`")),
            None => Err("the certificate request has no common name".to_owned()),
        }
    }
}

impl PublicKeyData for SigningRequest {
    fn der_bytes(&self) -> &[u8] {
        self.request.public_key_bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.algorithm {
            KeyAlgorithm::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa => &rcgen::PKCS_RSA_SHA256,
            _ => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn csr(name: Option<&str>, damage: bool) -> Csr {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate().expect("a key");
        let mut der = params.serialize_request(&key).expect("a request").der().to_vec();
        if damage {
            // The last byte belongs to the signature.
            *der.last_mut().expect("bytes") ^= 1;
        }
        Csr::new(STANDARD.encode(der)).expect("base64")
    }

    #[test]
    fn a_request_must_be_for_the_id_and_signed_by_its_key() {
        for (csr, expected) in [
            (csr(Some("d1"), false), None),
            (csr(Some("D1"), false), Some("instead of `d1`")),
            (csr(None, false), Some("no common name")),
            (csr(Some("d1"), true), Some("not signed by its key")),
            (Csr::new("AAAA").expect("base64"), Some("cannot be read")),
        ] {
            let problem = SigningRequest::read(&csr, "d1").err();
            match (expected, &problem) {
                (None, None) => {}
                (Some(part), Some(problem)) => assert!(problem.contains(part), "{problem} instead of {part}"),
                _ => panic!("{problem:?} instead of {expected:?}"),
            }
        }
    }
}
