//! Everything the emulator remembers, behind one lock, with a signal for every change.

mod enrollment;
mod live;
mod record;
mod registry;
mod seed;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};
use tokio::sync::watch;

pub use enrollment::EnrollError;
pub(crate) use enrollment::{Entry, KeyPair, Put, complete};
pub(crate) use live::{Key, Live, Why};
pub(crate) use record::{Operation, Operations, Record, Records};
pub use registry::{ConnectionState, DeviceStatus, DeviceView};
pub(crate) use registry::{Device, Hub, Session};
pub(crate) use seed::apply;
pub use seed::{Seed, SeedError, SeedReport};

/// The state and who watches it. Nobody holds the lock across an await: access is by closure.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), revision: watch::Sender::new(0) }
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, then wakes everybody who watches.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.revision.send_modify(|it| *it += 1);
        result
    }

    /// Counts the changes.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

/// What is remembered. Names are keys in lower case where the services ignore letter case.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) individuals: BTreeMap<String, Entry<IndividualEnrollment>>,
    pub(crate) groups: BTreeMap<String, Entry<EnrollmentGroup>>,
    pub(crate) records: Records,
    pub(crate) operations: Operations,
    pub(crate) hubs: BTreeMap<String, Hub>,
    pub(crate) live: Live,
}

impl State {
    /// Hubs without devices, and nothing else.
    pub(crate) fn new<'a>(hubs: impl IntoIterator<Item = &'a str>) -> Self {
        let hub = |host: &str| Hub { host: host.to_owned(), devices: BTreeMap::new() };
        let hubs = hubs.into_iter().map(|host| (host.to_ascii_lowercase(), hub(host))).collect();
        Self { hubs, ..Self::default() }
    }

    pub(crate) fn hub(&self, host: &str) -> Option<&Hub> {
        self.hubs.get(&host.to_ascii_lowercase())
    }

    pub(crate) fn device(&self, host: &str, device_id: &str) -> Option<&Device> {
        self.hub(host)?.devices.get(device_id)
    }

    pub(crate) fn device_mut(&mut self, host: &str, device_id: &str) -> Option<&mut Device> {
        self.hubs.get_mut(&host.to_ascii_lowercase())?.devices.get_mut(device_id)
    }
}
