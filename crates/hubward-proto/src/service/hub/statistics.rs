//! Small answers of a hub: how many devices, how many connections, how many messages thrown away.

use serde::{Deserialize, Serialize};

/// How many devices a registry holds; modules do not count.
///
/// Source: `[sdk]` azure-iot-hub (Python), `RegistryStatistics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatistics {
    /// All of them.
    pub total_device_count: u64,
    /// Those that may connect.
    pub enabled_device_count: u64,
    /// Those that may not.
    pub disabled_device_count: u64,
}

/// How many devices are connected.
///
/// Source: `[sdk]` azure-iot-hub (Python), `ServiceStatistics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatistics {
    /// That many.
    pub connected_device_count: u64,
}

/// What became of the messages that waited for a device.
///
/// Source: `[sdk]` azure-iot-hub (Python), `PurgeMessageQueueResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgeResult {
    /// How many there were.
    pub total_messages_purged: u64,
    /// Whose.
    pub device_id: String,
    /// Of which module; always written, as the service does.
    #[serde(default)]
    pub module_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_documented_answers() {
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
