//! The tests of the crate, by subject, and a small authority that issues certificates for them.

mod certificates;
mod chains;
mod encryption;
mod errors;
mod files;
mod issuance;
mod keys;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::Certificate;

/// A moment at which the certificates of [`params`] are valid.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_000_000)
}

/// A certificate and its key, both also as PEM.
struct Issued {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

impl Issued {
    fn by_itself(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        let certificate = Certificate::from_der(made.der()).expect("a readable certificate");
        Self { params, key, certificate }
    }

    fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).expect("a certificate");
        let certificate = Certificate::from_der(made.der()).expect("a readable certificate");
        Self { params, key, certificate }
    }

    fn pem(&self) -> String {
        self.certificate.to_pem()
    }

    fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// The parameters of a certificate with this common name.
fn params(common_name: impl Into<DnValue>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A root, an intermediate authority, and the certificate of the device `dev-1`.
fn chain() -> [Issued; 3] {
    let root = Issued::by_itself(authority("root"));
    let intermediate = root.issue(authority("intermediate"));
    let device = intermediate.issue(params("dev-1"));
    [root, intermediate, device]
}

/// The PEM of several certificates.
fn joined<'a>(certificates: impl IntoIterator<Item = &'a Issued>) -> String {
    certificates.into_iter().map(Issued::pem).collect()
}
