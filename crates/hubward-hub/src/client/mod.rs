//! The handle: what a program can do with a client.

mod certificates;
mod cloud_messages;
mod desired;
mod methods;
mod send;
mod twin;
mod weak;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hubward_transport::{Abilities, Credential, Feature, HubLogin, HubTransport, TransportKind, clock};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

pub use self::certificates::{IssuanceError, IssuanceRequest};
pub use self::cloud_messages::{CloudMessage, CloudMessages, ReceiveError, SettleError};
pub use self::desired::DesiredProperties;
pub use self::methods::MethodCall;
pub use self::twin::{Reported, TwinError};
pub use self::weak::WeakHubClient;
use crate::deadline::later;
use crate::driver::{Channels, Driver, HubSource, WallClock};
use crate::incoming::Incoming;
use crate::shared::{Command, Shared, TargetSnapshot};
use crate::{
    CloseError, CloseReason, Closed, ConnectionState, DisconnectCause, HubError, HubOptions, HubProvider, HubTarget,
    Unsupported,
};

/// Capacity of the command channel for commands other than messages.
const OTHER_COMMANDS: usize = 16;

/// Capacity of the channel that carries subscription requests to the task. Each request names one feature, such as
/// direct methods. There are fewer than 16 features, and a client requests each feature at most once. So the channel is
/// never full.
const FEATURES: usize = 16;

/// A handle of a client. A client connects one device or module to one hub at a time. Clones of a handle share one
/// connection.
///
/// A background task owns the connection. The handle only sends commands to the task.
///
/// When the program drops the last handle, the client discards the messages that are still queued, and ends in the
/// background. To send these messages first, call [`HubClient::close`].
#[derive(Clone)]
#[must_use]
pub struct HubClient {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) subscriptions: mpsc::Sender<Feature>,
    pub(crate) send_deadline: Option<Duration>,
    pub(crate) twin_deadline: Option<Duration>,
}

