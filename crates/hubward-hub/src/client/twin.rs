//! The handle's methods for the twin: reading the twin and reporting properties.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hubward_proto::hub::{Twin, twin};
use hubward_proto::limits;
use hubward_transport::{Fault, Feature, ProtoError, Refusal, TransportError, one_line};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::deadline::later;
use crate::features::{TwinFailure, TwinRequest, TwinRequestKind, TwinResponse};
use crate::shared::Command;
use crate::{CloseReason, HubClient, UnconfirmedReason, Unsupported};

impl HubClient {
    /// Reads the twin: the desired properties and the reported properties.
    ///
    /// The client sends the twin requests and [reports](HubClient::report) of all handles one at a time, in the order
    /// in which the program made them.
    ///
    /// If the hub is busy or the connection ends, the client sends the request again. Retries end at the
    /// [deadline](HubClient::twin_deadline).
    ///
    /// # Errors
    /// [`TwinError`] says which party is at fault.
    ///
    /// # Cancel safety
    /// If the future is dropped before the client has sent the request, the client does not send the request. If the
    /// future is dropped later, the client discards the response.
    pub async fn twin(&self) -> Result<Twin, TwinError> {
        match self.request_twin(TwinRequestKind::Twin).await? {
            TwinResponse::Twin(twin) => Ok(*twin),
            TwinResponse::Reported(_) => Err(TwinError::mismatched_response()),
        }
    }

    /// Changes the reported properties. `patch` is any value that serializes to a JSON object.
    ///
    /// * An object in the patch is merged into the object in the twin.
    /// * `null` removes a property.
    /// * Every other value replaces the property.
    /// * Properties that the patch does not contain stay as they are.
    ///
    /// A float that is not a number serializes to `null`, so it removes the property.
    ///
    /// The client sends reports one at a time, in the order in which the program made them. If the hub is busy, the
    /// client repeats the current report later, and the reports after it wait.
    ///
    /// If the connection ends before the response, the client sends the report again on the next connection, so the hub
    /// may apply it twice. In this case, the properties are the same as after a single report, but their version has
    /// increased by two.
    ///
    /// # Errors
    /// [`TwinError::Invalid`] if the service would not accept the patch; the client then sends nothing. Other variants
    /// of [`TwinError`] say whether the hub may have the report.
    ///
    /// # Cancel safety
    /// If the future is dropped before the client has written the report to a connection, the client does not send the
    /// report.
    ///
    /// If the future is dropped later, the hub may or may not receive the report. The client does not repeat it.
    ///
    /// To report without waiting, spawn the future as a task.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-mqtt-support.md, "Update device twin's reported properties"; `[guess]` for the
    /// order: a hub applies the requests of one connection in the order in which they arrive.
    pub async fn report(&self, patch: &impl Serialize) -> Result<Reported, TwinError> {
        let patch = checked(patch).map_err(TwinError::Invalid)?;
        match self.request_twin(TwinRequestKind::Report(patch)).await? {
            TwinResponse::Reported(version) => Ok(Reported { version }),
            TwinResponse::Twin(_) => Err(TwinError::mismatched_response()),
        }
    }

    /// Returns a handle that uses this deadline for [`HubClient::twin`] and [`HubClient::report`], instead of
    /// [`HubOptions::twin_deadline`](crate::HubOptions::twin_deadline). Other handles keep their deadline.
    pub const fn twin_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.twin_deadline = deadline;
        self
    }

    async fn request_twin(&self, kind: TwinRequestKind) -> Result<TwinResponse, TwinError> {
        self.check(Feature::TwinResponses)?;
        let until = self.twin_deadline.map(|it| later(Instant::now(), it));
        let closed = || TwinError::NotSent { reason: UnconfirmedReason::Closed(self.shared.reason()) };
        // The future holds the permit until the response arrives or the caller drops the future.
        let _room = match until {
            None => self.shared.twin_room.acquire().await,
            Some(until) => {
                let acquired = timeout_at(until, self.shared.twin_room.acquire()).await;
                acquired.map_err(|_| TwinError::NotSent { reason: self.deadline_passed() })?
            }
        }
        .map_err(|_| closed())?;
        self.subscribe(Feature::TwinResponses);
        let (request, outcome) = TwinRequest::new(kind, until);
        let slot = self.commands.reserve().await.map_err(|_| closed())?;
        slot.send(Command::Twin(Box::new(request)));
        // A request may enter the channel at the moment when the task ends. The task then never takes this request, and
        // without this check the caller would wait forever.
        if self.shared.is_closed.load(Ordering::SeqCst) && outcome.is_empty() {
            return Err(closed());
        }
        match outcome.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => Err(self.twin_error(failure)),
            // Unreachable as long as every request answers when it is dropped.
            Err(_) => Err(TwinError::Unknown { reason: UnconfirmedReason::Closed(CloseReason::Aborted) }),
        }
    }

    fn deadline_passed(&self) -> UnconfirmedReason {
        UnconfirmedReason::Deadline {
            after: self.twin_deadline.unwrap_or_default(),
            cause: self.shared.current_cause(),
        }
    }

    fn twin_error(&self, failure: TwinFailure) -> TwinError {
        let (written, reason) = match failure {
            TwinFailure::Refused(refusal) => return TwinError::Refused(refusal),
            TwinFailure::Impossible(problem) => return TwinError::Invalid(problem),
            TwinFailure::Unreadable(problem) => return TwinError::Unreadable(problem),
            TwinFailure::Resend(problem) => (true, UnconfirmedReason::Resend(problem)),
            TwinFailure::Deadline { written } => (written, self.deadline_passed()),
            TwinFailure::Closed { reason, written } => (written, UnconfirmedReason::Closed(reason)),
        };
        if written { TwinError::Unknown { reason } } else { TwinError::NotSent { reason } }
    }
}

