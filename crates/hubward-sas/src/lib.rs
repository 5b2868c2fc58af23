//! Shared keys, group-derived keys and SAS tokens, as Azure IoT Hub and its
//! Device Provisioning Service (DPS) expect them.
//!
//! ```
//! use hubward_sas::{SasToken, SharedKey, UnixSeconds};
//!
//! // A device of an enrollment group derives its own key from the group's.
//! let group = SharedKey::from_base64("8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==")?;
//! let device = group.derive("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6");
//! assert_eq!(device.expose_base64().as_str(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
//!
//! // A token for DPS, good until a moment the caller picks.
//! let until = UnixSeconds(1_700_003_600);
//! let token = SasToken::sign(&device, "0ne00000000/registrations/dev-1", until, Some("registration"));
//! assert!(token.is_signed_by(&device));
//! assert!(!token.is_expired(UnixSeconds(1_700_003_600 + 299)));
//! # Ok::<(), hubward_sas::KeyError>(())
//! ```
//!
//! # Behavior
//!
//! * Nothing here reads a clock or a network: the time is an argument.
//! * Keys, tokens and connection strings are wiped when dropped. None has `Display`, and `Debug` shows
//!   no secret; the only ways to read one start with `expose_`.
//! * Signing gives exactly one form (the documented one). Verifying accepts what every Microsoft
//!   SDK sends, because the signature covers the `sr` text as it stands in the token.

mod connection_string;
mod key;
mod time;
mod token;

pub use connection_string::{ConnectionString, ConnectionStringError};
pub use key::{KeyError, SIGNATURE_LEN, SharedKey};
pub use time::UnixSeconds;
pub use token::{EXPIRY_GRACE, SasToken, TokenError};
