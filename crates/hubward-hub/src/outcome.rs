//! The outcome of a message.

use hubward_transport::ProtoError;

use crate::{CloseReason, DisconnectCause};

/// How a message ended. Each message has exactly one outcome.
#[derive(Debug, Clone)]
pub(crate) enum SendOutcome {
    /// The hub has acknowledged the message.
    Acknowledged,
    /// No connection sent the message, because a connection cannot send it.
    Refused(Box<ProtoError>),
    /// No connection sent the message.
    NotSent(SendFailure),
    /// A connection sent the message, and no acknowledgement came.
    Unknown(SendFailure),
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone)]
pub(crate) enum SendFailure {
    /// The deadline of the message passed. Contains the cause if the client was not connected at the deadline.
    Deadline(Option<DisconnectCause>),
    /// The client ended.
    Closed(CloseReason),
    /// A later connection could not send the message again.
    Resend(Box<ProtoError>),
}
