//! `/api/credential-policies`: the policies by which DPS and the hubs issue certificates.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use crate::services::cloud::Cloud;
use crate::state::model::CredentialPolicy;

/// The body of a request that adds or replaces a policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    validity_period_in_days: u16,
}

pub(super) fn list(cloud: &Cloud) -> Value {
    json!(cloud.store.read(|state| state.credential_policies.all()))
}

pub(super) fn show(cloud: &Cloud, name: &str) -> Result<Value, Failure> {
    let policy = cloud.store.read(|state| state.credential_policies.named(name));
    policy.map(|it| json!(it)).ok_or_else(|| Failure::new(404, format!("There is no credential policy `{name}`.")))
}

pub(super) fn put(cloud: &Cloud, name: &str, body: &Body) -> Result<Value, Failure> {
    let wrong = |problem: crate::state::model::CredentialPolicyError| Failure::wrong(format!("{problem}."));
    let policy = CredentialPolicy::new(name, body.validity_period_in_days).map_err(wrong)?;
    cloud.store.change(|state| state.credential_policies.put(policy.clone())).map_err(wrong)?;
    Ok(json!(policy))
}
