//! What a failure of a hub or of DPS means for a device.

use std::time::Duration;

use hubward_dps::ProvisionError;
use hubward_hub::DisconnectCause;
use hubward_proto::dps::error_code::Cause;
use hubward_proto::retry_after::RETRY_AFTER_MAX;
use hubward_transport::{Fault, Refusal, RefusedBy, Stage, TlsFault, TransportError};

/// The meaning of a failure at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubTrouble {
    /// The failure probably passes by itself: the network, the hub, or a time limit.
    Transient,
    /// The hub asks the device to send less.
    Throttled,
    /// The hub does not accept the identity. It does not say whether the device is disabled, deleted or moved, or
    /// whether its credential has changed.
    Refused,
    /// The server at the address could not prove that it is the hub.
    UntrustedServer,
    /// The device's own credential provides no token or no signature.
    LocalCredential,
    /// Another client seems to use the same identity.
    DuplicateIdentity,
    /// No program listens at an address of this machine.
    NotListening,
    /// The client cannot send such a request, or the peer never accepts it.
    Request,
}

/// The meaning of a failed registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DpsTrouble {
    /// The failure probably passes by itself: the network, or a time limit.
    Transient,
    /// DPS failed (status 5xx).
    Server,
    /// DPS asks the device to send less.
    Throttled,
    /// DPS does not accept the identity, or the enrollment does not assign a hub to it that the device can use.
    Refused,
    /// The server at the address could not prove that it is DPS, or broke the protocol.
    UntrustedServer,
    /// The device's own credential provides no token or no signature.
    LocalCredential,
    /// No program listens at an address of this machine.
    NotListening,
    /// The client cannot send such a request.
    Request,
}

impl HubTrouble {
    /// Returns the meaning of `cause`.
    ///
    /// A CONNACK with code 2, 4 or 5 and the statuses 401, 403 and 404 refuse the identity. Source: `[sdk]` Azure IoT
    /// SDK for C, connection; `[doc]` iot-dps/concepts-deploy-at-scale.md, "Reprovisioning devices".
    pub(crate) fn of(cause: &DisconnectCause) -> Self {
        match cause {
            DisconnectCause::DuplicateIdentity { .. } => Self::DuplicateIdentity,
            cause => cause.transport_error().map_or(Self::Transient, Self::of_transport),
        }
    }

    fn of_transport(error: &TransportError) -> Self {
        match error {
            TransportError::NotListening { .. } => Self::NotListening,
            TransportError::Tls { fault: TlsFault::ClientCertificate, .. } => Self::Refused,
            TransportError::Tls { fault: TlsFault::Signing, .. } | TransportError::Credential(_) => {
                Self::LocalCredential
            }
            TransportError::Tls { .. } => Self::UntrustedServer,
            TransportError::Request(_) | TransportError::Unsupported(_) => Self::Request,
            TransportError::Refused(refusal) => match (refusal.by, refusal.cause()) {
                (RefusedBy::Connack(2), _) => Self::Refused,
                (RefusedBy::Status(_) | RefusedBy::Connack(_), Cause::Credential | Cause::NotFound) => Self::Refused,
                (_, Cause::Throttled) => Self::Throttled,
                // 1: the protocol version is not accepted.
                (RefusedBy::Connack(1), _) => Self::Request,
                // A proxy or gateway may have refused the upgrade to a WebSocket: this says nothing about the identity.
                _ => Self::Transient,
            },
            _ => Self::Transient,
        }
    }

    /// Whether failures like this one are a reason to ask DPS for another hub. Throttling and a second client with the
    /// same identity are not: another registration changes nothing.
    pub(super) const fn counts_for_registration(self) -> bool {
        matches!(self, Self::Transient | Self::UntrustedServer | Self::NotListening)
    }
}

impl DpsTrouble {
    /// Returns the meaning of `error`.
    pub(crate) fn of(error: &ProvisionError) -> Self {
        match error {
            // A hub with another protocol does not help the device until an operator changes the enrollment.
            ProvisionError::Rejected { .. } | ProvisionError::ConnectionProfile { .. } => Self::Refused,
            ProvisionError::Credential(_) => Self::LocalCredential,
            ProvisionError::Broken { .. } => Self::UntrustedServer,
            ProvisionError::Transport { source, .. } => Self::of_transport(source),
            _ => Self::Transient,
        }
    }

