//! Counts in answers of a hub: devices, connections, purged messages.

use serde::{Deserialize, Serialize};

/// The number of devices in a registry, without modules.
///
/// Source: `[sdk]` azure-iot-hub (Python), `RegistryStatistics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatistics {
    /// Number of all devices.
    pub total_device_count: u64,
    /// Number of devices that may connect.
    pub enabled_device_count: u64,
    /// Number of devices that may not connect.
    pub disabled_device_count: u64,
}

/// The number of connected devices.
///
/// Source: `[sdk]` azure-iot-hub (Python), `ServiceStatistics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatistics {
    /// Number of connected devices.
    pub connected_device_count: u64,
}

/// The result of purging the messages that were queued for a device.
///
/// Source: `[sdk]` azure-iot-hub (Python), `PurgeMessageQueueResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgeResult {
    /// Number of deleted messages.
    pub total_messages_purged: u64,
    /// The id of the device.
    pub device_id: String,
    /// The id of the module. The encoder always writes this member, as the service does.
    #[serde(default)]
    pub module_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_answers() {
        let text = r#"{"totalDeviceCount":3,"enabledDeviceCount":2,"disabledDeviceCount":1}"#;
        let read: RegistryStatistics = serde_json::from_str(text).expect("the documented JSON");
        assert_eq!((read.total_device_count, serde_json::to_string(&read).expect("JSON").as_str()), (3, text));
        let text = r#"{"connectedDeviceCount":1}"#;
        let read: ServiceStatistics = serde_json::from_str(text).expect("the documented JSON");
        assert_eq!((read.connected_device_count, serde_json::to_string(&read).expect("JSON").as_str()), (1, text));
        let text = r#"{"totalMessagesPurged":5,"deviceId":"d1","moduleId":null}"#;
        let read: PurgeResult = serde_json::from_str(text).expect("the documented JSON");
        assert_eq!((read.total_messages_purged, serde_json::to_string(&read).expect("JSON").as_str()), (5, text));
    }
}
