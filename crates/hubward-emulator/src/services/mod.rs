//! The work of DPS and the hubs, without the protocols. DPS authenticates devices, assigns hubs and keeps
//! registrations. A hub handles logins, telemetry, twins, methods and messages. This module also contains the
//! operations of the service APIs.
//!
//! This module is one of the floors (layers) of the emulator. It uses no sockets and no packets. A door (the front end
//! for a protocol) translates bytes into calls of this module.

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod cloud;
pub(crate) mod dps;
pub(crate) mod faults;
pub(crate) mod hub;
pub(crate) mod issuer;
pub(crate) mod maintenance;
pub(crate) mod policies;
pub(crate) mod presented;
pub(crate) mod ready;
#[cfg(feature = "admin")]
pub(crate) mod simulate;
#[cfg(feature = "admin")]
pub(crate) mod simulated;
