//! `GET /api/keys`: what the service side is reached with. These are secrets; the admin port is for who
//! may have them.

use serde_json::{Value, json};

use crate::shared::Shared;

pub(super) fn show(shared: &Shared) -> Value {
    let policies = shared.policies();
    let shown: Vec<Value> = policies
        .iter()
        .map(|it| {
            json!({
                "host": it.host,
                "service": if it.is_dps { "dps" } else { "hub" },
                "policy": it.name,
                "rights": it.rights,
                "connectionString": it.connection_string(),
            })
        })
        .collect();
    json!({ "policies": shown })
}
