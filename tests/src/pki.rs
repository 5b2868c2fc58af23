//! Certificates and private keys for tests: authorities, and devices that they have issued certificates for.

use std::path::{Path, PathBuf};

use hubward::ClientCertificate;
use hubward::x509::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

/// When a certificate is valid, in relation to the current time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for years.
    Now,
    /// From yesterday, for one more hour.
    OneMoreHour,
    /// Until an hour ago.
    Expired,
    /// From an hour in the future.
    NotYet,
}

/// An authority with its key. It issues certificates.
#[derive(Debug)]
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its own certificate, then those of its issuers.
    chain: Vec<Certificate>,
}

/// What a device presents: a chain of certificates, leaf first, and the key of the leaf.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<Certificate>,
    key_pem: String,
}

impl Validity {
    fn dates(self) -> (OffsetDateTime, OffsetDateTime) {
        #[expect(clippy::disallowed_methods, reason = "a certificate is valid in relation to the real time")]
        let now = OffsetDateTime::from(std::time::SystemTime::now());
        match self {
            Self::Now => (now - Duration::DAY, now + Duration::days(3650)),
            Self::OneMoreHour => (now - Duration::DAY, now + Duration::HOUR),
            Self::Expired => (now - Duration::DAY, now - Duration::HOUR),
            Self::NotYet => (now + Duration::HOUR, now + Duration::days(3650)),
        }
    }
}

impl Authority {
    /// Creates a root authority.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority_params(name), new_key());
        let certificate = read(&params.self_signed(&key).expect("a certificate"));
        Self { params, key, chain: vec![certificate] }
    }

    /// Creates an authority that this one has issued a certificate for.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), new_key());
        let chain = self.issue(&params, &key);
        Self { params, key, chain }
    }

    /// Creates a device with a key of its own. The device presents its certificate, then the certificates of all
    /// issuers but the root.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    #[must_use]
    pub fn device(&self, common_name: &str, validity: Validity) -> Identity {
        let (params, key) = (params(common_name, validity), new_key());
        let mut chain = self.issue(&params, &key);
        let _root = chain.pop();
        Identity { chain, key_pem: key.serialize_pem() }
    }

    /// What a device presents that has the key of this authority.
    #[must_use]
    pub fn as_device(&self) -> Identity {
        Identity { chain: self.chain.clone(), key_pem: self.key.serialize_pem() }
    }

    /// The certificate of the authority.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The certificate of the authority as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate().to_pem()
    }

    /// Issues a certificate. Returns it with those of its issuers.
    fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Vec<Certificate> {
        let issued = params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).expect("a certificate");
        [vec![read(&issued)], self.chain.clone()].concat()
    }
}

impl Identity {
    /// Creates a device whose certificate is signed with its own key.
    ///
    /// # Panics
    /// If the system provides no random numbers.
    #[must_use]
    pub fn self_signed(common_name: &str, validity: Validity) -> Self {
        let key = new_key();
        let certificate = params(common_name, validity).self_signed(&key).expect("a certificate");
        Self { chain: vec![read(&certificate)], key_pem: key.serialize_pem() }
    }

    /// Replaces the certificates after the leaf.
    #[must_use]
    pub fn with_issuers(mut self, issuers: impl IntoIterator<Item = Certificate>) -> Self {
        self.chain.truncate(1);
        self.chain.extend(issuers);
        self
    }

    /// The certificate of the device.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The whole chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(Certificate::to_pem).collect()
    }

    /// The private key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The chain with its key, for a client in this process.
    ///
    /// # Panics
    /// If the certificates of the chain do not belong together.
    #[must_use]
    pub fn client_certificate(&self) -> ClientCertificate {
        ClientCertificate::from_pem(self.chain_pem().as_bytes(), self.key_pem.as_bytes(), None).expect("a whole chain")
    }

    /// Writes the chain and the key to files in this folder. Returns the path of the chain and the path of the key.
    ///
    /// # Panics
    /// If a file cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let files = (folder.join("device.pem"), folder.join("device.key"));
        std::fs::write(&files.0, self.chain_pem()).expect("a file");
        std::fs::write(&files.1, &self.key_pem).expect("a file");
        files
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain).finish_non_exhaustive()
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name, Validity::Now);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn params(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = validity.dates();
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("random numbers")
}

fn read(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).expect("a certificate that can be read")
}
