//! From an error to what a person needs: where it happened, who has to act, what to do.

use std::time::SystemTime;

use hubward_dps::{AssignmentStatus, ProvisionError};
use hubward_hub::{DisconnectCause, SendError, Why};
use hubward_proto::ProtoError;
use hubward_proto::dps::error_code::{self, Cause};
use hubward_transport::{Fault, Refusal, RefusedBy, Stage, TlsFault, TransportError, clock};

/// What is known of a failure, for a message, a log or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The leg and what it was doing: `dps-connect`, `dps-tls`, `dps-upgrade`, `dps-login`,
    /// `dps-subscribe`, `dps-register`, `dps-poll`, `dps-assign`, and `hub-…` likewise; `settings`
    /// before anything was sent.
    pub stage: String,
    /// Host and port, if it came that far.
    pub endpoint: Option<String>,
    /// Who has to act.
    pub fault: Fault,
    /// The service's six-digit code.
    pub service_code: Option<u32>,
    /// The service's id of the refusal; what its support asks for.
    pub tracking_id: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnosis {
    /// A failure before anything was sent.
    pub(crate) fn of_settings(fault: Fault, hint: Option<String>) -> Self {
        Self { stage: "settings".into(), endpoint: None, fault, service_code: None, tracking_id: None, hint }
    }

    /// A failure of a transport on the way to one of the two services.
    pub(crate) fn of_transport(leg: Leg, error: &TransportError) -> Self {
        let refusal = error.refusal();
        Self {
            stage: error.stage().map_or_else(|| "settings".into(), |stage| format!("{leg}-{stage}")),
            endpoint: error.endpoint().map(str::to_owned),
            fault: error.fault(),
            service_code: refusal.and_then(|it| it.error_code),
            tracking_id: refusal.and_then(|it| it.tracking_id.clone()),
            hint: hint(leg, error),
        }
    }

    /// What keeps a client from being connected to its hub.
    pub(crate) fn of_disconnect(cause: &DisconnectCause) -> Self {
        let hint = match cause {
            DisconnectCause::Transport(error) => return Self::of_transport(Leg::Hub, error),
            DisconnectCause::DuplicateIdentity { .. } => DUPLICATE,
            // Also what has no case of its own yet.
            _ => SLOW,
        };
        let mut diagnosis = match cause.transport_error() {
            Some(error) => Self::of_transport(Leg::Hub, error),
            None => Self::of_settings(cause.fault(), None),
        };
        diagnosis.fault = cause.fault();
        diagnosis.hint = Some(hint.to_owned());
        diagnosis
    }

    pub(crate) fn of_provision(error: &ProvisionError) -> Self {
        let assign = |service_code, hint: String| Self {
            stage: "dps-assign".into(),
            endpoint: error.endpoint().map(str::to_owned),
            fault: error.fault(),
            service_code,
            tracking_id: None,
            hint: Some(hint),
        };
        match error {
            ProvisionError::Transport { source, .. } => Self::of_transport(Leg::Dps, source),
            ProvisionError::Rejected { status: AssignmentStatus::Disabled, state, .. } => {
                assign(state.error_code, "enable the enrollment of this device (or of its group) in the service".into())
            }
            ProvisionError::Rejected { state, .. } => assign(state.error_code, rejected_hint(state.error_code)),
            ProvisionError::Deadline { .. } => assign(
                None,
                "the service was reachable but did not finish: give it more time, or look for an allocation webhook \
                 that does not answer"
                    .into(),
            ),
            ProvisionError::Broken { source: ProtoError::UnknownStatus(_), .. } => {
                assign(None, format!("a newer version of hubward may know this status; otherwise {SOMETHING_BETWEEN}"))
            }
            ProvisionError::Broken { .. } => assign(None, SOMETHING_BETWEEN.into()),
            // Also what has no case of its own yet.
            error => Self::of_settings(error.fault(), None),
        }
    }
}

impl From<&SendError> for Diagnosis {
    /// What is known of a message that was not acknowledged.
    fn from(error: &SendError) -> Self {
        let cause = match error {
            SendError::NotSent { why, .. } | SendError::Unknown { why, .. } => match why {
                Why::Deadline { cause: Some(cause), .. } => Some(Self::of_disconnect(cause)),
                Why::Closed(reason) => reason.transport_error().map(|it| Self::of_transport(Leg::Hub, it)),
                _ => None,
            },
            _ => None,
        };
        let mut diagnosis =
            cause.unwrap_or_else(|| Self::of_settings(error.fault().unwrap_or(Fault::Deadline), send_hint(error)));
        diagnosis.stage = "hub-send".into();
        diagnosis
    }
}

