//! The hubs: their devices and sessions.

use std::collections::BTreeSet;
use std::time::SystemTime;

use hubward_proto::service::{InitialTwin, X509Thumbprint};
use serde::{Deserialize, Serialize};

use super::feedback::Feedback;
use super::{DeviceAuthentication, Issuance, Queue, Rules, Table, Twin};
use crate::state::clock::{NEVER, timestamp};
use crate::state::wire_id;

/// The registry of one hub.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// The name in the letter case of the configuration.
    pub(crate) host: String,
    /// Devices by `{device}` and modules by `{device}/{module}`. These keys equal the MQTT client ids.
    ///
    /// The id of a device never contains `/`. In the order of the keys, the modules of a device therefore follow each
    /// other, somewhere after the device. A module cannot exist without its device.
    pub(crate) devices: Table<Device>,
    /// The rules for messages to devices and modules.
    pub(crate) rules: Rules,
    pub(crate) feedback: Feedback,
}

impl Hub {
    /// Updates the queue of an identity to the time `now`, and then calls `act` with the queue. Then records feedback
    /// for each removed message whose sender requested feedback.
    pub(crate) fn queue<R>(
        &mut self,
        client_id: &str,
        now: SystemTime,
        act: impl FnOnce(&mut Queue, &Rules) -> R,
    ) -> Option<R> {
        let device = self.devices.get_mut(client_id)?;
        device.queue.tick(now, &self.rules);
        let result = act(&mut device.queue, &self.rules);
        for removed in device.queue.drain_removed() {
            self.feedback.note(client_id, &device.generation_id, removed);
        }
        Some(result)
    }

    /// Updates the queue of one identity to the time `now`. If `client_id` is `None`, updates all queues. An update
    /// removes expired messages, so call this function before you count messages.
    ///
    /// If the update does not change a queue, the queue is not marked as changed.
    pub(crate) fn refresh(&mut self, client_id: Option<&str>, now: SystemTime) {
        let stale: Vec<String> = match client_id {
            Some(id) => {
                self.devices.get(id).filter(|it| it.queue.is_stale(now)).map(|_| id.to_owned()).into_iter().collect()
            }
            None => self.devices.iter().filter(|(_, it)| it.queue.is_stale(now)).map(|(id, _)| id.clone()).collect(),
        };
        for id in stale {
            self.queue(&id, now, |_, _| ());
        }
    }

    /// Removes a device with its modules, or removes one module. Also removes the messages and feedback records of the
    /// removed identities.
    pub(crate) fn remove(&mut self, client_id: &str) -> Option<Device> {
        for module in self.modules(client_id) {
            self.remove(&module);
        }
        let (device_id, module_id) = match client_id.split_once('/') {
            Some((device_id, module_id)) => (device_id, Some(module_id)),
            None => (client_id, None),
        };
        self.feedback.forget(device_id, module_id);
        self.devices.remove(client_id)
    }

    /// Whether there is a device with this id.
    pub(crate) fn is_device(&self, device_id: &str) -> bool {
        !device_id.contains('/') && self.devices.contains_key(device_id)
    }

    /// The client ids of a device's modules.
    pub(crate) fn modules(&self, device_id: &str) -> Vec<String> {
        let first = format!("{device_id}/");
        let modules = self.devices.range(first.clone()..).map(|(id, _)| id);
        modules.take_while(|id| id.starts_with(&first)).cloned().collect()
    }
}

