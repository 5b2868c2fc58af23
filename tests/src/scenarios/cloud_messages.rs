//! Messages from the cloud: nothing is taken before somebody wants it, nothing is gone before it is
//! completed.

use std::collections::BTreeMap;
use std::time::Duration;

use hubward::error::{ReceiveError, SettleError};
use hubward::{CloudMessages, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{
    Ack, CloudMessageState, CloudToDevice, ConnectionState as Presence, Emulator, Invocation, Outcome as Fate,
};
use serde_json::json;

use super::twin::{cut_and_come_back, desired_at};
use crate::cloud::{Cloud, HUB, eager};
use crate::scenario::{Outcome, because, must};

/// Sends texts to the device `dev-1`.
fn send(cloud: &Cloud, bodies: &[&str]) -> Outcome {
    for body in bodies {
        because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new((*body).to_owned())))?;
    }
    Ok(())
}

/// What waits for the device: how often each was delivered, and whether it is with the device.
fn queued(cloud: &Cloud) -> Vec<(u32, CloudMessageState)> {
    let messages = cloud.emulator.cloud_messages(HUB, "dev-1");
    messages.iter().map(|it| (it.delivery_count, it.state)).collect()
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

/// The hub has read everything that the client wrote before.
async fn settled(hub: &HubClient) -> Outcome {
    because("telemetry", hub.send(Message::new("settled")).await)
}

/// A client without a receiver takes nothing; with one, messages come in their order, and completing
/// them empties the queue.
pub(super) async fn nothing_is_taken_before_a_receiver_exists(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.known("dev-1", kind);
    send(&cloud, &["1", "2"])?;
    let hub = device.connect().await?;
    settled(&hub).await?;
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    settled(&hub).await?;
    must(queued(&cloud) == [(0, CloudMessageState::Enqueued); 2], || format!("{:?}", queued(&cloud)))?;

    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["3"])?;
    for body in ["1", "2", "3"] {
        because("completing", next(&mut messages, body).await?.complete().await)?;
    }
    left(&cloud, 0).await;
    must(messages.try_next().is_none(), || "there is more".into())?;
    must(hub.counts() == Default::default(), || format!("{:?}", hub.counts()))
}

/// With a kept session the hub delivers at once, also to a program that has no receiver yet: nothing
/// is dropped or acknowledged meanwhile.
pub(super) async fn a_kept_session_delivers_later(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.known("dev-1", kind);
    let hub = device.connect().await?;
    drop(because("receiving", hub.cloud_messages())?);
    settled(&hub).await?;
    because("closing", hub.close(Duration::from_secs(10)).await)?;
    let away = |it: &Emulator| it.device(HUB, "dev-1").is_some_and(|it| it.connection_state == Presence::Disconnected);
    cloud.emulator.wait_until(|it| away(it).then_some(())).await;

    send(&cloud, &["while away", "and another"])?;
    let hub = device.connect().await?;
    // Without a receiver it has no reason to subscribe; the hub delivers by the old subscription.
    cloud
        .emulator
        .wait_until(|_| queued(&cloud).iter().all(|it| it.1 == CloudMessageState::Invisible).then_some(()))
        .await;
    settled(&hub).await?;
    must(queued(&cloud) == [(1, CloudMessageState::Invisible); 2], || format!("{:?}", queued(&cloud)))?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    because("completing", next(&mut messages, "while away").await?.complete().await)?;
    because("completing", next(&mut messages, "and another").await?.complete().await)?;
    left(&cloud, 0).await;
    Ok(())
}

/// A message that is dropped, because handling it failed, comes again; so does one whose connection
/// was lost before it was completed.
pub(super) async fn a_dropped_message_comes_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["dropped", "lost"])?;
    drop(next(&mut messages, "dropped").await?);
    let lost = next(&mut messages, "lost").await?;
    settled(&hub).await?;
    must(queued(&cloud).len() == 2, || format!("acknowledged: {:?}", queued(&cloud)))?;
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    let stale = lost.complete().await;
    must(matches!(stale, Err(SettleError::Stale)), || format!("of an old connection: {stale:?}"))?;
    for body in ["dropped", "lost"] {
        because("completing", next(&mut messages, body).await?.complete().await)?;
    }
    left(&cloud, 0).await;
    let counts = hub.counts();
    must(counts.messages_unsettled == 1 && counts.messages_stale == 1, || format!("{counts:?}"))
}

/// Acknowledgements leave in the order in which the messages came: one completed early is held back.
pub(super) async fn completion_out_of_order_is_held_back(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["1", "2", "3", "4"])?;
    let first = next(&mut messages, "1").await?;
    let second = next(&mut messages, "2").await?;
    let third = next(&mut messages, "3").await?;
    let fourth = next(&mut messages, "4").await?;
    because("the third", third.complete().await)?;
    because("the second", second.complete().await)?;
    settled(&hub).await?;
    must(queued(&cloud).len() == 4, || format!("the second was acknowledged before the first: {:?}", queued(&cloud)))?;
    because("the first", first.complete().await)?;
    left(&cloud, 1).await;
    because("the fourth", fourth.complete().await)?;
    left(&cloud, 0).await;
    Ok(())
}

