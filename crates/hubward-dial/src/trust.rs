//! The certificate authorities to trust, the certificate to present, and the TLS configuration of all protocols.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hubward_x509::ClientCertificate;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;

use crate::TlsConfig;
use crate::error::write_with_cause;

/// Maximum size in bytes of a CA file: about 20 times the size of a browser's list of authorities.
const CA_FILE_MAX: u64 = 4 << 20;

/// Maximum number of TLS sessions that a configuration remembers, in the unit of rustls: eight for each host. So this
/// is enough for three hosts; a device connects to one or two. rustls allocates the memory for all hosts at once.
const SESSIONS_MAX: usize = 3 * 8;

/// The authorities of the newest configuration. The system's authorities take 100 KiB. A program with many devices
/// keeps them once, although each device has a configuration of its own.
static NEWEST_ROOTS: Mutex<Weak<RootCertStore>> = Mutex::new(Weak::new());

/// The certificate authorities that TLS connections trust, and the certificate that they present.
///
/// The default is the system's authorities. If the system has none, as in an empty container, the default is a bundled
/// set (Mozilla's). By default, connections present no certificate.
///
/// ```
/// # fn main() -> Result<(), hubward_dial::TrustError> {
/// let tls = hubward_dial::TlsSettings::new().client_config()?;
/// # let _ = tls;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct TlsSettings {
    roots: Roots,
    identity: Option<ClientCertificate>,
}

#[derive(Clone, Default)]
enum Roots {
    #[default]
    System,
    File(PathBuf),
    Pem(Vec<u8>),
}

impl TlsSettings {
    /// Trusts the system's authorities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts only the certificates in this PEM file (at most 4 MiB).
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Roots::File(path.into());
        self
    }

    /// Trusts only the certificates in this PEM text.
    pub fn from_pem(pem: &[u8]) -> Self {
        Self { roots: Roots::Pem(pem.to_vec()), identity: None }
    }

    /// Presents this certificate with its whole chain, if the server asks for a certificate.
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.identity = Some(certificate);
        self
    }

    /// Builds the configuration: TLS 1.2 and 1.3, with the certificate of [`TlsSettings::client_certificate`], if any.
    /// This function reads files and may take a few milliseconds. Build one configuration for each device and share it
    /// among the connections of the device.
    ///
    /// Each configuration has its own memory of TLS sessions. So a connection never resumes a session of another
    /// device. But configurations that trust the same authorities share the memory of the authorities.
    ///
    /// # Errors
    /// [`TrustError`] if the given file cannot be read or is larger than 4 MiB, or if the given file or PEM text
    /// contains no valid certificate.
    ///
    /// The system's authorities never cause an error: if the system has none, the configuration uses the bundled set.
    pub fn client_config(&self) -> Result<TlsConfig, TrustError> {
        let roots = match &self.roots {
            Roots::System => system_roots(rustls_native_certs::load_native_certs()),
            Roots::File(path) => {
                let pem = read_bounded(path)?;
                pem_roots(&pem, &path.display().to_string())?
            }
            Roots::Pem(pem) => pem_roots(pem, "the PEM text")?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(shared(roots));
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            // Present the certificate whatever authorities the server names: only the service judges it.
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key())))
            }
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(TlsConfig::new(config, self.identity.as_ref()))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Pem(pem) => write!(f, "Pem({} bytes)", pem.len()),
        }
    }
}

/// Why the certificate authorities could not be loaded.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file does not exist.
    #[error("the CA file `{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("could not read the CA file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file exceeds the size limit.
    #[error("the CA file `{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file or text contains no certificate.
    #[error("{from} contains no PEM certificate")]
    NoCertificate {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The certificates are malformed, or cannot be used as authorities.
    #[error("{from} contains no usable certificate: {problem}")]
    Malformed {
        /// The path of the file, or a name for the text.
        from: String,
        /// The problem.
        problem: String,
    },
}

impl fmt::Debug for TrustError {
    /// Writes the message and its cause. If `main` returns this error, Rust prints its `Debug`, so the user reads
    /// both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_cause(self, f)
    }
}

impl TrustError {
    fn of_reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source },
        }
    }
}

/// Reads a file, and stops after [`CA_FILE_MAX`] bytes. Some files, such as devices, have no end.
fn read_bounded(path: &Path) -> Result<Vec<u8>, TrustError> {
    let mut pem = Vec::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|it| it.take(CA_FILE_MAX + 1).read_to_end(&mut pem));
    read.map_err(|source| TrustError::of_reading(path, source))?;
    if pem.len() as u64 > CA_FILE_MAX {
        return Err(TrustError::TooLarge { path: path.to_owned(), limit: CA_FILE_MAX });
    }
    Ok(pem)
}

/// Returns the store of the newest configuration if it contains the same authorities. Otherwise returns `roots`.
fn shared(roots: RootCertStore) -> Arc<RootCertStore> {
    let mut newest = NEWEST_ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = newest.upgrade().filter(|it| it.roots == roots.roots) {
        return same;
    }
    let roots = Arc::new(roots);
    *newest = Arc::downgrade(&roots);
    roots
}

