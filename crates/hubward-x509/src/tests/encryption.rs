//! Encrypted private keys: the passphrase, the algorithms, and the work that a file may demand.

use std::time::Duration;

use der::Encode as _;
use der::asn1::OctetStringRef;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams};

use super::{Issued, params};
use crate::{CertificateError, private_key};

const ENCRYPTED: &str = include_str!("data/encrypted.key");
/// As [`ENCRYPTED`], but with one iteration, which is faster.
const ENCRYPTED_ONCE: &str = include_str!("data/encrypted-once.key");
const PBE_SHA1_3DES: &str = include_str!("data/pbe-sha1-3des.key");
const PBE_MD5_DES: &str = include_str!("data/pbe-md5-des.key");
const OLD_ENCRYPTION: &str = include_str!("data/old-encryption.key");

fn load(key: &str, passphrase: Option<&str>) -> Result<(), String> {
    private_key::from_pem(key.as_bytes(), passphrase, "KEY").map(drop).map_err(|it| it.to_string())
}

/// A key with this encryption. Its content is nothing but zeros.
fn encrypted_with(kdf: Kdf) -> String {
    let algorithm = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv: [0; 16] } };
    let content = OctetStringRef::new(&[0; 32]).expect("32 bytes");
    let info = EncryptedPrivateKeyInfoRef { encryption_algorithm: algorithm.into(), encrypted_data: content };
    crate::input::to_pem("ENCRYPTED PRIVATE KEY", &info.to_der().expect("DER"))
}

fn pbkdf2(iterations: u32) -> String {
    let salt = Salt::new([0; 8]).expect("8 bytes");
    let prf = Pbkdf2Prf::HmacWithSha256;
    encrypted_with(Kdf::Pbkdf2(Pbkdf2Params { salt, iteration_count: iterations, key_length: None, prf }))
}

fn scrypt(n: u64, r: u16, p: u16) -> String {
    let salt = Salt::new([0; 8]).expect("8 bytes");
    let (cost_parameter, block_size, parallelization) = (n, r, p);
    encrypted_with(Kdf::Scrypt(ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None }))
}

#[test]
fn the_passphrase_must_be_exact() {
    let wrong = Err("the passphrase does not decrypt the private key in KEY".to_owned());
    for (passphrase, expected) in [
        ("secret1", Ok(())),
        ("secret1\n", wrong.clone()),
        ("secret1\r\n", wrong.clone()),
        (" secret1", wrong.clone()),
        ("Secret1", wrong.clone()),
        ("", wrong.clone()),
        ("\0", wrong),
    ] {
        assert_eq!(load(ENCRYPTED, Some(passphrase)), expected, "{passphrase:?}");
    }
    assert_eq!(load(ENCRYPTED, None), Err("the private key in KEY is encrypted, and there is no passphrase".into()));
    // The advice for a passphrase from a file.
    let error = private_key::from_pem(ENCRYPTED.as_bytes(), Some("secret1\n"), "KEY").expect_err("a line break");
    assert!(error.advice().contains("a line break at its end"), "{}", error.advice());
}

#[test]
fn a_passphrase_of_a_key_that_is_not_encrypted_has_no_effect() {
    let device = Issued::by_itself(params("dev-1"));
    assert_eq!(load(&device.key_pem(), Some("secret1")), Ok(()));
}

/// About one of 256 wrong passphrases decrypts to valid padding. The error must still be the same.
#[test]
fn no_wrong_passphrase_looks_like_a_damaged_key() {
    for number in 0..1024 {
        let error = private_key::from_pem(ENCRYPTED_ONCE.as_bytes(), Some(&format!("wrong {number}")), "KEY");
        assert_eq!(error.err(), Some(CertificateError::WrongPassphrase { from: "KEY".into() }), "{number}");
    }
}

#[test]
fn old_encryption_is_refused_by_name() {
    let unsupported = "the private key in KEY is encrypted in a way that is not supported: ";
    for (key, expected) in [
        (PBE_SHA1_3DES, format!("{unsupported}pbeWithSHAAnd3-KeyTripleDES-CBC, which is obsolete")),
        (PBE_MD5_DES, format!("{unsupported}pbeWithMD5AndDES-CBC, which is obsolete")),
        (
            OLD_ENCRYPTION,
            "the private key in KEY has the old PEM encryption (`DEK-Info`), which is not supported".to_owned(),
        ),
    ] {
        // With and without a passphrase: a passphrase does not help.
        for passphrase in [None, Some("secret1")] {
            assert_eq!(load(key, passphrase), Err(expected.clone()), "{passphrase:?}");
        }
    }
}

#[test]
fn a_file_cannot_demand_endless_work() {
    let unsupported = "the private key in KEY is encrypted in a way that is not supported: ";
    let memory = "at most 128 MiB are allowed";
    #[expect(clippy::disallowed_methods, reason = "measures how long refusing takes")]
    let start = std::time::Instant::now();
    for (key, expected) in [
        (pbkdf2(10_000_001), "PBKDF2 with 10000001 iterations; at most 10000000 are allowed".to_owned()),
        (pbkdf2(u32::MAX), format!("PBKDF2 with {} iterations; at most 10000000 are allowed", u32::MAX)),
        (scrypt(1 << 18, 8, 1), format!("scrypt with N=262144, r=8, p=1; {memory}")),
        (scrypt(1 << 14, 8, 9), format!("scrypt with N=16384, r=8, p=9; {memory}")),
        (scrypt(1 << 63, 1, 1), format!("scrypt with N=9223372036854775808, r=1, p=1; {memory}")),
        (scrypt(1 << 63, u16::MAX, u16::MAX), format!("scrypt with N={}, r=65535, p=65535; {memory}", 1_u64 << 63)),
    ] {
        assert_eq!(load(&key, Some("secret1")), Err(format!("{unsupported}{expected}")));
    }
    // Far below the seconds that a single one of them would take, however busy the machine is.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn senseless_parameters_are_refused() {
    for (key, case) in [
        (pbkdf2(0), "no iteration"),
        (scrypt(0, 8, 1), "N is 0"),
        (scrypt(1, 8, 1), "N is 1"),
        (scrypt(15, 8, 1), "N is not a power of two"),
        (scrypt(16, 0, 1), "r is 0"),
        (scrypt(16, 8, 0), "p is 0"),
    ] {
        let error = load(&key, Some("secret1")).expect_err(case);
        assert!(error.contains("without an iteration") || error.contains("which is not possible"), "{case}: {error}");
    }
    for content in ["", "AAAA", "MAA=", "MAYwAAQBAAA="] {
        let text = format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{content}\n-----END ENCRYPTED PRIVATE KEY-----\n");
        let error = load(&text, Some("secret1")).expect_err(content);
        assert!(error.contains("is encrypted in a way that is not supported"), "{content}: {error}");
    }
}
