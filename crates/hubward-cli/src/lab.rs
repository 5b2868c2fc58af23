//! Creates keys, certificates and certificate requests for labs, and for the demo `quickstart --x509`.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use hubward_x509::{Certificate, CertificateError, CertificateSigner, KeyAlgorithm, encrypted_pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequest, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Maximum length of a common name, in characters. Source: RFC 5280, appendix A.1 (`ub-common-name`).
pub(crate) const COMMON_NAME_MAX: usize = hubward_x509::COMMON_NAME_MAX;

/// A certificate is valid from this time before now, for machines whose clock is slow.
const EARLY: Duration = Duration::from_secs(60 * 60);

/// The curve of a new key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Curve {
    /// NIST P-256.
    #[default]
    P256,
    /// NIST P-384.
    P384,
}

/// A private key that signs, new or from a file.
pub(crate) struct Key {
    signer: CertificateSigner,
    /// The bits of the public key, without the algorithm.
    public_bits: Vec<u8>,
    /// The key as PKCS#8, if it is new.
    new: Option<NewKey>,
}

struct NewKey {
    der: Zeroizing<Vec<u8>>,
    pem: Zeroizing<String>,
}

/// The purpose of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Issues other certificates.
    Authority,
    /// The identity of a device. Also proves the possession of an authority's key.
    Device,
}

/// The content of a new certificate.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) role: Role,
    pub(crate) validity: Validity,
    /// Subject alternative names: DNS names and IP addresses.
    pub(crate) alternative_names: &'a [SanType],
}

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// An authority that signs certificates.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// The certificate of the authority, then those of its issuers.
    chain: Vec<Certificate>,
    key: Key,
}

impl Validity {
    /// Begins a little before `now`, and ends a number of days after it.
    pub(crate) fn days(now: SystemTime, days: u32) -> Self {
        Self { not_before: now - EARLY, not_after: now + days_long(days) }
    }
}

/// The duration of a number of days.
pub(crate) fn days_long(days: u32) -> Duration {
    Duration::from_secs(24 * 60 * 60) * days
}

impl Key {
    /// Creates a key.
    pub(crate) fn generate(curve: Curve) -> Result<Self, Failure> {
        let algorithm = match curve {
            Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        };
        let failed = |error: &dyn fmt::Display| Failure::local(format!("no key can be created: {error}"));
        let pair = KeyPair::generate_for(algorithm).map_err(|error| failed(&error))?;
        let (der, pem) = (Zeroizing::new(pair.serialize_der()), Zeroizing::new(pair.serialize_pem()));
        let signer = CertificateSigner::from_pem(pem.as_bytes(), None).map_err(|error| failed(&error))?;
        Ok(Self { new: Some(NewKey { der, pem }), ..Self::of(signer) })
    }

    /// Reads the key of a file.
    pub(crate) fn from_file(file: &Path, passphrase: Option<&str>) -> Result<Self, CertificateError> {
        CertificateSigner::from_file(file, passphrase).map(Self::of)
    }

    fn of(signer: CertificateSigner) -> Self {
        let public_key = SubjectPublicKeyInfoRef::from_der(signer.public_key());
        let public_bits = public_key.map(|it| it.subject_public_key.raw_bytes().to_vec()).unwrap_or_default();
        Self { signer, public_bits, new: None }
    }

