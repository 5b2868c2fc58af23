//! The handle: what a program can do with a client.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hubward_transport::{Abilities, Credential, Feature, HubLogin, HubTransport, Message, TransportKind, clock};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::driver::{Channels, Driver, WallClock};
use crate::features::Request;
use crate::incoming::Incoming;
use crate::receipt::{Deadline, Ticket, far};
use crate::{
    CloseError, CloseReason, Closed, ConnectionState, DisconnectCause, HubError, HubOptions, MessageLabel, Receipt,
    SendError, TryEnqueueError, Unsupported, Why,
};

/// Capacity of the command channel for everything but messages.
const OTHER_COMMANDS: usize = 16;

/// Each feature is requested at most once, and there are fewer features than this: the channel is never full.
const FEATURES: usize = 16;

/// A client of one hub, for one device or module. Clones share one connection.
///
/// A background task owns the connection; the handle only sends commands to it. Dropping the last handle ends
/// that task without waiting, and messages that are still queued count as not sent. If they matter, call
/// [`HubClient::close`] first.
#[derive(Clone)]
pub struct HubClient {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) wanted: mpsc::Sender<Feature>,
    pub(crate) send_deadline: Option<Duration>,
    pub(crate) twin_deadline: Option<Duration>,
}

/// A command from a handle to the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Sends a message.
    Send(Ticket),
    /// Makes a twin request, or starts to follow the desired properties.
    Request(Box<Request>),
    /// Ends the client, at this moment at the latest.
    Close(Box<Instant>),
}

// Tokio allocates a block of items with the channel, so a large item costs kilobytes.
const _: () = assert!(size_of::<Command>() <= 16);

/// State that the handles and the task share.
pub(crate) struct Shared {
    pub(crate) login: HubLogin,
    pub(crate) endpoint: String,
    pub(crate) kind: TransportKind,
    pub(crate) abilities: Abilities,
    /// One permit for each message that may wait. Closed when the client takes no more messages.
    pub(crate) room: Semaphore,
    /// One permit for each byte of a message that waits or is in flight. Closed like `room`.
    pub(crate) byte_room: Semaphore,
    /// One permit for each twin request. Closed when the client takes no more requests.
    pub(crate) twin_room: Semaphore,
    /// Wakes the receivers of desired properties when there is a newer state; `true` when the client has ended.
    pub(crate) desired: watch::Sender<bool>,
    /// The features that the client subscribes to on every connection.
    pub(crate) wanted: Mutex<BTreeSet<Feature>>,
    /// Method handlers, received messages and the newest desired properties.
    pub(crate) incoming: Arc<Incoming>,
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) last_cause: Mutex<Option<DisconnectCause>>,
    pub(crate) closed: OnceLock<Closed>,
    /// Set after the task has taken its last command.
    pub(crate) is_closed: AtomicBool,
}

impl HubClient {
    /// Starts a client and returns at once; the client connects in the background. [`HubClient::connected`]
    /// waits for the connection.
    ///
    /// If the very first login fails for a reason that a retry cannot change (a refused credential, an
    /// untrusted certificate, an unsupported feature), the client ends with that reason. The client retries
    /// network failures for ever. After a first successful login it retries every failure, with growing waits.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[must_use]
    pub fn spawn(
        transport: impl Into<Arc<dyn HubTransport>>,
        login: HubLogin,
        credential: Credential,
        options: HubOptions,
    ) -> Self {
        Self::spawn_by(transport, login, credential, options, Arc::new(clock::now))
    }

    /// As [`HubClient::spawn`], with another wall clock.
    pub(crate) fn spawn_by(
        transport: impl Into<Arc<dyn HubTransport>>,
        login: HubLogin,
        credential: Credential,
        options: HubOptions,
        wall: WallClock,
    ) -> Self {
        let (transport, options) = (transport.into(), options.in_range());
        let abilities = transport.abilities();
        let (incoming, task_wakes) = Incoming::new(&options, abilities.settles_in_order);
        let shared = Arc::new(Shared {
            endpoint: transport.endpoint(&login),
            kind: transport.kind(),
            abilities,
            login,
            room: Semaphore::new(options.queue),
            byte_room: Semaphore::new(options.queue_bytes),
            twin_room: Semaphore::new(options.twin_queue),
            desired: watch::Sender::new(false),
            wanted: Mutex::default(),
            incoming,
            state: watch::Sender::new(ConnectionState::Connecting),
            last_cause: Mutex::new(None),
            closed: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        });
        let (commands, receiver) =
            mpsc::channel(options.queue.saturating_add(OTHER_COMMANDS).min(Semaphore::MAX_PERMITS));
        let (send_deadline, twin_deadline) = (options.send_deadline, options.twin_deadline);
        let (wanted, features) = mpsc::channel(FEATURES);
        let channels = Channels { commands: receiver, features, task_wakes };
        tokio::spawn(Driver::new(transport, credential, options, shared.clone(), channels, wall, Instant::now()));
        Self { shared, commands, wanted, send_deadline, twin_deadline }
    }

