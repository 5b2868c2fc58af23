//! The failure of a command: the content of its `error` line.

use hubward::error::{CertificateError, ReceiveError, SettingName, SettingsError, SetupError, TwinError, Unsupported};
use hubward::text::error_messages as messages;
use hubward::{ConnectError, Diagnosis, Fault, SendError};

use crate::exit_code::ExitCode;

/// The variable that replaces the system's certificate authorities. Source: the documentation of OpenSSL and of
/// rustls-native-certs.
const SYSTEM_CA_FILE: &str = "SSL_CERT_FILE";

/// A failure, ready to be printed as text or JSON.
#[derive(Debug)]
pub(crate) struct Failure(Box<Report>);

/// The content of a failure.
#[derive(Debug)]
pub(crate) struct Report {
    /// The message and its causes, outermost first.
    pub(crate) messages: Vec<String>,
    /// The step that failed: `arguments`, `dps-register`, `hub-login`, …
    pub(crate) stage: String,
    /// Host and port. `None` if the command failed before it began to connect.
    pub(crate) endpoint: Option<String>,
    /// The address that the command dialed in place of the endpoint, because a dial rule names it. `None` if no rule
    /// applied.
    pub(crate) dialed: Option<String>,
    /// The party that has to act.
    pub(crate) fault: String,
    /// The service's six-digit error code.
    pub(crate) service_code: Option<u32>,
    /// The service's tracking ID for this error.
    pub(crate) tracking_id: Option<String>,
    /// Advice for the user.
    pub(crate) hint: Option<String>,
    /// The exit code of the program.
    pub(crate) exit_code: ExitCode,
}

impl Failure {
    /// A missing or wrong argument, variable or input file.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, "arguments", Fault::Request.to_string(), message)
            .hint("--help shows the arguments and examples")
    }

    /// Something that this version of hubward does not support.
    #[cfg(feature = "service")]
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Unsupported, "arguments", Fault::Unsupported.to_string(), message)
    }

    /// A problem of this machine, such as a file or a port.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Local, "local", "local".to_owned(), message)
    }

    /// Like [`local`](Self::local), but takes the message from an error, and adds the causes of the error.
    #[cfg(feature = "emulator")]
    pub(crate) fn local_with_causes(error: &dyn std::error::Error) -> Self {
        let mut failure = Self::local("");
        failure.0.messages = messages(error);
        failure
    }

    /// Like [`usage`](Self::usage), but takes the message from an error, and adds the causes of the error.
    #[cfg(any(feature = "emulator", feature = "service"))]
    pub(crate) fn of_arguments(error: &dyn std::error::Error) -> Self {
        let mut failure = Self::usage("");
        failure.0.messages = messages(error);
        failure
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(ExitCode::Interrupted, "interrupted", "user".to_owned(), "interrupted")
    }

    /// Creates a failure. It has no endpoint, service code, tracking ID or hint.
    pub(crate) fn new(
        exit_code: ExitCode,
        stage: impl Into<String>,
        fault: String,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Report {
            messages: vec![message.into()],
            stage: stage.into(),
            endpoint: None,
            dialed: None,
            fault,
            service_code: None,
            tracking_id: None,
            hint: None,
            exit_code,
        }))
    }

    /// Sets the hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl Failure {
    /// Creates the failure for a message that the hub has not acknowledged.
    pub(crate) fn from_send(error: &SendError) -> Self {
        Self::diagnosed(error, Diagnosis::from(error))
    }

    fn diagnosed(error: &dyn std::error::Error, diagnosis: Diagnosis) -> Self {
        let hint = hint_of(&diagnosis);
        Self(Box::new(Report {
            messages: messages(error),
            stage: diagnosis.stage.to_string(),
            endpoint: diagnosis.endpoint,
            dialed: None,
            fault: diagnosis.fault.to_string(),
            service_code: diagnosis.service_code,
            tracking_id: diagnosis.tracking_id,
            hint,
            exit_code: diagnosis.fault.into(),
        }))
    }
}

impl Failure {
    /// Changes the failure of a certificate that this program refuses before it connects. The files are wrong, and not
    /// the answer of a service. The hint names the flags.
    fn of_certificate(mut self, error: &CertificateError) -> Self {
        use CertificateError as E;

        let flags = match error {
            E::NoCommonName { .. } | E::OtherCommonName { .. } | E::LongCommonName { .. } => {
                "--cert-file, --registration-id"
            }
            _ => "--cert-file",
        };
        self.0.exit_code = ExitCode::Usage;
        self.0.fault = Fault::Request.to_string();
        self.hint(format!("{} ({flags})", error.advice()))
    }
}

