//! Generates new keys for several identities.

use hubward_proto::service::SymmetricKeys;
use hubward_sas::SharedKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::identity::{self, find};
use super::problem::Problem;
use super::{ApiResponse, read};
use crate::services::cloud::Cloud;
use crate::services::hub::Code;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{DeviceAuthentication, State};
use crate::state::wire_id;

/// Source: `[guess]`: the same limit as for other bulk requests.
const MAX: usize = 100;

/// Source: `[sdk]` azure-iot-cli-extension, tests of its generated client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    policy_key: String,
    devices: Vec<Subject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    id: String,
    module_id: Option<String>,
}

/// Generates a new primary or secondary key for each identity. If the hub refuses no identity, returns 200. If the hub
/// refuses some identities, returns 207. If the hub refuses all identities, returns 400.
///
/// Source: `[sdk]` azure-iot-cli-extension, tests. `[guess]`: an error has the same format as in other bulk requests.
/// `[guess]`: the response contains both keys.
pub(super) fn answer(cloud: &Cloud, hub: &str, body: &[u8]) -> Result<ApiResponse, Problem> {
    let Request { policy_key, devices } = read(body, b'{')?;
    let primary = match policy_key.as_str() {
        "primaryKey" => true,
        "secondaryKey" => false,
        _ => return Err(Problem::invalid("policyKey must be primaryKey or secondaryKey.")),
    };
    if !(1..=MAX).contains(&devices.len()) {
        return Err(Problem::new(Code::TooManyDevices, "The request must have one to 100 identities."));
    }
    let (mut rotated, mut errors) = (Vec::new(), Vec::new());
    cloud.store.change(|state| {
        for Subject { id, module_id } in devices {
            let client_id = identity::client_id(&id, module_id.as_deref());
            match client_id.and_then(|it| renew(state, hub, &it, primary)) {
                Ok(SymmetricKeys { primary_key, secondary_key }) => rotated.push(json!({
                    "id": id, "moduleId": module_id, "primaryKey": primary_key, "secondaryKey": secondary_key,
                })),
                Err(problem) => errors.push(json!({
                    "deviceId": id, "moduleId": module_id,
                    "errorCode": problem.code, "errorStatus": problem.message, "operation": "regenerateKey",
                })),
            }
        }
    });
    for done in &rotated {
        let id = done["id"].as_str().unwrap_or_default();
        let module_id = done["moduleId"].as_str().filter(|it| !it.is_empty());
        let client_id = module_id.map_or_else(|| id.to_owned(), |it| format!("{id}/{it}"));
        let note = Note::new(EventKind::DeviceUpdated, EventSource::HubService).hub(hub).id(&client_id);
        cloud.journal.note(note.message(format!("a new {policy_key}")));
    }
    let status = match (rotated.is_empty(), errors.is_empty()) {
        (_, true) => 200,
        (false, false) => 207,
        (true, false) => 400,
    };
    let body: Value = json!({ "policyKey": policy_key, "errors": errors, "rotatedKeys": rotated });
    Ok(ApiResponse { status, ..ApiResponse::json(&body) })
}

fn renew(state: &mut State, hub: &str, client_id: &str, primary: bool) -> Result<SymmetricKeys, Problem> {
    find(state, hub, client_id)?;
    let key = SharedKey::generate()
        .map_err(|_| Problem::generic(500, "The system provides no randomness to generate keys."))?;
    let device = state.device_mut(hub, client_id).ok_or_else(|| Problem::missing(client_id))?;
    let DeviceAuthentication::Sas(keys) = &mut device.authentication else {
        return Err(Problem::invalid("An identity with certificates has no keys."));
    };
    *(if primary { &mut keys.primary } else { &mut keys.secondary }) = key;
    let text = |key: &SharedKey| key.expose_base64().to_string();
    let renewed = SymmetricKeys { primary_key: text(&keys.primary), secondary_key: text(&keys.secondary) };
    device.etag = wire_id::identity_etag();
    Ok(renewed)
}
