//! The wall clock of this crate, read in one place: tokens and HTTP dates need it.

use std::time::SystemTime;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
