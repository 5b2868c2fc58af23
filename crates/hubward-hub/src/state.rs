//! Where a client stands, and why it is not connected.

use std::sync::Arc;
use std::time::Duration;

use hubward_transport::{Fault, Refusal, RefusedBy, TransportError};
use tokio::time::Instant;

/// The state of a client's connection; follow it with [`HubClient::state`](crate::HubClient::state).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// An attempt to connect and log in is running.
    Connecting,
    /// The hub has accepted the login.
    Connected,
    /// A planned change to a fresh token. Messages wait for a moment; none is lost or reported.
    Renewing,
    /// There is no connection; the next attempt is planned. Messages wait.
    Disconnected {
        /// What ended the connection or the attempt.
        cause: DisconnectCause,
        /// Failures in a row, this one included. Begins anew after a connection that lasted.
        attempt: u32,
        /// When the next attempt starts.
        next_try: Instant,
    },
    /// The client has ended. It does not come back.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

impl ConnectionState {
    /// Whether the hub has accepted the login and the connection has not ended since. True during a
    /// renewal, which is no interruption that a program needs to know of.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected | Self::Renewing)
    }

    /// Whether the client has ended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Renewing => "renewing",
            Self::Disconnected { .. } => "disconnected",
            Self::Closed { .. } => "closed",
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The connection, or the attempt to make one, failed.
    #[error(transparent)]
    Transport(Arc<TransportError>),
    /// The hub answered, but did not acknowledge a message in time.
    #[error("the hub did not acknowledge a message within {after:?}")]
    AckOverdue {
        /// How long the client waited.
        after: Duration,
    },
    /// The hub closes connections that it had accepted, again and again: it looks as if another client
    /// with the same identity took them over. Only the pattern says so, hence suspected. The client
    /// tries at most once a [minute](crate::HubOptions::duplicate_wait) until a connection has lasted
    /// for ten.
    #[error(
        "suspected: another client uses the same identity, since the hub closed {takeovers} accepted connections; \
         give each device an identity of its own"
    )]
    DuplicateIdentity {
        /// How many connections it has closed since this began.
        takeovers: u32,
        /// How the last one ended.
        #[source]
        source: Arc<TransportError>,
    },
}

impl DisconnectCause {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Transport(error) => error.fault(),
            Self::AckOverdue { .. } => Fault::Deadline,
            // Whoever gave two clients the same one.
            Self::DuplicateIdentity { .. } => Fault::Credential,
        }
    }

    /// The transport's error, if there was one.
    #[must_use]
    pub fn transport_error(&self) -> Option<&TransportError> {
        match self {
            Self::Transport(error) | Self::DuplicateIdentity { source: error, .. } => Some(error),
            Self::AckOverdue { .. } => None,
        }
    }

    /// Whether the hub refuses this identity, so that asking DPS again may help: the device was
    /// moved, disabled or removed, or its key was changed. The hub does not tell these apart.
    #[must_use]
    pub fn suggests_reprovisioning(&self) -> bool {
        self.transport_error().is_some_and(refuses_identity)
    }
}

/// Why a client ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`HubClient::close`](crate::HubClient::close) was called.
    #[error("it was asked to close")]
    Requested,
    /// Every handle was dropped.
    #[error("every handle of it was dropped")]
    Dropped,
    /// The very first login failed in a way that trying again does not change, or the ready token
    /// that it was given is no longer accepted.
    #[error(transparent)]
    Refused(Arc<TransportError>),
    /// Its task was ended from outside: the runtime shut down, or a transport panicked.
    #[error("its task was ended")]
    Aborted,
}

impl CloseReason {
    /// Who has to act; `None` if the program itself wanted it.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.transport_error().map(TransportError::fault)
    }

    /// The transport's error, if that is the reason.
    #[must_use]
    pub fn transport_error(&self) -> Option<&TransportError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Requested | Self::Dropped | Self::Aborted => None,
        }
    }

    /// Whether the hub refuses this identity, so that asking DPS again may help: the device was
    /// moved, disabled or removed, or its key was changed. The hub does not tell these apart.
    #[must_use]
    pub fn suggests_reprovisioning(&self) -> bool {
        self.transport_error().is_some_and(refuses_identity)
    }
}

/// A wrong certificate, a proxy or a local signer say nothing about the assignment; a hub that
/// answers "not authorized" or "not found" does.
fn refuses_identity(error: &TransportError) -> bool {
    let by_status = |it: &Refusal| matches!(it.by, RefusedBy::Status(404));
    error.refusal().is_some_and(|it| error.fault() == Fault::Credential || by_status(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::{CredentialError, Stage};

    #[test]
    fn only_the_hubs_own_no_suggests_reprovisioning() {
        let refused = |by| TransportError::Refused(Box::new(Refusal::new("hub.example:8883".into(), Stage::Login, by)));
        for (error, expected) in [
            (refused(RefusedBy::Connack(5)), true),
            (refused(RefusedBy::Connack(4)), true),
            (refused(RefusedBy::Status(401)), true),
            (refused(RefusedBy::Status(404)), true),
            (refused(RefusedBy::Connack(3)), false),
            (refused(RefusedBy::UpgradeStatus(403)), false),
            (TransportError::Credential(CredentialError::Signer("no such key".into())), false),
            (TransportError::Unsupported("x"), false),
        ] {
            let text = error.chain();
            let error = Arc::new(error);
            assert_eq!(CloseReason::Refused(error.clone()).suggests_reprovisioning(), expected, "{text}");
            assert_eq!(DisconnectCause::Transport(error).suggests_reprovisioning(), expected, "{text}");
        }
        assert!(!CloseReason::Requested.suggests_reprovisioning());
    }

    #[test]
    fn a_suspicion_says_that_it_is_one_who_has_to_act_and_what_to_do() {
        let source =
            TransportError::Closed { endpoint: "hub.example:8883".into(), stage: Stage::Exchange, source: None };
        let cause = DisconnectCause::DuplicateIdentity { takeovers: 5, source: Arc::new(source) };
        assert_eq!(
            cause.to_string(),
            "suspected: another client uses the same identity, since the hub closed 5 accepted connections; \
             give each device an identity of its own"
        );
        let why = std::error::Error::source(&cause).expect("a source").to_string();
        assert_eq!(why, "hub.example:8883 closed the connection (exchange)");
        assert_eq!(cause.fault(), Fault::Credential);
        assert!(!cause.suggests_reprovisioning(), "the hub accepts this identity");
    }
}
