//! What a module does: the same as a device, with inputs and outputs in place of messages.

use std::time::Duration;

use hubward::error::ReceiveError;
use hubward::{Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use serde_json::{Value, json};

use super::twin::seen_by_the_cloud;
use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, because, must};

/// Telemetry goes out through an output, and the hub says whose it is.
pub(super) async fn a_module_sends_through_outputs(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    because("sending", hub.send(Message::new("1").output("out 1/é").property("k", "v")).await)?;
    because("sending", hub.send(Message::new("2")).await)?;
    let arrived = cloud.log().wait_for(2).await;
    let system: Vec<_> = arrived[0].message.system_properties().collect();
    must(system == [("$.on", "out 1/é")], || format!("{system:?}"))?;
    must(arrived[0].property("k") == Some(Some("v")), || format!("{:?}", arrived[0]))?;
    for entry in &arrived {
        let from = (entry.device_id.as_str(), entry.module_id.as_deref());
        must(from == ("dev-1", Some("mod-1")), || format!("from {from:?}"))?;
    }
    must(arrived[1].message.system_properties().count() == 0, || format!("{:?}", arrived[1]))
}

/// Messages of other modules come through inputs, and stay until they are completed.
pub(super) async fn a_module_receives_through_inputs(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    let none = hub.cloud_messages();
    must(matches!(none, Err(ReceiveError::Unsupported(_))), || format!("a module has messages of a device: {none:?}"))?;
    let mut inputs = because("receiving", hub.inputs())?;
    for (input, body) in [("in 1", "a"), ("in/2é", "b")] {
        let message =
            CloudToDevice::new(body).message_id("m").property("k", "1+2").flag("f").sender("dev-1", Some("other"));
        because("to the input", cloud.emulator.send_to_input(HUB, "dev-1", "mod-1", input, message))?;
        let message = because("a message", inputs.next().await)?;
        must(message.input.as_deref() == Some(input) && message.body == body, || format!("{:?}", message.message()))?;
        let sender = (message.sender_device(), message.sender_module());
        must(sender == (Some("dev-1"), Some("other")), || format!("{sender:?}"))?;
        let properties: Vec<_> = message.properties().collect();
        must(properties == [("k", Some("1+2")), ("f", None)], || format!("{properties:?}"))?;
        must(message.message_id() == Some("m"), || format!("{:?}", message.message()))?;
        must(cloud.emulator.cloud_messages(HUB, "dev-1/mod-1").len() == 1, || "it is gone before its time".into())?;
        because("completing", message.complete().await)?;
        cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1/mod-1").is_empty().then_some(())).await;
    }
    Ok(())
}

/// A module has a twin and methods of its own; its device's are not touched, nor the other way round.
pub(super) async fn a_module_has_its_own_twin_and_methods(cloud: Cloud, kind: TransportKind) -> Outcome {
    const ID: &str = "dev-1/mod-1";
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    let device = cloud.known("dev-1", kind).connect().await?;
    let mut desired = because("following", hub.desired())?;
    because("the first", desired.changed().await)?;
    let version = because("a change", cloud.emulator.patch_desired(HUB, ID, json!({ "a": 1 })))?;
    let state = because("a change", desired.changed().await)?;
    must(state.version == version && state.get("a") == Some(&json!(1)), || format!("{state:?}"))?;
    because("reporting", hub.report(&json!({ "mine": true })).await)?;
    let view = seen_by_the_cloud(&cloud, ID)?;
    must(view["properties"]["reported"]["mine"] == json!(true), || view.to_string())?;
    let other = because("the device's", device.twin().await)?;
    must(other.desired.values.is_empty() && other.reported.values.is_empty(), || format!("{other:?}"))?;

    for (client, answer) in [(&hub, "module"), (&device, "device")] {
        because("serving", client.serve_method("who", move |_| async move { MethodResponse::json(200, answer) }))?;
    }
    for (id, answer) in [(ID, "module"), ("dev-1", "device")] {
        let invocation = Invocation::new("who").connect_timeout(Duration::from_secs(60));
        let result = because("calling", cloud.emulator.invoke_method(HUB, id, invocation).await)?;
        must(result.payload == Some(json!(answer)), || format!("{id}: {result:?}"))?;
    }
    Ok(())
}

/// The model id arrives at the hub, beside who it is. (The name of the program: `tests/wire`.)
pub(super) async fn the_identity_arrives(cloud: Cloud, kind: TransportKind) -> Outcome {
    const MODEL: &str = "dtmi:com:example:Thermostat;1";
    for known in [cloud.known("dev-1", kind), cloud.module("dev-1", "mod-1", kind)] {
        let mut settings = known.settings.clone();
        settings.options.model_id = Some(MODEL.into());
        let hub = because("connecting", settings.clone().connect().await)?;
        let before = cloud.log().total();
        because("sending", hub.send(Message::new("x")).await)?;
        let arrived = cloud.log().wait_for(before + 1).await;
        let last = arrived.last().ok_or("nothing arrived")?;
        let stamps: std::collections::BTreeMap<_, _> = last.stamps().into_iter().collect();
        must(stamps.get("dt-dataschema").map(String::as_str) == Some(MODEL), || format!("{stamps:?}"))?;
        let (device, module) = (&settings.identity.device, &settings.identity.module);
        must(stamps.get("iothub-connection-device-id").map(String::as_str) == Some(device.as_str()), || {
            format!("{stamps:?}")
        })?;
        let found = stamps.get("iothub-connection-module-id").map(String::as_str);
        must(found == module.as_ref().map(hubward::ModuleId::as_str), || format!("{stamps:?}"))?;
        let method: Value = because("JSON", serde_json::from_str(stamps["iothub-connection-auth-method"].as_str()))?;
        let scope = if module.is_some() { "module" } else { "device" };
        must(method == json!({ "scope": scope, "type": "sas", "issuer": "iothub" }), || method.to_string())?;
    }
    Ok(())
}
