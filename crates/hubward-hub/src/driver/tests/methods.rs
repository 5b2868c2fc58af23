//! Direct methods. Tests every way in which a call ends, and clients that end while calls run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hubward_transport::{Abilities, Call, CallId, Downstream, Feature, Reply};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::{HubCounts, MethodCall, MethodError, MethodResponse};

impl FakeHub {
    fn call(&self, name: &str, id: &str, body: &'static str) {
        let call = Call { id: CallId(id.into()), name: name.into(), body: Bytes::from_static(body.as_bytes()) };
        self.send_event(Downstream::Method(Box::new(call)));
    }

    /// The responses, by request id: connection, status, body.
    fn method_responses(&self) -> BTreeMap<String, (usize, i32, String)> {
        let mut answers = BTreeMap::new();
        for (connection, reply) in &self.lock().replies {
            let Reply::Method { call, status, body } = reply else { panic!("{reply:?}") };
            let body = String::from_utf8(body.to_vec()).expect("text");
            assert!(answers.insert(call.0.clone(), (*connection, *status, body)).is_none(), "answered twice");
        }
        answers
    }

    /// The response to one call: status and body.
    fn answer_to(&self, id: &str) -> Option<(i32, String)> {
        self.method_responses().remove(id).map(|(_, status, body)| (status, body))
    }
}

