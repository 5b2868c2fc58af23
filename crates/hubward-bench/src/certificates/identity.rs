//! The identities that the benchmark compares, and the authority that issues their certificates.

use std::error::Error;

use hubward_x509::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;

/// A test PKI with an RSA key. ring, the library of rcgen, cannot create one.
const VECTORS: &str = include_str!("../../../../tests/vectors/x509.json");

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How a device proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// A symmetric key. The client signs a SAS token.
    Sas,
    /// A certificate with a P-256 key. The hub compares its thumbprint, as for devices that DPS has created.
    P256,
    /// The same certificate. The hub verifies that a CA certificate has issued it.
    P256ByAuthority,
    /// A certificate with an RSA key of 2,048 bits. The hub compares its thumbprint.
    Rsa2048,
}

impl Identity {
    /// The first one is the one with which the others are compared.
    pub(super) const ALL: [Self; 4] = [Self::Sas, Self::P256, Self::P256ByAuthority, Self::Rsa2048];

    /// The identities of the idle devices.
    pub(super) const IDLE: [Self; 2] = [Self::Sas, Self::P256];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::P256 => "p256",
            Self::P256ByAuthority => "p256-by-ca",
            Self::Rsa2048 => "rsa2048",
        }
    }

    pub(super) const fn is_judged_by_authority(self) -> bool {
        matches!(self, Self::P256ByAuthority)
    }
}

/// The certificate and key of a device.
pub(super) struct Issued {
    /// The leaf and the intermediate certificate, as PEM.
    pub(super) chain: String,
    /// The private key, as PEM.
    pub(super) key: String,
    /// SHA-256 of the leaf.
    pub(super) thumbprint: String,
}

/// A root, which the emulator knows, and an intermediate certificate, which issues the certificates of devices. Both
/// have P-256 keys.
pub(super) struct Authority {
    root: String,
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
    rsa: String,
}

impl Authority {
    /// # Errors
    /// The system provides no random numbers for the keys.
    pub(super) fn new() -> Result<Self> {
        let root_key = KeyPair::generate()?;
        let root = authority_params("bench root");
        let root_pem = root.self_signed(&root_key)?.pem();
        let key = KeyPair::generate()?;
        let params = authority_params("bench intermediate");
        let intermediate = params.signed_by(&key, &Issuer::new(root, root_key))?.pem();
        let vectors: Value = serde_json::from_str(VECTORS)?;
        let rsa = vectors["certificates"]["leaf_rsa"]["key_pkcs8_pem"].as_str().ok_or("no RSA key in the vectors")?;
        Ok(Self { root: root_pem, intermediate, issuer: Issuer::new(params, key), rsa: rsa.to_owned() })
    }

    /// The root certificate, as PEM.
    pub(super) fn pem(&self) -> String {
        self.root.clone()
    }

    /// Issues a certificate with the common name `id`. Returns `None` for [`Identity::Sas`].
    ///
    /// # Errors
    /// The system provides no random numbers for the key.
    pub(super) fn issue(&self, identity: Identity, id: &str) -> Result<Option<Issued>> {
        let key = match identity {
            Identity::Sas => return Ok(None),
            Identity::P256 | Identity::P256ByAuthority => KeyPair::generate()?,
            Identity::Rsa2048 => KeyPair::from_pem(&self.rsa)?,
        };
        let leaf = params(id).signed_by(&key, &self.issuer)?;
        let thumbprint = Certificate::from_der(leaf.der())?.sha256_thumbprint();
        let chain = leaf.pem() + &self.intermediate;
        Ok(Some(Issued { chain, key: key.serialize_pem(), thumbprint }))
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[cfg(test)]
mod tests {
    use hubward_x509::ClientCertificate;

    use super::*;

    #[test]
    fn every_certificate_is_a_chain_up_to_the_root() {
        let authority = Authority::new().expect("an authority");
        let root = Certificate::from_pem(authority.pem().as_bytes()).expect("a root");
        for identity in Identity::ALL {
            let Some(issued) = authority.issue(identity, "d1").expect("issued") else {
                assert_eq!(identity, Identity::Sas);
                continue;
            };
            let read = ClientCertificate::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), None);
            let read = read.unwrap_or_else(|error| panic!("{}: {error}", identity.name()));
            assert_eq!(read.leaf().common_name(), Some("d1"), "{}", identity.name());
            assert_eq!(read.leaf().sha256_thumbprint(), issued.thumbprint, "{}", identity.name());
            assert_eq!(read.chain().len(), 2, "{}", identity.name());
            assert!(read.chain()[1].is_issued_by(&root), "{}", identity.name());
        }
    }
}
