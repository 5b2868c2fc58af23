//! Every error has a message and an advice, and neither contains a secret.

use std::path::PathBuf;

use crate::CertificateError as E;

/// One error of each kind. The match fails to compile if a variant is missing here.
fn all() -> Vec<E> {
    let from = || "FILE".to_owned();
    let (subject, problem) = (|| "CN=x".to_owned(), || "a problem".to_owned());
    let all = vec![
        E::File { file: PathBuf::from("FILE"), problem: problem() },
        E::TooLarge { from: from(), limit: 1 },
        E::NotPem { from: from(), problem: "a problem" },
        E::NoCertificate { from: from() },
        E::TooManyCertificates { from: from(), limit: 10 },
        E::Malformed { from: from(), problem: problem() },
        E::OldVersion { subject: subject(), version: 1 },
        E::NoKey { from: from() },
        E::OldEncryption { from: from() },
        E::PassphraseNeeded { from: from() },
        E::WrongPassphrase { from: from() },
        E::UnsupportedEncryption { from: from(), problem: problem() },
        E::UnsupportedKey { from: from(), problem: problem() },
        E::KeyMismatch { subject: subject() },
        E::BrokenChain { subject: subject(), issuer: subject(), next: subject(), detail: "" },
        E::Expired { subject: subject(), not_after: from() },
        E::NotYetValid { subject: subject(), not_before: from() },
        E::NoCommonName { subject: subject() },
        E::OtherCommonName { common_name: subject(), expected: from() },
        E::LongCommonName { length: 65, limit: 64 },
        E::NoRequest { from: from() },
    ];
    for (error, index) in all.iter().zip(0..) {
        let expected = match error {
            E::File { .. } => 0,
            E::TooLarge { .. } => 1,
            E::NotPem { .. } => 2,
            E::NoCertificate { .. } => 3,
            E::TooManyCertificates { .. } => 4,
            E::Malformed { .. } => 5,
            E::OldVersion { .. } => 6,
            E::NoKey { .. } => 7,
            E::OldEncryption { .. } => 8,
            E::PassphraseNeeded { .. } => 9,
            E::WrongPassphrase { .. } => 10,
            E::UnsupportedEncryption { .. } => 11,
            E::UnsupportedKey { .. } => 12,
            E::KeyMismatch { .. } => 13,
            E::BrokenChain { .. } => 14,
            E::Expired { .. } => 15,
            E::NotYetValid { .. } => 16,
            E::NoCommonName { .. } => 17,
            E::OtherCommonName { .. } => 18,
            E::LongCommonName { .. } => 19,
            E::NoRequest { .. } => 20,
        };
        assert_eq!(index, expected, "{error}");
    }
    all
}

#[test]
fn every_error_has_a_message_and_an_advice() {
    for error in all() {
        let (message, advice) = (error.to_string(), error.advice());
        assert_eq!(format!("{error:?}"), message, "`main` prints the message");
        for text in [&message, advice] {
            assert!(text.len() > 20 && !text.ends_with('.') && !text.contains('\n'), "{text}");
            assert!(text.starts_with(|it: char| it.is_lowercase()) || text.starts_with("FILE"), "{text}");
        }
    }
}

/// The advice must help with this error: for example, a key in a file for certificates is no problem of encryption.
#[test]
fn each_advice_fits_its_error() {
    for (error, word) in all().into_iter().zip([
        "path",
        "PEM",
        "PEM",
        "PEM",
        "issuers",
        "PEM",
        "extension",
        "PEM",
        "openssl pkcs8",
        "passphrase",
        "line break",
        "openssl pkcs8",
        "P-256",
        "requested",
        "first",
        "renew",
        "clock",
        "CN",
        "CN",
        "shorter",
        "REQUEST",
    ]) {
        assert!(error.advice().contains(word), "{error}: {}", error.advice());
    }
}
