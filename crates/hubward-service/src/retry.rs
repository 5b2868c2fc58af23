//! Whether a request may go out again, and when. Pure.

use std::time::Duration;

use crate::error::ServiceError;

/// What a request does, as far as repeating it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It asks. Done twice, nothing is different.
    Asks,
    /// It changes. An answer that was lost may have been a yes.
    Changes,
}

/// The first wait where the service names none; it doubles.
const FIRST: Duration = Duration::from_millis(250);

/// How long to wait before the attempt after `attempt` (the first is 1); `None` says to give up.
/// `jitter` is a share of 256.
pub(crate) fn after(error: &ServiceError, effect: Effect, attempt: u32, most: u32, jitter: u8) -> Option<Duration> {
    if attempt >= most {
        return None;
    }
    let doubled = FIRST.saturating_mul(1 << (attempt - 1).min(6));
    // Half of it at least.
    let backoff = doubled / 2 + doubled * u32::from(jitter) / 512;
    match (error, effect) {
        (ServiceError::Closed { .. }, Effect::Asks) => Some(backoff),
        (ServiceError::Refused(refused), _) => match (refused.status, refused.retry_after, effect) {
            // A device does not become faster, and what is not emulated does not appear.
            (501 | 504, ..) => None,
            // It was not done.
            (429, wait, _) => Some(wait.unwrap_or(backoff)),
            (500.., Some(wait), _) => Some(wait),
            (500.., None, Effect::Asks) => Some(backoff),
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
    fn what_changes_is_repeated_only_if_it_was_not_done() {
        let closed = || ServiceError::Closed { endpoint: "h:443".into(), source: None };
        let timeout = ServiceError::Timeout { endpoint: "h:443".into(), after: FIRST };
        let millis = |it| Some(Duration::from_millis(it));
        for (error, asks, changes) in [
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
            assert_eq!(after(&error, Effect::Asks, 1, 4, 0), asks, "{error}");
            assert_eq!(after(&error, Effect::Changes, 1, 4, 0), changes, "{error}");
        }
        assert_eq!(after(&closed(), Effect::Asks, 4, 4, 0), None);
        assert_eq!(after(&closed(), Effect::Asks, 1, 0, 0), None);
    }

    #[test]
    fn the_wait_doubles_and_is_spread() {
        let error = refused(503, None);
        let waits = [(1, 0), (1, 255), (2, 0), (3, 0)].map(|(attempt, jitter)| {
            after(&error, Effect::Asks, attempt, 9, jitter).expect("another attempt").as_millis()
        });
        assert_eq!(waits, [125, 249, 250, 500]);
    }
}
