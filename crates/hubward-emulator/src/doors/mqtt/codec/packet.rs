//! The packets that a server reads and writes.

use std::fmt;

use bytes::Bytes;

/// A packet from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Connect(Box<Connect>),
    Publish(Publish),
    Puback(u16),
    /// A packet of a QoS 2 exchange. Neither DPS nor a hub supports QoS 2.
    QoS2,
    /// Packet id, and filters with the requested QoS.
    Subscribe(u16, Vec<(String, u8)>),
    Unsubscribe(u16, Vec<String>),
    Pingreq,
    Disconnect,
}

/// A CONNECT. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean_session: bool,
    /// In seconds; 0 turns the keep-alive off.
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<Will>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Bytes>,
}

/// The message that the server publishes if the client ends the connection without DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// A PUBLISH, in either direction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    pub(crate) qos: u8,
    /// 0 if and only if the QoS is 0.
    pub(crate) packet_id: u16,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
}

/// A packet to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Connack {
        session_present: bool,
        code: u8,
    },
    Publish(Publish),
    Puback(u16),
    /// The packet id, and the granted QoS of each filter. The value 0x80 means that the filter is refused.
    Suback(u16, Vec<u8>),
    Unsuback(u16),
    Pingresp,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("bytes", &self.body.len())
            .field("qos", &self.qos)
            .field("packet_id", &self.packet_id)
            .field("retain", &self.retain)
            .field("duplicate", &self.duplicate)
            .finish()
    }
}
