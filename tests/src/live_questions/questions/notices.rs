//! Question 10: which notices a device gets, and which versions move.

use std::sync::Arc;

use serde_json::Value;

use crate::live_questions::asker::{Asker, Device};
use crate::live_questions::line::{Line, SILENCE};

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let mut line = asker.online(&device).await?;
    line.must_subscribe(&asker, "$iothub/twin/PATCH/properties/desired/#", 1).await?;
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
        change(&asker, &device, &mut line, step, name, method, body).await?;
    }
    line.close().await;
    Ok(())
}

/// Makes one change. A further change that marks the end follows it, so that no time decides whether a
/// notice came.
async fn change(
    asker: &Asker,
    device: &Device,
    line: &mut Line,
    step: usize,
    name: &str,
    method: &str,
    body: &str,
) -> Result<(), String> {
    let before = asker.twin(device).await?;
    let reply = asker.change_twin(method, device, body).await;
    let after = asker.twin(device).await?;
    asker.see_reply(name, &reply);
    for (what, path) in [("version", "/version"), ("desired $version", "/properties/desired/$version")] {
        asker.see(format!("{name}: {what}"), moved(&before, &after, path));
    }
    let mut desired = after["properties"]["desired"].clone();
    if let Some(members) = desired.as_object_mut() {
        members.retain(|name, _| !name.starts_with('$') && !name.starts_with("marker"));
    }
    asker.see(format!("{name}: desired properties afterwards"), desired.to_string());
    asker.see(format!("{name}: tags afterwards"), after.get("tags").map_or_else(|| "absent".into(), Value::to_string));

    let marker = format!("marker{step}");
    let mark = format!("{{\"properties\":{{\"desired\":{{\"{marker}\":1}}}}}}");
    asker.change_twin("PATCH", device, &mark).await.expect("marking the end")?;
    let mut notices = Vec::new();
    loop {
        let notice = line.next(asker, SILENCE).await.map_err(|it| format!("no notice of a change, but {it}"))?;
        line.acknowledge(&notice).await;
        let body: Value = serde_json::from_slice(&notice.body).unwrap_or_default();
        if body[&marker] == 1 {
            break;
        }
        // The notice of an earlier change may come late.
        notices.extend(relative(&notice.topic, body, desired_version(&before)));
    }
    let seen = if notices.is_empty() { "none".to_owned() } else { notices.join("; ") };
    asker.see(format!("{name}: notices"), seen);
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

/// A notice, its versions counted from what the twin had before; `None` for a notice of that version.
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
