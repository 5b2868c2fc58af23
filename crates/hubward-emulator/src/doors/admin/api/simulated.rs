//! `/api/simulated`: starts, lists and stops simulated devices.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use crate::services::cloud::Cloud;
use crate::services::simulate;
use crate::services::simulated::{MAX, Refused, View};
use crate::state::clock::timestamp;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    registration_id: Option<String>,
}

pub(super) fn show(cloud: &Cloud) -> Value {
    let devices: Vec<Value> = cloud.simulated.list().iter().map(|it| device(cloud, it)).collect();
    json!({ "available": cloud.simulated.is_available(), "max": MAX, "devices": devices })
}

pub(super) fn start(cloud: &Cloud, body: &Body) -> Result<Value, Failure> {
    match simulate::start(cloud, body.registration_id.as_deref()) {
        Ok(id) => Ok(json!({ "id": id })),
        Err(refused) => Err(match refused {
            Refused::Unavailable => Failure::new(
                501,
                "This emulator cannot run a device, because its program has no device client. The command `hubward \
                 emulator` has one; in a Rust program, use `Builder::simulated_device`.",
            ),
            Refused::Running => Failure::new(409, "This simulated device runs already."),
            Refused::Full => Failure::new(409, format!("{MAX} simulated devices run already; stop one of them.")),
            Refused::Enroll(error) => Failure::wrong(format!("The device cannot be enrolled: {error}.")),
        }),
    }
}

pub(super) async fn stop(cloud: &Cloud, id: &str) -> Result<Value, Failure> {
    if cloud.simulated.stop(id).await {
        return Ok(json!({ "stopped": true }));
    }
    Err(Failure::new(404, format!("There is no simulated device `{id}`.")))
}

/// Returns a simulated device as JSON. The member `hub` is the hub that DPS has assigned to the device. Before the
/// first registration, this member is absent.
fn device(cloud: &Cloud, view: &View) -> Value {
    let View { registration_id, since, ended } = view;
    let hub = cloud.store.read(|state| {
        state.records.get(&registration_id.to_ascii_lowercase()).and_then(|it| it.state.assigned_hub.clone())
    });
    let mut shown = json!({
        "id": registration_id,
        "since": timestamp(*since),
        "state": if ended.is_some() { "ended" } else { "running" },
    });
    if let Some(hub) = hub {
        shown["hub"] = json!(hub);
    }
    if let Some(Err(problem)) = ended {
        shown["problem"] = json!(problem);
    }
    shown
}
