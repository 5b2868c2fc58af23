//! The queue of received messages whose PUBACK is not sent yet. Pure: no I/O and no clock.
//!
//! The client must send PUBACKs in the order in which the messages arrived (MQTT-4.6.0-2). If a client breaks this
//! rule, Microsoft's gateway closes the connection.
//!
//! The PUBACK of a settled message therefore waits until every earlier message is settled.
//!
//! Source: MQTT 3.1.1, section 4.6; `[sdk]` azure-iot-protocol-gateway, RequestAckPairProcessor.cs.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use hubward_transport::Lock;

/// Maximum number of messages in the queue. A hub never has that many messages in flight to one device. The limit
/// protects the memory of the client from a hostile hub.
///
/// The queue stores 4 bytes per message. The caller owns the messages and must limit their total size. If the caller
/// cannot keep a message, it calls [`AckQueue::on_dropped`], and the hub redelivers the message.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md lets 50 messages wait for a device.
pub(crate) const ACK_QUEUE_MAX: usize = 4096;

/// How the queue handles a message that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The queue has accepted the message under this lock. The message is new, or the caller dropped it unsettled and
    /// the hub redelivered it.
    New(Lock),
    /// The hub redelivered a message that is already in the queue. The caller still holds the message, or has settled
    /// it.
    Duplicate,
    /// The queue is full, or was full earlier on this connection. The hub redelivers the message on the next
    /// connection.
    ///
    /// The client acknowledges neither this message nor any later one, because a gap would break the order.
    QueueFull,
}

/// The messages of one connection whose PUBACK is not sent yet, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct AckQueue {
    entries: VecDeque<Entry>,
    /// The lock of the first entry.
    first: u64,
    /// Number of entries in [`EntryState::Dropped`].
    dropped: usize,
    /// Whether [`AckQueue::starts_to_block`] has already returned `true`, so that the caller warns only once. Becomes
    /// `false` when the hub has redelivered all dropped messages.
    warned: bool,
    /// Whether the queue was ever full.
    overflowed: bool,
}

#[derive(Debug)]
struct Entry {
    id: NonZeroU16,
    state: EntryState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryState {
    /// The caller has the message and has not settled it.
    Held,
    /// The caller dropped the message unsettled. If the hub redelivers it, the caller gets it again.
    Dropped,
    /// The caller settled the message.
    Settled,
    /// The connection handled the message itself; the caller never gets it.
    Consumed,
}

impl EntryState {
    /// Returns whether the message is settled or consumed. The client acknowledges a settled or consumed message after
    /// all earlier messages.
    const fn is_done(self) -> bool {
        matches!(self, Self::Settled | Self::Consumed)
    }
}

impl AckQueue {
    /// Adds a message that needs an acknowledgement.
    ///
    /// A packet id belongs to one message until the client sends the PUBACK of this message (MQTT-2.3.1-4).
    ///
    /// * If DUP is set and the id is already in the queue, the message is a redelivery. If the caller has dropped the
    ///   message, the message returns to its old entry.
    /// * If DUP is not set and the id is already in the queue, the peer breaks the rule.
    ///
    ///   The queue treats the new message as a separate message, and acknowledges the id when both messages are
    ///   settled. So the client never acknowledges an unread message.
    pub(crate) fn on_arrival(&mut self, id: NonZeroU16, dup: bool) -> Arrival {
        if dup && self.entries.iter().any(|it| it.id == id) {
            let is_dropped = |it: &Entry| it.id == id && it.state == EntryState::Dropped;
            let Some(at) = self.entries.iter().position(is_dropped) else { return Arrival::Duplicate };
            self.entries[at].state = EntryState::Held;
            self.dropped -= 1;
            self.warned &= self.dropped > 0;
            return Arrival::New(Lock(self.first + at as u64));
        }
        self.overflowed |= self.entries.len() >= ACK_QUEUE_MAX;
        if self.overflowed {
            return Arrival::QueueFull;
        }
        let lock = Lock(self.first + self.entries.len() as u64);
        self.entries.push_back(Entry { id, state: EntryState::Held });
        Arrival::New(lock)
    }

    /// Marks a message as settled. Returns `false` if the caller does not hold the message: it was settled or dropped
    /// earlier, or never arrived.
    pub(crate) fn settle(&mut self, lock: Lock) -> bool {
        self.change_held(lock, EntryState::Settled)
    }

    /// Marks a message as handled by the connection itself. Returns `false` in the same cases as [`AckQueue::settle`].
    pub(crate) fn consume(&mut self, lock: Lock) -> bool {
        self.change_held(lock, EntryState::Consumed)
    }

    /// Returns the number of messages that the caller settled and whose acknowledgement waits for an earlier message.
    pub(crate) fn held_back(&self) -> usize {
        self.entries.iter().filter(|it| it.state == EntryState::Settled).count()
    }

