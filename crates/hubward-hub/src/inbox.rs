//! Received messages. A message first waits for the program, and is then held by the program. After the program has
//! settled the message, the settlement waits for the connection.
//!
//! A mutex protects the inbox. No method blocks until a message arrives. A method that must wake tasks returns their
//! wakers, and its caller wakes the tasks after it has released the mutex.
//!
//! Memory has two limits in bytes: [`RECEIVE_BYTES`] for waiting messages, and [`HELD_BYTES`] for waiting and held
//! messages together.

use std::collections::VecDeque;
use std::task::Waker;

use hubward_transport::{Delivery, Disposition, IncomingMessage, Lock, Reply, WarningLimit};
use tokio::sync::oneshot;

use crate::CloseReason;
use crate::counts::Counters;

/// Maximum number of bytes of waiting messages. A hub keeps at most 50 messages of 64 KB for a device, and all of these
/// fit.
pub(crate) const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of bytes of messages that wait or that the program holds. This is five times as much as a hub keeps
/// for a device.
///
/// The client does not keep or acknowledge a message that exceeds the limit. So the hub keeps this message and delivers
/// it again, possibly on the same connection. No message is lost, and the connection continues.
///
/// The client does not stop reading from the connection, because it would then miss the acknowledgements of telemetry.
pub(crate) const HELD_BYTES: usize = 16 * 1024 * 1024;

/// The received messages of one client. A device receives them from the cloud, and a module from other modules.
#[derive(Debug)]
pub(crate) struct MessageInbox {
    /// Maximum number of waiting messages.
    limit: usize,
    /// The connection that is up, identified by the number of its attempt to connect. The client can settle only
    /// messages that came over this connection.
    up: Option<u64>,
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
    /// Messages that the program took and has not settled yet.
    unsettled: usize,
    /// Number of bytes of the messages that the program has taken and not dropped, over all connections.
    held_bytes: usize,
    /// Settlements that wait for the connection: at most one for each received message.
    settlements: VecDeque<Settlement>,
    /// Reports the result of the settlement that [`MessageInbox::next`] returned; `None` for a released message.
    settling: Option<SettleSender>,
    has_receiver: bool,
    waker: Option<Waker>,
    ended: Option<CloseReason>,
    full_warning: WarningLimit,
    lost_warning: WarningLimit,
}

/// Sends the result of a settlement to the program.
type SettleSender = oneshot::Sender<Result<(), SettleFailure>>;

#[derive(Debug)]
enum Settlement {
    Settled {
        lock: Lock,
        disposition: Disposition,
        sender: SettleSender,
    },
    /// The program dropped the message, or the client never queued it.
    Released(Lock),
}

/// Wake-ups that the caller must deliver after it has released the mutex of the inbox. A waker may run any code. If
/// that code locked the mutex while the caller holds it, both would wait for ever.
#[derive(Debug, Default)]
#[must_use = "tasks wait for these wake-ups"]
pub(crate) struct WakeUps {
    settled: Vec<(SettleSender, Result<(), SettleFailure>)>,
    receiver: Option<Waker>,
}

impl WakeUps {
    pub(crate) fn send(self) {
        for (sender, what) in self.settled {
            // The program may have stopped waiting for the result.
            let _unawaited = sender.send(what);
        }
        if let Some(receiver) = self.receiver {
            receiver.wake();
        }
    }
}

/// Why a message could not be settled.
#[derive(Debug, Clone)]
pub(crate) enum SettleFailure {
    /// The connection has ended.
    Stale,
    /// The client has ended.
    Closed(CloseReason),
}

/// A message that the program has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) connection: u64,
    /// The size to pass to [`MessageInbox::release_bytes`].
    pub(crate) bytes: usize,
    pub(crate) delivery: Delivery,
}

