//! The hubs: which devices they know, and what they keep of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use hubward_proto::service::InitialTwin;
use serde::Serialize;

use super::KeyPair;
use crate::clock::timestamp;
use crate::wire_id;

/// One hub's registry.
#[derive(Debug)]
pub(crate) struct Hub {
    /// As it was named, in its letter case.
    pub(crate) host: String,
    /// Devices by `{device}` and modules by `{device}/{module}`, as their MQTT client ids are; an id
    /// holds no `/`. A module comes after its device, and only where that one exists.
    pub(crate) devices: BTreeMap<String, Device>,
}

/// The identity of a device or of a module, and what a hub keeps for it.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) keys: KeyPair,
    /// Always true for a module: only its device can be disabled.
    pub(crate) enabled: bool,
    pub(crate) created: String,
    pub(crate) etag: String,
    /// Another one if the id is deleted and made again.
    #[expect(dead_code, reason = "shown by the registry, next")]
    pub(crate) generation_id: String,
    pub(crate) initial_twin: Option<InitialTwin>,
    /// What outlives a connection with CleanSession 0; `None` if there was none.
    pub(crate) session: Option<Session>,
}

/// What survives a connection with CleanSession 0: filter and granted QoS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) filters: BTreeSet<(String, u8)>,
}

impl Session {
    /// The granted QoS of a filter, if it is there.
    pub(crate) fn granted(&self, filter: &str) -> Option<u8> {
        self.filters.iter().find(|(it, _)| it == filter).map(|(_, qos)| *qos)
    }

    pub(crate) fn set(&mut self, filter: &str, qos: u8) {
        self.remove(filter);
        self.filters.insert((filter.to_owned(), qos));
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.retain(|(it, _)| it != filter);
    }
}

/// A device as the registry shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceView {
    /// Host name of the hub.
    pub hub: String,
    /// Its id there.
    pub device_id: String,
    /// Whether it may connect: `enabled` or `disabled`, as the service writes it.
    pub status: DeviceStatus,
    /// Whether it is connected.
    pub connection_state: ConnectionState,
    /// When the identity was made.
    pub created_time: String,
    /// Version of the identity.
    pub etag: String,
    /// What the enrollment gave its twin to start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwin>,
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// It may.
    Enabled,
    /// It may not.
    Disabled,
}

impl std::fmt::Display for DeviceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        })
    }
}

/// Whether a device is connected.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, `connectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ConnectionState {
    /// It is.
    Connected,
    /// It is not.
    Disconnected,
}

impl Device {
    /// An identity that may connect and never has.
    pub(crate) fn new(keys: KeyPair, now: SystemTime) -> Self {
        Self {
            keys,
            enabled: true,
            created: timestamp(now),
            etag: wire_id::etag(),
            generation_id: wire_id::generation_id(now),
            initial_twin: None,
            session: None,
        }
    }

    pub(crate) fn view(&self, hub: &str, device_id: &str, connected: bool) -> DeviceView {
        DeviceView {
            hub: hub.to_owned(),
            device_id: device_id.to_owned(),
            status: if self.enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled },
            connection_state: if connected { ConnectionState::Connected } else { ConnectionState::Disconnected },
            created_time: self.created.clone(),
            etag: self.etag.clone(),
            initial_twin: self.initial_twin.clone(),
        }
    }
}
