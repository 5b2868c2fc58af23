//! The handle of a running emulator.

mod authorities;
mod credential_policies;
mod devices;
mod enrollments;
mod faults;
mod messages;
mod methods;
mod modules;
mod policies;
mod state;
mod twins;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::services::cloud::Cloud;
use crate::services::maintenance;
use crate::services::ready::Ready;
use crate::state::journal::EventLog;

/// A running emulator. Dropping it closes every listener and connection.
#[derive(Debug)]
pub struct Emulator {
    pub(super) cloud: Arc<Cloud>,
    /// The listeners; each one owns its connections.
    pub(super) tasks: JoinSet<()>,
    /// The tasks of the admin port's listeners. They end after `Cloud::closing` is set to true.
    pub(super) admin: JoinSet<()>,
    /// Holds the CA file of an emulator without a data directory.
    pub(super) scratch: Option<TempDir>,
}

impl Emulator {
    /// Closes every connection and listener. Returns when the ports are free and the state is on disk.
    pub async fn shutdown(mut self) {
        // The simulated devices disconnect cleanly, while the hubs still run.
        #[cfg(feature = "admin")]
        self.cloud.simulated.close().await;
        // Ends the streams of the admin port cleanly. All other connections are cut below.
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

    /// Returns the endpoints and names of the emulator. A program can print them as one line of JSON, to tell a script
    /// that the emulator has started.
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

    /// Returns the path of the CA certificate, which clients must trust. Without a data directory, the emulator deletes
    /// this file when it ends.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.cloud.info.ca_file
    }

    /// Returns the log of events: for example registrations, refusals with their reasons, and faults that happened.
    #[must_use]
    pub fn events(&self) -> EventLog {
        self.cloud.journal.clone()
    }

    /// Returns a counter of all changes except new telemetry. A test can wait until the counter changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.cloud.store.revision()
    }

    /// Waits until `condition` returns `Some`, and returns the value.
    ///
    /// Calls `condition` at once and after every change, including each fault that happens. New telemetry is not a
    /// change. There is no time limit.
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

    /// Sets how far the emulator's clock is ahead of the system clock (at most a hundred years).
    ///
    /// The new time applies at once: a token may have expired, even the token of an open connection. Messages to
    /// devices may also have expired, and their locks may have ended.
    pub fn clock_ahead(&self, ahead: Duration) {
        maintenance::move_clock(&self.cloud, ahead);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        #[cfg(feature = "admin")]
        self.cloud.simulated.abort();
        if let Some(disk) = self.cloud.store.disk() {
            // Changes that are queued are still written.
            disk.close();
        }
    }
}
