//! The state of the emulator behind one lock, with a notification for every change.

mod c2d;
mod development;
mod disk;
mod enrollment;
mod enrollment_rules;
mod export;
mod feedback;
mod levels;
mod live;
mod policy;
mod record;
mod registry;
mod reset;
mod seed;
mod seed_devices;
mod seed_records;
mod table;
mod table_change;
mod twin;
mod twin_view;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};
use tokio::sync::watch;

use crate::state::journal::EventLog;

pub(crate) use c2d::{Acknowledged, Delivery, PACKET_ID_MAX, Post, Queue, Rules, later};
pub use c2d::{CloudMessageState, CloudMessageView};
pub use development::{DEV_GROUP, DEV_GROUP_KEY, DEV_ID_SCOPE};
pub(crate) use disk::{Disk, DiskLog, open};
pub use disk::{StateError, StateLost};
pub use enrollment::EnrollError;
pub(crate) use enrollment::{Entry, KeyPair, Model, Put, complete};
pub(crate) use export::export;
pub use feedback::{Ack, FeedbackRecord, Outcome};
pub(crate) use levels::are_too_many as too_many_levels;
pub(crate) use live::{
    Activity, ConnectionChannels, Key, Live, MethodCall, MethodOutcome, MethodOutcomeSender, Push, Subscriptions, Why,
};
pub(crate) use policy::{DPS_POLICY, DPS_RIGHTS, Policies, Right, hub_policy, settle};
pub use policy::{Policy, PolicyView};
pub(crate) use record::{Assigned, Operation, Operations, Record, Records};
pub use registry::{ConnectionState, DeviceStatus, DeviceView, ModuleView};
pub(crate) use registry::{Device, Hub, Session, activity};
pub(crate) use reset::Beginning;
pub use seed::{Seed, SeedError, SeedReport};
pub(crate) use seed::{apply, import, linked};
pub use seed_devices::{SeedAuthentication, SeedDevice, SeedModule, SeedProperties};
pub use seed_records::{SeedAssigned, SeedRegistration};
pub(crate) use table::Table;
pub(crate) use table_change::TableChange;
pub(crate) use twin::{Change, Notice, Parts, TAGS_NAME, Twin};
pub use twin_view::TwinView;
pub(crate) use twin_view::twin_view;

/// The state and its watchers. Access is by closure, so that no task holds the lock across an await.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    /// The journal for created, updated and deleted objects.
    journal: OnceLock<EventLog>,
    /// `None` if the state is in memory only.
    disk: Option<Disk>,
}

impl Store {
    pub(crate) fn new(state: State) -> Self {
        let (state, revision) = (Mutex::new(state), watch::Sender::new(0));
        Self { state, revision, journal: OnceLock::new(), disk: None }
    }

    /// Wraps a state that [`disk::open`] loaded. Changes since then are written too.
    pub(crate) fn on_disk(state: State, disk: Disk) -> Self {
        let store = Self { disk: Some(disk), ..Self::new(state) };
        store.update(|_| ());
        store
    }

    /// Starts to report created, updated and deleted objects to the journal.
    pub(crate) fn tell(&self, journal: &EventLog) {
        self.update(State::record_changes);
        // There is only one journal; a second one would be ignored.
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

    /// Changes the state without a notification, for example because time has passed.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        if let Some(journal) = self.journal.get() {
            // Under the lock, so that events keep their order.
            state.drain_changes().into_iter().for_each(|it| journal.note(it));
        }
        if let Some(disk) = &self.disk {
            // Still under the lock, so that changes are written in order.
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

    /// Tells the connection of an identity, if there is one, that a newer one replaces it.
    pub(crate) fn take_over(&self, key: &Key) {
        self.change_some(|state| state.live.close(key, Why::TakenOver).then_some(()));
    }

    /// Returns when all earlier changes are on disk; at once if the state is in memory. Call this before sending
    /// anything that reveals a change.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn settled(&self) -> Result<(), StateLost> {
        match &self.disk {
            None => Ok(()),
            Some(disk) => disk.settled().await,
        }
    }

    /// Returns when there is room for more changes that no response depends on.
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

    /// Counts the changes.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

/// The state. Keys are in lower case where the services ignore letter case.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) individuals: Table<Entry<IndividualEnrollment>>,
    pub(crate) groups: Table<Entry<EnrollmentGroup>>,
    pub(crate) records: Records,
    pub(crate) operations: Operations,
    pub(crate) hubs: BTreeMap<String, Hub>,
    /// The keys of the shared access policies, which can use the service APIs and connect as any device.
    pub(crate) policies: Policies,
    pub(crate) live: Live,
}

impl State {
    /// Hubs without devices, and nothing else.
    pub(crate) fn new<'a>(hubs: impl IntoIterator<Item = &'a str>) -> Self {
        let hub = |host: &str| Hub { host: host.to_owned(), ..Hub::default() };
        let hubs = hubs.into_iter().map(|host| (host.to_ascii_lowercase(), hub(host))).collect();
        Self { hubs, ..Self::default() }
    }

    pub(crate) fn hub(&self, host: &str) -> Option<&Hub> {
        self.hubs.get(&host.to_ascii_lowercase())
    }

    pub(crate) fn hub_mut(&mut self, host: &str) -> Option<&mut Hub> {
        self.hubs.get_mut(&host.to_ascii_lowercase())
    }

    pub(crate) fn device(&self, host: &str, device_id: &str) -> Option<&Device> {
        self.hub(host)?.devices.get(device_id)
    }

    pub(crate) fn device_mut(&mut self, host: &str, device_id: &str) -> Option<&mut Device> {
        self.hub_mut(host)?.devices.get_mut(device_id)
    }

    /// Enables or disables a device. Disabling it closes its connections and those of its modules. Returns whether
    /// the device exists.
    pub(crate) fn set_enabled(&mut self, host: &str, device_id: &str, enabled: bool, now: SystemTime) -> bool {
        let device = self.hub_mut(host).filter(|it| it.is_device(device_id));
        let Some(device) = device.and_then(|it| it.devices.get_mut(device_id)) else { return false };
        if device.enabled != enabled {
            (device.enabled, device.status_updated) = (enabled, crate::state::clock::timestamp(now));
        }
        device.etag = crate::state::wire_id::next_identity_etag(&device.etag);
        if !enabled {
            self.close_device(host, device_id);
        }
        true
    }

    /// Deletes a device with its modules and messages, and closes their connections. Returns the device, if it
    /// existed.
    pub(crate) fn remove_device(&mut self, host: &str, device_id: &str) -> Option<Device> {
        self.close_device(host, device_id);
        self.hub_mut(host)?.remove(device_id)
    }

    /// Closes the connections of a device and its modules.
    pub(crate) fn close_device(&mut self, host: &str, device_id: &str) {
        let modules = self.hub(host).map_or_else(Vec::new, |it| it.modules(device_id));
        for client_id in modules.into_iter().chain([device_id.to_owned()]) {
            self.live.close(&Key::hub(host, &client_id), Why::NotAllowed);
        }
    }
}