impl MessageInbox {
    /// `limit` is the maximum number of waiting messages.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            up: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unsettled: 0,
            held_bytes: 0,
            settlements: VecDeque::new(),
            settling: None,
            has_receiver: false,
            waker: None,
            ended: None,
            full_warning: WarningLimit::new("the receive queue is full"),
            lost_warning: WarningLimit::new("the receive queue is full; a message is lost, since it came with QoS 0"),
        }
    }

    // Events that the task reports.

    pub(crate) const fn on_ready(&mut self, connection: u64) {
        self.up = Some(connection);
    }

    /// Handles the end of the connection. Removes the waiting messages that the hub will deliver again, and keeps the
    /// messages with QoS 0.
    pub(crate) fn on_lost(&mut self, counters: &Counters) -> WakeUps {
        self.clear(&SettleFailure::Stale, counters)
    }

    /// Adds a message that came over the current connection. Returns the waker of the receiver, which the caller must
    /// wake.
    ///
    /// If the message exceeds a limit, the inbox counts it instead of keeping it. If the message has a lock, the inbox
    /// also releases this lock.
    pub(crate) fn on_message(&mut self, delivery: Delivery, counters: &Counters) -> Option<Waker> {
        let size = size(&delivery.message);
        // A single message always fits.
        let fits = self.waiting.len() < self.limit
            && (self.waiting.is_empty() || self.waiting_bytes + size <= RECEIVE_BYTES)
            && (self.held_bytes == 0 || self.held_bytes + self.waiting_bytes + size <= HELD_BYTES);
        if !fits || self.up.is_none() {
            if let Some(lock) = delivery.lock {
                self.settlements.extend(self.up.is_some().then_some(Settlement::Released(lock)));
                counters.add(|it| it.messages_over_limit += 1);
                self.full_warning.log(|| {
                    tracing::warn!("the receive queue is full; the hub will deliver this message again");
                });
            } else {
                counters.add(|it| it.messages_lost += 1);
                self.lost_warning.log(|| {
                    tracing::warn!("the receive queue is full; this message is lost, since it came with QoS 0");
                });
            }
            return None;
        }
        self.waiting_bytes += size;
        self.waiting.push_back(delivery);
        self.waker.take()
    }

    /// Returns the next settlement. The driver gives the settlement to the connection, and then calls
    /// [`MessageInbox::on_reply`].
    pub(crate) fn next(&mut self) -> Option<Reply> {
        Some(match self.settlements.pop_front()? {
            Settlement::Settled { lock, disposition, sender } => {
                self.settling = Some(sender);
                Reply::Settle { lock, disposition }
            }
            Settlement::Released(lock) => Reply::Release { lock },
        })
    }

    /// Reports whether the connection accepted the settlement that [`MessageInbox::next`] returned.
    pub(crate) fn on_reply(&mut self, taken: bool, counters: &Counters) -> WakeUps {
        // No caller waits for the result of a released message.
        let Some(sender) = self.settling.take() else { return WakeUps::default() };
        if !taken {
            counters.add(|it| it.messages_stale += 1);
        }
        let what = if taken { Ok(()) } else { Err(SettleFailure::Stale) };
        WakeUps { settled: vec![(sender, what)], receiver: None }
    }

    /// Returns `true` if the program holds no unsettled message, and no settlement waits for the connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsettled == 0 && self.is_flushed()
    }

    /// Whether the connection has accepted every settlement.
    pub(crate) fn is_flushed(&self) -> bool {
        self.settlements.is_empty()
    }

    /// Handles the end of the client: fails the queued settlements and drops the waiting messages.
    pub(crate) fn end(&mut self, reason: &CloseReason, counters: &Counters) -> WakeUps {
        let mut wake_ups = self.clear(&SettleFailure::Closed(reason.clone()), counters);
        let lost = self.waiting.drain(..).len() as u64;
        self.waiting_bytes = 0;
        counters.add(|it| it.messages_lost += lost);
        self.ended.get_or_insert_with(|| reason.clone());
        wake_ups.receiver = self.waker.take();
        self.full_warning.finish();
        self.lost_warning.finish();
        wake_ups
    }

    // Calls of the program.

    /// Registers the receiver. Returns `false` if another receiver is already registered.
    pub(crate) const fn attach(&mut self) -> bool {
        !std::mem::replace(&mut self.has_receiver, true)
    }

    /// Unregisters the receiver when it is dropped. The messages that the receiver has not taken wait for the next
    /// receiver.
    pub(crate) fn detach(&mut self) -> Option<Waker> {
        self.has_receiver = false;
        self.waker.take()
    }

    /// Takes the next message.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let delivery = self.waiting.pop_front()?;
        // Without a connection, only messages with QoS 0 wait. They have no lock and are never settled, so the number
        // of the connection does not matter.
        let connection = self.up.unwrap_or_default();
        let bytes = size(&delivery.message);
        self.waiting_bytes -= bytes;
        self.held_bytes += bytes;
        self.unsettled += usize::from(delivery.lock.is_some());
        Some(Taken { connection, bytes, delivery })
    }

    /// Takes the next message, or returns the reason why no more messages will come.
    ///
    /// If there is neither a message nor a reason, the first value is `None`, and the inbox stores `waker` to wake the
    /// receiver later. The second value is the old waker that `waker` replaces, if there is one.
    ///
    /// The caller must release the mutex of the inbox before it drops the old waker.
    pub(crate) fn take_or_wait(&mut self, waker: &Waker) -> (Option<Result<Taken, CloseReason>>, Option<Waker>) {
        if let Some(taken) = self.take() {
            return (Some(Ok(taken)), None);
        }
        if let Some(reason) = &self.ended {
            return (Some(Err(reason.clone())), None);
        }
        let known = self.waker.as_ref().is_some_and(|it| it.will_wake(waker));
        (None, if known { None } else { self.waker.replace(waker.clone()) })
    }

    /// Queues the settlement of a message that came over `connection`. [`MessageInbox::next`] later returns the
    /// settlement. Fails if this connection or the client has ended.
    pub(crate) fn settle(
        &mut self,
        connection: u64,
        lock: Lock,
        disposition: Disposition,
        counters: &Counters,
    ) -> Result<oneshot::Receiver<Result<(), SettleFailure>>, SettleFailure> {
        if let Some(reason) = &self.ended {
            counters.add(|it| it.messages_stale += 1);
            return Err(SettleFailure::Closed(reason.clone()));
        }
        if self.up != Some(connection) {
            counters.add(|it| it.messages_stale += 1);
            return Err(SettleFailure::Stale);
        }
        self.unsettled -= 1;
        let (sender, receiver) = oneshot::channel();
        self.settlements.push_back(Settlement::Settled { lock, disposition, sender });
        Ok(receiver)
    }

    /// Frees the bytes of a message that the program has dropped.
    pub(crate) const fn release_bytes(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Handles a message that the program dropped without settling it. If the connection that delivered the message is
    /// still up, releases the message's lock.
    pub(crate) fn drop_unsettled(&mut self, connection: u64, lock: Lock, counters: &Counters) {
        counters.add(|it| it.messages_unsettled += 1);
        if self.up == Some(connection) {
            self.unsettled -= 1;
            self.settlements.push_back(Settlement::Released(lock));
        }
    }

    fn clear(&mut self, reason: &SettleFailure, counters: &Counters) -> WakeUps {
        self.up = None;
        self.unsettled = 0;
        let waited = self.waiting.len();
        self.waiting.retain(|it| it.lock.is_none());
        self.waiting_bytes = self.waiting.iter().map(|it| size(&it.message)).sum();
        let stale = self.settlements.drain(..).filter_map(|it| match it {
            Settlement::Settled { sender, .. } => Some((sender, Err(reason.clone()))),
            Settlement::Released(_) => None,
        });
        let settled: Vec<_> = stale.collect();
        counters.add(|it| {
            it.messages_discarded += (waited - self.waiting.len()) as u64;
            it.messages_stale += settled.len() as u64;
        });
        WakeUps { settled, receiver: None }
    }
}

