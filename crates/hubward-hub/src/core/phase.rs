//! The phases of the core, and the link (an attempt or a connection) that the driver must hold in each phase.

use tokio::time::Instant;

use crate::CloseReason;

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// The client waits until `until` before it connects.
    Waiting {
        until: Instant,
    },
    /// The provider decides what the client does next. If the client keeps its hub, it connects at `next_try` at the
    /// earliest.
    Deciding {
        next_try: Instant,
    },
    /// An attempt to connect is running.
    Opening {
        until: Instant,
    },
    /// The connection is open; the hub has not answered the login yet.
    Login {
        until: Instant,
        renew_at: Option<Instant>,
    },
    /// The hub has accepted the login.
    Up {
        renew_at: Option<Instant>,
    },
    /// As `Up`, while the token is being replaced in place.
    Renewing {
        until: Instant,
    },
    /// A renewal or a planned move waits for acknowledgements. The client sends new messages only if the renewal also
    /// waits for unfinished work of other parts of the client, such as a running method; see
    /// [`Core::may_request`](super::Core::may_request).
    Draining {
        until: Instant,
    },
    /// The connection is being closed in an orderly way.
    Disconnecting {
        until: Instant,
        then: AfterDisconnect,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterDisconnect {
    Reopen,
    End,
}

/// The end of the client, once it is requested or certain.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    /// The client ends at this moment at the latest.
    pub(super) until: Instant,
    pub(super) reason: CloseReason,
}

/// The link that the driver must hold at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// No connection.
    Nothing,
    /// The attempt with this number.
    Opening(u64),
    /// The connection that the attempt with this number opened.
    Open(u64),
    /// As `Open`, while the token of the connection is being replaced.
    OpenRenewing(u64),
    /// As `Open`, while the connection is being closed in an orderly way.
    Disconnecting(u64),
    /// No connection, for ever.
    Ended,
}
