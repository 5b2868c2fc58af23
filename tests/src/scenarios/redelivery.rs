//! What was not completed comes again when the hub's lock on it ends, without another connection.

use std::time::Duration;

use hubward::{CloudMessages, Message, TransportKind};
use hubward_emulator::{CloudMessageState, CloudToDevice};

use crate::cloud::{Cloud, HUB, eager};
use crate::scenario::{Outcome, because, must};

/// A hub's lock lasts a minute.
const AFTER_THE_LOCK: Duration = Duration::from_secs(61);

fn send(cloud: &Cloud, bodies: &[&'static str]) -> Outcome {
    for body in bodies {
        because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new(*body)))?;
    }
    Ok(())
}

/// Waits until so many messages are left in the device's queue.
async fn left(cloud: &Cloud, count: usize) {
    cloud.emulator.wait_until(|it| (it.cloud_messages(HUB, "dev-1").len() == count).then_some(())).await;
}

/// The next message, whose body must be this.
async fn next(messages: &mut CloudMessages, body: &str) -> Result<hubward::CloudMessage, String> {
    let message = because("a message", messages.next().await)?;
    must(message.body == body, || format!("`{body}` was due, {:?} came", message.message()))?;
    Ok(message)
}

/// A message that was dropped comes again on the same connection and can be completed then; what was
/// completed behind it is acknowledged then. What the program holds is not given to it twice.
pub(super) async fn a_dropped_message_comes_again_on_its_connection(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["dropped", "behind", "held"])?;
    drop(next(&mut messages, "dropped").await?);
    because("completing", next(&mut messages, "behind").await?.complete().await)?;
    let held = next(&mut messages, "held").await?;
    because("telemetry", hub.send(Message::new("all is read")).await)?;
    let waiting = cloud.emulator.cloud_messages(HUB, "dev-1");
    must(waiting.len() == 3, || format!("acknowledged out of order: {waiting:?}"))?;

    cloud.emulator.clock_ahead(AFTER_THE_LOCK);
    let again = next(&mut messages, "dropped").await?;
    let waiting = cloud.emulator.cloud_messages(HUB, "dev-1");
    must(waiting.len() == 3 && waiting[0].delivery_count == 2, || format!("{waiting:?}"))?;
    because("completing what came again", again.complete().await)?;
    left(&cloud, 1).await;
    // It came over the first connection: on another one it would be stale.
    because("completing what was held", held.complete().await)?;
    left(&cloud, 0).await;
    must(messages.try_next().is_none(), || "something was given to the program twice".into())?;
    let counts = hub.counts();
    must(counts.messages_unsettled == 1 && counts.messages_held_back == 0, || format!("{counts:?}"))
}

/// A message for which there was no place comes again on the same connection.
pub(super) async fn what_had_no_place_comes_again_on_its_connection(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).options(eager().receive_queue(2)).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["1", "2", "3"])?;
    let delivered = |it: &hubward_emulator::Emulator| {
        let waiting = it.cloud_messages(HUB, "dev-1");
        waiting.iter().all(|it| it.state == CloudMessageState::Invisible).then_some(())
    };
    cloud.emulator.wait_until(delivered).await;
    because("telemetry", hub.send(Message::new("all is read")).await)?;
    must(hub.counts().messages_over_limit == 1, || format!("{:?}", hub.counts()))?;
    let first = next(&mut messages, "1").await?;
    because("completing", next(&mut messages, "2").await?.complete().await)?;
    must(messages.try_next().is_none(), || "the third had a place".into())?;

    cloud.emulator.clock_ahead(AFTER_THE_LOCK);
    because("completing what came again", next(&mut messages, "3").await?.complete().await)?;
    must(cloud.emulator.cloud_messages(HUB, "dev-1").len() == 3, || "acknowledged out of order".into())?;
    because("completing, on the same connection", first.complete().await)?;
    left(&cloud, 0).await;
    Ok(())
}
