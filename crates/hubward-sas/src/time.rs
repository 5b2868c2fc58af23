//! The time in a token: whole seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01 00:00:00 UTC, the unit of a token's `se` field.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md, "Security token structure".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// Converts `at` to whole seconds, rounded down. A time before 1970 becomes 0.
    #[must_use]
    pub fn from_system_time(at: SystemTime) -> Self {
        Self(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// Adds `duration`, without its fraction of a second. Saturates at the largest value.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// Returns the time from `earlier` to `self`; zero if `self` is not later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}
