//! Modules work like devices. But they receive messages through inputs, and send telemetry through outputs.

use std::time::Duration;

use hubward::error::ReceiveError;
use hubward::{Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use serde_json::{Value, json};

use super::twin::seen_by_the_cloud;
use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, context, ensure};

/// A module sends telemetry through an output. The hub adds the module's identity to the telemetry.
pub(super) async fn a_module_sends_through_outputs(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    context("sending", hub.send(Message::new("1").output("out 1/é").property("k", "v")).await)?;
    context("sending", hub.send(Message::new("2")).await)?;
    let arrived = cloud.log().wait_for(2).await;
    let system: Vec<_> = arrived[0].message.system_properties().collect();
    ensure(system == [("$.on", "out 1/é")], || format!("{system:?}"))?;
    ensure(arrived[0].property("k") == Some(Some("v")), || format!("{:?}", arrived[0]))?;
    for entry in &arrived {
        let from = (entry.device_id.as_str(), entry.module_id.as_deref());
        ensure(from == ("dev-1", Some("mod-1")), || format!("from {from:?}"))?;
    }
    ensure(arrived[1].message.system_properties().count() == 0, || format!("{:?}", arrived[1]))
}

/// A module receives messages of other modules through its inputs. The hub keeps each message until the module
/// completes it.
pub(super) async fn a_module_receives_through_inputs(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    let none = hub.cloud_messages();
    ensure(matches!(none, Err(ReceiveError::Unsupported(_))), || {
        format!("a module must not receive the messages of its device: {none:?}")
    })?;
    let mut inputs = context("receiving", hub.inputs())?;
    for (input, body) in [("in 1", "a"), ("in/2é", "b")] {
        let message =
            CloudToDevice::new(body).message_id("m").property("k", "1+2").flag("f").sender("dev-1", Some("other"));
        context("to the input", cloud.emulator.send_to_input(HUB, "dev-1", "mod-1", input, message))?;
        let message = context("a message", inputs.next().await)?;
        ensure(message.input.as_deref() == Some(input) && message.body == body, || format!("{:?}", message.message()))?;
        let sender = (message.sender_device(), message.sender_module());
        ensure(sender == (Some("dev-1"), Some("other")), || format!("{sender:?}"))?;
        let properties: Vec<_> = message.properties().collect();
        ensure(properties == [("k", Some("1+2")), ("f", None)], || format!("{properties:?}"))?;
        ensure(message.message_id() == Some("m"), || format!("{:?}", message.message()))?;
        ensure(cloud.emulator.cloud_messages(HUB, "dev-1/mod-1").len() == 1, || {
            "the hub removed the message before the module completed it".into()
        })?;
        context("completing", message.complete().await)?;
        cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1/mod-1").is_empty().then_some(())).await;
    }
    Ok(())
}

/// A module and its device have separate twins and separate methods.
pub(super) async fn a_module_has_its_own_twin_and_methods(cloud: Cloud, kind: TransportKind) -> Outcome {
    const ID: &str = "dev-1/mod-1";
    let hub = cloud.module("dev-1", "mod-1", kind).connect().await?;
    let device = cloud.hub_device("dev-1", kind).connect().await?;
    let mut desired = context("following", hub.desired())?;
    context("the first", desired.changed().await)?;
    let version = context("a change", cloud.emulator.patch_desired(HUB, ID, json!({ "a": 1 })))?;
    let state = context("a change", desired.changed().await)?;
    ensure(state.version == version && state.get("a") == Some(&json!(1)), || format!("{state:?}"))?;
    context("reporting", hub.report(&json!({ "mine": true })).await)?;
    let view = seen_by_the_cloud(&cloud, ID)?;
    ensure(view["properties"]["reported"]["mine"] == json!(true), || view.to_string())?;
    let other = context("the device's", device.twin().await)?;
    ensure(other.desired.values.is_empty() && other.reported.values.is_empty(), || format!("{other:?}"))?;

    for (client, answer) in [(&hub, "module"), (&device, "device")] {
        context("serving", client.serve_method("who", move |_| async move { MethodResponse::json(200, answer) }))?;
    }
    for (id, answer) in [(ID, "module"), ("dev-1", "device")] {
        let invocation = Invocation::new("who").connect_timeout(Duration::from_secs(60));
        let result = context("calling", cloud.emulator.invoke_method(HUB, id, invocation).await)?;
        ensure(result.payload == Some(json!(answer)), || format!("{id}: {result:?}"))?;
    }
    Ok(())
}

/// The hub learns the identity and the model ID of a device and of a module. The client also sends the name of the
/// program in its login. `tests/wire` checks this name.
pub(super) async fn the_hub_receives_identity_and_model(cloud: Cloud, kind: TransportKind) -> Outcome {
    const MODEL: &str = "dtmi:com:example:Thermostat;1";
    for known in [cloud.hub_device("dev-1", kind), cloud.module("dev-1", "mod-1", kind)] {
        let mut settings = known.settings.clone();
        settings.options.model_id = Some(MODEL.into());
        let hub = context("connecting", settings.clone().connect().await)?;
        let before = cloud.log().total();
        context("sending", hub.send(Message::new("x")).await)?;
        let arrived = cloud.log().wait_for(before + 1).await;
        let last = arrived.last().ok_or("nothing arrived")?;
        let stamps: std::collections::BTreeMap<_, _> = last.stamps().into_iter().collect();
        ensure(stamps.get("dt-dataschema").map(String::as_str) == Some(MODEL), || format!("{stamps:?}"))?;
        let (device, module) = (&settings.identity.device, &settings.identity.module);
        ensure(stamps.get("iothub-connection-device-id").map(String::as_str) == Some(device.as_str()), || {
            format!("{stamps:?}")
        })?;
        let found = stamps.get("iothub-connection-module-id").map(String::as_str);
        ensure(found == module.as_ref().map(hubward::ModuleId::as_str), || format!("{stamps:?}"))?;
        let method: Value = context("JSON", serde_json::from_str(stamps["iothub-connection-auth-method"].as_str()))?;
        let scope = if module.is_some() { "module" } else { "device" };
        ensure(method == json!({ "scope": scope, "type": "sas", "issuer": "iothub" }), || method.to_string())?;
    }
    Ok(())
}
