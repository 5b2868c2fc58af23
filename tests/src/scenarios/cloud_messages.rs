//! Messages from the cloud. The client subscribes to them only when the application has a receiver. The hub keeps each
//! message until the application completes it.

use std::collections::BTreeMap;
use std::time::Duration;

use hubward::error::{ReceiveError, SettleError};
use hubward::{CloudMessages, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{
    Ack, CloudMessageState, CloudToDevice, ConnectionState as Presence, Emulator, Invocation, Outcome as Fate,
};
use serde_json::json;

use super::twin::{cut_and_come_back, desired_at};
use crate::cloud::{Cloud, HUB, fast_reconnect};
use crate::scenario::{Outcome, context, ensure};

/// Sends texts to the device `dev-1`.
pub(super) fn send(cloud: &Cloud, bodies: &[&str]) -> Outcome {
    for body in bodies {
        context("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new((*body).to_owned())))?;
    }
    Ok(())
}

/// Returns the delivery count and the state of each message in the device's queue.
fn queued(cloud: &Cloud) -> Vec<(u32, CloudMessageState)> {
    let messages = cloud.emulator.cloud_messages(HUB, "dev-1");
    messages.iter().map(|it| (it.delivery_count, it.state)).collect()
}

/// Waits until the device's queue contains `count` messages.
pub(super) async fn wait_for_queue_length(cloud: &Cloud, count: usize) {
    cloud.emulator.wait_until(|it| (it.cloud_messages(HUB, "dev-1").len() == count).then_some(())).await;
}

/// Receives the next message, and checks that it has this body.
pub(super) async fn next(messages: &mut CloudMessages, body: &str) -> Result<hubward::CloudMessage, String> {
    let message = context("a message", messages.next().await)?;
    ensure(message.body == body, || format!("expected `{body}`, received {:?}", message.message()))?;
    Ok(message)
}

/// Waits until the hub has read everything that the client has written.
async fn wait_for_hub(hub: &HubClient) -> Outcome {
    context("telemetry", hub.send(Message::new("settled")).await)
}

/// Without a receiver, the client does not subscribe, so it gets no messages. With a receiver, the client gets the
/// messages in order. When the application has completed all messages, the device's queue is empty.
pub(super) async fn no_message_is_received_without_a_receiver(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.hub_device("dev-1", kind);
    send(&cloud, &["1", "2"])?;
    let hub = device.connect().await?;
    wait_for_hub(&hub).await?;
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud) == [(0, CloudMessageState::Enqueued); 2], || format!("{:?}", queued(&cloud)))?;

    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["3"])?;
    for body in ["1", "2", "3"] {
        context("completing", next(&mut messages, body).await?.complete().await)?;
    }
    wait_for_queue_length(&cloud, 0).await;
    ensure(messages.try_next().is_none(), || "there is another message".into())?;
    ensure(hub.counts() == Default::default(), || format!("{:?}", hub.counts()))
}

/// If the hub has kept a session with a subscription, it delivers messages at once, even if the application has no
/// receiver. The client keeps these messages, and acknowledges each only when the application has completed it.
pub(super) async fn a_kept_session_keeps_messages(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.hub_device("dev-1", kind);
    let hub = device.connect().await?;
    drop(context("receiving", hub.cloud_messages())?);
    wait_for_hub(&hub).await?;
    context("closing", hub.close(Duration::from_secs(10)).await)?;
    let away = |it: &Emulator| it.device(HUB, "dev-1").is_some_and(|it| it.connection_state == Presence::Disconnected);
    cloud.emulator.wait_until(|it| away(it).then_some(())).await;

    send(&cloud, &["while away", "and another"])?;
    let hub = device.connect().await?;
    // The client has no receiver, so it does not subscribe. The hub delivers the messages because the session still
    // contains the old subscription.
    cloud
        .emulator
        .wait_until(|_| queued(&cloud).iter().all(|it| it.1 == CloudMessageState::Invisible).then_some(()))
        .await;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud) == [(1, CloudMessageState::Invisible); 2], || format!("{:?}", queued(&cloud)))?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    context("completing", next(&mut messages, "while away").await?.complete().await)?;
    context("completing", next(&mut messages, "and another").await?.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    Ok(())
}