/// The identity of a device or module. It includes the data that a hub keeps for the identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Device {
    /// The name in the state file dates from versions that knew only keys.
    #[serde(rename = "keys")]
    pub(crate) authentication: DeviceAuthentication,
    /// Whether the identity may connect. Always `true` for a module, because only a device can be disabled.
    pub(crate) enabled: bool,
    /// The operator's comment on the status.
    pub(crate) status_reason: Option<String>,
    /// When the status last changed. [`NEVER`] if it has not changed.
    pub(crate) status_updated: String,
    /// When the identity last connected or disconnected, or [`NEVER`].
    pub(crate) connection_updated: String,
    /// The last time when the identity connected, disconnected or sent something. If the identity has never connected,
    /// the value is [`NEVER`].
    ///
    /// While the identity is connected, [`Live`](super::Live) has a newer value.
    pub(crate) last_activity: String,
    /// The model id from the last connection.
    pub(crate) model_id: Option<String>,
    /// The owner of a module; for modules only.
    pub(crate) managed_by: Option<String>,
    pub(crate) created: String,
    pub(crate) etag: String,
    /// Distinguishes this identity from other identities that had the same id earlier. If an identity is deleted and
    /// created again, the new identity has another value.
    pub(crate) generation_id: String,
    pub(crate) initial_twin: Option<InitialTwin>,
    pub(crate) twin: Twin,
    /// The session of a client that connected with CleanSession 0. The session survives the connection.
    pub(crate) session: Option<Session>,
    /// How the hub issues certificates to this device. `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuance: Option<Issuance>,
    /// The messages to this identity.
    pub(crate) queue: Queue,
}

/// The session that survives a connection with CleanSession 0. It contains the filters and their granted QoS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) filters: BTreeSet<(String, u8)>,
}

impl Session {
    /// Returns the granted QoS of a filter. Returns `None` if the client has not subscribed to the filter.
    pub(crate) fn granted(&self, filter: &str) -> Option<u8> {
        self.filters.iter().find(|(it, _)| it == filter).map(|(_, qos)| *qos)
    }

    /// Returns the highest granted QoS of all filters with this prefix. Returns `None` if no filter has the prefix.
    ///
    /// Source: `[sdk]` Azure/iotedge, SessionStateParser.cs, which also compares prefixes.
    pub(crate) fn highest_qos(&self, prefix: &str) -> Option<u8> {
        self.filters.iter().filter(|(it, _)| it.starts_with(prefix)).map(|(_, qos)| *qos).max()
    }

    pub(crate) fn set(&mut self, filter: &str, qos: u8) {
        self.remove(filter);
        self.filters.insert((filter.to_owned(), qos));
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.retain(|(it, _)| it != filter);
    }
}

/// A device as the service shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceView {
    /// Host name of the hub.
    pub hub: String,
    /// The device id.
    pub device_id: String,
    /// Whether the device may connect. The value is `enabled` or `disabled`, as in the service's JSON.
    pub status: DeviceStatus,
    /// How the device authenticates: `sas`, `selfSigned` or `certificateAuthority`.
    pub authentication_type: &'static str,
    /// The thumbprints of a device that authenticates with `selfSigned`.
    pub x509_thumbprint: X509Thumbprint,
    /// Whether the device is connected.
    pub connection_state: ConnectionState,
    /// When the identity was created.
    pub created_time: String,
    /// Version of the identity.
    pub etag: String,
    /// Distinguishes this identity from other identities that had the same id earlier. If an identity is deleted and
    /// created again, the new identity has another value.
    pub generation_id: String,
    /// Number of messages in the queue.
    pub cloud_to_device_message_count: usize,
    /// The initial twin from the enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwin>,
}

/// A module as the service shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ModuleView {
    /// Host name of the hub.
    pub hub: String,
    /// Id of the module's device.
    pub device_id: String,
    /// The module id.
    pub module_id: String,
    /// Whether the module is connected.
    pub connection_state: ConnectionState,
    /// When the identity was created.
    pub created_time: String,
    /// Version of the identity.
    pub etag: String,
    /// Distinguishes this identity from other identities that had the same id earlier. If an identity is deleted and
    /// created again, the new identity has another value.
    pub generation_id: String,
    /// Number of messages in the queue.
    pub cloud_to_device_message_count: usize,
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// The device may connect.
    Enabled,
    /// The device may not connect.
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
    /// The device is connected.
    Connected,
    /// The device is not connected.
    Disconnected,
}

