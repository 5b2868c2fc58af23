//! Encrypts a private key with a passphrase.

use der::Decode as _;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::{CertificateError, input};

/// Number of rounds of PBKDF2. A device spends this time at each start.
const ROUNDS: u32 = 100_000;

/// Encrypts a private key. `pkcs8` is the key as DER (PKCS#8). Returns PEM with the block `ENCRYPTED PRIVATE KEY`.
///
/// Uses PBKDF2 with HMAC-SHA-256, and AES-256 in CBC mode, as `openssl pkcs8 -topk8 -v2 aes-256-cbc` does.
///
/// Source: RFC 8018.
///
/// # Errors
/// [`CertificateError::UnsupportedKey`] if `pkcs8` is not PKCS#8, or if the system has no random numbers.
pub fn encrypted_pem(pkcs8: &[u8], passphrase: &str) -> Result<Zeroizing<String>, CertificateError> {
    let failed = |problem: String| CertificateError::UnsupportedKey { from: "the DER data".to_owned(), problem };
    let key = PrivateKeyInfoRef::from_der(pkcs8).map_err(|error| failed(error.to_string()))?;
    let (mut salt, mut start) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    if random.fill(&mut salt).and_then(|()| random.fill(&mut start)).is_err() {
        return Err(failed("the system has no random numbers".to_owned()));
    }
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, start);
    let encrypted = parameters.map_err(pkcs8::Error::from).and_then(|it| key.encrypt_with_params(it, passphrase));
    let encrypted = encrypted.map_err(|error| failed(error.to_string()))?;
    Ok(Zeroizing::new(input::to_pem("ENCRYPTED PRIVATE KEY", encrypted.as_bytes())))
}
