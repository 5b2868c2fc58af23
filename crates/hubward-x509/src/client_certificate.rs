//! The certificate chain of a device, and the key of its certificate.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

use crate::{Certificate, CertificateError, DeviceKey, chain, input, private_key};

/// Maximum length of the common name of a certificate with which a device registers, in characters.
///
/// Source: `[doc]` iot-dps/concepts-x509-attestation.md.
pub const COMMON_NAME_MAX: usize = 64;

/// The certificate chain of a device or module, and the key of its first certificate, the leaf.
///
/// TLS sends the whole chain. The constructors check everything that does not depend on the time and on the service:
/// the leaf has X.509 version 3, its key is the private key, and each certificate is issued by the next one.
///
/// A clone shares the chain and the key.
#[derive(Clone)]
pub struct ClientCertificate(Arc<Inner>);

struct Inner {
    chain: Vec<Certificate>,
    key: Arc<CertifiedKey>,
    signs_outside: bool,
}

impl ClientCertificate {
    /// Reads the chain and the private key from two PEM files. The two paths can be the same.
    ///
    /// `passphrase` decrypts an encrypted key (PKCS#8). It has no effect on other keys.
    ///
    /// # Errors
    /// [`CertificateError`]; it names the file.
    pub fn from_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        passphrase: Option<&str>,
    ) -> Result<Self, CertificateError> {
        let (certificates, key) = (Certificate::chain_from_file(chain)?, key.as_ref());
        let key = private_key::from_pem(&input::read(key)?, passphrase, &input::name_of(key))?;
        Self::new(certificates, key, false)
    }

    /// Reads the chain and the private key from two PEM texts. The two texts can be the same.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn from_pem(chain: &[u8], key: &[u8], passphrase: Option<&str>) -> Result<Self, CertificateError> {
        let certificates = chain::from_pem(chain, "the PEM text of the certificate")?;
        let key = private_key::from_pem(key, passphrase, "the PEM text of the key")?;
        Self::new(certificates, key, false)
    }

    /// Combines a chain with a key outside the program, for example in a TPM or an HSM.
    ///
    /// TLS calls the key during the handshake and waits for the signature. A handshake with such a key runs on a thread
    /// for blocking work, so a slow key does not stop other tasks.
    ///
    /// The key should return its public key ([`SigningKey::public_key`]). Otherwise, this function cannot check that
    /// the key belongs to the leaf.
    ///
    /// # Errors
    /// [`CertificateError`] if `chain` is empty, its certificates do not belong together, or the key does not belong to
    /// the leaf.
    pub fn with_signing_key(chain: Vec<Certificate>, key: Arc<dyn SigningKey>) -> Result<Self, CertificateError> {
        Self::new(chain, key, true)
    }

    /// Combines a chain that a service has issued with the key of the request.
    ///
    /// # Errors
    /// As for [`ClientCertificate::with_signing_key`].
    pub fn with_device_key(chain: Vec<Certificate>, key: &DeviceKey) -> Result<Self, CertificateError> {
        Self::new(chain, key.signer().signing_key(), false)
    }

    fn new(chain: Vec<Certificate>, key: Arc<dyn SigningKey>, signs_outside: bool) -> Result<Self, CertificateError> {
        let Some(leaf) = chain.first() else {
            return Err(CertificateError::NoCertificate { from: "the chain".to_owned() });
        };
        let subject = leaf.subject_name();
        if leaf.version() != 3 {
            return Err(CertificateError::OldVersion { subject: subject.to_owned(), version: leaf.version() });
        }
        if key.public_key().is_some_and(|it| it.as_ref() != leaf.public_key()) {
            return Err(CertificateError::KeyMismatch { subject: subject.to_owned() });
        }
        chain::check_links(&chain)?;
        let der = chain.iter().map(|it| CertificateDer::from(it.der().to_vec())).collect();
        Ok(Self(Arc::new(Inner { chain, key: Arc::new(CertifiedKey::new(der, key)), signs_outside })))
    }

    /// The device's certificate.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        // The constructor refuses an empty chain.
        &self.0.chain[0]
    }

    /// All certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.0.chain
    }

    /// The chain and the key in the form that rustls uses.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.key)
    }

    /// Whether the key is outside the program, so that a signature may take long.
    #[must_use]
    pub fn signs_outside(&self) -> bool {
        self.0.signs_outside
    }

    /// Checks that all certificates of the chain are valid at `now`.
    ///
    /// # Errors
    /// [`CertificateError::Expired`] and [`CertificateError::NotYetValid`].
    pub fn check(&self, now: SystemTime) -> Result<(), CertificateError> {
        self.0.chain.iter().try_for_each(|it| it.check_dates(now))
    }

    /// Checks that the common name of the leaf is this registration id, without regard to upper and lower case, and has
    /// at most [`COMMON_NAME_MAX`] characters.
    ///
    /// Source: `[doc]` iot-dps/concepts-x509-attestation.md.
    ///
    /// # Errors
    /// [`CertificateError::NoCommonName`], [`CertificateError::OtherCommonName`] and
    /// [`CertificateError::LongCommonName`].
    pub fn check_registration_id(&self, id: &str) -> Result<(), CertificateError> {
        self.leaf().check_registration_id(id)
    }
}

impl PartialEq for ClientCertificate {
    /// Whether both present the same chain.
    fn eq(&self, other: &Self) -> bool {
        self.0.chain == other.0.chain
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    /// Writes the chain, but not the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}
