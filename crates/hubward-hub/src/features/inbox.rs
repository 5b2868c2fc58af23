//! Received messages: waiting to be taken, in the program's hands, or on their way back as settled.
//! Nothing here waits; who does is woken by the caller, outside of any lock.

use std::collections::VecDeque;
use std::task::Waker;

use hubward_transport::{Delivery, IncomingMessage, Lock, Reply, Verdict};
use tokio::sync::oneshot;

use crate::counts::Counters;
use crate::{CloseReason, SettleError};

/// Bytes of messages that may wait to be taken. A hub's full queue for a device, 50 messages of
/// 64 KB, fits.
pub(crate) const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// The messages of one connection: a device's from the cloud, or a module's from other modules.
#[derive(Debug)]
pub(crate) struct MessageInbox {
    /// Messages that may wait.
    limit: usize,
    /// The connection that is up, by the number of its attempt. Everything here came over it.
    up: Option<u64>,
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
    /// Taken, to be settled, and not settled yet.
    in_hands: usize,
    /// Settled, and not on the connection yet. Bounded by what came.
    settled: VecDeque<Settled>,
    /// The one that the connection is being given.
    leaving: Option<oneshot::Sender<Result<(), Unsettled>>>,
    has_receiver: bool,
    waker: Option<Waker>,
    ended: Option<CloseReason>,
}

#[derive(Debug)]
struct Settled {
    lock: Lock,
    verdict: Verdict,
    told: oneshot::Sender<Result<(), Unsettled>>,
}

/// Why a message could not be settled.
#[derive(Debug, Clone)]
pub(crate) enum Unsettled {
    /// Its connection is over.
    Stale,
    /// The client has ended.
    Closed(CloseReason),
}

impl From<Unsettled> for SettleError {
    fn from(why: Unsettled) -> Self {
        match why {
            Unsettled::Stale => Self::Stale,
            Unsettled::Closed(reason) => Self::Closed(reason),
        }
    }
}

/// A message in the program's hands.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) connection: u64,
    pub(crate) delivery: Delivery,
}

impl MessageInbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            up: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_hands: 0,
            settled: VecDeque::new(),
            leaving: None,
            has_receiver: false,
            waker: None,
            ended: None,
        }
    }

    // What the task tells.

    pub(crate) const fn on_ready(&mut self, connection: u64) {
        self.up = Some(connection);
    }

    /// The connection is over: the hub delivers again what was not acknowledged on it.
    pub(crate) fn on_lost(&mut self, counters: &Counters) {
        self.clear(&Unsettled::Stale, counters);
    }

    /// Takes a message from the connection that is up. Who receives is to be woken.
    pub(crate) fn on_message(&mut self, delivery: Delivery, counters: &Counters) -> Option<Waker> {
        let size = size(&delivery.message);
        let fits =
            self.waiting.len() < self.limit && (self.waiting.is_empty() || self.waiting_bytes + size <= RECEIVE_BYTES);
        if !fits || self.up.is_none() {
            counters.add(|it| it.messages_left += 1);
            tracing::warn!("more messages came than may wait; the hub delivers this one again");
            return None;
        }
        self.waiting_bytes += size;
        self.waiting.push_back(delivery);
        self.waker.take()
    }

    /// The next settlement for the connection; [`MessageInbox::on_reply`] says whether it took it.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        let Settled { lock, verdict, told } = self.settled.pop_front()?;
        self.leaving = Some(told);
        Some(Reply::Settle { lock, verdict })
    }

    /// The connection took what [`MessageInbox::next`] handed out, or did not.
    pub(crate) fn on_reply(&mut self, taken: bool, counters: &Counters) {
        if !taken {
            counters.add(|it| it.messages_stale += 1);
        }
        if let Some(told) = self.leaving.take() {
            // Nobody has to wait for it.
            let _unheard = told.send(if taken { Ok(()) } else { Err(Unsettled::Stale) });
        }
    }

    /// Whether no message is in the program's hands, or on its way back.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_hands == 0 && self.is_flushed()
    }

    /// Whether every settlement is on the connection.
    pub(crate) fn is_flushed(&self) -> bool {
        self.settled.is_empty()
    }

    /// The client has ended. Who receives is to be woken.
    pub(crate) fn end(&mut self, reason: &CloseReason, counters: &Counters) -> Option<Waker> {
        self.clear(&Unsettled::Closed(reason.clone()), counters);
        self.ended.get_or_insert_with(|| reason.clone());
        self.waker.take()
    }

    // What the program does.

    /// Whether the place of the receiver was free; it is taken now.
    pub(crate) const fn attach(&mut self) -> bool {
        !std::mem::replace(&mut self.has_receiver, true)
    }

    /// The receiver is gone; what it has not taken waits for the next one.
    pub(crate) fn detach(&mut self) -> Option<Waker> {
        self.has_receiver = false;
        self.waker.take()
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let connection = self.up?;
        let delivery = self.waiting.pop_front()?;
        self.waiting_bytes -= size(&delivery.message);
        self.in_hands += usize::from(delivery.lock.is_some());
        Some(Taken { connection, delivery })
    }

    /// The next message, or why there will be none; `None` if the receiver is to be woken later.
    /// Gives back the waker that it replaces.
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

    /// Settles a message that came over `connection`; the connection gets it next.
    pub(crate) fn settle(
        &mut self,
        connection: u64,
        lock: Lock,
        verdict: Verdict,
        counters: &Counters,
    ) -> Result<oneshot::Receiver<Result<(), Unsettled>>, Unsettled> {
        if let Some(reason) = &self.ended {
            counters.add(|it| it.messages_stale += 1);
            return Err(Unsettled::Closed(reason.clone()));
        }
        if self.up != Some(connection) {
            counters.add(|it| it.messages_stale += 1);
            return Err(Unsettled::Stale);
        }
        self.in_hands -= 1;
        let (told, hears) = oneshot::channel();
        self.settled.push_back(Settled { lock, verdict, told });
        Ok(hears)
    }

    /// The program dropped a message without settling it.
    pub(crate) fn leave(&mut self, connection: u64, counters: &Counters) {
        counters.add(|it| it.messages_unsettled += 1);
        if self.up == Some(connection) {
            self.in_hands -= 1;
        }
    }

    fn clear(&mut self, why: &Unsettled, counters: &Counters) {
        self.up = None;
        self.in_hands = 0;
        let discarded = self.waiting.drain(..).len() as u64;
        let stale = self.settled.len() as u64;
        self.waiting_bytes = 0;
        counters.add(|it| {
            it.messages_discarded += discarded;
            it.messages_stale += stale;
        });
        for Settled { told, .. } in self.settled.drain(..) {
            // Nobody has to wait for it.
            let _unheard = told.send(Err(why.clone()));
        }
    }
}