/// Waits until the client is connected and has subscribed to methods.
async fn ready(client: &HubClient) {
    client.connected().await.expect("a login");
    until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn every_call_gets_one_response_and_the_client_continues() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client
        .serve_method("double", |call| async move { MethodResponse::json(200, &(call.json::<i32>()? * 2)) })
        .expect("methods");
    client
        .serve_method("optional", |call| async move { MethodResponse::json(200, &call.json::<Option<i32>>()?) })
        .expect("methods");
    client.serve_method("negative", |_| async { Ok(MethodResponse::new(-1)) }).expect("methods");
    client
        .serve_method("raw", |call| async move { Ok(MethodResponse::raw(200, call.payload().clone())) })
        .expect("methods");
    client.serve_method("no json", |_| async { Ok(MethodResponse::raw(200, "{")) }).expect("methods");
    client
        .serve_method("large", |_| async { MethodResponse::json(200, &"x".repeat(limits::METHOD_PAYLOAD_MAX - 2)) })
        .expect("methods");
    client
        .serve_method("too large", |_| async { MethodResponse::json(200, &"x".repeat(limits::METHOD_PAYLOAD_MAX - 1)) })
        .expect("methods");
    client.serve_method("fails", |_| async { Err(std::io::Error::other("secret-canary"))? }).expect("methods");
    client
        .serve_method("refuses", |_| async { Err(MethodError::new(423, "locked by \"somebody\"")) })
        .expect("methods");
    client.serve_method("panics", |_| async { panic!("secret-canary") }).expect("methods");
    client.serve_method("panics at once", |_| -> std::future::Ready<_> { panic!("secret-canary") }).expect("methods");
    ready(&client).await;
    assert_eq!(hub.lock().watched, [(1, Feature::Methods)]);

    let large = "x".repeat(limits::METHOD_PAYLOAD_MAX - 2);
    for (number, (name, payload, status, body)) in [
        ("double", "21", 200, "42"),
        (
            "double",
            "\"x\"",
            400,
            "{\"error\":\"the payload is not what was expected: invalid type: string \\\"x\\\", \
             expected i32 at line 1 column 3\"}",
        ),
        ("double", "{", 400, "{\"error\":\"the payload is not JSON\"}"),
        ("optional", "", 200, "null"),
        ("optional", "null", 200, "null"),
        ("negative", "{}", -1, ""),
        ("raw", "", 200, ""),
        ("raw", " [1, 2]", 200, " [1, 2]"),
        ("unknown", "{}", 404, "{\"error\":\"there is no such method\"}"),
        ("no json", "", 500, "{\"error\":\"the response is not JSON\"}"),
        ("large", "", 200, &format!("\"{large}\"")),
        ("too large", "", 500, "{\"error\":\"the response is too large\"}"),
        ("fails", "", 500, "{\"error\":\"the method failed\"}"),
        ("refuses", "", 423, "{\"error\":\"locked by \\\"somebody\\\"\"}"),
        ("panics", "", 500, "{\"error\":\"the method failed\"}"),
        ("panics at once", "", 500, "{\"error\":\"the method failed\"}"),
    ]
    .into_iter()
    .enumerate()
    {
        // The id is opaque text, and may look like anything.
        let id = format!("?$rid={number}/&ü");
        hub.call(name, &id, payload);
        until_idle().await;
        assert_eq!(hub.answer_to(&id), Some((status, body.into())), "{name} {payload}");
    }
    let expected = HubCounts { methods_unknown: 1, methods_invalid: 1, methods_failed: 5, ..HubCounts::default() };
    assert_eq!(client.counts(), expected);
    client.send(Message::new("still here")).await.expect("an acknowledgement");
    client.close(seconds(5)).await.expect("everything is acknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_with_the_last_acknowledgement_before_a_renewal_is_answered() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().token_lifetime(seconds(60)).renewal_drain(seconds(5)).ack_timeout(seconds(90)));
    client.serve_method("work", |_| async { Ok(MethodResponse::new(200)) }).expect("methods");
    ready(&client).await;
    let receipt = client.enqueue(Message::new("m")).await.expect("room");
    until_idle().await;
    until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
    until_idle().await;
    assert_eq!(hub.opened(), 1, "the renewal waits for the acknowledgement");
    // One read returns the acknowledgement and the call.
    let tag = hub.lock().taken[0].tag;
    hub.send_event(Downstream::Done(hubward_transport::Tag(tag.try_into().expect("not zero"))));
    hub.call("work", "1", "{}");
    receipt.await.expect("an acknowledgement");
    until_idle().await;
    assert_eq!(hub.method_responses().remove("1"), Some((1, 200, String::new())));
    assert_eq!((hub.opened(), client.counts()), (2, HubCounts::default()));
}

#[tokio::test(start_paused = true)]
async fn other_calls_go_to_the_catch_all_and_a_handler_can_be_replaced() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let named = |by: &'static str| move |call: MethodCall| async move { MethodResponse::json(200, &(by, call.name())) };
    client.serve_methods(named("rest")).expect("methods");
    client.serve_method("known", named("first")).expect("methods");
    client.serve_method("known", named("second")).expect("methods");
    ready(&client).await;
    hub.call("known", "1", "");
    hub.call("a b/c", "2", "");
    until_idle().await;
    assert_eq!(hub.answer_to("1"), Some((200, "[\"second\",\"known\"]".into())));
    assert_eq!(hub.answer_to("2"), Some((200, "[\"rest\",\"a b/c\"]".into())));
    assert_eq!(hub.lock().watched.len(), 1);
    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    ready(&client).await;
    assert_eq!(hub.lock().watched, [(1, Feature::Methods), (2, Feature::Methods)], "subscribed on every connection");
}

#[tokio::test(start_paused = true)]
async fn serving_fails_at_once_if_the_protocol_has_no_methods() {
    let hub = FakeHub::new([]);
    hub.lock().abilities = Abilities::default();
    let client = spawn(&hub, options());
    let refused = client.serve_method("m", |_| async { Ok(MethodResponse::new(200)) }).expect_err("no methods");
    assert_eq!(refused.to_string(), "direct methods are not possible over mqtt");
    ready(&client).await;
    assert!(hub.lock().watched.is_empty());
}

/// A method whose handler waits until the test opens the gate. `begun` counts the calls that the handler has begun.
struct Gate {
    begun: Arc<AtomicUsize>,
    open: Arc<Notify>,
}

