//! Errors of sending a message, and how a client ends.

use std::fmt;
use std::time::Duration;

use hubward_transport::{Fault, Message, ProtoError, TransportError};

use crate::{CloseReason, DisconnectCause};

/// Why the hub did not acknowledge a message. The variant says whether the hub may have the message.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message can never be sent, because it is too large or the service does not support one of its properties.
    /// The client sent nothing.
    #[error("{message} cannot be sent")]
    Refused {
        /// The message.
        message: MessageLabel,
        /// The rule that the message breaks. [`ProtoError::TooLarge`] contains the size and the limit.
        #[source]
        source: ProtoError,
    },
    /// The hub certainly does not have the message.
    #[error("{message} was not sent")]
    NotSent {
        /// The message.
        message: MessageLabel,
        /// Why the hub does not have it.
        #[source]
        reason: UnconfirmedReason,
    },
    /// The client wrote the message to a connection and received no acknowledgement. The hub may or may not have the
    /// message.
    #[error("{message} was sent, but not acknowledged")]
    Unknown {
        /// The message.
        message: MessageLabel,
        /// Why no acknowledgement came.
        #[source]
        reason: UnconfirmedReason,
    },
}

hubward_proto::debug_as_error_report!(SendError);

impl SendError {
    /// The message.
    #[must_use]
    pub const fn message(&self) -> &MessageLabel {
        match self {
            Self::Refused { message, .. } | Self::NotSent { message, .. } | Self::Unknown { message, .. } => message,
        }
    }

    /// Returns `true` if the hub certainly does not have the message. Sending the message again then creates no
    /// duplicate.
    #[must_use]
    pub const fn is_certainly_not_sent(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }

    /// Returns `true` if the message's deadline passed ([`HubOptions::send_deadline`](crate::HubOptions)).
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        matches!(
            self,
            Self::NotSent { reason: UnconfirmedReason::Deadline { .. }, .. }
                | Self::Unknown { reason: UnconfirmedReason::Deadline { .. }, .. }
        )
    }

    /// Returns the party that has to act; `None` if the program closed the client or the client's task was aborted.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused { .. } => Some(Fault::Request),
            Self::NotSent { reason, .. } | Self::Unknown { reason, .. } => reason.fault(),
        }
    }
}

/// Why the hub did not acknowledge a message, or did not answer a twin request.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UnconfirmedReason {
    /// The deadline of the message or twin request passed.
    #[error("it was not acknowledged within {after:?}")]
    Deadline {
        /// The time from `enqueue`, or from the call that made the twin request, to the deadline.
        after: Duration,
        /// Why the client was not connected when the deadline passed; `None` if it was connected.
        #[source]
        cause: Option<DisconnectCause>,
    },
    /// The client ended before the acknowledgement came.
    #[error("the client was closed")]
    Closed(#[source] CloseReason),
    /// An earlier connection had sent the message, but a later connection could not send it again.
    #[error("it could not be sent again")]
    Resend(#[source] ProtoError),
}

hubward_proto::debug_as_error_report!(UnconfirmedReason);

impl UnconfirmedReason {
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Deadline { cause, .. } => Some(cause.as_ref().map_or(Fault::Deadline, DisconnectCause::fault)),
            Self::Closed(reason) => reason.fault(),
            Self::Resend(_) => Some(Fault::Request),
        }
    }
}

/// Names a message in errors: by its id, or by its size if it has no id. It never shows the content of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLabel {
    /// The message id, if it has one.
    pub id: Option<String>,
    /// Its size in bytes, as the service counts it.
    pub size: usize,
}

impl MessageLabel {
    pub(crate) fn of(message: &Message) -> Self {
        Self { id: message.id().map(str::to_owned), size: message.size() }
    }
}

impl fmt::Display for MessageLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            // The program chose the id, so it may contain any character.
            Some(id) => write!(f, "the message {id:?}"),
            None => write!(f, "a message of {} bytes", self.size),
        }
    }
}

/// Why [`try_enqueue`](crate::HubClient::try_enqueue) did not queue a message. Every variant contains the message.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryEnqueueError {
    /// The queue is full at the moment.
    #[error("the queue is full")]
    Full(Box<Message>),
    /// The client has ended or is closing.
    #[error("the client is closed")]
    Closed(Box<Message>),
    /// The message can never be sent.
    #[error("the message cannot be sent")]
    Refused {
        /// The message.
        message: Box<Message>,
        /// The rule that the message breaks.
        #[source]
        source: ProtoError,
    },
}

hubward_proto::debug_as_error_report!(TryEnqueueError);

impl TryEnqueueError {
    /// Returns the message.
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Refused { message, .. } => *message,
        }
    }
}

