//! The current step of a dial. If a caller gives up at its own deadline, it can report which step did not finish.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const STEPS: [DialStep; 4] = [DialStep::Connect, DialStep::Tls, DialStep::Upgrade, DialStep::Done];

/// The current step of a dialer's latest dial. All clones show the same step.
#[derive(Debug, Clone, Default)]
pub struct DialProgress(Arc<AtomicU8>);

/// The steps of a dial, in order. [`fmt::Display`] describes the step for an error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialStep {
    /// Name resolution and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// The connection is open.
    Done,
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the WebSocket upgrade",
            Self::Done => "the open connection",
        })
    }
}

impl DialProgress {
    /// The current step.
    #[must_use]
    pub fn step(&self) -> DialStep {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        STEPS.get(number).copied().unwrap_or(DialStep::Done)
    }

    /// Records that a step begins. Called by dialers.
    pub fn enter(&self, step: DialStep) {
        self.0.store(step as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_current_step() {
        let progress = DialProgress::default();
        let watched = progress.clone();
        for step in STEPS {
            progress.enter(step);
            assert_eq!(watched.step(), step);
        }
    }
}
