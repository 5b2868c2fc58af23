//! A twin as the service shows it.

use hubward_proto::hub::Properties;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ConnectionState, DeviceStatus, Key, State};

/// The twin of a device or module. As JSON it has the shape of the service's, with `$version` and
/// `$metadata`.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md; `[sdk]` azure-iot-sdk-python, models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TwinView {
    /// Whose.
    pub device_id: String,
    /// Of which module of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Version of what the cloud may change.
    pub etag: String,
    /// Whether the device may connect.
    pub status: DeviceStatus,
    /// Whether it is connected.
    pub connection_state: ConnectionState,
    /// Counts all changes.
    pub version: u64,
    /// What the device does not see.
    pub tags: Map<String, Value>,
    /// What the cloud wants.
    #[serde(skip)]
    pub desired: Properties,
    /// What the device has said.
    #[serde(skip)]
    pub reported: Properties,
    /// Both as the service writes them.
    properties: Value,
}

pub(crate) fn twin_view(state: &State, hub: &str, client_id: &str) -> Option<TwinView> {
    let device = state.device(hub, client_id)?;
    let (device_id, module_id) = match client_id.split_once('/') {
        Some((device_id, module_id)) => (device_id, Some(module_id.to_owned())),
        None => (client_id, None),
    };
    let live = state.live.is_live(&Key::Hub(hub.to_ascii_lowercase(), client_id.to_owned()));
    Some(TwinView {
        device_id: device_id.to_owned(),
        module_id,
        etag: device.twin.etag(),
        status: if device.enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled },
        connection_state: if live { ConnectionState::Connected } else { ConnectionState::Disconnected },
        version: device.twin.version(),
        tags: device.twin.tags().clone(),
        desired: device.twin.desired().clone(),
        reported: device.twin.reported().clone(),
        properties: device.twin.properties(),
    })
}
