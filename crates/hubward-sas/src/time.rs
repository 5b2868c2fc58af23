//! The only notion of time a token knows: whole seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01 00:00:00 UTC, the unit of a token's `se` field.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md, "Security token structure".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The second `at` lies in; moments before 1970 count as 0.
    #[must_use]
    pub fn from_system_time(at: SystemTime) -> Self {
        Self(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// This moment plus `duration` (fractions of a second are cut off; stops at the largest value).
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}
