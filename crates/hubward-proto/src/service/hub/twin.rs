//! The twin in the service API, and the changes that an operator can make to it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AuthenticationType, Capabilities, ConnectionState, DeviceStatus, X509Thumbprint};
use crate::ProtoError;
use crate::hub::Properties;

/// The twin of a device or module.
///
/// Source: `[sdk]` azure-iot-hub (Python), `Twin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Twin {
    /// The id of the device. Absent in the answer to a query that does not select it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The id of the module; absent for the twin of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The version of tags and desired properties, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// Whether the device may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// The reason for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When the status last changed. In an identity this member is named `statusUpdatedTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<String>,
    /// Whether the device or module is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When the device or module last connected, sent or received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// Number of messages in the queue of the device or module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How the device or module authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<AuthenticationType>,
    /// The thumbprints of the device's or module's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
    /// The id of the PnP model that the device sent when it connected; often empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// The version of the whole twin. It grows with each change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The tags. Devices do not get the tags. The twin of a module of an edge device has no tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// The desired and the reported properties.
    #[serde(default)]
    pub properties: TwinSections,
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

/// The desired and the reported properties of a twin, each with `$metadata` and `$version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinSections {
    /// The desired properties, which the cloud sets.
    pub desired: Map<String, Value>,
    /// The reported properties, which the device sets.
    pub reported: Map<String, Value>,
}

impl TwinSections {
    /// Returns the desired properties without `$metadata`.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] if the version is missing.
    pub fn desired_properties(&self) -> Result<Properties, ProtoError> {
        Properties::from_wire(self.desired.clone())
    }

    /// Returns the reported properties without `$metadata`.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] if the version is missing.
    pub fn reported_properties(&self) -> Result<Properties, ProtoError> {
        Properties::from_wire(self.reported.clone())
    }
}

/// A change of a twin by an operator.
///
/// A patch is merged into the twin: `null` removes a property. A replacement replaces the tags and the desired
/// properties. The operator chooses with the HTTP method: PATCH for a patch, PUT for a replacement.
///
/// The parser ignores all members except the tags and the desired properties, so an operator can read a twin, change it
/// and send it back.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Back-end operations".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[must_use]
pub struct TwinPatch {
    /// The new tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// The new desired properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<DesiredPatch>,
}

impl TwinPatch {
    /// Creates an empty patch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tags.
    pub fn tags(mut self, tags: Map<String, Value>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Sets the desired properties.
    pub fn desired(mut self, desired: Map<String, Value>) -> Self {
        self.properties = Some(DesiredPatch { desired: Some(desired) });
        self
    }
}

/// The properties that an operator may change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DesiredPatch {
    /// The desired properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_twin() {
        let text = json!({"deviceId": "d1", "etag": "AAAAAAAAAAI=", "deviceEtag": "NTk1NzM4OTA1", "status": "enabled",
            "statusUpdateTime": "0001-01-01T00:00:00Z", "connectionState": "Disconnected",
            "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0, "authenticationType": "sas",
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}, "modelId": "", "version": 3,
            "tags": {},
            "properties": {"desired": {"interval": 30,
                "$metadata": {"$lastUpdated": "2024-01-02T03:04:05.1234567Z", "$lastUpdatedVersion": 2,
                    "interval": {"$lastUpdated": "2024-01-02T03:04:05.1234567Z", "$lastUpdatedVersion": 2}},
                "$version": 2},
              "reported": {"$metadata": {"$lastUpdated": "2024-01-02T03:04:05.1234567Z"}, "$version": 1}},
            "capabilities": {"iotEdge": false}});
        let twin: Twin = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&twin).expect("JSON"), text);
        let desired = twin.properties.desired_properties().expect("a version");
        assert_eq!((desired.version, desired.values), (2, json!({"interval": 30}).as_object().expect("one").clone()));
        assert_eq!(twin.properties.reported_properties().expect("a version").values.len(), 0);
    }

    #[test]
    fn a_patch_contains_only_the_requested_changes() {
        let patch = TwinPatch::new().desired(json!({"gone": null}).as_object().expect("an object").clone());
        let text = r#"{"properties":{"desired":{"gone":null}}}"#;
        assert_eq!(serde_json::to_string(&patch).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<TwinPatch>(text).expect("a patch"), patch);
        let text = r#"{"deviceId":"d1","etag":"A","tags":null,"properties":{"reported":{"x":1}}}"#;
        let patch: TwinPatch = serde_json::from_str(text).expect("a twin that was read");
        assert_eq!(patch, TwinPatch { tags: None, properties: Some(DesiredPatch::default()) });
    }
}
