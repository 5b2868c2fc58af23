//! The handle of a running emulator.

mod devices;
mod enrollments;
mod faults;
mod messages;
mod methods;
mod modules;
mod policies;
mod state;
mod twins;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::builder::Builder;
use super::error::StartError;
#[cfg(feature = "admin")]
use crate::doors::admin::{Admin, Guard};
use crate::doors::admission::Admission;
use crate::doors::listen;
use crate::doors::serve::{Protocol, Server};
use crate::doors::tls::{Ca, Resolver, server_config};
use crate::services::access::Access;
use crate::services::cloud::{Cloud, Info};
use crate::services::dps::Registrar;
use crate::services::maintenance;
use crate::services::ready::Ready;
use crate::state::choices::Choices;
use crate::state::clock::Clock;
use crate::state::fault::{Faults, Moves};
use crate::state::journal::EventLog;
use crate::state::new_file;
use crate::state::store::{Beginning, Disk, State, StateError, Store, open};
use crate::state::telemetry::TelemetryLog;

/// A running emulator. Dropping it closes every listener and connection.
#[derive(Debug)]
pub struct Emulator {
    cloud: Arc<Cloud>,
    /// The listeners; each one owns its connections.
    tasks: JoinSet<()>,
    /// The listeners of the admin port. They end by themselves when `Cloud::closing` is set.
    admin: JoinSet<()>,
    /// Holds the CA file of an emulator without a data directory.
    scratch: Option<TempDir>,
}

impl Emulator {
    /// Starts an emulator with defaults: free ports on 127.0.0.1 and ::1, one hub `localhost`, state in memory, a
    /// temporary certificate authority.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// Returns a builder to configure an emulator.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn launch(options: Builder) -> Result<Self, StartError> {
        let addresses = options.check()?;
        let names = options.certificate_names()?;
        let (ca, ca_file, scratch) = open_ca(options.data_dir.as_deref())?;
        let ca_pem = ca.pem().to_owned();
        let tls = server_config(Resolver::new(Arc::new(ca), names, options.certificate)?)?;

        let mqtt = listen::bind("MQTT", &addresses, options.mqtt_port)?;
        let https = listen::bind("HTTPS", &addresses, options.https_port)?;
        #[cfg(feature = "admin")]
        let admin = listen::bind("admin", &options.admin_addresses(), options.admin_port)?;
        #[cfg(feature = "admin")]
        if let Some(address) = options.admin_address.filter(|it| !it.is_loopback()) {
            tracing::warn!(%address, "the admin port is not on loopback: every client that reaches it controls this emulator");
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
        let beginning = Beginning { dev_keys: options.dev_keys, seed: options.seed.clone() };
        let store = match begin(&options, &beginning, state, opened.disk.clone(), clock.now()).await {
            Ok(store) => Arc::new(store),
            Err(error) => {
                opened.closed().await;
                return Err(error);
            }
        };
        let journal = EventLog::new(Arc::clone(&clock));
        store.tell(&journal);
        let cloud = Arc::new(Cloud {
            journal: journal.clone(),
            closing: watch::Sender::new(false),
            registrar: Registrar {
                journal,
                moves: Moves::default(),
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                id_scope: options.id_scope,
                retry_after: options.retry_after.map(|it| it.as_secs()),
                polls_before_assigned: options.polls_before_assigned,
            },
            logs,
            beginning,
            faults: Faults::default(),
            store,
            clock,
            access: Access::new(&options.dps_hosts, &options.hubs, &options.names),
            info,
            choices: Choices::new(options.close_on_refused_filter, options.shuffle),
        });

        let server =
            Server { cloud: Arc::clone(&cloud), tls: tls.into(), admission: Admission::new(options.max_connections) };
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
        Ok(Self { cloud, tasks, admin: admin_tasks, scratch })
    }

    /// Ends every connection and listener. Waits until the ports are free and the state is written.
    pub async fn shutdown(mut self) {
        // Streams of the admin port end cleanly; all other connections are cut.
        self.cloud.closing.send_replace(true);
        while let Some(task) = self.admin.join_next().await {
            drop(task);
        }
        self.tasks.shutdown().await;
        if let Some(disk) = self.cloud.store.disk() {
            disk.close();
            disk.closed().await;
        }
        drop(self.scratch.take());
    }

    /// Endpoints and names, as one line of JSON for scripts that wait until the emulator is ready.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready::new(&self.cloud.info)
    }

    /// The first address of MQTT over TLS.
    #[must_use]
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.cloud.info.mqtt[0]
    }

    /// The first address of HTTPS and MQTT over WebSocket.
    #[must_use]
    pub fn https_addr(&self) -> SocketAddr {
        self.cloud.info.https[0]
    }

    /// The first address of the plain-HTTP admin listener.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.cloud.info.admin[0]
    }

    /// The id scope.
    #[must_use]
    pub fn id_scope(&self) -> &str {
        &self.cloud.info.id_scope
    }

    /// Names of the hubs.
    #[must_use]
    pub fn hubs(&self) -> &[String] {
        &self.cloud.info.hubs
    }

    /// The certificate to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.cloud.info.ca_pem
    }

    /// Path of the file with the certificate to trust. Without a data directory, the emulator deletes the file when
    /// it ends.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.cloud.info.ca_file
    }

    /// The log of events: registrations, refusals and their reasons, faults that happened.
    #[must_use]
    pub fn events(&self) -> EventLog {
        self.cloud.journal.clone()
    }

    /// Counts all changes except telemetry, so that a test can wait for one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.cloud.store.revision()
    }

    /// Waits until `condition` returns `Some`. Calls `condition` now and after every change except telemetry; a
    /// fault that happens is a change. Has no time limit of its own.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_until<T>(&self, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if let Some(found) = condition(self) {
                return found;
            }
            // `self` owns the sender, so the channel cannot be closed.
            let _ = changes.changed().await;
        }
    }

    /// Sets how far the emulator's clock is ahead of the system clock (at most a hundred years). This takes effect
    /// at once: tokens age, also those of open connections; messages to devices expire, and their locks end.
    pub fn clock_ahead(&self, ahead: Duration) {
        maintenance::move_clock(&self.cloud, ahead);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(disk) = self.cloud.store.disk() {
            // Changes that are queued are still written.
            disk.close();
        }
    }
}

/// The disk of an emulator that is starting, if it has one. Dropping this closes the disk, so that a start that
/// fails or is cancelled releases the data directory.
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

/// Applies the seed, the development keys and the policies to the state that was loaded.
async fn begin(
    options: &Builder,
    beginning: &Beginning,
    mut state: State,
    disk: Option<Disk>,
    now: SystemTime,
) -> Result<Store, StartError> {
    for hub in state.hubs.values_mut() {
        hub.rules = options.rules;
    }
    beginning.apply(&mut state, now)?;
    options.settle_policies(&mut state)?;
    let store = match disk {
        Some(disk) => Store::on_disk(state, disk),
        None => Store::new(state),
    };
    store.settled().await?;
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
        // This process now holds the lock of the directory, so no other process creates files there.
        if let Err(error) = new_file::sweep(&directory) {
            tracing::warn!(%error, "cannot remove temporary files of an interrupted start from the data directory");
        }
        Ok::<_, StateError>((state, Opened { disk: Some(disk) }))
    });
    // The task is never aborted, so an error is a panic; propagate it.
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
