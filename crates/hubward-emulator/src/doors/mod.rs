//! The interfaces of an emulator: listeners, TLS, HTTP, WebSocket, MQTT, the admin API and the portal. An interface
//! translates bytes into calls of the services, and results into bytes.

mod accept;
#[cfg(feature = "admin")]
pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod dps_https;
pub(crate) mod http;
pub(crate) mod https;
pub(crate) mod listen;
pub(crate) mod mqtt;
pub(crate) mod serve;
mod service_https;
pub(crate) mod socket;
pub(crate) mod tls;
