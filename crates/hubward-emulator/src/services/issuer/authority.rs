//! The root and the intermediate of the authority, and the certificates that it issues.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_x509::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber, date_time_ymd,
};
use ring::digest;

use super::SigningRequest;
use crate::state::secret_file::{self, CaError};
use crate::state::wire_id;

/// The file of the data directory. It contains the private key of the intermediate, and the two certificates.
const FILE: &str = "issuer-key.pem";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate is valid from this time before it is issued, so that a device whose clock is a little slow can use it.
///
/// Source: `[guess]`
const EARLIER: Duration = Duration::from_secs(5 * 60);

/// The form of the unique id in a certificate: a URI in the subject alternative name.
const URI: &str = "urn:uuid:";

/// The authority that issues certificates to devices.
///
/// The key of the root is not kept: the root has issued one intermediate, and issues nothing more.
pub(crate) struct CredentialAuthority {
    issuer: Issuer<'static, KeyPair>,
    intermediate: Certificate,
    root: Certificate,
}

/// A certificate of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuedLeaf {
    /// The base64 of the certificate.
    pub(crate) text: String,
    /// The serial number, for the journal.
    pub(crate) serial_number: String,
    pub(crate) not_after: SystemTime,
}

impl CredentialAuthority {
    /// Creates an authority that is not stored.
    pub(crate) fn generate() -> Result<Self, CaError> {
        Self::parse(Path::new(FILE), &new_text()?)
    }

    /// Loads the authority of a data directory. Creates the authority if the directory has none.
    pub(crate) fn open(directory: &Path) -> Result<Self, CaError> {
        let path = directory.join(FILE);
        Self::parse(&path, &secret_file::open(&path, new_text)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, CaError> {
        let unusable = |what| CaError::Unusable { path: path.to_owned(), what };
        let key = KeyPair::from_pem(text).map_err(|_| unusable("it contains no private key that can be read"))?;
        let chain = Certificate::chain_from_pem(text.as_bytes());
        let Ok([intermediate, root]) = chain.as_deref() else {
            return Err(unusable("it does not contain two certificates"));
        };
        let (intermediate, root) = (intermediate.clone(), root.clone());
        if intermediate.public_key() != key.subject_public_key_info()
            || !intermediate.is_issued_by(&root)
            || !root.is_self_signed()
        {
            return Err(unusable("key and certificates do not match"));
        }
        Ok(Self { issuer: Issuer::new(params(Kind::Intermediate, &key), key), intermediate, root })
    }

    /// Issues a certificate with the common name `name`. It contains `unique_id` and is valid for `days` days.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-certificate-management-overview.md for the validity in days and the unique id.
    /// `[guess]`: the form of the unique id, and all extensions.
    pub(crate) fn issue(
        &self,
        request: &SigningRequest,
        name: &str,
        unique_id: &str,
        days: u16,
        now: SystemTime,
    ) -> Result<IssuedLeaf, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(format!("{URI}{unique_id}").try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number());
        (params.not_before, params.not_after) = ((now - EARLIER).into(), (now + DAY * u32::from(days)).into());
        let made = params.signed_by(request, &self.issuer)?;
        let leaf = Certificate::from_der(made.der()).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(IssuedLeaf {
            text: STANDARD.encode(leaf.der()),
            serial_number: leaf.serial_number().to_owned(),
            not_after: leaf.not_after(),
        })
    }

    /// The chain of a certificate as DPS and the hubs send it: the leaf, the intermediate, the root. `leaf` is the
    /// base64 of the certificate.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk; `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
    /// `csr-scenarions.md`.
    pub(crate) fn chain(&self, leaf: &str) -> Vec<String> {
        let issuers = [&self.intermediate, &self.root].map(|it| STANDARD.encode(it.der()));
        std::iter::once(leaf.to_owned()).chain(issuers).collect()
    }

    /// The certificates that issue others.
    pub(crate) const fn certificates(&self) -> [&Certificate; 2] {
        [&self.intermediate, &self.root]
    }

    /// Whether this authority has issued a certificate. If it has, it also returns the unique id in the certificate.
    pub(crate) fn unique_id_of(&self, leaf: &Certificate) -> Option<String> {
        if !leaf.is_issued_by(&self.intermediate) {
            return None;
        }
        let uris = leaf.alternative_uris();
        Some(uris.iter().find_map(|it| it.strip_prefix(URI)).unwrap_or_default().to_owned())
    }
}

impl fmt::Debug for CredentialAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialAuthority(..)")
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Root,
    Intermediate,
}

