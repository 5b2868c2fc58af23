//! The texts of events and their parts, for people.

use std::fmt;
use std::time::Duration;

use hubward_dps::Substatus;
use hubward_proto::error_messages;

use super::super::lifecycle::{DpsTrouble, HubTrouble, Reason};
use super::{CertificateIssuer, DeviceEvent, DeviceStep};

impl fmt::Display for DeviceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CacheUsed { hub, device_id, file } => {
                let file = file.display();
                write!(f, "the device uses the hub {hub} and the device id {device_id} from the cache `{file}`")
            }
            Self::CacheSetAside(warning) => write!(f, "{warning}"),
            Self::CacheNotWritten(error) => {
                write!(f, "{error}; the device works, but its next start uses the older file, or registers")
            }
            Self::Registering { dps_host, credential, reason } => {
                write!(f, "the device registers at {dps_host} with the {credential}: {reason}")
            }
            Self::Assigned { hub, device_id, moved_from, substatus, payload } => {
                match moved_from {
                    Some(old) => write!(f, "DPS moved the device from {old} to {hub} as {device_id}")?,
                    None => write!(f, "DPS assigned the device to {hub} as {device_id}")?,
                }
                if let Some(data) = data_of(substatus.as_ref()) {
                    write!(f, "; {data}")?;
                }
                // A webhook decides what the payload contains. It may be a secret, and logs contain this text.
                f.write_str(if payload.is_some() { "; DPS returned a payload" } else { "" })
            }
            Self::RegistrationFailed { credential, error, then, .. } => {
                write!(f, "the registration with the {credential} failed: {error}; {then}")
            }
            Self::Connected { hub, credential, moved_from } => {
                write!(f, "the hub {hub} accepted the device with the {credential}")?;
                match moved_from {
                    Some(old) => {
                        write!(f, "; it was at {old} before, so the program should report all properties again")
                    }
                    None => Ok(()),
                }
            }
            Self::HubFailed { hub, credential, cause, failures, then } => {
                match cause.suggests_reprovisioning() {
                    true => write!(f, "the hub {hub} refused the device with the {credential}: ")?,
                    false => write!(f, "the connection to the hub {hub} failed: ")?,
                }
                write!(f, "{}", one_line(cause))?;
                if *failures > 1 {
                    write!(f, " (failure {failures} in a row)")?;
                }
                write!(f, "; {then}")
            }
            Self::CredentialUnusable { credential, error, then, .. } => {
                write!(f, "the {credential} cannot be used: {error}; {then}")
            }
            Self::ReprovisionRequested { method: Some(method) } => {
                write!(f, "an operator called the method `{method}`: the device registers again")
            }
            Self::ReprovisionRequested { method: None } => {
                f.write_str("the program asked the device to register again")
            }
            Self::CredentialsOnTrial { credentials, then } => {
                write!(f, "the device tries new credentials ({}): {then}", credentials.join(", "))
            }
            Self::CredentialsKept { credential } => {
                write!(f, "the hub accepted the new {credential}: the device keeps the new credentials")
            }
            Self::CredentialsRolledBack { reason, then } => {
                write!(f, "the new credentials do not work: {reason}; the device uses the old ones again, {then}")
            }
            Self::CertificateIssued { by, renews_in, .. } => {
                write!(f, "{by} issued a certificate to the device, which will renew it in {}", Span(*renews_in))
            }
            Self::CertificateNotIssued { credential, reason } => {
                write!(f, "the device has no issued certificate: {reason}; it uses the {credential} at the hub too")
            }
            Self::CertificateKept { .. } => {
                f.write_str("the hub accepted the renewed certificate: the device keeps it")
            }
            Self::CertificateRenewalFailed { error, retry_in, .. } => {
                write!(f, "the certificate could not be renewed: {error}; trying again in {}", Span(*retry_in))
            }
            Self::CertificateRolledBack { reason, then } => {
                write!(f, "the renewed certificate does not work: {reason}; the device uses the old one again, {then}")
            }
            Self::CertificateNotStored(error) => {
                write!(f, "{error}; the device works, but its next start may have to register")
            }
            Self::Missed { count: 1 } => f.write_str("1 event was missed, because its reader was too slow"),
            Self::Missed { count } => write!(f, "{count} events were missed, because their reader was too slow"),
        }
    }
}

