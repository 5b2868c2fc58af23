//! `POST /api/devices/{hub}/{device}/disconnect`.

use serde_json::{Value, json};

use super::Failure;
use crate::shared::Shared;
use crate::store::{Key, Why};

/// Cuts the connection of a device or module, which may reconnect at once. Returns whether there was one.
pub(super) fn disconnect(shared: &Shared, hub: &str, client_id: &str) -> Result<Value, Failure> {
    let disconnected = shared.store.change(|state| {
        state.device(hub, client_id)?;
        Some(state.live.close(&Key::Hub(hub.to_ascii_lowercase(), client_id.to_owned()), Why::Dropped))
    });
    let missing = || Failure::new(404, format!("The hub `{hub}` has no device or module `{client_id}`."));
    Ok(json!({ "disconnected": disconnected.ok_or_else(missing)? }))
}
