//! Counts the writes that the clients have sent, and the writes that the emulator has acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The kind of a write. A writer sends a write only after the emulator has acknowledged the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An enrollment is created, updated or deleted over REST.
    Enrollment,
    /// Tags and desired properties of a twin are patched.
    Twin,
    /// A device patches its reported properties.
    Reported,
    /// A device registers.
    Registration,
    /// A device sends telemetry.
    Telemetry,
    /// A message is sent to a device.
    Message,
}

/// Counters of one writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Number of acknowledged writes.
    pub(super) acknowledged: u64,
    /// Number of writes that the writer has sent. While the writer waits for an acknowledgement, this number is
    /// `acknowledged` + 1. Otherwise it is equal to `acknowledged`.
    pub(super) sent: u64,
    /// Highest version in a response.
    pub(super) version: u64,
}

type Counts = BTreeMap<(Kind, String), Count>;

/// The counters of all writers. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    counts: Arc<Mutex<Counts>>,
    acknowledged: watch::Sender<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { counts: Arc::default(), acknowledged: watch::Sender::new(0) }
    }
}

impl Ledger {
    /// Returns the number of the writer's next write, and counts this write as sent.
    pub(super) fn next(&self, kind: Kind, writer: &str) -> u64 {
        let mut counts = self.counts();
        let count = counts.entry((kind, writer.to_owned())).or_default();
        count.sent = count.acknowledged + 1;
        count.sent
    }

    /// Records that the emulator has acknowledged the writer's last write.
    pub(super) fn acknowledge(&self, kind: Kind, writer: &str, version: Option<u64>) {
        let mut counts = self.counts();
        let count = counts.entry((kind, writer.to_owned())).or_default();
        count.acknowledged = count.sent;
        count.version = count.version.max(version.unwrap_or_default());
        drop(counts);
        self.acknowledged.send_modify(|it| *it += 1);
    }

    /// Sets the counters `acknowledged` and `sent` of a writer to `applied`, the number of writes that the restarted
    /// emulator contains.
    pub(super) fn settle(&self, kind: Kind, writer: &str, applied: u64) {
        let mut counts = self.counts();
        let count = counts.entry((kind, writer.to_owned())).or_default();
        (count.acknowledged, count.sent) = (applied, applied);
    }

    pub(super) fn count(&self, kind: Kind, writer: &str) -> Count {
        self.counts().get(&(kind, writer.to_owned())).copied().unwrap_or_default()
    }

    /// The writers of this kind with their counters.
    pub(super) fn of(&self, kind: Kind) -> Vec<(String, Count)> {
        let counts = self.counts();
        counts.iter().filter(|((it, _), _)| *it == kind).map(|((_, writer), count)| (writer.clone(), *count)).collect()
    }

    /// Number of acknowledged writes of all writers.
    pub(super) fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Waits until the emulator has acknowledged at least this number of writes.
    pub(super) async fn reached(&self, count: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.wait_for(|it| *it >= count).await.expect("`self` holds the sender");
    }

    /// Returns the number of acknowledged writes of each kind, as text.
    pub(super) fn summary(&self) -> String {
        let mut sums = BTreeMap::<Kind, u64>::new();
        for ((kind, _), count) in self.counts().iter() {
            *sums.entry(*kind).or_default() += count.acknowledged;
        }
        let sums: Vec<String> = sums.iter().map(|(kind, sum)| format!("{kind:?} {sum}")).collect();
        sums.join(", ")
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
