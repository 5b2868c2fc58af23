//! How long to wait before the next attempt.

use std::time::Duration;

use fastrand::Rng;
use hubward_transport::{Fault, TransportError};

use crate::{Backoff, DisconnectCause, HubOptions};

/// The longest Retry-After that the client accepts.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Counts the failures since the last reset: transient failures and refusals separately. A transient failure, such as a
/// lost network, passes by itself. A refusal stays until an operator acts.
#[derive(Debug, Default)]
pub(crate) struct FailureCounts {
    transient: u32,
    refusals: u32,
}

impl FailureCounts {
    /// Resets the counts, after the hub has accepted the client for long enough.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of failures in a row, of both kinds.
    pub(crate) fn attempt(&self) -> u32 {
        self.transient.saturating_add(self.refusals)
    }

    /// Counts a failure and returns how long to wait.
    pub(crate) fn failed(&mut self, cause: &DisconnectCause, options: &HubOptions, rng: &mut Rng) -> Duration {
        let error = cause.transport_error();
        let wait = if error.is_some_and(is_refusal) {
            self.refusals = self.refusals.saturating_add(1);
            let half = bound(options.refused_backoff, self.refusals) / 2;
            half + half.mul_f64(rng.f64())
        } else {
            self.transient = self.transient.saturating_add(1);
            let wait = bound(options.backoff, self.transient).mul_f64(rng.f64());
            let random = rng.f64();
            options
                .pacing
                .map_or(wait, |it| wait.max(if self.transient == 1 { it.wait(random) } else { it.wait_again(random) }))
        };
        match error.and_then(TransportError::retry_after) {
            // `requested` is the Retry-After of the service. The client waits at least this long, but a value of more
            // than an hour counts as an hour. The client adds a random time, so that devices with the same Retry-After
            // do not all connect at once.
            Some(requested) => wait.max(requested.min(RETRY_AFTER_MAX) + options.backoff.first.mul_f64(rng.f64())),
            None => wait,
        }
    }
}

/// Returns `true` if every retry fails until an operator acts.
fn is_refusal(error: &TransportError) -> bool {
    !error.is_retryable() && error.fault() != Fault::Peer
}

/// Returns the longest wait after this many failures. After one failure, the wait is `first`. Each further failure
/// doubles it, up to `cap`.
fn bound(backoff: Backoff, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    backoff.first.saturating_mul(doubled).min(backoff.cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::{Refusal, RefusedBy, Stage};
    use std::sync::Arc;

    fn seconds(from: u64) -> Duration {
        Duration::from_secs(from)
    }

    fn refused(by: RefusedBy, retry_after: Option<Duration>) -> DisconnectCause {
        let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Login, by);
        refusal.retry_after = retry_after;
        DisconnectCause::Transport(Arc::new(TransportError::Refused(Box::new(refusal))))
    }

    fn cut() -> DisconnectCause {
        let endpoint = "hub.example:8883".into();
        DisconnectCause::Transport(Arc::new(TransportError::Closed { endpoint, stage: Stage::Exchange, source: None }))
    }

    /// For each number of failures, returns the shortest and the longest wait.
    fn spread(cause: &DisconnectCause, failures: usize) -> Vec<(Duration, Duration)> {
        let options = HubOptions::default();
        let mut rng = Rng::with_seed(7);
        let mut spread = vec![(Duration::MAX, Duration::ZERO); failures];
        for _ in 0..2000 {
            let mut failures = FailureCounts::default();
            for (least, most) in &mut spread {
                let wait = failures.failed(cause, &options, &mut rng);
                (*least, *most) = ((*least).min(wait), (*most).max(wait));
            }
        }
        spread
    }

    #[test]
    fn waits_for_the_network_are_fully_random_below_a_doubling_bound() {
        for (at, (least, most)) in spread(&cut(), 9).into_iter().enumerate() {
            let bound = seconds((1 << at).min(60));
            assert!(most <= bound && most > bound.mul_f64(0.95), "{at}: {most:?}");
            assert!(least < bound.mul_f64(0.05), "{at}: {least:?}");
        }
    }

    #[test]
    fn waits_after_a_refusal_are_longer_and_never_short() {
        for (at, (least, most)) in spread(&refused(RefusedBy::Connack(5), None), 8).into_iter().enumerate() {
            let bound = seconds((30 << at).min(15 * 60));
            assert!(most <= bound && least >= bound / 2, "{at}: {least:?} to {most:?}");
        }
    }

    #[test]
    fn a_wait_is_never_shorter_than_retry_after() {
        let requested = seconds(40);
        let (least, most) = spread(&refused(RefusedBy::UpgradeStatus(429), Some(requested)), 1)[0];
        assert!(least >= requested && most <= requested + seconds(1), "{least:?} to {most:?}");
        let (_, most) = spread(&refused(RefusedBy::UpgradeStatus(503), Some(seconds(1 << 40))), 1)[0];
        assert!(most <= RETRY_AFTER_MAX + seconds(1));
    }

    #[test]
    fn each_kind_of_failure_has_its_own_count() {
        let (mut failures, options, mut rng) = (FailureCounts::default(), HubOptions::default(), Rng::with_seed(1));
        for _ in 0..40 {
            failures.failed(&cut(), &options, &mut rng);
        }
        let wait = failures.failed(&refused(RefusedBy::Connack(5), None), &options, &mut rng);
        assert!(wait <= seconds(30), "{wait:?}");
        assert_eq!(failures.attempt(), 41);
        failures.reset();
        assert_eq!(failures.attempt(), 0);
    }
}
