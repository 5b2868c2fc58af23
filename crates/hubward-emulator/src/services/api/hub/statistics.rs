//! Number of devices of a hub, and number of connected devices.

use hubward_proto::service::{RegistryStatistics, ServiceStatistics};

use super::ApiResponse;
use super::problem::Problem;
use crate::services::cloud::Cloud;
use crate::state::model::Key;

/// Returns the number of devices. Does not count modules.
///
/// Source: `[doc]` the REST pages "Statistics - Get Device Statistics" and "… Get Service Statistics".
pub(super) fn devices(cloud: &Cloud, hub: &str) -> Result<ApiResponse, Problem> {
    cloud.store.read(|state| {
        let mut statistics = RegistryStatistics::default();
        let devices = state.hub(hub).into_iter().flat_map(|it| it.devices.iter());
        for (_, device) in devices.filter(|(id, _)| !id.contains('/')) {
            statistics.total_device_count += 1;
            if device.enabled {
                statistics.enabled_device_count += 1;
            } else {
                statistics.disabled_device_count += 1;
            }
        }
        Ok(ApiResponse::json(&statistics))
    })
}

/// Returns the number of connected devices. `[guess]`: connected modules do not count, as in the statistics of devices.
pub(super) fn service(cloud: &Cloud, hub: &str) -> Result<ApiResponse, Problem> {
    let count = cloud.store.read(|state| {
        let devices = state.hub(hub).into_iter().flat_map(|it| it.devices.keys()).filter(|it| !it.contains('/'));
        devices.filter(|id| state.live.is_live(&Key::hub(hub, id))).count()
    });
    Ok(ApiResponse::json(&ServiceStatistics { connected_device_count: count as u64 }))
}
