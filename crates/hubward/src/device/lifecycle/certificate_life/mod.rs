//! Decides when a device renews its issued certificate. Pure: both clocks and the random numbers are arguments.
//!
//! The dates of a certificate are those of the wall clock, which can be wrong and can jump. The waits after a failure
//! are those of the monotonic clock.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime};

use hubward_hub::Backoff;

use super::WAIT_MAX;
use super::slow::bound;

/// The longest time between two looks at the wall clock.
const CHECK_EVERY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A service makes a certificate valid some time before it issues it. If the difference is at most this share of the
/// certificate's life, the clock of the device counts as right.
const CLOCK_TOLERANCE: f64 = 0.1;

/// The latest renewal, as a share of the life of a certificate. The rest is for further attempts.
const LATEST: f64 = 0.95;

/// When a certificate is renewed, and how often a renewal is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RenewalPolicy {
    /// The share of the certificate's life after which it is renewed.
    pub(crate) renew_at: f64,
    /// A renewal is earlier or later by at most this share of the certificate's life.
    pub(crate) jitter: f64,
    /// The waits after failed renewals.
    pub(crate) retry_wait: Backoff,
    /// How often the wall clock is read at least, because it can jump.
    pub(crate) check_every: Duration,
}

/// The dates of a certificate, and the clock of the device at the time when the device stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) issued_at: SystemTime,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing. Ask again after this time, or earlier.
    Wait(Duration),
    /// Request another certificate from the hub.
    Renew,
    /// The certificate has expired: register with DPS, which issues another one.
    Replace,
}

/// The life of one issued certificate after another.
#[derive(Debug)]
pub(crate) struct CertificateLife {
    policy: RenewalPolicy,
    validity: Validity,
    /// The share of the certificate's life after which it is renewed: the share of the policy with its jitter.
    share: f64,
    /// Whether a request is running.
    is_requested: bool,
    /// Whether the certificate is a renewed one that the hub has not accepted yet.
    is_on_trial: bool,
    /// The failed requests to the hub.
    at_hub: Failures,
    /// The failed registrations after the certificate had expired.
    at_dps: Failures,
}

/// Failures in a row at one service, and the end of the wait after the last one.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    retry_at: Option<Instant>,
}

impl CertificateLife {
    /// Starts with this certificate. `is_on_trial` says whether the hub still has to accept it. `random` is from 0 to
    /// 1, here and in the other methods.
    pub(crate) fn new(policy: RenewalPolicy, validity: Validity, is_on_trial: bool, random: f64) -> Self {
        let policy = policy.in_range();
        let share = policy.share(random);
        let (at_hub, at_dps) = (Failures::default(), Failures::default());
        Self { policy, validity, share, is_requested: false, is_on_trial, at_hub, at_dps }
    }

    /// Returns what is due.
    ///
    /// Source: `[doc]` iot/concept-certificate-issuance.md: a device renews its certificate at about 80 % of the
    /// validity. A device whose certificate has expired registers again.
    pub(crate) fn due(&self, now: Instant, wall: SystemTime) -> Due {
        let window = self.validity.window(wall);
        let (until_end, until_renewal) = (until(window.end, wall), until(window.at(self.share), wall));
        // The certificate may expire during a wait.
        let (what, wait) = if until_end.is_zero() {
            (Due::Replace, self.at_dps.remaining(now))
        } else if self.is_on_trial {
            (Due::Replace, until_end)
        } else {
            (Due::Renew, until_renewal.max(self.at_hub.remaining(now)).min(until_end))
        };
        if self.is_requested {
            return Due::Wait(self.policy.check_every);
        }
        if wait.is_zero() { what } else { Due::Wait(wait.min(self.policy.check_every)) }
    }

    /// Whether the certificate has expired.
    pub(crate) fn is_expired(&self, wall: SystemTime) -> bool {
        self.validity.is_expired(wall)
    }

    /// How long it takes until the certificate is renewed.
    pub(crate) fn renews_in(&self, wall: SystemTime) -> Duration {
        until(self.validity.window(wall).at(self.share), wall)
    }

    /// The device requests another certificate, from the hub or from DPS. Until the outcome, nothing is due.
    pub(crate) const fn on_requested(&mut self) {
        self.is_requested = true;
    }

    /// The request was dropped before it had an outcome.
    pub(crate) const fn on_dropped(&mut self) {
        self.is_requested = false;
    }

    /// The request to the hub has failed. `asked` is the wait that the hub asks for. Returns the wait before the next
    /// request.
    pub(crate) fn on_failed(&mut self, now: Instant, asked: Duration, random: f64) -> Duration {
        self.is_requested = false;
        self.at_hub.add(now, self.policy.retry_wait, asked, random)
    }

