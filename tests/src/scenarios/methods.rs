//! Direct methods. The caller must always get exactly one answer, and it must be the answer to its call.

use std::sync::Arc;
use std::time::Duration;

use hubward::{HubClient, Message, MethodError, MethodResponse, TransportKind};
use hubward_emulator::{Fault, Invocation, InvokeError, MethodResult, Point};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify, Semaphore};

use super::twin::cut_and_come_back;
use crate::cloud::{Cloud, HUB, fast_reconnect};
use crate::scenario::{Outcome, context, ensure};

/// Calls a method of a device that subscribes soon.
async fn call(cloud: &Cloud, id: &str, name: &str, payload: Option<Value>) -> Result<MethodResult, String> {
    context(&format!("calling {name}"), cloud.emulator.invoke_method(HUB, id, invocation(name, payload)).await)
}

/// Returns a call that waits until the device has subscribed to methods.
fn invocation(name: &str, payload: Option<Value>) -> Invocation {
    let mut invocation = Invocation::new(name).connect_timeout(Duration::from_secs(60));
    invocation.payload = payload;
    invocation
}

/// Adds a handler that returns the payload of the call.
fn echo(hub: &HubClient, name: &str) -> Outcome {
    context("serving", hub.serve_method(name, async |call| MethodResponse::json(207, &call.json::<Value>()?)))
}

/// Method names, payloads, statuses and answers of any form arrive unchanged.
pub(super) async fn a_method_is_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let missed = cloud.emulator.invoke_method(HUB, "dev-1", Invocation::new("echo")).await;
    ensure(missed == Err(InvokeError::NotOnline), || {
        format!("the device is not connected, but the call returned {missed:?}")
    })?;

    for name in ["echo", "Echo", "a b/c?d#e%f+g", "ürümqi"] {
        echo(&hub, name)?;
        for payload in [json!({ "délai": 1.5, "l": [1, null] }), json!("text"), json!(7), json!([]), json!(null)] {
            let result = call(&cloud, "dev-1", name, Some(payload.clone())).await?;
            ensure(result.status == 207 && result.payload == Some(payload.clone()), || {
                format!("{name} {payload}: {result:?}")
            })?;
        }
    }
    context(
        "serving",
        hub.serve_method("bare", async |call| Ok(MethodResponse::new(if call.payload().is_empty() { -1 } else { 1 }))),
    )?;
    for (payload, status) in [(None, -1), (Some(json!(null)), 1)] {
        let result = call(&cloud, "dev-1", "bare", payload).await?;
        ensure(result.status == status && result.payload.is_none(), || format!("{result:?}"))?;
    }
    // The application replaces a handler. It also adds a handler for all other methods.
    context("serving", hub.serve_method("echo", async |_| Ok(MethodResponse::new(1))))?;
    context("serving", hub.serve_methods(async |call| MethodResponse::json(2, call.name())))?;
    for (name, status, payload) in [("echo", 1, None), ("other", 2, Some(json!("other")))] {
        let result = call(&cloud, "dev-1", name, None).await?;
        ensure(result.status == status && result.payload == payload, || format!("{name}: {result:?}"))?;
    }
    ensure(hub.counts() == Default::default(), || format!("{:?}", hub.counts()))
}

/// The client runs the handlers of several calls at the same time.
pub(super) async fn method_calls_run_at_the_same_time(cloud: Cloud, kind: TransportKind) -> Outcome {
    const CALLS: usize = 8;
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let meeting = Arc::new(Barrier::new(CALLS));
    context(
        "serving",
        hub.serve_method("meet", move |call| {
            let meeting = meeting.clone();
            async move {
                // Wait until all handlers have reached this point.
                meeting.wait().await;
                MethodResponse::json(200, &call.json::<usize>()?)
            }
        }),
    )?;
    let cloud = Arc::new(cloud);
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            let cloud = cloud.clone();
            tokio::spawn(async move { (number, call(&cloud, "dev-1", "meet", Some(json!(number))).await) })
        })
        .collect();
    for call in calls {
        let (number, result) = call.await.map_err(|problem| problem.to_string())?;
        ensure(result.clone()?.payload == Some(json!(number)), || format!("{number}: {result:?}"))?;
    }
    Ok(())
}

/// If the device cannot handle a call, the caller gets status 404, 400 or 500. If the handler's error has a status,
/// the caller gets that status. Later calls and telemetry still work.
pub(super) async fn method_failures_are_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    context(
        "serving",
        hub.serve_method("picky", async |call| {
            let seconds: u64 = call.json()?;
            MethodResponse::json(200, &seconds)
        }),
    )?;
    context(
        "serving",
        hub.serve_method("fails", async |_| Err(MethodError::from(std::io::Error::other("the secret name of a file")))),
    )?;
    context(
        "serving",
        hub.serve_method("panics", async |_| -> Result<MethodResponse, MethodError> {
            // `resume_unwind` panics without printing a message.
            std::panic::resume_unwind(Box::new("on purpose"))
        }),
    )?;
    context("serving", hub.serve_method("says", async |_| Err(MethodError::new(418, "no coffee"))))?;
    context("serving", hub.serve_method("no-json", async |_| Ok(MethodResponse::raw(200, "{"))))?;
    context(
        "serving",
        hub.serve_method("too-large", async |_| MethodResponse::json(200, &"x".repeat(128 * 1024 - 1))),
    )?;
    context("serving", hub.serve_method("largest", async |_| MethodResponse::json(200, &"x".repeat(128 * 1024 - 2))))?;
    for (name, payload, status) in [
        ("unknown", json!(1), 404),
        ("picky", json!("text"), 400),
        ("picky", json!(-1), 400),
        ("picky", json!(5), 200),
        ("fails", json!(null), 500),
        ("panics", json!(null), 500),
        ("says", json!(null), 418),
        ("no-json", json!(null), 500),
        ("too-large", json!(null), 500),
        ("largest", json!(null), 200),
        ("picky", json!(6), 200),
    ] {
        let result = call(&cloud, "dev-1", name, Some(payload.clone())).await?;
        ensure(result.status == status, || format!("{name} {payload}: {result:?}"))?;
        let text = result.payload.unwrap_or_default().to_string();
        if status != 200 {
            ensure(text.contains("error") && !text.contains("secret"), || format!("{name} {payload}: {text}"))?;
        }
    }
    let counts = hub.counts();
    ensure(counts.methods_unknown == 1 && counts.methods_failed == 4, || format!("{counts:?}"))?;
    context("telemetry", hub.send(Message::new("x")).await)
}

