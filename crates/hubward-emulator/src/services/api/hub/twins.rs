//! Twins: get, patch, replace.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::{ApiResponse, IfMatch, check_twin_etag};
use crate::services::cloud::Cloud;
use crate::services::hub::{TwinProblem, change_twin, note_twin_update};
use crate::state::model::{Change, TwinView, twin_view};

/// Returns the twin of a device or module.
///
/// Source: `[seen]` recordings of azure-sdk-for-net: the response to a GET or to a change of a twin has no header
/// `ETag`.
pub(super) fn get(cloud: &Cloud, hub: &str, client_id: &str) -> Result<ApiResponse, Problem> {
    cloud.store.read(|state| {
        let view = twin_view(state, hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        Ok(ApiResponse::json(&view))
    })
}

/// Changes the tags and desired properties of a twin. PATCH merges the values of the request into the twin, and PUT
/// replaces the values of the twin. Returns the whole twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Back-end operations"; `[seen]`
/// MicrosoftDocs/azure-docs, issue 32289: a replacement without tags removes all tags. `[guess]`: a replacement
/// without desired properties removes all desired properties.
pub(super) fn change(
    cloud: &Cloud,
    hub: &str,
    client_id: &str,
    if_match: &IfMatch,
    body: &[u8],
    replace: bool,
) -> Result<ApiResponse, Problem> {
    let body: Value = super::read(body, b'{')?;
    let changes = Changes::read(&body, replace)?;
    Ok(ApiResponse::json(&apply(cloud, hub, client_id, if_match, &changes)?))
}

/// Changes a twin, and returns the changed twin.
fn apply(
    cloud: &Cloud,
    hub: &str,
    client_id: &str,
    if_match: &IfMatch,
    changes: &Changes,
) -> Result<TwinView, Problem> {
    let now = cloud.clock.now();
    let Changes { tags, desired } = changes;
    let fits = |etag: &str| check_twin_etag(if_match, client_id, etag);
    let (version, view) = cloud.store.change(|state| {
        state.device(hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        let version = change_twin(state, hub, client_id, tags.as_ref(), desired.as_ref(), now, fits)?;
        let view = twin_view(state, hub, client_id).ok_or_else(|| Problem::missing_twin(client_id))?;
        Ok::<_, Problem>((version, view))
    })?;
    note_twin_update(cloud, hub, client_id, version);
    Ok(view)
}

/// The changes that a body contains: tags and desired properties. Other members of the body are ignored.
struct Changes {
    tags: Option<Change>,
    desired: Option<Change>,
}

impl Changes {
    /// Parses the changes.
    ///
    /// In a replacement (PUT), if the tags or the desired properties are absent or `null`, the twin loses all of them.
    ///
    /// In a patch (PATCH), if the tags or the desired properties are absent, they do not change. A `null` has a
    /// different effect on the two: `"desired": null` removes all desired properties, but `"tags": null` changes
    /// nothing.
    ///
    /// Source: for `properties.desired`, `[sdk]` azure-iot-sdk-node, end-to-end test "can null out all desired
    /// properties". `[guess]`: the rule for `tags`.
    fn read(body: &Value, replace: bool) -> Result<Self, TwinProblem> {
        let tags = object(body.get("tags"), "tags")?.cloned();
        let properties = object(body.get("properties"), "properties")?;
        let desired = properties.and_then(|it| it.get("desired"));
        let none = desired.is_some_and(Value::is_null);
        let desired = object(desired, "desired")?.cloned().map(without_own_names);
        Ok(if replace {
            let all = |part: Option<Map<String, Value>>| Some(Change::Replace(part.unwrap_or_default()));
            Self { tags: all(tags), desired: all(desired) }
        } else {
            let desired = if none { Some(Change::Replace(Map::new())) } else { desired.map(Change::Merge) };
            Self { tags: tags.map(Change::Merge), desired }
        })
    }
}

/// Returns the desired properties without `$metadata` and `$version`.
///
/// A client may send back a twin that it has read, including `$metadata` and `$version`. Only the hub sets the values
/// of these two properties, so it ignores them in a request.
///
/// Source: `[seen]` recordings of azure-sdk-for-net, in which the client sends a twin back.
pub(super) fn without_own_names(mut desired: Map<String, Value>) -> Map<String, Value> {
    for name in ["$metadata", "$version"] {
        desired.remove(name);
    }
    desired
}

/// Returns a part of a twin. `null` counts as absent, because some clients write `null` for absent members.
fn object<'a>(value: Option<&'a Value>, part: &'static str) -> Result<Option<&'a Map<String, Value>>, TwinProblem> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(TwinProblem::NotAnObject { part }),
    }
}
