//! A running emulator, as a test or a program holds it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hubward_proto::DeviceId;
use hubward_proto::dps::RegistrationState;
use hubward_proto::service::ProvisioningStatus;
use hubward_sas::SharedKey;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::builder::{LOOPBACK, dev_group};
use crate::clock::{Clock, timestamp};
use crate::dps::Registrar;
use crate::enroll::{Enrollment, EnrollmentBuilder, EnrollmentGroup, EnrollmentGroupBuilder};
use crate::fault::{Fault, Faults, Point, UnfitFault};
use crate::hub::TelemetryLog;
use crate::ready::Ready;
use crate::serve::{Protocol, Server};
use crate::shared::{Info, Shared};
use crate::store::{
    Device, DeviceView, EnrollError, Key, KeyPair, Seed, SeedError, SeedReport, State, Store, Why, apply, complete,
};
use crate::tls::{Ca, Resolver, server_config};
use crate::{Builder, StartError, http, listen, wire_id};

/// A running emulator. Dropping it ends everything.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    /// The listeners; their connections end with them.
    tasks: JoinSet<()>,
    /// Holds the CA file of an emulator without a data directory.
    scratch: Option<TempDir>,
}

impl Emulator {
    /// Starts one with every default: free ports on 127.0.0.1 and ::1, one hub `localhost`, state in
    /// memory, a certificate authority that is thrown away.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// An emulator to be configured.
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

        let mqtt = listen::bind("MQTT", &addresses, options.mqtt_port).await?;
        let https = listen::bind("HTTPS", &addresses, options.https_port).await?;
        let admin = listen::bind("admin", &LOOPBACK, options.admin_port).await?;
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
        let mut state = State::new(options.hubs.iter().map(String::as_str));
        if options.dev_keys {
            let (entry, _) = complete(dev_group(), None, clock.now()).map_err(SeedError::from)?;
            state.groups.insert(crate::DEV_GROUP.to_owned(), entry);
        }
        if let Some(seed) = &options.seed {
            apply(&mut state, seed, clock.now())?;
        }
        let store = Arc::new(Store::new(state));
        let retention = options.telemetry_retention;
        let shared = Arc::new(Shared {
            registrar: Registrar {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                id_scope: options.id_scope,
                retry_after: options.retry_after.map(|it| it.as_secs()),
                polls_before_assigned: options.polls_before_assigned,
            },
            logs: options.hubs.iter().map(|it| (it.to_ascii_lowercase(), TelemetryLog::new(retention))).collect(),
            faults: Faults::default(),
            store,
            clock,
            info,
        });

