//! Diagnoses of errors: which stage failed, which party has to act, and what to do.

use std::fmt;
use std::time::SystemTime;

use hubward_dps::{AssignmentStatus, ProvisionError};
use hubward_hub::{DisconnectCause, SendError, UnconfirmedReason};
use hubward_proto::ProtoError;
use hubward_proto::dps::error_code::{self, Cause};
use hubward_transport::{Fault, Refusal, RefusedBy, Stage, TlsFault, TransportError, clock};

const SLOW: &str = "the hub is slow to acknowledge: allow messages more time (HubOptions::send_deadline)";

const DUPLICATE: &str = "stop the other program that logs in as this device, or give each device an \
     identity of its own; a hub keeps one connection of each identity. A message that makes the hub close the \
     connection has the same effect";

const NOT_LISTENING: &str =
    "is the emulator running? the connection goes to this machine, but no program listens at this port";

const CONNECTION_PROFILE: &str = "let the enrollment assign a hub with the connection profile `classic`, which is \
     MQTT 3.1.1; a newer version of hubward may support the other profile";

const OTHER_SERVER: &str = "something on the way may answer in the service's place: a captive portal, a proxy, or \
     another server with this name";

/// The details of a failure, for a message, a log or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The stage that failed.
    pub stage: DiagnosisStage,
    /// Host and port of the service, if the client tried to connect.
    pub endpoint: Option<String>,
    /// The party that has to act.
    pub fault: Fault,
    /// The service's six-digit error code.
    pub service_code: Option<u32>,
    /// The service's tracking id for the refusal. Microsoft's support asks for this id.
    pub tracking_id: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The setting that the hint suggests to change. The hint contains the name that [`SettingName`] displays. A
    /// program that has another name for the setting, such as the option `--ca-file`, can replace the name in the hint.
    pub setting: Option<SettingName>,
}

/// What failed: a service, and the step that the client had reached. [`fmt::Display`] writes the name that the command
/// line prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiagnosisStage {
    /// The client sent nothing, because a setting or a request is not valid, or a feature is not supported. Displays
    /// `settings`.
    Settings,
    /// A stage of the connection to DPS. Displays `dps-connect`, `dps-tls`, `dps-upgrade`, `dps-login`,
    /// `dps-subscribe`, `dps-register`, `dps-poll` or `dps-exchange`.
    Dps(Stage),
    /// DPS answered, but did not assign a hub. Displays `dps-assign`.
    Assignment,
    /// A stage of the connection to the hub. Displays `hub-connect`, `hub-tls`, `hub-upgrade`, `hub-login`,
    /// `hub-subscribe` or `hub-exchange`.
    Hub(Stage),
    /// The hub did not acknowledge a message. Displays `hub-send`.
    Send,
    /// The hub did not answer a twin request. Displays `hub-twin`.
    Twin,
    /// The hub did not issue a certificate. Displays `hub-certificate`.
    Certificate,
}

impl fmt::Display for DiagnosisStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::Dps(stage) => write!(f, "dps-{stage}"),
            Self::Assignment => f.write_str("dps-assign"),
            Self::Hub(stage) => write!(f, "hub-{stage}"),
            Self::Send => f.write_str("hub-send"),
            Self::Twin => f.write_str("hub-twin"),
            Self::Certificate => f.write_str("hub-certificate"),
        }
    }
}

/// A setting that a [`Diagnosis`] suggests to change. [`fmt::Display`] writes the name of the setting in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettingName {
    /// `ConnectOptions::ca_file`.
    CaFile,
    /// `ConnectOptions::timeout`.
    Timeout,
    /// `HubSettings::credential`, for a certificate.
    Certificate,
    /// `HubOptions::send_deadline`.
    SendDeadline,
    /// `HubOptions::twin_deadline`.
    TwinDeadline,
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CaFile => "ConnectOptions::ca_file",
            Self::Timeout => "ConnectOptions::timeout",
            Self::Certificate => "HubSettings::credential",
            Self::SendDeadline => "HubOptions::send_deadline",
            Self::TwinDeadline => "HubOptions::twin_deadline",
        })
    }
}

