//! Reading the twin and reporting to it.

use hubward::error::{ProtoError, TwinError};
use hubward::twin::Properties;
use hubward::{Fault, HubClient, Settings, TransportKind};
use hubward_emulator as emulator;
use serde_json::{Value, json};

use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, because, must};

/// The twin is read; reading it changes nothing. Live too.
pub(super) async fn reads_its_twin(settings: Settings) -> Outcome {
    let hub = because("connecting", settings.connect().await)?;
    let first = because("reading", hub.twin().await)?;
    let second = because("reading again", hub.twin().await)?;
    must(first == second, || format!("first {first:?}, then {second:?}"))?;
    must(first.desired.version >= 1 && first.reported.version >= 1, || format!("versions begin with 1: {first:?}"))
}

/// A report gives the next version; what it says is read back, merged; `null` removes. Live too: what
/// it reports is gone afterwards.
pub(super) async fn reports_and_reads_back(settings: Settings) -> Outcome {
    const NAME: &str = "hubwardConformance";
    let hub = because("connecting", settings.connect().await)?;
    because("clearing", hub.report(&json!({ NAME: null })).await)?;
    let before = because("reading", hub.twin().await)?.reported;
    must(before.get(NAME).is_none(), || format!("cleared, but there is {before:?}"))?;
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
        let reported = because("reporting", hub.report(&json!({ NAME: patch })).await)?;
        version += 1;
        must(reported.version == Some(version), || format!("{reported:?} instead of {version}"))?;
        if let Some(expected) = expected {
            let twin = because("reading back", hub.twin().await)?;
            must(twin.reported.version == version, || format!("{}", twin.reported.version))?;
            must(twin.reported.get(NAME) == Some(&expected), || format!("read back {:?}", twin.reported.get(NAME)))?;
        }
    }
    because("removing", hub.report(&json!({ NAME: null })).await)?;
    let after = because("reading", hub.twin().await)?.reported;
    must(after.values == before.values, || format!("before {before:?}, after {after:?}"))
}

/// What a service would never take is not sent, and says what is wrong; what fits exactly is. Live
/// too: a refused report changes nothing.
pub(super) async fn refuses_impossible_reports(settings: Settings) -> Outcome {
    let hub = because("connecting", settings.connect().await)?;
    let before = because("reading", hub.twin().await)?;
    for (patch, size) in impossible() {
        let shown = patch.to_string().chars().take(60).collect::<String>();
        match hub.report(&patch).await {
            Err(error @ TwinError::Invalid(_)) => {
                must(error.fault() == Some(Fault::Request), || format!("{shown}: {:?}", error.fault()))?;
                let TwinError::Invalid(problem) = error else { continue };
                let found =
                    if let ProtoError::TooLarge { size, limit, .. } = problem { Some((size, limit)) } else { None };
                must(found == size, || format!("{shown}: {problem}"))?;
            }
            other => return Err(format!("{shown}: {other:?}")),
        }
    }
    let after = because("reading", hub.twin().await)?;
    must(before == after, || format!("before {before:?}, after {after:?}"))
}

