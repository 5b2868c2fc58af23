//! The wall clock, read in one place. Tokens and HTTP dates need it; everything that measures a
//! span uses tokio's clock, which tests can pause.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The time of day.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// How far this machine's clock is from a service's. [`fmt::Display`] gives words that read after "the
/// clock is …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skew {
    /// How far.
    pub by: Duration,
    /// Whether it is ahead of the service's, or else behind it.
    pub ahead: bool,
}

/// The difference between the service's clock and ours, if it is so large that the service may refuse
/// our tokens: more than four of the five minutes that it grants.
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
    fn a_difference_counts_from_four_minutes_in_both_directions() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let said = |service| skew(service, ours).map(|it| it.to_string());
        assert_eq!(said(ours + Duration::from_secs(239)), None);
        assert_eq!(said(ours - Duration::from_secs(239)), None);
        assert_eq!(said(ours + Duration::from_secs(240)).as_deref(), Some("240 s behind the service's"));
        assert_eq!(said(ours - Duration::from_secs(7200)).as_deref(), Some("7200 s ahead of the service's"));
    }
}
