//! `/api/faults`: fault scripts as JSON.

mod fault;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::fault::FaultBody;
use super::Failure;
use crate::services::cloud::Cloud;
use crate::services::faults;
use crate::state::fault::{Fault, FaultScript, Point, ScriptedFault};

/// Maximum length of `{device}/{module}`. Each of the two ids has at most 128 characters.
const DEVICE_MAX: usize = 257;

/// Maximum number of scripts. The emulator checks every script at each event and keeps the body of each script in
/// memory.
const SCRIPTS_MAX: usize = 500;

/// The body of a request that adds a script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    point: Point,
    fault: FaultBody,
    #[serde(default)]
    times: Times,
    device: Option<String>,
    probability: Option<f64>,
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Times {
    Number(u64),
    Word(Always),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Always {
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::Number(1)
    }
}

/// Lists all scripts, and for each point the faults that are possible there.
pub(super) fn show(cloud: &Cloud) -> Value {
    let scripted: Vec<Value> = cloud.faults.all().iter().map(shown).collect();
    let points: Vec<Value> = Point::ALL
        .into_iter()
        .map(|point| json!({ "point": point, "forOneDevice": point.knows_device(), "faults": fault::kinds(point) }))
        .collect();
    json!({ "faults": scripted, "points": points })
}

fn shown(scripted: &ScriptedFault) -> Value {
    let ScriptedFault { id, point, fault, device, left, happened, chance } = scripted;
    let mut shown = json!({
        "id": id,
        "point": point,
        "fault": FaultBody::from(fault),
        "times": left.map_or(Times::Word(Always::Always), Times::Number),
        "happened": happened,
    });
    if let Some(device) = device {
        shown["device"] = json!(device);
    }
    if let Some((probability, seed)) = chance {
        shown["probability"] = json!(probability);
        shown["seed"] = json!(seed);
    }
    shown
}

pub(super) fn script(cloud: &Cloud, body: Body) -> Result<Value, Failure> {
    let Body { point, fault, times, device, probability, seed } = body;
    if cloud.faults.count() >= SCRIPTS_MAX {
        return Err(Failure::new(409, "There are already 500 fault scripts. Clear some with DELETE /api/faults."));
    }
    if probability.is_none() && seed.is_some() {
        return Err(Failure::wrong("A seed needs a probability: add one, or leave out the seed."));
    }
    if device.as_ref().is_some_and(|it| it.len() > DEVICE_MAX) {
        return Err(Failure::wrong("The id is too long: {device} and {module} have at most 128 characters each."));
    }
    let fault = Fault::try_from(fault).map_err(Failure::wrong)?;
    let mut script = FaultScript::new(point, fault);
    script = match times {
        Times::Number(times) => script.times(times),
        Times::Word(Always::Always) => script.always(),
    };
    if let Some(device) = device {
        script = script.device(device);
    }
    if let Some(probability) = probability {
        // Choose a seed below 2^53. JavaScript represents integers below 2^53 exactly, so a client in JavaScript can
        // send the seed back unchanged.
        let seed = seed.unwrap_or_else(|| fastrand::u64(0..1 << 53));
        script = script.probability(probability, seed);
    }
    let id = faults::script(cloud, script).map_err(|problem| Failure::wrong(format!("{problem}.")))?;
    let scripted = cloud.faults.all().into_iter().find(|it| it.id == id);
    // The script may have been used up already.
    Ok(scripted.map_or_else(|| json!({ "id": id }), |it| shown(&it)))
}

pub(super) fn clear(cloud: &Cloud) -> Value {
    json!({ "cleared": faults::clear(cloud) })
}

pub(super) fn remove(cloud: &Cloud, id: u64) -> Result<Value, Failure> {
    if cloud.faults.remove(id) {
        return Ok(json!({ "cleared": 1 }));
    }
    Err(Failure::new(404, format!("The fault script {id} does not exist. It may have been used up.")))
}
