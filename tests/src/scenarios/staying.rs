//! Staying connected: what ends a connection is nothing that a program has to care about.

use std::sync::Arc;
use std::time::Duration;

use hubward::error::CloseReason;
use hubward::{ConnectionState, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use serde_json::json;
use tokio::sync::Semaphore;

use super::twin::cut_and_come_back;
use crate::cloud::{Cloud, HUB, eager};
use crate::scenario::{Outcome, because, must};

const FLUSH: Duration = Duration::from_secs(10);

/// A connection that the hub closes comes back by itself, with everything that was wanted on it.
pub(super) async fn everything_works_again_after_the_hub_closes(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    let mut desired = because("following", hub.desired())?;
    because("the first", desired.changed().await)?;
    because("serving", hub.serve_method("ping", async |_| Ok(MethodResponse::new(200))))?;
    for number in 0..3 {
        cut_and_come_back(&cloud, &hub, "dev-1").await?;
        because("telemetry", hub.send(Message::new(format!("{number}"))).await)?;
        let version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "n": number })))?;
        let state = because("a change", desired.changed().await)?;
        must(state.version == version, || format!("{state:?} instead of version {version}"))?;
        because("reporting", hub.report(&json!({ "n": number })).await)?;
        let invocation = Invocation::new("ping").connect_timeout(Duration::from_secs(60));
        let result = because("calling", cloud.emulator.invoke_method(HUB, "dev-1", invocation).await)?;
        must(result.status == 200, || format!("{result:?}"))?;
        because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("hi")))?;
        because("completing", because("a message", messages.next().await)?.complete().await)?;
        // An acknowledgement that is lost with its connection brings the message again.
        cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    }
    must(cloud.log().total() == 3, || format!("{} messages arrived", cloud.log().total()))
}

/// A renewal waits for the call that is being worked on, and for the message in the program's hands.
pub(super) async fn a_renewal_disturbs_no_call(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = eager().token_lifetime(Duration::from_secs(6));
    let hub = cloud.known("dev-1", kind).options(options).connect().await?;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, waits) = (started.clone(), gate.clone());
    because(
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
    let mut messages = because("receiving", hub.cloud_messages())?;
    because("to the device", cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("hi")))?;
    let message = because("a message", messages.next().await)?;

    let mut state = hub.state();
    let invocation = Invocation::new("slow").connect_timeout(Duration::from_secs(60));
    let (result, renewed) = tokio::join!(cloud.emulator.invoke_method(HUB, "dev-1", invocation), async {
        because("it started", started.acquire().await)?.forget();
        // The renewal begins while the call is worked on.
        let seen = state.wait_for(|it| !matches!(it, ConnectionState::Connected)).await.map(|it| it.clone());
        gate.add_permits(1);
        let seen = because("a state", seen)?;
        because("completing", message.complete().await)?;
        must(matches!(seen, ConnectionState::Renewing), || format!("a renewal looked like {seen:?}"))
    });
    renewed?;
    must(result.as_ref().is_ok_and(|it| it.status == 200), || format!("the call: {result:?}"))?;
    let back = state.wait_for(|it| !matches!(it, ConnectionState::Renewing)).await.map(|it| it.clone());
    must(matches!(back, Ok(ConnectionState::Connected)), || format!("the renewal ended in {back:?}"))?;
    because("telemetry", hub.send(Message::new("after")).await)?;
    cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    let counts = hub.counts();
    must(counts == Default::default(), || format!("{counts:?}"))
}

/// Closing works from inside a handler, and twice; what was queued is sent, everybody is told.
pub(super) async fn closes_from_inside_a_handler(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut messages = because("receiving", hub.cloud_messages())?;
    let mut desired = because("following", hub.desired())?;
    because("the first", desired.changed().await)?;
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    because(
        "serving",
        hub.serve_method("shutdown", move |call| {
            let report = report.clone();
            async move {
                let hub: HubClient = call.hub().ok_or_else(|| std::io::Error::other("nobody holds the client"))?;
                let receipt = hub.enqueue(Message::new("last words")).await?;
                let (first, second) = tokio::join!(hub.close(FLUSH), hub.close(FLUSH));
                // The test may have given up.
                let _ = report.send((first, second, receipt.await));
                Ok(MethodResponse::new(200))
            }
        }),
    )?;
    let invocation = Invocation::new("shutdown").connect_timeout(Duration::from_secs(60));
    // The answer may be lost with the connection; that the handler ran to its end is what counts.
    let (_answer, closed) = tokio::join!(cloud.emulator.invoke_method(HUB, "dev-1", invocation), reports.recv());
    let (first, second, receipt) = closed.ok_or("the handler did not run to its end")?;
    because("the last message", receipt)?;
    for closed in [first, second] {
        let closed = because("closing", closed)?;
        must(closed.is_clean() && matches!(closed.reason, CloseReason::Requested), || format!("{closed:?}"))?;
    }
    let ended = messages.next().await;
    must(matches!(ended, Err(CloseReason::Requested)), || format!("the messages end with {ended:?}"))?;
    let ended = desired.changed().await;
    must(matches!(ended, Err(CloseReason::Requested)), || format!("desired properties end with {ended:?}"))?;
    must(hub.twin().await.is_err_and(|it| it.is_certainly_not_sent()), || "a twin of a closed client".into())?;
    must(hub.send(Message::new("x")).await.is_err(), || "telemetry of a closed client".into())?;
    must(cloud.log().total() == 1, || format!("{} messages arrived", cloud.log().total()))
}

/// A client that is closed while it cannot connect ends in time, and says what was not sent.
pub(super) async fn closes_while_it_cannot_connect(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.known("dev-1", kind);
    cloud.lower_barrier(kind);
    let hub = because("setting up", device.settings.spawn())?;
    let receipt = because("queueing", hub.enqueue(Message::new("never")).await)?;
    let twin = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.twin().await })
    };
    let mut desired = because("following", hub.desired())?;
    let closed = hub.close(Duration::from_millis(50)).await;
    must(closed.is_err(), || format!("something was left behind, but {closed:?}"))?;
    let receipt = receipt.await;
    must(receipt.as_ref().is_err_and(|it| matches!(it, hubward::SendError::NotSent { .. })), || {
        format!("{receipt:?}")
    })?;
    let twin = twin.await.map_err(|problem| problem.to_string())?;
    must(twin.as_ref().is_err_and(|it| it.is_certainly_not_sent()), || format!("{twin:?}"))?;
    let ended = desired.changed().await;
    must(ended.is_err(), || format!("{ended:?}"))
}
