//! Direct methods: whatever happens, the caller gets one answer, and it is the right one.

use std::sync::Arc;
use std::time::Duration;

use hubward::{HubClient, Message, MethodError, MethodResponse, TransportKind};
use hubward_emulator::{Fault, Invocation, InvokeError, MethodResult, Point};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify, Semaphore};

use super::twin::cut_and_come_back;
use crate::cloud::{Cloud, HUB, eager};
use crate::scenario::{Outcome, because, must};

/// Calls a method of a device that is about to listen.
async fn call(cloud: &Cloud, id: &str, name: &str, payload: Option<Value>) -> Result<MethodResult, String> {
    because(&format!("calling {name}"), cloud.emulator.invoke_method(HUB, id, invocation(name, payload)).await)
}

/// The subscription may just be on its way: the caller waits for it.
fn invocation(name: &str, payload: Option<Value>) -> Invocation {
    let mut invocation = Invocation::new(name).connect_timeout(Duration::from_secs(60));
    invocation.payload = payload;
    invocation
}

/// A handler that answers with what it was given.
fn echo(hub: &HubClient, name: &str) -> Outcome {
    because("serving", hub.serve_method(name, async |call| MethodResponse::json(207, &call.json::<Value>()?)))
}

/// Name, payload, status and answer go through as they are, whatever they look like.
pub(super) async fn a_method_is_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let missed = cloud.emulator.invoke_method(HUB, "dev-1", Invocation::new("echo")).await;
    must(missed == Err(InvokeError::NotOnline), || format!("nobody listens, but {missed:?}"))?;

    for name in ["echo", "Echo", "a b/c?d#e%f+g", "ürümqi"] {
        echo(&hub, name)?;
        for payload in [json!({ "délai": 1.5, "l": [1, null] }), json!("text"), json!(7), json!([]), json!(null)] {
            let result = call(&cloud, "dev-1", name, Some(payload.clone())).await?;
            must(result.status == 207 && result.payload == Some(payload.clone()), || {
                format!("{name} {payload}: {result:?}")
            })?;
        }
    }
    because(
        "serving",
        hub.serve_method("bare", async |call| Ok(MethodResponse::new(if call.payload().is_empty() { -1 } else { 1 }))),
    )?;
    for (payload, status) in [(None, -1), (Some(json!(null)), 1)] {
        let result = call(&cloud, "dev-1", "bare", payload).await?;
        must(result.status == status && result.payload.is_none(), || format!("{result:?}"))?;
    }
    // A handler that takes another's place, and one for the rest.
    because("serving", hub.serve_method("echo", async |_| Ok(MethodResponse::new(1))))?;
    because("serving", hub.serve_methods(async |call| MethodResponse::json(2, call.name())))?;
    for (name, status, payload) in [("echo", 1, None), ("other", 2, Some(json!("other")))] {
        let result = call(&cloud, "dev-1", name, None).await?;
        must(result.status == status && result.payload == payload, || format!("{name}: {result:?}"))?;
    }
    must(hub.counts() == Default::default(), || format!("{:?}", hub.counts()))
}

