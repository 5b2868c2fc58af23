//! Reads the wall clock. Use it only for tokens and HTTP dates. To measure a duration, use tokio's clock, which tests
//! can pause.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Returns the current wall-clock time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The difference between this machine's clock and the service's clock.
///
/// [`fmt::Display`] gives the end of a sentence that begins with "the clock is".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skew {
    /// The size of the difference.
    pub by: Duration,
    /// `true` if this machine's clock is ahead of the service's clock; `false` if it is behind.
    pub ahead: bool,
}

/// Compares the service's clock with this machine's clock. Returns the difference if it is four minutes or more;
/// otherwise `None`.
///
/// The service refuses tokens if the difference exceeds five minutes.
#[must_use]
pub fn skew(service: SystemTime, ours: SystemTime) -> Option<Skew> {
    const TOLERATED: Duration = Duration::from_secs(4 * 60);
    let skew = match ours.duration_since(service) {
        Ok(by) => Skew { by, ahead: true },
        Err(behind) => Skew { by: behind.duration(), ahead: false },
    };
    (skew.by >= TOLERATED).then_some(skew)
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.ahead { "ahead of" } else { "behind" };
        write!(f, "{} s {direction} the service's", self.by.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_reported_from_four_minutes_in_both_directions() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let shown = |service| skew(service, ours).map(|it| it.to_string());
        assert_eq!(shown(ours + Duration::from_secs(239)), None);
        assert_eq!(shown(ours - Duration::from_secs(239)), None);
        assert_eq!(shown(ours + Duration::from_secs(240)).as_deref(), Some("240 s behind the service's"));
        assert_eq!(shown(ours - Duration::from_secs(7200)).as_deref(), Some("7200 s ahead of the service's"));
    }
}
