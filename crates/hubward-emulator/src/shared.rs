//! What every connection of an emulator shares.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::dps::Registrar;
use crate::fault::{Fault, Faults, Point};
use crate::hub::TelemetryLog;
use crate::store::Store;

/// State and behaviour.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) registrar: Registrar,
    /// By the hub's name in lower case; never changes.
    pub(crate) logs: BTreeMap<String, TelemetryLog>,
    pub(crate) info: Arc<Info>,
}

impl Shared {
    /// What is to go wrong with the event that happens now. Counts as a change, so that a test can
    /// wait for it.
    pub(crate) fn take_fault(&self, point: Point) -> Option<Fault> {
        let fault = self.faults.take(point)?;
        self.store.change(|_| ());
        Some(fault)
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
    pub(crate) admin: Vec<SocketAddr>,
    pub(crate) ca_pem: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) dev_keys: bool,
}
