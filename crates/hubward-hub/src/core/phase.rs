//! Where the core stands, and what that asks of the driver.

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// No connection until then.
    Waiting {
        until: Instant,
    },
    /// A connection is being made.
    Opening {
        until: Instant,
    },
    /// The connection is there, the hub's answer to the login is not.
    Login {
        until: Instant,
        renew_at: Option<Instant>,
    },
    /// The hub has accepted the login.
    Up {
        renew_at: Option<Instant>,
    },
    /// As up, while the token is being replaced in place.
    Renewing {
        until: Instant,
    },
    /// Before a renewal: answers are waited for, and nothing new is sent, unless [other
    /// parts](super::Core::hold) still work.
    Draining {
        until: Instant,
    },
    /// Saying good-bye.
    Leaving {
        until: Instant,
        then: Then,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Reopen,
    End,
}

/// What the driver is to have at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// No connection.
    Nothing,
    /// The attempt of this number.
    Opening(u64),
    /// The connection of this attempt.
    Open(u64),
    /// The same, while its token is being replaced.
    OpenRenewing(u64),
    /// The same, saying good-bye.
    Leaving(u64),
    /// Nothing, for ever.
    Ended,
}
