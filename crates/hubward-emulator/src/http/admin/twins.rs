//! `GET` and `PATCH /twins/{hub}/{device}` at the admin port.

use serde_json::{Value, json};

use super::service::Asked;
use crate::service::{Problem, patch_twin};
use crate::shared::Shared;
use crate::store::twin_view;

/// The twin as the service shows it.
pub(super) fn show(shared: &Shared, asked: &Asked) -> Result<Value, Problem> {
    let Asked { hub, client_id, .. } = asked;
    let view = shared.store.read(|state| twin_view(state, hub, client_id));
    Ok(json!(view.ok_or_else(|| Problem::missing_twin(client_id))?))
}

/// Merges `{tags?, properties: {desired?}}`. Other members are ignored, as of a twin that was read.
pub(super) fn patch(shared: &Shared, asked: &Asked, body: &Value) -> Result<Value, Problem> {
    patch_twin(shared, &asked.hub, &asked.client_id, body)
}
