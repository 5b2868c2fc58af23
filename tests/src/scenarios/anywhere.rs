//! What any DPS with an enrolled device must do, the live one included. Registers the given id and
//! sends its telemetry; changes nothing else.

use std::time::Duration;

use hubward::{HubOptions, Message, SendError, Settings};
use hubward_proto::limits;

use crate::scenario::{Outcome, because, must};

const FLUSH: Duration = Duration::from_secs(10);

/// The device gets a hub and a device id.
pub(super) async fn provisions(settings: Settings) -> Outcome {
    let assignment = because("provisioning", settings.provision().await)?;
    must(assignment.state.substatus.is_some(), || "an assignment has a substatus".into())?;
    let registered = assignment.state.registration_id.unwrap_or_default();
    must(registered.eq_ignore_ascii_case(settings.registration_id.as_str()), || {
        format!("the answer is about {registered}")
    })
}

/// Registering twice gives the same hub and device id.
pub(super) async fn provisions_again(settings: Settings) -> Outcome {
    let first = because("the first time", settings.provision().await)?;
    let second = because("the second time", settings.provision().await)?;
    must(first.identity() == second.identity(), || format!("first {}, then {}", first.identity(), second.identity()))
}

/// Ten messages without waiting for each other, as in Microsoft's sample.
pub(super) async fn sends_ten_at_once(settings: Settings) -> Outcome {
    let hub = because("connecting", settings.connect().await)?;
    let mut receipts = Vec::new();
    for number in 1..=10 {
        let message = Message::new(format!("test wind speed {number}")).message_id(format!("m-{number}"));
        receipts.push(because("queueing", hub.enqueue(message).await)?);
    }
    for receipt in receipts {
        because("sending", receipt.await)?;
    }
    let closed = because("closing", hub.close(FLUSH).await)?;
    must(closed.is_clean(), || format!("left behind: {closed:?}"))
}

/// System and application properties, with characters that need encoding.
pub(super) async fn sends_every_property(settings: Settings) -> Outcome {
    let hub = because("connecting", settings.connect().await)?;
    let message = because("JSON", Message::json(&serde_json::json!({"windSpeed": 12.5})))?
        .message_id("m 1")
        .correlation_id("c/1")
        .user_id("u+1")
        .property("a&b=c", "x/y?z#")
        .property("température", "温度 🌡")
        .property("empty", "");
    because("sending", hub.send(message).await)?;
    because("closing", hub.close(FLUSH).await).map(|_| ())
}

/// A message above the hub's limit never leaves, and the next one does.
pub(super) async fn refuses_oversize_before_sending(settings: Settings) -> Outcome {
    let hub = because("connecting", settings.connect().await)?;
    let refused = hub.send(Message::new(vec![b'x'; limits::TELEMETRY_MAX + 1])).await;
    must(matches!(refused, Err(SendError::Refused { .. })), || format!("one byte too many: {refused:?}"))?;
    because("the largest", hub.send(Message::new(vec![b'x'; limits::TELEMETRY_MAX])).await)?;
    because("closing", hub.close(FLUSH).await).map(|_| ())
}

/// Closing at once, with messages still queued, sends them first.
pub(super) async fn closes_in_the_middle(settings: Settings) -> Outcome {
    let assignment = because("provisioning", settings.provision().await)?;
    // Not connected yet: everything below is queued.
    let options = HubOptions::default().window(4);
    let hub = because("setting up", settings.hub_settings(&assignment).options(|it| it.hub_options(options)).spawn())?;
    let mut receipts = Vec::new();
    for number in 0..50 {
        receipts.push(because("queueing", hub.enqueue(Message::new(format!("message {number}"))).await)?);
    }
    let closed = because("closing", hub.close(FLUSH).await)?;
    must(closed.is_clean(), || format!("left behind: {closed:?}"))?;
    for receipt in receipts {
        because("a queued message", receipt.await)?;
    }
    Ok(())
}