/// If the maximum number of calls is running, the client answers another call with 503 immediately. The running calls
/// still get their answers.
pub(super) async fn too_many_calls_are_refused(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).options(fast_reconnect().method_calls(2)).connect().await?;
    let (started, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, opened) = (started.clone(), open.clone());
    context(
        "serving",
        hub.serve_method("slow", move |_| {
            let (starts, opened) = (starts.clone(), opened.clone());
            async move {
                starts.add_permits(1);
                drop(opened.acquire().await?);
                Ok(MethodResponse::new(200))
            }
        }),
    )?;
    let cloud = Arc::new(cloud);
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { call(&cloud, "dev-1", "slow", None).await })
        })
        .collect();
    context("both calls have started", started.acquire_many(2).await)?.forget();
    for _ in 0..3 {
        let result = call(&cloud, "dev-1", "slow", None).await?;
        ensure(result.status == 503, || format!("{result:?}"))?;
    }
    open.add_permits(2);
    for call in calls {
        let result = call.await.map_err(|problem| problem.to_string())??;
        ensure(result.status == 200, || format!("{result:?}"))?;
    }
    let result = call(&cloud, "dev-1", "slow", None).await?;
    ensure(result.status == 200, || format!("afterwards: {result:?}"))?;
    ensure(hub.counts().methods_busy == 3, || format!("{:?}", hub.counts()))
}

/// If the device answers after the caller has timed out, the hub discards the answer. Other calls still work.
pub(super) async fn a_late_answer_is_dropped(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let gate = Arc::new(Notify::new());
    let waits = gate.clone();
    context(
        "serving",
        hub.serve_method("slow", move |_| {
            let waits = waits.clone();
            async move {
                waits.notified().await;
                Ok(MethodResponse::new(1))
            }
        }),
    )?;
    echo(&hub, "echo")?;
    let invocation = invocation("slow", None).response_timeout(Duration::from_millis(200));
    let late = cloud.emulator.invoke_method(HUB, "dev-1", invocation).await;
    ensure(matches!(late, Err(InvokeError::Timeout)), || format!("{late:?}"))?;
    gate.notify_one();
    for number in 0..5 {
        let result = call(&cloud, "dev-1", "echo", Some(json!(number))).await?;
        ensure(result.payload == Some(json!(number)), || format!("{number}: {result:?}"))?;
    }
    ensure(hub.state().borrow().is_connected(), || "the connection was lost".into())
}

/// The client does not answer a call if the connection on which the call arrived has closed. The method still works on
/// the next connection.
pub(super) async fn a_call_of_an_old_connection_is_not_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, waits) = (started.clone(), gate.clone());
    context(
        "serving",
        hub.serve_method("slow", move |call| {
            let (starts, waits) = (starts.clone(), waits.clone());
            async move {
                starts.add_permits(1);
                drop(waits.acquire().await?);
                MethodResponse::json(200, &call.json::<Value>()?)
            }
        }),
    )?;
    let old = cloud.emulator.invoke_method(HUB, "dev-1", invocation("slow", Some(json!("old"))));
    tokio::pin!(old);
    tokio::select! {
        result = &mut old => return Err(format!("the call returned before the handler was allowed to end: {result:?}")),
        permit = started.acquire() => context("the call has started", permit)?.forget(),
    }
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    gate.add_permits(2);
    let new = call(&cloud, "dev-1", "slow", Some(json!("new"))).await?;
    ensure(new.payload == Some(json!("new")), || format!("{new:?}"))?;
    let old = old.await;
    ensure(old.is_err(), || format!("the client answered the call of the old connection: {old:?}"))?;
    // The handlers of the two calls run at the same time, so the handler of the old call may end after the handler of
    // the new call. Wait until the handler of the old call has ended.
    while hub.counts().methods_unanswered == 0 {
        tokio::task::yield_now().await;
    }
    ensure(hub.counts().methods_unanswered == 1, || format!("{:?}", hub.counts()))
}

/// If a call arrives twice or late, or if a call arrives that no caller has made, the calls still work.
pub(super) async fn unexpected_calls_are_harmless(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    echo(&hub, "echo")?;
    for fault in [Fault::Duplicate, Fault::Stray, Fault::Delay(Duration::from_millis(20))] {
        context("a fault", cloud.emulator.fault(Point::HubMethod, fault.clone()))?;
        for number in 0..3 {
            let result = call(&cloud, "dev-1", "echo", Some(json!(number))).await?;
            ensure(result.payload == Some(json!(number)), || format!("{fault:?}: {result:?}"))?;
        }
    }
    context("telemetry", hub.send(Message::new("x")).await)
}
