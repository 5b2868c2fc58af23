//! Certificates for tests. The unit tests use this file too.

use hubward_x509::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// The first and the last year of a certificate that is valid at the time of every test.
pub(crate) const YEARS: (i32, i32) = (2020, 2049);

/// A certificate authority of a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Certificate,
}

/// A certificate of a device, and its private key (PKCS#8, DER).
pub(crate) struct Leaf {
    pub(crate) certificate: Certificate,
    pub(crate) key: Vec<u8>,
}

/// A new root.
pub(crate) fn root(name: &str) -> Authority {
    authority(name, None, YEARS)
}

/// A certificate that its own key has signed.
pub(crate) fn self_signed(name: &str) -> Leaf {
    let (params, key) = (params(Some(name), YEARS, IsCa::NoCa), new_key());
    let certificate = params.self_signed(&key).expect("a certificate");
    Leaf { certificate: read(certificate.der()), key: key.serialize_der() }
}

impl Authority {
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        authority(name, Some(self), YEARS)
    }

    /// An intermediate that is valid only in these years.
    pub(crate) fn intermediate_of(&self, name: &str, years: (i32, i32)) -> Self {
        authority(name, Some(self), years)
    }

    pub(crate) fn device(&self, name: &str) -> Leaf {
        self.device_of(Some(name), YEARS)
    }

    /// A certificate of a device that is valid only in these years. `None` leaves out the common name.
    pub(crate) fn device_of(&self, name: Option<&str>, years: (i32, i32)) -> Leaf {
        let key = new_key();
        let certificate = params(name, years, IsCa::NoCa).signed_by(&key, &self.issuer).expect("a certificate");
        Leaf { certificate: read(certificate.der()), key: key.serialize_der() }
    }

    /// An authority whose certificate does not allow it to issue others.
    pub(crate) fn not_an_authority(&self, name: &str) -> Self {
        let (params, key) = (params(Some(name), YEARS, IsCa::ExplicitNoCa), new_key());
        let certificate = read(params.signed_by(&key, &self.issuer).expect("a certificate").der());
        Self { issuer: Issuer::new(params, key), certificate }
    }
}

fn authority(name: &str, issuer: Option<&Authority>, years: (i32, i32)) -> Authority {
    let mut params = params(Some(name), years, IsCa::Ca(BasicConstraints::Unconstrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = new_key();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, &issuer.issuer),
        None => params.self_signed(&key),
    };
    let certificate = read(certificate.expect("a certificate").der());
    Authority { issuer: Issuer::new(params, key), certificate }
}

fn params(name: Option<&str>, (from, until): (i32, i32), is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    match name {
        Some(name) => params.distinguished_name.push(DnType::CommonName, name),
        None => params.distinguished_name.push(DnType::OrganizationName, "nameless"),
    }
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
    params.is_ca = is_ca;
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn read(der: &[u8]) -> Certificate {
    Certificate::from_der(der).expect("rcgen writes valid certificates")
}
