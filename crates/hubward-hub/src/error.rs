//! What can become of a message other than being acknowledged, and how a client ends.

use std::fmt;
use std::time::Duration;

use hubward_transport::{Fault, Message, ProtoError, TransportError};

use crate::{CloseReason, DisconnectCause};

/// Why a message was not acknowledged. Says whether the hub can have it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message can never be sent: too large, or a property the service has no place for. Nothing
    /// was sent.
    #[error("{message} cannot be sent")]
    Refused {
        /// Which message.
        message: MessageLabel,
        /// The rule it breaks; [`ProtoError::TooLarge`] has size and limit.
        #[source]
        source: ProtoError,
    },
    /// The message is certainly not at the hub.
    #[error("{message} was not sent")]
    NotSent {
        /// Which message.
        message: MessageLabel,
        /// Why.
        #[source]
        why: Why,
    },
    /// The message was written to a connection, but no acknowledgement came: the hub may have it or
    /// not.
    #[error("{message} was sent, but not acknowledged")]
    Unknown {
        /// Which message.
        message: MessageLabel,
        /// Why.
        #[source]
        why: Why,
    },
}

impl SendError {
    /// Which message.
    #[must_use]
    pub const fn message(&self) -> &MessageLabel {
        match self {
            Self::Refused { message, .. } | Self::NotSent { message, .. } | Self::Unknown { message, .. } => message,
        }
    }

    /// Whether the hub certainly does not have the message, so that sending it again makes no
    /// duplicate.
    #[must_use]
    pub const fn is_certainly_not_sent(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }

    /// Whether the message's time was over ([`HubOptions::send_deadline`](crate::HubOptions)).
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        matches!(
            self,
            Self::NotSent { why: Why::Deadline { .. }, .. } | Self::Unknown { why: Why::Deadline { .. }, .. }
        )
    }

    /// Who has to act; `None` if the program itself closed the client.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused { .. } => Some(Fault::Request),
            Self::NotSent { why, .. } | Self::Unknown { why, .. } => why.fault(),
        }
    }
}

/// What ended the wait for an acknowledgement.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The message's time was over.
    #[error("it was not acknowledged within {after:?}")]
    Deadline {
        /// The time it had.
        after: Duration,
        /// What kept the client from being connected at that moment, if anything.
        #[source]
        cause: Option<DisconnectCause>,
    },
    /// The client ended first.
    #[error("the client was closed")]
    Closed(#[source] CloseReason),
    /// It could not be put on the next connection, after an earlier one had carried it.
    #[error("it could not be sent again")]
    Resend(#[source] ProtoError),
}

impl Why {
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Deadline { cause, .. } => Some(cause.as_ref().map_or(Fault::Deadline, DisconnectCause::fault)),
            Self::Closed(reason) => reason.fault(),
            Self::Resend(_) => Some(Fault::Request),
        }
    }
}

/// Names a message in errors: its id where it has one, its size, never its content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLabel {
    /// The message id, if it has one.
    pub id: Option<String>,
    /// Its size in bytes, as the service counts.
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
            // An id of the program's, which may hold anything.
            Some(id) => write!(f, "the message {id:?}"),
            None => write!(f, "a message of {} bytes", self.size),
        }
    }
}

/// Why [`try_enqueue`](crate::HubClient::try_enqueue) did not take a message. Gives it back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryEnqueueError {
    /// No room at the moment.
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
        /// The rule it breaks.
        #[source]
        source: ProtoError,
    },
}

impl TryEnqueueError {
    /// The message.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Refused { message, .. } => *message,
        }
    }
}

/// Why a client is of no more use.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// It has ended.
    #[error("the hub client is closed")]
    Closed(#[source] CloseReason),
}

impl HubError {
    /// Why it ended.
    #[must_use]
    pub const fn reason(&self) -> &CloseReason {
        match self {
            Self::Closed(reason) => reason,
        }
    }

    /// Who has to act; `None` if the program itself closed the client.
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
    /// Why.
    pub reason: CloseReason,
    /// What was still queued: certainly not at the hub.
    pub not_sent: Vec<MessageLabel>,
    /// What was written, but not acknowledged: the hub may have it or not.
    pub unknown: Vec<MessageLabel>,
}

impl Closed {
    pub(crate) const fn new(reason: CloseReason) -> Self {
        Self { reason, not_sent: Vec::new(), unknown: Vec::new() }
    }

    /// Whether the hub had acknowledged everything that was still to be answered.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.not_sent.is_empty() && self.unknown.is_empty()
    }
}

/// A client ended and left messages behind.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The flush time was over, or the client ended on its own, before everything was acknowledged.
    #[error("{}", unacknowledged(.0))]
    Unacknowledged(Box<Closed>),
}

impl CloseError {
    /// What was left behind, and why.
    #[must_use]
    pub const fn closed(&self) -> &Closed {
        match self {
            Self::Unacknowledged(closed) => closed,
        }
    }
}

fn unacknowledged(closed: &Closed) -> String {
    /// How many messages an error names.
    const NAMED: usize = 5;
    let left = closed.not_sent.len() + closed.unknown.len();
    let mut text =
        format!("{} messages were not sent and {} not acknowledged", closed.not_sent.len(), closed.unknown.len());
    for (at, label) in closed.not_sent.iter().chain(&closed.unknown).take(NAMED).enumerate() {
        text.push_str(if at == 0 { ": " } else { ", " });
        text.push_str(&label.to_string());
    }
    if left > NAMED {
        text.push_str(&format!(" and {} more", left - NAMED));
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
        let why = Why::Deadline { after: Duration::from_secs(60), cause: Some(cause) };
        let error = SendError::Unknown { message: MessageLabel { id: None, size: 3 }, why };
        assert_eq!(error.to_string(), "a message of 3 bytes was sent, but not acknowledged");
        let why = error.source().expect("why");
        assert_eq!(why.to_string(), "it was not acknowledged within 60s");
        assert_eq!(why.source().expect("cause").to_string(), "the hub did not acknowledge a message within 30s");
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
            CloseError::Unacknowledged(Box::new(closed)).to_string(),
            "6 messages were not sent and 1 not acknowledged: the message \"m0\", the message \"m1\", \
             the message \"m2\", the message \"m3\", the message \"m4\" and 2 more"
        );
    }
}
