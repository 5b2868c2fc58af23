//! Device keys in a PKCS#11 token, such as an HSM, a smart card or a secure element. The key never leaves the token.
//!
//! [`Pkcs11Key`] is the key of a client certificate. [`Pkcs11HmacKey`] is a symmetric key that signs SAS tokens.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hubward_pkcs11::{KeyLocation, Pin, Pkcs11Key};
//! use hubward_x509::{Certificate, ClientCertificate};
//!
//! let location = KeyLocation::new("/usr/lib/softhsm/libsofthsm2.so")
//!     .token_label("factory")
//!     .key_label("dev-1")
//!     .pin(Pin::new(std::env::var("TOKEN_PIN")?));
//! let key = Pkcs11Key::open(location)?;
//! let chain = Certificate::chain_from_file("dev-1.pem")?;
//! let certificate = ClientCertificate::with_signing_key(chain, Arc::new(key))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Behaviour
//!
//! * The program loads the module (a shared library) once, and never unloads it. The module runs in the program: load
//!   only modules that you trust.
//! * Each key has a session of its own. Threads that sign with the same key wait for each other.
//! * If the token has been removed, has failed or has closed the session, the next signature opens a new session and
//!   logs in again. Each signature tries this at most once. If the token refuses the PIN, the key never logs in again,
//!   because a token locks itself after some wrong PINs. After any other error, the next signature tries again.
//! * For a TLS handshake, the program computes the hash, and the token signs the hash. The token needs the mechanism
//!   `CKM_ECDSA` for an EC key, and `CKM_RSA_PKCS` or `CKM_RSA_PKCS_PSS` for an RSA key.
//! * For a SAS token, the PKCS#11 token computes the HMAC. It needs the mechanism `CKM_SHA256_HMAC`.
//! * [`Pkcs11Key::open`] refuses a key that needs the PIN again for each signature (`CKA_ALWAYS_AUTHENTICATE`).
//! * No error, and no `Debug`, contains the PIN.

mod error;
mod hmac_key;
mod location;
mod module;
mod public_key;
mod signing_key;
mod token_key;

pub use error::{Pkcs11Error, Place};
pub use hmac_key::Pkcs11HmacKey;
pub use location::{KeyLocation, Pin};
pub use signing_key::Pkcs11Key;