impl Diagnosis {
    /// Diagnoses a failure that happened before the client sent anything.
    pub(crate) fn of_settings(fault: Fault, hint: Option<String>) -> Self {
        Self {
            stage: DiagnosisStage::Settings,
            endpoint: None,
            fault,
            service_code: None,
            tracking_id: None,
            hint,
            setting: None,
        }
    }

    /// Diagnoses a failure of a transport to DPS or to the hub.
    pub(crate) fn of_transport(target: Target, error: &TransportError) -> Self {
        let refusal = error.refusal();
        Self {
            stage: error.stage().map_or(DiagnosisStage::Settings, |stage| target.at(stage)),
            endpoint: error.endpoint().map(str::to_owned),
            fault: error.fault(),
            service_code: refusal.and_then(|it| it.error_code),
            tracking_id: refusal.and_then(|it| it.tracking_id.clone()),
            hint: hint(target, error),
            setting: match error {
                TransportError::Tls { fault: TlsFault::Untrusted, .. } => Some(SettingName::CaFile),
                _ => None,
            },
        }
    }

    /// Diagnoses why a client is not connected to its hub.
    pub(crate) fn of_disconnect(cause: &DisconnectCause) -> Self {
        match cause {
            DisconnectCause::Transport(error) => Self::of_transport(Target::Hub, error),
            DisconnectCause::DuplicateIdentity { source, .. } => Self {
                fault: cause.fault(),
                hint: Some(DUPLICATE.to_owned()),
                setting: None,
                ..Self::of_transport(Target::Hub, source)
            },
            // An overdue acknowledgement, and future variants.
            _ => Self { stage: DiagnosisStage::Hub(Stage::Exchange), ..Self::of_slow_hub(cause.fault()) },
        }
    }

    fn of_slow_hub(fault: Fault) -> Self {
        Self { setting: Some(SettingName::SendDeadline), ..Self::of_settings(fault, Some(SLOW.to_owned())) }
    }

    pub(crate) fn of_provision(error: &ProvisionError) -> Self {
        let assign = |service_code, hint: String| Self {
            stage: DiagnosisStage::Assignment,
            endpoint: error.endpoint().map(str::to_owned),
            fault: error.fault(),
            service_code,
            tracking_id: None,
            hint: Some(hint),
            setting: None,
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
            ProvisionError::ConnectionProfile { .. } => assign(None, CONNECTION_PROFILE.into()),
            ProvisionError::Broken { source: ProtoError::UnknownStatus(_), .. } => {
                assign(None, format!("a newer version of hubward may know this status; otherwise {OTHER_SERVER}"))
            }
            ProvisionError::Broken { .. } => assign(None, OTHER_SERVER.into()),
            // Includes future variants.
            error => Self::of_settings(error.fault(), None),
        }
    }
}

impl From<&DisconnectCause> for Diagnosis {
    /// Diagnoses a connection to a hub that failed or ended.
    fn from(cause: &DisconnectCause) -> Self {
        Self::of_disconnect(cause)
    }
}

impl From<&SendError> for Diagnosis {
    /// Diagnoses a message that the hub did not acknowledge.
    fn from(error: &SendError) -> Self {
        let cause = match error {
            SendError::NotSent { reason, .. } | SendError::Unknown { reason, .. } => match reason {
                UnconfirmedReason::Deadline { cause: Some(cause), .. } => Some(Self::of_disconnect(cause)),
                UnconfirmedReason::Closed(reason) => {
                    reason.transport_error().map(|it| Self::of_transport(Target::Hub, it))
                }
                _ => None,
            },
            _ => None,
        };
        let diagnosis = cause.unwrap_or_else(|| match error.fault().unwrap_or(Fault::Deadline) {
            fault if error.is_deadline() => Self::of_slow_hub(fault),
            fault => Self::of_settings(fault, refused_message_hint(error)),
        });
        Self { stage: DiagnosisStage::Send, ..diagnosis }
    }
}

