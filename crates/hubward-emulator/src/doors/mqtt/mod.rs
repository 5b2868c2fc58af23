//! The server side of MQTT 3.1.1. It handles packets and connections, and dispatches each connection to DPS or a hub.

pub(crate) mod codec;
mod connect;
mod connection;
mod dps;
mod hub;
mod serve;
mod session;

use connect::{End, apply_connect_fault, refuse};
use connection::{Closed, Connection};
pub(crate) use serve::serve;
use session::{Bounds, end_of, run};

/// Maximum size of a packet after the login, in bytes. The largest telemetry message with the longest topic fits.
const PACKET_MAX: usize = hubward_proto::limits::TELEMETRY_MAX + hubward_proto::limits::TOPIC_MAX + 16;

/// CONNACK code: not authorized.
///
/// Source: MQTT 3.1.1, section 3.2.2.3. `[sdk]` Azure/azure-iot-protocol-gateway, MqttAdapter.cs: the services send
/// this code and not 4 (bad user name or password).
const NOT_AUTHORIZED: u8 = 5;

/// CONNACK code: the server is unavailable.
///
/// Source: MQTT 3.1.1, section 3.2.2.3.
const UNAVAILABLE: u8 = 3;

/// SUBACK code: the filter is refused.
///
/// Source: MQTT 3.1.1, section 3.9.3.
const FILTER_REFUSED: u8 = 0x80;

/// Maximum length of a request id (`$rid`). The topic of the answer contains the request id. With this limit, the topic
/// always fits in a packet.
///
/// Source: `[guess]` the SDKs send up to 36 characters.
const REQUEST_ID_MAX: usize = 1024;
