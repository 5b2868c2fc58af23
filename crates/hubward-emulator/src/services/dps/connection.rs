//! A device that is connected to DPS.

use tokio::sync::oneshot;

use super::admit::Caller;
use crate::state::model::{EndReason, Key, Subscriptions};
use crate::state::store::Store;

/// A connection of a device to DPS. The store lists the connection until this value is dropped.
pub(crate) struct DpsConnection<'a> {
    store: &'a Store,
    key: Key,
    number: u64,
}

impl<'a> DpsConnection<'a> {
    /// Adds a new connection to the list in the store, and ends an older connection of the same device.
    ///
    /// The returned receiver gets the reason when the new connection must end.
    pub(crate) fn begin(store: &'a Store, caller: &Caller) -> (Self, oneshot::Receiver<EndReason>) {
        let key = Key::Dps(caller.key());
        let channels = store.change(|state| state.live.begin(key.clone(), Subscriptions::default()));
        (Self { store, key, number: channels.number }, channels.ended)
    }
}

impl Drop for DpsConnection<'_> {
    fn drop(&mut self) {
        self.store.change(|state| state.live.end(&self.key, self.number));
    }
}
