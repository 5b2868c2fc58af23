//! Which processor client and sink run on. Where they land decides more than what they do: two on
//! one core hand over in big batches, two on two cores pay for waking each other.

/// How client and sink share the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cores {
    /// A core each, as a device and its hub have
    Apart,
    /// Both on one core: the sum of their work
    Together,
    /// Wherever the system puts them
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

    /// The cores of client and sink, as far as this process may choose among `allowed`.
    fn choose(self, allowed: &[usize]) -> Option<(usize, usize)> {
        match (self, allowed) {
            (Self::Apart, [first, .., last]) => Some((*first, *last)),
            (Self::Together, [first, ..]) => Some((*first, *first)),
            _ => None,
        }
    }
}

/// Puts this process on its core and says which one the sink should take; `None` if both are free to
/// move, because they are to be, or because the system offers no choice.
#[cfg(target_os = "linux")]
pub(crate) fn settle(cores: Cores) -> Option<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let allowed: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|it| allowed.is_set(*it)).collect();
    let (client, sink) = cores.choose(&allowed)?;
    stay_on(client).then_some(sink)
}

/// Puts this process on a core; whether that worked.
#[cfg(target_os = "linux")]
pub(crate) fn stay_on(core: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    if core < rustix::thread::CpuSet::MAX_CPU {
        set.set(core);
    }
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn settle(_: Cores) -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stay_on(_: usize) -> bool {
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
