//! An MQTT 3.1.1 client session over any byte stream, and Azure's DPS and IoT Hub mapped onto it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hubward_dial::{Dialer, Endpoint};
//! use hubward_mqtt::MqttDps;
//! use hubward_transport::{DpsReply, DpsTransport, Register, SasToken, TransportError, TransportKind};
//!
//! /// Sends one registration. A dialer that opens TLS streams makes this MQTT; one that opens WebSockets
//! /// makes it MQTT over WebSocket. Nothing else differs.
//! async fn register(
//!     dialer: Arc<dyn Dialer>,
//!     device: &Register,
//!     token: &SasToken,
//! ) -> Result<DpsReply, TransportError> {
//!     let kind = TransportKind::Mqtt;
//!     let endpoint = Endpoint::new("global.azure-devices-provisioning.net", kind.default_port());
//!     let mut dps = MqttDps::new(kind, endpoint, dialer);
//!     let reply = dps.register(device, Some(token)).await;
//!     dps.close().await;
//!     reply
//! }
//! ```
//!
//! # Behaviour
//!
//! * `rumqttc` encodes and decodes packets, with extra checks where its decoder is lenient. This crate has
//!   its own session. A session spawns no task: it works while the caller polls it, and dropping a future
//!   loses no state.
//! * Messages use the packet ids from 1 to [`TAG_MAX`], subscriptions the ids above. Twin responses are
//!   matched to their requests by request id.
//! * The session sends a ping when it has sent nothing for the keep-alive. A connection counts as dead when
//!   no byte arrives for [`SessionOptions::silence`] while a request is unanswered, or for 1.5 times the
//!   keep-alive otherwise.
//! * The client acknowledges a message from DPS as soon as it reads it. It acknowledges a message from a hub
//!   when the program completes it, in the order in which the messages arrived; see [`MqttHub`].
//! * Over WebSocket the server sends the time of its clock. The event of the login, or the error that
//!   refuses it, contains this time.
//! * The password is wiped from memory once it is written. No `Debug` output and no log contains it.

mod ack_queue;
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
mod session;
mod tag_set;
mod twin_requests;

pub use crate::core::TAG_MAX;
pub use dps::MqttDps;
pub use hub::MqttHub;
// The types in this crate's signatures, and the dialers to use with it.
pub use hubward_dial::{Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings, TrustError};
pub use hubward_proto::limits::{HTTPS_PORT, MQTT_PORT, WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
pub use hubward_transport::{DpsTransport, HubTransport, TransportError, TransportKind};
pub use options::SessionOptions;
