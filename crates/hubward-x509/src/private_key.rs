//! Loads a private key from PEM: PKCS#8, SEC1, PKCS#1, and encrypted PKCS#8.

use std::sync::Arc;

use der::Decode as _;
use pem::Pem;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::SignatureAlgorithm;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use crate::{CertificateError, input};

/// Loads the first private key of a PEM text. Ignores other blocks, for example certificates and EC parameters.
/// `from` names the text in errors.
pub(crate) fn from_pem(
    text: &[u8],
    passphrase: Option<&str>,
    from: &str,
) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let blocks = input::blocks(text, from)?;
    let Some(block) = blocks.into_iter().find(|it| it.tag().ends_with("PRIVATE KEY")) else {
        return Err(CertificateError::NoKey { from: from.to_owned() });
    };
    let (tag, is_old) = (block.tag().to_owned(), is_old_encryption(&block));
    let der = Zeroizing::new(block.into_contents());
    if is_old {
        return Err(CertificateError::OldEncryption { from: from.to_owned() });
    }
    let der = if tag == "ENCRYPTED PRIVATE KEY" { decrypt(&der, passphrase, from)? } else { der };
    // `PrivateKeyDer` borrows the bytes here, so no second copy has to be wiped.
    let key = match tag.as_str() {
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.as_slice())),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.as_slice())),
        other => return unsupported(from, &format!("`{other}` is not supported")),
    };
    let Ok(key) = rustls::crypto::ring::sign::any_supported_type(&key) else {
        return unsupported(
            from,
            "it is malformed, or neither an EC key (P-256, P-384) nor an RSA key (2048 to 4096 bits)",
        );
    };
    match key.algorithm() {
        SignatureAlgorithm::ECDSA | SignatureAlgorithm::RSA => Ok(key),
        _ => unsupported(from, "Azure IoT accepts only EC keys (P-256, P-384) and RSA keys"),
    }
}

fn unsupported<T>(from: &str, problem: &str) -> Result<T, CertificateError> {
    Err(CertificateError::UnsupportedKey { from: from.to_owned(), problem: problem.to_owned() })
}

/// Whether the block has the encryption of RFC 1421, as older versions of OpenSSL write it.
fn is_old_encryption(block: &Pem) -> bool {
    let headers = block.headers();
    headers.get("DEK-Info").is_some() || headers.get("Proc-Type").is_some_and(|it| it.contains("ENCRYPTED"))
}

fn decrypt(der: &[u8], passphrase: Option<&str>, from: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let from = from.to_owned();
    let Some(passphrase) = passphrase else { return Err(CertificateError::PassphraseNeeded { from }) };
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der);
    let encrypted = encrypted
        .map_err(|error| CertificateError::UnsupportedEncryption { from: from.clone(), problem: error.to_string() })?;
    use pkcs8::pkcs5::Error as E;
    match encrypted.decrypt(passphrase) {
        Ok(document) => Ok(Zeroizing::new(document.as_bytes().to_vec())),
        // A wrong passphrase decrypts to bytes that are no padding or no DER.
        Err(pkcs8::Error::EncryptedPrivateKey(E::DecryptFailed | E::EncryptFailed) | pkcs8::Error::Asn1(_)) => {
            Err(CertificateError::WrongPassphrase { from })
        }
        Err(error) => Err(CertificateError::UnsupportedEncryption { from, problem: error.to_string() }),
    }
}
