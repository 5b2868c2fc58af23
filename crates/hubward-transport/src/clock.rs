//! The wall clock, read in one place. Tokens and HTTP dates need it; everything that measures a
//! span uses tokio's clock, which tests can pause.

use std::time::SystemTime;

/// The time of day.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
