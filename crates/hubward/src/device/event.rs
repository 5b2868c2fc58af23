//! What happens to a device, for programs, logs and people.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubward_dps::Substatus;
use hubward_hub::DisconnectCause;
use hubward_proto::{DeviceId, HubHost, error_messages};

use super::cache::{CacheError, SetAside};
use super::lifecycle::{DpsTrouble, HubTrouble, Reason};
use crate::Diagnosis;

/// Something that happened to a device, what the device does next, and why.
///
/// [`Display`](fmt::Display) writes one line for a person. It contains no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The device starts, and its assignment cache names its hub. It connects to this hub without DPS.
    CacheUsed {
        /// The hub.
        hub: HubHost,
        /// The id of the device at this hub.
        device_id: DeviceId,
        /// The file.
        file: PathBuf,
    },
    /// The assignment cache cannot be used. The device registers instead.
    CacheSetAside(SetAside),
    /// The assignment cache cannot be written. The device works, but registers at its next start.
    CacheNotWritten(CacheError),
    /// The device registers with DPS: it sends one registration.
    Registering {
        /// Host name of DPS.
        dps_host: String,
        /// The name of the credential.
        credential: Arc<str>,
        /// Why it registers.
        reason: Reason,
    },
    /// DPS has assigned the device to a hub.
    Assigned {
        /// The hub.
        hub: HubHost,
        /// The id of the device at this hub.
        device_id: DeviceId,
        /// The hub before, if it was another one.
        moved_from: Option<HubHost>,
        /// What DPS did with the device's data.
        substatus: Option<Substatus>,
    },
    /// A registration failed.
    RegistrationFailed {
        /// The name of the credential.
        credential: Arc<str>,
        /// The failure, in one line.
        error: String,
        /// The party that has to act, and what to do.
        diagnosis: Box<Diagnosis>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The hub has accepted the device.
    Connected {
        /// The hub.
        hub: HubHost,
        /// The name of the credential.
        credential: Arc<str>,
        /// The hub that had accepted the device before, if it was another one. The new hub may not have the reported
        /// properties, so the program should report all of them anew.
        moved_from: Option<HubHost>,
    },
    /// A connection to the hub, or an attempt to connect, failed.
    HubFailed {
        /// The hub.
        hub: HubHost,
        /// The name of the credential.
        credential: Arc<str>,
        /// The failure.
        cause: DisconnectCause,
        /// Number of failures in a row, including this one.
        failures: u32,
        /// What the device does next.
        then: DeviceStep,
    },
    /// A credential cannot be used, for example because the certificate has expired. The device sent nothing.
    CredentialUnusable {
        /// The name of the credential.
        credential: Arc<str>,
        /// Why it cannot be used, in one line.
        error: String,
        /// The party that has to act, and what to do.
        diagnosis: Box<Diagnosis>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The program or an operator has asked for a registration.
    ReprovisionRequested {
        /// The direct method that an operator has called; `None` if the program called
        /// [`Device::reprovision`](crate::Device::reprovision).
        method: Option<String>,
    },
    /// The device tries new credentials. It keeps them when the hub has accepted one of them.
    CredentialsOnTrial {
        /// The names of the new credentials.
        credentials: Vec<Arc<str>>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The hub has accepted the new credentials. The device keeps them.
    CredentialsKept {
        /// The name of the credential that the hub accepted.
        credential: Arc<str>,
    },
    /// The new credentials do not work. The device returns to the credentials before them.
    CredentialsRolledBack {
        /// What the hub or DPS answered.
        reason: String,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The reader of the events was too slow, and this number of events was discarded.
    Missed {
        /// The number of events.
        count: u64,
    },
}

/// What a device does next, and why. [`Display`](fmt::Display) writes a part of a sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DeviceStep {
    /// It stays with its hub. It connects again after the back-off of the client, and not before `at_least` has passed.
    Stay {
        /// The minimum wait.
        at_least: Duration,
        /// Why.
        reason: Reason,
    },
    /// It connects to its hub with this credential.
    Connect {
        /// The name of the credential.
        credential: Arc<str>,
        /// The minimum wait.
        after: Duration,
        /// Why.
        reason: Reason,
    },
    /// It registers with this credential.
    Register {
        /// The name of the credential.
        credential: Arc<str>,
        /// The wait.
        after: Duration,
        /// Why.
        reason: Reason,
    },
    /// It ends, because no retry can change the failure. Only a device that [`connect`](crate::DeviceSettings::connect)
    /// started ends, and only before its first login.
    End,
}

impl DeviceEvent {
    /// Returns `true` for an event that a person should look at: a file that cannot be used, a failed registration, a
    /// hub that refuses the device or fails for long, credentials that do not work. Logs have the level `WARN` for
    /// these events, and `INFO` for the others.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::CacheSetAside(_)
            | Self::CacheNotWritten(_)
            | Self::RegistrationFailed { .. }
            | Self::CredentialUnusable { .. }
            | Self::CredentialsRolledBack { .. }
            | Self::Missed { .. } => true,
            Self::HubFailed { then, .. } => {
                !matches!(then, DeviceStep::Stay { reason: Reason::HubTrouble(HubTrouble::Transient), .. })
            }
            _ => false,
        }
    }
}

