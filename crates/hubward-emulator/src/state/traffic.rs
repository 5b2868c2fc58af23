//! Counts of messages and connections over the last half hour, in short intervals.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Length of an interval.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of complete intervals in the series: half an hour.
const MAX: usize = 900;

/// The series of counts of an emulator. It keeps at most [`MAX`] complete intervals. To count a message, it locks a
/// mutex and adds 1.
///
/// The intervals follow a monotonic clock. If a user changes the system's clock or the emulator's own clock, the series
/// does not change.
#[derive(Debug)]
pub(crate) struct Traffic {
    started: Instant,
    series: Mutex<Series>,
}

/// The counts of one interval.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Number of messages that the hubs received from devices and modules.
    pub(crate) messages: u32,
    /// Highest number of open connections of devices and modules.
    pub(crate) connections: u32,
}

#[derive(Debug, Default)]
struct Series {
    /// The number of the current interval, counted from 0.
    number: u64,
    current: Counts,
    /// The complete intervals, oldest first.
    complete: VecDeque<Counts>,
    /// Number of connections that are open now.
    open: u32,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), series: Mutex::default() }
    }

    /// Counts a message.
    pub(crate) fn message(&self) {
        let mut series = self.series();
        series.current.messages = series.current.messages.saturating_add(1);
    }

    /// Counts a new connection.
    pub(crate) fn opened(&self) {
        self.series().change_open(|open| open.saturating_add(1));
    }

    /// Removes a connection from the count.
    pub(crate) fn closed(&self) {
        self.series().change_open(|open| open.saturating_sub(1));
    }

    /// Returns the complete intervals, oldest first. There is no gap between two intervals.
    #[cfg(any(test, feature = "admin"))]
    pub(crate) fn complete(&self) -> Vec<Counts> {
        self.series().complete.iter().copied().collect()
    }

    /// Returns how long ago the last complete interval ended.
    #[cfg(any(test, feature = "admin"))]
    pub(crate) fn since_complete(&self) -> Duration {
        let elapsed = self.started.elapsed();
        elapsed.saturating_sub(INTERVAL * u32::try_from(number_at(elapsed)).unwrap_or(u32::MAX))
    }

    /// The series, with the current interval as the last one.
    fn series(&self) -> MutexGuard<'_, Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.advance(number_at(self.started.elapsed()));
        series
    }
}

impl Series {
    /// Completes all intervals before `number`.
    fn advance(&mut self, number: u64) {
        let missing = number.saturating_sub(self.number);
        if missing == 0 {
            return;
        }
        self.complete.push_back(self.current);
        // In the intervals after `current`, no message arrived, and no connection opened or closed. The series keeps
        // only `MAX` intervals, so it is useless to add more than `MAX` of them.
        let idle = Counts { messages: 0, connections: self.open };
        let others = usize::try_from(missing - 1).unwrap_or(MAX).min(MAX);
        self.complete.extend(std::iter::repeat_n(idle, others));
        self.complete.drain(..self.complete.len().saturating_sub(MAX));
        (self.number, self.current) = (number, idle);
    }

    fn change_open(&mut self, change: impl FnOnce(u32) -> u32) {
        self.open = change(self.open);
        self.current.connections = self.current.connections.max(self.open);
    }
}

fn number_at(elapsed: Duration) -> u64 {
    elapsed.as_secs() / INTERVAL.as_secs()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn counts(messages: u32, connections: u32) -> Counts {
        Counts { messages, connections }
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_has_its_messages_and_its_highest_number_of_connections() {
        let traffic = Traffic::new();
        traffic.opened();
        traffic.opened();
        traffic.message();
        traffic.closed();
        assert_eq!(traffic.complete(), [], "the first interval is not complete");
        advance(INTERVAL).await;
        traffic.message();
        traffic.message();
        // Nothing happens for one interval.
        advance(INTERVAL * 2 + INTERVAL / 2).await;
        assert_eq!(traffic.complete(), [counts(1, 2), counts(2, 1), counts(0, 1)]);
        assert_eq!(traffic.since_complete(), INTERVAL / 2);
        traffic.closed();
        advance(INTERVAL * 2).await;
        assert_eq!(traffic.complete()[3..], [counts(0, 1), counts(0, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_series_is_bounded_after_any_time() {
        let traffic = Traffic::new();
        for _ in 0..MAX + 10 {
            traffic.message();
            advance(INTERVAL).await;
        }
        assert_eq!(traffic.complete(), vec![counts(1, 0); MAX]);
        traffic.opened();
        advance(Duration::from_secs(1_000_000_000)).await;
        let complete = traffic.complete();
        assert_eq!((complete.len(), complete[0]), (MAX, counts(0, 1)));
        assert!(traffic.series().complete.capacity() < 4 * MAX, "the memory is bounded");
    }
}
