//! The state on disk. One thread receives all changes in order. The thread takes all changes that are in the queue, and
//! writes them in one transaction.
//!
//! If a response reports a change, the emulator sends the response only after the change is on disk.

mod damage;
mod error;
mod file;
mod form;
mod guard;
mod held;
mod load;
mod load_error;
mod mark;
mod migrate;
mod post_head;
mod quietly;
mod rows;
mod sums;
mod tables;
mod telemetry;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::model::State;

pub use error::StateError;
pub(crate) use file::open;
pub(crate) use telemetry::DiskLog;

/// Size of the queue in bytes at which requests that get no response must wait (see `Disk::room`). Requests that get a
/// response do not wait here, so the queue may become larger.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// The handle of the state file. Cloning it is cheap. After [`Disk::close`], the emulator neither writes nor
/// acknowledges new changes.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    queue: Arc<WriteQueue>,
}

/// The data that the writer thread shares with the threads that change the state.
#[derive(Debug)]
struct WriteQueue {
    /// Path of the file, for error messages.
    path: PathBuf,
    pending: Mutex<Pending>,
    more: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Pending {
    writes: Vec<Write>,
    /// Approximate size of `writes` in bytes.
    size: usize,
    /// Number of changes so far.
    issued: u64,
    closing: bool,
    /// Whether a change arrived after [`Disk::close`] or after a failure, and was dropped.
    refused: bool,
}

/// The progress of the writer thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    /// Number of changes that are on disk.
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// All changes are written, and the file is closed.
    Closed,
    /// Why writing failed.
    Failed(Arc<str>),
}

/// One write operation. [`rows`] creates the keys.
#[derive(Debug)]
enum Write {
    Put(String, Vec<u8>),
    Delete(String),
    /// Deletes every row whose key begins with this prefix.
    DeleteBelow(String),
    /// A telemetry message. A reader of the log gets the message only after it is on disk.
    Telemetry {
        hub: Arc<str>,
        offset: u64,
        value: Vec<u8>,
        total: watch::Sender<u64>,
    },
    /// Deletes the messages of a hub with lower offsets.
    TelemetryBefore {
        hub: Arc<str>,
        offset: u64,
    },
    /// Deletes everything that a reset does not keep.
    Clear,
}

/// The error when the state can no longer be written. After this error, the emulator acknowledges nothing more.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be written to {path}: {why}; the emulator acknowledges nothing more", path = path.display())]
#[non_exhaustive]
pub struct StateLost {
    /// The state file.
    pub path: PathBuf,
    /// The error of the system.
    pub why: String,
}

hubward_proto::debug_as_error_report!(StateLost);

impl Disk {
    fn new(path: PathBuf) -> Self {
        let (pending, more) = (Mutex::default(), Condvar::new());
        Self { queue: Arc::new(WriteQueue { path, pending, more, progress: watch::Sender::default() }) }
    }

    /// Queues all changes of the state. The caller must hold the lock of the state.
    pub(super) fn changed(&self, state: &mut State) {
        let writes = rows::drain(state);
        if !writes.is_empty() {
            self.enqueue(writes);
        }
    }

    /// Queues a reset. A reset deletes everything, and then writes the new state and the next telemetry offset of each
    /// hub. The caller must hold the locks of the state and of the logs.
    pub(super) fn reset<'a>(&self, state: &mut State, next: impl Iterator<Item = (&'a str, u64)>) {
        let next = next.map(|(hub, offset)| Write::Put(rows::key(&[rows::NEXT, hub]), form::json(&offset)));
        let now = rows::drain(state);
        self.enqueue([Write::Clear].into_iter().chain(next).chain(now));
    }

    /// Queues writes that belong together. The caller must hold the lock of the changed data, and must call this
    /// function in the order of the changes.
    fn enqueue(&self, writes: impl IntoIterator<Item = Write>) {
        let mut pending = self.queue.pending();
        if pending.closing || self.queue.progress.borrow().end.is_some() {
            // Drop these writes. After that, `flushed` returns an error.
            pending.refused = true;
            return;
        }
        let before = pending.writes.len();
        pending.writes.extend(writes);
        pending.size += pending.writes[before..].iter().map(Write::size).sum::<usize>();
        pending.issued += 1;
        drop(pending);
        self.queue.more.notify_one();
    }

    /// Returns when all earlier changes are on disk.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn flushed(&self) -> Result<(), StateLost> {
        let (wanted, refused) = {
            let pending = self.queue.pending();
            (pending.issued, pending.refused)
        };
        let mut progress = self.queue.progress.subscribe();
        let reached = |it: &Progress| it.written >= wanted || it.end.is_some();
        let Ok(progress) = progress.wait_for(reached).await.map(|it| it.clone()) else {
            return Err(self.lost("its writer thread has ended"));
        };
        match progress.end {
            Some(End::Failed(why)) => Err(self.lost(&why)),
            _ if progress.written >= wanted && !refused => Ok(()),
            _ => Err(self.lost("the emulator has shut down")),
        }
    }

    /// Returns when the queue has room for more changes, or when nothing can be written any more.
    ///
    /// Requests that get no response wait here. Without this wait, such requests could fill the queue faster than a
    /// slow disk can write the changes.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn room(&self) {
        let mut progress = self.queue.progress.subscribe();
        loop {
            // Release the lock of `progress` before `pending` takes the lock of the queue. `enqueue` takes the two
            // locks in the opposite order, so a function that holds both could cause a deadlock.
            let ended = progress.borrow_and_update().end.is_some();
            if ended || self.queue.pending().size < MAX_WAITING || progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until writing fails, and returns the reason.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn failed(&self) -> StateLost {
        let mut progress = self.queue.progress.subscribe();
        // `self` owns the sender, so the channel cannot be closed.
        let _ = progress.wait_for(|it| matches!(it.end, Some(End::Failed(_)))).await;
        self.failure().unwrap_or_else(|| self.lost("its writer thread has ended"))
    }

    /// Why writing failed, if it did.
    pub(crate) fn failure(&self) -> Option<StateLost> {
        match &self.queue.progress.borrow().end {
            Some(End::Failed(why)) => Some(self.lost(why)),
            _ => None,
        }
    }

    /// Tells the thread to write the queued changes, close the file and end. Does not wait for the thread.
    pub(crate) fn close(&self) {
        self.queue.pending().closing = true;
        self.queue.more.notify_one();
    }

    /// Returns when the file is closed, or when nothing can be written to the file any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn closed(&self) {
        let mut progress = self.queue.progress.subscribe();
        // `self` owns the sender, so the channel cannot be closed.
        let _ = progress.wait_for(|it| it.end.is_some()).await;
    }

    fn lost(&self, why: &str) -> StateLost {
        StateLost { path: self.queue.path.clone(), why: why.to_owned() }
    }
}

impl WriteQueue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests;
