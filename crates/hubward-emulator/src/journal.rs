//! What has happened: a bounded log of events that operators watch and tests assert on.

mod event;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub(crate) use event::Note;
pub use event::{Event, EventKind, EventSource};

use crate::clock::{Clock, timestamp};

/// The log of what has happened; a cheap clone. Keeps the newest 10,000 events, and of one kind the
/// newest 2,500, so that what happens all the time does not drive out what happens once.
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
    /// Number of the next.
    next: u64,
    events: BTreeMap<u64, Arc<Event>>,
    /// The numbers of `events`.
    of_kind: BTreeMap<EventKind, VecDeque<u64>>,
}

impl Kept {
    fn push(&mut self, event: Event) {
        let (seq, kind) = (event.seq, event.kind);
        self.next = seq + 1;
        self.events.insert(seq, Arc::new(event));
        let of_kind = self.of_kind.entry(kind).or_default();
        of_kind.push_back(seq);
        if of_kind.len() > MOST_OF_KIND {
            of_kind.pop_front().and_then(|it| self.events.remove(&it));
        }
        if self.events.len() > MOST
            && let Some((_, oldest)) = self.events.pop_first()
        {
            self.of_kind.entry(oldest.kind).or_default().pop_front();
        }
    }
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
        self.kept().events.range(seq..).map(|(_, it)| Arc::clone(it)).collect()
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
        let seq = kept.next;
        kept.push(note.into_event(seq, time));
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
            if let Some((seq, event)) = self.log.kept().events.range(self.next..).next() {
                self.skipped += seq - self.next;
                self.next = seq + 1;
                return Arc::clone(event);
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

/// Events of one kind that are kept.
const MOST_OF_KIND: usize = 2_500;

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
        let kinds = [EventKind::Registered, EventKind::Connected, EventKind::Disconnected, EventKind::TwinUpdated];
        for (number, kind) in kinds.into_iter().chain([EventKind::Refused]).cycle().take(MOST + 3).enumerate() {
            log.note(Note::new(kind, EventSource::Hub).id(&number.to_string()));
        }
        assert_eq!((log.total(), log.all().len()), (MOST as u64 + 3, MOST));
        let first = reader.next().await;
        assert_eq!((first.seq, first.id.as_deref(), reader.skipped()), (3, Some("3"), 3));
        assert_eq!(log.from(MOST as u64 + 2).len(), 1);
        assert_eq!(log.from(u64::MAX).len(), 0);
    }

    #[tokio::test]
    async fn what_happens_all_the_time_does_not_drive_out_what_happens_once() {
        let log = log();
        log.note(note("dev-1"));
        for _ in 0..2 * MOST {
            log.note(Note::new(EventKind::TwinReported, EventSource::Hub).id("dev-2"));
        }
        assert_eq!(log.all().len(), 1 + MOST_OF_KIND);
        let mut reader = log.subscribe(0);
        assert_eq!((reader.next().await.kind, reader.skipped()), (EventKind::Refused, 0));
        let dropped = (2 * MOST - MOST_OF_KIND) as u64;
        assert_eq!((reader.next().await.seq, reader.skipped()), (1 + dropped, dropped));
        for _ in 0..MOST {
            log.note(note("dev-1"));
        }
        assert_eq!(log.all().len(), 2 * MOST_OF_KIND, "the rest of both kinds");
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