/// The application drops one message and holds another one. The connection is lost before the application completes the
/// message that it holds. The hub delivers the two messages again.
pub(super) async fn a_dropped_message_is_redelivered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["dropped", "lost"])?;
    drop(next(&mut messages, "dropped").await?);
    let lost = next(&mut messages, "lost").await?;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud).len() == 2, || format!("acknowledged: {:?}", queued(&cloud)))?;
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    let stale = lost.complete().await;
    ensure(matches!(stale, Err(SettleError::Stale)), || {
        format!("completing a message of an old connection: {stale:?}")
    })?;
    for body in ["dropped", "lost"] {
        context("completing", next(&mut messages, body).await?.complete().await)?;
    }
    wait_for_queue_length(&cloud, 0).await;
    let counts = hub.counts();
    ensure(counts.messages_unsettled == 1 && counts.messages_stale == 1, || format!("{counts:?}"))
}

/// The client must acknowledge messages in the order in which they arrived. If the application completes a later
/// message first, the client waits. It acknowledges this message after the earlier ones.
pub(super) async fn early_completion_is_delayed(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["1", "2", "3", "4"])?;
    let first = next(&mut messages, "1").await?;
    let second = next(&mut messages, "2").await?;
    let third = next(&mut messages, "3").await?;
    let fourth = next(&mut messages, "4").await?;
    context("the third", third.complete().await)?;
    context("the second", second.complete().await)?;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud).len() == 4, || {
        format!("the client acknowledged the second message before the first: {:?}", queued(&cloud))
    })?;
    context("the first", first.complete().await)?;
    wait_for_queue_length(&cloud, 1).await;
    context("the fourth", fourth.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    Ok(())
}

