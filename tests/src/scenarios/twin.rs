//! A device reads its twin and reports properties.

use hubward::error::{ProtoError, TwinError};
use hubward::twin::Properties;
use hubward::{Fault, HubClient, Settings, TransportKind};
use hubward_emulator as emulator;
use serde_json::{Value, json};

use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, context, ensure};

/// Reading the twin does not change it. The scenario may run against a live service.
pub(super) async fn reads_its_twin(settings: Settings) -> Outcome {
    let hub = context("connecting", settings.clone().connect().await)?;
    let first = context("reading", hub.twin().await)?;
    let second = context("reading again", hub.twin().await)?;
    ensure(first == second, || format!("first {first:?}, then {second:?}"))?;
    ensure(first.desired.version >= 1 && first.reported.version >= 1, || format!("a version is below 1: {first:?}"))
}

/// The client returns the new version after each report. The hub merges the report into the earlier reported
/// properties; `null` removes a member.
///
/// The scenario may run against a live service, because it removes its property at the end.
pub(super) async fn reports_and_reads_back(settings: Settings) -> Outcome {
    const NAME: &str = "hubwardConformance";
    let hub = context("connecting", settings.clone().connect().await)?;
    context("clearing", hub.report(&json!({ NAME: null })).await)?;
    let before = context("reading", hub.twin().await)?.reported;
    ensure(before.get(NAME).is_none(), || format!("the property was removed, but the twin has {before:?}"))?;
    let reports = [
        (json!({ "n": 1, "text": "é 温度", "list": [1, { "a": null }], "deep": { "a": true, "b": 2.5 } }), None),
        (json!({ "n": 2, "deep": { "a": null, "c": "new" } }), None),
        (
            json!({ "list": ["replaced"], "text": null }),
            Some(json!({
                "n": 2, "list": ["replaced"], "deep": { "b": 2.5, "c": "new" },
            })),
        ),
    ];
    let mut version = before.version;
    for (patch, expected) in reports {
        let reported = context("reporting", hub.report(&json!({ NAME: patch })).await)?;
        version += 1;
        ensure(reported.version == Some(version), || format!("{reported:?} instead of {version}"))?;
        if let Some(expected) = expected {
            let twin = context("reading back", hub.twin().await)?;
            ensure(twin.reported.version == version, || format!("{}", twin.reported.version))?;
            ensure(twin.reported.get(NAME) == Some(&expected), || format!("read back {:?}", twin.reported.get(NAME)))?;
        }
    }
    context("removing", hub.report(&json!({ NAME: null })).await)?;
    let after = context("reading", hub.twin().await)?.reported;
    ensure(after.values == before.values, || format!("before {before:?}, after {after:?}"))
}

/// The client refuses a report that no service would accept. The error contains the reason. The twin does not change.
///
/// The scenario may run against a live service, because the client sends none of these reports.
pub(super) async fn refuses_impossible_reports(settings: Settings) -> Outcome {
    let hub = context("connecting", settings.clone().connect().await)?;
    let before = context("reading", hub.twin().await)?;
    for (patch, size) in impossible() {
        let shown = patch.to_string().chars().take(60).collect::<String>();
        match hub.report(&patch).await {
            Err(error @ TwinError::Invalid(_)) => {
                ensure(error.fault() == Some(Fault::Request), || format!("{shown}: {:?}", error.fault()))?;
                let TwinError::Invalid(problem) = error else { continue };
                let found =
                    if let ProtoError::TooLarge { size, limit, .. } = problem { Some((size, limit)) } else { None };
                ensure(found == size, || format!("{shown}: {problem}"))?;
            }
            other => return Err(format!("{shown}: {other:?}")),
        }
    }
    let after = context("reading", hub.twin().await)?;
    ensure(before == after, || format!("before {before:?}, after {after:?}"))
}