/// The hint for a message that the client did not send, because the service would refuse it.
fn refused_message_hint(error: &SendError) -> Option<String> {
    Some(match error {
        SendError::Refused { source: ProtoError::TooLarge { limit, .. }, .. } => {
            format!(
                "a message has at most {limit} bytes, including its properties: send several messages, or upload a file"
            )
        }
        SendError::Refused { .. } => "the service does not accept such a message; nothing was sent".into(),
        _ => return None,
    })
}

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Dps,
    Hub,
}

impl Target {
    const fn at(self, stage: Stage) -> DiagnosisStage {
        match self {
            Self::Dps => DiagnosisStage::Dps(stage),
            Self::Hub => DiagnosisStage::Hub(stage),
        }
    }
}

fn hint(target: Target, error: &TransportError) -> Option<String> {
    Some(match error {
        TransportError::Connect { endpoint, .. } | TransportError::Timeout { endpoint, stage: Stage::Connect, .. } => {
            unreachable_hint(target, endpoint)
        }
        TransportError::Tls { fault: TlsFault::UnknownName, endpoint, .. } => unknown_name_hint(endpoint),
        TransportError::NotListening { .. } => NOT_LISTENING.into(),
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

/// Returns the hint for a failed connection and for a timeout. For port 8883, the hint suggests a transport on port
/// 443, because many networks block port 8883.
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

/// Returns the hint for the case that the server has no certificate for the host name of `endpoint`. `endpoint` has the
/// form `HOST:PORT`.
fn unknown_name_hint(endpoint: &str) -> String {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    format!(
        "check the host name `{host}` and any connect-to rule; if an emulator listens there, `hubward emulator status` \
         prints its names, and its option --name adds one"
    )
}

fn tls_hint(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Untrusted => {
            "a local emulator or an inspecting proxy has its own certificate authority: set its certificate as the CA \
             file (HUBWARD_CA_FILE or ConnectOptions::ca_file)"
        }
        TlsFault::Expired | TlsFault::NotYetValid => {
            "is this machine's clock right? if it is, the server needs a new certificate"
        }
        TlsFault::WrongName => {
            "the certificate is for another host: check PROVISIONING_HOST, the hub's name and any connect-to rule"
        }
        TlsFault::ClientCertificate => {
            "check the dates of the device's certificate, that its file contains the whole chain, and that the private \
             key belongs to it"
        }
        TlsFault::Signing => "is the TPM, HSM or token with the private key available, and is its PIN right?",
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
        (_, _, Cause::Credential) if refusal.with_certificate => certificate_hint(target, refusal, now),
        (Target::Dps, _, Cause::Credential) => with_clock(
            "check the key (a group's key must be derived for the device), the registration id (letter case matters \
             for derived keys) and the id scope",
            refusal,
            now,
        ),
        (Target::Hub, _, Cause::Credential) => with_clock(
            "the hub does not accept the device: was it disabled or deleted there, or was its key changed or replaced \
             by a certificate? register again to repair it",
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

/// The hint for a device whose certificate the service does not accept. The message of DPS names the cause.
///
/// Source: `[issue]` azure-iot-sdk-java 203 and 573, azure-iot-sdk-c 1900 (unknown authority); azure-iot-sdk-node 547,
/// azure-iot-sdk-c 2270 (another certificate); azure-iot-sdk-node 532 (the signing certificate itself);
/// azure-iot-sdk-python 1195 (expired).
fn certificate_hint(target: Target, refusal: &Refusal, now: SystemTime) -> String {
    let message = refusal.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    let hint = match target {
        Target::Hub => {
            "the hub does not accept the certificate: was the device disabled or deleted there, or its certificate \
             renewed? the device at the hub must have the thumbprint of the certificate, or a CA certificate that the \
             hub knows must have issued it, with the device id as common name. register again to repair it"
        }
        Target::Dps if message.contains("ca certificate not found") => {
            return "no enrollment knows this certificate: check the id scope; for an enrollment group, the file must \
                 contain the whole chain up to the certificate of the group, and its CA certificate must be uploaded \
                 to DPS and verified; for an individual enrollment, check its registration id"
                .to_owned();
        }
        Target::Dps if message.contains("invalid certificate") => {
            return "the individual enrollment of this device has another certificate: set this one as its primary or \
                 secondary certificate, or use the certificate of the enrollment"
                .to_owned();
        }
        Target::Dps if message.contains("did not match chain") => {
            return "the device presents the signing certificate of the enrollment group itself: the chain must begin \
                 with the device's own certificate, which the signing certificate has issued"
                .to_owned();
        }
        Target::Dps => {
            "check the certificate: it may have expired, its common name must be the registration id, and an \
             enrollment must know it or its issuer; also check the id scope"
        }
    };
    with_clock(hint, refusal, now)
}

/// Adds advice about this machine's clock to `hint`, because a wrong clock makes every token invalid, and hides that a
/// certificate has expired.
///
/// The refusal may contain the service's time. If the local clock differs from this time by four minutes or more, the
/// advice comes before `hint`. If the difference is smaller, there is no advice.
///
/// If the refusal does not contain the service's time, the advice to check the clock comes after `hint`.
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
    use crate::ConnectError;
    use crate::error::SetupError;
    use hubward_hub::TwinError;
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
            (DisconnectCause::AckOverdue { after }, "hub-exchange", None, Fault::Deadline, "the hub is slow"),
        ] {
            let found = Diagnosis::of_disconnect(&cause);
            let facts = (found.stage.to_string(), found.endpoint.as_deref(), found.fault);
            assert_eq!(facts, (stage.to_owned(), endpoint, fault));
            assert!(found.hint.is_some_and(|it| it.starts_with(hint)), "{cause}");
        }
    }

    #[test]
    fn a_hub_with_another_connection_profile_is_diagnosed() {
        let (endpoint, profile) = ("dps.example:443".to_owned(), "mqttV5".to_owned());
        let found = Diagnosis::of_provision(&ProvisionError::ConnectionProfile { endpoint, profile });
        assert_eq!(found.stage, DiagnosisStage::Assignment);
        assert_eq!(found.endpoint.as_deref(), Some("dps.example:443"));
        assert_eq!(found.fault, Fault::Unsupported);
        assert!(found.hint.is_some_and(|it| it.contains("`classic`")), "the hint names the profile that works");
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
    fn the_hint_for_a_refused_certificate_names_its_cause_and_no_key() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (register, login) = ((Stage::Register, RefusedBy::Status(401)), (Stage::Login, RefusedBy::Connack(5)));
        for (target, (stage, by), message, expected) in [
            (Target::Dps, register, Some("CA certificate not found."), "no enrollment knows this certificate"),
            (
                Target::Dps,
                register,
                Some("Invalid certificate."),
                "the individual enrollment of this device has another",
            ),
            (
                Target::Dps,
                register,
                Some("Invalid certificate"),
                "the individual enrollment of this device has another",
            ),
            (
                Target::Dps,
                register,
                Some("Signing certificate info did not match chain elements"),
                "the device presents the signing certificate",
            ),
            (Target::Dps, register, Some("Unauthorized"), "check the certificate: it may have expired"),
            (Target::Dps, register, None, "check the certificate: it may have expired"),
            (Target::Dps, login, None, "check the certificate: it may have expired"),
            (Target::Hub, login, None, "the hub does not accept the certificate"),
        ] {
            let mut refusal = Refusal::new("h:8883".into(), stage, by);
            refusal.message = message.map(str::to_owned);
            let hint = |refusal: &Refusal| refusal_hint(target, refusal, now).expect("a hint");
            assert!(!hint(&refusal).starts_with(expected), "{message:?}: a token was refused");
            assert!(hint(&refusal).contains("key"), "{message:?}: a token was refused");
            refusal.with_certificate = true;
            let text = hint(&refusal);
            assert!(text.starts_with(expected), "{message:?}: {text}");
            assert!(!text.contains("key"), "{text}");
            let is_clock_named = text.ends_with("; also check that this machine's clock is right");
            let is_unclear = message.is_none_or(|it| it == "Unauthorized");
            assert_eq!(is_clock_named, is_unclear, "{text}");
        }
    }

    #[test]
    fn the_hint_for_a_failure_in_tls_names_the_certificate_of_the_device() {
        for (fault, expected) in [
            (TlsFault::ClientCertificate, "check the dates of the device's certificate"),
            (TlsFault::Signing, "is the TPM, HSM or token"),
        ] {
            let endpoint = "h:8883".to_owned();
            let error = TransportError::Tls { endpoint, fault, source: std::io::Error::other("x") };
            let diagnosis = Diagnosis::of_transport(Target::Hub, &error);
            assert_eq!((diagnosis.stage.to_string().as_str(), diagnosis.fault), ("hub-tls", Fault::Credential));
            assert!(diagnosis.hint.as_ref().is_some_and(|it| it.starts_with(expected)), "{diagnosis:?}");
        }
    }

    #[test]
    fn the_hint_for_an_unknown_name_contains_the_name() {
        let unknown = TransportError::Tls {
            endpoint: "dps.exmaple:8883".into(),
            fault: TlsFault::UnknownName,
            source: std::io::Error::other("x"),
        };
        let hint = Diagnosis::of_transport(Target::Dps, &unknown).hint.expect("a hint");
        assert!(hint.starts_with("check the host name `dps.exmaple` and any connect-to rule"), "{hint}");
    }

    #[test]
    fn the_stage_names_service_and_step() {
        let error =
            TransportError::Timeout { endpoint: "h:8883".into(), stage: Stage::Login, after: Duration::from_secs(1) };
        assert_eq!(Diagnosis::of_transport(Target::Hub, &error).stage.to_string(), "hub-login");
        assert_eq!(Diagnosis::of_transport(Target::Dps, &error).stage.to_string(), "dps-login");
    }

    #[test]
    fn a_stage_displays_the_name_of_the_command_line() {
        for (stage, name) in [
            (DiagnosisStage::Settings, "settings"),
            (DiagnosisStage::Dps(Stage::Connect), "dps-connect"),
            (DiagnosisStage::Dps(Stage::Register), "dps-register"),
            (DiagnosisStage::Assignment, "dps-assign"),
            (DiagnosisStage::Hub(Stage::Exchange), "hub-exchange"),
            (DiagnosisStage::Send, "hub-send"),
            (DiagnosisStage::Twin, "hub-twin"),
            (DiagnosisStage::Certificate, "hub-certificate"),
        ] {
            assert_eq!(stage.to_string(), name);
        }
    }

    #[test]
    fn a_hint_contains_the_name_of_its_setting() {
        let untrusted = TransportError::Tls {
            endpoint: "h:8883".into(),
            fault: TlsFault::Untrusted,
            source: std::io::Error::other("x"),
        };
        let late_hub = ConnectError::HubDeadline {
            hub: "hub.example".parse().expect("a host"),
            endpoint: "hub.example:8883".into(),
            stage: Stage::Login,
            after: Duration::from_secs(1),
            last: None,
        };
        let deadline = || UnconfirmedReason::Deadline { after: Duration::from_secs(1), cause: None };
        for (diagnosis, setting) in [
            (Diagnosis::of_transport(Target::Hub, &untrusted), SettingName::CaFile),
            (late_hub.diagnosis(), SettingName::Timeout),
            (ConnectError::from(SetupError::NoCertificate).diagnosis(), SettingName::Certificate),
            (
                Diagnosis::of_disconnect(&DisconnectCause::AckOverdue { after: Duration::from_secs(1) }),
                SettingName::SendDeadline,
            ),
            (Diagnosis::from(&TwinError::Unknown { reason: deadline() }), SettingName::TwinDeadline),
        ] {
            assert_eq!(diagnosis.setting, Some(setting));
            assert!(diagnosis.hint.as_ref().is_some_and(|it| it.contains(&setting.to_string())), "{diagnosis:?}");
        }
    }
}
