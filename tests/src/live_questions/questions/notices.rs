//! Question 10: which notices does a device receive after a change of its twin, and which versions change?

use std::sync::Arc;

use serde_json::Value;

use crate::live_questions::asker::{Asker, Device};
use crate::live_questions::connection::{Connection, SILENCE};

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let mut connection = asker.connect(&device).await?;
    connection.must_subscribe(&asker, "$iothub/twin/PATCH/properties/desired/#", 1).await?;
    let body = "{\"tags\":{\"t\":1},\"properties\":{\"desired\":{\"a\":1,\"o\":{\"a\":1,\"b\":2}}}}";
    asker.change_twin("PATCH", &device, body).await.expect("changing the twin")?;
    let put = "{\"properties\":{\"desired\":{\"o\":{\"b\":1}}}}";
    for (step, (name, method, body)) in [
        ("the first change of a twin", "PATCH", "{\"properties\":{\"desired\":{\"z\":true}}}"),
        ("PATCH {}", "PATCH", "{}"),
        ("PATCH with desired {}", "PATCH", "{\"properties\":{\"desired\":{}}}"),
        ("PATCH with a null member", "PATCH", "{\"properties\":{\"desired\":{\"z\":null}}}"),
        ("PUT with one object", "PUT", put),
        ("PUT of the same again", "PUT", put),
        ("PATCH with desired null", "PATCH", "{\"properties\":{\"desired\":null}}"),
        ("PATCH with tags null", "PATCH", "{\"tags\":null}"),
    ]
    .into_iter()
    .enumerate()
    {
        change(&asker, &device, &mut connection, step, name, method, body).await?;
    }
    connection.close().await;
    Ok(())
}

/// Makes two changes: first the change to test, and then a change that serves as a marker. Collects the notices that
/// arrive before the notice of the marker.
///
/// If the change to test causes no notice, the notice of the marker arrives first. The question then knows that no
/// other notice will come, and does not have to wait for a timeout.
async fn change(
    asker: &Asker,
    device: &Device,
    connection: &mut Connection,
    step: usize,
    name: &str,
    method: &str,
    body: &str,
) -> Result<(), String> {
    let before = asker.twin(device).await?;
    let reply = asker.change_twin(method, device, body).await;
    let after = asker.twin(device).await?;
    asker.observe_reply(name, &reply);
    for (what, path) in [("version", "/version"), ("desired $version", "/properties/desired/$version")] {
        asker.observe(format!("{name}: {what}"), moved(&before, &after, path));
    }
    let mut desired = after["properties"]["desired"].clone();
    if let Some(members) = desired.as_object_mut() {
        members.retain(|name, _| !name.starts_with('$') && !name.starts_with("marker"));
    }
    asker.observe(format!("{name}: desired properties afterwards"), desired.to_string());
    asker.observe(
        format!("{name}: tags afterwards"),
        after.get("tags").map_or_else(|| "absent".into(), Value::to_string),
    );

    let marker = format!("marker{step}");
    let mark = format!("{{\"properties\":{{\"desired\":{{\"{marker}\":1}}}}}}");
    asker.change_twin("PATCH", device, &mark).await.expect("marking the end")?;
    let mut notices = Vec::new();
    loop {
        let notice =
            connection.next(asker, SILENCE).await.map_err(|it| format!("expected a notice of a change: {it}"))?;
        connection.acknowledge(&notice).await;
        let body: Value = serde_json::from_slice(&notice.body).unwrap_or_default();
        if body[&marker] == 1 {
            break;
        }
        // This may be the late notice of an earlier change. For such a notice, `relative` returns `None`.
        notices.extend(relative(&notice.topic, body, desired_version(&before)));
    }
    let seen = if notices.is_empty() { "none".to_owned() } else { notices.join("; ") };
    asker.observe(format!("{name}: notices"), seen);
    Ok(())
}

fn moved(before: &Value, after: &Value, path: &str) -> String {
    let number = |it: &Value| it.pointer(path).and_then(Value::as_i64);
    match (number(before), number(after)) {
        (Some(before), Some(after)) => format!("+{}", after - before),
        _ => "absent".into(),
    }
}

fn desired_version(twin: &Value) -> i64 {
    twin["properties"]["desired"]["$version"].as_i64().unwrap_or_default()
}

/// Returns a notice as text. The text contains each version as a difference, such as `+1`, from `base`, the version of
/// the desired properties before the change. Returns `None` if the notice belongs to an earlier change.
fn relative(topic: &str, mut body: Value, base: i64) -> Option<String> {
    let topic = match topic.split_once("$version=") {
        Some((start, version)) => match version.parse::<i64>() {
            Ok(version) if version <= base => return None,
            Ok(version) => format!("{start}$version=+{}", version - base),
            Err(_) => topic.to_owned(),
        },
        None => topic.to_owned(),
    };
    if let Some(version) = body["$version"].as_i64() {
        body["$version"] = format!("+{}", version - base).into();
    }
    Some(format!("{topic} {body}"))
}
