//! The certificate authority: created at the first start, and kept in the data directory if there is one.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use ring::digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::leaf::random_serial;
use crate::state::clock::system_now;
use crate::state::new_file;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority that signs the emulator's leaf certificates.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// Why the certificate authority cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// A file or directory cannot be created or read.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file exists, but this emulator did not write it.
    #[error("{path} is not a certificate authority of this emulator ({what}); move it away to get a new one", path = path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// The cause, without any part of the key.
        what: &'static str,
    },
    /// A certificate cannot be issued.
    #[error("cannot issue a certificate")]
    Make(#[from] rcgen::Error),
}

impl Ca {
    /// Creates a CA that is not stored.
    pub(crate) fn generate() -> Result<Self, CaError> {
        Ok(Self::generate_with_key()?.0)
    }

    /// Creates a CA and returns it with its private key as PEM.
    fn generate_with_key() -> Result<(Self, String), CaError> {
        let key = KeyPair::generate()?;
        let params = params(&key);
        let certificate = params.self_signed(&key)?;
        let secret = key.serialize_pem();
        let ca = Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) };
        Ok((ca, secret))
    }

    /// Loads the CA of a directory, and creates it if there is none. If several emulators start at once, all get
    /// the same CA.
    ///
    /// `ca-key.pem` (mode 0600, in a directory of mode 0700) contains key and certificate and is authoritative;
    /// `ca.pem` is a copy of the certificate for clients.
    pub(crate) fn open(directory: &Path) -> Result<(Self, PathBuf), CaError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| CaError::File { path, source }
        };
        make_directory(directory).map_err(file(directory))?;
        let secret = directory.join("ca-key.pem");
        let text = match fs::read_to_string(&secret) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (new, key) = Self::generate_with_key()?;
                let text = format!("{key}{}", new.pem);
                match new_file::create(&secret, |mut file| file.write_all(text.as_bytes())) {
                    Ok(()) => text,
                    // Another emulator created the file first; use that file.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        fs::read_to_string(&secret).map_err(file(&secret))?
                    }
                    Err(error) => return Err(file(&secret)(error)),
                }
            }
            Err(error) => return Err(file(&secret)(error)),
        };
        warn_if_readable(&secret);
        let ca = Self::parse(&secret, &text)?;
        let public = directory.join("ca.pem");
        if fs::read_to_string(&public).ok().as_deref() != Some(ca.pem()) {
            new_file::replace(&public, ca.pem().as_bytes()).map_err(file(&public))?;
        }
        Ok((ca, public))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, CaError> {
        let unusable = |what| CaError::Unusable { path: path.to_owned(), what };
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable("it contains no private key"))?;
        let key = KeyPair::try_from(&key).map_err(|_| unusable("its private key cannot be read"))?;
        let der =
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable("it contains no certificate"))?;
        let at = text.find(CERTIFICATE).ok_or_else(|| unusable("it contains no certificate"))?;
        // The subject is derived from the key, so the certificate of another key has another subject, and the leaf
        // certificates could not be verified.
        let issuer = Issuer::new(params(&key), key);
        let ca = Self { issuer, der, pem: text[at..].to_owned() };
        ca.check().map_err(|()| unusable("key and certificate do not match, or the certificate has expired"))?;
        Ok(ca)
    }

    /// Checks that a leaf of this CA can be verified with its certificate.
    fn check(&self) -> Result<(), ()> {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;

        let names = super::Names::new(["localhost".to_owned()]);
        let leaf = super::leaf::mint(self, &names.all, None).map_err(|_| ())?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).map_err(|_| ())?;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().map_err(|_| ())?;
        let name = rustls::pki_types::ServerName::try_from("localhost").map_err(|_| ())?;
        let now = system_now().duration_since(std::time::UNIX_EPOCH).map_err(|_| ())?;
        let now = rustls::pki_types::UnixTime::since_unix_epoch(now);
        verifier.verify_server_cert(&leaf.cert[0], &leaf.cert[1..], &name, &[], now).map(|_| ()).map_err(|_| ())
    }

    pub(crate) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(crate) const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca(..)")
    }
}

/// The private key of a leaf, in rustls' form.
pub(super) fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// The subject contains the key id, so that two CAs never share a subject: clients that trust several CAs would try
/// the wrong one.
fn params(key: &KeyPair) -> CertificateParams {
    let hash = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    let tag: String = hash.as_ref().iter().take(4).map(|it| format!("{it:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "hubward emulator (local, not Azure)");
    params.distinguished_name.push(DnType::CommonName, format!("hubward emulator CA {tag}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(random_serial());
    let now = system_now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + 3650 * DAY).into();
    params
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn warn_if_readable(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata);
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users can read the key of the emulator's CA");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn is_created_once_and_private() {
        use std::os::unix::fs::MetadataExt as _;

        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("deep/data");
        let (first, public) = Ca::open(&directory).expect("made");
        let (second, _) = Ca::open(&directory).expect("kept");
        assert_eq!(first.pem(), second.pem());
        assert_eq!(fs::read_to_string(&public).expect("ca.pem"), first.pem());
        let mode = |path: &Path| fs::metadata(path).expect("it exists").mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("ca-key.pem")), 0o600);
        assert!(!fs::read_to_string(public).expect("ca.pem").contains("PRIVATE"));
        let names: Vec<_> = fs::read_dir(&directory).expect("the directory").map(|it| it.expect("entry")).collect();
        assert_eq!(names.len(), 2, "no temporary file stays: {names:?}");
    }

    #[test]
    fn emulators_that_start_at_once_share_a_ca() {
        let parent = tempfile::tempdir().expect("a directory");
        let pems: Vec<String> = std::thread::scope(|scope| {
            let open = || Ca::open(parent.path()).expect("opened").0.pem().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|it| it.join().expect("no panic")).collect()
        });
        assert!(pems.iter().all(|it| *it == pems[0]));
    }

    #[test]
    fn refuses_a_file_that_is_not_its_own() {
        let parent = tempfile::tempdir().expect("a directory");
        let (_, key) = Ca::generate_with_key().expect("one");
        let other = Ca::generate().expect("other");
        for (text, what) in [
            (String::new(), "it contains no private key"),
            (key.clone(), "it contains no certificate"),
            (format!("{key}{}", other.pem()), "do not match"),
        ] {
            fs::write(parent.path().join("ca-key.pem"), &text).expect("written");
            let error = Ca::open(parent.path()).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