/// System and application properties are what the sender gave, exactly: no value, an empty one, a
/// plus, a percent sign, every character that needs encoding.
pub(super) async fn every_form_of_a_property_arrives(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
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
    because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", sent))?;
    let message = next(&mut messages, "body").await?;
    let found: BTreeMap<_, _> = message.properties().collect();
    let expected: BTreeMap<_, _> = values.into_iter().collect();
    must(found == expected, || format!("arrived: {found:?}"))?;
    for (what, found, expected) in [
        ("message id", message.message_id(), "m 1"),
        ("correlation id", message.correlation_id(), "c/1"),
        ("user id", message.user_id(), "u+1"),
        ("content type", message.content_type(), "application/json; charset=utf-8"),
        ("content encoding", message.content_encoding(), "utf-8"),
        ("to", message.to(), "/devices/dev-1/messages/deviceBound"),
        ("ack", message.ack(), "full"),
    ] {
        must(found == Some(expected), || format!("{what}: {found:?}"))?;
    }
    because("completing", message.complete().await)?;
    left(&cloud, 0).await;
    let fates: Vec<_> = cloud.emulator.feedback(HUB).iter().map(|it| it.status_code).collect();
    must(fates == [Fate::Success], || format!("the sender hears {fates:?}"))?;

    let large = vec![b'x'; 60_000];
    because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new(large.clone())))?;
    let message = because("a large one", messages.next().await)?;
    must(message.body == large, || format!("{} bytes", message.body.len()))
}

/// MQTT has no abandon and no reject: known beforehand, and the message is still there to complete.
pub(super) async fn abandon_and_reject_are_unsupported(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let abilities = hub.abilities();
    must(abilities.receive && !abilities.abandon && !abilities.reject, || format!("{abilities:?}"))?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    send(&cloud, &["1"])?;
    let message = next(&mut messages, "1").await?;
    let Err(SettleError::Unsupported { message, source }) = message.abandon().await else {
        return Err("abandoned".into());
    };
    must(source.to_string().contains(kind.as_str()), || format!("`{source}` does not name the transport"))?;
    let refused = message.reject().await;
    must(matches!(refused, Err(SettleError::Unsupported { .. })), || format!("{refused:?}"))?;
    settled(&hub).await?;
    must(queued(&cloud).len() == 1, || "it is gone".into())?;
    let message = refused.err().and_then(SettleError::into_message).ok_or("the message is gone")?;
    because("completing", message.complete().await)?;
    left(&cloud, 0).await;
    let none = hub.inputs();
    must(matches!(none, Err(ReceiveError::Unsupported(_))), || format!("a device has inputs: {none:?}"))
}

/// One receiver at a time; the next one goes on where the last one stopped.
pub(super) async fn one_receiver_at_a_time(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut first = because("receiving", hub.cloud_messages())?;
    let second = hub.clone().cloud_messages();
    must(matches!(second, Err(ReceiveError::AlreadyReceiving)), || format!("{second:?}"))?;
    send(&cloud, &["1", "2"])?;
    because("completing", next(&mut first, "1").await?.complete().await)?;
    drop(first);
    let mut second = because("receiving again", hub.cloud_messages())?;
    because("completing", next(&mut second, "2").await?.complete().await)?;
    left(&cloud, 0).await;
    Ok(())
}

/// A program that reads nothing sends as before; what it does not read is counted, or is where it was.
pub(super) async fn a_reader_that_never_reads_stalls_nothing(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = eager().receive_queue(5).method_calls(2);
    let hub = cloud.known("dev-1", kind).options(options).connect().await?;
    let messages = because("receiving", hub.cloud_messages())?;
    let mut desired = because("following", hub.desired())?;
    because(
        "serving",
        hub.serve_method("never", async |_| {
            std::future::pending::<()>().await;
            Ok(MethodResponse::new(200))
        }),
    )?;
    for number in 0..50 {
        send(&cloud, &[&format!("{number}")])?;
        because("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "n": number })))?;
    }
    let call = || {
        let invocation = Invocation::new("never")
            .connect_timeout(Duration::from_secs(60))
            .response_timeout(Duration::from_millis(100));
        cloud.emulator.invoke_method(HUB, "dev-1", invocation)
    };
    for _ in 0..4 {
        // Two are never answered, two are refused.
        drop(call().await);
    }
    let mut receipts = Vec::new();
    for number in 0..500 {
        receipts.push(because("queueing", hub.enqueue(Message::new(format!("{number}"))).await)?);
    }
    for receipt in receipts {
        because("telemetry", receipt.await)?;
    }
    must(cloud.log().total() == 500, || format!("{} messages arrived", cloud.log().total()))?;
    must(hub.state().borrow().is_connected(), || "the connection suffered".into())?;

    // Every message is still the hub's, which lets 16 be unacknowledged; what could not wait at the
    // device is counted.
    let delivered = || queued(&cloud).iter().filter(|it| it.0 > 0).count();
    cloud.emulator.wait_until(|_| (delivered() == 16).then_some(())).await;
    settled(&hub).await?;
    must(queued(&cloud).len() == 50, || format!("{} are left", queued(&cloud).len()))?;
    let counts = hub.counts();
    must(counts.messages_left == 11 && counts.methods_busy == 2, || format!("{counts:?}"))?;
    // Looked at for the first time: it ends on the last one. (Many changes before the twin was read make
    // the client read it again, a moment later.)
    desired_at(&mut desired, 51).await?;
    drop(messages);
    let closed = because("closing", hub.close(Duration::from_secs(10)).await)?;
    must(closed.is_clean(), || format!("{closed:?}"))?;
    must(hub.counts().messages_discarded == 5, || format!("{:?}", hub.counts()))
}
