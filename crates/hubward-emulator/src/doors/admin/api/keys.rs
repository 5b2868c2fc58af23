//! `GET /api/keys`: returns the connection strings of the service APIs. These strings are secrets. The admin port
//! returns them to every client that can reach the port.

use serde_json::{Value, json};

use crate::services::cloud::Cloud;
use crate::services::policies;

pub(super) fn show(cloud: &Cloud) -> Value {
    let policies = policies::all(cloud);
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