impl fmt::Display for CertificateIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dps => "DPS",
            Self::Hub => "the hub",
        })
    }
}

impl fmt::Display for DeviceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stay { reason: reason @ Reason::BackToHub(_), .. } => {
                write!(f, "staying with the hub, because {reason}")
            }
            Self::Stay { at_least: Duration::ZERO, reason } => {
                write!(f, "connecting to the same hub again, because {reason}")
            }
            Self::Stay { at_least, reason } => {
                write!(f, "connecting to the same hub again in {} or later, because {reason}", Span(*at_least))
            }
            Self::Connect { credential, after, reason } => {
                write!(f, "connecting with the {credential} {}, because {reason}", When(*after))
            }
            Self::Register { credential, after, reason } => {
                write!(f, "registering with the {credential} {}, because {reason}", When(*after))
            }
            Self::End => f.write_str("giving up, because a retry cannot change this"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("the device starts, and knows its hub"),
            Self::NoAssignment => f.write_str("the device has no hub yet"),
            Self::Assigned { moved: true } => f.write_str("DPS assigned another hub"),
            Self::Assigned { moved: false } => f.write_str("DPS assigned the same hub"),
            Self::HubTrouble(trouble) => write!(f, "{trouble}"),
            Self::HubFailsTooLong { failures, lasting } => {
                write!(f, "the hub failed {failures} times in a row, for {}", Span(*lasting))
            }
            Self::NextCredentialAtHub => f.write_str("the hub may accept another credential"),
            Self::HubRefuses => f.write_str("the hub refuses the device, which may have been moved"),
            Self::NextCredentialAtDps => f.write_str("DPS may accept another credential"),
            Self::SlowSchedule { step } => {
                write!(f, "the device is refused, and has registered already (step {step} of the slow schedule)")
            }
            Self::BackToHub(trouble) => write!(f, "{trouble}"),
            Self::RegisterAgain(trouble) => write!(f, "{trouble}, and the device has no hub"),
            Self::Requested => f.write_str("it was requested"),
            Self::HubUnusable(trouble) => write!(f, "{trouble}, and DPS may know another hub"),
            Self::CredentialsChanged => f.write_str("the program changed the credentials"),
            Self::NoCertificate => f.write_str("the device has no issued certificate"),
            Self::CertificateExpired => f.write_str("the issued certificate has expired"),
            Self::CertificateRenewed => f.write_str("the hub has issued another certificate"),
            Self::CertificateRolledBack => f.write_str("the previous certificate is still valid"),
            Self::TrialFailed { is_refused: true } => f.write_str("the new credentials are refused"),
            Self::TrialFailed { is_refused: false } => f.write_str("too many attempts with the new credentials failed"),
        }
    }
}

impl fmt::Display for HubTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "such failures are usually temporary",
            Self::Throttled => "the hub is busy",
            Self::Refused => "the hub refuses the device",
            Self::UntrustedServer => "the server could not prove that it is the hub",
            Self::LocalCredential => "the device cannot sign with its credential",
            Self::DuplicateIdentity => "another client uses the same identity",
            Self::NotListening => "no program listens at this address yet",
            Self::Request => "the client cannot use this protocol or option with the hub",
        })
    }
}

impl fmt::Display for DpsTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "DPS is not reachable",
            Self::Server => "DPS has a failure",
            Self::Throttled => "DPS is busy",
            Self::Refused => "DPS refuses the device",
            Self::UntrustedServer => "the server could not prove that it is DPS",
            Self::Request => "the client cannot use this protocol or option with DPS",
            Self::LocalCredential => "the device cannot sign with its credential",
            Self::NotListening => "no program listens at this address yet",
        })
    }
}

/// What DPS did with the data of the device.
const fn data_of(substatus: Option<&Substatus>) -> Option<&'static str> {
    match substatus {
        Some(Substatus::DeviceDataMigrated) => Some("its twin moved with it"),
        Some(Substatus::DeviceDataReset) => Some("its twin was reset to the initial twin of the enrollment"),
        _ => None,
    }
}