fn system_roots(found: CertificateResult) -> RootCertStore {
    for error in &found.errors {
        tracing::debug!("failed to read some of the system's certificate authorities: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        tracing::debug!(added, ignored, "trusting the system's certificate authorities");
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        tracing::warn!(count = roots.len(), "the system has no certificate authorities; trusting the bundled set");
    }
    roots
}

fn pem_roots(pem: &[u8], from: &str) -> Result<RootCertStore, TrustError> {
    let malformed = |problem: String| TrustError::Malformed { from: from.to_owned(), problem };
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| {
        malformed(match error {
            // Show only base64 errors. The text of every other error quotes the PEM text, which may be secret: the user
            // may have named the wrong file, for example a key file.
            PemError::Base64Decode(problem) => problem,
            _ => "malformed PEM".to_owned(),
        })
    })?;
    if certificates.is_empty() {
        return Err(TrustError::NoCertificate { from: from.to_owned() });
    }
    let mut roots = RootCertStore::empty();
    // If a bundle contains a certificate that cannot be used, trust the other certificates.
    let mut problem = None;
    for certificate in certificates {
        if let Err(error) = roots.add(certificate) {
            tracing::debug!("ignoring a certificate of {from}: {error}");
            problem = Some(error.to_string());
        }
    }
    match problem {
        Some(problem) if roots.is_empty() => Err(malformed(problem)),
        _ => {
            tracing::debug!(count = roots.len(), "trusting only {from}");
            Ok(roots)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        rcgen::CertificateParams::new(vec!["ca.example".into()]).expect("names").self_signed(&key).expect("a CA").pem()
    }

    #[test]
    fn trusts_the_bundled_authorities_only_if_the_system_has_none() {
        assert_eq!(system_roots(CertificateResult::default()).len(), webpki_roots::TLS_SERVER_ROOTS.len());

        let mut found = CertificateResult::default();
        found.certs.push(CertificateDer::from_pem_slice(ca().as_bytes()).expect("a certificate"));
        assert_eq!(system_roots(found).len(), 1);
    }

    #[test]
    fn equal_authorities_share_their_memory_and_others_stay_apart() {
        let store = |pem: &str| pem_roots(pem.as_bytes(), "the PEM text").expect("an authority");
        let (one, other) = (ca(), ca());
        // Another test of this process may build a configuration between the two calls, so one attempt is not enough.
        let is_shared = |_| Arc::ptr_eq(&shared(store(&one)), &shared(store(&one)));
        assert!((0..100).any(is_shared), "equal authorities are not shared");
        let first = shared(store(&one));
        let second = shared(store(&other));
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.roots, store(&other).roots);
    }

    #[test]
    fn errors_name_the_problem_of_a_pem_text() {
        let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (pem, expected) in [
            (String::new(), Some("the PEM text contains no PEM certificate")),
            ("hello".to_owned(), Some("the PEM text contains no PEM certificate")),
            (key, Some("the PEM text contains no PEM certificate")),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned(),
                Some("the PEM text contains no usable certificate: malformed PEM"),
            ),
            (
                garbage.to_owned(),
                Some("the PEM text contains no usable certificate: invalid peer certificate: BadEncoding"),
            ),
            (ca(), None),
            (format!("{garbage}{}", ca()), None),
        ] {
            let made = TlsSettings::from_pem(pem.as_bytes()).client_config();
            assert_eq!(made.err().map(|it| it.to_string()).as_deref(), expected, "{pem}");
        }
    }

    #[test]
    fn a_missing_file_and_an_unreadable_one_are_different_errors() {
        let missing = std::env::temp_dir().join("hubward-no-such-ca.pem");
        let error = TlsSettings::new().ca_file(&missing).client_config().expect_err("no file");
        assert!(matches!(&error, TrustError::Missing { path } if *path == missing), "{error}");
        // A directory can be opened, but not read.
        let error = TlsSettings::new().ca_file(std::env::temp_dir()).client_config().expect_err("a directory");
        assert!(matches!(error, TrustError::Read { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn an_endless_ca_file_is_refused() {
        let error = TlsSettings::new().ca_file("/dev/zero").client_config().expect_err("no end");
        assert!(matches!(error, TrustError::TooLarge { limit: CA_FILE_MAX, .. }), "{error}");
        assert_eq!(error.to_string(), "the CA file `/dev/zero` is larger than 4194304 bytes");
    }

    #[test]
    fn debug_shows_no_certificate_text_and_no_alpn_is_offered() {
        let settings = TlsSettings::from_pem(ca().as_bytes());
        assert!(!format!("{settings:?}").contains("BEGIN"), "{settings:?}");
        let config = settings.client_config().expect("a configuration");
        assert!(config.rustls().alpn_protocols.is_empty());
    }
}
