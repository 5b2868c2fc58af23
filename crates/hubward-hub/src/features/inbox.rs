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
