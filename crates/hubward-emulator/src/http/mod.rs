//! HTTP: the HTTPS port with DPS and WebSocket upgrades, and the admin port.

mod admin;
mod body;
mod https;
mod telemetry;
mod websocket;

pub(crate) use admin::serve as serve_admin;
pub(crate) use body::{Cut, Pace, Paced, Reply, reply, value};
pub(crate) use https::serve;
