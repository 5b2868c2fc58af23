//! The certificates and private keys of devices for Azure IoT Hub and its Device Provisioning Service (DPS): load,
//! check, compare, and verify who issued them.
//!
//! [`ClientCertificate`] is what a device presents: a chain of certificates and the private key of the first one.
//! [`Certificate`] is one certificate, of a device or of an authority. [`CertificateRequest`] asks an authority for a
//! certificate. [`CertificateSigner`] is a private key that signs certificates and certificate requests. [`DeviceKey`]
//! is a new private key, which the program stores with the certificate that a service issues for it.
//!
//! ```no_run
//! use hubward_x509::ClientCertificate;
//!
//! let certificate = ClientCertificate::from_files("dev-1.pem", "dev-1.key", None)?;
//! certificate.check(std::time::SystemTime::now())?;
//! certificate.check_registration_id("dev-1")?;
//! # Ok::<(), hubward_x509::CertificateError>(())
//! ```
//!
//! # Behaviour
//!
//! * The crate uses neither a clock nor the network: the caller passes the time as an argument.
//! * A chain begins with the device's certificate, the *leaf*. Each following certificate has issued the one before it.
//!   The last one may be a root, but need not be.
//! * Files and texts have at most 1 MiB ([`FILE_MAX`]), and a chain has at most 10 certificates ([`CHAIN_MAX`]).
//! * A private key is wiped from memory after it has been loaded into the TLS library (ring), which keeps its own copy.
//!   No type of this crate prints a private key or a passphrase.
//! * The crate `pkcs8` decrypts and encrypts private keys with a passphrase, because ring has no AES-CBC. ring does all
//!   other cryptography.
//! * This crate refuses a key whose decryption demands too much work: more than 10 million iterations of PBKDF2, or
//!   more than 128 MiB of scrypt.
//! * If a file contains several private keys, the first one is used. Text outside the PEM blocks is ignored.
//! * A chain may contain a signature that ring cannot check, for example with SHA-1 or P-521. The service then decides
//!   whether to accept it. [`Certificate::is_issued_by`] returns `false` for such a signature.

mod certificate;
mod certificate_request;
mod certificate_signer;
mod chain;
mod client_certificate;
mod decryption;
mod device_key;
mod encryption;
mod error;
mod input;
mod key_kind;
mod name;
mod new_request;
mod private_key;
mod signature;

pub use certificate::Certificate;
pub use certificate_request::CertificateRequest;
pub use certificate_signer::{CertificateSigner, KeyAlgorithm};
pub use chain::CHAIN_MAX;
pub use client_certificate::{COMMON_NAME_MAX, ClientCertificate};
pub use device_key::DeviceKey;
pub use encryption::encrypted_pem;
pub use error::CertificateError;
pub use input::FILE_MAX;
/// The key of a client certificate, as TLS uses it. Implement this trait for a key outside the program.
pub use rustls::sign::SigningKey;

#[cfg(test)]
mod tests;
