//! Moments in the future that every clock can represent.

use std::time::Duration;

use tokio::time::Instant;

/// The longest duration that the client adds to a moment: a century. Every clock can represent the sum, and no device
/// runs longer.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns the moment `now + duration`. If `duration` is longer than [`DURATION_MAX`], returns `now + DURATION_MAX`,
/// which every clock can represent.
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    now + duration.min(DURATION_MAX)
}

/// The deadline of a message, as a moment and as a duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendDeadline {
    /// The moment of the deadline, if the message had to wait for room.
    ///
    /// `None` if there was room at once. The sender then does not read the clock. Instead, the driver computes the
    /// moment from `after` when it takes the message.
    pub(crate) at: Option<Instant>,
    pub(crate) after: Duration,
}

impl SendDeadline {
    /// Returns the moment of the deadline: `at`, if the sender has set it; otherwise `now + after`. `now` is the time
    /// at which the driver takes the message.
    pub(crate) fn moment(self, now: Instant) -> Instant {
        self.at.unwrap_or_else(|| later(now, self.after))
    }
}