/// Returns reports that break a rule of `[doc]` iot-hub/iot-hub-devguide-device-twins.md. The second value of an entry
/// is `None`, except for a report that is too large: there, it contains the size of the report and the limit.
fn impossible() -> Vec<(Value, Option<(usize, usize)>)> {
    // Eleven levels below the section.
    let mut deep = json!(1);
    for _ in 0..12 {
        deep = json!({ "d": deep });
    }
    let large: serde_json::Map<_, _> = (0..9).map(|it| (format!("k{it}"), json!("x".repeat(4000)))).collect();
    vec![
        (json!([1]), None),
        (json!("text"), None),
        (json!(null), None),
        (json!({ "$version": 1 }), None),
        (json!({ "a.b": 1 }), None),
        (json!({ "a b": 1 }), None),
        (json!({ "a": { "\n": 1 } }), None),
        (json!({ "": 1 }), None),
        (json!({ "k".repeat(1025): 1 }), None),
        (json!({ "a": "x".repeat(4097) }), None),
        (json!({ "a": 4_503_599_627_370_496_i64 }), None),
        (deep, None),
        (Value::Object(large), Some((9 * 4002, 32_768))),
    ]
}

/// The cloud gets the reported properties, and the device gets the desired properties. The device does not get the
/// tags.
pub(super) async fn the_cloud_sees_reported_properties(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let desired = json!({ "fan": { "speed": 3 }, "list": [1, "é"] });
    context("desired properties", cloud.emulator.patch_desired(HUB, "dev-1", desired.clone()))?;
    context("tags", cloud.emulator.patch_tags(HUB, "dev-1", json!({ "floor": 2 })))?;
    let reported = context("reporting", hub.report(&json!({ "battery": 55, "gone": 1 })).await)?;
    let reported_again = context("reporting", hub.report(&json!({ "gone": null, "net": { "up": true } })).await)?;
    ensure(reported_again.version == reported.version.map(|it| it + 1), || {
        format!("{reported:?}, {reported_again:?}")
    })?;

    let view = seen_by_the_cloud(&cloud, "dev-1")?;
    ensure(view["tags"] == json!({ "floor": 2 }), || view.to_string())?;
    let [mut desired_there, mut reported_there] =
        ["desired", "reported"].map(|name| view["properties"][name].as_object().cloned().unwrap_or_default());
    let version = reported_there.get("$version").cloned();
    ensure(version.as_ref().and_then(Value::as_u64) == reported_again.version, || format!("{version:?}"))?;
    for properties in [&mut desired_there, &mut reported_there] {
        properties.retain(|name, _| !name.starts_with('$'));
    }
    ensure(Value::Object(desired_there) == desired, || view.to_string())?;
    ensure(Value::Object(reported_there) == json!({ "battery": 55, "net": { "up": true } }), || view.to_string())?;

    let twin = context("reading", hub.twin().await)?;
    ensure(json!(twin.desired.values) == desired, || format!("{twin:?}"))?;
    ensure(twin.desired.get("floor").is_none(), || "the device sees the tags".into())
}

