//! Starts an emulator: opens the state, binds the listeners, and spawns the tasks of the listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::builder::Builder;
use super::emulator::Emulator;
use super::error::StartError;
#[cfg(feature = "admin")]
use crate::doors::admin::{Admin, Guard};
use crate::doors::admission::Admission;
use crate::doors::listen;
use crate::doors::serve::{Protocol, Server};
use crate::doors::tls::{Acceptor, Ca, Resolver, server_config};
use crate::services::access::Access;
use crate::services::cloud::{Cloud, Info};
use crate::services::dps::Registrar;
use crate::services::issuer::CredentialAuthority;
#[cfg(feature = "admin")]
use crate::services::simulated::Simulated;
use crate::state::choices::Choices;
use crate::state::clock::Clock;
use crate::state::disk::{Disk, StateError, open};
use crate::state::fault::{Faults, Moves};
use crate::state::journal::EventLog;
use crate::state::model::State;
use crate::state::new_file;
use crate::state::store::{InitialState, Store};
use crate::state::telemetry::TelemetryLog;
use crate::state::traffic::Traffic;

impl Emulator {
    /// Starts an emulator with the default options: free ports on 127.0.0.1 and ::1, and one hub named `localhost`. The
    /// state is in memory, and the certificate authority is temporary.
    ///
    /// # Errors
    /// [`StartError`] if the emulator cannot start.
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// Returns a builder to configure an emulator.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Binds every listener and starts the emulator.
    ///
    /// # Errors
    /// [`StartError`] if the emulator cannot start. If a port is in use, the error contains the listener and the
    /// address.
    ///
    /// # Cancel safety
    /// Dropping the future frees the ports at once, and frees the data directory shortly afterwards.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let options = self;
        let addresses = options.check()?;
        let names = Arc::new(options.certificate_names()?);
        let (ca, ca_file, scratch) = open_ca(options.data_dir.as_deref())?;
        let authority = Arc::new(match &options.data_dir {
            Some(directory) => CredentialAuthority::open(directory)?,
            None => CredentialAuthority::generate()?,
        });
        let ca_pem = ca.pem().to_owned();
        let resolver = Resolver::new(Arc::new(ca), Arc::clone(&names), options.certificate)?;
        let tls = Acceptor::new(server_config(resolver)?, names);

        let mqtt = listen::bind("MQTT", &addresses, options.mqtt_port)?;
        let https = listen::bind("HTTPS", &addresses, options.https_port)?;
        #[cfg(feature = "admin")]
        let admin = listen::bind("admin", &options.admin_addresses(), options.admin_port)?;
        #[cfg(feature = "admin")]
        if let Some(address) = options.admin_address.filter(|it| !it.is_loopback()) {
            let risk = "every client that reaches it controls this emulator";
            tracing::warn!(%address, "the admin port is not on loopback: {risk}");
        }
        #[cfg(not(feature = "admin"))]
        let admin = Vec::new();
        let local = |listeners: &[tokio::net::TcpListener]| -> Vec<SocketAddr> {
            listeners.iter().filter_map(|it| it.local_addr().ok()).collect()
        };
        let info = Arc::new(Info {
            id_scope: options.id_scope.clone(),
            hubs: options.hubs.clone(),
            dps_hosts: options.dps_hosts.clone(),
            names: options.own_names(),
            mqtt: local(&mqtt),
            https: local(&https),
            admin: local(&admin),
            ca_pem,
            ca_file,
            dev_keys: options.dev_keys,
        });

