//! `POST /methods/{hub}/{device}` at the admin port.

use serde_json::Value;

use super::service::Target;
use crate::service::{Problem, invoke as invoke_method};
use crate::shared::Shared;

/// Calls a method. Returns the text of `{status, payload}` for every status.
pub(super) async fn invoke(shared: &Shared, target: &Target, body: Value) -> Result<Vec<u8>, Problem> {
    invoke_method(shared, &target.hub, &target.client_id, body).await
}
