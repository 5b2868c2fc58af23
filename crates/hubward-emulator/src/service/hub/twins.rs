//! Twins: show, patch, replace.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::{Done, IfMatch, check_etag};
use crate::hub::{TwinProblem, change_twin, note_twin_update};
use crate::shared::Shared;
use crate::store::{Change, TwinView, twin_view};

/// The twin of a device or module.
pub(super) fn get(shared: &Shared, hub: &str, client_id: &str) -> Result<Done, Problem> {
    shared.store.read(|state| {
        let view = twin_view(state, hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        Ok(Done::json(&view).etag(&view.etag))
    })
}

/// Patches tags and desired properties, or replaces both; gives the whole twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Back-end operations". That a replacement
/// without tags, or without desired properties, leaves none of them is a `[guess]`.
pub(super) fn change(
    shared: &Shared,
    hub: &str,
    client_id: &str,
    if_match: &IfMatch,
    body: &[u8],
    replace: bool,
) -> Result<Done, Problem> {
    let body: Value = super::read(body, b'{')?;
    let [tags, desired] = parts(&body)?;
    let change = |part: Option<Map<String, Value>>| match (replace, part) {
        (true, part) => Some(Change::Replace(part.unwrap_or_default())),
        (false, part) => part.map(Change::Merge),
    };
    let (tags, desired) = (change(tags), change(desired));
    let view = apply(shared, hub, client_id, if_match, tags.as_ref(), desired.as_ref())?;
    Ok(Done::json(&view).etag(&view.etag))
}

/// Changes a twin, and gives it as it is then.
fn apply(
    shared: &Shared,
    hub: &str,
    client_id: &str,
    if_match: &IfMatch,
    tags: Option<&Change>,
    desired: Option<&Change>,
) -> Result<TwinView, Problem> {
    let now = shared.clock.now();
    let fits = |etag: &str| check_etag(if_match, etag);
    let (version, view) = shared.store.change(|state| {
        state.device(hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        let version = change_twin(state, hub, client_id, tags, desired, now, fits)?;
        let view = twin_view(state, hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        Ok::<_, Problem>((version, view))
    })?;
    note_twin_update(shared, hub, client_id, version);
    Ok(view)
}

/// Tags and desired properties of a body. Other members are ignored.
fn parts(body: &Value) -> Result<[Option<Map<String, Value>>; 2], TwinProblem> {
    let tags = object(body.get("tags"), "tags")?;
    let properties = object(body.get("properties"), "properties")?;
    let desired = object(properties.and_then(|it| it.get("desired")), "desired")?;
    Ok([tags.cloned(), desired.cloned().map(without_own_names)])
}

/// Desired properties of a body without `$metadata` and `$version`, which are the hub's own: a twin that
/// was read can be sent back.
///
/// Source: `[guess]` from the SDKs, which send back what they have read.
pub(super) fn without_own_names(mut desired: Map<String, Value>) -> Map<String, Value> {
    for name in ["$metadata", "$version"] {
        desired.remove(name);
    }
    desired
}

/// `null` is as good as absent, as clients write what they have not.
fn object<'a>(value: Option<&'a Value>, part: &'static str) -> Result<Option<&'a Map<String, Value>>, TwinProblem> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(TwinProblem::NotAnObject { part }),
    }
}

/// Merges `{tags?, properties: {desired?}}`, for who has the body as JSON already; gives the twin.
#[cfg(feature = "admin")]
pub(crate) fn patch(shared: &Shared, hub: &str, client_id: &str, body: &Value) -> Result<Value, Problem> {
    if !body.is_object() {
        return Err(TwinProblem::NotAnObject { part: "the body" }.into());
    }
    let [tags, desired] = parts(body)?.map(|it| it.map(Change::Merge));
    let view = apply(shared, hub, client_id, &IfMatch::Any, tags.as_ref(), desired.as_ref())?;
    Ok(serde_json::json!(view))
}
