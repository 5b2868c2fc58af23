//! The message queue of one device or module. It handles order, locks, expiry and delivery counts. It does no I/O.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hubward_proto::limits::{CLOUD_TO_DEVICE_LOCK, CLOUD_TO_DEVICE_QUEUE, CLOUD_TO_DEVICE_TTL};
use serde::{Deserialize, Serialize};

use super::outcome::{Ack, Outcome};
use crate::state::clock::timestamp;

/// The highest packet id of a message. The hub uses higher packet ids for its other publishes to the same client.
pub(crate) const PACKET_ID_MAX: u16 = 0x4000;

/// Maximum number of unacknowledged messages of one connection.
///
/// Source: `[sdk]` Azure/iotedge, edge-hub settings; not documented for the cloud.
pub(crate) const WINDOW: usize = 16;

/// The longest duration that the queue adds to a time. A longer duration in the rules is shortened to this value, so
/// that the sum cannot overflow. The service allows only shorter durations.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The rules of a hub for messages to devices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long a message without an expiry time is kept.
    pub(crate) ttl: Duration,
    /// How long a delivered message stays invisible while the device has not acknowledged it.
    pub(crate) lock: Duration,
    /// After this number of expired locks, the hub dead-letters a message.
    ///
    /// With `None`, the hub never dead-letters a message because of expired locks. The current service also behaves
    /// like this: it counts only an explicit abandon as a delivery, and a device cannot abandon a message over MQTT.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md of 2026-02-11, "Understanding delivery count behavior".
    /// In earlier revisions of the page, every lock counts. `[seen]` Azure/azure-iot-sdk-csharp, issue 2737: the count
    /// is 0 after a redelivery.
    pub(crate) max_deliveries: Option<u32>,
    /// The seed for the order of the properties in a topic. `None` means a fixed order.
    pub(crate) shuffle: Option<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ttl: CLOUD_TO_DEVICE_TTL, lock: CLOUD_TO_DEVICE_LOCK, max_deliveries: None, shuffle: None }
    }
}

/// The topic and body of a message. They are the same in each delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    pub(crate) message_id: String,
    pub(crate) ack: Option<Ack>,
    pub(crate) input: Option<String>,
}

/// The messages of one identity, at most [`CLOUD_TO_DEVICE_QUEUE`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Sequence number of the newest message.
    sequence: u64,
    /// Number of the newest [`Place`].
    #[serde(skip)]
    order: u64,
    /// The connection that messages are delivered to.
    #[serde(skip)]
    owner: Option<u64>,
    /// The messages in the order of their arrival.
    messages: Vec<Entry>,
    #[serde(skip)]
    removed: Vec<RemovedMessage>,
    /// Sequence numbers of messages that are no longer in the queue but still on disk.
    #[serde(skip)]
    to_delete: Vec<u64>,
}

/// One message in the queue. `lock` and `place` are not written to disk, because both end with the connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    sequence: u64,
    packet_id: u16,
    /// Written to disk separately.
    #[serde(skip)]
    post: Arc<Post>,
    /// Whether `post` is on disk or is being written.
    #[serde(skip)]
    kept: bool,
    enqueued: SystemTime,
    expires: SystemTime,
    deliveries: u32,
    /// Number of locks that expired.
    timeouts: u32,
    /// The time at which the lock ends. Until that time, the message is in flight to the device and invisible.
    #[serde(skip)]
    lock: Option<SystemTime>,
    #[serde(skip)]
    place: Option<Place>,
}

/// The position of a message among the messages that a connection has received.
///
/// The client must acknowledge messages in the order of their first delivery. A redelivery does not change this order.
///
/// Source: MQTT 3.1.1, section 4.6 (4.6.0-2); `[sdk]` Azure/azure-iot-protocol-gateway, RequestAckPairProcessor.cs,
/// `RetransmitAsync`: a message that is sent again keeps its position among the publishes that wait for an
/// acknowledgement.
#[derive(Debug, Clone, Copy)]
struct Place {
    owner: u64,
    /// A message with a smaller number was delivered earlier. Each queue has its own counter for these numbers.
    order: u64,
}

/// A message that left the queue.
#[derive(Debug, Clone)]
pub(crate) struct RemovedMessage {
    pub(crate) post: Arc<Post>,
    pub(crate) outcome: Outcome,
    pub(crate) at: SystemTime,
}

/// The queue is full: it contains [`CLOUD_TO_DEVICE_QUEUE`] messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A message to publish now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) post: Arc<Post>,
    /// The packet id, from 1 to [`PACKET_ID_MAX`]. A message has the same packet id in every delivery.
    pub(crate) packet_id: u16,
    /// Whether the message was delivered before.
    pub(crate) duplicate: bool,
}

