//! A private key that signs certificates and certificate requests, not a TLS handshake.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::SigningKey;

use crate::{CertificateError, input, private_key};

/// A private key that signs certificates and certificate requests.
///
/// A clone shares the key.
#[derive(Clone)]
pub struct CertificateSigner {
    key: Arc<dyn SigningKey>,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
}

/// The kind of a key, and the signature that [`CertificateSigner::sign`] makes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// An EC key on the curve P-256. Signs with ECDSA and SHA-256.
    EcP256,
    /// An EC key on the curve P-384. Signs with ECDSA and SHA-384.
    EcP384,
    /// An RSA key. Signs with PKCS#1 v1.5 and SHA-256.
    Rsa,
}

impl KeyAlgorithm {
    const ALL: [Self; 3] = [Self::EcP256, Self::EcP384, Self::Rsa];

    const fn scheme(self) -> SignatureScheme {
        match self {
            Self::EcP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::EcP384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::Rsa => SignatureScheme::RSA_PKCS1_SHA256,
        }
    }
}

impl CertificateSigner {
    /// Reads the private key of a PEM file, in the forms that
    /// [`ClientCertificate::from_files`](crate::ClientCertificate::from_files) accepts.
    ///
    /// # Errors
    /// [`CertificateError`]; it names the file.
    pub fn from_file(file: impl AsRef<Path>, passphrase: Option<&str>) -> Result<Self, CertificateError> {
        let file = file.as_ref();
        Self::read(&input::read(file)?, passphrase, &input::name_of(file))
    }

    /// Reads the private key of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn from_pem(text: &[u8], passphrase: Option<&str>) -> Result<Self, CertificateError> {
        Self::read(text, passphrase, "the PEM text")
    }

    fn read(text: &[u8], passphrase: Option<&str>, from: &str) -> Result<Self, CertificateError> {
        let key = private_key::from_pem(text, passphrase, from)?;
        let algorithm = KeyAlgorithm::ALL.into_iter().find(|it| key.choose_scheme(&[it.scheme()]).is_some());
        let public_key = key.public_key().map(|it| it.as_ref().to_vec());
        match (algorithm, public_key) {
            (Some(algorithm), Some(public_key)) => Ok(Self { key, algorithm, public_key }),
            _ => Err(CertificateError::UnsupportedKey {
                from: from.to_owned(),
                problem: "it cannot sign certificates".to_owned(),
            }),
        }
    }

    /// The kind of the key.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public key as DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The key in the form that TLS uses.
    pub(crate) fn signing_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.key)
    }

    /// Signs `message` with the signature that [`KeyAlgorithm`] names, in the form that certificates contain.
    ///
    /// # Errors
    /// The text of the TLS library's error. With the keys that this type accepts, no error is expected.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let Some(signer) = self.key.choose_scheme(&[self.algorithm.scheme()]) else {
            return Err("the key does not offer the signature".to_owned());
        };
        signer.sign(message).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for CertificateSigner {
    /// Writes the kind of the key, but not the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSigner").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;
    use crate::encrypted_pem;

    /// A new EC key on P-256, as DER and as PEM (PKCS#8).
    fn key() -> (Vec<u8>, String) {
        let random = ring::rand::SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        (der.as_ref().to_vec(), input::to_pem("PRIVATE KEY", der.as_ref()))
    }

    #[test]
    fn an_encrypted_key_needs_its_passphrase_and_is_the_same_key() {
        let (der, text) = key();
        let plain = CertificateSigner::from_pem(text.as_bytes(), None).expect("a key");
        let encrypted = encrypted_pem(&der, "correct horse").expect("encrypted");
        assert!(encrypted.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{}", &encrypted[..40]);
        let again = CertificateSigner::from_pem(encrypted.as_bytes(), Some("correct horse")).expect("decrypted");
        assert_eq!((again.public_key(), again.algorithm()), (plain.public_key(), KeyAlgorithm::EcP256));
        for (passphrase, expected) in [
            (None, CertificateError::PassphraseNeeded { from: "the PEM text".into() }),
            (Some("battery"), CertificateError::WrongPassphrase { from: "the PEM text".into() }),
        ] {
            assert_eq!(
                CertificateSigner::from_pem(encrypted.as_bytes(), passphrase).err(),
                Some(expected),
                "{passphrase:?}"
            );
        }
        assert_ne!(encrypted, encrypted_pem(&der, "correct horse").expect("encrypted"), "the salt is random");
        assert!(encrypted_pem(b"no key", "x").is_err());
    }

    #[test]
    fn debug_does_not_print_the_key() {
        let signer = CertificateSigner::from_pem(key().1.as_bytes(), None).expect("a key");
        assert_eq!(format!("{signer:?}"), "CertificateSigner { algorithm: EcP256, .. }");
    }
}
