//! `POST /methods/{hub}/{device}` at the admin port.

use serde_json::Value;

use super::service::Target;
use crate::services::api::hub::{Problem, invoke as invoke_method};
use crate::services::cloud::Cloud;

/// Calls a method. Returns the text of `{status, payload}` for every status.
pub(super) async fn invoke(cloud: &Cloud, target: &Target, body: Value) -> Result<Vec<u8>, Problem> {
    invoke_method(cloud, &target.hub, &target.client_id, body).await
}
