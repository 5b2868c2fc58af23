//! What every connection of an emulator shares.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::choices::Choices;
use crate::clock::Clock;
use crate::dps::Registrar;
#[cfg(test)]
use crate::fault::Moves;
use crate::fault::{Fault, Faults, Point};
use crate::hub::TelemetryLog;
use crate::journal::{EventKind, EventLog, EventSource, Note};
use crate::service::Access;
use crate::store::{Beginning, Store};

/// State and behaviour.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) registrar: Registrar,
    pub(crate) journal: EventLog,
    /// True once everything is to end: streams that have no end of their own end then.
    pub(crate) closing: watch::Sender<bool>,
    /// By the hub's name in lower case; never changes.
    pub(crate) logs: BTreeMap<String, TelemetryLog>,
    /// Of the service API of DPS.
    pub(crate) access: Access,
    pub(crate) info: Arc<Info>,
    pub(crate) beginning: Beginning,
    pub(crate) choices: Choices,
}

impl Shared {
    /// What is to go wrong with the event that happens now, where it is not a device's or nobody knows whose
    /// it is. Counts as a change, so that a test can wait for it.
    pub(crate) fn take_fault(&self, point: Point) -> Option<Fault> {
        self.happens(point, None, self.faults.take(point, None, true)?)
    }

    /// The same for a device. Where it is not `known`, since it has not shown that it is who it says, nothing
    /// happens to the device itself.
    pub(crate) fn take_fault_of(&self, point: Point, device: &str, known: bool) -> Option<Fault> {
        self.happens(point, Some(device), self.faults.take(point, Some(device), known)?)
    }

    fn happens(&self, point: Point, device: Option<&str>, fault: Fault) -> Option<Fault> {
        tracing::debug!(?point, device, fault = fault.name(), "a scripted fault happens");
        let note = Note::new(EventKind::FaultHappened, EventSource::Emulator);
        let note = note.message(format!("{} at {point:?}", fault.name()));
        self.journal.note(match device {
            Some(device) => note.id(device),
            None => note,
        });
        self.store.change(|_| ());
        Some(fault)
    }

    /// Returns when everything is to end.
    #[cfg(feature = "admin")]
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives in `self`.
        let _ = closing.wait_for(|it| *it).await;
    }

    /// Sets how far the clock is ahead, with all that follows.
    pub(crate) fn move_clock(&self, ahead: Duration) {
        self.clock.set_ahead(ahead);
        let now = self.clock.now();
        self.store.change(|state| state.hubs.values_mut().for_each(|hub| hub.refresh(None, now)));
        let message = format!("{} s ahead", self.clock.ahead().as_secs());
        self.journal.note(Note::new(EventKind::ClockMoved, EventSource::Emulator).message(message));
    }
}

/// What an emulator says of itself; never changes.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) id_scope: String,
    pub(crate) hubs: Vec<String>,
    pub(crate) dps_hosts: Vec<String>,
    pub(crate) mqtt: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    /// Empty without the feature `admin`.
    pub(crate) admin: Vec<SocketAddr>,
    pub(crate) ca_pem: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) dev_keys: bool,
}

#[cfg(test)]
impl Shared {
    /// One hub `localhost` with a device `d1` of this key, no listeners.
    pub(crate) fn for_tests(key: &hubward_sas::SharedKey) -> Arc<Self> {
        use crate::store::{Device, KeyPair, State};

        let mut state = State::new(["localhost"]);
        let keys = KeyPair { primary: key.clone(), secondary: key.clone() };
        let device = Device::new(keys, crate::clock::system_now());
        state.hubs.get_mut("localhost").expect("the hub").devices.insert("d1".into(), device);
        let (store, clock) = (Arc::new(Store::new(state)), Arc::new(Clock::new(Duration::ZERO)));
        let journal = EventLog::new(Arc::clone(&clock));
        Arc::new(Self {
            journal: journal.clone(),
            closing: watch::Sender::new(false),
            registrar: Registrar {
                journal,
                moves: Moves::default(),
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                id_scope: "0ne1".into(),
                retry_after: None,
                polls_before_assigned: 0,
            },
            store,
            clock,
            faults: Faults::default(),
            logs: BTreeMap::from([("localhost".to_owned(), TelemetryLog::new(1000))]),
            access: Access::new(&[], &["localhost".to_owned()], &[]),
            beginning: Beginning::default(),
            choices: Choices::default(),
            info: Arc::new(Info {
                id_scope: "0ne1".into(),
                hubs: vec!["localhost".into()],
                dps_hosts: Vec::new(),
                mqtt: Vec::new(),
                https: Vec::new(),
                admin: Vec::new(),
                ca_pem: String::new(),
                ca_file: PathBuf::new(),
                dev_keys: false,
            }),
        })
    }
}