    /// The PEM of a new key, encrypted if there is a passphrase. Returns `None` for a key from a file.
    pub(crate) fn pem(&self, passphrase: Option<&str>) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(NewKey { der, pem }) = &self.new else { return Ok(None) };
        match passphrase {
            Some(passphrase) => encrypted_pem(der, passphrase).map(Some).map_err(|it| Failure::local(it.to_string())),
            // rcgen ends lines with CR LF on Windows.
            None => Ok(Some(Zeroizing::new(pem.replace('\r', "")))),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.signer.algorithm()).finish()
    }
}

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public_bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.signer.algorithm() {
            KeyAlgorithm::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa => &rcgen::PKCS_RSA_SHA256,
            _ => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl Issuer {
    /// Combines an authority with its key. `chain` begins with the authority, and its issuers follow.
    ///
    /// # Errors
    /// If `chain` is empty or its certificates do not belong together, or if the key belongs to another certificate.
    pub(crate) fn new(chain: Vec<Certificate>, key: Key) -> Result<Self, CertificateError> {
        let Some(authority) = chain.first() else {
            return Err(CertificateError::NoCertificate { from: "the chain".to_owned() });
        };
        if authority.public_key() != key.signer.public_key() {
            return Err(CertificateError::KeyMismatch { subject: authority.subject_name().to_owned() });
        }
        Certificate::check_links(&chain)?;
        Ok(Self { chain, key })
    }

    /// The certificate of the authority, then those of its issuers.
    pub(crate) fn chain(&self) -> &[Certificate] {
        &self.chain
    }
}

/// Creates a certificate for the public key of `key`. Without an issuer, the certificate is signed by `key` itself.
///
/// # Errors
/// If the issuer is not an authority, or if its name cannot be copied.
pub(crate) fn issue(content: &Content<'_>, key: &Key, issuer: Option<&Issuer>) -> Result<Certificate, Failure> {
    let params = params(content);
    let made = match issuer {
        None => params.self_signed(key),
        Some(issuer) => {
            let authority = &issuer.chain[0];
            let subject = authority.subject_name();
            if !authority.is_authority() {
                return Err(Failure::usage(format!("the certificate `{subject}` is not an authority (CA)"))
                    .hint("use the certificate of an authority, such as one of `hubward x509 new-ca`"));
            }
            params.signed_by(key, &rcgen::Issuer::new(issuer_params(authority)?, &issuer.key))
        }
    };
    let made = made.map_err(|error| Failure::local(format!("the certificate cannot be created: {error}")))?;
    let made = Certificate::from_der(made.der()).map_err(|error| Failure::local(error.to_string()))?;
    match issuer.map(|it| &it.chain[0]) {
        Some(authority) if !made.is_issued_by(authority) => Err(uncopied(authority)),
        _ => Ok(made),
    }
}

/// Creates a certificate request (PKCS#10) with this common name.
pub(crate) fn request(common_name: &str, key: &Key, names: &[SanType]) -> Result<CertificateSigningRequest, Failure> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    params.subject_alt_names = names.to_vec();
    params
        .serialize_request(key)
        .map_err(|error| Failure::local(format!("the certificate request cannot be created: {error}")))
}

/// The PEM text of a chain.
pub(crate) fn chain_pem(chain: &[Certificate]) -> String {
    chain.iter().map(Certificate::to_pem).collect()
}

/// Source: `[doc]` iot-dps/tutorial-custom-hsm-enrollment-group-x509.md, the extensions in its OpenSSL configuration.
fn params(content: &Content<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(content.common_name);
    params.subject_alt_names = content.alternative_names.to_vec();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    params.not_before = content.validity.not_before.into();
    params.not_after = content.validity.not_after.into();
    match content.role {
        Role::Authority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages =
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        Role::Device => {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
    }
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// A random positive number of 16 bytes.
fn random_serial() -> SerialNumber {
    let mut bytes = fastrand::u128(..).to_be_bytes().to_vec();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from(bytes)
}

/// The parameters that a certificate repeats from its issuer.
fn issuer_params(authority: &Certificate) -> Result<CertificateParams, Failure> {
    let name = Name::from_der(&authority.subject_der()).map_err(|_| uncopied(authority))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for part in name.iter() {
        let (kind, value) = copied(part).ok_or_else(|| uncopied(authority))?;
        params.distinguished_name.push(kind, value);
    }
    if let Some(identifier) = authority.key_identifier() {
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec());
    }
    Ok(params)
}

/// A part of a name, with the same string type. OpenSSL compares the bytes of some types.
fn copied(part: &AttributeTypeAndValue) -> Option<(DnType, DnValue)> {
    let arcs: Vec<u64> = part.oid.arcs().map(u64::from).collect();
    let text = || std::str::from_utf8(part.value.value()).ok();
    let value = match part.value.tag() {
        Tag::Utf8String => DnValue::Utf8String(text()?.to_owned()),
        Tag::PrintableString => DnValue::PrintableString(text()?.try_into().ok()?),
        Tag::Ia5String => DnValue::Ia5String(text()?.try_into().ok()?),
        Tag::TeletexString => DnValue::TeletexString(text()?.try_into().ok()?),
        _ => return None,
    };
    Some((DnType::from_oid(&arcs), value))
}

fn uncopied(authority: &Certificate) -> Failure {
    let message = format!("hubward cannot issue certificates in the name of `{}`", authority.subject_name());
    Failure::usage(message).hint(
        "the name of the authority has two parts of the same type, several in one part, or an old string type; \
         use another authority, or OpenSSL",
    )
}
