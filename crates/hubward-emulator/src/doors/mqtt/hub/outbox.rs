//! Publishes from a hub to a device. This module assigns packet ids, limits the number of unacknowledged publishes, and
//! queues further publishes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::doors::mqtt::codec::{Outgoing, Publish};
use crate::doors::mqtt::{Closed, Connection};

/// Maximum number of unacknowledged publishes with QoS 1.
///
/// Source: `[guess]`, from the limit for the other direction: Edge Hub's configuration and Microsoft's page about MQTT
/// 5 limit publishes from a device to a hub to 16.
const WINDOW: usize = 16;

/// The first packet id of the publishes in an [`Outbox`]. Lower packet ids belong to cloud-to-device messages.
const FIRST_ID: u16 = 0x4001;

/// Maximum number of publishes that wait in the outbox. If it is full and the hub has another response with QoS 1, the
/// connection ends. [`ANSWER_BYTES`] limits the total size of the waiting publishes in the same way.
const ANSWERS: usize = 1000;
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// If this number of publishes waits, the outbox drops each new notice (a change of the desired properties) with QoS 1.
/// Method calls have QoS 0 and never wait.
const NOTICES: usize = 128;

/// The publishes to one client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The packet id of the last publish.
    last_id: u16,
    /// The packet ids of unacknowledged publishes. The value of an id is the name of the publish, if it has one.
    unacknowledged: BTreeMap<u16, Option<String>>,
    /// Publishes with QoS 1 that wait until earlier publishes are acknowledged, and their names. The packet id of a
    /// waiting publish is 0.
    waiting: VecDeque<(Publish, Option<String>)>,
    waiting_bytes: usize,
}

