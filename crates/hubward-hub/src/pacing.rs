//! Spreads the requests of a fleet of devices over time.

use std::time::Duration;

/// The shortest wait.
const MIN: Duration = Duration::from_secs(1);

/// The longest wait: a day. A longer wait would look like a device that has failed.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Spreads the requests of a fleet: each device waits for a random time before it connects again or registers.
///
/// T = devices / rate is the time that the fleet needs at the full rate. The first wait is random, from 1 s to
/// T / load. If an attempt fails, each further wait is random, from T / load to twice this time. With these waits, the
/// devices make on average at most `rate` × `load` attempts in each second, even if all of them are cut off at one
/// instant and no attempt ever succeeds.
///
/// The number of attempts in one second is random, so it can exceed the average. The share `load` leaves room for this.
/// With at most this load, the fleet exceeds the rate in fewer than one of a million seconds:
///
/// | rate (in a second) | 10 | 20 | 40 | 60 | 100 | 200 | 500 |
/// |---|---|---|---|---|---|---|---|
/// | load | 0.15 | 0.29 | 0.43 | 0.51 | 0.60 | 0.70 | 0.80 |
///
/// Some limits are for a minute, such as 200 registrations a minute. With a rate of 200 / 60, the fleet keeps to this
/// limit in a minute, but not in each second.
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

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const DEVICES: u32 = 10_000;

    /// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md, "Reprovisioning devices".
    #[test]
    fn the_longest_wait_is_the_number_of_devices_by_the_rate_and_the_load() {
        for (devices, rate, load, max) in [
            (10_000, 100.0, 0.5, 200.0),
            (10_000, 100.0, 1.0, 100.0),
            (1_000, 200.0 / 60.0, 0.75, 400.0),
            (1, 100.0, 0.5, 1.0),
            (0, 100.0, 0.5, 1.0),
            (u32::MAX, 0.001, 0.001, 86_400.0),
            (100, 0.0, 1.0, 86_400.0),
            (100, f64::NAN, 0.5, 86_400.0),
            (100, 10.0, f64::NAN, 10_000.0),
            (100, 10.0, -1.0, 10_000.0),
            (100, 10.0, 7.0, 10.0),
            (100, f64::INFINITY, 0.5, 1.0),
        ] {
            let pacing = Pacing::for_fleet(devices, rate, load);
            let difference = pacing.max().as_secs_f64() - max;
            assert!(difference.abs() < 0.001, "{devices} {rate} {load}: {:?}", pacing.max());
        }
    }

    #[test]
    fn the_first_wait_is_at_least_a_second_and_each_further_wait_at_least_the_longest_first_one() {
        let pacing = Pacing::for_fleet(DEVICES, 100.0, 0.5);
        for (random, first, further) in
            [(0.0, 1.0, 200.0), (0.5, 100.5, 300.0), (1.0, 200.0, 400.0), (9.0, 200.0, 400.0), (f64::NAN, 1.0, 200.0)]
        {
            let waits = (pacing.wait(random).as_secs_f64(), pacing.wait_again(random).as_secs_f64());
            assert_eq!(waits, (first, further), "{random}");
        }
    }

    /// Cuts off all devices at one instant, and lets the first attempts fail. Returns the largest number of attempts in
    /// any second.
    fn most_in_a_second(pacing: Pacing, rounds: u32, seed: u64) -> usize {
        let mut rng = Rng::with_seed(seed);
        let mut attempts = Vec::new();
        for _ in 0..DEVICES {
            let mut at = pacing.wait(rng.f64());
            for _ in 0..rounds {
                attempts.push(at);
                at += pacing.wait_again(rng.f64());
            }
        }
        attempts.sort_unstable();
        let one = Duration::from_secs(1);
        (0..attempts.len()).map(|it| attempts.partition_point(|at| *at < attempts[it] + one) - it).max().unwrap_or(0)
    }

    #[test]
    fn ten_thousand_devices_that_are_cut_off_at_one_instant_stay_below_the_rate_in_every_second() {
        for seed in 0..3 {
            let most = most_in_a_second(Pacing::for_fleet(DEVICES, 100.0, 0.5), 1, seed);
            assert!((50..=100).contains(&most), "{most} attempts, seed {seed}");
        }
    }

    #[test]
    fn devices_whose_first_attempts_fail_stay_below_the_rate_too() {
        for seed in 0..3 {
            let most = most_in_a_second(Pacing::for_fleet(DEVICES, 100.0, 0.5), 4, seed);
            assert!((50..=100).contains(&most), "{most} attempts, seed {seed}");
        }
    }

    /// The attempts in a second have a Poisson distribution, because the devices are many and independent.
    #[test]
    fn the_loads_of_the_documentation_exceed_the_rate_in_one_of_a_million_seconds_at_most() {
        for (rate, load) in
            [(10_u32, 0.15), (20, 0.29), (40, 0.43), (60, 0.51), (100, 0.60), (200, 0.70), (500, 0.80), (100, 0.5)]
        {
            let mean = f64::from(rate) * load;
            // The probability of each number of attempts, as its logarithm.
            let mut probability = -mean;
            let mut above = 0.0;
            for attempts in 1..=4 * rate {
                probability += (mean / f64::from(attempts)).ln();
                if attempts > rate {
                    above += probability.exp();
                }
            }
            assert!(above > 0.0 && above < 1e-6, "rate {rate}, load {load}: {above}");
        }
    }

    #[test]
    fn random_waits_cannot_keep_to_a_rate_without_room() {
        let most = most_in_a_second(Pacing::for_fleet(DEVICES, 100.0, 1.0), 1, 1);
        assert!(most > 100, "with a load of 1, some second exceeds the rate: {most}");
    }
}
