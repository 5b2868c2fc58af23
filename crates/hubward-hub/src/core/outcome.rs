//! What became of a message.

use hubward_transport::ProtoError;

use crate::{CloseReason, DisconnectCause};

/// How a message ended. Each message has exactly one outcome.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The hub has it.
    Acknowledged,
    /// No connection could take it; no connection ever carried it.
    Refused(Box<ProtoError>),
    /// No connection ever carried it.
    NotSent(Cut),
    /// A connection carried it, and its acknowledgement did not come.
    Unknown(Cut),
}

/// What cut a message short.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// Its time was over, with what kept the client from being connected, if anything.
    Deadline(Option<DisconnectCause>),
    /// The client ended.
    Closed(CloseReason),
    /// A second connection would not take what a first one had.
    Resend(Box<ProtoError>),
}
