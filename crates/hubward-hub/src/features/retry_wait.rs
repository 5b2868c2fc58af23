//! How long to wait before a twin request is sent again.

use std::time::Duration;

use fastrand::Rng;

/// Upper limit of the wait after the first failure. The limit doubles with each further failure. A Retry-After may
/// exceed this limit.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait after any number of failures.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest Retry-After that the client accepts.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Returns how long to wait after this number of failures in a row. The wait is at least as long as the hub requests
/// with Retry-After (at most one hour).
///
/// The random part spreads the requests of devices that failed together.
pub(super) fn retry_wait(rng: &mut Rng, failures: u32, requested: Option<Duration>) -> Duration {
    let bound = WAIT_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(WAIT_MAX);
    let wait = bound / 2 + (bound / 2).mul_f64(rng.f64());
    requested.map_or(wait, |it| wait.max(it.min(RETRY_AFTER_MAX) + WAIT_FIRST.mul_f64(rng.f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_each_wait_is_in_its_upper_half() {
        for (failures, bound) in (1..).zip([1, 2, 4, 8, 16, 30, 30, 30]) {
            let bound = Duration::from_secs(bound);
            for seed in 0..200 {
                let wait = retry_wait(&mut Rng::with_seed(seed), failures, None);
                assert!((bound / 2..=bound).contains(&wait), "{failures}: {wait:?}");
            }
        }
    }
}
