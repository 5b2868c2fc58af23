//! Every encoding of a private key that OpenSSL writes, for every kind of key: it loads, or is refused by name.

use hubward_x509::{CertificateError, ClientCertificate};

use super::openssl::OpenSsl;

const PASSPHRASE: &str = "correct-horse";

/// The kinds of keys that are refused, the arguments of `openssl genpkey`, and a part of the error.
const REFUSED_KINDS: [(&str, &str, &str); 7] = [
    ("P-521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "it is an EC key with the curve P-521"),
    ("P-224", "-algorithm EC -pkeyopt ec_paramgen_curve:P-224", "it is an EC key with the curve P-224"),
    ("secp256k1", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "it is an EC key with the curve 1.3.132.0.10"),
    ("Ed25519", "-algorithm ED25519", "it is an Ed25519 key"),
    ("Ed448", "-algorithm ED448", "it is an Ed448 key"),
    ("RSA 1024", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "it is an RSA key with 1024 bits"),
    (
        "RSA, exponent 3",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3",
        "it is an RSA key with a public exponent below 65537",
    ),
];

/// The ciphers and the functions of PBKDF2 with which `openssl pkcs8` encrypts.
const CIPHERS: [&str; 3] = ["aes-128-cbc", "aes-256-cbc", "des3"];
const FUNCTIONS: [&str; 3] = ["hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA512"];

/// Writes the key to `key.pem`, as PKCS#8.
fn generate(openssl: &OpenSsl, arguments: &str) {
    openssl.run(&format!("genpkey {arguments} -out key.pem"));
}

/// Returns `key.pem` in the form that `openssl COMMAND -in key.pem ARGUMENTS` writes.
fn convert(openssl: &OpenSsl, command: &str) -> String {
    openssl.run(&format!("{command} -in key.pem -out converted.pem"));
    openssl.read("converted.pem")
}

/// Loads the key with the certificate in `certificate.pem`. The certificate proves that it is the right key.
fn load(openssl: &OpenSsl, key: &str, passphrase: Option<&str>) -> Result<(), CertificateError> {
    ClientCertificate::from_pem(openssl.read("certificate.pem").as_bytes(), key.as_bytes(), passphrase).map(drop)
}

/// One test for each kind of key, because some keys take seconds to generate.
macro_rules! every_encoding_loads_or_is_refused_by_name {
    ($($name:ident: $kind:literal, $arguments:literal;)+) => {
        $(#[test]
        fn $name() {
            check_every_encoding($kind, $arguments);
        })+
    };
}

every_encoding_loads_or_is_refused_by_name! {
    every_encoding_of_a_p256_key: "P-256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    every_encoding_of_a_p384_key: "P-384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    every_encoding_of_an_rsa_2048_key: "RSA 2048", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    every_encoding_of_an_rsa_4096_key: "RSA 4096", "-algorithm RSA -pkeyopt rsa_keygen_bits:4096";
}

/// `arguments` are those of `openssl genpkey`.
fn check_every_encoding(kind: &str, arguments: &str) {
    let openssl = OpenSsl::new();
    let pass = format!("-passout pass:{PASSPHRASE}");
    let from = || "the PEM text of the key".to_owned();
    generate(&openssl, arguments);
    openssl.run(
        "req -new -x509 -config openssl.cnf -key key.pem -subj /CN=dev-1 -addext extendedKeyUsage=clientAuth \
         -out certificate.pem",
    );
    let plain = [("PKCS#8", openssl.read("key.pem")), ("SEC1 or PKCS#1", convert(&openssl, "pkey -traditional"))];
    for (form, key) in &plain {
        for passphrase in [None, Some(PASSPHRASE)] {
            assert_eq!(load(&openssl, key, passphrase), Ok(()), "{kind}, {form}");
        }
    }
    let label = if kind.starts_with('P') { "EC" } else { "RSA" };
    assert!(plain[1].1.starts_with(&format!("-----BEGIN {label} PRIVATE KEY-----")), "{kind}: {}", plain[1].0);

    let mut encrypted = vec![("scrypt".to_owned(), convert(&openssl, &format!("pkcs8 -topk8 -scrypt {pass}")))];
    for cipher in CIPHERS {
        for function in FUNCTIONS {
            let command = format!("pkcs8 -topk8 -v2 {cipher} -v2prf {function} {pass}");
            encrypted.push((format!("{cipher} {function}"), convert(&openssl, &command)));
        }
    }
    for (form, key) in &encrypted {
        let case = format!("{kind}, {form}");
        assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{case}");
        assert_eq!(load(&openssl, key, Some(PASSPHRASE)), Ok(()), "{case}");
        assert_eq!(load(&openssl, key, None), Err(CertificateError::PassphraseNeeded { from: from() }), "{case}");
        let wrong = load(&openssl, key, Some("battery-staple"));
        assert_eq!(wrong, Err(CertificateError::WrongPassphrase { from: from() }), "{case}");
    }

    let key = convert(&openssl, &format!("pkcs8 -topk8 -v1 PBE-SHA1-3DES {pass}"));
    let problem = "pbeWithSHAAnd3-KeyTripleDES-CBC, which is obsolete".to_owned();
    let refused = CertificateError::UnsupportedEncryption { from: from(), problem };
    assert_eq!(load(&openssl, &key, Some(PASSPHRASE)), Err(refused), "{kind}, PBES1");

    let key = convert(&openssl, &format!("pkey -traditional -aes256 {pass}"));
    assert!(key.contains("DEK-Info"), "{kind}");
    let refused = CertificateError::OldEncryption { from: from() };
    assert_eq!(load(&openssl, &key, Some(PASSPHRASE)), Err(refused), "{kind}, old PEM encryption");
}

#[test]
fn keys_that_azure_iot_does_not_accept_are_refused_by_name() {
    let openssl = OpenSsl::new();
    generate(&openssl, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    openssl.run("req -new -x509 -config openssl.cnf -key key.pem -subj /CN=dev-1 -out certificate.pem");
    for (kind, arguments, expected) in REFUSED_KINDS {
        generate(&openssl, arguments);
        let encrypt = format!("pkcs8 -topk8 -v2 aes-256-cbc -passout pass:{PASSPHRASE}");
        let mut forms = vec![("PKCS#8", openssl.read("key.pem")), ("encrypted", convert(&openssl, &encrypt))];
        if !kind.starts_with("Ed") {
            forms.push(("SEC1 or PKCS#1", convert(&openssl, "pkey -traditional")));
        }
        for (form, key) in forms {
            let error = load(&openssl, &key, Some(PASSPHRASE)).expect_err(kind);
            let is_kind =
                matches!(&error, CertificateError::UnsupportedKey { problem, .. } if problem.starts_with(expected));
            assert!(is_kind, "{kind}, {form}: {error}");
        }
    }
}
