//! MQTT 3.1.1, the server's side: packets, a connection, and who is asked for.

pub(crate) mod codec;
mod connection;
mod serve;
mod session;

pub(crate) use connection::{Closed, Connection};
pub(crate) use serve::{End, misbehave, refuse, serve};
pub(crate) use session::{Bounds, Session, end_of, run};

/// Most bytes of a packet once the client is known: the largest telemetry message in the longest
/// topic.
pub(crate) const PACKET_MOST: usize = hubward_proto::limits::TELEMETRY_MAX + hubward_proto::limits::TOPIC_MAX + 16;

/// Not authorized.
///
/// Source: MQTT 3.1.1, section 3.2.2.3; that the services send this one and not 4 is from `[sdk]`
/// Azure/azure-iot-protocol-gateway, MqttAdapter.cs.
pub(crate) const NOT_AUTHORIZED: u8 = 5;

/// The server is not available.
///
/// Source: MQTT 3.1.1, section 3.2.2.3.
pub(crate) const UNAVAILABLE: u8 = 3;

/// A filter is refused.
///
/// Source: MQTT 3.1.1, section 3.9.3.
pub(crate) const FILTER_REFUSED: u8 = 0x80;

/// Longest request id (`$rid`) that is taken, so that an answer's topic always fits.
///
/// Source: `[guess]` the SDKs send up to 36 characters.
pub(crate) const REQUEST_ID_MAX: usize = 1024;
