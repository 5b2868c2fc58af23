//! How far a dial has come: what to say of one that was given up from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The step that the latest dial of a dialer is at. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DialProgress(Arc<AtomicU8>);

/// The steps of a dial, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialStep {
    /// Name resolution and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// Nothing is left to do.
    Done,
}

impl DialProgress {
    /// The step.
    #[must_use]
    pub fn step(&self) -> DialStep {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        STEPS.get(number).copied().unwrap_or(DialStep::Done)
    }

    /// For dialers: a step begins.
    pub fn enter(&self, step: DialStep) {
        self.0.store(step as u8, Ordering::Relaxed);
    }
}

const STEPS: [DialStep; 4] = [DialStep::Connect, DialStep::Tls, DialStep::Upgrade, DialStep::Done];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_the_step_that_was_entered() {
        let progress = DialProgress::default();
        let watched = progress.clone();
        for step in STEPS {
            progress.enter(step);
            assert_eq!(watched.step(), step);
        }
    }
}