/// A raw connection sends invalid reports, which the client would refuse. Like the service, the emulator answers with
/// status 400, or with 403 if a report is too large. The twin does not change.
///
/// At the end, the raw connection sends a request without a request ID. The emulator closes the connection.
pub(super) async fn the_hub_refuses_impossible_reports(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.hub_device("dev-1", kind);
    let mut raw = device.raw(true).await?;
    raw.subscribe("$iothub/twin/res/#", 1).await?;
    let before = seen_by_the_cloud(&cloud, "dev-1")?;
    let texts = ["", " ", "[1]", "\"text\"", "null", "{", "{\"a\":}", "\u{feff}{}"].map(str::to_owned);
    let bodies = texts.into_iter().chain(impossible().into_iter().map(|(patch, _)| patch.to_string()));
    for (number, body) in bodies.enumerate() {
        raw.publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid=r-{number}"), body.as_bytes()).await?;
        let answer = raw.next().await?;
        let expected = format!("$iothub/twin/res/400/?$rid=r-{number}");
        // The status of a report that is too large is 403: Azure/iotedge, issues 1560 and 7035.
        let too_large = format!("$iothub/twin/res/403/?$rid=r-{number}");
        let shown = body.chars().take(60).collect::<String>();
        ensure(answer.topic == expected || answer.topic == too_large, || format!("`{shown}`: {}", answer.topic))?;
        if answer.qos > 0 {
            raw.acknowledge(&answer).await?;
        }
    }
    let after = seen_by_the_cloud(&cloud, "dev-1")?;
    // Refused reports must not change the twin. The test compares only the parts below. Other parts of the twin may
    // change, because they show when the device was last active.
    let same = ["version", "etag", "tags", "properties"].iter().all(|it| before[it] == after[it]);
    ensure(same && before["version"].is_u64(), || format!("before {before}, after {after}"))?;

    raw.publish("$iothub/twin/PATCH/properties/reported/?$rid=good", br#"{"a":1,"b":null}"#).await?;
    let answer = raw.next().await?;
    let version = before["properties"]["reported"]["$version"].as_u64().unwrap_or_default() + 1;
    ensure(answer.topic == format!("$iothub/twin/res/204/?$rid=good&$version={version}"), || answer.topic.clone())?;
    ensure(answer.body.is_empty(), || "the answer with status 204 has a body".into())?;
    // In the documentation, the body of a GET request is empty. In Microsoft's SDKs, this body is one space. The
    // emulator must accept both.
    for body in [&b""[..], b" "] {
        raw.publish("$iothub/twin/GET/?$rid=8dd4ae6e", body).await?;
        let answer = raw.next().await?;
        ensure(answer.topic == "$iothub/twin/res/200/?$rid=8dd4ae6e", || answer.topic.clone())?;
        let twin: Value = context("JSON", serde_json::from_slice(&answer.body))?;
        let expected = json!({ "desired": { "$version": 1 }, "reported": { "a": 1, "$version": version } });
        ensure(twin == expected, || twin.to_string())?;
    }
    raw.write(&crate::packets::publish("$iothub/twin/GET/?$rid=", b"", 1, 9999)).await?;
    ensure(raw.is_closed().await, || "the hub did not close the connection after a request without an ID".into())
}

/// If the hub throttles a request, the client sends the request again until the hub accepts it. The application gets
/// the answer later, but gets no error.
pub(super) async fn a_throttled_twin_request_is_repeated(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let throttled = emulator::Fault::throttled("1");
    for point in [emulator::Point::HubTwinGet, emulator::Point::HubReported] {
        context("a fault", cloud.emulator.fault(point, throttled.clone()))?;
    }
    let reported = context("reporting", hub.report(&json!({ "a": 1 })).await)?;
    ensure(cloud.emulator.faults_left(emulator::Point::HubReported) == 0, || "the hub throttled no request".into())?;
    ensure(reported.version == Some(2), || format!("{reported:?}: the client reported more than once"))?;
    let twin = context("reading", hub.twin().await)?;
    ensure(cloud.emulator.faults_left(emulator::Point::HubTwinGet) == 0, || "the hub throttled no request".into())?;
    ensure(twin.reported.get("a") == Some(&json!(1)), || format!("{twin:?}"))
}

/// If the connection closes before the answer arrives, the client sends the request again on the next connection.
pub(super) async fn a_lost_twin_request_is_sent_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    for point in [emulator::Point::HubReported, emulator::Point::HubTwinGet] {
        context("a fault", cloud.emulator.fault(point, emulator::Fault::Cut))?;
    }
    context("reporting", hub.report(&json!({ "a": 1 })).await)?;
    let twin = context("reading", hub.twin().await)?;
    ensure(twin.reported.get("a") == Some(&json!(1)), || format!("{twin:?}"))?;
    for point in [emulator::Point::HubReported, emulator::Point::HubTwinGet] {
        ensure(cloud.emulator.faults_left(point) == 0, || format!("{point:?}: the hub closed no connection"))?;
    }
    Ok(())
}

/// Returns the twin as the service API returns it.
pub(super) fn seen_by_the_cloud(cloud: &Cloud, id: &str) -> Result<Value, String> {
    let view = cloud.emulator.twin(HUB, id).ok_or("no twin")?;
    context("JSON", serde_json::to_value(&view))
}

/// Waits until the desired properties have at least this version.
pub(super) async fn desired_at(
    desired: &mut hubward::twin::DesiredProperties,
    version: u64,
) -> Result<Properties, String> {
    loop {
        let properties = context("desired properties", desired.changed().await)?;
        if properties.version >= version {
            return Ok(properties);
        }
    }
}

/// Closes the connection of a client. Waits until the client has reconnected.
pub(super) async fn cut_and_come_back(cloud: &Cloud, hub: &HubClient, id: &str) -> Outcome {
    let mut state = hub.state();
    state.mark_unchanged();
    ensure(cloud.emulator.disconnect_device(HUB, id), || format!("{id} is not connected"))?;
    // The client may already have reconnected. So the test does not wait for the disconnected state. It waits for any
    // change of the state.
    context("the loss", state.changed().await)?;
    context("reconnecting", hub.connected().await)
}
