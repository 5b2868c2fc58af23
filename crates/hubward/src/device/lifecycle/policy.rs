//! The numbers of a device's life.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hubward_hub::{Backoff, Pacing};
use hubward_proto::limits;

/// When a device stays with its hub, registers again, and waits. The defaults follow Microsoft's advice.
///
/// ```
/// use std::time::Duration;
/// use hubward::DevicePolicy;
///
/// let policy = DevicePolicy::default().hub_failures(5).hub_failing_for(Duration::from_secs(5 * 60));
/// assert_eq!(policy.trial_failures, 3);
/// ```
///
/// Source: `[doc]` iot/concepts-manage-device-reconnections.md and iot-dps/concepts-deploy-at-scale.md.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct DevicePolicy {
    /// Number of failures in a row at the hub, after which the device registers again, if the failures have also lasted
    /// for [`hub_failing_for`](Self::hub_failing_for). At least 1. Default 10.
    ///
    /// Refusals do not count, because a refused device registers sooner.
    pub hub_failures: u32,
    /// Minimum time of failures at the hub before the device registers again. Default 15 minutes.
    pub hub_failing_for: Duration,
    /// The slow schedule of a device that the hub and DPS refuse: the wait before each further registration. Default 5
    /// minutes, doubling to 1 hour.
    ///
    /// After the first refusal by the hub, the device registers at once, because it may have been moved. The slow
    /// schedule begins with the second refusal.
    ///
    /// With the defaults, a device that is deleted everywhere registers about 27 times a day, and at most 35 times, for
    /// each of its credentials.
    pub refused_wait: Backoff,
    /// Random part of each wait of the slow schedule, as a share of the wait: with 0.25, the wait is between 75 % and
    /// 125 %. From 0 to 1. Default 0.25.
    pub refused_jitter: f64,
    /// After the hub has accepted the device for this time, the slow schedule starts over. Default 10 minutes.
    pub settled_after: Duration,
    /// Maximum time of one registration, with its polls. Default 10 minutes.
    pub registration_timeout: Duration,
    /// Wait after a failed registration. A random wait between half of a bound and the bound, which doubles with each
    /// failed registration. Default 2 s to 10 minutes.
    ///
    /// A Retry-After of DPS and [`server_error_wait`](Self::server_error_wait) can make a wait longer.
    pub registration_wait: Backoff,
    /// Minimum wait after DPS has failed with a status of 5xx, or has throttled the device without a Retry-After.
    /// Default 5 s.
    pub server_error_wait: Duration,
    /// Number of failures at the hub after which the device drops credentials that are on trial, and uses the
    /// credentials before them. At least 1. Default 3.
    ///
    /// A device that has a hub also drops them after one failed registration. For a device without a hub, failed
    /// registrations count as failures.
    pub trial_failures: u32,
    /// Spreads the first connections and the registrations of a fleet whose devices start or fail at the same time.
    /// Default `None`. [`HubOptions::pacing`](crate::HubOptions::pacing) spreads the reconnects. [`Pacing`] says what
    /// random waits can promise.
    ///
    /// Each service has its own limit: use the smaller one of the rates of DPS and the hub.
    pub pacing: Option<Pacing>,
    /// Limits the reconnects of all devices of this process to less than 100 in any second for each hub. A hub of the
    /// smallest size accepts no more. Default `true`.
    pub limits_reconnects: bool,
}

impl DevicePolicy {
    /// Sets [`DevicePolicy::hub_failures`].
    pub const fn hub_failures(mut self, failures: u32) -> Self {
        self.hub_failures = failures;
        self
    }

    /// Sets [`DevicePolicy::hub_failing_for`].
    pub const fn hub_failing_for(mut self, time: Duration) -> Self {
        self.hub_failing_for = time;
        self
    }

    /// Sets [`DevicePolicy::refused_wait`].
    pub const fn refused_wait(mut self, wait: Backoff) -> Self {
        self.refused_wait = wait;
        self
    }

    /// Sets [`DevicePolicy::refused_jitter`].
    pub const fn refused_jitter(mut self, jitter: f64) -> Self {
        self.refused_jitter = jitter;
        self
    }

    /// Sets [`DevicePolicy::settled_after`].
    pub const fn settled_after(mut self, time: Duration) -> Self {
        self.settled_after = time;
        self
    }

    /// Sets [`DevicePolicy::registration_timeout`].
    pub const fn registration_timeout(mut self, timeout: Duration) -> Self {
        self.registration_timeout = timeout;
        self
    }

    /// Sets [`DevicePolicy::registration_wait`].
    pub const fn registration_wait(mut self, wait: Backoff) -> Self {
        self.registration_wait = wait;
        self
    }

    /// Sets [`DevicePolicy::server_error_wait`].
    pub const fn server_error_wait(mut self, wait: Duration) -> Self {
        self.server_error_wait = wait;
        self
    }

    /// Sets [`DevicePolicy::trial_failures`].
    pub const fn trial_failures(mut self, failures: u32) -> Self {
        self.trial_failures = failures;
        self
    }

    /// Sets [`DevicePolicy::pacing`].
    pub const fn pacing(mut self, pacing: Option<Pacing>) -> Self {
        self.pacing = pacing;
        self
    }

    /// Sets [`DevicePolicy::limits_reconnects`].
    pub const fn limits_reconnects(mut self, limits_reconnects: bool) -> Self {
        self.limits_reconnects = limits_reconnects;
        self
    }

    /// Brings every number into its range. Devices with the default policy share one value, because a program can have
    /// thousands of devices.
    pub(super) fn shared(self) -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<DevicePolicy>> = LazyLock::new(|| Arc::new(DevicePolicy::default().in_range()));
        let policy = self.in_range();
        if policy == **DEFAULT { Arc::clone(&DEFAULT) } else { Arc::new(policy) }
    }

    /// Returns the policy with every number brought into its range.
    pub(super) fn in_range(mut self) -> Self {
        self.hub_failures = self.hub_failures.max(1);
        self.trial_failures = self.trial_failures.max(1);
        // A value that is not a number becomes 0.
        self.refused_jitter = if self.refused_jitter > 0.0 { self.refused_jitter.min(1.0) } else { 0.0 };
        for wait in [&mut self.refused_wait, &mut self.registration_wait] {
            // With a wait of zero, the device would register without end.
            wait.first = wait.first.clamp(Duration::from_secs(1), super::WAIT_MAX);
            wait.cap = wait.cap.clamp(wait.first, super::WAIT_MAX);
        }
        for time in [
            &mut self.hub_failing_for,
            &mut self.settled_after,
            &mut self.registration_timeout,
            &mut self.server_error_wait,
        ] {
            *time = (*time).min(super::WAIT_MAX);
        }
        self
    }
}

impl Default for DevicePolicy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            hub_failures: 10,
            hub_failing_for: MINUTE.saturating_mul(15),
            refused_wait: Backoff::new(MINUTE.saturating_mul(5), MINUTE.saturating_mul(60)),
            refused_jitter: 0.25,
            settled_after: MINUTE.saturating_mul(10),
            registration_timeout: MINUTE.saturating_mul(10),
            registration_wait: Backoff::new(Duration::from_secs(2), MINUTE.saturating_mul(10)),
            server_error_wait: limits::SERVER_ERROR_WAIT,
            trial_failures: 3,
            pacing: None,
            limits_reconnects: true,
        }
    }
}
