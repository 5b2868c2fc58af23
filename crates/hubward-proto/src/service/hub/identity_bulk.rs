//! Many devices in one request.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Authentication, Capabilities, DeviceStatus};
use crate::dps::model::word;

word! {
    /// What is done to one device of a bulk request.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `ExportImportDevice`.
    ImportMode {
        /// Creates it.
        Create = "create",
        /// Creates it, or updates the one that is there.
        CreateOrUpdate = "createOrUpdate",
        /// The same, but updates only that etag.
        CreateOrUpdateIfMatchEtag = "createOrUpdateIfMatchETag",
        /// Updates it, whatever its etag.
        Update = "update",
        /// Updates it if it has that etag.
        UpdateIfMatchEtag = "updateIfMatchETag",
        /// Deletes it, whatever its etag.
        Delete = "delete",
        /// Deletes it if it has that etag.
        DeleteIfMatchEtag = "deleteIfMatchETag",
        /// Patches its twin.
        UpdateTwin = "updateTwin",
        /// Patches its twin if that has the etag.
        UpdateTwinIfMatchEtag = "updateTwinIfMatchETag",
    }
}

/// One device of a bulk request, and what is to be done with it. The etags are written `eTag` and
/// `twinETag` here.
///
/// Source: `[sdk]` azure-iot-hub (Python), `ExportImportDevice`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceOperation {
    /// Which device.
    pub id: String,
    /// Which module of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Version of the identity that is meant.
    #[serde(default, rename = "eTag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_mode: Option<ImportMode>,
    /// Whether the device may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// How it proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Version of the twin that is meant.
    #[serde(default, rename = "twinETag", skip_serializing_if = "Option::is_none")]
    pub twin_etag: Option<String>,
    /// Tags of its twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// Properties of its twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<OperationProperties>,
    /// What it is besides a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of an edge device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the edge devices it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

impl DeviceOperation {
    /// Does this to a device, nothing else said.
    #[must_use]
    pub fn new(id: impl Into<String>, mode: ImportMode) -> Self {
        Self { id: id.into(), import_mode: Some(mode), ..Self::default() }
    }
}

/// The twin's properties in a bulk request.
///
/// Source: `[sdk]` azure-iot-hub (Python), `PropertyContainer`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationProperties {
    /// What the cloud wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
    /// What the device has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Map<String, Value>>,
}

/// What became of a bulk request. It comes with status 200, or with 400 if not all was done.
///
/// Source: `[sdk]` azure-iot-hub (Python), `BulkRegistryOperationResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBulkResult {
    /// Whether all of it was done.
    pub is_successful: bool,
    /// What was not done.
    #[serde(default)]
    pub errors: Vec<DeviceBulkError>,
    /// What was done, but.
    #[serde(default)]
    pub warnings: Vec<DeviceBulkWarning>,
}

/// Why one device of a bulk request was refused.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceRegistryOperationError`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceBulkError {
    /// Which device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Which module of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Why.
    pub error_code: OperationCode,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_status: Option<String>,
    /// What was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// What is odd about one device of a bulk request.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceRegistryOperationWarning`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceBulkWarning {
    /// Which device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_code: Option<String>,
    /// What, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_status: Option<String>,
}

/// An error code inside of a body: its number, or its name.
///
/// Source: `[sdk]` azure-iot-sdk-csharp, whose `ErrorCode` is read in both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OperationCode {
    /// Six digits.
    Number(u32),
    /// One word.
    Name(String),
}

impl OperationCode {
    /// As a number, if it is known.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => super::code_of(name),
        }
    }
}

impl Default for OperationCode {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_the_documented_request() {
        let text = json!([
            {"id": "d1", "eTag": "NTk1", "importMode": "updateIfMatchETag", "status": "disabled",
             "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "YQ==", "secondaryKey": "Yg=="}}},
            {"id": "d2", "moduleId": "m", "importMode": "updateTwin", "twinETag": "AAE=", "tags": {"site": "a"},
             "properties": {"desired": {"interval": 30}}}
        ]);
        let read: Vec<DeviceOperation> = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(read[0].import_mode, Some(ImportMode::UpdateIfMatchEtag));
        assert_eq!(read[1].twin_etag.as_deref(), Some("AAE="));
        assert_eq!(serde_json::to_value(&read).expect("JSON"), text);
    }

    #[test]
    fn reads_and_writes_the_documented_result() {
        let done = DeviceBulkResult { is_successful: true, ..DeviceBulkResult::default() };
        assert_eq!(serde_json::to_string(&done).expect("JSON"), r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#);
        let text = json!({"isSuccessful": false, "errors": [
            {"deviceId": "d1", "errorCode": 409_001, "errorStatus": "exists", "operation": "create"},
            {"deviceId": "d2", "moduleId": "m", "errorCode": "DeviceNotFound"}], "warnings": []});
        let read: DeviceBulkResult = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), text);
        let codes: Vec<Option<u32>> = read.errors.iter().map(|it| it.error_code.number()).collect();
        assert_eq!(codes, [Some(409_001), Some(404_001)]);
    }
}