    /// The registration has failed.
    pub(crate) fn on_registration_failed(&mut self, now: Instant, random: f64) {
        self.is_requested = false;
        self.at_dps.add(now, self.policy.retry_wait, Duration::ZERO, random);
    }

    /// A service has issued another certificate, and the device has stored it. The device now tries it at the hub.
    pub(crate) fn on_issued(&mut self, validity: Validity, is_on_trial: bool, random: f64) {
        self.is_requested = false;
        self.is_on_trial = is_on_trial;
        self.replace(validity, random);
    }

    /// The hub has accepted the certificate.
    pub(crate) fn on_accepted(&mut self) {
        self.is_on_trial = false;
        self.at_hub = Failures::default();
        self.at_dps = Failures::default();
    }

    /// The hub has not accepted the renewed certificate. The device returns to the certificate before it. Returns the
    /// wait before the next request.
    pub(crate) fn on_rolled_back(&mut self, before: Validity, now: Instant, random: f64) -> Duration {
        self.is_on_trial = false;
        self.replace(before, random);
        self.on_failed(now, Duration::ZERO, random)
    }

    fn replace(&mut self, validity: Validity, random: f64) {
        self.validity = validity;
        self.share = self.policy.share(random);
    }
}

impl Failures {
    /// Adds a failure. Returns the wait before the next request.
    fn add(&mut self, now: Instant, waits: Backoff, asked: Duration, random: f64) -> Duration {
        let half = bound(waits, self.count) / 2;
        let backoff = half + half.mul_f64(random);
        // Devices that got the same wait do not all try again at the same moment.
        let asked = if asked.is_zero() { asked } else { asked.saturating_add(waits.first.mul_f64(random)) };
        let wait = backoff.max(asked.min(WAIT_MAX));
        self.count = self.count.saturating_add(1);
        self.retry_at = now.checked_add(wait);
        wait
    }

    fn remaining(&self, now: Instant) -> Duration {
        self.retry_at.map_or(Duration::ZERO, |it| it.saturating_duration_since(now))
    }
}

impl Validity {
    /// Whether the certificate has expired.
    pub(crate) fn is_expired(&self, wall: SystemTime) -> bool {
        until(self.window(wall).end, wall).is_zero()
    }

    /// The time in which the certificate is valid, by the clock of the device.
    ///
    /// If the clock of the device was wrong when the certificate was issued, the window begins at this time of the
    /// clock, until the clock has been corrected. Without this rule, a device whose clock is a year ahead would
    /// request one certificate after another.
    fn window(&self, wall: SystemTime) -> Window {
        let real = Window { start: self.not_before, end: self.not_after };
        let life = real.life();
        let late = self.issued_at.duration_since(self.not_before);
        let is_right = late.is_ok_and(|it| it <= life.mul_f64(CLOCK_TOLERANCE));
        let Some(end) = self.issued_at.checked_add(life).filter(|_| !is_right) else { return real };
        let moved = Window { start: self.issued_at, end };
        if real.contains(wall) && !moved.contains(wall) { real } else { moved }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: SystemTime,
    end: SystemTime,
}

impl Window {
    fn life(self) -> Duration {
        self.end.duration_since(self.start).unwrap_or_default()
    }

    fn contains(self, moment: SystemTime) -> bool {
        self.start <= moment && moment < self.end
    }

    /// The moment after this share of the window.
    fn at(self, share: f64) -> SystemTime {
        self.start + self.life().mul_f64(share)
    }
}

impl RenewalPolicy {
    /// Returns the policy with every number brought into its range. A value that is not a number becomes 0.
    fn in_range(mut self) -> Self {
        let within = |it: f64, most: f64| if it > 0.0 { it.min(most) } else { 0.0 };
        self.renew_at = within(self.renew_at, LATEST);
        self.jitter = within(self.jitter, LATEST - self.renew_at).min(self.renew_at);
        // With a wait of zero, the device would request certificates without end.
        self.retry_wait.first = self.retry_wait.first.clamp(Duration::from_secs(1), WAIT_MAX);
        self.retry_wait.cap = self.retry_wait.cap.clamp(self.retry_wait.first, WAIT_MAX);
        self.check_every = self.check_every.clamp(Duration::from_millis(1), CHECK_EVERY_MAX);
        self
    }

    fn share(self, random: f64) -> f64 {
        self.renew_at + self.jitter * (2.0 * random - 1.0)
    }
}

/// Returns the time from `wall` to `moment`; zero if it has passed.
fn until(moment: SystemTime, wall: SystemTime) -> Duration {
    moment.duration_since(wall).unwrap_or_default()
}