impl HubClient {
    /// Starts a client and returns at once. The client connects in the background. To wait for the connection, call
    /// [`HubClient::connected`].
    ///
    /// Before the first successful login, a failure ends the client if a retry cannot succeed. Examples are a refused
    /// credential, an untrusted certificate and an unsupported feature. The client retries network failures for ever.
    ///
    /// After the first successful login, the client retries every failure, with growing waits. There is one exception:
    /// if the hub refuses a token that the client cannot renew, the client ends.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub fn spawn(
        transport: impl Into<Arc<dyn HubTransport>>,
        login: HubLogin,
        credential: Credential,
        options: HubOptions,
    ) -> Self {
        Self::spawn_by(transport, login, credential, options, Arc::new(clock::now))
    }

    /// Starts a client whose hub the provider chooses, and returns at once. The client accepts messages before it has a
    /// hub.
    ///
    /// Such a client ends only if the program closes it or drops its last handle, or if the provider ends it.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub fn spawn_with_provider(provider: Box<dyn HubProvider>, options: HubOptions) -> Self {
        Self::start(HubSource::Provider(provider), options, Arc::new(clock::now))
    }

    /// Passes [`HubEvent::Requested`](crate::HubEvent::Requested) to the provider, which may move the client to another
    /// hub, credential or protocol. Does not wait. Does nothing if the client has no provider, or has ended.
    ///
    /// If the client moves, it first waits for acknowledgements and running methods, as for a
    /// [renewal](HubOptions::renewal_drain). Several calls before the provider's answer count as one.
    pub fn ask_provider(&self) {
        self.shared.asks_provider.store(true, Ordering::SeqCst);
        self.shared.incoming.wake_task();
    }

    /// Like [`HubClient::spawn`], but with another wall clock.
    pub(crate) fn spawn_by(
        transport: impl Into<Arc<dyn HubTransport>>,
        login: HubLogin,
        credential: Credential,
        options: HubOptions,
        wall: WallClock,
    ) -> Self {
        Self::start(HubSource::Target(Box::new(HubTarget::new(transport, login, credential))), options, wall)
    }

    pub(crate) fn start(source: HubSource, options: HubOptions, wall: WallClock) -> Self {
        let options = options.in_range();
        let (incoming, task_wakes) = Incoming::new(&options);
        let target = match &source {
            HubSource::Target(target) => TargetSnapshot::of(target),
            HubSource::Provider(provider) => TargetSnapshot::before_the_first(&**provider),
        };
        let shared = Arc::new(Shared::new(target, incoming, &options));
        let (commands, receiver) =
            mpsc::channel(options.queue.saturating_add(OTHER_COMMANDS).min(Semaphore::MAX_PERMITS));
        let (send_deadline, twin_deadline) = (options.send_deadline, options.twin_deadline);
        let (subscriptions, features) = mpsc::channel(FEATURES);
        let channels = Channels { commands: receiver, features, task_wakes };
        tokio::spawn(Driver::new(source, options, shared.clone(), channels, wall, Instant::now()));
        Self { shared, commands, subscriptions, send_deadline, twin_deadline }
    }

    /// Waits until the hub has accepted the login.
    ///
    /// The future waits for as long as the client tries to connect. To limit the wait, use [`tokio::time::timeout`].
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

    /// Returns a receiver of the connection state. If states follow each other quickly, the receiver may miss some of
    /// them.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    /// Returns why the most recent connection or connection attempt ended. The value stays the same while the next
    /// attempt runs. After a successful login, it is `None`.
    #[must_use]
    pub fn last_error(&self) -> Option<DisconnectCause> {
        self.shared.last_cause()
    }

    /// Closes the client. The client takes no more messages. It waits until the hub has acknowledged every queued
    /// message, at most for the duration `flush`. It then disconnects from the hub and ends.
    ///
    /// The program can call this method at any time, more than once and on any handle. Each call sets an end time: the
    /// time of the call plus `flush`. The earliest end time counts, and every caller gets the same result.
    ///
    /// # Errors
    /// [`CloseError`] names the messages that the hub did not acknowledge. The receipts of these messages resolve with
    /// errors.
    ///
    /// # Cancel safety
    /// If the future is dropped after the first poll, the client still closes.
    pub async fn close(&self, flush: Duration) -> Result<Closed, CloseError> {
        let until = later(Instant::now(), flush);
        // If the channel is closed, the client has ended already.
        let _ended = self.commands.send(Command::Close(Box::new(until))).await;
        self.closed().await;
        let closed = self.shared.closed.get().cloned().unwrap_or_else(|| Closed::new(self.shared.reason()));
        if closed.is_clean() { Ok(closed) } else { Err(CloseError::new(closed)) }
    }

    /// Waits until the client has ended, for whatever reason. Returns this reason.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> CloseReason {
        let mut state = self.shared.state.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        drop(state.wait_for(ConnectionState::is_closed).await);
        self.shared.reason()
    }

    /// Returns the host and port that the client connects to. Use the text only in logs and error messages.
    ///
    /// The value is a snapshot: a client with a [provider](HubClient::spawn_with_provider) may move to another hub or
    /// transport. So call this method again instead of keeping its result. Before such a client has a hub, the text is
    /// `no hub yet`.
    ///
    /// The same applies to [`HubClient::login`], [`HubClient::kind`] and [`HubClient::abilities`].
    #[must_use]
    pub fn endpoint(&self) -> Arc<str> {
        self.shared.target().endpoint
    }

    /// The protocol that the client uses now; a [snapshot](HubClient::endpoint).
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        self.shared.target().kind
    }

    /// The features that this protocol supports; a [snapshot](HubClient::endpoint).
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.shared.target().abilities
    }

    /// Returns the identity and options of the login; `None` before a provider has chosen a hub. This is a
    /// [snapshot](HubClient::endpoint) that costs no copy.
    #[must_use]
    pub fn login(&self) -> Option<Arc<HubLogin>> {
        self.shared.target().login
    }

    /// Fails if the protocol does not support the feature.
    pub(crate) fn check(&self, feature: Feature) -> Result<(), Unsupported> {
        let target = self.shared.target();
        Unsupported::check(target.abilities, target.kind, feature)
    }

    /// Subscribes to a feature at the hub, on this connection and every later one. Does not wait.
    pub(crate) fn subscribe(&self, feature: Feature) {
        let new = self.shared.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).insert(feature);
        if new {
            // If the channel is closed, the client has ended.
            let _ended = self.subscriptions.try_send(feature);
        }
    }
}

impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClient")
            .field("endpoint", &self.endpoint())
            .field("kind", &self.kind())
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}
