//! HTTP: the HTTPS port with DPS and WebSocket upgrades, and the admin port.

#[cfg(feature = "admin")]
mod admin;
mod body;
mod https;
#[cfg(feature = "admin")]
mod telemetry;
#[cfg(feature = "admin")]
mod timed;
mod websocket;

#[cfg(feature = "admin")]
pub(crate) use admin::{Admin, Guard};
#[cfg(feature = "admin")]
pub(crate) use body::Chunks;
pub(crate) use body::{Cut, Pace, Paced, Reply, is_json, reply, value};
pub(crate) use https::serve;