/// System properties and application properties arrive exactly as the sender set them. The test sends a property
/// without a value, a property with an empty value, and characters that need encoding.
pub(super) async fn every_form_of_a_property_arrives(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    let values = [
        ("plain", Some("value")),
        ("flag", None),
        ("empty", Some("")),
        ("plus", Some("1+2")),
        ("percent", Some("100% %20")),
        ("sp ace", Some("a b")),
        ("a&b=c", Some("x&y=z")),
        ("sl/ash", Some("x/y?z#")),
        ("é", Some("温度 🌡")),
        ("'()*!~", Some("$%24")),
    ];
    let sent = CloudToDevice::new("body")
        .message_id("m 1")
        .correlation_id("c/1")
        .user_id("u+1")
        .content_type("application/json; charset=utf-8")
        .content_encoding("utf-8")
        .ack(Ack::Full);
    let sent = values.iter().fold(sent, |sent, (name, value)| match value {
        Some(value) => sent.property(*name, *value),
        None => sent.flag(*name),
    });
    context("to the device", cloud.emulator.send_to_device(HUB, "dev-1", sent))?;
    let message = next(&mut messages, "body").await?;
    let found: BTreeMap<_, _> = message.properties().collect();
    let expected: BTreeMap<_, _> = values.into_iter().collect();
    ensure(found == expected, || format!("arrived: {found:?}"))?;
    for (what, found, expected) in [
        ("message id", message.message_id(), "m 1"),
        ("correlation id", message.correlation_id(), "c/1"),
        ("user id", message.user_id(), "u+1"),
        ("content type", message.content_type(), "application/json; charset=utf-8"),
        ("content encoding", message.content_encoding(), "utf-8"),
        ("to", message.to(), "/devices/dev-1/messages/deviceBound"),
        ("ack", message.ack(), "full"),
    ] {
        ensure(found == Some(expected), || format!("{what}: {found:?}"))?;
    }
    context("completing", message.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    let outcomes: Vec<_> = cloud.emulator.feedback(HUB).iter().map(|it| it.status_code).collect();
    ensure(outcomes == [Fate::Success], || format!("the sender receives the feedback {outcomes:?}"))?;

    let large = vec![b'x'; 60_000];
    context("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new(large.clone())))?;
    let message = context("a large one", messages.next().await)?;
    ensure(message.body == large, || format!("{} bytes", message.body.len()))
}

/// Over MQTT, a device cannot abandon or reject a message. The client returns an error for such a request, and sends
/// nothing. The application can still complete the message.
pub(super) async fn abandon_and_reject_are_unsupported(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let abilities = hub.abilities();
    ensure(abilities.receive && !abilities.abandon && !abilities.reject, || format!("{abilities:?}"))?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    send(&cloud, &["1"])?;
    let message = next(&mut messages, "1").await?;
    let Err(SettleError::Unsupported { message, source }) = message.abandon().await else {
        return Err("abandoned".into());
    };
    ensure(source.to_string().contains(kind.as_str()), || format!("`{source}` does not name the transport"))?;
    let refused = message.reject().await;
    ensure(matches!(refused, Err(SettleError::Unsupported { .. })), || format!("{refused:?}"))?;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud).len() == 1, || "the message is not in the queue".into())?;
    let message = refused.err().and_then(SettleError::into_message).ok_or("the error does not return the message")?;
    context("completing", message.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    let none = hub.inputs();
    ensure(matches!(none, Err(ReceiveError::Unsupported(_))), || {
        format!("the client of a device offers inputs: {none:?}")
    })
}

/// An application can have only one receiver at a time. When it has dropped a receiver, the next receiver gets the
/// following messages.
pub(super) async fn one_receiver_at_a_time(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut first = context("receiving", hub.cloud_messages())?;
    let second = hub.clone().cloud_messages();
    ensure(matches!(second, Err(ReceiveError::AlreadyReceiving)), || format!("{second:?}"))?;
    send(&cloud, &["1", "2"])?;
    context("completing", next(&mut first, "1").await?.complete().await)?;
    drop(first);
    let mut second = context("receiving again", hub.cloud_messages())?;
    context("completing", next(&mut second, "2").await?.complete().await)?;
    wait_for_queue_length(&cloud, 0).await;
    Ok(())
}

/// An application can send telemetry even if it does not read its messages. The client drops and counts the messages
/// that do not fit into its queue. The hub keeps these messages.
pub(super) async fn a_receiver_that_is_not_read_blocks_nothing(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = fast_reconnect().receive_queue(5).method_calls(2);
    let hub = cloud.hub_device("dev-1", kind).options(options).connect().await?;
    let messages = context("receiving", hub.cloud_messages())?;
    let mut desired = context("following", hub.desired())?;
    context(
        "serving",
        hub.serve_method("never", async |_| {
            std::future::pending::<()>().await;
            Ok(MethodResponse::new(200))
        }),
    )?;
    for number in 0..50 {
        send(&cloud, &[&format!("{number}")])?;
        context("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "n": number })))?;
    }
    let call = || {
        let invocation = Invocation::new("never")
            .connect_timeout(Duration::from_secs(60))
            .response_timeout(Duration::from_millis(100));
        cloud.emulator.invoke_method(HUB, "dev-1", invocation)
    };
    for _ in 0..4 {
        // No handler ever answers these four calls. The client allows two running calls: it starts the handler for the
        // first two, and refuses the other two.
        drop(call().await);
    }
    let mut receipts = Vec::new();
    for number in 0..500 {
        receipts.push(context("queueing", hub.enqueue(Message::new(format!("{number}"))).await)?);
    }
    for receipt in receipts {
        context("telemetry", receipt.await)?;
    }
    ensure(cloud.log().total() == 500, || format!("{} messages arrived", cloud.log().total()))?;
    ensure(hub.state().borrow().is_connected(), || "the connection was lost".into())?;

    // The hub still has every message. It sends 16 messages, and sends more only after an acknowledgement. Five
    // messages fit into the client's queue. The client drops and counts the other 11.
    let delivered = || queued(&cloud).iter().filter(|it| it.0 > 0).count();
    cloud.emulator.wait_until(|_| (delivered() == 16).then_some(())).await;
    wait_for_hub(&hub).await?;
    ensure(queued(&cloud).len() == 50, || format!("{} are left", queued(&cloud).len()))?;
    let counts = hub.counts();
    ensure(counts.messages_over_limit == 11 && counts.methods_busy == 2, || format!("{counts:?}"))?;
    // The application reads this receiver only now, and must get the newest state in the end.
    //
    // The desired properties may have changed many times during the client's first read of the twin, and the client may
    // have dropped some of these changes. In this case, it reads the twin again.
    desired_at(&mut desired, 51).await?;
    drop(messages);
    let closed = context("closing", hub.close(Duration::from_secs(10)).await)?;
    ensure(closed.is_clean(), || format!("{closed:?}"))?;
    ensure(hub.counts().messages_discarded == 5, || format!("{:?}", hub.counts()))
}