/// The client has ended and cannot be used any more.
#[derive(Clone, thiserror::Error)]
#[error("the hub client is closed")]
pub struct HubError {
    #[source]
    reason: CloseReason,
}

hubward_proto::debug_as_error_report!(HubError);

impl From<CloseReason> for HubError {
    fn from(reason: CloseReason) -> Self {
        Self { reason }
    }
}

impl HubError {
    /// Why the client ended.
    #[must_use]
    pub const fn reason(&self) -> &CloseReason {
        &self.reason
    }

    /// Returns the party that has to act; `None` if the program closed the client or the client's task was aborted.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.reason().fault()
    }

    /// The transport's error, if that is the reason.
    #[must_use]
    pub fn transport_error(&self) -> Option<&TransportError> {
        self.reason().transport_error()
    }
}

/// How a client ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Closed {
    /// Why the client ended.
    pub reason: CloseReason,
    /// The messages that were still queued when the client ended. The hub certainly does not have them.
    pub not_sent: Vec<MessageLabel>,
    /// The messages that the client wrote but the hub did not acknowledge. The hub may or may not have them.
    pub unknown: Vec<MessageLabel>,
}

impl Closed {
    pub(crate) const fn new(reason: CloseReason) -> Self {
        Self { reason, not_sent: Vec::new(), unknown: Vec::new() }
    }

    /// Returns `true` if no message was outstanding when the client ended.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.not_sent.is_empty() && self.unknown.is_empty()
    }
}

/// The client ended before the hub had acknowledged every message.
///
/// Either the time limit of [`HubClient::close`](crate::HubClient::close) passed, or the client ended for another
/// reason. [`CloseError::closed`] has the details.
#[derive(Clone)]
pub struct CloseError {
    closed: Box<Closed>,
}

hubward_proto::debug_as_error_report!(CloseError);

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unacknowledged(&self.closed))
    }
}

impl std::error::Error for CloseError {
    /// Returns the reason if a failure ended the client; `None` if the program closed the client.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.closed.reason.transport_error().map(|it| it as _)
    }
}

impl CloseError {
    pub(crate) fn new(closed: Closed) -> Self {
        Self { closed: Box::new(closed) }
    }

    /// The unacknowledged messages, and why the client ended.
    #[must_use]
    pub const fn closed(&self) -> &Closed {
        &self.closed
    }
}

fn unacknowledged(closed: &Closed) -> String {
    /// The number of messages that an error names.
    const NAMED: usize = 5;
    let count = closed.not_sent.len() + closed.unknown.len();
    let mut text =
        format!("{} messages were not sent and {} not acknowledged", closed.not_sent.len(), closed.unknown.len());
    for (at, label) in closed.not_sent.iter().chain(&closed.unknown).take(NAMED).enumerate() {
        text.push_str(if at == 0 { ": " } else { ", " });
        text.push_str(&label.to_string());
    }
    if count > NAMED {
        text.push_str(&format!(" and {} more", count - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_label_names_the_message_without_its_content() {
        let label = |message: Message| MessageLabel::of(&message).to_string();
        assert_eq!(label(Message::new("secret").message_id("m-1")), "the message \"m-1\"");
        assert_eq!(label(Message::new("secret").property("k", "v")), "a message of 8 bytes");
    }

    #[test]
    fn an_error_and_its_sources_say_each_thing_once() {
        let cause = DisconnectCause::AckOverdue { after: Duration::from_secs(30) };
        let reason = UnconfirmedReason::Deadline { after: Duration::from_secs(60), cause: Some(cause) };
        let error = SendError::Unknown { message: MessageLabel { id: None, size: 3 }, reason };
        assert_eq!(error.to_string(), "a message of 3 bytes was sent, but not acknowledged");
        let reason = error.source().expect("a reason");
        assert_eq!(reason.to_string(), "it was not acknowledged within 60s");
        assert_eq!(reason.source().expect("cause").to_string(), "the hub did not acknowledge a message within 30s");
        assert!(error.is_deadline() && !error.is_certainly_not_sent());
    }

    #[test]
    fn a_close_error_names_the_first_messages() {
        let label = |id: usize| MessageLabel { id: Some(format!("m{id}")), size: 1 };
        let mut closed = Closed::new(CloseReason::Requested);
        closed.not_sent = (0..6).map(label).collect();
        closed.unknown = vec![label(6)];
        assert!(!closed.is_clean());
        assert_eq!(
            CloseError::new(closed).to_string(),
            "6 messages were not sent and 1 not acknowledged: the message \"m0\", the message \"m1\", \
             the message \"m2\", the message \"m3\", the message \"m4\" and 2 more"
        );
    }
}