/// The memory that a waiting message takes.
fn size(message: &IncomingMessage) -> usize {
    let bag = message.bag.iter().map(|(name, value)| name.len() + value.map_or(0, str::len));
    size_of::<Delivery>() + message.body.len() + bag.sum::<usize>() + message.input.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use hubward_proto::hub::PropertyBag;

    /// The bodies of all test messages are slices of this memory, so a test message needs almost no memory of its own.
    static BODY: [u8; 2 * RECEIVE_BYTES] = [0; 2 * RECEIVE_BYTES];

    fn delivery(lock: Option<u64>, bytes: usize) -> Delivery {
        Delivery { lock: lock.map(Lock), message: IncomingMessage::new(&BODY[..bytes], PropertyBag::default()) }
    }

    #[test]
    fn waiting_messages_are_bounded_by_count_and_by_bytes() {
        let counters = Counters::default();
        let quarter = RECEIVE_BYTES / 4;
        for (limit, sizes, kept) in [
            (3, vec![1, 1, 1, 1], 3),
            (9, vec![quarter, quarter, quarter, quarter], 3),
            (9, vec![quarter, quarter, 2 * quarter, 1], 3),
            (9, vec![5 * quarter, 1], 1),
            (1, vec![0, 0], 1),
        ] {
            for lock in [Some(0), None] {
                let mut inbox = MessageInbox::new(limit);
                inbox.on_ready(1);
                let before = counters.snapshot();
                for (number, size) in (0..).zip(&sizes) {
                    let delivery = delivery(lock.map(|it| it + number), *size);
                    assert!(inbox.on_message(delivery, &counters).is_none(), "no receiver waits");
                }
                assert_eq!(inbox.waiting.len(), kept, "{limit} {sizes:?}");
                let (after, over) = (counters.snapshot(), (sizes.len() - kept) as u64);
                let more = (
                    after.messages_over_limit - before.messages_over_limit,
                    after.messages_lost - before.messages_lost,
                );
                assert_eq!(more, if lock.is_some() { (over, 0) } else { (0, over) }, "{limit} {sizes:?}");
                // The inbox tells the connection which messages it refused, so that the hub can deliver them again.
                let mut released = Vec::new();
                while let Some(reply) = inbox.next() {
                    let Reply::Release { lock } = reply else { panic!("{reply:?}") };
                    inbox.on_reply(true, &counters).send();
                    released.push(lock);
                }
                assert_eq!(released.len() as u64, lock.map_or(0, |_| over), "{limit} {sizes:?}");
                while let Some(Taken { delivery, bytes, .. }) = inbox.take() {
                    inbox.release_bytes(bytes);
                    assert!(delivery.lock.is_none_or(|it| !released.contains(&it)), "{limit} {sizes:?}");
                }
                assert_eq!(inbox.waiting_bytes, 0);
            }
        }
    }

    #[test]
    fn held_messages_are_bounded_in_bytes_across_connections() {
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(64);
        let (bytes, mut held) = (RECEIVE_BYTES / 8, Vec::new());
        for connection in 1..=4 {
            inbox.on_ready(connection);
            for lock in 0..64 {
                let _receiver = inbox.on_message(delivery(Some(lock), bytes), &counters);
                held.extend(inbox.take());
            }
            inbox.on_lost(&counters).send();
            assert_eq!(held.len(), HELD_BYTES / bytes - 1, "connection {connection}, each a little more than its body");
        }
        assert_eq!(counters.snapshot().messages_over_limit, 4 * 64 - held.len() as u64);
        // Each dropped message makes room for another one.
        inbox.on_ready(5);
        let _receiver = inbox.on_message(delivery(Some(1), bytes), &counters);
        assert!(inbox.take().is_none());
        inbox.release_bytes(held.pop().expect("some").bytes);
        let _receiver = inbox.on_message(delivery(Some(2), bytes), &counters);
        let taken = inbox.take().expect("the message fits");
        inbox.release_bytes(taken.bytes);
        held.drain(..).for_each(|it| inbox.release_bytes(it.bytes));
        assert_eq!((inbox.held_bytes, inbox.waiting_bytes), (0, 0));
        // A message that is larger than the limit fits only if no other message waits.
        let huge = delivery(Some(3), RECEIVE_BYTES * 2);
        let _receiver = inbox.on_message(huge.clone(), &counters);
        let taken = inbox.take().expect("alone");
        assert!(taken.bytes > RECEIVE_BYTES * 2);
        // A message without a lock also counts towards the limit, because a program may keep it as long as a message
        // with a lock.
        for _ in 0..64 {
            let _receiver = inbox.on_message(delivery(None, bytes), &counters);
            let _held = inbox.take();
        }
        assert!(inbox.held_bytes <= HELD_BYTES && counters.snapshot().messages_lost > 0);
    }

    #[test]
    fn messages_that_the_hub_does_not_deliver_again_wait_across_connections() {
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(9);
        inbox.on_ready(1);
        for (lock, bytes) in [(None, 1), (Some(1), 2), (None, 3), (Some(2), 4), (None, 5)] {
            let _receiver = inbox.on_message(delivery(lock, bytes), &counters);
        }
        inbox.on_lost(&counters).send();
        let taken = |inbox: &mut MessageInbox| {
            let Taken { delivery, .. } = inbox.take()?;
            Some((delivery.lock, delivery.message.body.len()))
        };
        assert_eq!((taken(&mut inbox), inbox.is_idle()), (Some((None, 1)), true), "without a connection");
        inbox.on_ready(2);
        let _receiver = inbox.on_message(delivery(Some(0), 2), &counters);
        assert_eq!(taken(&mut inbox), Some((None, 3)));
        inbox.on_lost(&counters).send();
        inbox.end(&CloseReason::Requested, &counters).send();
        assert_eq!((taken(&mut inbox), inbox.waiting_bytes), (None, 0));
        let counts = counters.snapshot();
        assert_eq!((counts.messages_discarded, counts.messages_lost), (3, 1));
    }

    #[test]
    fn a_hubs_full_queue_fits() {
        use hubward_proto::limits::{CLOUD_TO_DEVICE_MAX, CLOUD_TO_DEVICE_QUEUE};
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(crate::HubOptions::default().receive_queue);
        inbox.on_ready(1);
        for lock in 0..CLOUD_TO_DEVICE_QUEUE {
            assert!(inbox.on_message(delivery(Some(lock as u64), CLOUD_TO_DEVICE_MAX), &counters).is_none());
        }
        assert_eq!(counters.snapshot().messages_over_limit, 0);
    }

    #[test]
    fn a_settlement_belongs_to_its_connection() {
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(9);
        inbox.on_ready(1);
        let _receiver = inbox.on_message(delivery(Some(7), 1), &counters);
        let taken = inbox.take().expect("a message");
        assert_eq!((taken.connection, inbox.is_idle()), (1, false));
        let mut result = inbox.settle(1, Lock(7), Disposition::Complete, &counters).expect("the same connection");
        assert!(!inbox.is_flushed() && result.try_recv().is_err());
        assert!(matches!(inbox.next(), Some(Reply::Settle { lock: Lock(7), disposition: Disposition::Complete })));
        let wake_ups = inbox.on_reply(true, &counters);
        assert!(result.try_recv().is_err(), "the result comes only after the lock is released");
        wake_ups.send();
        assert!(matches!(result.try_recv(), Ok(Ok(()))) && inbox.is_idle());

        let _receiver = inbox.on_message(delivery(Some(8), 1), &counters);
        let _receiver = inbox.on_message(delivery(Some(9), 1), &counters);
        inbox.take().expect("a message");
        let mut result = inbox.settle(1, Lock(8), Disposition::Complete, &counters).expect("the same connection");
        inbox.take().expect("a message");
        inbox.on_lost(&counters).send();
        assert!(matches!(result.try_recv(), Ok(Err(SettleFailure::Stale))));
        inbox.on_ready(2);
        assert!(matches!(inbox.settle(1, Lock(9), Disposition::Complete, &counters), Err(SettleFailure::Stale)));
        assert!(inbox.next().is_none() && inbox.is_idle());
        assert_eq!(counters.snapshot().messages_stale, 2);
    }

    /// A message that the program holds.
    struct Held {
        connection: u64,
        lock: Option<Lock>,
        bytes: usize,
    }

    /// All events, in random order.
    #[test]
    fn each_message_is_settled_once_on_its_own_connection_or_counted() {
        for seed in 0..500 {
            let mut rng = Rng::with_seed(seed);
            let counters = Counters::default();
            let limit = rng.usize(1..6);
            let mut inbox = MessageInbox::new(limit);
            let (mut up, mut connections, mut locks) = (None, 0, 0);
            let mut held: Vec<Held> = Vec::new();
            let mut results = Vec::new();
            let (mut came, mut taken, mut locked, mut given) = (0, 0, 0, 0);
            for _ in 0..400 {
                match rng.u8(..12) {
                    0 if up.take().is_some() => inbox.on_lost(&counters).send(),
                    1 if up.is_none() => {
                        connections += 1;
                        up = Some(connections);
                        inbox.on_ready(connections);
                    }
                    2..=5 if up.is_some() => {
                        locks += 1;
                        let lock = (rng.u8(..4) > 0).then_some(connections * 1000 + locks);
                        let _receiver = inbox.on_message(delivery(lock, rng.usize(..RECEIVE_BYTES / 2)), &counters);
                        came += 1;
                    }
                    6 | 7 => {
                        if let Some(Taken { connection, bytes, delivery }) = inbox.take() {
                            taken += 1;
                            locked += u64::from(delivery.lock.is_some());
                            held.push(Held { connection, lock: delivery.lock, bytes });
                        }
                    }
                    8 | 9 if !held.is_empty() => {
                        let Held { connection, lock, bytes } = held.swap_remove(rng.usize(..held.len()));
                        inbox.release_bytes(bytes);
                        let Some(lock) = lock else { continue };
                        if rng.u8(..4) == 0 {
                            inbox.drop_unsettled(connection, lock, &counters);
                        } else {
                            let settled = inbox.settle(connection, lock, Disposition::Complete, &counters);
                            assert_eq!(settled.is_ok(), up == Some(connection), "seed {seed}");
                            results.extend(settled);
                        }
                    }
                    _ if up.is_some() => {
                        if let Some(reply) = inbox.next() {
                            let (lock, settles) = match reply {
                                Reply::Settle { lock, .. } => (lock, true),
                                Reply::Release { lock } => (lock, false),
                                other => panic!("{other:?}"),
                            };
                            assert_eq!(Some(lock.0 / 1000), up, "seed {seed}");
                            let taken = rng.u8(..10) > 0;
                            inbox.on_reply(taken, &counters).send();
                            given += u64::from(taken && settles);
                        }
                    }
                    _ => {}
                }
                assert!(inbox.waiting.len() <= limit && inbox.waiting_bytes <= RECEIVE_BYTES, "seed {seed}");
                assert_eq!(inbox.held_bytes, held.iter().map(|it| it.bytes).sum::<usize>(), "seed {seed}");
                assert!(inbox.held_bytes <= HELD_BYTES, "seed {seed}");
                let unsettled = held.iter().any(|it| up == Some(it.connection) && it.lock.is_some());
                assert_eq!(inbox.is_idle(), !unsettled && inbox.is_flushed(), "seed {seed}");
            }
            inbox.end(&CloseReason::Requested, &counters).send();
            let counts = counters.snapshot();
            let untaken = counts.messages_over_limit + counts.messages_discarded + counts.messages_lost;
            assert_eq!(came, taken + untaken, "seed {seed}");
            let unsettled = held.iter().filter(|it| it.lock.is_some()).count() as u64;
            let ends = given + counts.messages_stale + counts.messages_unsettled + unsettled;
            assert_eq!(locked, ends, "seed {seed}");
            let results = results.into_iter().map(|mut it| it.try_recv().expect("every settlement has a result"));
            assert_eq!(results.filter(Result::is_ok).count() as u64, given, "seed {seed}");
        }
    }

    #[test]
    fn a_receiver_is_woken_by_a_message_and_by_the_end() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::new(Count(0.into()));
        let waker = Waker::from(count.clone());
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(1);
        assert!(inbox.attach() && !inbox.attach(), "one at a time");
        inbox.on_ready(1);
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)));
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)), "the same waker is kept");
        inbox.on_message(delivery(None, 1), &counters).expect("a receiver waits").wake();
        assert!(inbox.on_message(delivery(None, 1), &counters).is_none(), "woken already");
        assert!(matches!(inbox.take_or_wait(&waker), (Some(Ok(_)), None)));
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)));
        assert!(inbox.detach().is_some() && inbox.attach());
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)));
        inbox.end(&CloseReason::Dropped, &counters).send();
        assert!(matches!(inbox.take_or_wait(&waker), (Some(Err(CloseReason::Dropped)), None)));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    }
}
