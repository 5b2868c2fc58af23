//! Limits how often the program logs the same warning, when a peer can cause the warning again and again.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Limits how many warnings of one kind are logged: logs the first warnings, and only counts the others. So a peer
/// cannot fill a disk by causing the same warning repeatedly.
///
/// In each [`PERIOD`](WarningLimit::PERIOD), at most [`LOGGED_MAX`](WarningLimit::LOGGED_MAX) warnings are logged. The
/// first warning after the period also logs the number of suppressed warnings. To log the number earlier, call
/// [`WarningLimit::finish`] or drop the limit.
///
/// ```
/// # use hubward_transport::WarningLimit;
/// let refused = WarningLimit::new("a call of a method is refused");
/// let mut logged = 0;
/// for _ in 0..1000 {
///     refused.log(|| logged += 1);
/// }
/// assert_eq!(logged, WarningLimit::LOGGED_MAX);
/// ```
pub struct WarningLimit {
    kind: &'static str,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// Start of the current period; `None` before the first warning.
    began: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

impl WarningLimit {
    /// Maximum number of warnings that are logged per period.
    pub const LOGGED_MAX: u32 = 5;

    /// Length of a period.
    pub const PERIOD: Duration = Duration::from_secs(60);

    /// Creates a limit for one kind of warning. `kind` names the warning in the log line that gives the number of
    /// suppressed warnings.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        Self { kind, count: Mutex::new(Count { began: None, logged: 0, suppressed: 0 }) }
    }

    /// Calls `log` unless this period already has [`WarningLimit::LOGGED_MAX`] warnings.
    pub fn log(&self, log: impl FnOnce()) {
        let (suppressed, admitted) = self.lock().admit(Instant::now());
        self.log_suppressed(suppressed);
        if admitted {
            log();
        }
    }

    /// Logs how many warnings were suppressed since this number was last logged. If none were suppressed, logs nothing.
    /// The next warning starts a new period.
    pub fn finish(&self) {
        let count = std::mem::take(&mut *self.lock());
        self.log_suppressed(count.suppressed);
    }

    fn log_suppressed(&self, suppressed: u64) {
        if suppressed > 0 {
            tracing::warn!("suppressed {} more of this kind: {}", grouped(suppressed), self.kind);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Decides whether to log a warning that occurs at `now`. Returns the number of suppressed warnings, which the
    /// caller must report first, and `true` if the caller must then log the new warning.
    fn admit(&mut self, now: Instant) -> (u64, bool) {
        let mut before = 0;
        if self.began.is_none_or(|it| now.saturating_duration_since(it) >= WarningLimit::PERIOD) {
            before = std::mem::take(self).suppressed;
            self.began = Some(now);
        }
        if self.logged < WarningLimit::LOGGED_MAX {
            self.logged += 1;
            return (before, true);
        }
        self.suppressed += 1;
        (before, false)
    }
}

impl Drop for WarningLimit {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for WarningLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarningLimit").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Formats a number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_warnings_of_a_period_are_logged_and_the_others_are_counted() {
        let (mut count, start) = (Count::default(), Instant::now());
        let mut at = |seconds| count.admit(start + Duration::from_secs(seconds));
        for _ in 0..WarningLimit::LOGGED_MAX {
            assert_eq!(at(0), (0, true));
        }
        for _ in 0..1000 {
            assert_eq!(at(59), (0, false));
        }
        assert_eq!(at(60), (1000, true), "the first warning of the next period reports the count");
        for _ in 1..WarningLimit::LOGGED_MAX {
            assert_eq!(at(61), (0, true));
        }
        assert_eq!(at(119), (0, false));
        assert_eq!(at(600), (1, true));
        assert_eq!(at(1200), (0, true), "only suppressed warnings are counted");
    }

    #[test]
    fn the_last_count_is_logged_once() {
        let limit = WarningLimit::new("a test");
        let mut logged = 0;
        for _ in 0..100 {
            limit.log(|| logged += 1);
        }
        assert_eq!(logged, WarningLimit::LOGGED_MAX);
        assert_eq!(limit.lock().suppressed, 95);
        limit.finish();
        assert_eq!(limit.lock().suppressed, 0);
        limit.log(|| logged += 1);
        assert_eq!(logged, WarningLimit::LOGGED_MAX + 1, "a new period");
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }
}
