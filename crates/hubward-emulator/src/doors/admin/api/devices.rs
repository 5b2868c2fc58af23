//! `POST /api/devices/{hub}/{device}/disconnect`.

use serde_json::{Value, json};

use super::Failure;
use crate::services::cloud::Cloud;
use crate::state::model::{EndReason, Key};

/// Cuts the connection of a device or module. The device may reconnect at once. Returns whether the device or module
/// was connected.
pub(super) fn disconnect(cloud: &Cloud, hub: &str, client_id: &str) -> Result<Value, Failure> {
    let disconnected = cloud.store.change(|state| {
        state.device(hub, client_id)?;
        Some(state.live.close(&Key::hub(hub, client_id), EndReason::Dropped))
    });
    let missing = || Failure::new(404, format!("The hub `{hub}` has no device or module `{client_id}`."));
    Ok(json!({ "disconnected": disconnected.ok_or_else(missing)? }))
}
