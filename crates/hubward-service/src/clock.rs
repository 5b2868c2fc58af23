//! Reads the wall clock, which tokens and HTTP dates need. No other module of this crate reads it.

use std::time::SystemTime;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