/// The effect of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// The message is completed.
    Completed,
    /// The acknowledgement has no effect, because the client must acknowledge an earlier message first.
    OutOfOrder,
    /// The acknowledgement has no effect, because no message with this packet id is in flight to this connection.
    Unknown,
}

impl Queue {
    /// Appends a message and returns its sequence number.
    pub(crate) fn put(&mut self, post: Arc<Post>, now: SystemTime, expires: SystemTime) -> Result<u64, Full> {
        if self.messages.len() >= CLOUD_TO_DEVICE_QUEUE {
            return Err(Full);
        }
        let packet_id = loop {
            self.sequence += 1;
            let packet_id = packet_id(self.sequence);
            if self.messages.iter().all(|it| it.packet_id != packet_id) {
                break packet_id;
            }
        };
        let sequence = self.sequence;
        self.messages.push(Entry {
            sequence,
            packet_id,
            post,
            kept: false,
            enqueued: now,
            expires,
            deliveries: 0,
            timeouts: 0,
            lock: None,
            place: None,
        });
        Ok(sequence)
    }

    /// Starts delivery to a new connection. If an older connection has not acknowledged a message, the message becomes
    /// visible again.
    pub(crate) fn begin(&mut self, owner: u64) {
        self.owner = Some(owner);
        self.unlock();
    }

    /// Ends delivery to a connection. Messages that the connection has not acknowledged become visible again. Has no
    /// effect if a newer connection has begun.
    pub(crate) fn end(&mut self, owner: u64) {
        if self.owner == Some(owner) {
            self.owner = None;
            self.unlock();
        }
    }

    /// Returns the next message for a connection.
    ///
    /// With QoS 0, this call completes the message. With QoS 1, the message becomes invisible until the client
    /// acknowledges it or its lock expires.
    ///
    /// Returns `None` if no message is visible, if [`WINDOW`] messages are unacknowledged, or if the queue delivers to
    /// another connection.
    pub(crate) fn take(&mut self, owner: u64, qos: u8, now: SystemTime, rules: &Rules) -> Option<Delivery> {
        let held = self.messages.iter().filter(|it| it.lock.is_some()).count();
        if self.owner != Some(owner) || held >= WINDOW {
            return None;
        }
        let at = self.messages.iter().position(|it| it.lock.is_none())?;
        let entry = &mut self.messages[at];
        let delivery =
            Delivery { post: Arc::clone(&entry.post), packet_id: entry.packet_id, duplicate: entry.deliveries > 0 };
        if qos == 0 {
            self.drop_message(at, Outcome::Success, now);
        } else {
            entry.deliveries += 1;
            entry.lock = Some(later(now, rules.lock));
            if entry.place.is_none_or(|it| it.owner != owner) {
                self.order += 1;
                entry.place = Some(Place { owner, order: self.order });
            }
        }
        Some(delivery)
    }

    /// Processes an acknowledgement of a connection.
    pub(crate) fn acknowledge(&mut self, owner: u64, packet_id: u16, now: SystemTime) -> Acknowledged {
        if self.owner != Some(owner) {
            return Acknowledged::Unknown;
        }
        let Some(at) = self.messages.iter().position(|it| it.packet_id == packet_id) else {
            return Acknowledged::Unknown;
        };
        let entry = &mut self.messages[at];
        if entry.lock.is_none() {
            // The acknowledgement is late: the lock has ended, so the hub will deliver the message again.
            //
            // For the client, the earlier delivery is finished. The client will acknowledge the next delivery later,
            // after all messages that it has received before that delivery.
            //
            // The message therefore loses its place in the order. The next delivery gives it a new place at the end.
            entry.place = None;
            return Acknowledged::Unknown;
        }
        let order = entry.order();
        if self.messages.iter().any(|it| it.lock.is_some() && it.order() < order) {
            return Acknowledged::OutOfOrder;
        }
        self.drop_message(at, Outcome::Success, now);
        Acknowledged::Completed
    }

    /// Updates the queue to the time `now`. First, ends expired locks, and removes each message that has reached the
    /// maximum number of expired locks. Then removes expired messages. Call this method before any other method.
    pub(crate) fn tick(&mut self, now: SystemTime, rules: &Rules) {
        let mut at = 0;
        while let Some(entry) = self.messages.get_mut(at) {
            if entry.lock.is_some_and(|until| until <= now) {
                entry.lock = None;
                entry.timeouts += 1;
                if rules.max_deliveries.is_some_and(|most| entry.timeouts >= most) {
                    self.drop_message(at, Outcome::DeliveryCountExceeded, now);
                    continue;
                }
            }
            at += 1;
        }
        while let Some(at) = self.messages.iter().position(|it| it.lock.is_none() && it.expires <= now) {
            let expired = self.messages[at].expires;
            self.drop_message(at, Outcome::Expired, expired);
        }
    }