/// What to do about a message where no connection's failure is behind it.
fn send_hint(error: &SendError) -> Option<String> {
    Some(match error {
        SendError::Refused { source: ProtoError::TooLarge { limit, .. }, .. } => {
            format!("a message has at most {limit} bytes, properties included: send several, or upload a file")
        }
        SendError::Refused { .. } => "the service has no form for such a message: nothing was sent".into(),
        error if error.is_deadline() => SLOW.into(),
        _ => return None,
    })
}

/// Which of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    Dps,
    Hub,
}

impl std::fmt::Display for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dps => "dps",
            Self::Hub => "hub",
        })
    }
}

const SLOW: &str = "the hub is slow to acknowledge: give messages more time (--timeout, HubOptions::send_deadline)";

const DUPLICATE: &str = "stop the other program that runs with this device's key and id, or give each device an \
     identity of its own; a hub keeps one connection of each. A message that makes the hub close the connection looks \
     the same";

const SOMETHING_BETWEEN: &str = "something on the way may answer in the service's place: a captive portal, a proxy, \
     another server under this name";

fn hint(leg: Leg, error: &TransportError) -> Option<String> {
    Some(match error {
        TransportError::Connect { endpoint, .. } | TransportError::Timeout { endpoint, stage: Stage::Connect, .. } => {
            unreachable_hint(leg, endpoint)
        }
        TransportError::Tls { fault, .. } => tls_hint(*fault).into(),
        TransportError::Timeout { .. } => {
            "the server accepted the connection but stays silent: a firewall, a wrong port, or a service in trouble; \
             try another transport"
                .into()
        }
        TransportError::Closed { .. } => "try again; if it stays, a firewall or proxy may cut the connection".into(),
        TransportError::Protocol { .. } => SOMETHING_BETWEEN.into(),
        TransportError::Refused(refusal) => return refusal_hint(leg, refusal, clock::now()),
        TransportError::Request(ProtoError::TooLarge { what, limit, .. }) => {
            format!("make {what} smaller: the service takes at most {limit} bytes")
        }
        TransportError::Request(_) => "the service has no form for this request: nothing was sent".into(),
        TransportError::Credential(_) => "look at where the key or the token comes from".into(),
        TransportError::Unsupported(_) => "choose another transport".into(),
        _ => return None,
    })
}

/// Also of a network that swallows what goes to a port it does not know.
fn unreachable_hint(leg: Leg, endpoint: &str) -> String {
    let other = match leg {
        _ if !endpoint.ends_with(":8883") => {
            return "is the host name right, and does this network let you out? proxies are not used yet".into();
        }
        Leg::Dps => "transport mqtt-ws or https",
        Leg::Hub => "transport mqtt-ws",
    };
    format!("is the host name right? many networks block port 8883: {other} uses 443")
}

fn tls_hint(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Untrusted => {
            "a local emulator or an inspecting proxy has an authority of its own: give its certificate as the CA file \
             (HUBWARD_CA_FILE or --ca-file)"
        }
        TlsFault::Expired | TlsFault::NotYetValid => {
            "is this machine's clock right? if it is, the server needs a new certificate"
        }
        TlsFault::WrongName => {
            "the certificate is for another host: check PROVISIONING_HOST, the hub's name and any connect-to rule"
        }
        TlsFault::NotTls => "is this the right port? it does not answer with TLS 1.2 or 1.3",
        _ => "the server's TLS settings do not fit ours",
    }
}