/// A new authority as PEM: the key of the intermediate, the intermediate, the root.
fn new_text() -> Result<String, CaError> {
    let (root_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let root = params(Kind::Root, &root_key);
    let root_pem = root.self_signed(&root_key)?.pem();
    let intermediate = params(Kind::Intermediate, &key).signed_by(&key, &Issuer::new(root, root_key))?.pem();
    Ok(format!("{}{intermediate}{root_pem}", key.serialize_pem()))
}

/// The parameters of a certificate that issues others. The subject contains a part of the key's hash, so different
/// authorities have different subjects.
///
/// The dates do not depend on the clock: a test can move the clock by a hundred years.
fn params(kind: Kind, key: &KeyPair) -> CertificateParams {
    let hash = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    let tag: String = hash.as_ref().iter().take(4).map(|it| format!("{it:02x}")).collect();
    let (name, below) = match kind {
        Kind::Root => ("credential root", 1),
        Kind::Intermediate => ("credential policy CA", 0),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "hubward emulator (local, not Azure)");
    params.distinguished_name.push(DnType::CommonName, format!("hubward emulator {name} {tag}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = matches!(kind, Kind::Intermediate);
    params.serial_number = Some(serial_number());
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(9999, 12, 31));
    params
}

fn serial_number() -> SerialNumber {
    SerialNumber::from(wire_id::serial_number())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hubward_proto::Csr;

    use super::*;

    const ID: &str = "5ecd03d5-8183-412b-9d6e-b95a7f36feb7";

    fn request(name: &str) -> (SigningRequest, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let der = params.serialize_request(&key).expect("a request");
        let csr = Csr::new(STANDARD.encode(der.der())).expect("base64");
        (SigningRequest::read(&csr, name).expect("a request"), key)
    }

    #[test]
    fn a_certificate_is_valid_for_its_policy_and_carries_the_unique_id() {
        let authority = CredentialAuthority::generate().expect("an authority");
        let (request, key) = request("d1");
        let now = SystemTime::UNIX_EPOCH + 60 * 365 * DAY;
        let mut serials = BTreeSet::new();
        for days in [7, 90] {
            let issued = authority.issue(&request, "d1", ID, days, now).expect("issued");
            assert_eq!(issued.not_after, now + DAY * u32::from(days));
            assert!(serials.insert(issued.serial_number.clone()), "each certificate has its own serial number");
            let chain = authority.chain(&issued.text);
            let chain: Vec<_> = chain.iter().map(|it| STANDARD.decode(it).expect("base64")).collect();
            let chain: Vec<_> = chain.iter().map(|it| Certificate::from_der(it).expect("DER")).collect();
            assert_eq!(Certificate::check_links(&chain), Ok(()));
            let [leaf, intermediate, root] = &chain[..] else { panic!("three certificates") };
            assert!(intermediate.is_authority() && root.is_self_signed() && !leaf.is_authority());
            assert_eq!(leaf.subject_name(), "CN=d1");
            assert_eq!(leaf.public_key(), key.subject_public_key_info());
            assert_eq!(authority.unique_id_of(leaf).as_deref(), Some(ID));
            let a_century_later = now + 36_500 * DAY;
            assert_eq!(
                (intermediate.check_dates(a_century_later), root.check_dates(a_century_later)),
                (Ok(()), Ok(()))
            );
            let other = CredentialAuthority::generate().expect("an authority");
            assert_eq!(other.unique_id_of(leaf), None);
        }
    }

    #[test]
    fn the_authority_of_a_directory_stays_the_same() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("data");
        let roots: Vec<_> = std::thread::scope(|scope| {
            let open = || CredentialAuthority::open(&directory).expect("opened").root;
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|it| it.join().expect("no panic")).collect()
        });
        assert!(roots.iter().all(|it| *it == roots[0]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let mode = std::fs::metadata(directory.join(FILE)).expect("the file").mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn refuses_a_file_that_is_not_its_own() {
        let (text, other) = (new_text().expect("one"), new_text().expect("other"));
        let at = text.find("-----BEGIN CERTIFICATE").expect("a certificate");
        let other_at = other.find("-----BEGIN CERTIFICATE").expect("a certificate");
        for (text, what) in [
            (String::new(), "it contains no private key"),
            (text[..at].to_owned(), "it does not contain two certificates"),
            (format!("{}{}", &text[..at], &other[other_at..]), "do not match"),
        ] {
            let error = CredentialAuthority::parse(Path::new("f"), &text).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
