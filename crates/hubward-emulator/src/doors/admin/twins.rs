//! `GET` and `PATCH /twins/{hub}/{device}` at the admin port.

use serde_json::{Value, json};

use super::service::Target;
use crate::services::api::hub::{Problem, patch_twin};
use crate::services::cloud::Cloud;
use crate::state::model::twin_view;

/// The twin in the format of the service.
pub(super) fn show(cloud: &Cloud, target: &Target) -> Result<Value, Problem> {
    let Target { hub, client_id, .. } = target;
    let view = cloud.store.read(|state| twin_view(state, hub, client_id));
    Ok(json!(view.ok_or_else(|| Problem::missing_twin(client_id))?))
}

/// Merges `{tags?, properties: {desired?}}`. Other members are ignored, so that a twin that was read can be sent back.
pub(super) fn patch(cloud: &Cloud, target: &Target, body: &Value) -> Result<Value, Problem> {
    patch_twin(cloud, &target.hub, &target.client_id, body)
}
