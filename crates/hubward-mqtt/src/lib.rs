//! An MQTT 3.1.1 client session over any byte stream, and Azure's DPS and IoT Hub mapped onto it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hubward_dial::{Dialer, Endpoint};
//! use hubward_mqtt::MqttDps;
//! use hubward_transport::{DpsReply, DpsTransport, Register, SasToken, TransportError, TransportKind};
//!
//! /// Asks once. A dialer that opens TLS makes this MQTT, one that opens WebSockets MQTT over
//! /// WebSocket; nothing else differs.
//! async fn ask(dialer: Arc<dyn Dialer>, who: &Register, token: &SasToken) -> Result<DpsReply, TransportError> {
//!     let kind = TransportKind::Mqtt;
//!     let endpoint = Endpoint::new("global.azure-devices-provisioning.net", kind.default_port());
//!     let mut dps = MqttDps::new(kind, endpoint, dialer);
//!     let reply = dps.register(who, Some(token)).await;
//!     dps.close().await;
//!     reply
//! }
//! ```
//!
//! # Behavior
//!
//! * Packets come from `rumqttc`, checked where its decoder is lenient; the session is our own. It
//!   has no task: it works while it is polled, and all its state survives a dropped future.
//! * Packet ids 1 to [`TAG_MAX`] belong to messages, those above to subscriptions. Answers about a twin
//!   find their question by its request id.
//! * A ping goes out when nothing was sent for the keep-alive. A connection counts as dead when
//!   nothing at all arrives for [`SessionOptions::silence`] while something is unanswered, or for 1.5
//!   times the keep-alive otherwise.
//! * Answers of DPS are acknowledged as they are read. A message from a hub is acknowledged when it is
//!   completed, in the order the messages came; see [`MqttHub`] for what that means.
//! * Over WebSocket the server shows its clock; it comes along with the login and with its refusal.
//! * The password is wiped from memory once it is written, and is part of no `Debug` and no log.

mod ack_line;
mod core;
mod dial_error;
mod dps;
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod link;
mod login;
mod options;
mod packet;
mod questions;
mod session;
mod tag_set;

pub use crate::core::TAG_MAX;
pub use dps::MqttDps;
pub use hub::MqttHub;
// What crosses this crate's functions, and what its dialers are made of.
pub use hubward_dial::{Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings, TrustError};
pub use hubward_proto::limits::{HTTPS_PORT, MQTT_PORT, WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
pub use hubward_transport::{DpsTransport, HubTransport, TransportError, TransportKind};
pub use options::SessionOptions;
