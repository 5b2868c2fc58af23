//! Resets the state.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Store;
use crate::state::model::{DEV_GROUP, Seed, SeedError, State, apply, complete, dev_group, is_dev_group};
use crate::state::telemetry::TelemetryLog;

/// The contents that an emulator adds to its state at the start and after a reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct InitialState {
    /// Whether to create the group of the development keys. These keys are public.
    pub(crate) dev_keys: bool,
    pub(crate) seed: Option<Seed>,
}

impl InitialState {
    /// Creates or removes the group of the development keys, and applies the seed. A second call changes nothing.
    pub(crate) fn apply(&self, state: &mut State, now: SystemTime) -> Result<(), SeedError> {
        let before = state.groups.get(DEV_GROUP);
        if self.dev_keys {
            let (entry, _) = complete(dev_group(), before, now)?;
            state.groups.insert(DEV_GROUP.to_owned(), entry);
        } else if before.is_some_and(is_dev_group) {
            // An earlier start created the group, but this start does not request it. Remove the group, because its key
            // is public.
            state.groups.remove(DEV_GROUP);
        }
        match &self.seed {
            Some(seed) => apply(state, seed, now).map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Deletes everything except the keys of policies, and ends every connection. Then applies `initial_state`.
    /// Watchers and the disk see one change.
    ///
    /// If `initial_state` cannot be applied, returns the error; the deletion is still done.
    ///
    /// The telemetry offsets continue, so a new message never has the offset of a deleted message.
    pub(crate) fn reset(
        &self,
        logs: &BTreeMap<String, TelemetryLog>,
        initial_state: &InitialState,
        now: SystemTime,
    ) -> Result<(), SeedError> {
        let result = {
            let mut state = self.lock();
            // Hold the locks of the logs until all writes are queued. Otherwise, a new message could be queued before
            // the reset, and the reset would delete this message from the file.
            let emptied: Vec<_> = logs.iter().map(|(hub, log)| (hub.as_str(), log.empty())).collect();
            state.forget();
            let result = initial_state.apply(&mut state, now);
            if let Some(disk) = &self.disk {
                disk.reset(&mut state, emptied.iter().map(|(hub, log)| (*hub, log.next())));
            }
            result
        };
        // Notifies all watchers.
        self.change(|_| result)
    }
}
