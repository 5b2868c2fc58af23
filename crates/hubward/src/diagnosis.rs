//! Diagnoses of errors: which stage failed, which party has to act, and what to do.

use std::time::SystemTime;

use hubward_dps::{AssignmentStatus, ProvisionError};
use hubward_hub::{DisconnectCause, SendError, Why};
use hubward_proto::ProtoError;
use hubward_proto::dps::error_code::{self, Cause};
use hubward_transport::{Fault, Refusal, RefusedBy, Stage, TlsFault, TransportError, clock};

const SLOW: &str = "the hub is slow to acknowledge: allow messages more time (--timeout, HubOptions::send_deadline)";

const DUPLICATE: &str = "stop the other program that runs with this device's key and id, or give each device an \
     identity of its own; a hub keeps one connection of each identity. A message that makes the hub close the \
     connection has the same effect";

const OTHER_SERVER: &str = "something on the way may answer in the service's place: a captive portal, a proxy, or \
     another server with this name";

/// The details of a failure, for a message, a log or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The service and the stage: `dps-connect`, `dps-tls`, `dps-upgrade`, `dps-login`,
    /// `dps-subscribe`, `dps-register`, `dps-poll`, `dps-assign`, and `hub-…` likewise; `settings`
    /// before anything was sent.
    pub stage: String,
    /// Host and port of the service, if the client got that far.
    pub endpoint: Option<String>,
    /// The party that has to act.
    pub fault: Fault,
    /// The service's six-digit code.
    pub service_code: Option<u32>,
    /// The service's tracking id of the refusal. Microsoft's support asks for it.
    pub tracking_id: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnosis {
    /// A failure before anything was sent.
    pub(crate) fn of_settings(fault: Fault, hint: Option<String>) -> Self {
        Self { stage: "settings".into(), endpoint: None, fault, service_code: None, tracking_id: None, hint }
    }

    /// A failure of a transport to DPS or to the hub.
    pub(crate) fn of_transport(target: Target, error: &TransportError) -> Self {
        let refusal = error.refusal();
        Self {
            stage: error.stage().map_or_else(|| "settings".into(), |stage| format!("{target}-{stage}")),
            endpoint: error.endpoint().map(str::to_owned),
            fault: error.fault(),
            service_code: refusal.and_then(|it| it.error_code),
            tracking_id: refusal.and_then(|it| it.tracking_id.clone()),
            hint: hint(target, error),
        }
    }

    /// Why a client is not connected to its hub.
    pub(crate) fn of_disconnect(cause: &DisconnectCause) -> Self {
        let hint = match cause {
            DisconnectCause::Transport(error) => return Self::of_transport(Target::Hub, error),
            DisconnectCause::DuplicateIdentity { .. } => DUPLICATE,
            // Includes future variants.
            _ => SLOW,
        };
        let mut diagnosis = match cause.transport_error() {
            Some(error) => Self::of_transport(Target::Hub, error),
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
            ProvisionError::Transport { source, .. } => Self::of_transport(Target::Dps, source),
            ProvisionError::Rejected { status: AssignmentStatus::Disabled, state, .. } => {
                assign(state.error_code, "enable the enrollment of this device (or of its group) in the service".into())
            }
            ProvisionError::Rejected { state, .. } => assign(state.error_code, rejected_hint(state.error_code)),
            ProvisionError::Deadline { .. } => assign(
                None,
                "the service was reachable but did not finish: allow more time, or check for an allocation webhook \
                 that does not answer"
                    .into(),
            ),
            ProvisionError::Broken { source: ProtoError::UnknownStatus(_), .. } => {
                assign(None, format!("a newer version of hubward may know this status; otherwise {OTHER_SERVER}"))
            }
            ProvisionError::Broken { .. } => assign(None, OTHER_SERVER.into()),
            // Includes future variants.
            error => Self::of_settings(error.fault(), None),
        }
    }
}

impl From<&SendError> for Diagnosis {
    /// Diagnoses a message that was not acknowledged.
    fn from(error: &SendError) -> Self {
        let cause = match error {
            SendError::NotSent { why, .. } | SendError::Unknown { why, .. } => match why {
                Why::Deadline { cause: Some(cause), .. } => Some(Self::of_disconnect(cause)),
                Why::Closed(reason) => reason.transport_error().map(|it| Self::of_transport(Target::Hub, it)),
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

/// The hint for a message that failed without a failure of the connection.
fn send_hint(error: &SendError) -> Option<String> {
    Some(match error {
        SendError::Refused { source: ProtoError::TooLarge { limit, .. }, .. } => {
            format!(
                "a message has at most {limit} bytes, including its properties: send several messages, or upload a file"
            )
        }
        SendError::Refused { .. } => "the service does not accept such a message; nothing was sent".into(),
        error if error.is_deadline() => SLOW.into(),
        _ => return None,
    })
}

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Dps,
    Hub,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dps => "dps",
            Self::Hub => "hub",
        })
    }
}

fn hint(target: Target, error: &TransportError) -> Option<String> {
    Some(match error {
        TransportError::Connect { endpoint, .. } | TransportError::Timeout { endpoint, stage: Stage::Connect, .. } => {
            unreachable_hint(target, endpoint)
        }
        TransportError::Tls { fault, .. } => tls_hint(*fault).into(),
        TransportError::Timeout { .. } => {
            "the server accepted the connection but does not answer: a firewall, a wrong port, or a failing service; \
             try another transport"
                .into()
        }
        TransportError::Closed { .. } => {
            "try again; if the error persists, a firewall or proxy may close the connection".into()
        }
        TransportError::Protocol { .. } => OTHER_SERVER.into(),
        TransportError::Refused(refusal) => return refusal_hint(target, refusal, clock::now()),
        TransportError::Request(ProtoError::TooLarge { what, limit, .. }) => {
            format!("make {what} smaller: the service accepts at most {limit} bytes")
        }
        TransportError::Request(_) => "the service does not accept such a request; nothing was sent".into(),
        TransportError::Credential(_) => "check the source of the key or token".into(),
        TransportError::Unsupported(_) => "choose another transport".into(),
        _ => return None,
    })
}