impl Device {
    /// An enabled identity that has never connected.
    pub(crate) fn new(authentication: DeviceAuthentication, now: SystemTime) -> Self {
        Self {
            authentication,
            enabled: true,
            status_reason: None,
            status_updated: NEVER.to_owned(),
            connection_updated: NEVER.to_owned(),
            last_activity: NEVER.to_owned(),
            model_id: None,
            managed_by: None,
            created: timestamp(now),
            etag: wire_id::identity_etag(),
            generation_id: wire_id::generation_id(now),
            initial_twin: None,
            twin: Twin::new(None, &timestamp(now)),
            session: None,
            issuance: None,
            queue: Queue::default(),
        }
    }

    /// An enabled identity with symmetric keys that has never connected.
    #[cfg(test)]
    pub(crate) fn with_keys(keys: super::KeyPair, now: SystemTime) -> Self {
        Self::new(DeviceAuthentication::Sas(keys), now)
    }

    /// The keys of an identity that has symmetric keys.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> &super::KeyPair {
        self.authentication.keys().expect("the identity of this test has keys")
    }

    pub(crate) fn view(&self, hub: &str, device_id: &str, connected: bool) -> DeviceView {
        DeviceView {
            hub: hub.to_owned(),
            device_id: device_id.to_owned(),
            status: if self.enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled },
            authentication_type: self.authentication.kind(),
            x509_thumbprint: self.authentication.thumbprints(),
            connection_state: if connected { ConnectionState::Connected } else { ConnectionState::Disconnected },
            created_time: self.created.clone(),
            etag: self.etag.clone(),
            generation_id: self.generation_id.clone(),
            cloud_to_device_message_count: self.queue.len(),
            initial_twin: self.initial_twin.clone(),
        }
    }

    pub(crate) fn module_view(&self, hub: &str, device_id: &str, module_id: &str, connected: bool) -> ModuleView {
        let DeviceView { hub, device_id, connection_state, created_time, etag, generation_id, .. } =
            self.view(hub, device_id, connected);
        let (module_id, cloud_to_device_message_count) = (module_id.to_owned(), self.queue.len());
        ModuleView {
            hub,
            device_id,
            module_id,
            connection_state,
            created_time,
            etag,
            generation_id,
            cloud_to_device_message_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::state::model::{Ack, KeyPair, Post};

    #[test]
    fn expired_messages_are_not_counted() {
        let now = SystemTime::UNIX_EPOCH;
        let mut hub = Hub::default();
        for id in ["d1", "d2"] {
            hub.devices.insert(id.into(), Device::with_keys(KeyPair::generate().expect("keys"), now));
            for (message_id, seconds) in [("short", 1), ("long", 60)] {
                let post = Post {
                    topic: String::new(),
                    body: "".into(),
                    message_id: message_id.into(),
                    ack: Some(Ack::Full),
                    input: None,
                };
                let expires = now + Duration::from_secs(seconds);
                hub.queue(id, now, |queue, _| queue.put(Arc::new(post), now, expires))
                    .expect("it is there")
                    .expect("room");
            }
        }
        let counts = |hub: &Hub| [hub.devices["d1"].queue.len(), hub.devices["d2"].queue.len()];
        let later = now + Duration::from_secs(1);
        hub.devices.track();
        hub.refresh(None, now);
        assert_eq!(counts(&hub), [2, 2]);
        assert!(!hub.devices.is_touched(), "an unchanged queue is not written");
        hub.refresh(Some("d1"), later);
        hub.refresh(Some("d3"), later);
        assert_eq!(counts(&hub), [1, 2]);
        hub.refresh(None, later);
        assert_eq!(counts(&hub), [1, 1]);
        let reported: Vec<_> =
            hub.feedback.all().into_iter().map(|it| (it.device_id, it.original_message_id)).collect();
        assert_eq!(reported, [("d1".to_owned(), "short".to_owned()), ("d2".to_owned(), "short".to_owned())]);
    }
}
