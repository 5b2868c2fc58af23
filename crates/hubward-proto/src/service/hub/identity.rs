//! The identities in a hub's registry: devices and their modules.

use serde::{Deserialize, Serialize};

use super::Authentication;
use crate::dps::model::word;

word! {
    /// Whether a device may connect.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `Device`.
    DeviceStatus {
        /// It may.
        Enabled = "enabled",
        /// It may not.
        Disabled = "disabled",
    }
}

word! {
    /// Whether a device is connected, up to five minutes ago where it is the cloud that says so.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `Device`.
    ConnectionState {
        /// It is.
        Connected = "Connected",
        /// It is not.
        Disconnected = "Disconnected",
    }
}

/// A device as the registry of a hub knows it.
///
/// What is read-only is ignored in requests. The state of a twin's status is written a little
/// differently, see [`Twin`](super::Twin).
///
/// Source: `[sdk]` azure-iot-hub (Python), `Device`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Device {
    /// Its name; letter case matters.
    pub device_id: String,
    /// Tells a device from an earlier one of the same name; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// Version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether it is connected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// Whether it may connect; enabled if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// Why, in up to 128 characters; always written, as the service does.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When it last connected or left; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<String>,
    /// When its status last changed; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_updated_time: Option<String>,
    /// When it last connected, sent or received; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// How many messages wait for it; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How it proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// What it is besides a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of an edge device, or the edge device it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the edge devices it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

impl Device {
    /// A device that is enabled and signs with keys that the service generates.
    #[must_use]
    pub fn new(device_id: impl Into<String>) -> Self {
        Self {
            device_id: device_id.into(),
            status: Some(DeviceStatus::Enabled),
            authentication: Some(Authentication::sas(None)),
            ..Self::default()
        }
    }

    /// Whether it may connect.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !matches!(self.status, Some(DeviceStatus::Disabled))
    }
}

/// What a device is besides a device.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceCapabilities`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// An edge device, which other devices connect through.
    pub iot_edge: bool,
}

/// A module as the registry of a hub knows it. It has no status of its own.
///
/// Source: `[sdk]` azure-iot-hub (Python), `Module`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Module {
    /// Its name under the device.
    pub module_id: String,
    /// The device.
    pub device_id: String,
    /// Who looks after it, such as `IotEdge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Tells a module from an earlier one of the same name; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// Version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether it is connected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When it last connected or left; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<String>,
    /// When it last connected, sent or received; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// How many messages wait for it; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How it proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

impl Module {
    /// A module of a device, which signs with keys that the service generates.
    #[must_use]
    pub fn new(device_id: impl Into<String>, module_id: impl Into<String>) -> Self {
        Self {
            module_id: module_id.into(),
            device_id: device_id.into(),
            authentication: Some(Authentication::sas(None)),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn documented() -> Value {
        json!({"deviceId": "d1", "generationId": "638400000000000000", "etag": "NTk1NzM4OTA1",
            "connectionState": "Disconnected", "status": "enabled", "statusReason": null,
            "connectionStateUpdatedTime": "0001-01-01T00:00:00Z", "statusUpdatedTime": "0001-01-01T00:00:00Z",
            "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0,
            "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "YQ==", "secondaryKey": "Yg=="},
                "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}},
            "capabilities": {"iotEdge": false}})
    }

    #[test]
    fn reads_and_writes_the_documented_device() {
        let device: Device = serde_json::from_value(documented()).expect("the documented JSON");
        assert_eq!((device.device_id.as_str(), device.is_enabled()), ("d1", true));
        assert_eq!(device.connection_state, Some(ConnectionState::Disconnected));
        assert_eq!(serde_json::to_value(&device).expect("JSON"), documented());
    }

    #[test]
    fn a_new_device_leaves_the_rest_to_the_service() {
        let text = serde_json::to_string(&Device::new("d1")).expect("JSON");
        assert_eq!(text, r#"{"deviceId":"d1","status":"enabled","statusReason":null,"authentication":{"type":"sas"}}"#);
        let text = serde_json::to_string(&Module::new("d1", "m1")).expect("JSON");
        assert_eq!(text, r#"{"moduleId":"m1","deviceId":"d1","authentication":{"type":"sas"}}"#);
    }

    #[test]
    fn what_is_new_is_ignored_and_null_is_as_good_as_absent() {
        let text = r#"{"deviceId":"d1","status":"retired","etag":null,"authentication":null,"news":[1],
            "deviceScope":"ms-azure-iot-edge://e-1","parentScopes":["ms-azure-iot-edge://e-1"]}"#;
        let device: Device = serde_json::from_str(text).expect("news");
        assert_eq!(device.status, Some(DeviceStatus::Unknown("retired".into())));
        assert_eq!((device.etag, device.authentication), (None, None));
        let module: Module =
            serde_json::from_str(r#"{"moduleId":"m1","deviceId":"d1","managedBy":"IotEdge","x":1}"#).expect("a module");
        assert_eq!(module.managed_by.as_deref(), Some("IotEdge"));
    }

    #[test]
    fn debug_shows_no_key() {
        let mut text = documented();
        text["authentication"]["symmetricKey"]["primaryKey"] = json!("c2VjcmV0");
        let device: Device = serde_json::from_value(text).expect("a device");
        assert!(!format!("{device:?}").contains("c2VjcmV0"));
    }
}