impl Outbox {
    /// Publishes a response to the client.
    ///
    /// Returns [`Closed::Slow`] if too many publishes with QoS 1 wait until earlier publishes are acknowledged.
    pub(super) fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        topic: String,
        body: Bytes,
        qos: u8,
    ) -> Result<(), Closed> {
        if qos > 0 && (self.waiting.len() >= ANSWERS || self.waiting_bytes >= ANSWER_BYTES) {
            return Err(Closed::Slow);
        }
        self.publish(connection, topic, body, qos, None);
        Ok(())
    }

    /// Like [`Outbox::answer`] with QoS 1. [`Outbox::acknowledged`] returns `name` when the client has acknowledged the
    /// publish.
    pub(super) fn named_answer<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        topic: String,
        body: Bytes,
        name: String,
    ) -> Result<(), Closed> {
        if self.waiting.len() >= ANSWERS || self.waiting_bytes >= ANSWER_BYTES {
            return Err(Closed::Slow);
        }
        self.publish(connection, topic, body, 1, Some(name));
        Ok(())
    }

    /// Publishes a notice (a change of the desired properties) or a method call. If its QoS is 1 and too many publishes
    /// wait, publishes nothing and returns false.
    pub(super) fn notify<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        topic: String,
        body: Bytes,
        qos: u8,
    ) -> bool {
        let room = qos == 0 || (self.waiting.len() < NOTICES && self.waiting_bytes < ANSWER_BYTES);
        if room {
            self.publish(connection, topic, body, qos, None);
        }
        room
    }

    fn publish<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        topic: String,
        body: Bytes,
        qos: u8,
        name: Option<String>,
    ) {
        let publish = Publish { topic, body, qos, packet_id: 0, retain: false, duplicate: false };
        if qos == 0 {
            return connection.queue(&Outgoing::Publish(publish));
        }
        self.waiting_bytes += publish.body.len();
        self.waiting.push_back((publish, name));
        self.send_waiting(connection);
    }

    /// Sends waiting publishes until [`WINDOW`] publishes are unacknowledged.
    fn send_waiting<S: AsyncRead + AsyncWrite + Unpin>(&mut self, connection: &mut Connection<S>) {
        while !self.waiting.is_empty()
            && let Some(packet_id) = self.packet_id()
            && let Some((mut publish, name)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= publish.body.len();
            publish.packet_id = packet_id;
            self.unacknowledged.insert(packet_id, name);
            connection.queue(&Outgoing::Publish(publish));
        }
    }

    /// Returns an unused packet id for a publish with QoS 1. Returns `None` if too many publishes are unacknowledged.
    fn packet_id(&mut self) -> Option<u16> {
        if self.unacknowledged.len() >= WINDOW {
            return None;
        }
        // The loop always ends, because there are far more ids than unacknowledged publishes.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(0).max(FIRST_ID);
            if !self.unacknowledged.contains_key(&self.last_id) {
                return Some(self.last_id);
            }
        }
    }

    /// Handles a PUBACK and then sends waiting publishes. Returns the name of the acknowledged publish, if it has one.
    /// Returns `None` if no publish with this packet id was unacknowledged.
    pub(super) fn acknowledged<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        packet_id: u16,
    ) -> Option<Option<String>> {
        let known = self.unacknowledged.remove(&packet_id);
        self.send_waiting(connection);
        known
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::state::model::State;
    use crate::state::store::Store;

    async fn sent(
        connection: &mut Connection<tokio::io::DuplexStream>,
        peer: &mut tokio::io::DuplexStream,
    ) -> Vec<u16> {
        connection.flush().await.expect("sent");
        let mut ids = Vec::new();
        // `PUBLISH`, QoS 1, topic `t`, body `b`: the length is 6.
        let mut packet = [0; 8];
        while let Ok(Ok(_)) = tokio::time::timeout(std::time::Duration::ZERO, peer.read_exact(&mut packet)).await {
            assert_eq!((&packet[..5], packet[7]), (&b"\x32\x06\x00\x01t"[..], b'b'));
            ids.push(u16::from_be_bytes([packet[5], packet[6]]));
        }
        ids
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_is_unacknowledged() {
        let (stream, mut peer) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(stream, Arc::new(Store::new(State::default())));
        let mut outbox = Outbox::default();
        for _ in 0..20 {
            outbox.answer(&mut connection, "t".into(), "b".into(), 1).expect("room");
        }
        assert_eq!(sent(&mut connection, &mut peer).await, (0x4001..=0x4010).collect::<Vec<_>>());
        assert!(outbox.acknowledged(&mut connection, 0x4011).is_none(), "not sent yet");
        assert_eq!(sent(&mut connection, &mut peer).await, [0_u16; 0]);
        for (id, known) in [(0x4003, true), (0x4001, true), (0x4003, false), (1, false)] {
            assert_eq!(outbox.acknowledged(&mut connection, id).is_some(), known, "{id:x}");
        }
        assert_eq!(sent(&mut connection, &mut peer).await, [0x4011, 0x4012]);
        assert_eq!(outbox.packet_id(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_nothing_loses_notices_and_then_the_connection() {
        let (stream, mut peer) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(stream, Arc::new(Store::new(State::default())));
        let mut outbox = Outbox::default();
        let taken = (0..300).filter(|_| outbox.notify(&mut connection, "t".into(), "b".into(), 1)).count();
        assert_eq!(taken, WINDOW + NOTICES);
        assert_eq!(sent(&mut connection, &mut peer).await.len(), WINDOW);
        let answered = (0..2000).take_while(|_| outbox.answer(&mut connection, "t".into(), "b".into(), 1).is_ok());
        assert_eq!(answered.count(), ANSWERS - NOTICES);
        assert!(outbox.notify(&mut connection, "t".into(), "b".into(), 0), "QoS 0 needs no acknowledgement");
    }

    #[test]
    fn packet_ids_wrap_around_and_skip_those_in_use() {
        let mut outbox = Outbox { last_id: u16::MAX - 1, ..Outbox::default() };
        outbox.unacknowledged.insert(0x4001, None);
        assert_eq!((outbox.packet_id(), outbox.packet_id()), (Some(u16::MAX), Some(0x4002)));
    }
}
