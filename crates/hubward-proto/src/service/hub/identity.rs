//! The identities in a hub's registry: devices and their modules.

use serde::{Deserialize, Serialize};

use super::Authentication;
use crate::dps::model::word;

word! {
    /// Whether a device may connect.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `Device`.
    DeviceStatus {
        /// The device may connect.
        Enabled = "enabled",
        /// The device may not connect.
        Disabled = "disabled",
    }
}

word! {
    /// Whether a device is connected. The service may report this state up to five minutes late.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `Device`.
    ConnectionState {
        /// The device is connected.
        Connected = "Connected",
        /// The device is not connected.
        Disconnected = "Disconnected",
    }
}

/// A device in the registry of a hub.
///
/// The service ignores read-only members in requests. The time of the last status change is named `statusUpdatedTime`
/// here, but `statusUpdateTime` in a [`Twin`](super::Twin).
///
/// Source: `[sdk]` azure-iot-hub (Python), `Device`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Device {
    /// The id of the device; letter case matters.
    pub device_id: String,
    /// Distinguishes the device from a deleted device with the same id; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// The version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether the device is connected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// Whether the device may connect; enabled if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// The reason for the status, at most 128 characters. The encoder always writes this member, as the service does.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When the device last connected or disconnected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<String>,
    /// When the status last changed; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_updated_time: Option<String>,
    /// When the device last connected, sent or received; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// Number of messages in the queue of the device; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How the device authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The capabilities of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of this device if it is an edge device; otherwise the scope of its parent edge device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the edge devices that are the parents of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

impl Device {
    /// Creates an enabled device that authenticates with symmetric keys. The service generates the keys.
    #[must_use]
    pub fn new(device_id: impl Into<String>) -> Self {
        Self {
            device_id: device_id.into(),
            status: Some(DeviceStatus::Enabled),
            authentication: Some(Authentication::sas(None)),
            ..Self::default()
        }
    }

    /// Returns whether the device may connect.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !matches!(self.status, Some(DeviceStatus::Disabled))
    }
}

/// The capabilities of a device.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceCapabilities`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Whether the device is an IoT Edge device. Other devices can connect through an IoT Edge device.
    pub iot_edge: bool,
}

/// A module in the registry of a hub. A module has no status of its own.
///
/// Source: `[sdk]` azure-iot-hub (Python), `Module`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Module {
    /// The id of the module.
    pub module_id: String,
    /// The id of the device to which the module belongs.
    pub device_id: String,
    /// The manager of the module, such as `IotEdge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Distinguishes the module from a deleted module with the same id; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// The version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether the module is connected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When the module last connected or disconnected; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<String>,
    /// When the module last connected, sent or received; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// Number of messages in the queue of the module; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How the module authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

impl Module {
    /// Creates a module of a device. The module authenticates with symmetric keys. The service generates the keys.
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
    fn parses_and_encodes_the_documented_device() {
        let device: Device = serde_json::from_value(documented()).expect("the documented JSON");
        assert_eq!((device.device_id.as_str(), device.is_enabled()), ("d1", true));
        assert_eq!(device.connection_state, Some(ConnectionState::Disconnected));
        assert_eq!(serde_json::to_value(&device).expect("JSON"), documented());
    }

    #[test]
    fn a_new_device_encodes_only_what_the_service_needs() {
        let text = serde_json::to_string(&Device::new("d1")).expect("JSON");
        assert_eq!(text, r#"{"deviceId":"d1","status":"enabled","statusReason":null,"authentication":{"type":"sas"}}"#);
        let text = serde_json::to_string(&Module::new("d1", "m1")).expect("JSON");
        assert_eq!(text, r#"{"moduleId":"m1","deviceId":"d1","authentication":{"type":"sas"}}"#);
    }

    #[test]
    fn unknown_members_are_ignored_and_null_means_the_same_as_absent() {
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
    fn debug_prints_no_key() {
        let mut text = documented();
        text["authentication"]["symmetricKey"]["primaryKey"] = json!("c2VjcmV0");
        let device: Device = serde_json::from_value(text).expect("a device");
        assert!(!format!("{device:?}").contains("c2VjcmV0"));
    }
}
