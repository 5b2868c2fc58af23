//! Errors of a registration.

use std::time::Duration;

use hubward_proto::ProtoError;
use hubward_proto::dps::{AssignmentStatus, RegistrationState, error_code};
use hubward_transport::{CredentialError, Fault, TransportError, one_line};

/// Why a registration failed. The text of an error reads well after "failed to provision: ". It does not repeat the
/// text of the error's source.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A request failed, and the provisioner gave up.
    ///
    /// The provisioner gives up in three cases: a retry cannot succeed, too many requests have failed in a row, or the
    /// next retry would come after the deadline.
    #[error("{source}{}", retried(*.attempts, *.out_of_time))]
    Transport {
        /// The number of failed requests in a row, including this one.
        attempts: u32,
        /// `true` if the deadline left no time for another attempt; `false` if the provisioner gave up for another
        /// reason.
        out_of_time: bool,
        /// The last failure.
        source: TransportError,
    },
    /// The service answered `failed` or `disabled`.
    #[error("{}", rejected(.status, .state))]
    Rejected {
        /// Host and port of the service.
        endpoint: String,
        /// The status that the service answered.
        status: AssignmentStatus,
        /// The service's record, with its error code and message.
        state: Box<RegistrationState>,
    },
    /// The deadline passed while the service was still assigning, or the service requested a wait that would end after
    /// the deadline.
    #[error("{endpoint} assigned no hub within {after:?}")]
    Deadline {
        /// Host and port of the service.
        endpoint: String,
        /// The deadline, as the time since the start of the registration.
        after: Duration,
    },
    /// The service assigned a hub with a connection profile that hubward does not support. hubward supports only
    /// `classic`, which is MQTT 3.1.1.
    #[error("{endpoint} assigned a hub with the connection profile `{profile}`; hubward supports only `classic`")]
    ConnectionProfile {
        /// Host and port of the service.
        endpoint: String,
        /// The name of the profile, such as `mqttV5`, in the form of an [`Excerpt`](hubward_proto::Excerpt).
        profile: String,
    },
    /// The service's response violates the protocol.
    #[error("{endpoint} sent an invalid response")]
    Broken {
        /// Host and port of the service.
        endpoint: String,
        /// The rule that the response violates.
        #[source]
        source: ProtoError,
    },
    /// The credential provides no token, or could not sign one.
    #[error("the credential provides no token for the registration")]
    Credential(#[from] CredentialError),
}

hubward_proto::debug_as_error_report!(ProvisionError);

impl ProvisionError {
    /// Returns the party that has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Transport { source, .. } => source.fault(),
            Self::Rejected { .. } => Fault::Service,
            Self::Deadline { .. } => Fault::Deadline,
            Self::ConnectionProfile { .. } => Fault::Unsupported,
            Self::Broken { .. } => Fault::Peer,
            Self::Credential(_) => Fault::Credential,
        }
    }

    /// Returns `true` if a later attempt may succeed without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_retryable(),
            Self::Deadline { .. } => true,
            Self::Rejected { .. } | Self::ConnectionProfile { .. } | Self::Broken { .. } | Self::Credential(_) => false,
        }
    }

    /// Returns the host and port of the service; `None` for [`ProvisionError::Credential`] and for failures without a
    /// connection.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Transport { source, .. } => source.endpoint(),
            Self::Rejected { endpoint, .. }
            | Self::Deadline { endpoint, .. }
            | Self::ConnectionProfile { endpoint, .. }
            | Self::Broken { endpoint, .. } => Some(endpoint),
            Self::Credential(_) => None,
        }
    }
}

fn retried(attempts: u32, out_of_time: bool) -> String {
    match (attempts, out_of_time) {
        (0 | 1, false) => String::new(),
        (_, false) => format!(" (after {attempts} attempts)"),
        (0 | 1, true) => " (no time left to try again)".to_owned(),
        (_, true) => format!(" (after {attempts} attempts, no time left for another)"),
    }
}

fn rejected(status: &AssignmentStatus, state: &RegistrationState) -> String {
    let mut text = match status {
        AssignmentStatus::Disabled => "the enrollment is disabled".to_owned(),
        status => format!("the service answered `{}`", one_line(status.as_str())),
    };
    if let Some(code) = state.error_code {
        text.push_str(&format!(", code {code}"));
    }
    match (&state.error_message, state.error_code.and_then(error_code::meaning)) {
        (Some(message), _) => text.push_str(&format!(": {}", one_line(message))),
        (None, Some(meaning)) => text.push_str(&format!(": {meaning}")),
        (None, None) => {}
    }
    text
}
