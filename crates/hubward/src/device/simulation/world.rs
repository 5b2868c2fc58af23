//! The services of a simulation, and everything that the device shares with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fastrand::Rng;
use hubward_hub::HubTarget;
use hubward_proto::hub::HubIdentity;
use hubward_sas::SIGNATURE_LEN;
use hubward_transport::{Abilities, Credential, CredentialError, DpsTransport, HubLogin, Signer, TransportKind};
use tokio::time::Instant;

use super::super::NamedCredential;
use super::super::cache::{Binding, CacheError, CachedAssignment, SetAside};
use super::super::network::Network;
use super::super::storage::Storage;
use super::coverage::Seen;
use super::hub::SimHub;
use super::model::Model;
use super::provisioning::SimDps;
use crate::Settings;
use crate::error::SetupError;

/// The names of the hubs. The last one is dead.
pub(super) const HUBS: [&str; 3] = ["hub-a", "hub-b", "hub-dead"];

/// How a hub treats the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HubMode {
    Healthy,
    Unreachable,
    Hangs,
    Untrusted,
    /// The server is unavailable, and maybe asks for a wait.
    Unavailable(Option<Duration>),
    Throttles(Option<Duration>),
    /// The hub accepts the device, and ends the connection after this time.
    Drops(Duration),
    /// The hub acknowledges messages after this time.
    Late(Duration),
}

/// How DPS treats the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DpsMode {
    /// Assigns the device after this number of polls.
    Assigns(u32),
    KeepsAssigning,
    Throttles(Option<Duration>),
    Fails,
    Refuses,
    Disabled,
    Unreachable,
    Hangs,
    /// Takes the registration, and then fails to answer the polls.
    PollsFail,
}

/// A connection to a hub, or an attempt.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) hub: usize,
    pub(super) is_cut: bool,
    pub(super) waker: Option<Waker>,
}

/// The state of the services, and what happened.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    /// Whether to print what happens.
    is_verbose: bool,
    started: Instant,
    pub(super) dps: DpsMode,
    pub(super) hubs: [HubMode; 3],
    /// The hub that DPS assigns.
    pub(super) target: usize,
    /// Whether each hub knows the device.
    pub(super) knows: [bool; 3],
    /// The credentials that the services accept.
    pub(super) valid: BTreeSet<String>,
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) next_line: u64,
    /// Transports to DPS that have sent a request and are still open.
    pub(super) dps_open: u32,
    /// The number of polls until DPS has assigned the device.
    pub(super) polls_left: u32,
    pub(super) model: Model,
    pub(super) seen: Seen,
    /// The first promise that was broken.
    pub(super) problem: Option<String>,
    /// The hubs that have seen each message, in order of its number.
    pub(super) messages: BTreeMap<u64, BTreeSet<usize>>,
    /// The messages that a hub has acknowledged.
    pub(super) acknowledged: BTreeSet<u64>,
    /// For each hub, the largest number of a message that it has seen.
    pub(super) newest: [Option<u64>; 3],
    /// What a restarted device finds in its cache.
    cache: Option<CachedAssignment>,
}

/// A handle to the state.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

impl World {
    pub(super) fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng,
            is_verbose: std::env::var_os("HUBWARD_SEED").is_some(),
            started: Instant::now(),
            dps: DpsMode::Assigns(0),
            hubs: [HubMode::Healthy, HubMode::Healthy, HubMode::Unreachable],
            target: 0,
            knows: [false; 3],
            valid: BTreeSet::new(),
            lines: BTreeMap::new(),
            next_line: 0,
            dps_open: 0,
            polls_left: 0,
            model: Model::default(),
            seen: Seen::default(),
            problem: None,
            messages: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            newest: [None; 3],
            cache: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a connection, or an attempt.
    pub(super) fn is_in_use(&self) -> bool {
        let world = self.lock();
        world.dps_open > 0 || !world.lines.is_empty()
    }
}

impl State {
    /// Notes that a promise was broken.
    pub(super) fn check(&mut self, promise: Result<(), String>) {
        if let Err(problem) = promise {
            self.log(|| format!("BROKEN: {problem}"));
            self.problem.get_or_insert(problem);
        }
    }

    /// Prints what happens, if only one seed runs.
    pub(super) fn log(&self, text: impl FnOnce() -> String) {
        if self.is_verbose {
            println!("{:>10.3}  {}", self.started.elapsed().as_secs_f64(), text());
        }
    }

    /// Ends the connections to this hub.
    pub(super) fn cut(&mut self, hub: usize) {
        for line in self.lines.values_mut().filter(|it| it.hub == hub) {
            line.is_cut = true;
            if let Some(waker) = line.waker.take() {
                waker.wake();
            }
        }
    }

    /// A random time between these two, in seconds.
    pub(super) fn between(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(least + (most - least) * self.rng.f64())
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[async_trait]
impl Network for World {
    fn abilities(&self, _: TransportKind) -> Abilities {
        Abilities::default()
    }

    async fn dps(&self, _: &Settings, credential: &Credential) -> Result<Box<dyn DpsTransport>, SetupError> {
        Ok(Box::new(SimDps::new(self.clone(), name_of(credential))))
    }

    async fn hub(&self, _: &Settings, identity: HubIdentity, key: &Credential) -> Result<HubTarget, SetupError> {
        let hub = HUBS.iter().position(|it| *it == identity.host.as_str()).expect("a hub of the simulation");
        let transport = SimHub { world: self.clone(), hub, key: name_of(key) };
        Ok(HubTarget::new(
            Box::new(transport) as Box<dyn hubward_transport::HubTransport>,
            HubLogin::new(identity),
            key.clone(),
        ))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn random(&self) -> f64 {
        self.lock().rng.f64()
    }
}

/// The cache of the device, in memory.
#[async_trait]
impl Storage for World {
    async fn open(&mut self, _: Binding) -> (Option<CachedAssignment>, Option<SetAside>) {
        (self.lock().cache.clone(), None)
    }

    async fn store(&mut self, _: Binding, assignment: CachedAssignment) -> Result<(), CacheError> {
        self.lock().cache = Some(assignment);
        Ok(())
    }
}

/// A credential whose `Debug` is its name.
struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[async_trait]
impl Signer for Key {
    async fn sign(&self, _: &[u8]) -> Result<[u8; SIGNATURE_LEN], CredentialError> {
        Ok([7; SIGNATURE_LEN])
    }
}

/// The credentials of a list.
pub(super) fn keys(list: char, count: usize) -> impl Iterator<Item = NamedCredential> {
    (0..count).map(move |it| {
        let name = format!("{list}{it}");
        NamedCredential::new(name.clone(), Credential::Signer(Arc::new(Key(name))))
    })
}

fn name_of(credential: &Credential) -> String {
    match credential {
        Credential::Signer(key) => format!("{key:?}"),
        credential => panic!("{credential:?} is not a credential of the simulation"),
    }
}
