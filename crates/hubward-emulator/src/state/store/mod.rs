//! The objects of an emulator, behind one lock. The store notifies watchers of every change. If there is a data
//! directory, the store also writes every change to disk.

mod reset;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::disk::{Disk, StateLost};
use super::journal::EventLog;
use super::model::{EndReason, Key, State};

pub(crate) use reset::InitialState;

/// The state and its watchers. Callers access the state in closures, so a task cannot hold the lock across an await.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    /// The journal. It gets an event for each object that is created, updated or deleted.
    journal: OnceLock<EventLog>,
    /// `None` if the state is in memory only.
    disk: Option<Disk>,
}

impl Store {
    pub(crate) fn new(state: State) -> Self {
        let (state, revision) = (Mutex::new(state), watch::Sender::new(0));
        Self { state, revision, journal: OnceLock::new(), disk: None }
    }

    /// Creates a store for a state that [`disk::open`] has loaded. Also writes the changes that the caller has made
    /// since the state was loaded.
    pub(crate) fn on_disk(state: State, disk: Disk) -> Self {
        let store = Self { disk: Some(disk), ..Self::new(state) };
        store.update(|_| ());
        store
    }

    /// Starts to report created, updated and deleted objects to the journal.
    pub(crate) fn report_to(&self, journal: &EventLog) {
        self.update(State::record_changes);
        // Ignore the result: `set` fails only for a second journal, and the emulator has one journal.
        let _ = self.journal.set(journal.clone());
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then notifies all watchers.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = self.update(change);
        self.revision.send_modify(|it| *it += 1);
        result
    }

    /// Changes the state without notifying the watchers. Some requests only return a part of the state. They call this
    /// function too, because they first remove expired messages, which changes the state.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        if let Some(journal) = self.journal.get() {
            // The lock is held here, so events are in the order of the changes.
            state.drain_changes().into_iter().for_each(|it| journal.note(it));
        }
        if let Some(disk) = &self.disk {
            // The lock is held here, so changes are queued in their order.
            disk.changed(&mut state);
        }
        result
    }

    /// Changes the state, then notifies all watchers if `change` returned `Some`.
    pub(crate) fn change_some<R>(&self, change: impl FnOnce(&mut State) -> Option<R>) -> Option<R> {
        let result = self.update(change);
        if result.is_some() {
            self.revision.send_modify(|it| *it += 1);
        }
        result
    }

    /// If an identity is connected, tells its connection to end because a newer connection replaces it.
    pub(crate) fn take_over(&self, key: &Key) {
        self.change_some(|state| state.live.close(key, EndReason::TakenOver).then_some(()));
    }

    /// Returns when all earlier changes are on disk. If the state is only in memory, returns at once.
    ///
    /// Call this function before the emulator sends a response or a publish that reveals a change.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn flushed(&self) -> Result<(), StateLost> {
        match &self.disk {
            None => Ok(()),
            Some(disk) => disk.flushed().await,
        }
    }

    /// Returns when the queue of the disk has room for more changes. Call this function for changes that get no
    /// response.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn room(&self) {
        if let Some(disk) = &self.disk {
            disk.room().await;
        }
    }

    pub(crate) const fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Receives the number of changes so far.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
