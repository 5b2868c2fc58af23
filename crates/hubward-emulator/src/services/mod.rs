//! What DPS and the hubs do: admission, allocation and registrations; logins, telemetry, twins, methods and messages;
//! the operations of the service APIs. No sockets, no packets: a door translates bytes into calls of this floor.

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod cloud;
pub(crate) mod dps;
pub(crate) mod faults;
pub(crate) mod hub;
pub(crate) mod maintenance;
pub(crate) mod policies;
pub(crate) mod ready;
