//! The outcome of a message.

use hubward_transport::ProtoError;

use crate::{CloseReason, DisconnectCause};

/// How a message ended. Each message has exactly one outcome.
#[derive(Debug, Clone)]
pub(crate) enum SendOutcome {
    /// The hub has acknowledged the message.
    Acknowledged,
    /// No connection could carry the message, and none did.
    Refused(Box<ProtoError>),
    /// No connection carried the message.
    NotSent(SendFailure),
    /// A connection carried the message, and no acknowledgement came.
    Unknown(SendFailure),
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone)]
pub(crate) enum SendFailure {
    /// Its deadline passed. Contains why the client was not connected, if it was not.
    Deadline(Option<DisconnectCause>),
    /// The client ended.
    Closed(CloseReason),
    /// A later connection could not carry the message, after an earlier one had.
    Resend(Box<ProtoError>),
}
