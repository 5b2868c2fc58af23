//! Loads a private key from PEM: PKCS#8, SEC1, PKCS#1, and encrypted PKCS#8.

use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;

use crate::{CertificateError, decryption, input, key_kind};

/// Loads the first private key of a PEM text, as OpenSSL does. Ignores other blocks, for example certificates and EC
/// parameters. `from` names the text in errors.
pub(crate) fn from_pem(
    text: &[u8],
    passphrase: Option<&str>,
    from: &str,
) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let blocks = input::blocks(text, from)?;
    let Some(block) = blocks.iter().find(|it| it.label.ends_with("PRIVATE KEY")) else {
        return Err(CertificateError::NoKey { from: from.to_owned() });
    };
    if block.has_old_encryption {
        return Err(CertificateError::OldEncryption { from: from.to_owned() });
    }
    let mut der = block.decode(from)?;
    if block.label == "ENCRYPTED PRIVATE KEY" {
        der = decryption::decrypt(&der, passphrase, from)?;
    }
    // `PrivateKeyDer` borrows the bytes here, so no second copy has to be wiped.
    let key = match block.label {
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.as_slice())),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.as_slice())),
        other => return unsupported(from, format!("the format `{other}` is not supported")),
    };
    match rustls::crypto::ring::sign::any_supported_type(&key) {
        Ok(key) if matches!(key.algorithm(), SignatureAlgorithm::ECDSA | SignatureAlgorithm::RSA) => Ok(key),
        _ => unsupported(from, key_kind::problem_of(&key)),
    }
}

fn unsupported<T>(from: &str, problem: String) -> Result<T, CertificateError> {
    Err(CertificateError::UnsupportedKey { from: from.to_owned(), problem })
}
