//! The hub locks each message that it delivers. If the application has not completed the message when the lock ends,
//! the hub delivers the message again on the same connection.

use std::time::Duration;

use hubward::{Message, TransportKind};
use hubward_emulator::CloudMessageState;

use super::cloud_messages::{next, send, wait_for_queue_length};
use crate::cloud::{Cloud, HUB, fast_reconnect};
use crate::scenario::{Outcome, context, ensure};

/// The lock on a message lasts one minute.
const AFTER_THE_LOCK: Duration = Duration::from_secs(61);

/// The application drops a message, and the hub delivers it again on the same connection. The application can then
/// complete the message. After that, the client also acknowledges later messages.
///
/// While the application holds a message, the client does not give it a second copy of this message.
pub(super) async fn a_dropped_message_is_redelivered_on_its_connection(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["dropped", "behind", "held"])?;
    drop(next(&mut messages, "dropped").await?);
    context("completing", next(&mut messages, "behind").await?.complete().await)?;
    let held = next(&mut messages, "held").await?;
    context("telemetry", hub.send(Message::new("all is read")).await)?;
    let waiting = cloud.emulator.cloud_messages(HUB, "dev-1");
    ensure(waiting.len() == 3, || format!("the client acknowledged out of order: {waiting:?}"))?;

    cloud.emulator.clock_ahead(AFTER_THE_LOCK);
    let again = next(&mut messages, "dropped").await?;
    let waiting = cloud.emulator.cloud_messages(HUB, "dev-1");
    ensure(waiting.len() == 3 && waiting[0].delivery_count == 2, || format!("{waiting:?}"))?;
    context("completing the second delivery", again.complete().await)?;
    wait_for_queue_length(&cloud, 1).await;
    // The lock of this message has ended, but the connection that delivered the message is still open. So the
    // application can still complete the message.
    context("completing the held message", held.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    ensure(messages.try_next().is_none(), || "the client delivered a message twice".into())?;
    let counts = hub.counts();
    ensure(counts.messages_unsettled == 1 && counts.messages_held_back == 0, || format!("{counts:?}"))
}

/// If the client's queue has no room for a message, the client drops the message without acknowledging it. When the
/// lock of the message ends, the hub delivers the message again on the same connection.
pub(super) async fn a_message_beyond_the_queue_is_redelivered_on_its_connection(
    cloud: Cloud,
    kind: TransportKind,
) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).options(fast_reconnect().receive_queue(2)).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["1", "2", "3"])?;
    let delivered = |it: &hubward_emulator::Emulator| {
        let waiting = it.cloud_messages(HUB, "dev-1");
        waiting.iter().all(|it| it.state == CloudMessageState::Invisible).then_some(())
    };
    cloud.emulator.wait_until(delivered).await;
    context("telemetry", hub.send(Message::new("all is read")).await)?;
    ensure(hub.counts().messages_over_limit == 1, || format!("{:?}", hub.counts()))?;
    let first = next(&mut messages, "1").await?;
    context("completing", next(&mut messages, "2").await?.complete().await)?;
    ensure(messages.try_next().is_none(), || "the client accepted the third message".into())?;

    cloud.emulator.clock_ahead(AFTER_THE_LOCK);
    context("completing the second delivery", next(&mut messages, "3").await?.complete().await)?;
    ensure(cloud.emulator.cloud_messages(HUB, "dev-1").len() == 3, || "the client acknowledged out of order".into())?;
    context("completing, on the same connection", first.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    Ok(())
}
