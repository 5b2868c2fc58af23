//! Moments in the future that every clock can represent.

use std::time::Duration;

use tokio::time::Instant;

/// The longest duration that the client adds to a moment, a century: longer than any device runs, and within
/// the range of every clock.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns the moment that is `duration` after `now`. If the clock cannot represent this moment, returns the moment
/// that is [`DURATION_MAX`] after `now`.
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    now + duration.min(DURATION_MAX)
}

/// The deadline of a message, as a moment and as a duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendDeadline {
    /// `None` unless the message had to wait for room. If it is `None`, the driver adds the duration to the time of its
    /// own clock, so that the sender need not read the time.
    pub(crate) at: Option<Instant>,
    pub(crate) after: Duration,
}

impl SendDeadline {
    /// The moment of the deadline, if the message was queued at `now`.
    pub(crate) fn moment(self, now: Instant) -> Instant {
        self.at.unwrap_or_else(|| later(now, self.after))
    }
}
