//! The private key of a client certificate.

use std::fmt;
use std::sync::Arc;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use ring::digest;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::public_key::{self, KeyKind};
use crate::token_key::{Kind, TokenKey};
use crate::{KeyLocation, Pkcs11Error};

/// The start of a `DigestInfo` in front of the hash. Source: `[doc]` RFC 8017, section 9.2, note 1.
const SHA256_PREFIX: [u8; 19] = *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const SHA384_PREFIX: [u8; 19] = *b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30";
const SHA512_PREFIX: [u8; 19] = *b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

/// The private key of a client certificate, in a token. Pass it to `ClientCertificate::with_signing_key`.
///
/// A clone shares the session.
#[derive(Clone)]
pub struct Pkcs11Key(Arc<Inner>);

struct Inner {
    key: TokenKey,
    kind: KeyKind,
    public_key: Option<SubjectPublicKeyInfoDer<'static>>,
}

impl Pkcs11Key {
    /// Loads the module, logs in to the token, and finds the private key.
    ///
    /// This function and each signature block the thread until the token answers. `hubward` runs handshakes with such a
    /// key on a thread for blocking work.
    ///
    /// # Errors
    /// [`Pkcs11Error`]; it names the module, the token, the slot and the key.
    pub fn open(location: KeyLocation) -> Result<Self, Pkcs11Error> {
        let (key, (kind, public_key)) = TokenKey::open(location, Kind::PrivateKey, public_key::read)?;
        let this = Self(Arc::new(Inner { key, kind, public_key }));
        if this.schemes().next().is_none() {
            let place = crate::Place::new(this.0.key.location());
            let problem = "the token offers neither `CKM_ECDSA` nor `CKM_RSA_PKCS` for it".to_owned();
            return Err(Pkcs11Error::UnsupportedKey { place, problem });
        }
        Ok(this)
    }

    /// The signatures that the key can make, the best first.
    fn schemes(&self) -> impl Iterator<Item = Scheme> {
        Scheme::ALL.into_iter().filter(|it| it.kind() == self.0.kind && self.0.key.has(it.mechanism()))
    }
}

impl SigningKey for Pkcs11Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.schemes().find(|it| offered.contains(&it.0))?;
        Some(Box::new(TokenSigner { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key.as_ref().map(|it| SubjectPublicKeyInfoDer::from(it.as_ref()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind {
            KeyKind::P256 | KeyKind::P384 => SignatureAlgorithm::ECDSA,
            KeyKind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

impl fmt::Debug for Pkcs11Key {
    /// Writes where the key is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Key({})", crate::Place::new(self.0.key.location()))
    }
}

/// One signature.
#[derive(Debug)]
struct TokenSigner {
    key: Pkcs11Key,
    scheme: Scheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = |error: Pkcs11Error| rustls::Error::General(error.to_string());
        let hash = digest::digest(self.scheme.hash(), message);
        let key = &self.key.0.key;
        match self.scheme.mechanism() {
            MechanismType::ECDSA => {
                let signature = key.sign(&Mechanism::Ecdsa, hash.as_ref()).map_err(failed)?;
                ecdsa_der(&signature).ok_or_else(|| rustls::Error::General("the token made no ECDSA signature".into()))
            }
            MechanismType::RSA_PKCS => {
                let info = [&self.scheme.digest_info()[..], hash.as_ref()].concat();
                key.sign(&Mechanism::RsaPkcs, &info).map_err(failed)
            }
            _ => key.sign(&Mechanism::RsaPkcsPss(self.scheme.pss()), hash.as_ref()).map_err(failed),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.0
    }
}

/// A signature that this crate can make.
#[derive(Debug, Clone, Copy)]
struct Scheme(SignatureScheme);

impl Scheme {
    const ALL: [Self; 8] = [
        Self(SignatureScheme::ECDSA_NISTP256_SHA256),
        Self(SignatureScheme::ECDSA_NISTP384_SHA384),
        Self(SignatureScheme::RSA_PSS_SHA256),
        Self(SignatureScheme::RSA_PSS_SHA384),
        Self(SignatureScheme::RSA_PSS_SHA512),
        Self(SignatureScheme::RSA_PKCS1_SHA256),
        Self(SignatureScheme::RSA_PKCS1_SHA384),
        Self(SignatureScheme::RSA_PKCS1_SHA512),
    ];

    const fn kind(self) -> KeyKind {
        match self.0 {
            SignatureScheme::ECDSA_NISTP256_SHA256 => KeyKind::P256,
            SignatureScheme::ECDSA_NISTP384_SHA384 => KeyKind::P384,
            _ => KeyKind::Rsa,
        }
    }

    const fn mechanism(self) -> MechanismType {
        match self.0 {
            SignatureScheme::ECDSA_NISTP256_SHA256 | SignatureScheme::ECDSA_NISTP384_SHA384 => MechanismType::ECDSA,
            SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512 => MechanismType::RSA_PKCS,
            _ => MechanismType::RSA_PKCS_PSS,
        }
    }

    fn hash(self) -> &'static digest::Algorithm {
        match self.0 {
            SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PKCS1_SHA384 => &digest::SHA384,
            SignatureScheme::RSA_PSS_SHA512 | SignatureScheme::RSA_PKCS1_SHA512 => &digest::SHA512,
            _ => &digest::SHA256,
        }
    }

    const fn digest_info(self) -> [u8; 19] {
        match self.0 {
            SignatureScheme::RSA_PKCS1_SHA384 => SHA384_PREFIX,
            SignatureScheme::RSA_PKCS1_SHA512 => SHA512_PREFIX,
            _ => SHA256_PREFIX,
        }
    }

    /// TLS uses a salt of the length of the hash. Source: `[doc]` RFC 8446, section 4.2.3.
    fn pss(self) -> PkcsPssParams {
        let (hash_alg, mgf, length) = match self.0 {
            SignatureScheme::RSA_PSS_SHA384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
            SignatureScheme::RSA_PSS_SHA512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
            _ => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
        };
        PkcsPssParams { hash_alg, mgf, s_len: length.into() }
    }
}

/// A token returns the two numbers of the signature one after the other; TLS needs them as DER.
///
/// Source: `[doc]` PKCS#11 3.0, section 2.3.1; RFC 3279, section 2.2.3.
fn ecdsa_der(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at(signature.len() / 2);
    if r.is_empty() || r.len() != s.len() {
        return None;
    }
    public_key::sequence(&[r, s])
}