    /// Whether [`Queue::tick`] would change anything.
    pub(crate) fn is_stale(&self, now: SystemTime) -> bool {
        self.messages.iter().any(|it| it.lock.unwrap_or(it.expires) <= now)
    }

    /// Removes every message and returns their number.
    pub(crate) fn purge(&mut self, now: SystemTime) -> usize {
        let count = self.messages.len();
        while !self.messages.is_empty() {
            self.drop_message(0, Outcome::Purged, now);
        }
        count
    }

    /// When the next lock expires.
    pub(crate) fn next_release(&self) -> Option<SystemTime> {
        self.messages.iter().filter_map(|it| it.lock).min()
    }

    /// The messages that left the queue since the last call.
    pub(crate) fn drain_removed(&mut self) -> Vec<RemovedMessage> {
        std::mem::take(&mut self.removed)
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn view(&self) -> Vec<CloudMessageView> {
        self.messages.iter().map(Entry::view).collect()
    }

    /// Returns the messages to write to disk, each with its sequence number, and marks them as written. If `all` is
    /// `false`, omits the messages that are already on disk.
    pub(crate) fn keep(&mut self, all: bool) -> impl Iterator<Item = (u64, &Post)> {
        let wanted = self.messages.iter_mut().filter(move |it| all || !it.kept);
        wanted.map(|it| {
            it.kept = true;
            (it.sequence, &*it.post)
        })
    }

    /// Returns the sequence numbers of messages that have left the queue since the last call and are still on disk.
    pub(crate) fn drain_to_delete(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.to_delete)
    }

    /// Restores the contents of a message from disk. Returns `false` if the queue does not contain this message.
    pub(crate) fn restore(&mut self, sequence: u64, post: Arc<Post>) -> bool {
        let Some(entry) = self.messages.iter_mut().find(|it| it.sequence == sequence) else { return false };
        (entry.post, entry.kept) = (post, true);
        true
    }

    /// Returns whether every message has its contents. Call this after all contents have been restored.
    pub(crate) fn is_whole(&self) -> bool {
        self.messages.iter().all(|it| it.kept)
    }

    /// Makes every message visible again.
    fn unlock(&mut self) {
        self.messages.iter_mut().for_each(|it| it.lock = None);
    }

    fn drop_message(&mut self, at: usize, outcome: Outcome, now: SystemTime) {
        let entry = self.messages.remove(at);
        if entry.kept {
            self.to_delete.push(entry.sequence);
        }
        self.removed.push(RemovedMessage { post: entry.post, outcome, at: now });
    }
}

impl Entry {
    /// The order of the entry's place, if it has one.
    fn order(&self) -> Option<u64> {
        self.place.map(|it| it.order)
    }

    fn view(&self) -> CloudMessageView {
        CloudMessageView {
            sequence_number: self.sequence,
            message_id: self.post.message_id.clone(),
            input: self.post.input.clone(),
            state: if self.lock.is_some() { CloudMessageState::Invisible } else { CloudMessageState::Enqueued },
            delivery_count: self.deliveries,
            enqueued_time_utc: timestamp(self.enqueued),
            expiry_time_utc: timestamp(self.expires),
        }
    }
}

/// A message in the queue of a device or module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CloudMessageView {
    /// The sequence number in the queue of the device. The numbers start at 1, and some numbers may be missing.
    pub sequence_number: u64,
    /// The message id from the sender, or a generated one.
    pub message_id: String,
    /// The module input that the message is for; modules only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Whether the message is delivered but not acknowledged.
    pub state: CloudMessageState,
    /// Number of deliveries. The service reports a smaller number, because the service counts only abandoned
    /// deliveries.
    pub delivery_count: u32,
    /// When the hub enqueued the message: UTC with seven fractional digits.
    pub enqueued_time_utc: String,
    /// When the message expires: UTC with seven fractional digits.
    pub expiry_time_utc: String,
}

/// The state of a message to a device.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "The cloud-to-device message life cycle".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudMessageState {
    /// The message waits for delivery.
    Enqueued,
    /// The message is delivered and not acknowledged.
    Invisible,
}

/// `now` plus `time`, capped so that the sum stays in range.
pub(crate) fn later(now: SystemTime, time: Duration) -> SystemTime {
    now.checked_add(time.min(LONGEST)).unwrap_or(now)
}

/// Returns the packet id of a message, from 1 to [`PACKET_ID_MAX`]. The packet id is derived from the sequence number,
/// so each delivery of a message has the same packet id.
///
/// Source: `[sdk]` Azure/azure-iot-protocol-gateway, Util.cs, `ComposePublishPacket`.
fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % u64::from(PACKET_ID_MAX)).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests;
