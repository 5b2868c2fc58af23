//! Decrypts an encrypted private key (PKCS#8), with a limit on the work that the file can demand.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Reader as _, SliceReader};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID};
use pkcs8::pkcs5::{EncryptionScheme, Error};
use zeroize::Zeroizing;

use crate::CertificateError;

/// Maximum number of iterations of PBKDF2. OpenSSL uses 2,048 by default. Ten million take seconds.
///
/// Source: `[doc]` RFC 8018, section 4.2, which names this number for "especially critical keys".
const ITERATIONS_MAX: u32 = 10_000_000;

/// Maximum work of scrypt, `128 * N * r * p`, in bytes. This also limits its memory. OpenSSL uses 16 MiB by default,
/// and refuses to read keys that need more than 32 MiB of memory.
///
/// Source: `[doc]` RFC 7914, section 2.
const SCRYPT_MAX: u64 = 128 << 20;

/// The algorithms before PBES2. They use DES, RC2 or RC4, or a weak derivation of the key.
///
/// Source: `[doc]` RFC 8018, appendix A.3; RFC 7292, appendix C.
const OLD_ALGORITHMS: [(&str, &str); 12] = [
    ("1.2.840.113549.1.5.1", "pbeWithMD2AndDES-CBC"),
    ("1.2.840.113549.1.5.3", "pbeWithMD5AndDES-CBC"),
    ("1.2.840.113549.1.5.4", "pbeWithMD2AndRC2-CBC"),
    ("1.2.840.113549.1.5.6", "pbeWithMD5AndRC2-CBC"),
    ("1.2.840.113549.1.5.10", "pbeWithSHA1AndDES-CBC"),
    ("1.2.840.113549.1.5.11", "pbeWithSHA1AndRC2-CBC"),
    ("1.2.840.113549.1.12.1.1", "pbeWithSHAAnd128BitRC4"),
    ("1.2.840.113549.1.12.1.2", "pbeWithSHAAnd40BitRC4"),
    ("1.2.840.113549.1.12.1.3", "pbeWithSHAAnd3-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.4", "pbeWithSHAAnd2-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.5", "pbeWithSHAAnd128BitRC2-CBC"),
    ("1.2.840.113549.1.12.1.6", "pbeWithSHAAnd40BitRC2-CBC"),
];

/// Decrypts the content of `ENCRYPTED PRIVATE KEY`. The result is an unencrypted PKCS#8 structure.
pub(crate) fn decrypt(
    der: &[u8],
    passphrase: Option<&str>,
    from: &str,
) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let unsupported = |problem: String| CertificateError::UnsupportedEncryption { from: from.to_owned(), problem };
    // Before the passphrase: a better passphrase does not help if the algorithm is not supported.
    check_algorithm(der).map_err(unsupported)?;
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| unsupported(error.to_string()))?;
    check_work(&encrypted.encryption_algorithm).map_err(unsupported)?;
    let Some(passphrase) = passphrase else {
        return Err(CertificateError::PassphraseNeeded { from: from.to_owned() });
    };
    let wrong = || CertificateError::WrongPassphrase { from: from.to_owned() };
    // Decrypts in place, so there is only one buffer to wipe.
    let mut bytes = Zeroizing::new(encrypted.encrypted_data.as_bytes().to_vec());
    let length = match encrypted.encryption_algorithm.decrypt_in_place(passphrase, &mut bytes) {
        Ok(plain) => plain.len(),
        Err(Error::DecryptFailed | Error::EncryptFailed) => return Err(wrong()),
        Err(error) => return Err(unsupported(error.to_string())),
    };
    bytes.truncate(length);
    // One of 256 wrong passphrases gives valid padding, but then the bytes are not DER.
    if AnyRef::from_der(&bytes).is_err() {
        return Err(wrong());
    }
    Ok(bytes)
}

/// Checks the name of the algorithm, so that the error for an old one contains its name.
fn check_algorithm(der: &[u8]) -> Result<(), String> {
    let oid = algorithm(der).map_err(|error| error.to_string())?;
    if oid == PBES2_OID {
        return Ok(());
    }
    let text = oid.to_string();
    Err(match OLD_ALGORITHMS.iter().find(|(it, _)| *it == text) {
        Some((_, name)) => format!("{name}, which is obsolete"),
        None => format!("algorithm {text}"),
    })
}

/// The algorithm of an `EncryptedPrivateKeyInfo`. Source: `[doc]` RFC 5958, section 3.
fn algorithm(der: &[u8]) -> Result<ObjectIdentifier, der::Error> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.value())?;
    let algorithm = AnyRef::decode(&mut reader)?;
    <&OctetStringRef>::decode(&mut reader)?;
    reader.finish()?;
    ObjectIdentifier::decode(&mut SliceReader::new(algorithm.value())?)
}

/// Refuses parameters that would keep the program busy for minutes, or use up its memory.
fn check_work(scheme: &EncryptionScheme) -> Result<(), String> {
    match scheme.pbes2().map(|it| &it.kdf) {
        Some(Kdf::Pbkdf2(it)) if it.iteration_count == 0 => Err("PBKDF2 without an iteration".to_owned()),
        Some(Kdf::Pbkdf2(it)) if it.iteration_count > ITERATIONS_MAX => {
            Err(format!("PBKDF2 with {} iterations; at most {ITERATIONS_MAX} are allowed", it.iteration_count))
        }
        Some(Kdf::Scrypt(it)) => {
            let factors = [it.cost_parameter, it.block_size.into(), it.parallelization.into()];
            let [n, r, p] = factors;
            let given = format!("scrypt with N={n}, r={r}, p={p}");
            // The crate `pkcs5` panics if N is 0.
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return Err(format!("{given}, which is not possible"));
            }
            match factors.into_iter().try_fold(128_u64, u64::checked_mul) {
                Some(work) if work <= SCRYPT_MAX => Ok(()),
                _ => Err(format!("{given}; at most {} MiB are allowed", SCRYPT_MAX >> 20)),
            }
        }
        _ => Ok(()),
    }
}