impl Gate {
    fn serve(client: &HubClient, name: &str) -> Self {
        let (begun, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let gate = Self { begun: begun.clone(), open: open.clone() };
        let handler = move |_| {
            let (begun, open) = (begun.clone(), open.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                open.notified().await;
                Ok(MethodResponse::new(200))
            }
        };
        client.serve_method(name, handler).expect("methods");
        gate
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_are_answered_with_503() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().method_calls(2));
    let gate = Gate::serve(&client, "slow");
    ready(&client).await;
    for id in ["1", "2", "3"] {
        hub.call("slow", id, "");
    }
    until_idle().await;
    assert_eq!(gate.begun(), 2);
    assert_eq!(
        hub.method_responses(),
        BTreeMap::from([("3".into(), (1, 503, "{\"error\":\"too many calls at a time\"}".into()))])
    );
    gate.open.notify_one();
    until_idle().await;
    hub.call("slow", "4", "");
    until_idle().await;
    assert_eq!((gate.begun(), hub.method_responses().len()), (3, 2), "another call may run again");
    gate.open.notify_waiters();
    until_idle().await;
    assert_eq!(hub.method_responses().into_values().filter(|it| it.1 == 200).count(), 3);
    assert_eq!(client.counts(), HubCounts { methods_busy: 1, ..HubCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_times_out_is_dropped_and_its_call_answered() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().method_deadline(seconds(20)).method_calls(1));
    let witness = Arc::new(());
    let held = witness.clone();
    client
        .serve_method("endless", move |_| {
            let held = held.clone();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(MethodResponse::new(200))
            }
        })
        .expect("methods");
    ready(&client).await;
    hub.call("endless", "1", "");
    until_idle().await;
    assert_eq!(Arc::strong_count(&witness), 3);
    tokio::time::sleep(seconds(19)).await;
    assert!(hub.method_responses().is_empty());
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(hub.answer_to("1"), Some((504, "{\"error\":\"the method took too long\"}".into())));
    assert_eq!(Arc::strong_count(&witness), 2, "the handler's future is dropped");
    assert_eq!(client.counts(), HubCounts { methods_timed_out: 1, ..HubCounts::default() });
    assert_eq!(HubOptions::default().method_deadline, limits::METHOD_RESPONSE_TIMEOUT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_old_connection_is_not_answered_on_the_new_one() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let gate = Gate::serve(&client, "slow");
    ready(&client).await;
    hub.call("slow", "1", "");
    until_idle().await;
    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    ready(&client).await;
    hub.call("slow", "2", "");
    until_idle().await;
    assert_eq!(gate.begun(), 2);
    gate.open.notify_waiters();
    until_idle().await;
    assert_eq!(hub.method_responses(), BTreeMap::from([("2".into(), (2, 200, String::new()))]));
    assert_eq!(client.counts(), HubCounts { methods_unanswered: 1, ..HubCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_calls_within_its_limit() {
    for patient in [true, false] {
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options().token_lifetime(seconds(60)).renewal_drain(seconds(5)));
        let gate = Gate::serve(&client, "slow");
        ready(&client).await;
        hub.call("slow", "1", "");
        until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
        let started = tokio::time::Instant::now();
        until_idle().await;
        assert_eq!(hub.opened(), 1, "it waits");
        if patient {
            gate.open.notify_one();
            until_idle().await;
            assert_eq!((started.elapsed(), hub.opened()), (Duration::ZERO, 2), "it waits no longer than necessary");
            assert_eq!(hub.method_responses().into_values().map(|it| it.0).collect::<Vec<_>>(), [1]);
        } else {
            until_state(&client, |it| matches!(it, ConnectionState::Connected)).await;
            assert_eq!((started.elapsed(), hub.opened()), (seconds(5), 2));
            gate.open.notify_one();
            until_idle().await;
            assert!(hub.method_responses().is_empty());
        }
        let lost = client.counts().methods_unanswered;
        assert_eq!(lost, u64::from(!patient));
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_a_handler_that_waits_for_the_hub() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().token_lifetime(seconds(60)).renewal_drain(seconds(5)));
    let go = Arc::new(Notify::new());
    let goes = go.clone();
    client
        .serve_method("report", move |call| {
            let goes = goes.clone();
            async move {
                goes.notified().await;
                call.hub().expect("alive").send(Message::new("from the handler")).await?;
                Ok(MethodResponse::new(200))
            }
        })
        .expect("methods");
    ready(&client).await;
    hub.call("report", "1", "");
    until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
    let started = tokio::time::Instant::now();
    go.notify_one();
    until_idle().await;
    assert_eq!((started.elapsed(), hub.opened()), (Duration::ZERO, 2), "it waits no longer than necessary");
    assert_eq!(hub.method_responses(), BTreeMap::from([("1".into(), (1, 200, String::new()))]));
    assert_eq!(hub.lock().taken.iter().map(|it| it.connection).collect::<Vec<_>>(), [1]);

    // A renewal waits up to 5 s for a slow handler. The client continues to send messages, except in the last eighth
    // of this time, and sends no message twice.
    hub.call("report", "2", "");
    until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
    let started = tokio::time::Instant::now();
    for (after, sent) in [(0, 2), (4300, 3), (4400, 3)] {
        tokio::time::sleep_until(started + Duration::from_millis(after)).await;
        let _receipt = client.enqueue(Message::new("telemetry")).await.expect("room");
        until_idle().await;
        assert_eq!(hub.bodies().len(), sent, "after {after} ms");
    }
    until_state(&client, |it| matches!(it, ConnectionState::Connected)).await;
    until_idle().await;
    assert_eq!((started.elapsed(), hub.opened(), hub.bodies().len()), (seconds(5), 3, 4));
    assert!(hub.lock().taken.iter().all(|it| !it.again));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_close_its_client_several_times() {
    for lost in
        [None, Some(AttemptOutcome::HangOpening), Some(AttemptOutcome::HangLogin), Some(AttemptOutcome::Unreachable)]
    {
        let hub =
            FakeHub::new([AttemptOutcome::Accept].into_iter().chain(vec![lost.unwrap_or(AttemptOutcome::Accept); 50]));
        let client = spawn(&hub, options());
        let (says, mut hears) = mpsc::channel(1);
        let go = Arc::new(Notify::new());
        let goes = go.clone();
        client
            .serve_method("close", move |call| {
                let (says, goes) = (says.clone(), goes.clone());
                async move {
                    goes.notified().await;
                    let hub = call.hub().expect("alive");
                    let (first, second) = tokio::join!(hub.close(seconds(60)), hub.close(seconds(60)));
                    let third = hub.close(seconds(60)).await;
                    says.send([first, second, third].map(|it| it.is_ok())).await.expect("heard");
                    Ok(MethodResponse::new(200))
                }
            })
            .expect("methods");
        ready(&client).await;
        let started = tokio::time::Instant::now();
        hub.call("close", "1", "");
        until_idle().await;
        if lost.is_some() {
            hub.cut();
            until_idle().await;
            until_state(&client, |it| matches!(it, ConnectionState::Connecting | ConnectionState::Disconnected { .. }))
                .await;
        }
        go.notify_one();
        assert_eq!(hears.recv().await, Some([true; 3]), "{lost:?}");
        assert!(started.elapsed() < seconds(5), "{lost:?}");
        assert!(matches!(client.closed().await, CloseReason::Requested));
        until_idle().await;
        assert_eq!(client.counts(), HubCounts { methods_unanswered: 1, ..HubCounts::default() }, "{lost:?}");
        assert_eq!((hub.alive(), hub.method_responses().len()), (0, 0), "{lost:?}");
    }
}

/// Closes the client at different moments between a call and its response. In each case, the client sends the response
/// or counts it as unanswered.
#[tokio::test(start_paused = true)]
async fn a_response_that_was_given_before_a_close_leaves_before_it() {
    let mut seen = std::collections::BTreeSet::new();
    for steps in 0..12 {
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options());
        let begun = Arc::new(AtomicUsize::new(0));
        let counts = begun.clone();
        client
            .serve_method("quick", move |_| {
                counts.fetch_add(1, Ordering::SeqCst);
                async { Ok(MethodResponse::new(200)) }
            })
            .expect("methods");
        ready(&client).await;
        hub.call("quick", "1", "");
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        let worked = begun.load(Ordering::SeqCst);
        client.close(seconds(5)).await.expect("everything is acknowledged");
        until_idle().await;
        let (answered, lost) = (hub.method_responses().len(), client.counts().methods_unanswered);
        assert_eq!(answered + usize::try_from(lost).expect("few"), begun.load(Ordering::SeqCst), "{steps} steps");
        // All tasks run on one thread, and this handler never waits. So each handler that began before the close also
        // returned its response before the close. The client must send these responses.
        assert!(answered >= worked, "{steps} steps");
        seen.insert((worked, answered));
    }
    assert!(seen.contains(&(1, 1)) && seen.contains(&(0, 0)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn handlers_do_not_keep_a_client_alive() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let witness = Arc::new(());
    let (weak, held) = (client.downgrade(), witness.clone());
    client
        .serve_methods(move |call| {
            let (weak, _held) = (weak.clone(), held.clone());
            async move { MethodResponse::json(200, &(weak.upgrade().is_some(), call.hub().is_some())) }
        })
        .expect("methods");
    let gate = Gate::serve(&client, "slow");
    ready(&client).await;
    hub.call("any", "1", "");
    hub.call("slow", "2", "");
    until_idle().await;
    assert_eq!(hub.answer_to("1"), Some((200, "[true,true]".into())));
    let (mut state, weak) = (client.state(), client.downgrade());
    drop(client);
    state.wait_for(ConnectionState::is_closed).await.expect("outgoing");
    until_idle().await;
    assert!(weak.upgrade().is_none());
    assert_eq!((hub.alive(), hub.disconnects(), Arc::strong_count(&witness)), (0, 1, 1));
    assert_eq!(Arc::strong_count(&gate.open), 2, "the running handler is not aborted");
    gate.open.notify_one();
    until_idle().await;
    assert_eq!((Arc::strong_count(&gate.open), hub.method_responses().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_captures_a_handle_keeps_the_client_until_it_is_closed() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let (own, witness) = (client.clone(), Arc::new(()));
    let held = witness.clone();
    client
        .serve_method("stop", move |_| {
            let (own, _held) = (own.clone(), held.clone());
            async move {
                own.close(seconds(5)).await?;
                Ok(MethodResponse::new(200))
            }
        })
        .expect("methods");
    ready(&client).await;
    let mut state = client.state();
    drop(client);
    until_idle().await;
    assert!(state.borrow().is_connected());
    hub.call("stop", "1", "");
    state.wait_for(ConnectionState::is_closed).await.expect("outgoing");
    until_idle().await;
    assert_eq!((hub.alive(), Arc::strong_count(&witness)), (0, 1), "the handler no longer keeps the client alive");
}

#[test]
fn a_runtime_shuts_down_while_a_handler_runs() {
    let hub = FakeHub::new([]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (client, gate) = runtime.block_on(async {
        let client = spawn(&hub, options());
        let gate = Gate::serve(&client, "slow");
        ready(&client).await;
        hub.call("slow", "1", "");
        until_idle().await;
        (client, gate)
    });
    drop(runtime);
    assert_eq!((Arc::strong_count(&gate.open), hub.alive()), (1, 0));
    assert_eq!(client.counts(), HubCounts { methods_unanswered: 1, ..HubCounts::default() });
}