    /// Marks a message as dropped without settlement. Returns `false` if the caller does not hold it.
    pub(crate) fn on_dropped(&mut self, lock: Lock) -> bool {
        let was_held = self.change_held(lock, EntryState::Dropped);
        self.dropped += usize::from(was_held);
        was_held
    }

    /// Returns `true` if a settled or consumed message waits behind a dropped message, but only once: it then returns
    /// `false` until the hub has redelivered all dropped messages.
    pub(crate) fn starts_to_block(&mut self) -> bool {
        if self.dropped == 0 || self.warned {
            return false;
        }
        let mut behind = self.entries.iter().skip_while(|it| it.state != EntryState::Dropped);
        self.warned = behind.any(|it| it.state.is_done());
        self.warned
    }

    /// Changes the state of an entry if the old state is [`EntryState::Held`]. Returns whether the state was changed.
    fn change_held(&mut self, lock: Lock, state: EntryState) -> bool {
        let entry = lock.0.checked_sub(self.first).and_then(|it| usize::try_from(it).ok());
        let entry = entry.and_then(|it| self.entries.get_mut(it)).filter(|it| it.state == EntryState::Held);
        if let Some(entry) = entry {
            entry.state = state;
            return true;
        }
        false
    }

    /// Removes settled and consumed entries from the front until a packet id can be acknowledged. Returns this packet
    /// id, or `None` if no packet id can be acknowledged yet.
    pub(crate) fn next_ack(&mut self) -> Option<NonZeroU16> {
        loop {
            let Entry { id, .. } = *self.entries.front().filter(|it| it.state.is_done())?;
            self.entries.pop_front();
            self.first += 1;
            // If a later entry has the same id, do not acknowledge the id yet: the PUBACK of the later entry
            // acknowledges both messages.
            if self.entries.iter().all(|it| it.id != id) {
                return Some(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> NonZeroU16 {
        NonZeroU16::new(id).expect("not zero")
    }

    fn arrive(queue: &mut AckQueue, number: u16) -> Lock {
        match queue.on_arrival(id(number), false) {
            Arrival::New(lock) => lock,
            other => panic!("{number}: {other:?}"),
        }
    }

    fn acks(queue: &mut AckQueue) -> Vec<u16> {
        std::iter::from_fn(|| queue.next_ack()).map(NonZeroU16::get).collect()
    }

    #[test]
    fn acknowledgements_keep_the_order_of_arrival_in_any_order_of_settlement() {
        // The queue contains the messages 7, 8 and 9. Each step gives the index of the message to settle, and the ids
        // that the queue then acknowledges.
        for steps in [
            [(0, &[7][..]), (1, &[8]), (2, &[9])],
            [(2, &[]), (1, &[]), (0, &[7, 8, 9])],
            [(1, &[]), (0, &[7, 8]), (2, &[9])],
            [(0, &[7]), (2, &[]), (1, &[8, 9])],
        ] {
            let mut queue = AckQueue::default();
            let locks = [7, 8, 9].map(|it| arrive(&mut queue, it));
            for (which, expected) in steps {
                let settled = queue.held_back();
                assert!(queue.settle(locks[which]), "{steps:?}");
                assert_eq!(acks(&mut queue), expected, "{steps:?}");
                assert_eq!(queue.held_back(), settled + 1 - expected.len(), "{steps:?}");
            }
        }
    }

    #[test]
    fn a_lock_settles_only_once_and_only_if_the_queue_issued_it() {
        let mut queue = AckQueue::default();
        let (first, second) = (arrive(&mut queue, 1), arrive(&mut queue, 2));
        assert!(queue.settle(second) && !queue.settle(second), "while it waits");
        assert!(queue.settle(first) && !queue.settle(first));
        assert_eq!(acks(&mut queue), [1, 2]);
        for gone in [first, second, Lock(2), Lock(u64::MAX)] {
            assert!(!queue.settle(gone), "{gone:?}");
        }
        assert_ne!(arrive(&mut queue, 1), first, "a lock is never reused");
    }

    #[test]
    fn an_id_in_the_queue_with_dup_is_the_same_message() {
        let mut queue = AckQueue::default();
        let first = arrive(&mut queue, 1);
        assert_eq!(queue.on_arrival(id(1), true), Arrival::Duplicate);
        assert!(queue.settle(first));
        assert_eq!(acks(&mut queue), [1]);
        // The hub may resend a message before it reads the acknowledgement.
        assert!(matches!(queue.on_arrival(id(1), true), Arrival::New(_)));
    }

    #[test]
    fn a_redelivered_message_that_was_dropped_returns_to_its_old_entry() {
        let mut queue = AckQueue::default();
        let [first, second, third] = [1, 2, 3].map(|it| arrive(&mut queue, it));
        assert!(queue.settle(third) && !queue.starts_to_block(), "the caller holds the first one");
        assert!(queue.on_dropped(first) && !queue.on_dropped(first) && !queue.settle(first), "not held");
        assert!(!queue.on_dropped(third), "settled");
        assert!(queue.starts_to_block() && !queue.starts_to_block(), "reported once");
        assert_eq!(queue.on_arrival(id(2), true), Arrival::Duplicate, "held");
        assert_eq!(queue.on_arrival(id(3), true), Arrival::Duplicate, "held back");
        assert_eq!(acks(&mut queue), [] as [u16; 0]);

        assert_eq!(queue.on_arrival(id(1), true), Arrival::New(first));
        assert_eq!(queue.on_arrival(id(1), true), Arrival::Duplicate, "held");
        assert!(queue.settle(first));
        assert_eq!(acks(&mut queue), [1]);
        assert!(queue.on_dropped(second) && queue.starts_to_block(), "a new one");
        assert_eq!(queue.on_arrival(id(2), true), Arrival::New(second));
        assert!(queue.settle(second) && !queue.starts_to_block());
        assert_eq!(acks(&mut queue), [2, 3]);
        for gone in [first, second, third, Lock(3), Lock(u64::MAX)] {
            assert!(!queue.on_dropped(gone), "{gone:?}");
        }
    }

    #[test]
    fn no_message_waits_behind_a_dropped_last_message() {
        let mut queue = AckQueue::default();
        let [first, second] = [1, 2].map(|it| arrive(&mut queue, it));
        assert!(queue.settle(first) && queue.on_dropped(second) && !queue.starts_to_block());
        assert_eq!(acks(&mut queue), [1]);
        // A message without DUP is new, even if an earlier message still uses the same packet id.
        let other = arrive(&mut queue, 2);
        assert!(queue.settle(other) && queue.starts_to_block());
        assert_eq!(acks(&mut queue), [] as [u16; 0]);
        assert_eq!(queue.on_arrival(id(2), true), Arrival::New(second));
        assert!(queue.settle(second));
        assert_eq!(acks(&mut queue), [2], "once for both");
    }

    #[test]
    fn an_id_that_arrives_twice_is_acknowledged_once_when_both_are_settled() {
        let mut queue = AckQueue::default();
        let [first, other, second] = [1, 2, 1].map(|it| arrive(&mut queue, it));
        assert!(queue.settle(first) && queue.settle(other));
        assert_eq!(acks(&mut queue), [2]);
        assert!(queue.settle(second));
        assert_eq!(acks(&mut queue), [1]);
    }

    #[test]
    fn after_the_queue_was_full_only_its_messages_are_acknowledged() {
        let mut queue = AckQueue::default();
        let limit = u16::try_from(ACK_QUEUE_MAX).expect("a small number");
        let locks: Vec<_> = (1..=limit).map(|it| arrive(&mut queue, it)).collect();
        assert_eq!(queue.on_arrival(id(limit + 1), false), Arrival::QueueFull);
        assert_eq!(queue.on_arrival(id(1), true), Arrival::Duplicate);
        locks.into_iter().for_each(|it| assert!(queue.settle(it)));
        assert_eq!(acks(&mut queue), (1..=limit).collect::<Vec<_>>());
        assert_eq!(queue.on_arrival(id(limit + 2), false), Arrival::QueueFull, "a gap would break the order");
        assert_eq!(acks(&mut queue), [] as [u16; 0]);
    }

    /// Compares the queue with a simple list. The test scans this list from the beginning each time.
    #[test]
    fn any_order_of_arrivals_and_settlements_keeps_the_order() {
        for seed in 1..500_u64 {
            let mut state = seed;
            let mut dice = |sides: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % sides
            };
            let (mut queue, mut arrived, mut acked) = (AckQueue::default(), Vec::new(), Vec::new());
            for number in 1..=40_u16 {
                arrived.push((number, arrive(&mut queue, number), false));
                for _ in 0..dice(4) {
                    let which = usize::try_from(dice(arrived.len() as u64)).expect("small");
                    if dice(3) == 0 && queue.on_dropped(arrived[which].1) {
                        assert!(!arrived[which].2, "seed {seed}");
                        assert_eq!(queue.on_arrival(id(arrived[which].0), true), Arrival::New(arrived[which].1));
                    }
                    assert_eq!(queue.settle(arrived[which].1), !arrived[which].2);
                    arrived[which].2 = true;
                    acked.extend(acks(&mut queue));
                    let expected: Vec<_> = arrived.iter().take_while(|it| it.2).map(|it| it.0).collect();
                    assert_eq!(acked, expected, "seed {seed}");
                    let settled = arrived.iter().filter(|it| it.2).count();
                    assert_eq!(queue.held_back(), settled - acked.len(), "seed {seed}");
                }
            }
        }
    }
}
