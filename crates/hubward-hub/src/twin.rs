//! The twin from a program's side: reading it, and reporting.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hubward_proto::hub::{Twin, twin};
use hubward_proto::limits;
use hubward_transport::{Fault, Feature, ProtoError, Refusal, RefusedBy, TransportError, one_line};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::client::Command;
use crate::features::Wish;
use crate::features::twin_requests::{Answer, Ask, Cut, Question};
use crate::receipt::far;
use crate::{CloseReason, HubClient, Unsupported, Why};

impl HubClient {
    /// Reads the twin: what the cloud wants, and what the device has reported.
    ///
    /// Questions about the twin and [reports](HubClient::report) of all handles of a client are put
    /// to the hub one after the other, in the order in which they were asked. A hub that is busy is
    /// asked again later, and after a lost connection the question goes to the next one, until its
    /// [deadline](HubClient::twin_deadline) is over.
    ///
    /// # Errors
    /// [`TwinError`] says who is at fault.
    ///
    /// # Cancel safety
    /// If dropped, the question is not asked, or its answer goes to nobody.
    pub async fn twin(&self) -> Result<Twin, TwinError> {
        match self.ask(Ask::Twin).await? {
            Answer::Twin(twin) => Ok(*twin),
            Answer::Reported(_) => Err(TwinError::other_question()),
        }
    }

    /// Changes the reported properties: objects are merged, `null` removes, anything else replaces.
    /// `patch` is whatever serializes to a JSON object; what is left out stays as it is. (A float that
    /// is no number serializes to `null`, and so removes.)
    ///
    /// Reports leave in the order in which they were made, one at a time, and none overtakes another,
    /// also while the hub is busy. One whose connection was lost is made again on the next: a merge
    /// that is made twice in its order changes nothing, but the version may grow by two.
    ///
    /// # Errors
    /// [`TwinError::Invalid`] if the service would not take it; nothing is sent then. Otherwise
    /// [`TwinError`] says whether the hub can have it.
    ///
    /// # Cancel safety
    /// If dropped before it was written to a connection, the report is not made. If dropped later, it
    /// may have been made or not, and it is not made again. To let one go without waiting, spawn it.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-mqtt-support.md, "Update device twin's reported properties".
    /// That a hub applies what one connection brings in its order is a `[guess]`.
    pub async fn report(&self, patch: &impl Serialize) -> Result<Reported, TwinError> {
        let patch = checked(patch).map_err(TwinError::Invalid)?;
        match self.ask(Ask::Report(patch)).await? {
            Answer::Reported(version) => Ok(Reported { version }),
            Answer::Twin(_) => Err(TwinError::other_question()),
        }
    }

    /// A handle whose [`HubClient::twin`] and [`HubClient::report`] have another deadline than
    /// [`HubOptions::twin_deadline`](crate::HubOptions::twin_deadline); other handles are not changed.
    #[must_use]
    pub const fn twin_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.twin_deadline = deadline;
        self
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, TwinError> {
        self.check(Feature::TwinAnswers)?;
        let until = self.twin_deadline.map(|it| far(Instant::now(), it));
        let closed = || TwinError::NotSent { why: Why::Closed(self.shared.reason()) };
        // Held until there is an answer, or nobody waits for one.
        let _room = match until {
            None => self.shared.twin_room.acquire().await,
            Some(until) => {
                let acquired = timeout_at(until, self.shared.twin_room.acquire()).await;
                acquired.map_err(|_| TwinError::NotSent { why: self.too_late() })?
            }
        }
        .map_err(|_| closed())?;
        self.want(Feature::TwinAnswers);
        let (question, answer) = Question::new(ask, until);
        let place = self.commands.reserve().await.map_err(|_| closed())?;
        place.send(Command::Wish(Box::new(Wish::Twin(question))));
        // It may slip into the channel in the instant in which the task ends; nobody would ever look
        // at it.
        if self.shared.is_closed.load(Ordering::SeqCst) && answer.is_empty() {
            return Err(closed());
        }
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cut)) => Err(self.twin_error(cut)),
            // Unreachable as long as every question answers when it is dropped.
            Err(_) => Err(TwinError::Unknown { why: Why::Closed(CloseReason::Aborted) }),
        }
    }

    fn too_late(&self) -> Why {
        Why::Deadline { after: self.twin_deadline.unwrap_or_default(), cause: self.shared.current_cause() }
    }

    fn twin_error(&self, cut: Cut) -> TwinError {
        let (written, why) = match cut {
            Cut::Refused(refusal) => return TwinError::Refused(refusal),
            Cut::Impossible(problem) => return TwinError::Invalid(problem),
            Cut::Unreadable(problem) => return TwinError::Unreadable(problem),
            Cut::Resend(problem) => (true, Why::Resend(problem)),
            Cut::Deadline { written } => (written, self.too_late()),
            Cut::Closed { reason, written } => (written, Why::Closed(reason)),
        };
        if written { TwinError::Unknown { why } } else { TwinError::NotSent { why } }
    }
}

