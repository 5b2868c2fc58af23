//! Bulk requests for devices.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Authentication, Capabilities, DeviceStatus};
use crate::dps::model::word;

word! {
    /// The operation that a bulk request performs on one device.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python), `ExportImportDevice`.
    ImportMode {
        /// Creates the device.
        Create = "create",
        /// Creates the device, or updates an existing one.
        CreateOrUpdate = "createOrUpdate",
        /// Creates the device, or updates an existing one if its ETag matches.
        CreateOrUpdateIfMatchEtag = "createOrUpdateIfMatchETag",
        /// Updates the device without comparing the ETag.
        Update = "update",
        /// Updates the device if its ETag matches.
        UpdateIfMatchEtag = "updateIfMatchETag",
        /// Deletes the device without comparing the ETag.
        Delete = "delete",
        /// Deletes the device if its ETag matches.
        DeleteIfMatchEtag = "deleteIfMatchETag",
        /// Patches the twin of the device.
        UpdateTwin = "updateTwin",
        /// Patches the twin of the device if the twin's ETag matches.
        UpdateTwinIfMatchEtag = "updateTwinIfMatchETag",
    }
}

/// One operation of a bulk request: a device or module, and the change. In the JSON of this request, the ETags have the
/// names `eTag` and `twinETag`.
///
/// Source: `[sdk]` azure-iot-hub (Python), `ExportImportDevice`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceOperation {
    /// The id of the device.
    pub id: String,
    /// The id of the module, if the operation concerns a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The version of the identity to compare with.
    #[serde(default, rename = "eTag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_mode: Option<ImportMode>,
    /// Whether the device may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// The reason for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// How the device or module authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The version of the twin to compare with.
    #[serde(default, rename = "twinETag", skip_serializing_if = "Option::is_none")]
    pub twin_etag: Option<String>,
    /// The tags of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// The properties of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<OperationProperties>,
    /// The capabilities of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of an edge device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the edge devices that are the parents of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

impl DeviceOperation {
    /// Creates an operation on a device, without further data.
    #[must_use]
    pub fn new(id: impl Into<String>, mode: ImportMode) -> Self {
        Self { id: id.into(), import_mode: Some(mode), ..Self::default() }
    }
}

/// The properties of a twin in a bulk request.
///
/// Source: `[sdk]` azure-iot-hub (Python), `PropertyContainer`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationProperties {
    /// The desired properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
    /// The reported properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Map<String, Value>>,
}

/// The result of a bulk request. The HTTP status is 200 if all operations succeeded, and 400 if an operation failed.
///
/// Source: `[sdk]` azure-iot-hub (Python), `BulkRegistryOperationResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBulkResult {
    /// Whether all operations succeeded.
    pub is_successful: bool,
    /// The operations that failed.
    #[serde(default)]
    pub errors: Vec<DeviceBulkError>,
    /// The operations that succeeded with a warning.
    #[serde(default)]
    pub warnings: Vec<DeviceBulkWarning>,
}

/// Why one operation of a bulk request failed.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceRegistryOperationError`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceBulkError {
    /// The id of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The id of the module, if the operation concerned a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The error code.
    pub error_code: OperationCode,
    /// The error message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_status: Option<String>,
    /// The operation that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// A warning about one operation of a bulk request.
///
/// Source: `[sdk]` azure-iot-hub (Python), `DeviceRegistryOperationWarning`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceBulkWarning {
    /// The id of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The name of the warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_code: Option<String>,
    /// The text of the warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_status: Option<String>,
}

/// An error code in a body: its number or its name.
///
/// Source: `[sdk]` azure-iot-sdk-csharp, whose `ErrorCode` is read in both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OperationCode {
    /// The number, with six digits.
    Number(u32),
    /// The name, such as `DeviceNotFound`.
    Name(String),
}

impl OperationCode {
    /// Returns the number of the code, if it is known.
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
    fn parses_and_encodes_the_documented_request() {
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
    fn parses_and_encodes_the_documented_result() {
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
