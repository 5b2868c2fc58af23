//! Detects that another client uses the same identity.
//!
//! A hub keeps one connection for each identity. If a second client connects, the hub closes the older connection and
//! gives no reason.
//!
//! The older client then reconnects, so the hub closes the connection of the second client, and so on: each client
//! takes over the connection from the other again and again. A client can detect the other client only by this pattern.
//!
//! Source: `[doc]` iot-hub/troubleshoot-error-codes.md, 400027 and 409002.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use fastrand::Rng;
use hubward_transport::{Stage, TransportError};
use tokio::time::Instant;

/// The number of takeovers that make a pattern.
const PATTERN: usize = 5;

/// The time within which [`PATTERN`] takeovers make a pattern. If both clients use this crate, they make a pattern
/// sooner, because each of them waits at most a minute before it connects again.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// After a connection has lasted this long, the client assumes that no other client uses the identity.
const SETTLED: Duration = Duration::from_secs(10 * 60);

/// When the hub last closed accepted connections.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    times: VecDeque<Instant>,
    /// The number of takeovers, once they have made a pattern.
    suspected: Option<u32>,
}

impl Takeovers {
    /// Records the end of a time during which the hub accepted the client without a failure. `lasted` is the length of
    /// this time. If it is at least [`SETTLED`], forgets all takeovers.
    pub(super) fn lasted(&mut self, lasted: Duration) {
        if lasted >= SETTLED {
            *self = Self::default();
        }
    }

    /// Counts the failure of an accepted connection, if it may be a takeover. If the takeovers make a pattern, returns
    /// their number, including this failure.
    pub(super) fn failed(&mut self, now: Instant, error: &TransportError) -> Option<u32> {
        if !may_be_takeover(error) {
            return None;
        }
        if let Some(count) = &mut self.suspected {
            *count = count.saturating_add(1);
            return self.suspected;
        }
        self.times.push_back(now);
        while self.times.front().is_some_and(|it| now.saturating_duration_since(*it) > WINDOW) {
            self.times.pop_front();
        }
        if self.times.len() >= PATTERN {
            self.suspected = u32::try_from(self.times.len()).ok();
            self.times = VecDeque::new();
        }
        self.suspected
    }

    /// Returns the minimum wait before the next attempt. It is zero while there is no pattern, and otherwise `min`
    /// plus a random part. The random part keeps two clients of this crate from connecting at the same moments.
    pub(super) fn min_wait(&self, min: Duration, rng: &mut Rng) -> Duration {
        if self.suspected.is_some() { min.saturating_add(min.mul_f64(rng.f64())) } else { Duration::ZERO }
    }
}

/// Returns `true` if the peer closed the connection, in an orderly way or not. Returns `false` for timeouts of the
/// client and for network failures.
fn may_be_takeover(error: &TransportError) -> bool {
    let TransportError::Closed { stage: Stage::Exchange, source, .. } = error else { return false };
    let by_peer = |kind| {
        matches!(
            kind,
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        )
    };
    source.as_ref().is_none_or(|it| by_peer(it.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(stage: Stage, source: Option<ErrorKind>) -> TransportError {
        TransportError::Closed { endpoint: "hub.example:8883".into(), stage, source: source.map(Into::into) }
    }

    fn seconds(from: u64) -> Duration {
        Duration::from_secs(from)
    }

    #[test]
    fn only_closes_by_the_peer_after_the_login_count() {
        let timeout =
            TransportError::Timeout { endpoint: "hub.example:8883".into(), stage: Stage::Exchange, after: seconds(20) };
        for (error, counts) in [
            (closed(Stage::Exchange, None), true),
            (closed(Stage::Exchange, Some(ErrorKind::ConnectionReset)), true),
            (closed(Stage::Exchange, Some(ErrorKind::UnexpectedEof)), true),
            (closed(Stage::Exchange, Some(ErrorKind::NetworkUnreachable)), false),
            (closed(Stage::Exchange, Some(ErrorKind::TimedOut)), false),
            (closed(Stage::Login, None), false),
            (timeout, false),
            (TransportError::Unsupported("x"), false),
        ] {
            let (mut takeovers, now) = (Takeovers::default(), Instant::now());
            let found = (0..PATTERN).filter_map(|_| takeovers.failed(now, &error)).last();
            assert_eq!(found.is_some(), counts, "{error:?}");
        }
    }

    #[test]
    fn the_fifth_within_the_window_makes_the_pattern_and_a_lasting_connection_ends_it() {
        let (mut takeovers, mut now, error) = (Takeovers::default(), Instant::now(), closed(Stage::Exchange, None));
        let mut rng = Rng::with_seed(1);
        let found = |takeovers: &mut Takeovers, now| takeovers.failed(now, &error);
        for gap in [900, 226, 226, 226] {
            assert_eq!(found(&mut takeovers, now), None);
            now += seconds(gap);
        }
        assert_eq!(found(&mut takeovers, now), None, "the first two are outside the window");
        assert_eq!(takeovers.min_wait(seconds(60), &mut rng), Duration::ZERO);
        assert_eq!(found(&mut takeovers, now), Some(5));
        // After the pattern is found, every takeover counts, even after a long interval.
        now += seconds(3600);
        takeovers.lasted(seconds(599));
        assert_eq!(found(&mut takeovers, now), Some(6));
        let waits: Vec<_> = (0..1000).map(|_| takeovers.min_wait(seconds(60), &mut rng)).collect();
        assert!(waits.iter().all(|it| (seconds(60)..=seconds(120)).contains(it)));
        assert!(waits.iter().max() > Some(&seconds(110)) && waits.iter().min() < Some(&seconds(70)));
        takeovers.lasted(seconds(600));
        assert_eq!(found(&mut takeovers, now), None);
    }
}
