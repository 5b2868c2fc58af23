//! Decides whether to retry a request, and how long to wait before the retry. Does no I/O and reads no clock.

use std::time::Duration;

use crate::error::ServiceError;

/// The first wait, if the service sends no `Retry-After`. The wait doubles after each further attempt.
const FIRST: Duration = Duration::from_millis(250);

/// Whether a request changes something at the service. A retry after a lost answer is safe only if the request changes
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The request only reads, so a retry is always safe.
    Reads,
    /// The request changes something. If the answer is lost, the service may already have processed the request.
    Changes,
}

/// Returns how long to wait before the next attempt. Returns `None` if the client must not retry.
///
/// `attempt` is the number of the failed attempt (the first is 1). `most` is the maximum number of attempts. `jitter`
/// is a random number: 0 gives the shortest wait, and 255 the longest.
pub(crate) fn after(error: &ServiceError, effect: Effect, attempt: u32, most: u32, jitter: u8) -> Option<Duration> {
    if attempt >= most {
        return None;
    }
    let doubled = FIRST.saturating_mul(1 << (attempt - 1).min(6));
    // The wait is random: at least half of `doubled`, and less than `doubled`.
    let backoff = doubled / 2 + doubled * u32::from(jitter) / 512;
    match (error, effect) {
        (ServiceError::Closed { .. }, Effect::Reads) => Some(backoff),
        (ServiceError::Refused(refused), _) => match (refused.status, refused.retry_after, effect) {
            // A retry does not help here: the device is slow (504), or the emulator lacks the feature (501).
            (501 | 504, ..) => None,
            // The service refused the request, and did not process it.
            (429, wait, _) => Some(wait.unwrap_or(backoff)),
            (500.., Some(wait), _) => Some(wait),
            (500.., None, Effect::Reads) => Some(backoff),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refused;

    fn refused(status: u16, retry_after: Option<u64>) -> ServiceError {
        let mut refused = Refused::new("h:443".into(), "GET /".into(), status);
        refused.retry_after = retry_after.map(Duration::from_secs);
        ServiceError::Refused(Box::new(refused))
    }

    #[test]
    fn a_change_is_retried_only_if_the_service_refused_it() {
        let closed = || ServiceError::Closed { endpoint: "h:443".into(), source: None };
        let timeout = ServiceError::Timeout { endpoint: "h:443".into(), after: FIRST };
        let millis = |it| Some(Duration::from_millis(it));
        for (error, reads, changes) in [
            (closed(), millis(125), None),
            (timeout, None, None),
            (refused(429, Some(3)), millis(3000), millis(3000)),
            (refused(429, None), millis(125), millis(125)),
            (refused(503, Some(1)), millis(1000), millis(1000)),
            (refused(503, None), millis(125), None),
            (refused(500, None), millis(125), None),
            (refused(501, None), None, None),
            (refused(504, Some(1)), None, None),
            (refused(404, Some(1)), None, None),
            (refused(409, None), None, None),
        ] {
            assert_eq!(after(&error, Effect::Reads, 1, 4, 0), reads, "{error}");
            assert_eq!(after(&error, Effect::Changes, 1, 4, 0), changes, "{error}");
        }
        assert_eq!(after(&closed(), Effect::Reads, 4, 4, 0), None);
        assert_eq!(after(&closed(), Effect::Reads, 1, 0, 0), None);
    }

    #[test]
    fn the_wait_doubles_and_has_jitter() {
        let error = refused(503, None);
        let waits = [(1, 0), (1, 255), (2, 0), (3, 0)].map(|(attempt, jitter)| {
            after(&error, Effect::Reads, attempt, 9, jitter).expect("another attempt").as_millis()
        });
        assert_eq!(waits, [125, 249, 250, 500]);
    }
}
