//! A device that is connected to DPS.

use tokio::sync::oneshot;

use super::admit::Caller;
use crate::state::model::{EndReason, Key, Subscriptions};
use crate::state::store::Store;

/// A connection to DPS of a registration id. The store lists it until this value is dropped.
pub(crate) struct DpsConnection<'a> {
    store: &'a Store,
    key: Key,
    number: u64,
}

impl<'a> DpsConnection<'a> {
    /// Adds a new connection to the store's list and ends an older one of the same device. The receiver gets a reason
    /// when the new connection has to end.
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
