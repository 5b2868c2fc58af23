//! A twin as a service sees it, and what a service changes of it.

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
    /// Whose; absent in some answers to queries that do not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Of which module of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Version of tags and desired properties, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Version of the identity, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// Whether the device may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When its status last changed. An identity has `statusUpdatedTime` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<String>,
    /// Whether it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When it last connected, sent or received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// How many messages wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u64>,
    /// How it proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<AuthenticationType>,
    /// The thumbprints of its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
    /// The model it has named when it connected; often empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Counts the changes of all of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What the device does not see; a module of an edge device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// Both halves.
    #[serde(default)]
    pub properties: TwinBoth,
    /// What the device is besides a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of an edge device, or the edge device it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the edge devices it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

/// The two halves of a twin, each with its `$metadata` and `$version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinBoth {
    /// What the cloud wants.
    pub desired: Map<String, Value>,
    /// What the device has said.
    pub reported: Map<String, Value>,
}

impl TwinBoth {
    /// What the cloud wants, without `$metadata`.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] without a version.
    pub fn desired_properties(&self) -> Result<Properties, ProtoError> {
        Properties::from_wire(self.desired.clone())
    }

    /// What the device has said, without `$metadata`.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] without a version.
    pub fn reported_properties(&self) -> Result<Properties, ProtoError> {
        Properties::from_wire(self.reported.clone())
    }
}

/// What a service changes of a twin. As a patch it is merged and `null` removes; as a replacement it
/// takes the place of tags and desired properties. What else the JSON holds is ignored: a twin that
/// was read can be sent back.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Back-end operations".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TwinPatch {
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// Desired properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<DesiredPatch>,
}

impl TwinPatch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With these tags.
    #[must_use]
    pub fn tags(mut self, tags: Map<String, Value>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// With these desired properties.
    #[must_use]
    pub fn desired(mut self, desired: Map<String, Value>) -> Self {
        self.properties = Some(DesiredPatch { desired: Some(desired) });
        self
    }
}

/// The properties that a service may change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DesiredPatch {
    /// What the cloud wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_the_documented_twin() {
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
    fn a_patch_holds_what_was_asked_for_and_nothing_else() {
        let patch = TwinPatch::new().desired(json!({"gone": null}).as_object().expect("an object").clone());
        let text = r#"{"properties":{"desired":{"gone":null}}}"#;
        assert_eq!(serde_json::to_string(&patch).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<TwinPatch>(text).expect("a patch"), patch);
        let text = r#"{"deviceId":"d1","etag":"A","tags":null,"properties":{"reported":{"x":1}}}"#;
        let patch: TwinPatch = serde_json::from_str(text).expect("a twin that was read");
        assert_eq!(patch, TwinPatch { tags: None, properties: Some(DesiredPatch::default()) });
    }
}