impl fmt::Display for DeviceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CacheUsed { hub, device_id, file } => {
                write!(f, "the device starts as {device_id} at {hub}, as the cache `{}` says", file.display())
            }
            Self::CacheSetAside(warning) => write!(f, "{warning}"),
            Self::CacheNotWritten(error) => write!(f, "{error}; the device works, and registers at its next start"),
            Self::Registering { dps_host, credential, reason } => {
                write!(f, "the device registers at {dps_host} with the {credential}: {reason}")
            }
            Self::Assigned { hub, device_id, moved_from, substatus } => {
                match moved_from {
                    Some(old) => write!(f, "DPS moved the device from {old} to {hub} as {device_id}")?,
                    None => write!(f, "DPS assigned the device to {hub} as {device_id}")?,
                }
                match data_of(substatus.as_ref()) {
                    Some(data) => write!(f, "; {data}"),
                    None => Ok(()),
                }
            }
            Self::RegistrationFailed { credential, error, then, .. } => {
                write!(f, "the registration with the {credential} failed: {error}; {then}")
            }
            Self::Connected { hub, credential, moved_from } => {
                write!(f, "the hub {hub} accepted the device with the {credential}")?;
                match moved_from {
                    Some(old) => write!(f, "; it was at {old} before: report all properties anew"),
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
            Self::Missed { count: 1 } => f.write_str("1 event was missed, because its reader was too slow"),
            Self::Missed { count } => write!(f, "{count} events were missed, because their reader was too slow"),
        }
    }
}

impl fmt::Display for DeviceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
                write!(f, "the device is still refused (attempt {step} of the slow schedule)")
            }
            Self::BackToHub(trouble) => write!(f, "{trouble}, and the device has a hub"),
            Self::RegisterAgain(trouble) => write!(f, "{trouble}, and the device has no hub"),
            Self::Requested => f.write_str("it was requested"),
            Self::HubUnusable(trouble) => write!(f, "{trouble}, and DPS may know another hub"),
            Self::CredentialsChanged => f.write_str("the program changed the credentials"),
            Self::TrialFailed { is_refused: true } => f.write_str("the new credentials are refused"),
            Self::TrialFailed { is_refused: false } => f.write_str("too many attempts with the new credentials failed"),
        }
    }
}

impl fmt::Display for HubTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "this usually passes by itself",
            Self::Throttled => "the hub is busy",
            Self::Refused => "the hub refuses the device",
            Self::UntrustedServer => "the server could not prove that it is the hub",
            Self::LocalCredential => "the credential provides no signature",
            Self::DuplicateIdentity => "another client uses the same identity",
            Self::NotListening => "no program listens at this address",
            Self::Request => "the hub does not accept such a request",
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
            Self::Request => "the device cannot send such a request",
            Self::LocalCredential => "the credential provides no signature",
            Self::NotListening => "no program listens at this address",
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
pub(super) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
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
    use super::*;
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
                 registering with the secondary key in 5 min, because the device is still refused (attempt 1 of the \
                 slow schedule)",
            ),
            (
                failed(closed, stay(0)),
                "the connection to the hub contoso.azure-devices.net failed: h:8883 closed the connection (exchange) \
                 (failure 2 in a row); connecting to the same hub again, because this usually passes by itself",
            ),
            (
                DeviceEvent::Assigned {
                    hub: hub(),
                    device_id: DeviceId::new("dev-1").expect("an id"),
                    moved_from: Some(HubHost::new("old.example").expect("a host")),
                    substatus: Some(Substatus::DeviceDataMigrated),
                },
                "DPS moved the device from old.example to contoso.azure-devices.net as dev-1; its twin moved with it",
            ),
            (
                DeviceEvent::Connected {
                    hub: hub(),
                    credential: credential.clone(),
                    moved_from: Some(HubHost::new("old.example").expect("a host")),
                },
                "the hub contoso.azure-devices.net accepted the device with the primary key; it was at old.example \
                 before: report all properties anew",
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
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
