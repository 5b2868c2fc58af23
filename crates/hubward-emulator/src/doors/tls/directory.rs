//! The certificate authority in the data directory.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::ca::Ca;
use super::leaf::{Names, mint};
use crate::state::clock::system_now;
use crate::state::new_file;
use crate::state::secret_file::{self, CaError};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

impl Ca {
    /// Loads the CA of a directory. Creates the CA if the directory has none. Also returns the path of `ca.pem`. If
    /// several emulators start at once, they all get the same CA.
    ///
    /// `ca-key.pem` contains the key and the certificate. The emulator creates this file with mode 0600. If the
    /// directory does not exist, the emulator creates it with mode 0700.
    ///
    /// `ca.pem` is a copy of the certificate for clients. If `ca.pem` differs from the certificate in `ca-key.pem`, the
    /// emulator replaces `ca.pem`.
    pub(crate) fn open(directory: &Path) -> Result<(Self, PathBuf), CaError> {
        let secret = directory.join("ca-key.pem");
        let text = secret_file::open(&secret, || {
            let (new, key) = Self::generate_with_key()?;
            Ok(format!("{key}{}", new.pem()))
        })?;
        let ca = Self::parse(&secret, &text)?;
        let public = directory.join("ca.pem");
        if fs::read_to_string(&public).ok().as_deref() != Some(ca.pem()) {
            let failed = |source| CaError::File { path: public.clone(), source };
            new_file::replace(&public, ca.pem().as_bytes()).map_err(failed)?;
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
        let ca = Self::new(key, der, text[at..].to_owned());
        ca.check().map_err(|()| unusable("key and certificate do not match, or the certificate has expired"))?;
        Ok(ca)
    }

    /// Checks that key and certificate of this CA match: signs a leaf certificate with the key, and verifies it with
    /// the certificate of the CA.
    fn check(&self) -> Result<(), ()> {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;

        let names = Names::new(["localhost".to_owned()]);
        let leaf = mint(self, &names.all, None).map_err(|_| ())?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der().clone()).map_err(|_| ())?;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().map_err(|_| ())?;
        let name = rustls::pki_types::ServerName::try_from("localhost").map_err(|_| ())?;
        let now = system_now().duration_since(std::time::UNIX_EPOCH).map_err(|_| ())?;
        let now = rustls::pki_types::UnixTime::since_unix_epoch(now);
        verifier.verify_server_cert(&leaf.cert[0], &leaf.cert[1..], &name, &[], now).map(|_| ()).map_err(|_| ())
    }
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
