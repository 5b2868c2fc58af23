//! DPS and the hubs, without protocols: admission, allocation and registrations; logins, telemetry, twins, methods and
//! messages; the operations of the service APIs. This floor uses no sockets and no packets. A door translates bytes
//! into its calls.

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod cloud;
pub(crate) mod dps;
pub(crate) mod faults;
pub(crate) mod hub;
pub(crate) mod maintenance;
pub(crate) mod policies;
pub(crate) mod ready;
