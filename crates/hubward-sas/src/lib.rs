//! Shared keys, group-derived keys and SAS tokens, in the form that Azure IoT Hub and its Device Provisioning Service
//! (DPS) expect.
//!
//! ```
//! use hubward_sas::{SasToken, SharedKey, UnixSeconds};
//!
//! // The key of a device in an enrollment group is derived from the group's key.
//! let group = SharedKey::from_base64(
//!     "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
//! )?;
//! let device = group.derive("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6");
//! assert_eq!(device.expose_base64().as_str(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
//!
//! // A token for DPS, valid until the time that the caller gives.
//! let until = UnixSeconds(1_700_003_600);
//! let token = SasToken::sign(&device, "0ne00000000/registrations/dev-1", until, Some("registration"));
//! assert!(token.is_signed_by(&device));
//! assert!(!token.is_expired(UnixSeconds(1_700_003_600 + 299)));
//! # Ok::<(), hubward_sas::KeyError>(())
//! ```
//!
//! # Behaviour
//!
//! * The crate uses neither a clock nor the network: the caller passes the time as an argument.
//! * Keys, tokens and connection strings are wiped from memory when dropped. None of these types has `Display`, and
//!   `Debug` shows no secret. Only methods with names that start with `expose_` reveal a secret.
//! * Signing always writes the documented form of a token. Microsoft's SDKs encode `sr` in different ways.
//!   Verification accepts all their tokens, because it uses the text of `sr` exactly as the token contains it.

mod connection_string;
mod key;
mod time;
mod token;

pub use connection_string::{ConnectionString, ConnectionStringError};
pub use key::{KeyError, SIGNATURE_LEN, SharedKey};
pub use time::UnixSeconds;
pub use token::{EXPIRY_GRACE, SasToken, TokenError};
