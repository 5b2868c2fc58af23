//! Chooses the processor cores of client and sink. This choice affects the result more than the code of the client
//! does.
//!
//! If client and sink share one core, one of them runs while the other waits. Data collects during the wait, so they
//! exchange big batches. If they use two cores, they spend time on waking each other.

/// How client and sink share the processor cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cores {
    /// A separate core for each, like a device and its hub
    Apart,
    /// Both on one core, to measure the sum of their work
    Together,
    /// Any core that the system chooses
    Any,
}

impl Cores {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Together => "together",
            Self::Any => "any",
        }
    }

    /// Returns the core of the client, then the core of the sink. `allowed` contains the cores that this process may
    /// use.
    ///
    /// Returns `None` if the operating system chooses the cores, or if `allowed` contains too few cores.
    fn choose(self, allowed: &[usize]) -> Option<(usize, usize)> {
        match (self, allowed) {
            (Self::Apart, [first, .., last]) => Some((*first, *last)),
            (Self::Together, [first, ..]) => Some((*first, *first)),
            _ => None,
        }
    }
}

/// Pins this process, the client, to a core, and returns the core on which the sink must run.
///
/// Returns `None` if the process is not pinned: the user chose [`Cores::Any`], too few cores are allowed, or the
/// operating system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn pin_client(cores: Cores) -> Option<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let allowed: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|it| allowed.is_set(*it)).collect();
    let (client, sink) = cores.choose(&allowed)?;
    pin_to(client).then_some(sink)
}

/// Pins this process to a core, and returns whether that succeeded.
#[cfg(target_os = "linux")]
pub(crate) fn pin_to(core: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    if core < rustix::thread::CpuSet::MAX_CPU {
        set.set(core);
    }
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_client(_: Cores) -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to(_: usize) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apart_needs_two_cores() {
        for (cores, allowed, expected) in [
            (Cores::Apart, &[0, 1][..], Some((0, 1))),
            (Cores::Apart, &[2, 3, 7], Some((2, 7))),
            (Cores::Apart, &[2], None),
            (Cores::Together, &[2, 3], Some((2, 2))),
            (Cores::Any, &[0, 1], None),
        ] {
            assert_eq!(cores.choose(allowed), expected, "{cores:?} of {allowed:?}");
        }
    }
}
