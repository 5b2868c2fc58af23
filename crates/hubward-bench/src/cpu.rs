//! The processor time that this process has used: the sum of user time and system time.

use std::time::Duration;

/// Returns `None` if the system does not report the time.
#[cfg(unix)]
pub(crate) fn used() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Returns `None` if the system does not report the time.
#[cfg(not(unix))]
pub(crate) fn used() -> Option<Duration> {
    None
}
