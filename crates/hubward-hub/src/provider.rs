//! The interface to the code that chooses the hub of a client.
//!
//! A client with a [`HubProvider`] can change its hub, its credential and its protocol while it runs. The client tells
//! the provider what happened, and the provider decides what to do next. This crate does not know where the provider
//! gets a hub from, for example from DPS.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hubward_transport::{Abilities, Credential, HubLogin, HubTransport, TransportKind};

use crate::DisconnectCause;

/// Everything that a client needs to connect: the protocol, the identity at a hub, and the credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubTarget {
    /// The protocol. For another certificate, pass a new transport with its own TLS configuration.
    pub transport: Arc<dyn HubTransport>,
    /// The identity at the hub, and the options of the login.
    pub login: HubLogin,
    /// The key, token, signer or certificate that proves the identity.
    pub credential: Credential,
}

impl HubTarget {
    /// Creates a target.
    pub fn new(transport: impl Into<Arc<dyn HubTransport>>, login: HubLogin, credential: Credential) -> Self {
        Self { transport: transport.into(), login, credential }
    }
}

/// What happened to a client. The client passes each event to its provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HubEvent {
    /// The client has started, and has no hub yet. This is always the first event. If the provider answers
    /// [`HubDecision::Stay`], the client asks again after the wait.
    Started,
    /// The hub has accepted the client. The client ignores the decision, unless it is [`HubDecision::Connect`] or
    /// [`HubDecision::End`].
    Accepted,
    /// A connection, or an attempt to connect, has failed.
    Failed(HubFailure),
    /// The program has called [`HubClient::ask_provider`](crate::HubClient::ask_provider). The current connection, if
    /// any, is still open, and stays open while the provider decides.
    Requested,
}

/// A failure, with what the client knows about the failures before it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubFailure {
    /// What ended the connection or the attempt.
    pub cause: DisconnectCause,
    /// Number of failures in a row at this target, including this one. See
    /// [`ConnectionState::Disconnected`](crate::ConnectionState::Disconnected) for when the number returns to zero.
    pub failures: u32,
    /// Time since the first of these failures.
    pub lasting: Duration,
    /// For how long the hub had accepted the client before this failure; `None` if this was an attempt that never
    /// succeeded.
    pub accepted_for: Option<Duration>,
    /// How long the client waits before its next attempt, from this failure on, unless the provider decides otherwise.
    pub wait: Duration,
}

impl HubFailure {
    /// Creates a failure without a wait, for tests of a provider. The client creates the failures that it passes to its
    /// provider.
    #[must_use]
    pub const fn new(cause: DisconnectCause, failures: u32, lasting: Duration, accepted_for: Option<Duration>) -> Self {
        Self { cause, failures, lasting, accepted_for, wait: Duration::ZERO }
    }
}

/// The answer of a provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HubDecision {
    /// Keep the target. After a failure, the client tries again after its usual back-off, and not before `at_least` has
    /// passed.
    Stay {
        /// The minimum wait.
        at_least: Duration,
    },
    /// Connect to this target, after the wait.
    ///
    /// The client first closes the connection that it has, in an orderly way. If the target has the identity of the
    /// target before it, the client sends unacknowledged messages again with their ids and DUP, as after any reconnect.
    /// Otherwise, the client has moved: it sends them first, in order, with new ids and without DUP, because the new
    /// hub does not know them. Calls and message locks of the old connection end.
    Connect {
        /// Where to connect.
        target: Box<HubTarget>,
        /// The minimum wait before the attempt.
        at_least: Duration,
    },
    /// End the client. Its [`CloseReason`](crate::CloseReason) is `Provider`, with this error.
    End(Arc<dyn Error + Send + Sync>),
}

impl HubDecision {
    /// Keep the target, without a minimum wait.
    pub const STAY: Self = Self::Stay { at_least: Duration::ZERO };

    /// Connect to this target at once.
    #[must_use]
    pub fn connect(target: HubTarget) -> Self {
        Self::Connect { target: Box::new(target), at_least: Duration::ZERO }
    }
}

/// Chooses the hub of a client, and decides what the client does after a failure.
#[async_trait]
pub trait HubProvider: Send + fmt::Debug {
    /// The protocol of the first target. [`HubClient::kind`](crate::HubClient::kind) returns it until the client has a
    /// target.
    fn kind(&self) -> TransportKind;

    /// The abilities of this protocol.
    fn abilities(&self) -> Abilities;

    /// Decides what the client does next. May take any time, for example to register the device.
    ///
    /// The client calls this method for one event at a time. While a decision about a failure is running, the client
    /// does not connect. It accepts messages, and resolves receipts whose deadline has passed. The client
    /// queues events during a decision: only the newest failure or acceptance, and one request.
    ///
    /// # Cancel safety
    /// If the client ends, it drops the future, and then the provider.
    async fn decide(&mut self, event: HubEvent) -> HubDecision;
}
