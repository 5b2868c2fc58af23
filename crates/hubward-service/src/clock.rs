//! Reads the wall clock. Tokens and HTTP dates need the time. No other module of this crate reads the wall clock.

use std::time::SystemTime;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
