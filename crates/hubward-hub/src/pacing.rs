//! Spreads the requests of a fleet of devices over time.

use std::time::Duration;

/// The shortest wait.
const MIN: Duration = Duration::from_secs(1);

/// The longest wait: a day. A longer wait would look like a device that has failed.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Spreads the requests of a fleet: each device waits for a random time before it connects again or registers.
///
/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: T = N / rate, and the longest wait is T / load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    max: Duration,
}

impl Pacing {
    /// Spreads `devices` devices so that together they use the share `load` (above 0, at most 1) of a service's limit
    /// of `rate` requests a second (at least 0.001). Values outside these ranges are brought into range.
    ///
    /// Each device waits for a random time between 1 s and `devices / rate / load` seconds; at most a day.
    #[must_use]
    pub fn for_fleet(devices: u32, rate: f64, load: f64) -> Self {
        let (rate, load) = (in_range(rate, 0.001, 1e9), in_range(load, 0.001, 1.0));
        let seconds = (f64::from(devices) / rate / load).min(MAX.as_secs_f64());
        Self { max: Duration::from_secs_f64(seconds).max(MIN) }
    }

    /// The longest wait.
    #[must_use]
    pub const fn max(self) -> Duration {
        self.max
    }

    /// Returns the wait before the first attempt. `random` is from 0 to 1: with 0 the wait is 1 s, with 1 it is
    /// [`Pacing::max`].
    #[must_use]
    pub fn wait(self, random: f64) -> Duration {
        MIN + self.max.saturating_sub(MIN).mul_f64(in_range(random, 0.0, 1.0))
    }

    /// Returns the wait before each further attempt, after the first one has failed: from [`Pacing::max`] to twice
    /// this time.
    #[must_use]
    pub fn wait_again(self, random: f64) -> Duration {
        self.max + self.max.mul_f64(in_range(random, 0.0, 1.0))
    }
}

/// Limits a value to a range. A value that is not a number becomes the lower limit.
fn in_range(value: f64, low: f64, high: f64) -> f64 {
    if value >= low { value.min(high) } else { low }
}