fn refusal_hint(leg: Leg, refusal: &Refusal, now: SystemTime) -> Option<String> {
    Some(match (leg, refusal.by, refusal.cause()) {
        (_, RefusedBy::UpgradeStatus(_), _) => {
            "the server behind this name does not speak MQTT over WebSocket here; is the host name right?".into()
        }
        (_, RefusedBy::Suback, _) => {
            "the service does not let this device subscribe; that is the service's fault".into()
        }
        (_, RefusedBy::Connack(1), _) => {
            "the server behind this name speaks no MQTT 3.1.1; is the host name right?".into()
        }
        (_, RefusedBy::Connack(2), _) => {
            "the server does not take this registration or device id as a client id; is the host name right?".into()
        }
        // Source: a Microsoft engineer in Azure/azure-iot-sdk-python, issue 670.
        (Leg::Dps, RefusedBy::Connack(3), _) => {
            "check the id scope: DPS refuses one that is not its own so; or the service has trouble: try again later"
                .into()
        }
        (Leg::Dps, _, Cause::Credential) => with_clock(
            "check the key (a group's key must be derived for the device), the registration id (letter case matters \
             for derived keys) and the id scope",
            refusal,
            now,
        ),
        (Leg::Hub, _, Cause::Credential) => with_clock(
            "the hub does not accept the device: is it disabled or deleted there, or its key changed? \
             register again to repair it",
            refusal,
            now,
        ),
        (Leg::Dps, _, Cause::NotFound) => "check the id scope and the registration id".into(),
        (_, _, Cause::Throttled) => match refusal.retry_after {
            Some(wait) => format!("too many requests: try again in {} s", wait.as_secs()),
            None => "too many requests: try again later".into(),
        },
        (_, _, Cause::Conflict) => "another program registers the same id at this moment".into(),
        (_, _, Cause::Server) => {
            "the service has trouble: try again later, and quote the tracking id to its support".into()
        }
        (_, _, _) => match refusal.error_code.and_then(error_code::meaning) {
            Some(meaning) => meaning.into(),
            None => {
                "the service finds the request wrong: look up its code, or quote the tracking id to its support".into()
            }
        },
    })
}

/// Adds what the service's clock says, where it shows it: a wrong clock makes every token wrong.
fn with_clock(hint: &str, refusal: &Refusal, now: SystemTime) -> String {
    let Some(server) = refusal.server_time else {
        return format!("{hint}; also that this machine's clock is right");
    };
    match clock::skew(server, now) {
        None => hint.into(),
        Some(skew) => format!("this machine's clock is {skew}: set it right; else {hint}"),
    }
}

fn rejected_hint(error_code: Option<u32>) -> String {
    match error_code {
        Some(400_208) => "link a hub to the DPS instance, or name a linked one in the enrollment".into(),
        Some(400_207 | 400_209) => "look at the custom allocation webhook of the enrollment".into(),
        _ => "look at the enrollment and its allocation policy in the service".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn what_keeps_a_client_away_from_its_hub_is_named() {
        let closed = TransportError::Closed { endpoint: "h:8883".into(), stage: Stage::Exchange, source: None };
        let source = Arc::new(closed);
        let duplicate = DisconnectCause::DuplicateIdentity { takeovers: 5, source: source.clone() };
        let after = Duration::from_secs(30);
        for (cause, stage, endpoint, fault, hint) in [
            (DisconnectCause::Transport(source), "hub-exchange", Some("h:8883"), Fault::Network, "try again"),
            (duplicate, "hub-exchange", Some("h:8883"), Fault::Credential, "stop the other program"),
            (DisconnectCause::AckOverdue { after }, "settings", None, Fault::Deadline, "the hub is slow"),
        ] {
            let found = Diagnosis::of_disconnect(&cause);
            assert_eq!((found.stage.as_str(), found.endpoint.as_deref(), found.fault), (stage, endpoint, fault));
            assert!(found.hint.is_some_and(|it| it.starts_with(hint)), "{cause}");
        }
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_offset() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(401));
        for (offset, expected) in [
            (0, "check the key"),
            (3600, "this machine's clock is 3600 s behind the service's: set it right; else check the key"),
        ] {
            refusal.server_time = Some(now + Duration::from_secs(offset));
            let hint = refusal_hint(Leg::Dps, &refusal, now).expect("a hint");
            assert!(hint.starts_with(expected), "{hint}");
        }
        refusal.server_time = Some(now - Duration::from_secs(900));
        let hint = refusal_hint(Leg::Hub, &refusal, now).expect("a hint");
        assert!(hint.starts_with("this machine's clock is 900 s ahead of the service's"), "{hint}");
    }

    #[test]
    fn the_stage_names_leg_and_step() {
        let error =
            TransportError::Timeout { endpoint: "h:8883".into(), stage: Stage::Login, after: Duration::from_secs(1) };
        assert_eq!(Diagnosis::of_transport(Leg::Hub, &error).stage, "hub-login");
        assert_eq!(Diagnosis::of_transport(Leg::Dps, &error).stage, "dps-login");
    }
}
