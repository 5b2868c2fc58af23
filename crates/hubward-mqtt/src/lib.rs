//! An MQTT 3.1.1 client session over any byte stream, and transports to Azure's DPS and IoT Hub that use this session.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hubward_dial::{Dialer, Endpoint};
//! use hubward_mqtt::MqttDps;
//! use hubward_transport::{DpsReply, DpsTransport, Register, SasToken, TransportError, TransportKind};
//!
//! /// Sends one registration. With a dialer that opens TLS streams, this is MQTT; with a dialer that opens
//! /// WebSockets, it is MQTT over WebSocket. Nothing else differs.
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
//! * `rumqttc` encodes and decodes packets. If its decoder would accept an invalid packet, this crate refuses the
//!   packet first.
//! * This crate has its own session. A session spawns no task: it works only while the caller polls it. Dropping a
//!   future loses no state.
//! * Messages use the packet ids from 1 to [`TAG_MAX`]; subscriptions use the ids above [`TAG_MAX`]. The request id of
//!   a twin response shows which request it answers.
//! * The session sends a ping if it has sent nothing for the time of the keep-alive. It also sends a ping if no byte
//!   arrives for half of [`SessionOptions::silence`] while a request is unanswered.
//! * A connection counts as dead if no byte arrives for too long. The limit is [`SessionOptions::silence`] while a
//!   request is unanswered, and 1.5 times the keep-alive otherwise.
//! * The client acknowledges a message from DPS when it has read the message. It acknowledges a message from a hub when
//!   the program has completed this message and all earlier messages; see [`MqttHub`].
//! * Over WebSocket, the server sends the time of its clock. The event of a successful login and the error of a refused
//!   login contain this time.
//! * After the session has written the password, it wipes the password from memory. No `Debug` output and no log
//!   contains the password.

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
pub use hub::{MqttHub, hub_abilities};
// Types in this crate's public API, and the dialers for it.
pub use hubward_dial::{Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings, TrustError};
pub use hubward_proto::limits::{HTTPS_PORT, MQTT_PORT, WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
pub use hubward_transport::{DpsTransport, HubTransport, TransportError, TransportKind};
pub use options::SessionOptions;
