//! A client reconnects without help from the application.

use std::sync::Arc;
use std::time::Duration;

use hubward::error::CloseReason;
use hubward::{ConnectionState, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use serde_json::json;
use tokio::sync::Semaphore;

use super::twin::cut_and_come_back;
use crate::cloud::{Cloud, HUB, fast_reconnect};
use crate::scenario::{Outcome, context, ensure};

const FLUSH: Duration = Duration::from_secs(10);

/// If the hub closes the connection, the client reconnects. It then restores all subscriptions.
pub(super) async fn every_feature_works_after_the_hub_closes(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    let mut desired = context("following", hub.desired())?;
    context("the first", desired.changed().await)?;
    context("serving", hub.serve_method("ping", async |_| Ok(MethodResponse::new(200))))?;
    for number in 0..3 {
        cut_and_come_back(&cloud, &hub, "dev-1").await?;
        context("telemetry", hub.send(Message::new(format!("{number}"))).await)?;
        let version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "n": number })))?;
        let state = context("a change", desired.changed().await)?;
        ensure(state.version == version, || format!("{state:?} instead of version {version}"))?;
        context("reporting", hub.report(&json!({ "n": number })).await)?;
        let invocation = Invocation::new("ping").connect_timeout(Duration::from_secs(60));
        let result = context("calling", cloud.emulator.invoke_method(HUB, "dev-1", invocation).await)?;
        ensure(result.status == 200, || format!("{result:?}"))?;
        context("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("hi")))?;
        context("completing", context("a message", messages.next().await)?.complete().await)?;
        // Wait until the hub has read the acknowledgement. The next disconnect could otherwise lose the
        // acknowledgement, and the hub would deliver the message again.
        cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    }
    ensure(cloud.log().total() == 3, || format!("{} messages arrived", cloud.log().total()))
}

/// Before the client reconnects with a new token, it waits until all running method calls have ended and the
/// application has completed its messages.
pub(super) async fn a_renewal_waits_for_calls_and_messages(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = fast_reconnect().token_lifetime(Duration::from_secs(6));
    let hub = cloud.hub_device("dev-1", kind).options(options).connect().await?;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, waits) = (started.clone(), gate.clone());
    context(
        "serving",
        hub.serve_method("slow", move |_| {
            let (starts, waits) = (starts.clone(), waits.clone());
            async move {
                starts.add_permits(1);
                drop(waits.acquire().await?);
                Ok(MethodResponse::new(200))
            }
        }),
    )?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    context("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("hi")))?;
    let message = context("a message", messages.next().await)?;

    let mut state = hub.state();
    let invocation = Invocation::new("slow").connect_timeout(Duration::from_secs(60));
    let (result, renewed) = tokio::join!(cloud.emulator.invoke_method(HUB, "dev-1", invocation), async {
        context("it started", started.acquire().await)?.forget();
        // The client starts the renewal while the call is running.
        let seen = state.wait_for(|it| !matches!(it, ConnectionState::Connected)).await.map(|it| it.clone());
        gate.add_permits(1);
        let seen = context("a state", seen)?;
        context("completing", message.complete().await)?;
        ensure(matches!(seen, ConnectionState::Renewing), || {
            format!("the client reported {seen:?} instead of a renewal")
        })
    });
    renewed?;
    ensure(result.as_ref().is_ok_and(|it| it.status == 200), || format!("the call: {result:?}"))?;
    let back = state.wait_for(|it| !matches!(it, ConnectionState::Renewing)).await.map(|it| it.clone());
    ensure(matches!(back, Ok(ConnectionState::Connected)), || format!("the renewal ended in {back:?}"))?;
    context("telemetry", hub.send(Message::new("after")).await)?;
    cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    let counts = hub.counts();
    ensure(counts == Default::default(), || format!("{counts:?}"))
}

/// A method handler calls `close` twice. The client sends the queued messages, and ends all receivers.
pub(super) async fn closes_from_inside_a_handler(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut messages = context("receiving", hub.cloud_messages())?;
    let mut desired = context("following", hub.desired())?;
    context("the first", desired.changed().await)?;
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    context(
        "serving",
        hub.serve_method("shutdown", move |call| {
            let report = report.clone();
            async move {
                let hub: HubClient =
                    call.hub().ok_or_else(|| std::io::Error::other("the application dropped the client"))?;
                let receipt = hub.enqueue(Message::new("last words")).await?;
                let (first, second) = tokio::join!(hub.close(FLUSH), hub.close(FLUSH));
                // Ignore an error: it means that the test has already ended.
                let _ = report.send((first, second, receipt.await));
                Ok(MethodResponse::new(200))
            }
        }),
    )?;
    let invocation = Invocation::new("shutdown").connect_timeout(Duration::from_secs(60));
    // `close` ends the connection, so the call may get no answer. The test only waits until the handler has ended.
    let (_answer, closed) = tokio::join!(cloud.emulator.invoke_method(HUB, "dev-1", invocation), reports.recv());
    let (first, second, receipt) = closed.ok_or("the handler did not finish")?;
    context("the last message", receipt)?;
    for closed in [first, second] {
        let closed = context("closing", closed)?;
        ensure(closed.is_clean() && matches!(closed.reason, CloseReason::Requested), || format!("{closed:?}"))?;
    }
    let ended = messages.next().await;
    ensure(matches!(ended, Err(CloseReason::Requested)), || format!("the messages end with {ended:?}"))?;
    let ended = desired.changed().await;
    ensure(matches!(ended, Err(CloseReason::Requested)), || format!("desired properties end with {ended:?}"))?;
    ensure(hub.twin().await.is_err_and(|it| it.is_certainly_not_sent()), || "a closed client read the twin".into())?;
    ensure(hub.send(Message::new("x")).await.is_err(), || "a closed client sent telemetry".into())?;
    ensure(cloud.log().total() == 1, || format!("{} messages arrived", cloud.log().total()))
}

/// The application closes a client that cannot connect. The client ends within its time limit, and reports the messages
/// that it could not send.
pub(super) async fn closes_while_it_cannot_connect(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.hub_device("dev-1", kind);
    cloud.block_connections(kind);
    let hub = context("setting up", device.settings.spawn())?;
    let receipt = context("queueing", hub.enqueue(Message::new("never")).await)?;
    let twin = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.twin().await })
    };
    let mut desired = context("following", hub.desired())?;
    let closed = hub.close(Duration::from_millis(50)).await;
    ensure(closed.is_err(), || format!("a message is unsent, but `close` returned {closed:?}"))?;
    let receipt = receipt.await;
    ensure(receipt.as_ref().is_err_and(|it| matches!(it, hubward::SendError::NotSent { .. })), || {
        format!("{receipt:?}")
    })?;
    let twin = twin.await.map_err(|problem| problem.to_string())?;
    ensure(twin.as_ref().is_err_and(|it| it.is_certainly_not_sent()), || format!("{twin:?}"))?;
    let ended = desired.changed().await;
    ensure(ended.is_err(), || format!("{ended:?}"))
}