/// What the hub says of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The version of the reported properties since then, where the hub says it.
    pub version: Option<u64>,
}

/// Why the twin could not be read, or a report was not made. Says whether the hub can have it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// The service would never take it: no JSON object, too large, a name or number it has no place
    /// for. Nothing was sent.
    #[error("the properties cannot be reported")]
    Invalid(#[source] ProtoError),
    /// The hub said no, with status, code, message and tracking id. Also if it was busy (429, 5xx)
    /// until the deadline was over.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The hub certainly does not have it.
    #[error("the request about the twin was not sent")]
    NotSent {
        /// Why.
        #[source]
        why: Why,
    },
    /// It was written to a connection, but no answer came: the hub may have it or not.
    #[error("the request about the twin was sent, but not answered")]
    Unknown {
        /// Why.
        #[source]
        why: Why,
    },
    /// The hub's answer cannot be read.
    #[error("the hub's answer about the twin cannot be read")]
    Unreadable(#[source] ProtoError),
    /// The protocol has no place for twins. Nothing was sent.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl TwinError {
    /// Whether the hub certainly does not have it.
    #[must_use]
    pub const fn is_certainly_not_sent(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::NotSent { .. } | Self::Unsupported(_))
    }

    /// Whether its time was over ([`HubOptions::twin_deadline`](crate::HubOptions::twin_deadline)).
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        matches!(self, Self::NotSent { why: Why::Deadline { .. } } | Self::Unknown { why: Why::Deadline { .. } })
    }

    /// What the hub said, if it said no.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The status of the hub's no, such as 400 or 429.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.refusal()?.by {
            RefusedBy::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Who has to act; `None` if the program itself closed the client.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Invalid(_) => Some(Fault::Request),
            Self::Refused(refusal) => Some(TransportError::Refused(refusal.clone()).fault()),
            Self::NotSent { why } | Self::Unknown { why } => why.fault(),
            Self::Unreadable(_) => Some(Fault::Peer),
            Self::Unsupported(_) => Some(Fault::Unsupported),
        }
    }

    fn other_question() -> Self {
        Self::Unreadable(ProtoError::Unexpected("the hub answered another question".into()))
    }
}

/// A patch as JSON, if the service would take it.
fn checked(patch: &impl Serialize) -> Result<Bytes, ProtoError> {
    let patch = match serde_json::to_value(patch) {
        Ok(Value::Object(patch)) => patch,
        Ok(_) => return Err(ProtoError::Unexpected("reported properties have to be a JSON object".into())),
        Err(problem) => {
            let problem = one_line(&problem.to_string());
            return Err(ProtoError::Unexpected(format!("the properties are nothing that JSON can say: {problem}")));
        }
    };
    twin::check_patch(&patch, limits::TWIN_PROPERTIES_MAX)?;
    let patch = Value::Object(patch).to_string();
    // Removed names count here: they take up memory and a part of the message.
    if patch.len() > limits::TELEMETRY_MAX {
        let (what, size, limit) = ("the patch of reported properties", patch.len(), limits::TELEMETRY_MAX);
        return Err(ProtoError::TooLarge { what, size, limit });
    }
    Ok(patch.into())
}