impl std::ops::Deref for Failure {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl std::ops::DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Report {
        &mut self.0
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let diagnosis = error.diagnosis();
        let failure = Self::diagnosed(&error, diagnosis);
        match error {
            ConnectError::Setup(SetupError::NotForHubs { .. }) => failure
                .hint("choose another transport for the hub: --hub-transport mqtt or mqtt-ws, Settings::hub_transport"),
            ConnectError::Setup(SetupError::Certificate(error)) => failure.of_certificate(&error),
            _ => failure,
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        ConnectError::from(error).into()
    }
}

impl From<TwinError> for Failure {
    fn from(error: TwinError) -> Self {
        Self::diagnosed(&error, Diagnosis::from(&error))
    }
}

impl From<Unsupported> for Failure {
    fn from(error: Unsupported) -> Self {
        Self::diagnosed(&error, Diagnosis::from(&error))
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        Self::diagnosed(&error, Diagnosis::from(&error))
    }
}

#[cfg(any(feature = "emulator", feature = "service"))]
impl From<hubward_service::ServiceError> for Failure {
    fn from(error: hubward_service::ServiceError) -> Self {
        use hubward_service::{Fault, ServiceError, TlsFault};

        let fault = error.fault();
        let exit_code = match fault {
            Fault::Network => ExitCode::Network,
            Fault::Tls => ExitCode::Tls,
            Fault::Credential => ExitCode::Credential,
            Fault::Throttled => ExitCode::Throttled,
            Fault::Deadline => ExitCode::Deadline,
            Fault::Peer => ExitCode::Protocol,
            Fault::Unsupported => ExitCode::Unsupported,
            // The client refused the request and did not send it, so the arguments are wrong. If the service has
            // refused the request, the exit code is `Refused`.
            Fault::Request if error.refused().is_none() => ExitCode::Usage,
            _ => ExitCode::Refused,
        };
        let stage = match &error {
            ServiceError::Connect { .. } => "service-connect",
            ServiceError::Tls { .. } => "service-tls",
            ServiceError::Request(_) => "arguments",
            ServiceError::Credential(_) => "service-login",
            _ => "service-request",
        };
        let mut failure = Self::new(exit_code, stage, fault.to_string(), "");
        failure.0.messages = messages(&error);
        failure.0.endpoint = error.endpoint().map(str::to_owned);
        failure.0.service_code = error.refused().and_then(|it| it.code);
        failure.0.tracking_id = error.refused().and_then(|it| it.tracking_id.clone());
        failure.0.hint = match &error {
            ServiceError::Tls { fault: TlsFault::Untrusted, .. } => error.advice().map(untrusted),
            _ => error.advice(),
        };
        failure
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let flags: Vec<&str> = error.problems().iter().filter_map(|it| flag_of(it.variable)).collect();
        let flags = flags.join(", ");
        let is_missing = error.problems().iter().any(|it| it.invalid.is_none());
        Self::usage(error.to_string()).hint(if is_missing {
            format!("set the variables or use {flags}; `hubward quickstart` needs no settings")
        } else {
            format!("correct the variables or the options: {flags}")
        })
    }
}

/// The hint of a diagnosis, with the flag for the setting that it names.
pub(crate) fn hint_of(diagnosis: &Diagnosis) -> Option<String> {
    diagnosis.hint.clone().map(|it| with_flag(it, diagnosis.setting))
}

/// Adds the name of a flag to a hint that contains the name of a setting. `--ca-file` and `--cert-file` replace the
/// name of the setting, and `--timeout` stands before it. Returns the hint unchanged if `setting` is `None` or has no
/// flag.
fn with_flag(hint: String, setting: Option<SettingName>) -> String {
    let Some(setting) = setting else { return hint };
    let flag = match setting {
        SettingName::CaFile => return untrusted(hint.replace(&setting.to_string(), "--ca-file")),
        SettingName::Certificate => return hint.replace(&setting.to_string(), "--cert-file and --key-file"),
        SettingName::Timeout | SettingName::SendDeadline | SettingName::TwinDeadline => {
            format!("--timeout, {setting}")
        }
        _ => return hint,
    };
    hint.replace(&setting.to_string(), &flag)
}

/// Extends the hint for an untrusted certificate. If variables replace the system's authorities, the hint tells the
/// user to unset these variables to connect to Azure. For example, a shell may still have the variables of an emulator.
/// Its programs then trust the emulator, but not Azure.
fn untrusted(hint: String) -> String {
    let is_set = |it: &&str| crate::environment::variable(it).is_some();
    let set: Vec<&str> = [hubward::vars::CA_FILE, SYSTEM_CA_FILE].into_iter().filter(is_set).collect();
    with_variables_to_unset(hint, &set)
}

fn with_variables_to_unset(hint: String, variables: &[&str]) -> String {
    if variables.is_empty() {
        return hint;
    }
    format!("{hint}; to connect to Azure, trust the system's authorities again: unset {}", variables.join(" and "))
}

fn flag_of(variable: &str) -> Option<&'static str> {
    use hubward::vars;
    Some(match variable {
        vars::HOST => "--dps-host",
        vars::ID_SCOPE => "--id-scope",
        vars::REGISTRATION_ID => "--registration-id",
        vars::SYMMETRIC_KEY => "--symmetric-key-file (or --cert-file and --key-file)",
        vars::CERT_FILE => "--cert-file",
        vars::KEY_FILE => "--key-file",
        vars::PASS_PHRASE => "--key-passphrase-file",
        vars::TRANSPORT => "--transport",
        vars::CA_FILE => "--ca-file",
        vars::CONNECT_TO => "--connect-to",
        vars::CONNECTION_STRING => "--connection-string-file",
        vars::SECONDARY_KEY => "--secondary-key-file",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward::TransportKind;
    use hubward::error::{ProvisionError, TlsFault, TransportError, UnconfirmedReason};
    use hubward::transport::Stage;
    use std::time::Duration;

    #[test]
    fn a_hint_names_the_flag_of_its_setting() {
        let source = TransportError::Tls {
            endpoint: "dps.example:443".into(),
            fault: TlsFault::Untrusted,
            source: std::io::Error::other("x"),
        };
        let untrusted = ProvisionError::Transport { attempts: 1, out_of_time: false, source };
        let late_hub = ConnectError::HubDeadline {
            hub: "hub.example".parse().expect("a host"),
            endpoint: "hub.example:8883".into(),
            stage: Stage::Login,
            after: Duration::from_secs(1),
            last: None,
        };
        let late_twin =
            TwinError::Unknown { reason: UnconfirmedReason::Deadline { after: Duration::from_secs(1), cause: None } };
        for (failure, hint) in [
            (
                Failure::from(ConnectError::from(untrusted)),
                "a local emulator or an inspecting proxy has its own certificate authority: set its certificate as \
                 the CA file (HUBWARD_CA_FILE or --ca-file)",
            ),
            (
                Failure::from(late_hub),
                "the hub did not answer in time: allow more time (--timeout, ConnectOptions::timeout), or try \
                 another transport",
            ),
            (
                Failure::from(late_twin),
                "the hub is slow to answer: allow more time (--timeout, HubOptions::twin_deadline)",
            ),
            (
                Failure::from(SetupError::NotForHubs { kind: TransportKind::Https }),
                "choose another transport for the hub: --hub-transport mqtt or mqtt-ws, Settings::hub_transport",
            ),
        ] {
            // More advice follows if this machine sets `SSL_CERT_FILE`.
            assert!(failure.hint.as_ref().is_some_and(|it| it.starts_with(hint)), "{:?}", failure.hint);
        }
        let slow = format!("allow messages more time ({})", SettingName::SendDeadline);
        assert_eq!(
            with_flag(slow, Some(SettingName::SendDeadline)),
            "allow messages more time (--timeout, HubOptions::send_deadline)"
        );
    }

    #[test]
    fn the_hint_for_an_untrusted_certificate_names_the_variables_to_unset() {
        for (variables, expected) in [
            (&[][..], "x"),
            (&["A"], "x; to connect to Azure, trust the system's authorities again: unset A"),
            (&["A", "B"], "x; to connect to Azure, trust the system's authorities again: unset A and B"),
        ] {
            assert_eq!(with_variables_to_unset("x".to_owned(), variables), expected);
        }
    }
}