/// The messages of an error and of its causes, in one line.
pub(in crate::device) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    error_messages(error).join(": ")
}

/// A time from now.
struct When(Duration);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration::ZERO => f.write_str("now"),
            after => write!(f, "in {}", Span(after)),
        }
    }
}

/// A duration as people say it, with at most two units.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours >= 48 {
            return match (hours / 24, hours % 24) {
                (days, 0) => write!(f, "{days} days"),
                (days, hours) => write!(f, "{days} days {hours} h"),
            };
        }
        match (hours, minutes, rest) {
            (0, 0, 0) => write!(f, "{} ms", self.0.as_millis()),
            (0, 0, seconds) => write!(f, "{seconds} s"),
            (0, minutes, 0) => write!(f, "{minutes} min"),
            (0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (hours, 0, _) => write!(f, "{hours} h"),
            (hours, minutes, _) => write!(f, "{hours} h {minutes} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use hubward_hub::DisconnectCause;
    use hubward_proto::{DeviceId, HubHost};
    use hubward_transport::{Refusal, RefusedBy, Stage, TransportError};

    fn hub() -> HubHost {
        HubHost::new("contoso.azure-devices.net").expect("a host")
    }

    fn refused() -> TransportError {
        let endpoint = "contoso.azure-devices.net:8883".into();
        TransportError::Refused(Box::new(Refusal::new(endpoint, Stage::Login, RefusedBy::Connack(5))))
    }

    #[test]
    fn an_event_says_what_happened_what_comes_next_and_why() {
        let credential: Arc<str> = "primary key".into();
        let then = DeviceStep::Register {
            credential: "secondary key".into(),
            after: Duration::from_secs(300),
            reason: Reason::SlowSchedule { step: 1 },
        };
        let failed = |cause, then| DeviceEvent::HubFailed {
            hub: hub(),
            credential: credential.clone(),
            cause: DisconnectCause::Transport(Arc::new(cause)),
            failures: 2,
            then,
        };
        let closed = TransportError::Closed { endpoint: "h:8883".into(), stage: Stage::Exchange, source: None };
        let stay = |seconds| DeviceStep::Stay {
            at_least: Duration::from_secs(seconds),
            reason: Reason::HubTrouble(HubTrouble::Transient),
        };
        for (event, text) in [
            (
                failed(refused(), then),
                "the hub contoso.azure-devices.net refused the device with the primary key: \
                 contoso.azure-devices.net:8883 refused the login: not authorized (CONNACK 5) (failure 2 in a row); \
                 registering with the secondary key in 5 min, because the device is refused, and has \
                 registered already (step 1 of the slow schedule)",
            ),
            (
                failed(closed, stay(0)),
                "the connection to the hub contoso.azure-devices.net failed: h:8883 closed the connection (exchange) \
                 (failure 2 in a row); connecting to the same hub again, because such failures are usually temporary",
            ),
            (
                DeviceEvent::Assigned {
                    hub: hub(),
                    device_id: DeviceId::new("dev-1").expect("an id"),
                    moved_from: Some(HubHost::new("old.example").expect("a host")),
                    substatus: Some(Substatus::DeviceDataMigrated),
                    payload: Some(serde_json::json!({ "site": "a" })),
                },
                "DPS moved the device from old.example to contoso.azure-devices.net as dev-1; its twin moved with it; \
                 DPS returned a payload",
            ),
            (
                DeviceEvent::Connected {
                    hub: hub(),
                    credential: credential.clone(),
                    moved_from: Some(HubHost::new("old.example").expect("a host")),
                },
                "the hub contoso.azure-devices.net accepted the device with the primary key; it was at old.example \
                 before, so the program should report all properties again",
            ),
            (DeviceEvent::Missed { count: 3 }, "3 events were missed, because their reader was too slow"),
        ] {
            assert_eq!(event.to_string(), text);
        }
    }

    #[test]
    fn a_span_has_at_most_two_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (5_000, "5 s"),
            (65_000, "1 min 5 s"),
            (300_000, "5 min"),
            (3_600_000, "1 h"),
            (3_905_000, "1 h 5 min"),
            (172_799_000, "47 h 59 min"),
            (172_800_000, "2 days"),
            (483_840_000, "5 days 14 h"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
