//! The telemetry of a hub, in order, readable from any offset.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_proto::hub::Message;
use tokio::sync::watch;

/// One message as a hub received it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Its place in the hub's log, counted from 0.
    pub offset: u64,
    /// Who sent it.
    pub device_id: String,
    /// When the hub received it: UTC with seven fractional digits.
    pub enqueued_time: String,
    /// Body and properties. A retained publish has the property `mqtt-retain`; a will has
    /// `iothub-MessageType`.
    pub message: Message,
    /// Whether the publish said that it had been sent before (DUP).
    pub duplicate: bool,
    /// Quality of service it was sent with: 0 or 1.
    pub qos: u8,
}

impl Telemetry {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.message.body
    }

    /// The body as text, with a replacement character for what is not UTF-8.
    #[must_use]
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    /// An application property; `Some(None)` if it stands there without a value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Option<&str>> {
        self.message.properties().find_map(|(it, value)| (it == name).then_some(value))
    }
}

/// The telemetry log of one hub; a cheap clone.
///
/// Keeps the newest messages up to a number and a size, see
/// [`Builder::telemetry_retention`](crate::Builder::telemetry_retention).
#[derive(Clone)]
pub struct TelemetryLog {
    inner: Arc<Inner>,
}

struct Inner {
    kept: Mutex<Kept>,
    /// How many messages there have been.
    total: watch::Sender<u64>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    /// Offset of the first of `messages`.
    first: u64,
    messages: VecDeque<Arc<Telemetry>>,
    bytes: usize,
}

impl TelemetryLog {
    pub(crate) fn new(most: usize) -> Self {
        Self { inner: Arc::new(Inner { kept: Mutex::default(), total: watch::Sender::new(0), most: most.max(1) }) }
    }

    /// How many messages there have been since the start, also those no longer kept.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.inner.total.borrow()
    }

    /// All messages that are kept.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Telemetry>> {
        self.from(0)
    }

    /// The messages from `offset` on, as far as they are kept.
    #[must_use]
    pub fn from(&self, offset: u64) -> Vec<Arc<Telemetry>> {
        let kept = self.kept();
        let skip = usize::try_from(offset.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        kept.messages.iter().skip(skip).cloned().collect()
    }

    /// Waits until there have been `count` messages since the start, then gives all that are kept.
    /// Has no time limit of its own.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, count: u64) -> Vec<Arc<Telemetry>> {
        let mut total = self.inner.total.subscribe();
        // The sender lives in `self`.
        let _ = total.wait_for(|it| *it >= count).await;
        self.all()
    }

    /// Reads the log from `offset` on, then goes on as messages come.
    #[must_use]
    pub fn subscribe(&self, offset: u64) -> TelemetryReader {
        TelemetryReader { log: self.clone(), next: offset, skipped: 0 }
    }

    /// Appends a message; the offset in it is replaced by its place.
    pub(crate) fn append(&self, mut telemetry: Telemetry) {
        let mut kept = self.kept();
        telemetry.offset = kept.first + kept.messages.len() as u64;
        kept.bytes += weight(&telemetry);
        let total = telemetry.offset + 1;
        kept.messages.push_back(Arc::new(telemetry));
        while kept.messages.len() > self.inner.most || (kept.bytes > MOST_BYTES && kept.messages.len() > 1) {
            if let Some(oldest) = kept.messages.pop_front() {
                kept.bytes -= weight(&oldest);
                kept.first += 1;
            }
        }
        // Still under the lock, so that totals go out in order.
        self.inner.total.send_replace(total);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TelemetryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLog").field("total", &self.total()).finish_non_exhaustive()
    }
}

/// Reads a log message by message.
#[derive(Debug, Clone)]
pub struct TelemetryReader {
    log: TelemetryLog,
    next: u64,
    skipped: u64,
}

impl TelemetryReader {
    /// The next message, waiting for it if necessary. Messages that were dropped before they could
    /// be read are counted by [`TelemetryReader::skipped`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Arc<Telemetry> {
        let mut total = self.log.inner.total.subscribe();
        loop {
            {
                let kept = self.log.kept();
                self.skipped += kept.first.saturating_sub(self.next);
                self.next = self.next.max(kept.first);
                let at = usize::try_from(self.next - kept.first).unwrap_or(usize::MAX);
                if let Some(telemetry) = kept.messages.get(at) {
                    self.next += 1;
                    return Arc::clone(telemetry);
                }
            }
            let wanted = self.next;
            // The sender lives in `self`.
            let _ = total.wait_for(|it| *it > wanted).await;
        }
    }

    /// How many messages were dropped from the log before this reader came to them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// What a message costs, roughly.
fn weight(telemetry: &Telemetry) -> usize {
    telemetry.message.size() + 256
}

/// Most bytes a log keeps.
const MOST_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(body: &str) -> Telemetry {
        Telemetry {
            offset: 0,
            device_id: "d1".into(),
            enqueued_time: String::new(),
            message: Message::new(body.to_owned()).property("a", "1").flag("b"),
            duplicate: false,
            qos: 1,
        }
    }

    fn bodies(messages: &[Arc<Telemetry>]) -> Vec<(u64, String)> {
        messages.iter().map(|it| (it.offset, it.body_text())).collect()
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_last_one_comes() {
        let log = TelemetryLog::new(10);
        let waiter = tokio::spawn({
            let log = log.clone();
            async move { log.wait_for(2).await }
        });
        log.append(telemetry("a"));
        log.append(telemetry("b"));
        let messages = waiter.await.expect("no panic");
        assert_eq!(bodies(&messages), [(0, "a".into()), (1, "b".into())]);
        assert_eq!(messages[0].property("a"), Some(Some("1")));
        assert_eq!((messages[0].property("b"), messages[0].property("c")), (Some(None), None));
        assert_eq!(bodies(&log.from(1)), [(1, "b".into())]);
    }

    #[tokio::test]
    async fn the_oldest_go_first_and_readers_know() {
        let log = TelemetryLog::new(2);
        let mut reader = log.subscribe(0);
        for body in ["a", "b", "c"] {
            log.append(telemetry(body));
        }
        assert_eq!(log.total(), 3);
        assert_eq!(bodies(&log.all()), [(1, "b".into()), (2, "c".into())]);
        assert_eq!(reader.next().await.body_text(), "b");
        assert_eq!(reader.skipped(), 1);
        assert_eq!(reader.next().await.body_text(), "c");
        let (next, ()) = tokio::join!(reader.next(), async { log.append(telemetry("d")) });
        assert_eq!(next.body_text(), "d");
    }
}