        let server = Server {
            shared: Arc::clone(&shared),
            tls: tls.into(),
            permits: Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
        };
        let mut tasks = JoinSet::new();
        for listener in mqtt {
            tasks.spawn(server.clone().run(listener, Protocol::Mqtt));
        }
        for listener in https {
            tasks.spawn(server.clone().run(listener, Protocol::Https));
        }
        for listener in admin {
            tasks.spawn(http::serve_admin(listener, Arc::clone(&shared)));
        }
        tracing::info!(mqtt = ?shared.info.mqtt, https = ?shared.info.https, admin = ?shared.info.admin, "ready");
        Ok(Self { shared, tasks, scratch })
    }

    /// Ends every connection and listener, and waits until the ports are free.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        drop(self.scratch.take());
    }

    // ---- Where it is ----

    /// Endpoints and names, for a line of JSON that scripts wait for.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready::new(&self.shared.info)
    }

    /// The first address of MQTT over TLS.
    #[must_use]
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.shared.info.mqtt[0]
    }

    /// The first address of HTTPS and MQTT over WebSocket.
    #[must_use]
    pub fn https_addr(&self) -> SocketAddr {
        self.shared.info.https[0]
    }

    /// The first address of the plain-HTTP admin listener.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.shared.info.admin[0]
    }

    /// The id scope.
    #[must_use]
    pub fn id_scope(&self) -> &str {
        &self.shared.info.id_scope
    }

    /// Names of the hubs.
    #[must_use]
    pub fn hubs(&self) -> &[String] {
        &self.shared.info.hubs
    }

    /// The certificate to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.info.ca_pem
    }

    /// A file with the certificate to trust. Without a data directory it goes with the emulator.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.shared.info.ca_file
    }

    // ---- Enrollments ----

    /// Makes an individual enrollment with generated keys, or gives the one that exists.
    ///
    /// # Errors
    /// [`EnrollError`] for an id that the service would not accept.
    pub fn enroll(&self, registration_id: &str) -> Result<Enrollment, EnrollError> {
        let existing = self.shared.store.read(|state| {
            let entry = state.individuals.get(&registration_id.to_ascii_lowercase())?;
            Some(Enrollment::new(Arc::clone(&self.shared.info), entry))
        });
        existing.map_or_else(|| self.enrollment(registration_id).create(), Ok)
    }

    /// An individual enrollment to be configured; ends with
    /// [`create`](EnrollmentBuilder::create).
    pub fn enrollment(&self, registration_id: impl Into<String>) -> EnrollmentBuilder<'_> {
        EnrollmentBuilder::new(&self.shared, registration_id.into())
    }

    /// Makes an enrollment group with generated keys, or gives the one that exists.
    ///
    /// # Errors
    /// [`EnrollError`] for a name that the service would not accept.
    pub fn enroll_group(&self, name: &str) -> Result<EnrollmentGroup, EnrollError> {
        let existing = self.shared.store.read(|state| {
            let entry = state.groups.get(&name.to_ascii_lowercase())?;
            Some(EnrollmentGroup::new(Arc::clone(&self.shared.info), entry))
        });
        existing.map_or_else(|| self.enrollment_group(name).create(), Ok)
    }

    /// An enrollment group to be configured; ends with
    /// [`create`](EnrollmentGroupBuilder::create).
    pub fn enrollment_group(&self, name: impl Into<String>) -> EnrollmentGroupBuilder<'_> {
        EnrollmentGroupBuilder::new(&self.shared, name.into())
    }

    /// Applies a seed: all of it or nothing.
    ///
    /// # Errors
    /// [`SeedError`].
    pub fn apply_seed(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        let now = self.shared.clock.now();
        self.shared.store.change(|state| apply(state, seed, now))
    }

    /// Switches an individual enrollment off. A hub's identity stays as it is.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn disable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Disabled)
    }

    /// Switches an individual enrollment on again.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn enable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Enabled)
    }

    /// Deletes an individual enrollment. A hub's identity stays as it is, and so does the record of
    /// the registration.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn delete(&self, registration_id: &str) -> Result<(), EnrollError> {
        let removed =
            self.shared.store.change(|state| state.individuals.remove(&registration_id.to_ascii_lowercase()).is_some());
        found(removed, registration_id)
    }

    /// Switches a group off.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn disable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Disabled)
    }

    /// Switches a group on again.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn enable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Enabled)
    }

    /// Deletes a group. Identities at hubs and records of registrations stay.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn delete_group(&self, name: &str) -> Result<(), EnrollError> {
        let removed = self.shared.store.change(|state| state.groups.remove(&name.to_ascii_lowercase()).is_some());
        found(removed, name)
    }

    /// The settings of a device as environment variables: of its individual enrollment, else of the
    /// only group, else of the group of [`Builder::dev_keys`]. One of them is a key.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if there is neither.
    pub fn vars(&self, registration_id: &str) -> Result<Vec<(&'static str, String)>, EnrollError> {
        let key = self.shared.store.read(|state| {
            if let Some(entry) = state.individuals.get(&registration_id.to_ascii_lowercase()) {
                return Some(entry.keys.primary.clone());
            }
            let only = if state.groups.len() == 1 { state.groups.values().next() } else { None };
            let group = only.or_else(|| state.groups.get(crate::DEV_GROUP))?;
            Some(group.keys.primary.derive(registration_id))
        });
        let key = key.ok_or_else(|| EnrollError::NotFound { id: registration_id.to_owned() })?;
        Ok(self.ready().vars(registration_id, &key))
    }

    // ---- Registrations ----

    /// What DPS remembers of a device's registration.
    #[must_use]
    pub fn registration(&self, registration_id: &str) -> Option<RegistrationState> {
        self.record(registration_id, |it| Some(it.state.clone()))
    }

    /// The payload that a device sent with its last registration.
    #[must_use]
    pub fn received_payload(&self, registration_id: &str) -> Option<Value> {
        self.record(registration_id, |it| it.received_payload.clone())
    }

    /// Forgets a device's registration; gives whether there was one.
    pub fn delete_registration(&self, registration_id: &str) -> bool {
        self.shared.store.change(|state| state.records.remove(&registration_id.to_ascii_lowercase()).is_some())
    }

    // ---- Devices ----

    /// The devices of all hubs, in the order of hubs and ids.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceView> {
        self.shared.store.read(|state| {
            let hubs = state.hubs.values();
            hubs.flat_map(|hub| hub.devices.iter().map(|(id, it)| view(state, &hub.host, id, it))).collect()
        })
    }

    /// One device of a hub.
    #[must_use]
    pub fn device(&self, hub: &str, device_id: &str) -> Option<DeviceView> {
        self.shared.store.read(|state| {
            let host = &state.hub(hub)?.host;
            Some(view(state, host, device_id, state.device(hub, device_id)?))
        })
    }

    /// Makes a device known to a hub without DPS; gives its key.
    ///
    /// # Errors
    /// [`EnrollError`] for an id that the service would not accept, or a hub that is none.
    pub fn add_device(&self, hub: &str, device_id: &str) -> Result<SharedKey, EnrollError> {
        DeviceId::new(device_id)?;
        let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: device_id.to_owned(), problem })?;
        let created = timestamp(self.shared.clock.now());
        self.shared.store.change(|state| {
            let unknown = || EnrollError::UnknownHub { id: device_id.to_owned(), hub: hub.to_owned() };
            let hub = state.hubs.get_mut(&hub.to_ascii_lowercase()).ok_or_else(unknown)?;
            let device = hub.devices.entry(device_id.to_owned()).or_insert_with(|| Device {
                keys,
                enabled: true,
                created,
                etag: wire_id::etag(),
                initial_twin: None,
                session: None,
            });
            Ok(device.keys.primary.clone())
        })
    }

    /// Lets a device of a hub connect or not; one that is connected and may not is cut off. Gives
    /// whether there is such a device.
    pub fn set_device_enabled(&self, hub: &str, device_id: &str, enabled: bool) -> bool {
        self.shared.store.change(|state| {
            let Some(device) = state.device_mut(hub, device_id) else { return false };
            device.enabled = enabled;
            device.etag = wire_id::etag();
            if !enabled {
                state.live.close(&hub_key(hub, device_id), Why::NotAllowed);
            }
            true
        })
    }

    /// Deletes a device from a hub; one that is connected is cut off. Gives whether there was one.
    pub fn delete_device(&self, hub: &str, device_id: &str) -> bool {
        self.shared.store.change(|state| {
            let registry = state.hubs.get_mut(&hub.to_ascii_lowercase());
            let removed = registry.is_some_and(|it| it.devices.remove(device_id).is_some());
            if removed {
                state.live.close(&hub_key(hub, device_id), Why::NotAllowed);
            }
            removed
        })
    }

    /// The telemetry of a hub, from offset 0 on; `None` if there is no such hub.
    #[must_use]
    pub fn telemetry(&self, hub: &str) -> Option<TelemetryLog> {
        self.shared.logs.get(&hub.to_ascii_lowercase()).cloned()
    }

    /// Counts the changes of everything but telemetry, so that a test can wait for one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.store.revision()
    }

    /// Waits until `condition` gives something. It is asked now and after every change of anything
    /// but telemetry; a fault that happens is a change. Has no time limit of its own.
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
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    // ---- Time and faults ----

    /// Sets how far the emulator's clock is ahead, from now on: tokens age at once, also those of
    /// live connections.
    pub fn clock_ahead(&self, ahead: Duration) {
        self.shared.clock.set_ahead(ahead);
    }

    /// Lets the next event at `point` go wrong; several faults happen one after the other.
    ///
    /// # Errors
    /// [`UnfitFault`] if it cannot happen there.
    pub fn fault(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.once(point, fault)
    }

    /// Lets every event at `point` go wrong, after those scripted by [`Emulator::fault`].
    ///
    /// # Errors
    /// [`UnfitFault`] if it cannot happen there.
    pub fn fault_always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.always(point, fault)
    }

    /// How many faults scripted by [`Emulator::fault`] have not happened yet.
    #[must_use]
    pub fn faults_left(&self, point: Point) -> usize {
        self.shared.faults.left(point)
    }

    /// Forgets all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    // ---- Inside ----

    fn set_enrollment(&self, registration_id: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.shared.store.change(|state| {
            let entry = state.individuals.get_mut(&registration_id.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, registration_id)
    }

    fn set_group(&self, name: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.shared.store.change(|state| {
            let entry = state.groups.get_mut(&name.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, name)
    }

    fn record<T>(&self, registration_id: &str, read: impl FnOnce(&crate::store::Record) -> Option<T>) -> Option<T> {
        self.shared.store.read(|state| state.records.get(&registration_id.to_ascii_lowercase()).and_then(read))
    }
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

fn hub_key(hub: &str, device_id: &str) -> Key {
    Key::Hub(hub.to_ascii_lowercase(), device_id.to_owned())
}

fn view(state: &State, host: &str, device_id: &str, device: &Device) -> DeviceView {
    device.view(host, device_id, state.live.is_live(&hub_key(host, device_id)))
}

fn found(found: bool, id: &str) -> Result<(), EnrollError> {
    if found { Ok(()) } else { Err(EnrollError::NotFound { id: id.to_owned() }) }
}
