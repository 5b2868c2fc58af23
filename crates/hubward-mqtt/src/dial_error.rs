//! Converts a [`DialError`] into a [`TransportError`].

use hubward_dial::{DialError, DialStep, TlsFault as DialFault};
use hubward_proto::{ProtoError, retry_after};
use hubward_transport::{Refusal, RefusedBy, Stage, TlsFault, TransportError, clock};

/// Returns the transport error for the same failure.
pub(crate) fn transport_error(error: DialError) -> TransportError {
    let is_refused_by_loopback = error.is_refused_by_loopback();
    match error {
        DialError::Connect { endpoint, source } if is_refused_by_loopback => {
            TransportError::NotListening { endpoint: endpoint.to_string(), source }
        }
        DialError::Connect { endpoint, source } => TransportError::Connect { endpoint: endpoint.to_string(), source },
        DialError::Tls { endpoint, fault, source } => {
            TransportError::Tls { endpoint: endpoint.to_string(), fault: tls_fault(fault), source }
        }
        DialError::Closed { endpoint, during, source } => {
            TransportError::Closed { endpoint: endpoint.to_string(), stage: stage(during), source }
        }
        DialError::Timeout { endpoint, during, after } => {
            TransportError::Timeout { endpoint: endpoint.to_string(), stage: stage(during), after }
        }
        DialError::Upgrade { endpoint, status, retry_after, server_time } => {
            let mut refusal = Refusal::new(endpoint.to_string(), Stage::Upgrade, RefusedBy::UpgradeStatus(status));
            refusal.retry_after =
                retry_after.and_then(|it| retry_after::parse(&it, server_time.unwrap_or_else(clock::now)));
            refusal.server_time = server_time;
            TransportError::Refused(Box::new(refusal))
        }
        DialError::NotWebSocket { endpoint, problem } => TransportError::Protocol {
            endpoint: endpoint.to_string(),
            stage: Stage::Upgrade,
            source: ProtoError::Unexpected(problem),
        },
        _ => TransportError::Unsupported("the dialer returned an error that this version does not know"),
    }
}

const fn stage(during: DialStep) -> Stage {
    match during {
        DialStep::Tls => Stage::Tls,
        DialStep::Upgrade => Stage::Upgrade,
        _ => Stage::Connect,
    }
}

const fn tls_fault(fault: DialFault) -> TlsFault {
    match fault {
        DialFault::Untrusted => TlsFault::Untrusted,
        DialFault::Expired => TlsFault::Expired,
        DialFault::NotYetValid => TlsFault::NotYetValid,
        DialFault::WrongName => TlsFault::WrongName,
        DialFault::UnknownName => TlsFault::UnknownName,
        DialFault::NotTls => TlsFault::NotTls,
        DialFault::ClientCertificate => TlsFault::ClientCertificate,
        DialFault::Signing => TlsFault::Signing,
        _ => TlsFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, SystemTime};

    use hubward_dial::Endpoint;

    use super::*;

    #[test]
    fn a_dial_error_keeps_its_stage_and_message() {
        let endpoint = || Endpoint::new("dps.example", 443);
        let source = || io::Error::other("why");
        let slow = |during| DialError::Timeout { endpoint: endpoint(), during, after: Duration::from_secs(3) };
        let closed = |during| DialError::Closed { endpoint: endpoint(), during, source: Some(source()) };
        for (error, stage, text) in [
            (
                DialError::Connect { endpoint: endpoint(), source: source() },
                Stage::Connect,
                "could not connect to dps.example:443: why",
            ),
            (
                DialError::Tls { endpoint: endpoint(), fault: DialFault::Expired, source: source() },
                Stage::Tls,
                "no secure connection to dps.example:443: the server's certificate has expired: why",
            ),
            (closed(DialStep::Tls), Stage::Tls, "dps.example:443 closed the connection (tls): why"),
            (closed(DialStep::Upgrade), Stage::Upgrade, "dps.example:443 closed the connection (upgrade): why"),
            (slow(DialStep::Connect), Stage::Connect, "dps.example:443 did not answer within 3s (connect)"),
            (slow(DialStep::Tls), Stage::Tls, "dps.example:443 did not answer within 3s (tls)"),
            (slow(DialStep::Upgrade), Stage::Upgrade, "dps.example:443 did not answer within 3s (upgrade)"),
            (
                DialError::Upgrade {
                    endpoint: endpoint(),
                    status: 503,
                    retry_after: Some("7".into()),
                    server_time: None,
                },
                Stage::Upgrade,
                "dps.example:443 refused to speak WebSocket: HTTP status 503",
            ),
            (
                DialError::NotWebSocket { endpoint: endpoint(), problem: "no subprotocol".into() },
                Stage::Upgrade,
                "dps.example:443 broke the protocol (upgrade): no subprotocol",
            ),
        ] {
            let error = transport_error(error);
            assert_eq!(error.stage(), Some(stage), "{error}");
            assert_eq!(error.chain(), text);
        }
    }

    #[test]
    fn a_gateways_retry_after_is_kept_and_a_date_counts_from_the_gateways_clock() {
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (retry_after, server_time, expected) in [
            (Some("7"), None, Some(7)),
            (Some("7"), Some(written), Some(7)),
            (Some("Tue, 14 Nov 2023 22:13:25 GMT"), Some(written), Some(5)),
            (Some("soon"), None, None),
            (None, Some(written), None),
        ] {
            let retry_after = retry_after.map(str::to_owned);
            let error = DialError::Upgrade { endpoint: Endpoint::new("h", 443), status: 503, retry_after, server_time };
            let error = transport_error(error);
            assert_eq!(error.retry_after(), expected.map(Duration::from_secs));
            assert_eq!(error.refusal().and_then(|it| it.server_time), server_time);
        }
    }
}
