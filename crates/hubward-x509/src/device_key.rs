//! A new private key of a device, which the program can store.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use zeroize::Zeroizing;

use crate::{CertificateError, CertificateSigner, KeyAlgorithm, input};

/// A private key of a device that the program makes and stores itself, for example for a certificate that DPS or a hub
/// issues.
///
/// The key signs a certificate request with [`DeviceKey::signer`]. After the service has issued the certificate,
/// [`ClientCertificate::with_device_key`](crate::ClientCertificate::with_device_key) combines both.
///
/// A clone copies the key. The text of the key is wiped from memory when the value is dropped.
#[derive(Clone)]
pub struct DeviceKey {
    pem: Zeroizing<String>,
    signer: CertificateSigner,
}

impl DeviceKey {
    /// Makes a new key: an EC key on P-256 or P-384. ring cannot make RSA keys.
    ///
    /// Microsoft's documentation of issued certificates names P-384 only; its tests also use P-256 and RSA.
    ///
    /// # Errors
    /// [`CertificateError::UnsupportedKey`] for [`KeyAlgorithm::Rsa`], or if the system has no random numbers.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, CertificateError> {
        let failed = |problem: &str| CertificateError::UnsupportedKey {
            from: "the new key".to_owned(),
            problem: problem.to_owned(),
        };
        let kind = match algorithm {
            KeyAlgorithm::EcP256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            KeyAlgorithm::EcP384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            KeyAlgorithm::Rsa => return Err(failed("RSA keys cannot be made here; choose P-256 or P-384")),
        };
        let der = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new())
            .map_err(|_| failed("the system has no random numbers"))?;
        Self::read(input::to_secret_pem("PRIVATE KEY", der.as_ref()))
    }

    /// Reads a key that [`DeviceKey::expose_pem`] has returned, or another key without encryption in the forms that
    /// [`ClientCertificate::from_pem`](crate::ClientCertificate::from_pem) accepts.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::read(Zeroizing::new(text.to_owned()))
    }

    fn read(pem: Zeroizing<String>) -> Result<Self, CertificateError> {
        let signer = CertificateSigner::from_pem(pem.as_bytes(), None)?;
        Ok(Self { pem, signer })
    }

    /// Returns the key as PEM, to store it: PKCS#8 without encryption if this type made the key, and otherwise the text
    /// that it read. Never log the text.
    #[must_use]
    pub fn expose_pem(&self) -> Zeroizing<String> {
        self.pem.clone()
    }

    /// Returns the key in the form that signs certificate requests.
    #[must_use]
    pub const fn signer(&self) -> &CertificateSigner {
        &self.signer
    }
}

impl fmt::Debug for DeviceKey {
    /// Writes the kind of the key, but not the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey").field("algorithm", &self.signer.algorithm()).finish_non_exhaustive()
    }
}
