//! `GET` and `PATCH /twins/{hub}/{device}` at the admin port.

use serde_json::{Map, Value, json};

use super::service::{Asked, Problem};
use crate::hub::{Code, TwinProblem, update_twin};
use crate::shared::Shared;
use crate::store::{Change, twin_view};

/// The twin as the service shows it.
pub(super) fn show(shared: &Shared, asked: &Asked) -> Result<Value, Problem> {
    let Asked { hub, client_id, .. } = asked;
    let view = shared.store.read(|state| twin_view(state, hub, client_id));
    let missing = || TwinProblem::NotFound { hub: hub.clone(), id: client_id.clone() };
    Ok(json!(view.ok_or_else(missing)?))
}

/// Merges `{tags?, properties: {desired?}}`. Other members are ignored, as of a twin that was read.
pub(super) fn patch(shared: &Shared, asked: &Asked, body: &Value) -> Result<Value, Problem> {
    let body = object(Some(body), "the body")?;
    let tags = object(body.and_then(|it| it.get("tags")), "tags")?;
    let properties = object(body.and_then(|it| it.get("properties")), "properties")?;
    let desired = object(properties.and_then(|it| it.get("desired")), "desired")?;
    let [tags, desired] = [tags, desired].map(|it| it.cloned().map(Change::Merge));
    update_twin(shared, &asked.hub, &asked.client_id, tags.as_ref(), desired.as_ref())?;
    show(shared, asked)
}

fn object<'a>(value: Option<&'a Value>, part: &'static str) -> Result<Option<&'a Map<String, Value>>, TwinProblem> {
    match value {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(TwinProblem::NotAnObject { part }),
    }
}

impl From<TwinProblem> for Problem {
    fn from(problem: TwinProblem) -> Self {
        let code: Code = problem.as_code();
        Self::new(code, problem.to_string())
    }
}