    /// Returns a handle whose messages have this deadline instead of
    /// [`HubOptions::send_deadline`](HubOptions::send_deadline); other handles keep theirs.
    #[must_use]
    pub const fn send_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.send_deadline = deadline;
        self
    }

    /// Waits until the hub has accepted the login.
    ///
    /// The future waits for as long as the client tries to connect. Limit it with [`tokio::time::timeout`];
    /// [`HubClient::last_error`] returns why the client is not connected.
    ///
    /// # Errors
    /// [`HubError`] if the client has ended; it contains the reason.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn connected(&self) -> Result<(), HubError> {
        let mut state = self.shared.state.subscribe();
        let found = state.wait_for(|it| it.is_connected() || it.is_closed()).await;
        match found.as_deref() {
            Ok(ConnectionState::Closed { reason }) => Err(reason.clone().into()),
            Ok(_) => Ok(()),
            // The sender lives in `self`, so this does not happen.
            Err(_) => Err(self.shared.reason().into()),
        }
    }

    /// The latest connection state. If states follow each other quickly, a receiver may miss some of them.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    /// Why the last connection or attempt ended; kept while the next attempt runs. `None` after a successful
    /// login.
    #[must_use]
    pub fn last_error(&self) -> Option<DisconnectCause> {
        self.shared.last_cause()
    }

    /// Queues a message and returns as soon as the queue has room for it. The [`Receipt`] resolves when the hub
    /// has acknowledged the message. Messages of one sender leave in the order in which they were queued.
    ///
    /// Delivery is at least once: after a reconnect, the client sends unacknowledged messages again.
    ///
    /// # Errors
    /// [`SendError::Refused`] if the service would not accept the message (size, property names); nothing is
    /// sent. [`SendError::NotSent`] if the client has ended, or if the message's deadline passed while it
    /// waited for room.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the message was not queued.
    pub async fn enqueue(&self, message: Message) -> Result<Receipt, SendError> {
        if let Err(source) = message.check() {
            return Err(SendError::Refused { message: MessageLabel::of(&message), source });
        }
        let mut deadline = self.send_deadline.map(|after| Deadline { at: None, after });
        let closed = |message: &Message| SendError::NotSent {
            message: MessageLabel::of(message),
            why: Why::Closed(self.shared.reason()),
        };
        let room = self.permits(&self.shared.room, 1, &message, &mut deadline).await?;
        let byte_room = self.permits(&self.shared.byte_room, bytes(&message), &message, &mut deadline).await?;
        // With a permit, the channel nearly always has room too, and `try_reserve` costs less than waiting.
        let slot = match self.commands.try_reserve() {
            Ok(slot) => slot,
            Err(_) => self.commands.reserve().await.map_err(|_| closed(&message))?,
        };
        // The task returns the permits: one when the message leaves the queue, the others when it is resolved.
        room.forget();
        byte_room.forget();
        let (ticket, receipt) = Ticket::new(message, deadline);
        slot.send(Command::Send(ticket));
        Ok(self.resolve_if_ended(receipt))
    }

    /// Waits for permits, until the deadline at the latest. The first wait fixes the moment of the deadline.
    async fn permits<'a>(
        &self,
        semaphore: &'a Semaphore,
        count: u32,
        message: &Message,
        deadline: &mut Option<Deadline>,
    ) -> Result<SemaphorePermit<'a>, SendError> {
        let not_sent = |why| SendError::NotSent { message: MessageLabel::of(message), why };
        let acquired = match (semaphore.try_acquire_many(count), deadline) {
            (Ok(permits), _) => return Ok(permits),
            (Err(TryAcquireError::Closed), _) => return Err(not_sent(Why::Closed(self.shared.reason()))),
            (Err(TryAcquireError::NoPermits), None) => semaphore.acquire_many(count).await,
            (Err(TryAcquireError::NoPermits), Some(Deadline { at, after })) => {
                let (after, at) = (*after, *at.get_or_insert_with(|| far(Instant::now(), *after)));
                let waited = timeout_at(at, semaphore.acquire_many(count)).await;
                waited.map_err(|_| not_sent(Why::Deadline { after, cause: self.shared.current_cause() }))?
            }
        };
        acquired.map_err(|_| not_sent(Why::Closed(self.shared.reason())))
    }

    /// Queues a message if the queue has room for it right now.
    ///
    /// # Errors
    /// [`TryEnqueueError`], which contains the message.
    pub fn try_enqueue(&self, message: Message) -> Result<Receipt, TryEnqueueError> {
        if let Err(source) = message.check() {
            return Err(TryEnqueueError::Refused { message: Box::new(message), source });
        }
        let room = self.shared.room.try_acquire();
        let byte_room = self.shared.byte_room.try_acquire_many(bytes(&message));
        let (room, byte_room) = match (room, byte_room) {
            (Ok(room), Ok(byte_room)) => (room, byte_room),
            (Err(TryAcquireError::Closed), _) | (_, Err(TryAcquireError::Closed)) => {
                return Err(TryEnqueueError::Closed(Box::new(message)));
            }
            _ => return Err(TryEnqueueError::Full(Box::new(message))),
        };
        let slot = match self.commands.try_reserve() {
            Ok(slot) => slot,
            Err(mpsc::error::TrySendError::Full(())) => return Err(TryEnqueueError::Full(Box::new(message))),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(TryEnqueueError::Closed(Box::new(message))),
        };
        room.forget();
        byte_room.forget();
        let (ticket, receipt) = Ticket::new(message, self.send_deadline.map(|after| Deadline { at: None, after }));
        slot.send(Command::Send(ticket));
        Ok(self.resolve_if_ended(receipt))
    }

    /// Sends a message and waits until the hub has acknowledged it.
    ///
    /// # Errors
    /// [`SendError`] says whether the hub may have the message.
    ///
    /// # Cancel safety
    /// If dropped, the message may or may not be sent.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        self.enqueue(message).await?.await
    }

    /// Closes the client: takes no more messages, waits up to `flush` until the hub has acknowledged everything
    /// that is queued, disconnects from the hub and ends the client. It can be called at any time, several
    /// times and on any handle: the earliest end time counts, and every caller gets the same result.
    ///
    /// # Errors
    /// [`CloseError`] names the messages that the hub did not acknowledge. Their receipts say
    /// the same.
    ///
    /// # Cancel safety
    /// If dropped after the first poll, the client still closes.
    pub async fn close(&self, flush: Duration) -> Result<Closed, CloseError> {
        let until = far(Instant::now(), flush);
        // If the channel is closed, the client has ended already.
        let _ended = self.commands.send(Command::Close(Box::new(until))).await;
        self.closed().await;
        let closed = self.shared.closed.get().cloned().unwrap_or_else(|| Closed::new(self.shared.reason()));
        if closed.is_clean() { Ok(closed) } else { Err(CloseError::new(closed)) }
    }

    /// Waits until the client has ended, for whatever reason, and returns that reason.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> CloseReason {
        let mut state = self.shared.state.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        drop(state.wait_for(ConnectionState::is_closed).await);
        self.shared.reason()
    }

    /// The host and port that the client connects to, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// The protocol that the client uses.
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        self.shared.kind
    }

    /// The features that this protocol supports.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.shared.abilities
    }

    /// The identity and options of the login.
    #[must_use]
    pub fn login(&self) -> &HubLogin {
        &self.shared.login
    }

    /// Fails if the protocol cannot carry the feature.
    pub(crate) fn check(&self, feature: Feature) -> Result<(), Unsupported> {
        Unsupported::check(self.shared.abilities, self.shared.kind, feature)
    }

    /// Subscribes to a feature at the hub, on this and every later connection. Does not wait.
    pub(crate) fn want(&self, feature: Feature) {
        let new = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(feature);
        if new {
            // If the channel is closed, the client has ended.
            let _ended = self.wanted.try_send(feature);
        }
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.shared.room.available_permits()
    }

    #[cfg(test)]
    pub(crate) fn byte_room(&self) -> usize {
        self.shared.byte_room.available_permits()
    }

    /// Resolves the receipt if the client has ended: a message may enter the channel at the moment when the
    /// task ends, and then the task never takes it.
    fn resolve_if_ended(&self, receipt: Receipt) -> Receipt {
        if self.shared.is_closed.load(Ordering::SeqCst) {
            receipt.resolve_after_end(self.shared.reason());
        }
        receipt
    }
}

impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClient")
            .field("endpoint", &self.shared.endpoint)
            .field("kind", &self.shared.kind)
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}

/// Every size that passes the check fits into a `u32`.
fn bytes(message: &Message) -> u32 {
    u32::try_from(message.size()).unwrap_or(u32::MAX)
}

impl Shared {
    /// Why the client ended, or is ending.
    pub(crate) fn reason(&self) -> CloseReason {
        self.closed.get().map_or(CloseReason::Requested, |it| it.reason.clone())
    }

    pub(crate) fn last_cause(&self) -> Option<DisconnectCause> {
        self.last_cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_last_cause(&self, cause: Option<DisconnectCause>) {
        *self.last_cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// Why the client is not connected; `None` if it is.
    pub(crate) fn current_cause(&self) -> Option<DisconnectCause> {
        if self.state.borrow().is_connected() { None } else { self.last_cause() }
    }
}
