//! What was asked for, and what of it was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What is written, by somebody who waits for each acknowledgement before the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Enrollments over REST: put, changed and deleted.
    Enrollment,
    /// Tags and desired properties of a twin.
    Twin,
    /// Reported properties, by the device.
    Reported,
    /// Devices that register.
    Registration,
    /// Messages of a device.
    Telemetry,
    /// Messages to a device.
    Message,
}

/// How far somebody has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) acknowledged: u64,
    /// The same, or one more.
    pub(super) tried: u64,
    /// Highest version that an answer told.
    pub(super) version: u64,
}

type Counts = BTreeMap<(Kind, String), Count>;

/// A cheap clone.
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
    /// The number of the next write of somebody. It counts as tried.
    pub(super) fn next(&self, kind: Kind, who: &str) -> u64 {
        let mut counts = self.counts();
        let count = counts.entry((kind, who.to_owned())).or_default();
        count.tried = count.acknowledged + 1;
        count.tried
    }

    /// The write that was tried last is acknowledged.
    pub(super) fn done(&self, kind: Kind, who: &str, version: Option<u64>) {
        let mut counts = self.counts();
        let count = counts.entry((kind, who.to_owned())).or_default();
        count.acknowledged = count.tried;
        count.version = count.version.max(version.unwrap_or_default());
        drop(counts);
        self.acknowledged.send_modify(|it| *it += 1);
    }

    /// After a look at what is there: this many writes have happened.
    pub(super) fn settle(&self, kind: Kind, who: &str, happened: u64) {
        let mut counts = self.counts();
        let count = counts.entry((kind, who.to_owned())).or_default();
        (count.acknowledged, count.tried) = (happened, happened);
    }

    pub(super) fn count(&self, kind: Kind, who: &str) -> Count {
        self.counts().get(&(kind, who.to_owned())).copied().unwrap_or_default()
    }

    pub(super) fn of(&self, kind: Kind) -> Vec<(String, Count)> {
        let counts = self.counts();
        counts.iter().filter(|((it, _), _)| *it == kind).map(|((_, who), count)| (who.clone(), *count)).collect()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Returns when so many writes have been acknowledged.
    pub(super) async fn reached(&self, count: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.wait_for(|it| *it >= count).await.expect("the sender lives in `self`");
    }

    /// How much of each kind there is.
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
