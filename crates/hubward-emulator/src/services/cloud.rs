//! The emulated cloud: the data that all services use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(test)]
use std::time::Duration;

use tokio::sync::watch;

use crate::services::access::Access;
use crate::services::dps::Registrar;
use crate::services::issuer::CredentialAuthority;
#[cfg(feature = "admin")]
use crate::services::simulated::Simulated;
use crate::state::choices::Choices;
use crate::state::clock::Clock;
use crate::state::fault::Faults;
#[cfg(test)]
use crate::state::fault::Moves;
use crate::state::journal::EventLog;
use crate::state::store::{InitialState, Store};
use crate::state::telemetry::TelemetryLog;
use crate::state::traffic::Traffic;

/// The state, the clock, the journal and the settings of an emulator. All connections share this value.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) registrar: Registrar,
    /// Issues certificates to devices.
    pub(crate) authority: Arc<CredentialAuthority>,
    pub(crate) journal: EventLog,
    /// Becomes `true` when the emulator shuts down, to end all streams.
    pub(crate) closing: watch::Sender<bool>,
    /// The telemetry log of each hub. The key is the name of the hub in lower case. Hubs are never added or removed.
    pub(crate) logs: BTreeMap<String, TelemetryLog>,
    pub(crate) traffic: Traffic,
    /// The host names of DPS and the hubs. The service APIs and the HTTPS port check host names with this value.
    pub(crate) access: Access,
    pub(crate) info: Arc<Info>,
    pub(crate) initial_state: InitialState,
    pub(crate) choices: Choices,
    #[cfg(feature = "admin")]
    pub(crate) simulated: Simulated,
}

impl Cloud {
    /// Returns when the emulator shuts down.
    #[cfg(feature = "admin")]
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // `wait_for` cannot fail, because the sender is a field of `self`.
        let _ = closing.wait_for(|it| *it).await;
    }
}

/// Names, addresses and other facts about a running emulator. These values never change.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) id_scope: String,
    pub(crate) hubs: Vec<String>,
    pub(crate) dps_hosts: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) mqtt: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    /// Empty without the feature `admin`.
    pub(crate) admin: Vec<SocketAddr>,
    pub(crate) ca_pem: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) dev_keys: bool,
}

#[cfg(test)]
impl Cloud {
    /// An emulator without listeners, for unit tests. It has one hub, `localhost`, with one device, `d1`. `key` is the
    /// primary and the secondary key of this device.
    pub(crate) fn for_tests(key: &hubward_sas::SharedKey) -> Arc<Self> {
        use crate::state::model::{Device, KeyPair, State};

        let mut state = State::new(["localhost"]);
        let keys = KeyPair { primary: key.clone(), secondary: key.clone() };
        let device = Device::with_keys(keys, crate::state::clock::system_now());
        state.hubs.get_mut("localhost").expect("the hub").devices.insert("d1".into(), device);
        let (store, clock) = (Arc::new(Store::new(state)), Arc::new(Clock::new(Duration::ZERO)));
        let journal = EventLog::new(Arc::clone(&clock));
        let authority = Arc::new(CredentialAuthority::generate().expect("an authority"));
        Arc::new(Self {
            journal: journal.clone(),
            closing: watch::Sender::new(false),
            registrar: Registrar {
                journal,
                moves: Moves::default(),
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                authority: Arc::clone(&authority),
                id_scope: "0ne1".into(),
                retry_after: None,
                polls_before_assigned: 0,
            },
            authority,
            store,
            clock,
            faults: Faults::default(),
            traffic: Traffic::new(),
            #[cfg(feature = "admin")]
            simulated: Simulated::new(None),
            logs: BTreeMap::from([("localhost".to_owned(), TelemetryLog::new(1000))]),
            access: Access::new(&[], &["localhost".to_owned()], &[]),
            initial_state: InitialState::default(),
            choices: Choices::default(),
            info: Arc::new(Info {
                id_scope: "0ne1".into(),
                hubs: vec!["localhost".into()],
                dps_hosts: Vec::new(),
                names: vec!["localhost".into()],
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
