//! How much processor time this process has used, user and system together.

use std::time::Duration;

/// `None` where the system does not say.
#[cfg(unix)]
pub(crate) fn used() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?;
    Some(Duration::from_nanos(nanos))
}

/// `None` where the system does not say.
#[cfg(not(unix))]
pub(crate) fn used() -> Option<Duration> {
    None
}
