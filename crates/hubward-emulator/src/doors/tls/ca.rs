//! The certificate authority (CA). The emulator creates it at the first start. With a data directory, it keeps the CA
//! there.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber,
};
use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::state::clock::system_now;
use crate::state::secret_file::CaError;
use crate::state::wire_id;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority (CA) that signs the emulator's leaf certificates.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    /// Creates a CA that is not stored.
    pub(crate) fn generate() -> Result<Self, CaError> {
        Ok(Self::generate_with_key()?.0)
    }

    /// Creates a CA and returns it with its private key as PEM.
    pub(super) fn generate_with_key() -> Result<(Self, String), CaError> {
        let key = KeyPair::generate()?;
        let params = params(&key);
        let certificate = params.self_signed(&key)?;
        let secret = key.serialize_pem();
        let ca = Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) };
        Ok((ca, secret))
    }

    /// The CA with this key and certificate.
    pub(super) fn new(key: KeyPair, der: CertificateDer<'static>, pem: String) -> Self {
        // The issuer in the leaf certificates contains a part of the key's hash. If `der` is the certificate of another
        // key, the subject of `der` differs from the issuer, and clients refuse the leaf certificates.
        Self { issuer: Issuer::new(params(&key), key), der, pem }
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

/// Returns the parameters of the CA's certificate.
///
/// The subject contains a part of the key's hash, so different CAs have different subjects. With equal subjects, a
/// client that trusts several CAs could choose the wrong one.
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

/// A new serial number.
pub(super) fn random_serial() -> SerialNumber {
    SerialNumber::from(wire_id::serial_number())
}