/// Calls are worked on at the same time.
pub(super) async fn methods_run_at_the_same_time(cloud: Cloud, kind: TransportKind) -> Outcome {
    const CALLS: usize = 8;
    let hub = cloud.known("dev-1", kind).connect().await?;
    let meeting = Arc::new(Barrier::new(CALLS));
    because(
        "serving",
        hub.serve_method("meet", move |call| {
            let meeting = meeting.clone();
            async move {
                // Nobody gets past this alone.
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
        must(result.clone()?.payload == Some(json!(number)), || format!("{number}: {result:?}"))?;
    }
    Ok(())
}

/// 404, 400, 500: what goes wrong is the caller's to know, and nobody else's trouble.
pub(super) async fn what_goes_wrong_in_a_method_is_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    because(
        "serving",
        hub.serve_method("picky", async |call| {
            let seconds: u64 = call.json()?;
            MethodResponse::json(200, &seconds)
        }),
    )?;
    because(
        "serving",
        hub.serve_method("fails", async |_| Err(MethodError::from(std::io::Error::other("the secret name of a file")))),
    )?;
    because(
        "serving",
        hub.serve_method("panics", async |_| -> Result<MethodResponse, MethodError> {
            // A panic, without the words that one has for whoever watches.
            std::panic::resume_unwind(Box::new("on purpose"))
        }),
    )?;
    because("serving", hub.serve_method("says", async |_| Err(MethodError::new(418, "no coffee"))))?;
    because("serving", hub.serve_method("no-json", async |_| Ok(MethodResponse::raw(200, "{"))))?;
    because(
        "serving",
        hub.serve_method("too-large", async |_| MethodResponse::json(200, &"x".repeat(128 * 1024 - 1))),
    )?;
    because("serving", hub.serve_method("largest", async |_| MethodResponse::json(200, &"x".repeat(128 * 1024 - 2))))?;
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
        must(result.status == status, || format!("{name} {payload}: {result:?}"))?;
        let text = result.payload.unwrap_or_default().to_string();
        if status != 200 {
            must(text.contains("error") && !text.contains("secret"), || format!("{name} {payload}: {text}"))?;
        }
    }
    let counts = hub.counts();
    must(counts.methods_unknown == 1 && counts.methods_failed == 4, || format!("{counts:?}"))?;
    because("telemetry goes on", hub.send(Message::new("x")).await)
}

/// Beyond the bound a call is refused at once, with 503; the ones before it are not disturbed.
pub(super) async fn too_many_calls_are_refused(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).options(eager().method_calls(2)).connect().await?;
    let (started, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, opened) = (started.clone(), open.clone());
    because(
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
    because("both are worked on", started.acquire_many(2).await)?.forget();
    for _ in 0..3 {
        let result = call(&cloud, "dev-1", "slow", None).await?;
        must(result.status == 503, || format!("{result:?}"))?;
    }
    open.add_permits(2);
    for call in calls {
        let result = call.await.map_err(|problem| problem.to_string())??;
        must(result.status == 200, || format!("{result:?}"))?;
    }
    let result = call(&cloud, "dev-1", "slow", None).await?;
    must(result.status == 200, || format!("afterwards: {result:?}"))?;
    must(hub.counts().methods_busy == 3, || format!("{:?}", hub.counts()))
}

/// An answer that comes when nobody waits any more is dropped by the hub, and disturbs no other call.
pub(super) async fn a_late_answer_is_dropped(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let gate = Arc::new(Notify::new());
    let waits = gate.clone();
    because(
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
    must(matches!(late, Err(InvokeError::Timeout)), || format!("{late:?}"))?;
    gate.notify_one();
    for number in 0..5 {
        let result = call(&cloud, "dev-1", "echo", Some(json!(number))).await?;
        must(result.payload == Some(json!(number)), || format!("{number}: {result:?}"))?;
    }
    must(hub.state().borrow().is_connected(), || "the connection suffered".into())
}

/// A call of a connection that is over is answered to nobody; the same method works on the next one.
pub(super) async fn a_call_of_an_old_connection_is_not_answered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (starts, waits) = (started.clone(), gate.clone());
    because(
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
        result = &mut old => return Err(format!("answered before it was allowed to: {result:?}")),
        permit = started.acquire() => because("it started", permit)?.forget(),
    }
    cut_and_come_back(&cloud, &hub, "dev-1").await?;
    gate.add_permits(2);
    let new = call(&cloud, "dev-1", "slow", Some(json!("new"))).await?;
    must(new.payload == Some(json!("new")), || format!("{new:?}"))?;
    let old = old.await;
    must(old.is_err(), || format!("the call of the old connection was answered: {old:?}"))?;
    // Its handler may still be at work: nothing orders it before the newer call.
    while hub.counts().methods_unanswered == 0 {
        tokio::task::yield_now().await;
    }
    must(hub.counts().methods_unanswered == 1, || format!("{:?}", hub.counts()))
}

/// A call that comes twice, or one that nobody waits for, does no harm.
pub(super) async fn odd_calls_do_no_harm(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    echo(&hub, "echo")?;
    for fault in [Fault::Duplicate, Fault::Stray, Fault::Delay(Duration::from_millis(20))] {
        because("a fault", cloud.emulator.fault(Point::HubMethod, fault.clone()))?;
        for number in 0..3 {
            let result = call(&cloud, "dev-1", "echo", Some(json!(number))).await?;
            must(result.payload == Some(json!(number)), || format!("{fault:?}: {result:?}"))?;
        }
    }
    because("telemetry goes on", hub.send(Message::new("x")).await)
}
