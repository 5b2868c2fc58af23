//! Certificates for the names of the emulator.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::sign::CertifiedKey;

use super::ca::{Ca, private_key, random_serial};
use crate::state::clock::system_now;
use crate::state::secret_file::CaError;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A defect that the emulator puts into its leaf certificates. A test can check that a client refuses such a
/// certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadCertificate {
    /// The certificate expired yesterday.
    Expired,
    /// The certificate is for `wrong.invalid`.
    WrongName,
    /// The issuer is not the CA in the CA file.
    UntrustedCa,
}

/// The names that the emulator may issue certificates for. `Display` prints the names, separated by commas.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// In lower case; DNS names and IP addresses.
    pub(crate) all: BTreeSet<String>,
}

impl Names {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { all: names.into_iter().map(|it| it.to_ascii_lowercase()).collect() }
    }

    /// Whether the name is one of these. Ignores the case.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.all.contains(&name.to_ascii_lowercase())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.all.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Issues a leaf certificate for `names`. `bad` is the defect of the certificate. With `None`, the certificate has no
/// defect.
pub(crate) fn mint(
    ca: &Ca,
    names: &BTreeSet<String>,
    bad: Option<BadCertificate>,
) -> Result<Arc<CertifiedKey>, CaError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "hubward emulator");
    params.subject_alt_names = match bad {
        Some(BadCertificate::WrongName) => vec![SanType::DnsName("wrong.invalid".try_into()?)],
        _ => names.iter().map(|it| alt_name(it)).collect::<Result<_, _>>()?,
    };
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    let now = system_now();
    // Apple's clients refuse a certificate that is valid for more than 825 days.
    let (from, until) = match bad {
        Some(BadCertificate::Expired) => (now - 30 * DAY, now - DAY),
        _ => (now - DAY, now + 390 * DAY),
    };
    (params.not_before, params.not_after) = (from.into(), until.into());
    let other_ca;
    let issuer = if bad == Some(BadCertificate::UntrustedCa) {
        other_ca = Ca::generate()?;
        &other_ca
    } else {
        ca
    };
    let certificate = params.signed_by(&key, issuer.issuer())?;
    let signing_key = rustls::crypto::ring::sign::any_ecdsa_type(&private_key(&key))
        .expect("ring signs with the P-256 keys that rcgen makes with ring");
    let chain = vec![certificate.der().clone(), issuer.der().clone()];
    Ok(Arc::new(CertifiedKey::new(chain, signing_key)))
}

fn alt_name(name: &str) -> Result<SanType, rcgen::Error> {
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}