        let clock = Arc::new(Clock::new(options.clock_ahead));
        let retention = options.telemetry_retention;
        let logs: BTreeMap<String, TelemetryLog> =
            options.hubs.iter().map(|it| (it.to_ascii_lowercase(), TelemetryLog::new(retention))).collect();
        let state = State::new(options.hubs.iter().map(String::as_str));
        let (state, mut opened) = open_state(options.data_dir.as_deref(), state, &logs).await?;
        let initial_state = InitialState { dev_keys: options.dev_keys, seed: options.seed.clone() };
        let store = match begin(&options, &initial_state, state, opened.disk.clone(), clock.now()).await {
            Ok(store) => Arc::new(store),
            Err(error) => {
                opened.closed().await;
                return Err(error);
            }
        };
        let journal = EventLog::new(Arc::clone(&clock));
        store.report_to(&journal);
        let cloud = Arc::new(Cloud {
            journal: journal.clone(),
            closing: watch::Sender::new(false),
            registrar: Registrar {
                journal,
                moves: Moves::default(),
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                authority: Arc::clone(&authority),
                id_scope: options.id_scope,
                retry_after: options.retry_after.map(|it| it.as_secs()),
                polls_before_assigned: options.polls_before_assigned,
            },
            authority,
            logs,
            traffic: Traffic::new(),
            #[cfg(feature = "admin")]
            simulated: Simulated::new(options.run_device),
            initial_state,
            faults: Faults::default(),
            store,
            clock,
            access: Access::new(&options.dps_hosts, &options.hubs, &options.names),
            info,
            choices: Choices::new(options.close_on_refused_filter, options.shuffle),
        });

        let server = Server { cloud: Arc::clone(&cloud), tls, admission: Admission::new(options.max_connections) };
        let mut tasks = JoinSet::new();
        #[cfg_attr(not(feature = "admin"), expect(unused_mut, reason = "there is no admin port without the feature"))]
        let mut admin_tasks = JoinSet::new();
        for listener in mqtt {
            tasks.spawn(server.clone().run(listener, Protocol::Mqtt));
        }
        for listener in https {
            tasks.spawn(server.clone().run(listener, Protocol::Https));
        }
        #[cfg(feature = "admin")]
        {
            let guard = Guard::new(&options.allowed_hosts, &cloud.info.admin);
            let admin_server = Arc::new(Admin::new(Arc::clone(&cloud), guard));
            for listener in admin {
                admin_tasks.spawn(Arc::clone(&admin_server).serve(listener));
            }
        }
        tracing::info!(mqtt = ?cloud.info.mqtt, https = ?cloud.info.https, "ready");
        opened.disk = None;
        Ok(Emulator { cloud, tasks, admin: admin_tasks, scratch })
    }
}

/// The disk of an emulator that is starting; `None` if its state is in memory. If the start fails or is cancelled,
/// dropping this value closes the disk and releases the data directory.
struct Opened {
    disk: Option<Disk>,
}

impl Opened {
    async fn closed(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
            disk.closed().await;
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

/// Applies the seed, the development keys and the policies to the loaded state.
async fn begin(
    options: &Builder,
    initial_state: &InitialState,
    mut state: State,
    disk: Option<Disk>,
    now: SystemTime,
) -> Result<Store, StartError> {
    for hub in state.hubs.values_mut() {
        hub.rules = options.rules;
    }
    initial_state.apply(&mut state, now)?;
    options.apply_policy_keys(&mut state)?;
    let store = match disk {
        Some(disk) => Store::on_disk(state, disk),
        None => Store::new(state),
    };
    store.flushed().await?;
    Ok(store)
}

/// Loads the state from the data directory, if there is one.
async fn open_state(
    data_dir: Option<&Path>,
    mut state: State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<(State, Opened), StartError> {
    let Some(directory) = data_dir.map(Path::to_owned) else { return Ok((state, Opened { disk: None })) };
    let logs = logs.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let disk = open(&directory, &mut state, &logs)?;
        // `sweep` removes temporary files. None of them is in use: this process holds the lock of the directory, so no
        // other process creates files there.
        if let Err(error) = new_file::sweep(&directory) {
            tracing::warn!(%error, "cannot remove temporary files of an interrupted start from the data directory");
        }
        Ok::<_, StateError>((state, Opened { disk: Some(disk) }))
    });
    // No code aborts the task, so a failed join means that the task has panicked. Propagates the panic.
    Ok(opening.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?)
}

fn open_ca(data_dir: Option<&Path>) -> Result<(Ca, PathBuf, Option<TempDir>), StartError> {
    if let Some(directory) = data_dir {
        let (ca, file) = Ca::open(directory)?;
        return Ok((ca, file, None));
    }
    let ca = Ca::generate()?;
    let scratch = tempfile::Builder::new().prefix("hubward-emulator-").tempdir();
    let scratch = scratch.map_err(|source| StartError::File { path: std::env::temp_dir(), source })?;
    let file = scratch.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).map_err(|source| StartError::File { path: file.clone(), source })?;
    Ok((ca, file, Some(scratch)))
}