    fn of_transport(error: &TransportError) -> Self {
        match error {
            TransportError::NotListening { .. } => Self::NotListening,
            TransportError::Tls { fault: TlsFault::ClientCertificate, .. } => Self::Refused,
            TransportError::Tls { fault: TlsFault::Signing, .. } | TransportError::Credential(_) => {
                Self::LocalCredential
            }
            TransportError::Tls { .. } | TransportError::Protocol { .. } => Self::UntrustedServer,
            TransportError::Request(_) | TransportError::Unsupported(_) => Self::Request,
            TransportError::Refused(refusal) => Self::of_refusal(refusal),
            _ => Self::Transient,
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match (refusal.by, refusal.cause()) {
            (_, Cause::Throttled) => Self::Throttled,
            (_, Cause::Server) => Self::Server,
            (RefusedBy::UpgradeStatus(_) | RefusedBy::Suback, _) | (_, Cause::Conflict) => Self::Transient,
            // DPS does not know the operation any more. A new registration starts a new one.
            (_, Cause::NotFound) if refusal.stage == Stage::Poll => Self::Transient,
            _ => Self::Refused,
        }
    }
}

/// Returns how long the hub asked to wait; zero if it did not ask. More than a day counts as a day.
pub(super) fn hub_retry_after(cause: &DisconnectCause) -> Duration {
    cause.transport_error().and_then(TransportError::retry_after).unwrap_or_default().min(RETRY_AFTER_MAX)
}

/// Returns how long DPS asked to wait; zero if it did not ask. More than a day counts as a day.
pub(super) fn dps_retry_after(error: &ProvisionError) -> Duration {
    let asked = match error {
        ProvisionError::Transport { source, .. } => source.retry_after(),
        _ => None,
    };
    asked.unwrap_or_default().min(RETRY_AFTER_MAX)
}

/// Returns `true` if every attempt at the hub fails like this one until a person acts.
pub(super) fn is_final_at_hub(cause: &DisconnectCause) -> bool {
    cause.transport_error().is_some_and(|it| !it.is_retryable() && it.fault() != Fault::Peer)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use hubward_proto::ProtoError;
    use hubward_proto::dps::{AssignmentStatus, RegistrationState};
    use hubward_transport::CredentialError;

    use super::*;

    fn refused(stage: Stage, by: RefusedBy) -> TransportError {
        TransportError::Refused(Box::new(Refusal::new("service.example:8883".into(), stage, by)))
    }

    fn tls(fault: TlsFault) -> TransportError {
        TransportError::Tls { endpoint: "service.example:8883".into(), fault, source: io::Error::other("handshake") }
    }

    fn connect() -> TransportError {
        TransportError::Connect { endpoint: "service.example:8883".into(), source: io::Error::other("no route") }
    }

    fn not_listening() -> TransportError {
        TransportError::NotListening { endpoint: "localhost:8883".into(), source: io::Error::other("refused") }
    }

    fn timeout() -> TransportError {
        let (endpoint, after) = ("service.example:8883".into(), Duration::from_secs(30));
        TransportError::Timeout { endpoint, stage: Stage::Login, after }
    }

    fn closed() -> TransportError {
        TransportError::Closed { endpoint: "service.example:8883".into(), stage: Stage::Exchange, source: None }
    }

    fn protocol() -> TransportError {
        let (endpoint, source) = ("service.example:8883".into(), ProtoError::Unexpected("x".into()));
        TransportError::Protocol { endpoint, stage: Stage::Exchange, source }
    }

    fn signer() -> TransportError {
        TransportError::Credential(CredentialError::Signer("no such key".into()))
    }

    #[test]
    fn each_failure_at_the_hub_has_one_meaning() {
        let by = |by| refused(Stage::Login, by);
        for (error, meaning) in [
            (by(RefusedBy::Connack(1)), HubTrouble::Request),
            (by(RefusedBy::Connack(2)), HubTrouble::Refused),
            (by(RefusedBy::Connack(3)), HubTrouble::Transient),
            (by(RefusedBy::Connack(4)), HubTrouble::Refused),
            (by(RefusedBy::Connack(5)), HubTrouble::Refused),
            (by(RefusedBy::Status(401)), HubTrouble::Refused),
            (by(RefusedBy::Status(403)), HubTrouble::Refused),
            (by(RefusedBy::Status(404)), HubTrouble::Refused),
            (by(RefusedBy::Status(429)), HubTrouble::Throttled),
            (by(RefusedBy::Status(500)), HubTrouble::Transient),
            (by(RefusedBy::UpgradeStatus(401)), HubTrouble::Transient),
            (by(RefusedBy::UpgradeStatus(429)), HubTrouble::Throttled),
            (by(RefusedBy::UpgradeStatus(503)), HubTrouble::Transient),
            (by(RefusedBy::Suback), HubTrouble::Transient),
            (tls(TlsFault::ClientCertificate), HubTrouble::Refused),
            (tls(TlsFault::Signing), HubTrouble::LocalCredential),
            (tls(TlsFault::Untrusted), HubTrouble::UntrustedServer),
            (tls(TlsFault::Expired), HubTrouble::UntrustedServer),
            (tls(TlsFault::WrongName), HubTrouble::UntrustedServer),
            (tls(TlsFault::Other), HubTrouble::UntrustedServer),
            (signer(), HubTrouble::LocalCredential),
            (connect(), HubTrouble::Transient),
            (not_listening(), HubTrouble::NotListening),
            (timeout(), HubTrouble::Transient),
            (closed(), HubTrouble::Transient),
            (protocol(), HubTrouble::Transient),
            (TransportError::Unsupported("x"), HubTrouble::Request),
            (TransportError::Request(ProtoError::Unexpected("x".into())), HubTrouble::Request),
        ] {
            let text = error.chain();
            assert_eq!(HubTrouble::of(&DisconnectCause::Transport(Arc::new(error))), meaning, "{text}");
        }
        let overdue = DisconnectCause::AckOverdue { after: Duration::from_secs(30) };
        assert_eq!(HubTrouble::of(&overdue), HubTrouble::Transient);
        let duplicate = DisconnectCause::DuplicateIdentity { takeovers: 5, source: Arc::new(closed()) };
        assert_eq!(HubTrouble::of(&duplicate), HubTrouble::DuplicateIdentity);
    }

    #[test]
    fn each_failed_registration_has_one_meaning() {
        let register = |by| refused(Stage::Register, by);
        let rejected_with_code = {
            let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(200));
            refusal.error_code = Some(429_001);
            TransportError::Refused(Box::new(refusal))
        };
        for (source, meaning) in [
            (register(RefusedBy::Status(400)), DpsTrouble::Refused),
            (register(RefusedBy::Status(401)), DpsTrouble::Refused),
            (register(RefusedBy::Status(403)), DpsTrouble::Refused),
            (register(RefusedBy::Status(404)), DpsTrouble::Refused),
            (refused(Stage::Poll, RefusedBy::Status(404)), DpsTrouble::Transient),
            (register(RefusedBy::Status(408)), DpsTrouble::Server),
            (register(RefusedBy::Status(409)), DpsTrouble::Transient),
            (register(RefusedBy::Status(429)), DpsTrouble::Throttled),
            (rejected_with_code, DpsTrouble::Throttled),
            (register(RefusedBy::Status(500)), DpsTrouble::Server),
            (refused(Stage::Login, RefusedBy::Connack(3)), DpsTrouble::Server),
            (refused(Stage::Login, RefusedBy::Connack(4)), DpsTrouble::Refused),
            (refused(Stage::Login, RefusedBy::Connack(5)), DpsTrouble::Refused),
            (refused(Stage::Upgrade, RefusedBy::UpgradeStatus(403)), DpsTrouble::Transient),
            (refused(Stage::Upgrade, RefusedBy::UpgradeStatus(429)), DpsTrouble::Throttled),
            (refused(Stage::Subscribe, RefusedBy::Suback), DpsTrouble::Transient),
            (tls(TlsFault::ClientCertificate), DpsTrouble::Refused),
            (tls(TlsFault::Signing), DpsTrouble::LocalCredential),
            (tls(TlsFault::Untrusted), DpsTrouble::UntrustedServer),
            (signer(), DpsTrouble::LocalCredential),
            (connect(), DpsTrouble::Transient),
            (not_listening(), DpsTrouble::NotListening),
            (timeout(), DpsTrouble::Transient),
            (closed(), DpsTrouble::Transient),
            (protocol(), DpsTrouble::UntrustedServer),
            (TransportError::Unsupported("x"), DpsTrouble::Request),
        ] {
            let text = source.chain();
            let error = ProvisionError::Transport { attempts: 1, out_of_time: false, source };
            assert_eq!(DpsTrouble::of(&error), meaning, "{text}");
        }
        let (endpoint, source) = ("dps.example:443".to_owned(), ProtoError::Unexpected("x".into()));
        for (error, meaning) in [
            (rejected(AssignmentStatus::Failed), DpsTrouble::Refused),
            (rejected(AssignmentStatus::Disabled), DpsTrouble::Refused),
            (ProvisionError::Credential(CredentialError::Signer("no key".into())), DpsTrouble::LocalCredential),
            (ProvisionError::Broken { endpoint: endpoint.clone(), source }, DpsTrouble::UntrustedServer),
            (
                ProvisionError::ConnectionProfile { endpoint: endpoint.clone(), profile: "mqttV5".into() },
                DpsTrouble::Refused,
            ),
            (ProvisionError::Deadline { endpoint, after: Duration::from_secs(600) }, DpsTrouble::Transient),
        ] {
            assert_eq!(DpsTrouble::of(&error), meaning, "{error}");
        }
    }

    fn rejected(status: AssignmentStatus) -> ProvisionError {
        let state = Box::<RegistrationState>::default();
        ProvisionError::Rejected { endpoint: "dps.example:443".into(), status, state }
    }

    #[test]
    fn a_retry_after_counts_up_to_a_day() {
        for (asked, counts) in [(None, 0), (Some(0), 0), (Some(7), 7), (Some(86_400), 86_400), (Some(90_000), 86_400)] {
            let refusal = || {
                let mut it = Refusal::new("x.example:443".into(), Stage::Register, RefusedBy::Status(429));
                it.retry_after = asked.map(Duration::from_secs);
                TransportError::Refused(Box::new(it))
            };
            let cause = DisconnectCause::Transport(Arc::new(refusal()));
            let error = ProvisionError::Transport { attempts: 1, out_of_time: false, source: refusal() };
            let expected = Duration::from_secs(counts);
            assert_eq!((hub_retry_after(&cause), dps_retry_after(&error)), (expected, expected), "{asked:?}");
        }
    }
}
