//! A log of the emulator's events with a limited size. Operators watch the log, and tests check it.

mod event;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub(crate) use event::Note;
pub use event::{Event, EventKind, EventSource};

use crate::state::clock::{Clock, timestamp};

/// Maximum number of events in the log.
const MAX: usize = 10_000;

/// Maximum number of events of one kind in the log.
const MAX_OF_KIND: usize = 2_500;

/// The log of events. Cloning it is cheap.
///
/// The log keeps at most 10,000 events, and at most 2,500 events of each kind. With the second limit, one frequent kind
/// cannot evict all events of other kinds.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<Clock>,
    kept: Mutex<Kept>,
    /// Number of events since the start.
    total: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// The number of the next event.
    next: u64,
    events: BTreeMap<u64, Arc<Event>>,
    /// For each kind, the numbers of its entries in `events`.
    of_kind: BTreeMap<EventKind, VecDeque<u64>>,
}

impl Kept {
    fn push(&mut self, event: Event) {
        let (seq, kind) = (event.seq, event.kind);
        self.next = seq + 1;
        self.events.insert(seq, Arc::new(event));
        let of_kind = self.of_kind.entry(kind).or_default();
        of_kind.push_back(seq);
        if of_kind.len() > MAX_OF_KIND {
            of_kind.pop_front().and_then(|it| self.events.remove(&it));
        }
        if self.events.len() > MAX
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

    /// Returns how many events have happened since the start. Includes events that the log no longer keeps.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.inner.total.borrow()
    }

    /// All events in the log.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Event>> {
        self.from(0)
    }

    /// Returns the events with the number `seq` and higher numbers. The result does not contain events that the log has
    /// dropped.
    #[must_use]
    pub fn from(&self, seq: u64) -> Vec<Arc<Event>> {
        self.kept().events.range(seq..).map(|(_, it)| Arc::clone(it)).collect()
    }

    /// Waits for an event that satisfies `wanted`, and returns it. Starts with the oldest event in the log. There is no
    /// time limit.
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

    /// Returns a reader that starts at number `seq` and then waits for new events.
    #[must_use]
    pub fn subscribe(&self, seq: u64) -> EventReader {
        EventReader { log: self.clone(), next: seq, skipped: 0 }
    }

    /// Appends an event.
    pub(crate) fn note(&self, note: Note) {
        let time = timestamp(self.inner.clock.now());
        let mut kept = self.kept();
        let seq = kept.next;
        kept.push(note.into_event(seq, time));
        // Send the total while the lock is held, so that the totals are sent in order.
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

/// Reads a log one event at a time.
#[derive(Debug, Clone)]
pub struct EventReader {
    log: EventLog,
    next: u64,
    skipped: u64,
}

impl EventReader {
    /// Returns the next event. If there is no next event yet, waits for it. If the log has dropped events, skips these
    /// events and counts them in [`EventReader::skipped`].
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
            // `self` owns the sender, so the channel cannot be closed.
            let _ = total.wait_for(|it| *it > wanted).await;
        }
    }

    /// How many events the log dropped before this reader could read them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

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
    async fn drops_the_oldest_events_and_readers_count_them() {
        let log = log();
        let mut reader = log.subscribe(0);
        let kinds = [EventKind::Registered, EventKind::Connected, EventKind::Disconnected, EventKind::TwinUpdated];
        for (number, kind) in kinds.into_iter().chain([EventKind::Refused]).cycle().take(MAX + 3).enumerate() {
            log.note(Note::new(kind, EventSource::Hub).id(&number.to_string()));
        }
        assert_eq!((log.total(), log.all().len()), (MAX as u64 + 3, MAX));
        let first = reader.next().await;
        assert_eq!((first.seq, first.id.as_deref(), reader.skipped()), (3, Some("3"), 3));
        assert_eq!(log.from(MAX as u64 + 2).len(), 1);
        assert_eq!(log.from(u64::MAX).len(), 0);
    }

    #[tokio::test]
    async fn a_frequent_kind_does_not_evict_a_rare_one() {
        let log = log();
        log.note(note("dev-1"));
        for _ in 0..2 * MAX {
            log.note(Note::new(EventKind::TwinReported, EventSource::Hub).id("dev-2"));
        }
        assert_eq!(log.all().len(), 1 + MAX_OF_KIND);
        let mut reader = log.subscribe(0);
        assert_eq!((reader.next().await.kind, reader.skipped()), (EventKind::Refused, 0));
        let dropped = (2 * MAX - MAX_OF_KIND) as u64;
        assert_eq!((reader.next().await.seq, reader.skipped()), (1 + dropped, dropped));
        for _ in 0..MAX {
            log.note(note("dev-1"));
        }
        assert_eq!(log.all().len(), 2 * MAX_OF_KIND, "the rest of both kinds");
    }

    #[tokio::test]
    async fn wait_for_finds_past_and_future_events() {
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
