//! Scenarios that may run against any DPS, including a live one. The device must be enrolled. The scenarios only
//! register this device and send telemetry.

use std::time::Duration;

use hubward::{HubOptions, Message, SendError, Settings};
use hubward_proto::limits;

use crate::scenario::{Outcome, context, ensure};

const FLUSH: Duration = Duration::from_secs(10);

/// DPS assigns a hub and a device ID.
pub(super) async fn provisions(settings: Settings) -> Outcome {
    let assignment = context("provisioning", settings.provision().await)?;
    ensure(assignment.state.substatus.is_some(), || "the assignment has no substatus".into())?;
    let registered = assignment.state.registration_id.unwrap_or_default();
    ensure(registered.eq_ignore_ascii_case(settings.registration_id.as_str()), || {
        format!("the answer names the registration {registered}")
    })
}

/// A device that registers twice gets the same hub and the same device ID.
pub(super) async fn provisions_again(settings: Settings) -> Outcome {
    let first = context("the first time", settings.provision().await)?;
    let second = context("the second time", settings.provision().await)?;
    ensure(first.identity() == second.identity(), || format!("first {}, then {}", first.identity(), second.identity()))
}

/// Sends ten messages at once and then waits for the acknowledgements, as Microsoft's sample does.
pub(super) async fn sends_ten_at_once(settings: Settings) -> Outcome {
    let hub = context("connecting", settings.clone().connect().await)?;
    let mut receipts = Vec::new();
    for number in 1..=10 {
        let message = Message::new(format!("test wind speed {number}")).message_id(format!("m-{number}"));
        receipts.push(context("queueing", hub.enqueue(message).await)?);
    }
    for receipt in receipts {
        context("sending", receipt.await)?;
    }
    let closed = context("closing", hub.close(FLUSH).await)?;
    ensure(closed.is_clean(), || format!("unsent messages: {closed:?}"))
}

/// Sends system properties and application properties. Some of their characters need encoding.
pub(super) async fn sends_every_property(settings: Settings) -> Outcome {
    let hub = context("connecting", settings.clone().connect().await)?;
    let message = context("JSON", Message::json(&serde_json::json!({"windSpeed": 12.5})))?
        .message_id("m 1")
        .correlation_id("c/1")
        .user_id("u+1")
        .property("a&b=c", "x/y?z#")
        .property("température", "温度 🌡")
        .property("empty", "");
    context("sending", hub.send(message).await)?;
    context("closing", hub.close(FLUSH).await).map(|_| ())
}

/// The client refuses a message that exceeds the hub's limit. It still sends the next message.
pub(super) async fn refuses_oversize_before_sending(settings: Settings) -> Outcome {
    let hub = context("connecting", settings.clone().connect().await)?;
    let refused = hub.send(Message::new(vec![b'x'; limits::TELEMETRY_MAX + 1])).await;
    ensure(matches!(refused, Err(SendError::Refused { .. })), || {
        format!("the client accepted a message of one byte too many: {refused:?}")
    })?;
    context("the largest", hub.send(Message::new(vec![b'x'; limits::TELEMETRY_MAX])).await)?;
    context("closing", hub.close(FLUSH).await).map(|_| ())
}

/// `close` sends the queued messages first.
pub(super) async fn closes_with_queued_messages(settings: Settings) -> Outcome {
    let assignment = context("provisioning", settings.provision().await)?;
    // The client is not connected yet. So all messages below wait in its queue.
    let options = HubOptions::default().window(4);
    let hub = context("setting up", settings.hub_settings(&assignment).options(|it| it.hub_options(options)).spawn())?;
    let mut receipts = Vec::new();
    for number in 0..50 {
        receipts.push(context("queueing", hub.enqueue(Message::new(format!("message {number}"))).await)?);
    }
    let closed = context("closing", hub.close(FLUSH).await)?;
    ensure(closed.is_clean(), || format!("unsent messages: {closed:?}"))?;
    for receipt in receipts {
        context("a queued message", receipt.await)?;
    }
    Ok(())
}
