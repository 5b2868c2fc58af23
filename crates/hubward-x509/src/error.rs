//! Why a certificate or a private key cannot be used.

use std::fmt;
use std::path::PathBuf;

/// Why a certificate or a private key cannot be used. The person who prepared the files must correct them. A retry
/// helps only for [`CertificateError::NotYetValid`].
///
/// The message never contains a part of a private key or of a passphrase.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("the file `{}` cannot be read: {problem}", file.display())]
    File {
        /// Path of the file.
        file: PathBuf,
        /// Why it cannot be read.
        problem: String,
    },
    /// The file or text is too large.
    #[error("{from} is larger than {limit} bytes")]
    TooLarge {
        /// The path of the file, or a name for the text.
        from: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not PEM.
    #[error("{from} is not valid PEM: {problem}")]
    NotPem {
        /// The path of the file, or a name for the text.
        from: String,
        /// The problem.
        problem: &'static str,
    },
    /// The text contains no certificate.
    #[error("{from} contains no certificate")]
    NoCertificate {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The text contains no certificate request.
    #[error("{from} contains no certificate request")]
    NoRequest {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The text contains too many certificates.
    #[error("{from} contains more than {limit} certificates")]
    TooManyCertificates {
        /// The path of the file, or a name for the text.
        from: String,
        /// The maximum number.
        limit: usize,
    },
    /// A certificate is malformed.
    #[error("{from} contains a certificate that cannot be read: {problem}")]
    Malformed {
        /// The path of the file, or a name for the text.
        from: String,
        /// The problem.
        problem: String,
    },
    /// The leaf is an X.509 certificate of version 1 or 2.
    #[error("the certificate `{subject}` has X.509 version {version}; TLS needs version 3")]
    OldVersion {
        /// Subject of the certificate.
        subject: String,
        /// Its version: 1 or 2.
        version: u8,
    },
    /// The text contains no private key.
    #[error("{from} contains no private key")]
    NoKey {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The private key has the encryption that older versions of OpenSSL write (`Proc-Type: 4,ENCRYPTED`).
    #[error("the private key in {from} has the old PEM encryption (`DEK-Info`), which is not supported")]
    OldEncryption {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The private key is encrypted, and there is no passphrase.
    #[error("the private key in {from} is encrypted, and there is no passphrase")]
    PassphraseNeeded {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The passphrase does not decrypt the private key.
    #[error("the passphrase does not decrypt the private key in {from}")]
    WrongPassphrase {
        /// The path of the file, or a name for the text.
        from: String,
    },
    /// The private key is encrypted in a way that is not supported.
    #[error("the private key in {from} is encrypted in a way that is not supported: {problem}")]
    UnsupportedEncryption {
        /// The path of the file, or a name for the text.
        from: String,
        /// The algorithm.
        problem: String,
    },
    /// The private key is malformed, or of a kind that is not supported.
    #[error("the private key in {from} cannot be used: {problem}")]
    UnsupportedKey {
        /// The path of the file, or a name for the text.
        from: String,
        /// The problem.
        problem: String,
    },
    /// The private key does not belong to the leaf.
    #[error("the private key does not belong to the certificate `{subject}`")]
    KeyMismatch {
        /// Subject of the leaf.
        subject: String,
    },
    /// A certificate of the chain is not issued by the next one.
    #[error("the chain is broken: `{subject}` is issued by `{issuer}`, but the next certificate is `{next}`{detail}")]
    BrokenChain {
        /// Subject of the certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Subject of the next certificate in the chain.
        next: String,
        /// Empty if the names do not match. Otherwise, a text which adds that the signature is not valid.
        detail: &'static str,
    },
    /// A certificate of the chain has expired.
    #[error("the certificate `{subject}` expired at {not_after}")]
    Expired {
        /// Subject of the certificate.
        subject: String,
        /// The end of its validity.
        not_after: String,
    },
    /// A certificate of the chain is not valid yet, or the clock is wrong.
    #[error("the certificate `{subject}` is not valid before {not_before}")]
    NotYetValid {
        /// Subject of the certificate.
        subject: String,
        /// The start of its validity.
        not_before: String,
    },
    /// The leaf has no common name.
    #[error("the certificate `{subject}` has no common name (CN)")]
    NoCommonName {
        /// Subject of the leaf.
        subject: String,
    },
    /// The common name of the leaf is not the id that DPS or the hub expects.
    #[error("the common name of the certificate is `{common_name}`, but it must be `{expected}`")]
    OtherCommonName {
        /// The common name.
        common_name: String,
        /// The id.
        expected: String,
    },
    /// The common name of the leaf is too long for DPS.
    #[error("the common name of the certificate has {length} characters; DPS allows {limit}")]
    LongCommonName {
        /// Its length in characters.
        length: usize,
        /// The maximum.
        limit: usize,
    },
}

impl CertificateError {
    /// Advice for the person who prepared the files.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::File { .. } => "check the path, and whether this user may read the file",
            Self::TooLarge { .. } | Self::NotPem { .. } => {
                "use a PEM file, which contains a line `-----BEGIN`; `openssl x509` and `openssl pkey` convert others"
            }
            Self::Malformed { .. } | Self::NoCertificate { .. } => {
                "use a PEM file with `-----BEGIN CERTIFICATE-----`; `openssl x509 -in FILE -text` shows its content"
            }
            Self::NoRequest { .. } => {
                "use a PEM file with `-----BEGIN CERTIFICATE REQUEST-----`, which `openssl req` makes"
            }
            Self::TooManyCertificates { .. } => {
                "the file must contain only the device's certificate and the certificates of its issuers"
            }
            Self::OldVersion { .. } => {
                "create the certificate again with an extension, for example with `openssl x509 -extfile`"
            }
            Self::NoKey { .. } | Self::UnsupportedKey { .. } => {
                "use an EC key (P-256, P-384) or an RSA key (2048 to 4096 bits) in a PEM file"
            }
            Self::OldEncryption { .. } | Self::UnsupportedEncryption { .. } => {
                "convert the key with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
            }
            Self::PassphraseNeeded { .. } => "give the passphrase of the key",
            Self::WrongPassphrase { .. } => "check the passphrase; a line break at its end does not belong to it",
            Self::KeyMismatch { .. } => "use the private key with which the certificate was requested",
            Self::BrokenChain { .. } => {
                "put the device's certificate first, then its issuer, then the issuer of that, up to the authority \
                 that DPS or the hub knows"
            }
            Self::Expired { .. } => "renew the certificate, and check the clock of this machine",
            Self::NotYetValid { .. } => "check the clock of this machine",
            Self::NoCommonName { .. } | Self::OtherCommonName { .. } => {
                "the common name (CN) must be the registration id; for a device that connects to a hub without DPS, \
                 the device id"
            }
            Self::LongCommonName { .. } => "choose a shorter registration id",
        }
    }
}

impl fmt::Debug for CertificateError {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
