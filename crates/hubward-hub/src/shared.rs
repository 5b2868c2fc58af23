//! The state that the handles and the task of a client share, and the commands that the handles send to the task.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hubward_transport::{Abilities, Feature, HubLogin, TransportKind};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::features::{CertificateCall, TwinRequest};
use crate::incoming::Incoming;
use crate::receipt::PendingMessage;
use crate::{CloseReason, Closed, ConnectionState, DisconnectCause, HubOptions, HubProvider, HubTarget};

// A channel of tokio allocates memory for many items at once. With large commands, this memory would take kilobytes.
const _: () = assert!(size_of::<Command>() <= 16);

/// A command from a handle to the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Sends a message.
    Send(PendingMessage),
    /// Makes a twin request.
    Twin(Box<TwinRequest>),
    /// Requests a certificate.
    Certificate(Box<CertificateCall>),
    /// Ends the client, at this moment at the latest.
    Close(Box<Instant>),
}

/// The target of a client, as the program sees it.
#[derive(Debug, Clone)]
pub(crate) struct TargetSnapshot {
    /// `None` before a provider has chosen a hub.
    pub(crate) login: Option<Arc<HubLogin>>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) kind: TransportKind,
    pub(crate) abilities: Abilities,
}

impl TargetSnapshot {
    pub(crate) fn of(target: &HubTarget) -> Self {
        Self {
            login: Some(Arc::new(target.login.clone())),
            endpoint: target.transport.endpoint(&target.login).into(),
            kind: target.transport.kind(),
            abilities: target.transport.abilities(),
        }
    }

    /// The client has no hub yet.
    pub(crate) fn before_the_first(provider: &dyn HubProvider) -> Self {
        let endpoint = "no hub yet".into();
        Self { login: None, endpoint, kind: provider.kind(), abilities: provider.abilities() }
    }
}

/// State that the handles and the task share.
pub(crate) struct Shared {
    target: Mutex<TargetSnapshot>,
    /// Whether the program has asked for a decision of the provider that the task has not requested yet.
    pub(crate) asks_provider: AtomicBool,
    /// Contains one permit for each message that may wait. Closed when the client takes no more messages.
    pub(crate) room: Semaphore,
    /// Contains one permit for each byte that messages may use while they wait or are in flight. Closed together with
    /// `room`.
    pub(crate) byte_room: Semaphore,
    /// Contains one permit for each twin request that may be unanswered. Closed when the client takes no more requests.
    pub(crate) twin_room: Semaphore,
    /// Contains the permit for the only certificate request. Closed when the client takes no more requests.
    pub(crate) certificate_room: Semaphore,
    /// Wakes the receivers of desired properties when a newer state exists. The value is `true` after the client has
    /// ended.
    pub(crate) desired: watch::Sender<bool>,
    /// The features that the client subscribes to on every connection.
    pub(crate) subscriptions: Mutex<BTreeSet<Feature>>,
    /// Method handlers, received messages and the newest desired properties.
    pub(crate) incoming: Arc<Incoming>,
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) last_cause: Mutex<Option<DisconnectCause>>,
    pub(crate) closed: OnceLock<Closed>,
    /// Set after the task has taken its last command.
    pub(crate) is_closed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(target: TargetSnapshot, incoming: Arc<Incoming>, options: &HubOptions) -> Self {
        let state = match target.login {
            Some(_) => ConnectionState::Connecting,
            None => ConnectionState::FindingHub,
        };
        Self {
            target: Mutex::new(target),
            asks_provider: AtomicBool::new(false),
            room: Semaphore::new(options.queue),
            byte_room: Semaphore::new(options.queue_bytes),
            twin_room: Semaphore::new(options.twin_queue),
            certificate_room: Semaphore::new(1),
            desired: watch::Sender::new(false),
            subscriptions: Mutex::default(),
            incoming,
            state: watch::Sender::new(state),
            last_cause: Mutex::new(None),
            closed: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The present target.
    pub(crate) fn target(&self) -> TargetSnapshot {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_target(&self, target: TargetSnapshot) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

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
