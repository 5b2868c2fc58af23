//! A twin as the service shows it.

use hubward_proto::hub::Properties;
use hubward_proto::service::{Capabilities, X509Thumbprint};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ConnectionState, DeviceStatus, Key, State};

/// The twin of a device or module. The JSON has the service's format, with `$version` and `$metadata`.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md; `[sdk]` azure-iot-sdk-python, models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TwinView {
    /// The device id.
    pub device_id: String,
    /// The module id, if this is the twin of a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Version of tags and desired properties.
    pub etag: String,
    /// Version of the identity.
    pub device_etag: String,
    /// Whether the device may connect.
    pub status: DeviceStatus,
    /// The operator's comment on the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When the status last changed. If it has never changed, the time is in the year 1.
    pub status_update_time: String,
    /// Whether the device is connected.
    pub connection_state: ConnectionState,
    /// When the device last connected or sent something. If the device has never connected, the time is in the year 1.
    pub last_activity_time: String,
    /// Number of messages in the queue.
    pub cloud_to_device_message_count: usize,
    /// `sas`, `selfSigned` or `certificateAuthority`.
    authentication_type: &'static str,
    /// Empty if the identity does not authenticate with `selfSigned`.
    x509_thumbprint: X509Thumbprint,
    /// The model id that the device sent with its last connection. Empty if it sent none.
    pub model_id: String,
    /// Increases with every change of the twin.
    pub version: u64,
    /// The tags. Devices cannot see them. Omitted from JSON if there are no tags.
    ///
    /// Source: `[seen]` recordings of azure-sdk-for-net; `[sdk]` azure-iot-cli-extension, integration tests.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// The desired properties.
    #[serde(skip)]
    pub desired: Properties,
    /// The reported properties.
    #[serde(skip)]
    pub reported: Properties,
    /// Desired and reported properties in the service's format.
    properties: Value,
    /// The capabilities of a device; `None` for a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
}

pub(crate) fn twin_view(state: &State, hub: &str, client_id: &str) -> Option<TwinView> {
    let device = state.device(hub, client_id)?;
    let (device_id, module_id) = match client_id.split_once('/') {
        Some((device_id, module_id)) => (device_id, Some(module_id.to_owned())),
        None => (client_id, None),
    };
    let live = state.live.is_live(&Key::hub(hub, client_id));
    Some(TwinView {
        device_id: device_id.to_owned(),
        module_id,
        etag: device.twin.etag(),
        device_etag: device.etag.clone(),
        status: if device.enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled },
        status_reason: device.status_reason.clone(),
        status_update_time: device.status_updated.clone(),
        last_activity_time: state.activity(hub, client_id, device),
        cloud_to_device_message_count: device.queue.len(),
        authentication_type: device.authentication.kind(),
        x509_thumbprint: device.authentication.thumbprints(),
        model_id: device.model_id.clone().unwrap_or_default(),
        capabilities: (!client_id.contains('/')).then(Capabilities::default),
        connection_state: if live { ConnectionState::Connected } else { ConnectionState::Disconnected },
        version: device.twin.version(),
        tags: device.twin.tags().clone(),
        desired: device.twin.desired().clone(),
        reported: device.twin.reported().clone(),
        properties: device.twin.properties(),
    })
}
