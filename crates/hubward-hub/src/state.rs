//! The connection state of a client, and the reasons why a client is not connected.

use std::sync::Arc;
use std::time::Duration;

use hubward_transport::{Fault, Refusal, RefusedBy, TransportError};
use tokio::time::Instant;

/// The connection state of a client. [`HubClient::state`](crate::HubClient::state) returns a receiver that follows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// An attempt to connect and log in is running.
    Connecting,
    /// The hub has accepted the login.
    Connected,
    /// The client has no hub, and its [`HubProvider`](crate::HubProvider) looks for one. Messages wait. A client
    /// without a provider never has this state.
    FindingHub,
    /// A planned renewal or move is running: the client moves to a new token, or to another hub. Messages wait briefly.
    /// No message is lost, and the client reports no failure.
    Renewing,
    /// The client is not connected and has planned the next attempt. Messages wait.
    Disconnected {
        /// What ended the connection or the attempt.
        cause: DisconnectCause,
        /// Number of failures in a row, including this one. The number returns to zero when the client has been logged
        /// in for the duration [`HubOptions::backoff_reset_after`](crate::HubOptions::backoff_reset_after).
        attempt: u32,
        /// When the next attempt starts.
        next_try: Instant,
    },
    /// The client has ended and does not connect again.
    Closed {
        /// Why the client ended.
        reason: CloseReason,
    },
}

impl ConnectionState {
    /// Returns `true` if the hub has accepted the login and the connection has not ended. A renewal also counts as
    /// connected, because messages wait only briefly during a renewal.
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
            Self::FindingHub => "finding-hub",
            Self::Renewing => "renewing",
            Self::Disconnected { .. } => "disconnected",
            Self::Closed { .. } => "closed",
        }
    }
}

/// Why the client is not connected.
#[derive(Clone, thiserror::Error)]
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
    /// The hub has repeatedly closed connections that it had accepted.
    ///
    /// Probably another client with the same identity takes over the connections. The client cannot be sure, because
    /// the hub gives no reason.
    ///
    /// The client connects at most once a [minute](crate::HubOptions::duplicate_wait) until a connection has lasted
    /// ten minutes.
    #[error(
        "suspected: another client uses the same identity, since the hub closed {takeovers} accepted connections; \
         give each device an identity of its own"
    )]
    DuplicateIdentity {
        /// The number of accepted connections that the hub has closed.
        takeovers: u32,
        /// How the last of these connections ended.
        #[source]
        source: Arc<TransportError>,
    },
}

hubward_proto::debug_as_error_report!(DisconnectCause);

impl DisconnectCause {
    /// Which party has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Transport(error) => error.fault(),
            Self::AckOverdue { .. } => Fault::Deadline,
            // The operator must give each client an identity of its own.
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

    /// Returns `true` if the hub refuses this identity. Registering with DPS again may then help.
    ///
    /// The device may have been moved, disabled or removed, or its key may have been changed. The hub's answer is the
    /// same in all these cases.
    #[must_use]
    pub fn suggests_reprovisioning(&self) -> bool {
        self.transport_error().is_some_and(refuses_identity)
    }
}

/// Why a client ended.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`HubClient::close`](crate::HubClient::close) was called.
    #[error("the program closed it")]
    Requested,
    /// Every handle was dropped.
    #[error("the program dropped its last handle")]
    Dropped,
    /// The client ended because of this error. There are two cases:
    ///
    /// * Before the first successful login, an attempt failed for a reason that a retry cannot change.
    /// * The hub no longer accepts the token, and the client cannot renew it because the program supplied it.
    #[error(transparent)]
    Refused(Arc<TransportError>),
    /// The client's [`HubProvider`](crate::HubProvider) has ended it.
    #[error(transparent)]
    Provider(Arc<dyn std::error::Error + Send + Sync>),
    /// The client's task was aborted, because the runtime shut down or a transport panicked.
    #[error("its task was aborted, because the runtime shut down or a transport panicked")]
    Aborted,
}

hubward_proto::debug_as_error_report!(CloseReason);

impl CloseReason {
    /// Returns the party that has to act; `None` if the program closed the client or the client's task was aborted.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.transport_error().map(TransportError::fault)
    }

    /// The transport's error, if that is the reason.
    #[must_use]
    pub fn transport_error(&self) -> Option<&TransportError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Requested | Self::Dropped | Self::Provider(_) | Self::Aborted => None,
        }
    }

    /// Returns `true` if the hub refuses this identity. Registering with DPS again may then help.
    ///
    /// The device may have been moved, disabled or removed, or its key may have been changed. The hub's answer is the
    /// same in all these cases.
    #[must_use]
    pub fn suggests_reprovisioning(&self) -> bool {
        self.transport_error().is_some_and(refuses_identity)
    }
}

/// Returns `true` if the hub answered that the identity is not authorized or not found. Returns `false` for other
/// failures, such as a wrong certificate or a refusal by a proxy or a local signer.
fn refuses_identity(error: &TransportError) -> bool {
    let by_status = |it: &Refusal| matches!(it.by, RefusedBy::Status(404));
    error.refusal().is_some_and(|it| error.fault() == Fault::Credential || by_status(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::{CredentialError, Stage};

    #[test]
    fn only_a_refusal_by_the_hub_suggests_reprovisioning() {
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
    fn a_suspected_duplicate_names_the_cause_the_party_at_fault_and_the_remedy() {
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