/// What a waiting message takes up.
fn size(message: &IncomingMessage) -> usize {
    let bag = message.bag.iter().map(|(name, value)| name.len() + value.map_or(0, str::len));
    size_of::<Delivery>() + message.body.len() + bag.sum::<usize>() + message.input.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use hubward_proto::hub::PropertyBag;

    /// Bodies are parts of it: making them costs nothing.
    static BODY: [u8; 2 * RECEIVE_BYTES] = [0; 2 * RECEIVE_BYTES];

    fn delivery(lock: Option<u64>, bytes: usize) -> Delivery {
        Delivery { lock: lock.map(Lock), message: IncomingMessage::new(&BODY[..bytes], PropertyBag::default()) }
    }

    #[test]
    fn what_waits_is_bounded_by_count_and_by_bytes() {
        let counters = Counters::default();
        let quarter = RECEIVE_BYTES / 4;
        for (limit, sizes, kept) in [
            (3, vec![1, 1, 1, 1], 3),
            (9, vec![quarter, quarter, quarter, quarter], 3),
            (9, vec![quarter, quarter, 2 * quarter, 1], 3),
            (9, vec![5 * quarter, 1], 1),
            (1, vec![0, 0], 1),
        ] {
            let mut inbox = MessageInbox::new(limit);
            inbox.on_ready(1);
            let before = counters.snapshot().messages_left;
            for size in &sizes {
                assert!(inbox.on_message(delivery(None, *size), &counters).is_none(), "nobody waits");
            }
            assert_eq!(inbox.waiting.len(), kept, "{limit} {sizes:?}");
            assert_eq!(counters.snapshot().messages_left - before, (sizes.len() - kept) as u64, "{limit} {sizes:?}");
            while inbox.take().is_some() {}
            assert_eq!(inbox.waiting_bytes, 0);
        }
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
        assert_eq!(counters.snapshot().messages_left, 0);
    }

    #[test]
    fn a_settlement_belongs_to_its_connection() {
        let counters = Counters::default();
        let mut inbox = MessageInbox::new(9);
        inbox.on_ready(1);
        let _nobody = inbox.on_message(delivery(Some(7), 1), &counters);
        let taken = inbox.take().expect("a message");
        assert_eq!((taken.connection, inbox.is_idle()), (1, false));
        let mut told = inbox.settle(1, Lock(7), Verdict::Complete, &counters).expect("the same connection");
        assert!(!inbox.is_flushed() && told.try_recv().is_err());
        assert!(matches!(inbox.next(), Some(Reply::Settle { lock: Lock(7), verdict: Verdict::Complete })));
        inbox.on_reply(true, &counters);
        assert!(matches!(told.try_recv(), Ok(Ok(()))) && inbox.is_idle());

        let _nobody = inbox.on_message(delivery(Some(8), 1), &counters);
        let _nobody = inbox.on_message(delivery(Some(9), 1), &counters);
        inbox.take().expect("a message");
        let mut told = inbox.settle(1, Lock(8), Verdict::Complete, &counters).expect("the same connection");
        inbox.take().expect("a message");
        inbox.on_lost(&counters);
        assert!(matches!(told.try_recv(), Ok(Err(Unsettled::Stale))));
        inbox.on_ready(2);
        assert!(matches!(inbox.settle(1, Lock(9), Verdict::Complete, &counters), Err(Unsettled::Stale)));
        assert!(inbox.next().is_none() && inbox.is_idle());
        assert_eq!(counters.snapshot().messages_stale, 2);
    }

    /// What the program has in hands, as it knows it.
    struct Held {
        connection: u64,
        lock: Option<Lock>,
    }

    /// Everything that can happen, in any order.
    #[test]
    fn each_message_is_settled_once_on_its_own_connection_or_counted() {
        for seed in 0..500 {
            let mut rng = Rng::with_seed(seed);
            let counters = Counters::default();
            let limit = rng.usize(1..6);
            let mut inbox = MessageInbox::new(limit);
            let (mut up, mut connections, mut locks) = (None, 0, 0);
            let mut held: Vec<Held> = Vec::new();
            let mut told = Vec::new();
            let (mut came, mut taken, mut locked, mut given) = (0, 0, 0, 0);
            for _ in 0..400 {
                match rng.u8(..12) {
                    0 if up.take().is_some() => inbox.on_lost(&counters),
                    1 if up.is_none() => {
                        connections += 1;
                        up = Some(connections);
                        inbox.on_ready(connections);
                    }
                    2..=5 if up.is_some() => {
                        locks += 1;
                        let lock = (rng.u8(..4) > 0).then_some(connections * 1000 + locks);
                        let _nobody = inbox.on_message(delivery(lock, rng.usize(..RECEIVE_BYTES / 2)), &counters);
                        came += 1;
                    }
                    6 | 7 => {
                        if let Some(Taken { connection, delivery }) = inbox.take() {
                            taken += 1;
                            locked += u64::from(delivery.lock.is_some());
                            held.push(Held { connection, lock: delivery.lock });
                        }
                    }
                    8 | 9 if !held.is_empty() => {
                        let Held { connection, lock } = held.swap_remove(rng.usize(..held.len()));
                        let Some(lock) = lock else { continue };
                        if rng.u8(..4) == 0 {
                            inbox.leave(connection, &counters);
                        } else {
                            let settled = inbox.settle(connection, lock, Verdict::Complete, &counters);
                            assert_eq!(settled.is_ok(), up == Some(connection), "seed {seed}");
                            told.extend(settled);
                        }
                    }
                    _ if up.is_some() => {
                        if let Some(reply) = inbox.next() {
                            let Reply::Settle { lock, .. } = reply else { panic!("{reply:?}") };
                            assert_eq!(Some(lock.0 / 1000), up, "seed {seed}");
                            let taken = rng.u8(..10) > 0;
                            inbox.on_reply(taken, &counters);
                            given += u64::from(taken);
                        }
                    }
                    _ => {}
                }
                assert!(inbox.waiting.len() <= limit && inbox.waiting_bytes <= RECEIVE_BYTES, "seed {seed}");
                let in_hands = held.iter().any(|it| up == Some(it.connection) && it.lock.is_some());
                assert_eq!(inbox.is_idle(), !in_hands && inbox.is_flushed(), "seed {seed}");
            }
            assert!(inbox.end(&CloseReason::Requested, &counters).is_none());
            let counts = counters.snapshot();
            assert_eq!(came, taken + counts.messages_left + counts.messages_discarded, "seed {seed}");
            let in_hands = held.iter().filter(|it| it.lock.is_some()).count() as u64;
            let ends = given + counts.messages_stale + counts.messages_unsettled + in_hands;
            assert_eq!(locked, ends, "seed {seed}");
            let heard = told.into_iter().map(|mut it| it.try_recv().expect("each is told"));
            assert_eq!(heard.filter(Result::is_ok).count() as u64, given, "seed {seed}");
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
        inbox.on_message(delivery(None, 1), &counters).expect("somebody waits").wake();
        assert!(inbox.on_message(delivery(None, 1), &counters).is_none(), "woken already");
        assert!(matches!(inbox.take_or_wait(&waker), (Some(Ok(_)), None)));
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)));
        assert!(inbox.detach().is_some() && inbox.attach());
        assert!(matches!(inbox.take_or_wait(&waker), (None, None)));
        inbox.end(&CloseReason::Dropped, &counters).expect("somebody waits").wake();
        assert!(matches!(inbox.take_or_wait(&waker), (Some(Err(CloseReason::Dropped)), None)));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    }
}
