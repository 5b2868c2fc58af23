//! State that all connections of an emulator share.

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

/// The state and the settings of an emulator.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) registrar: Registrar,
    pub(crate) journal: EventLog,
    /// Becomes true when the emulator shuts down. Endless streams end then.
    pub(crate) closing: watch::Sender<bool>,
    /// The telemetry logs, by the hub's name in lower case. The set of hubs never changes.
    pub(crate) logs: BTreeMap<String, TelemetryLog>,
    /// The host names of DPS and the hubs, which the service APIs and the HTTPS port check.
    pub(crate) access: Access,
    pub(crate) info: Arc<Info>,
    pub(crate) beginning: Beginning,
    pub(crate) choices: Choices,
}

impl Shared {
    /// Takes the scripted fault for an event that belongs to no device, or to an unknown one. A fault that happens
    /// counts as a change of the store, so that a test can wait for it.
    pub(crate) fn take_fault(&self, point: Point) -> Option<Fault> {
        self.record_fault(point, None, self.faults.take(point, None, true)?)
    }

    /// Takes the scripted fault for an event of `device`. `known` is whether the device has authenticated; if it
    /// has not, faults that change the device itself do not happen.
    pub(crate) fn take_fault_of(&self, point: Point, device: &str, known: bool) -> Option<Fault> {
        self.record_fault(point, Some(device), self.faults.take(point, Some(device), known)?)
    }

    fn record_fault(&self, point: Point, device: Option<&str>, fault: Fault) -> Option<Fault> {
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

    /// Returns when the emulator shuts down.
    #[cfg(feature = "admin")]
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives in `self`.
        let _ = closing.wait_for(|it| *it).await;
    }

    /// Sets how far the clock is ahead of the system's, and updates everything that depends on the time.
    pub(crate) fn move_clock(&self, ahead: Duration) {
        self.clock.set_ahead(ahead);
        let now = self.clock.now();
        self.store.change(|state| state.hubs.values_mut().for_each(|hub| hub.refresh(None, now)));
        let message = format!("{} s ahead", self.clock.ahead().as_secs());
        self.journal.note(Note::new(EventKind::ClockMoved, EventSource::Emulator).message(message));
    }
}

/// Facts about a running emulator, such as its names and addresses. They never change.
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
    /// An emulator without listeners, with one hub `localhost` and a device `d1` that has this key.
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
