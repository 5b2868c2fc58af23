//! What has happened: a bounded log of events that operators watch and tests assert on.

mod event;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub(crate) use event::Note;
pub use event::{Event, EventKind, EventSource};

use crate::clock::{Clock, timestamp};

/// The log of what has happened; a cheap clone. Keeps the newest 10,000 events.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<Clock>,
    kept: Mutex<Kept>,
    /// How many events there have been.
    total: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// Number of the first of `events`.
    first: u64,
    events: VecDeque<Arc<Event>>,
}

impl EventLog {
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { inner: Arc::new(Inner { clock, kept: Mutex::default(), total: watch::Sender::new(0) }) }
    }

    /// How many events there have been since the start, also those no longer kept.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.inner.total.borrow()
    }

    /// All events that are kept.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Event>> {
        self.from(0)
    }

    /// The events from number `seq` on, as far as they are kept.
    #[must_use]
    pub fn from(&self, seq: u64) -> Vec<Arc<Event>> {
        let kept = self.kept();
        let skip = usize::try_from(seq.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        kept.events.iter().skip(skip).cloned().collect()
    }

    /// Waits for an event of this kind, from the first that is kept on. Has no time limit of its own.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Arc<Event> {
        let mut reader = self.subscribe(0);
        loop {
            let event = reader.next().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Reads the log from number `seq` on, then goes on as events come.
    #[must_use]
    pub fn subscribe(&self, seq: u64) -> EventReader {
        EventReader { log: self.clone(), next: seq, skipped: 0 }
    }

    /// Writes down what has just happened.
    pub(crate) fn note(&self, note: Note) {
        let time = timestamp(self.inner.clock.now());
        let mut kept = self.kept();
        let seq = kept.first + kept.events.len() as u64;
        kept.events.push_back(Arc::new(note.into_event(seq, time)));
        if kept.events.len() > MOST {
            kept.events.pop_front();
            kept.first += 1;
        }
        // Still under the lock, so that totals go out in order.
        self.inner.total.send_replace(seq + 1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("total", &self.total()).finish_non_exhaustive()
    }
}

/// Reads a log event by event.
#[derive(Debug, Clone)]
pub struct EventReader {
    log: EventLog,
    next: u64,
    skipped: u64,
}

impl EventReader {
    /// The next event, waiting for it if necessary. Events that were dropped before they could be
    /// read are counted by [`EventReader::skipped`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Arc<Event> {
        let mut total = self.log.inner.total.subscribe();
        loop {
            {
                let kept = self.log.kept();
                self.skipped += kept.first.saturating_sub(self.next);
                self.next = self.next.max(kept.first);
                let at = usize::try_from(self.next - kept.first).unwrap_or(usize::MAX);
                if let Some(event) = kept.events.get(at) {
                    self.next += 1;
                    return Arc::clone(event);
                }
            }
            let wanted = self.next;
            // The sender lives in `self`.
            let _ = total.wait_for(|it| *it > wanted).await;
        }
    }

    /// How many events were dropped from the log before this reader came to them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Events that are kept.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn log() -> EventLog {
        EventLog::new(Arc::new(Clock::new(Duration::ZERO)))
    }

    fn note(id: &str) -> Note {
        Note::new(EventKind::Refused, EventSource::Dps).id(id).code(401_002).message("bad signature")
    }

    #[tokio::test]
    async fn the_oldest_go_first_and_readers_know() {
        let log = log();
        let mut reader = log.subscribe(0);
        for number in 0..MOST + 3 {
            log.note(note(&number.to_string()));
        }
        assert_eq!((log.total(), log.all().len()), (MOST as u64 + 3, MOST));
        let first = reader.next().await;
        assert_eq!((first.seq, first.id.as_deref(), reader.skipped()), (3, Some("3"), 3));
        assert_eq!(log.from(MOST as u64 + 2).len(), 1);
        assert_eq!(log.from(u64::MAX).len(), 0);
    }

    #[tokio::test]
    async fn a_waiter_hears_of_what_comes_and_of_what_was() {
        let log = log();
        let waiting = log.wait_for(|it| it.id.as_deref() == Some("dev-2"));
        let (event, ()) = tokio::join!(waiting, async {
            log.note(note("dev-1"));
            log.note(note("dev-2"));
        });
        assert_eq!(event.to_string(), "dps refused dev-2: bad signature, 401002");
        assert_eq!(log.wait_for(|it| it.seq == 0).await.id.as_deref(), Some("dev-1"));
    }
}
