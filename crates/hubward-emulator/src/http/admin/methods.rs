//! `POST /methods/{hub}/{device}` at the admin port.

use serde_json::Value;

use super::service::Asked;
use crate::service::{Problem, invoke as invoke_method};
use crate::shared::Shared;

/// Calls a method; the text of `{status, payload}`, whatever the status.
pub(super) async fn invoke(shared: &Shared, asked: &Asked, body: Value) -> Result<Vec<u8>, Problem> {
    invoke_method(shared, &asked.hub, &asked.client_id, body).await
}