/// What breaks a rule of `[doc]` iot-hub/iot-hub-devguide-device-twins.md, and with size and limit
/// what is too large.
fn impossible() -> Vec<(Value, Option<(usize, usize)>)> {
    // The section, and eleven levels below it.
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

/// What a device says, the cloud sees, and the other way round; tags are the cloud's own.
pub(super) async fn the_cloud_sees_what_is_reported(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let desired = json!({ "fan": { "speed": 3 }, "list": [1, "é"] });
    because("desired properties", cloud.emulator.patch_desired(HUB, "dev-1", desired.clone()))?;
    because("tags", cloud.emulator.patch_tags(HUB, "dev-1", json!({ "floor": 2 })))?;
    let reported = because("reporting", hub.report(&json!({ "battery": 55, "gone": 1 })).await)?;
    let reported_again = because("reporting", hub.report(&json!({ "gone": null, "net": { "up": true } })).await)?;
    must(reported_again.version == reported.version.map(|it| it + 1), || format!("{reported:?}, {reported_again:?}"))?;

    let view = seen_by_the_cloud(&cloud, "dev-1")?;
    must(view["tags"] == json!({ "floor": 2 }), || view.to_string())?;
    let [mut desired_there, mut reported_there] =
        ["desired", "reported"].map(|name| view["properties"][name].as_object().cloned().unwrap_or_default());
    let version = reported_there.get("$version").cloned();
    must(version.as_ref().and_then(Value::as_u64) == reported_again.version, || format!("{version:?}"))?;
    for properties in [&mut desired_there, &mut reported_there] {
        properties.retain(|name, _| !name.starts_with('$'));
    }
    must(Value::Object(desired_there) == desired, || view.to_string())?;
    must(Value::Object(reported_there) == json!({ "battery": 55, "net": { "up": true } }), || view.to_string())?;

    let twin = because("reading", hub.twin().await)?;
    must(json!(twin.desired.values) == desired, || format!("{twin:?}"))?;
    must(twin.desired.get("floor").is_none(), || "tags are not for devices".into())
}

/// What the service refuses, the emulator refuses, whoever asks: 400, and nothing is changed. What is
/// no request at all ends the connection.
pub(super) async fn the_hub_refuses_impossible_reports(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.known("dev-1", kind);
    let mut raw = device.raw(true).await?;
    raw.subscribe("$iothub/twin/res/#", 1).await?;
    let before = seen_by_the_cloud(&cloud, "dev-1")?;
    let texts = ["", " ", "[1]", "\"text\"", "null", "{", "{\"a\":}", "\u{feff}{}"].map(str::to_owned);
    let bodies = texts.into_iter().chain(impossible().into_iter().map(|(patch, _)| patch.to_string()));
    for (number, body) in bodies.enumerate() {
        raw.publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid=r-{number}"), body.as_bytes()).await?;
        let answer = raw.next().await?;
        let expected = format!("$iothub/twin/res/400/?$rid=r-{number}");
        // What is too large is forbidden: Azure/iotedge, issues 1560 and 7035.
        let too_large = format!("$iothub/twin/res/403/?$rid=r-{number}");
        let shown = body.chars().take(60).collect::<String>();
        must(answer.topic == expected || answer.topic == too_large, || format!("`{shown}`: {}", answer.topic))?;
        if answer.qos > 0 {
            raw.acknowledge(&answer).await?;
        }
    }
    let after = seen_by_the_cloud(&cloud, "dev-1")?;
    // It was active meanwhile; its twin is as it was.
    let same = ["version", "etag", "tags", "properties"].iter().all(|it| before[it] == after[it]);
    must(same && before["version"].is_u64(), || format!("before {before}, after {after}"))?;

    raw.publish("$iothub/twin/PATCH/properties/reported/?$rid=good", br#"{"a":1,"b":null}"#).await?;
    let answer = raw.next().await?;
    let version = before["properties"]["reported"]["$version"].as_u64().unwrap_or_default() + 1;
    must(answer.topic == format!("$iothub/twin/res/204/?$rid=good&$version={version}"), || answer.topic.clone())?;
    must(answer.body.is_empty(), || "204 has no body".into())?;
    // The documentation's own GET; Microsoft's SDKs send one space.
    for body in [&b""[..], b" "] {
        raw.publish("$iothub/twin/GET/?$rid=8dd4ae6e", body).await?;
        let answer = raw.next().await?;
        must(answer.topic == "$iothub/twin/res/200/?$rid=8dd4ae6e", || answer.topic.clone())?;
        let twin: Value = because("JSON", serde_json::from_slice(&answer.body))?;
        let expected = json!({ "desired": { "$version": 1 }, "reported": { "a": 1, "$version": version } });
        must(twin == expected, || twin.to_string())?;
    }
    raw.write(&crate::packets::publish("$iothub/twin/GET/?$rid=", b"", 1, 9999)).await?;
    must(raw.is_closed().await, || "a request without an id was not the end".into())
}

/// A hub that throttles is asked again, until it answers; the program notices nothing but the time.
pub(super) async fn a_throttled_twin_is_asked_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let throttled = emulator::Fault::throttled("1");
    for point in [emulator::Point::HubTwinGet, emulator::Point::HubReported] {
        because("a fault", cloud.emulator.fault(point, throttled.clone()))?;
    }
    let reported = because("reporting", hub.report(&json!({ "a": 1 })).await)?;
    must(cloud.emulator.faults_left(emulator::Point::HubReported) == 0, || "nothing was throttled".into())?;
    must(reported.version == Some(2), || format!("{reported:?}: reported once, not twice"))?;
    let twin = because("reading", hub.twin().await)?;
    must(cloud.emulator.faults_left(emulator::Point::HubTwinGet) == 0, || "nothing was throttled".into())?;
    must(twin.reported.get("a") == Some(&json!(1)), || format!("{twin:?}"))
}

/// A question whose connection is lost is put on the next one.
pub(super) async fn a_lost_question_is_asked_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    for point in [emulator::Point::HubReported, emulator::Point::HubTwinGet] {
        because("a fault", cloud.emulator.fault(point, emulator::Fault::Cut))?;
    }
    because("reporting", hub.report(&json!({ "a": 1 })).await)?;
    let twin = because("reading", hub.twin().await)?;
    must(twin.reported.get("a") == Some(&json!(1)), || format!("{twin:?}"))?;
    for point in [emulator::Point::HubReported, emulator::Point::HubTwinGet] {
        must(cloud.emulator.faults_left(point) == 0, || format!("{point:?}: nothing was cut"))?;
    }
    Ok(())
}

/// The twin as the service shows it.
pub(super) fn seen_by_the_cloud(cloud: &Cloud, id: &str) -> Result<Value, String> {
    let view = cloud.emulator.twin(HUB, id).ok_or("no twin")?;
    because("JSON", serde_json::to_value(&view))
}

/// Waits for desired properties of at least this version.
pub(super) async fn desired_at(
    desired: &mut hubward::twin::DesiredProperties,
    version: u64,
) -> Result<Properties, String> {
    loop {
        let properties = because("desired properties", desired.changed().await)?;
        if properties.version >= version {
            return Ok(properties);
        }
    }
}

/// Waits until a client has come back after its connection was cut.
pub(super) async fn cut_and_come_back(cloud: &Cloud, hub: &HubClient, id: &str) -> Outcome {
    let mut state = hub.state();
    state.mark_unchanged();
    must(cloud.emulator.disconnect_device(HUB, id), || format!("{id} is not connected"))?;
    // Whatever is seen of it: quick changes may be seen as one.
    because("the loss", state.changed().await)?;
    because("coming back", hub.connected().await)
}