/// Also the hint for a timeout: some networks drop packets to blocked ports silently.
fn unreachable_hint(target: Target, endpoint: &str) -> String {
    let other = match target {
        _ if !endpoint.ends_with(":8883") => {
            return "is the host name right, and does this network allow the connection? proxies are not supported yet"
                .into();
        }
        Target::Dps => "transport mqtt-ws or https",
        Target::Hub => "transport mqtt-ws",
    };
    format!("is the host name right? many networks block port 8883: {other} uses 443")
}

fn tls_hint(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Untrusted => {
            "a local emulator or an inspecting proxy has its own certificate authority: set its certificate as the CA \
             file (HUBWARD_CA_FILE or --ca-file)"
        }
        TlsFault::Expired | TlsFault::NotYetValid => {
            "is this machine's clock right? if it is, the server needs a new certificate"
        }
        TlsFault::WrongName => {
            "the certificate is for another host: check PROVISIONING_HOST, the hub's name and any connect-to rule"
        }
        TlsFault::NotTls => "is this the right port? it does not answer with TLS 1.2 or 1.3",
        _ => "the TLS settings of the server and of hubward have nothing in common",
    }
}

fn refusal_hint(target: Target, refusal: &Refusal, now: SystemTime) -> Option<String> {
    Some(match (target, refusal.by, refusal.cause()) {
        (_, RefusedBy::UpgradeStatus(_), _) => {
            "the server with this name does not speak MQTT over WebSocket here; is the host name right?".into()
        }
        (_, RefusedBy::Suback, _) => "the service does not let this device subscribe; the service is at fault".into(),
        (_, RefusedBy::Connack(1), _) => {
            "the server with this name does not speak MQTT 3.1.1; is the host name right?".into()
        }
        (_, RefusedBy::Connack(2), _) => {
            "the server does not accept this registration or device id as a client id; is the host name right?".into()
        }
        // Source: a Microsoft engineer in Azure/azure-iot-sdk-python, issue 670.
        (Target::Dps, RefusedBy::Connack(3), _) => {
            "check the id scope: DPS refuses an unknown one like this; if it is right, the service is failing: try \
             again later"
                .into()
        }
        (Target::Dps, _, Cause::Credential) => with_clock(
            "check the key (a group's key must be derived for the device), the registration id (letter case matters \
             for derived keys) and the id scope",
            refusal,
            now,
        ),
        (Target::Hub, _, Cause::Credential) => with_clock(
            "the hub does not accept the device: was it disabled or deleted there, or was its key changed? \
             register again to repair it",
            refusal,
            now,
        ),
        (Target::Dps, _, Cause::NotFound) => "check the id scope and the registration id".into(),
        (_, _, Cause::Throttled) => match refusal.retry_after {
            Some(wait) => format!("too many requests: try again in {} s", wait.as_secs()),
            None => "too many requests: try again later".into(),
        },
        (_, _, Cause::Conflict) => "another program is registering the same id right now; try again later".into(),
        (_, _, Cause::Server) => {
            "the service is failing: try again later, or give the tracking id to its support".into()
        }
        (_, _, _) => match refusal.error_code.and_then(error_code::meaning) {
            Some(meaning) => meaning.into(),
            None => "the service refused the request: look up its code, or give the tracking id to its support".into(),
        },
    })
}

/// Adds the difference from the service's clock, if it is known: a wrong clock makes every token invalid.
fn with_clock(hint: &str, refusal: &Refusal, now: SystemTime) -> String {
    let Some(server) = refusal.server_time else {
        return format!("{hint}; also check that this machine's clock is right");
    };
    match clock::skew(server, now) {
        None => hint.into(),
        Some(skew) => format!("this machine's clock is {skew}: set it right; otherwise {hint}"),
    }
}

fn rejected_hint(error_code: Option<u32>) -> String {
    match error_code {
        Some(400_208) => "link a hub to the DPS instance, or name a linked one in the enrollment".into(),
        Some(400_207 | 400_209) => "check the custom allocation webhook of the enrollment".into(),
        _ => "check the enrollment and its allocation policy in the service".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn the_cause_of_a_disconnect_has_stage_fault_and_hint() {
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
    fn a_wrong_clock_is_reported_with_its_offset() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(401));
        for (offset, expected) in [
            (0, "check the key"),
            (3600, "this machine's clock is 3600 s behind the service's: set it right; otherwise check the key"),
        ] {
            refusal.server_time = Some(now + Duration::from_secs(offset));
            let hint = refusal_hint(Target::Dps, &refusal, now).expect("a hint");
            assert!(hint.starts_with(expected), "{hint}");
        }
        refusal.server_time = Some(now - Duration::from_secs(900));
        let hint = refusal_hint(Target::Hub, &refusal, now).expect("a hint");
        assert!(hint.starts_with("this machine's clock is 900 s ahead of the service's"), "{hint}");
    }

    #[test]
    fn the_stage_names_service_and_step() {
        let error =
            TransportError::Timeout { endpoint: "h:8883".into(), stage: Stage::Login, after: Duration::from_secs(1) };
        assert_eq!(Diagnosis::of_transport(Target::Hub, &error).stage, "hub-login");
        assert_eq!(Diagnosis::of_transport(Target::Dps, &error).stage, "dps-login");
    }
}
