//! The state on disk: what was changed goes, in order, to one thread, which writes all that waits in
//! one transaction; and a barrier before answers leave.

mod damage;
mod error;
mod file;
mod form;
mod held;
mod load;
mod mark;
mod migrate;
mod quietly;
mod rows;
mod sums;
mod telemetry;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::State;

pub use error::StateError;
pub(crate) use file::open;
pub(super) use form::{key_pair, properties};
pub(crate) use telemetry::DiskLog;

/// The way to the file. Cheap to clone. Once [`Disk::close`] was called, changes are no longer
/// written, and nothing is acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    line: Arc<Line>,
}

/// What the threads that change something and the one that writes share.
#[derive(Debug)]
struct Line {
    /// Of the file, for messages.
    path: PathBuf,
    waiting: Mutex<Waiting>,
    more: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    /// Bytes of `writes`, roughly.
    size: usize,
    /// Counts the changes.
    issued: u64,
    closing: bool,
    /// Something came too late to be written.
    refused: bool,
}

/// How far the thread is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    /// So many changes are on disk.
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// All was written and the file is closed.
    Closed,
    /// Why nothing can be written any more.
    Failed(Arc<str>),
}

/// One thing to be written. Keys are made by [`rows`].
#[derive(Debug)]
enum Write {
    Put(String, Vec<u8>),
    Delete(String),
    /// Everything whose key begins so.
    DeleteBelow(String),
    /// A message; who reads the log sees it when it is on disk.
    Telemetry {
        hub: Arc<str>,
        offset: u64,
        value: Vec<u8>,
        total: watch::Sender<u64>,
    },
    /// The messages of a hub with lower offsets.
    TelemetryBefore {
        hub: Arc<str>,
        offset: u64,
    },
    /// Everything but what is kept over a reset.
    Clear,
}

/// The state can no longer be written, so that nothing more is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be written to {path}: {why}; nothing is acknowledged any more", path = path.display())]
#[non_exhaustive]
pub struct StateLost {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub why: String,
}

impl Disk {
    fn new(path: PathBuf) -> Self {
        let (waiting, more) = (Mutex::default(), Condvar::new());
        Self { line: Arc::new(Line { path, waiting, more, progress: watch::Sender::default() }) }
    }

    /// Hands over what has changed in the state. To be called under its lock.
    pub(super) fn changed(&self, state: &mut State) {
        let writes = rows::drain(state);
        if !writes.is_empty() {
            self.hand_over(writes);
        }
    }

    /// Hands over that all is forgotten, with what there is from then on; and with which offsets the
    /// telemetry of hubs goes on. To be called under the locks of the state and of the logs.
    pub(super) fn reset<'a>(&self, state: &mut State, next: impl Iterator<Item = (&'a str, u64)>) {
        let next = next.map(|(hub, offset)| Write::Put(rows::key(&[rows::NEXT, hub]), form::json(&offset)));
        let now = rows::drain(state);
        self.hand_over([Write::Clear].into_iter().chain(next).chain(now));
    }

    /// Hands over what belongs together. To be called in the order of the changes: under the lock
    /// that guards what has changed.
    fn hand_over(&self, writes: impl IntoIterator<Item = Write>) {
        let mut waiting = self.line.waiting();
        if waiting.closing || self.line.progress.borrow().end.is_some() {
            // Nobody writes it; who waits for it hears so.
            waiting.refused = true;
            return;
        }
        let before = waiting.writes.len();
        waiting.writes.extend(writes);
        waiting.size += waiting.writes[before..].iter().map(Write::size).sum::<usize>();
        waiting.issued += 1;
        drop(waiting);
        self.line.more.notify_one();
    }

    /// Returns when all that was changed before is on disk.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn settled(&self) -> Result<(), StateLost> {
        let (wanted, refused) = {
            let waiting = self.line.waiting();
            (waiting.issued, waiting.refused)
        };
        let mut progress = self.line.progress.subscribe();
        let reached = |it: &Progress| it.written >= wanted || it.end.is_some();
        let Ok(progress) = progress.wait_for(reached).await.map(|it| it.clone()) else {
            return Err(self.lost("its writer has gone"));
        };
        match progress.end {
            Some(End::Failed(why)) => Err(self.lost(&why)),
            _ if progress.written >= wanted && !refused => Ok(()),
            _ => Err(self.lost("the emulator has ended")),
        }
    }

    /// Returns when there is room for more, or nothing will be written any more: what needs no answer
    /// must not pile up in front of a slow disk.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn room(&self) {
        let mut progress = self.line.progress.subscribe();
        loop {
            // One lock after the other: whoever hands something over looks at the progress while it holds
            // what waits, so that to hold the progress and wait for the other could go on for ever.
            let ended = progress.borrow_and_update().end.is_some();
            if ended || self.line.waiting().size < MOST_WAITING || progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Why nothing can be written any more, as soon as that is so.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn failed(&self) -> StateLost {
        let mut progress = self.line.progress.subscribe();
        // The sender lives in `self`.
        let _ = progress.wait_for(|it| matches!(it.end, Some(End::Failed(_)))).await;
        self.failure().unwrap_or_else(|| self.lost("its writer has gone"))
    }

    /// Why nothing can be written any more, if that is so.
    pub(crate) fn failure(&self) -> Option<StateLost> {
        match &self.line.progress.borrow().end {
            Some(End::Failed(why)) => Some(self.lost(why)),
            _ => None,
        }
    }

    /// Lets the thread write what waits, close the file and end. Does not wait for it.
    pub(crate) fn close(&self) {
        self.line.waiting().closing = true;
        self.line.more.notify_one();
    }

    /// Returns when the file is closed, or nothing can be written to it any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn closed(&self) {
        let mut progress = self.line.progress.subscribe();
        // The sender lives in `self`.
        let _ = progress.wait_for(|it| it.end.is_some()).await;
    }

    fn lost(&self, why: &str) -> StateLost {
        StateLost { path: self.line.path.clone(), why: why.to_owned() }
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write {
    fn size(&self) -> usize {
        let bytes = match self {
            Self::Put(key, value) => key.len() + value.len(),
            Self::Delete(key) | Self::DeleteBelow(key) => key.len(),
            Self::Telemetry { value, .. } => value.len(),
            Self::TelemetryBefore { .. } | Self::Clear => 0,
        };
        bytes + size_of::<Self>()
    }
}

/// So much may wait for the disk before those who send without wanting an answer have to wait.
const MOST_WAITING: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