/// The hub's response to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The version of the reported properties after this report, if the hub returned it.
    pub version: Option<u64>,
}

/// Why the client could not read the twin or make a report. The variant says whether the hub may have the report.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// The service would never accept the patch, so the client sent nothing. The patch is not a JSON object, is too
    /// large, or contains a name or number that the service does not support.
    #[error("the properties cannot be reported")]
    Invalid(#[source] ProtoError),
    /// The hub refused the request. The refusal contains the status and, if the hub sent them, code, message and
    /// tracking id.
    ///
    /// The client retries after some refusals: the hub was busy (429, 5xx), or it refused the subscription to twin
    /// responses. If these retries last until the deadline, and the hub certainly does not have the request, the client
    /// returns this error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The hub certainly does not have the request.
    #[error("the twin request was not sent")]
    NotSent {
        /// Why the hub does not have it.
        #[source]
        reason: UnconfirmedReason,
    },
    /// The client wrote the request to a connection and received no response. The hub may or may not have the request.
    #[error("the twin request was sent, but the hub did not answer it")]
    Unknown {
        /// Why no response came.
        #[source]
        reason: UnconfirmedReason,
    },
    /// The hub's response cannot be read.
    #[error("the hub's response to the twin request cannot be read")]
    Unreadable(#[source] ProtoError),
    /// The protocol does not support twins. Nothing was sent.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

hubward_proto::debug_as_error_report!(TwinError);

impl TwinError {
    /// Returns `true` if the hub certainly does not have the request.
    #[must_use]
    pub const fn is_certainly_not_sent(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::NotSent { .. } | Self::Unsupported(_))
    }

    /// Whether the deadline passed ([`HubOptions::twin_deadline`](crate::HubOptions::twin_deadline)).
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        matches!(
            self,
            Self::NotSent { reason: UnconfirmedReason::Deadline { .. } }
                | Self::Unknown { reason: UnconfirmedReason::Deadline { .. } }
        )
    }

    /// The hub's refusal, if it refused the request.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The status of the hub's refusal, such as 400 or 429.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.refusal()?.status()
    }

    /// Returns the party that has to act; `None` if the program closed the client or the client's task was aborted.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Invalid(_) => Some(Fault::Request),
            Self::Refused(refusal) => Some(TransportError::Refused(refusal.clone()).fault()),
            Self::NotSent { reason } | Self::Unknown { reason } => reason.fault(),
            Self::Unreadable(_) => Some(Fault::Peer),
            Self::Unsupported(_) => Some(Fault::Unsupported),
        }
    }

    fn mismatched_response() -> Self {
        Self::Unreadable(ProtoError::Unexpected("the response does not match the request".into()))
    }
}

/// Serializes a patch as JSON. Fails if the service would not accept the patch.
fn checked(patch: &impl Serialize) -> Result<Bytes, ProtoError> {
    let patch = match serde_json::to_value(patch) {
        Ok(Value::Object(patch)) => patch,
        Ok(_) => return Err(ProtoError::Unexpected("reported properties must be a JSON object".into())),
        Err(problem) => {
            let problem = one_line(&problem.to_string());
            return Err(ProtoError::Unexpected(format!("the properties cannot be serialized as JSON: {problem}")));
        }
    };
    twin::check_patch(&patch, limits::TWIN_PROPERTIES_MAX)?;
    let patch = Value::Object(patch).to_string();
    // The check above ignores the properties that the patch removes. This second limit counts them too, because they
    // take memory and space in the message.
    if patch.len() > limits::TELEMETRY_MAX {
        let (what, size, limit) = ("the patch of reported properties", patch.len(), limits::TELEMETRY_MAX);
        return Err(ProtoError::TooLarge { what, size, limit });
    }
    Ok(patch.into())
}
