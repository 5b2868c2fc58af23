//! The slow schedule of a device that is refused.

use std::time::{Duration, Instant};

use super::DevicePolicy;

/// How often a device has been refused since it was last settled, and when it may register again.
///
/// Source: `[sdk]` Azure IoT SDK (unified), connecting: 5 minutes to 1 hour, ±25 %.
#[derive(Debug, Default)]
pub(super) struct SlowSchedule {
    /// Whether the registration that follows the first refusal by a hub has been made.
    has_registered: bool,
    /// The number of waits so far.
    steps: u32,
    /// The end of the last wait.
    until: Option<Instant>,
}

impl SlowSchedule {
    /// Starts over, because the hub has accepted the device for long enough.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The number of waits so far.
    pub(super) const fn steps(&self) -> u32 {
        self.steps
    }

    /// The end of the last wait.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Returns how long a registration has to wait at least.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |it| it.saturating_duration_since(now))
    }

    /// A service has refused every credential. Returns how long the next registration has to wait: the rest of the
    /// current wait, or the next wait.
    pub(super) fn step(&mut self, now: Instant, policy: &DevicePolicy, random: f64) -> Duration {
        self.has_registered = true;
        let remaining = self.remaining(now);
        if !remaining.is_zero() {
            return remaining;
        }
        let wait = wait(policy, self.steps, random);
        self.steps = self.steps.saturating_add(1);
        self.until = now.checked_add(wait);
        wait
    }

    /// The hub has refused every credential. Returns `None` if this is the first refusal, and the last registration is
    /// long enough ago: then, the device registers at once, because it may have been moved. Otherwise, returns how long
    /// the registration has to wait.
    pub(super) fn on_hub_refused(
        &mut self,
        now: Instant,
        last_registration: Option<Instant>,
        policy: &DevicePolicy,
        random: f64,
    ) -> Option<Duration> {
        let age = last_registration.map(|it| now.saturating_duration_since(it));
        let first = wait(policy, 0, random);
        if self.has_registered || self.steps > 0 {
            return Some(self.step(now, policy, random));
        }
        self.has_registered = true;
        match age {
            Some(age) if age < first => {
                self.steps = 1;
                self.until = now.checked_add(first - age);
                Some(first - age)
            }
            _ => None,
        }
    }
}

/// Returns the wait after `steps` waits. `random` is from 0 to 1.
fn wait(policy: &DevicePolicy, steps: u32, random: f64) -> Duration {
    let base = bound(policy.refused_wait, steps);
    let wait = base.mul_f64(1.0 + policy.refused_jitter * (2.0 * random - 1.0));
    // Devices of a fleet stay spread only if no device tries again before its turn.
    policy.pacing.map_or(wait, |it| wait.max(it.max()))
}

/// Returns `first`, doubled `doublings` times, at most `cap`.
pub(super) fn bound(backoff: hubward_hub::Backoff, doublings: u32) -> Duration {
    backoff.first.saturating_mul(2_u32.saturating_pow(doublings)).min(backoff.cap).min(super::WAIT_MAX)
}
