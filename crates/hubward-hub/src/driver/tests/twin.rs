//! Twins with the hub in memory. Tests reading, reporting, following, and every way in which a request ends.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fastrand::Rng;
use hubward_proto::hub::twin::merge;
use hubward_proto::hub::{Properties, Twin};
use hubward_transport::{Abilities, Downstream, Fault, Feature, Refusal, RefusedBy, Stage, Tag, Upstream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cancel::poll_times;
use super::*;
use crate::{DesiredProperties, Reported, TwinError};

/// The hub's side of a twin.
#[derive(Debug, Default)]
pub(super) struct Document {
    twin: Twin,
    /// Every request with its tag and connection: `get` or the patch.
    requests: Vec<(usize, Tag, String)>,
    /// The treatment of the next requests; all later ones are answered.
    treatments: VecDeque<Treatment>,
}

/// How the hub treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Answer,
    /// The hub applies it and does not answer.
    Silence,
    /// The hub applies it, and the connection breaks.
    Cut,
    Refuse(u16),
    Garble,
}

impl Document {
    /// Sets the desired properties.
    pub(super) fn set_desired(&mut self, version: u64, values: Map<String, Value>) {
        self.twin.desired = Properties::new(version, values);
    }

    /// Handles a request. Returns the response, if the hub sends one, and `true` if the connection breaks.
    pub(super) fn ask(&mut self, connection: usize, tag: Tag, what: &Upstream) -> (Option<Downstream>, bool) {
        let patch = match what {
            Upstream::TwinGet => None,
            Upstream::ReportedPatch(patch) => Some(patch),
            other => panic!("{other:?}"),
        };
        let text = patch.map_or_else(|| "get".into(), |it| String::from_utf8(it.to_vec()).expect("text"));
        self.requests.push((connection, tag, text));
        let treatment = self.treatments.pop_front().unwrap_or(Treatment::Answer);
        if let Treatment::Refuse(status) = treatment {
            let mut refusal = Refusal::new(ENDPOINT.into(), Stage::Exchange, RefusedBy::Status(status));
            refusal.tracking_id = Some("t-1".into());
            return (Some(Downstream::Refused(tag, Box::new(refusal))), false);
        }
        let answer = match patch {
            None if treatment == Treatment::Garble => Downstream::Twin(tag, Bytes::from_static(b"{")),
            None => Downstream::Twin(tag, self.twin.encode().into()),
            Some(patch) => {
                merge(&mut self.twin.reported.values, &serde_json::from_slice(patch).expect("an object"));
                self.twin.reported.version += 1;
                Downstream::Reported(tag, Some(self.twin.reported.version))
            }
        };
        (matches!(treatment, Treatment::Answer | Treatment::Garble).then_some(answer), treatment == Treatment::Cut)
    }
}

impl FakeHub {
    /// Changes desired properties, as a cloud application does. If the current connection has subscribed to changes,
    /// the hub sends the change over it.
    fn desire(&self, patch: Value) -> u64 {
        let mut hub = self.lock();
        let (opened, desired) = (hub.opened, &mut hub.document.twin.desired);
        let patch = object(patch);
        merge(&mut desired.values, &patch);
        desired.version += 1;
        let version = desired.version;
        let watched = hub.watched.contains(&(opened, Feature::Desired));
        drop(hub);
        if watched {
            self.send_event(Downstream::Desired(Properties::new(version, patch).to_wire().to_string().into()));
        }
        version
    }

    fn treats(&self, treatments: &[Treatment]) {
        self.lock().document.treatments.extend(treatments);
    }

    fn questions(&self) -> Vec<String> {
        self.lock().document.requests.iter().map(|it| it.2.clone()).collect()
    }

    /// Answers the last request, which was a report.
    fn answers_report(&self, version: u64) {
        let tag = self.lock().document.requests.last().expect("a question").1;
        self.send_event(Downstream::Reported(tag, Some(version)));
    }

    fn reported(&self) -> Value {
        Value::Object(self.lock().document.twin.reported.values.clone())
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(values) => values,
        other => panic!("{other} is not an object"),
    }
}

fn state(properties: &Properties) -> (u64, Value) {
    (properties.version, Value::Object(properties.values.clone()))
}

async fn changed(desired: &mut DesiredProperties) -> (u64, Value) {
    state(&desired.changed().await.expect("the client lives"))
}

#[tokio::test(start_paused = true)]
async fn the_first_twin_request_subscribes_then_reads_and_reports_work() {
    #[derive(Serialize, Deserialize)]
    struct Fan {
        speed: u32,
    }

    let hub = FakeHub::new([]);
    hub.desire(json!({ "fan": { "speed": 3 } }));
    let client = spawn(&hub, options());
    client.send(Message::new("m")).await.expect("an acknowledgement");
    assert_eq!(hub.lock().watched, []);
    let twin = client.twin().await.expect("a twin");
    assert_eq!(state(&twin.desired), (1, json!({ "fan": { "speed": 3 } })));
    let fan: BTreeMap<String, Fan> = twin.desired.read().expect("a fan");
    assert_eq!(client.report(&fan).await.expect("reported"), Reported { version: Some(1) });
    let reported = client.report(&json!({ "fan": null, "ok": true })).await.expect("reported");
    assert_eq!(reported.version, Some(2));
    assert_eq!(hub.reported(), json!({ "ok": true }));
    assert_eq!(client.twin().await.expect("a twin").reported.version, 2);
    assert_eq!(hub.lock().watched, [(1, Feature::TwinResponses)]);
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_a_hub_never_accepts_is_not_sent() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    for (patch, expected) in [
        (json!([1]), "reported properties must be a JSON object"),
        (json!("x"), "reported properties must be a JSON object"),
        (json!(null), "reported properties must be a JSON object"),
        (json!({ "a.b": 1 }), "the property `a.b` is not valid"),
        (json!({ "big": u64::MAX }), "the property `big` is not valid"),
        (
            json!({ "a": "x".repeat(4096), "b": (0..8).map(|_| "x".repeat(4096)).collect::<Vec<_>>() }),
            "the twin's section has 36866 bytes, but at most 32768 are allowed",
        ),
    ] {
        let error = client.report(&patch).await.expect_err("invalid");
        let TwinError::Invalid(problem) = &error else { panic!("{error:?}") };
        assert!(problem.to_string().starts_with(expected), "{problem}");
        assert_eq!(error.fault(), Some(Fault::Request));
        assert!(error.is_certainly_not_sent());
    }
    let error = client.report(&BTreeMap::from([((1, 2), 3)])).await.expect_err("no JSON");
    assert!(matches!(error, TwinError::Invalid(ProtoError::Unexpected(_))), "{error:?}");
    until_idle().await;
    assert!(hub.questions().is_empty() && hub.lock().watched.is_empty());
}

#[tokio::test(start_paused = true)]
async fn twin_requests_fail_at_once_if_the_protocol_has_no_twins() {
    let hub = FakeHub::new([]);
    hub.lock().abilities = Abilities::default();
    let client = spawn(&hub, options());
    assert!(matches!(client.twin().await, Err(TwinError::Unsupported(_))));
    let error = client.report(&json!({})).await.expect_err("unsupported");
    assert_eq!(error.fault(), Some(Fault::Unsupported));
    assert_eq!(
        client.desired().expect_err("unsupported").to_string(),
        "changes of desired properties are not possible over mqtt"
    );
    until_idle().await;
    assert!(hub.lock().watched.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_contains_everything_the_hub_said() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    hub.treats(&[Treatment::Refuse(400)]);
    let error = client.report(&json!({ "a": 1 })).await.expect_err("refused");
    assert_eq!((error.status(), error.fault()), (Some(400), Some(Fault::Service)));
    assert_eq!(error.refusal().and_then(|it| it.tracking_id.as_deref()), Some("t-1"));
    assert_eq!(error.to_string(), format!("{ENDPOINT} refused (exchange) with status 400"));

    // A hub that is busy until the deadline certainly did not apply the report. The error contains the hub's last
    // refusal.
    hub.treats(&[Treatment::Refuse(429); 20]);
    let started = tokio::time::Instant::now();
    let error = client.report(&json!({ "a": 1 })).await.expect_err("refused");
    assert_eq!(started.elapsed(), seconds(60));
    assert_eq!((error.status(), error.fault()), (Some(429), Some(Fault::Throttled)));
    let requests = hub.questions().len();
    assert!((5..=10).contains(&requests), "requested {requests} times");

    hub.lock().document.treatments.clear();
    hub.treats(&[Treatment::Garble]);
    let error = client.twin().await.expect_err("garbled");
    assert!(matches!(error, TwinError::Unreadable(_)) && error.fault() == Some(Fault::Peer), "{error:?}");
    client.twin().await.expect("a twin");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_whether_the_hub_may_have_the_request() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options()).twin_deadline(Some(seconds(40)));
    let started = tokio::time::Instant::now();
    hub.treats(&[Treatment::Silence; 20]);
    let error = client.report(&json!({ "a": 1 })).await.expect_err("silence");
    assert_eq!(started.elapsed(), seconds(40));
    assert!(error.is_deadline() && matches!(error, TwinError::Unknown { .. }), "{error:?}");
    assert_eq!(hub.questions().len(), 2, "again after 15 s; the next retry would come 30 s later");

    let hub = FakeHub::new([AttemptOutcome::Unreachable; 99]);
    let client = spawn(&hub, options()).twin_deadline(Some(seconds(40)));
    let error = client.twin().await.expect_err("no connection");
    let TwinError::NotSent { reason: UnconfirmedReason::Deadline { cause: Some(cause), after } } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((cause.fault(), *after), (Fault::Network, seconds(40)));
    assert!(error.fault() == Some(Fault::Network) && error.is_certainly_not_sent());
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_request_waits_as_long_as_the_client_lives() {
    let hub = FakeHub::new([AttemptOutcome::HangLogin; 200]);
    let client = spawn(&hub, options()).twin_deadline(None);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.twin().await }
    });
    tokio::time::sleep(seconds(3600)).await;
    assert!(!waiting.is_finished());
    client.close(seconds(1)).await.expect("every message is acknowledged");
    let error = waiting.await.expect("no panic").expect_err("closed");
    assert!(
        matches!(error, TwinError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Requested) }),
        "{error:?}"
    );
    assert_eq!(error.fault(), None);
    let error = client.twin().await.expect_err("closed");
    assert!(
        matches!(error, TwinError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Requested) }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_the_next_request_wait_within_its_deadline() {
    let hub = FakeHub::new([AttemptOutcome::HangLogin]);
    let client = spawn(&hub, options().twin_queue(2));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        waiting.push(tokio::spawn(async move { client.twin().await }));
        until_idle().await;
    }
    assert_eq!(client.shared.twin_room.available_permits(), 0);
    let hasty = client.clone().twin_deadline(Some(seconds(2)));
    let error = hasty.twin().await.expect_err("no room in time");
    assert!(error.is_deadline() && error.is_certainly_not_sent());
    // A cancelled request makes room.
    waiting[0].abort();
    until_idle().await;
    assert_eq!(client.shared.twin_room.available_permits(), 0, "the third request holds the permit");
    for waiting in waiting.drain(1..) {
        waiting.await.expect("no panic").expect("a twin");
    }
    until_idle().await;
    assert_eq!(hub.questions(), ["get", "get"], "the cancelled request is not sent");
    assert_eq!(client.shared.twin_room.available_permits(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_planned_renewal_waits_for_the_answer() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().token_lifetime(seconds(60)));
    client.connected().await.expect("a login");
    tokio::time::sleep(seconds(47)).await;
    assert_eq!(hub.opened(), 1);
    hub.treats(&[Treatment::Silence]);
    let report = tokio::spawn({
        let client = client.clone();
        async move { client.report(&json!({ "a": 1 })).await }
    });
    until_idle().await;
    until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
    until_idle().await;
    assert_eq!((hub.opened(), hub.disconnects()), (1, 0), "it waits");
    // During the renewal, the client sends no new request.
    let next = tokio::spawn({
        let client = client.clone();
        async move { client.report(&json!({ "a": 2 })).await }
    });
    until_idle().await;
    hub.answers_report(7);
    assert_eq!(report.await.expect("no panic").expect("reported").version, Some(7));
    next.await.expect("no panic").expect("reported");
    assert_eq!((hub.opened(), hub.disconnects()), (2, 1));
    let connections: Vec<usize> = hub.lock().document.requests.iter().map(|it| it.0).collect();
    assert_eq!(connections, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_reports_and_resolves_them() {
    // The program reports and closes in one step, before the task has taken the report or the close.
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    let (report, closed) =
        tokio::join!(async { client.report(&json!({ "a": 1 })).await }, async { client.close(seconds(5)).await });
    assert_eq!(report.expect("reported").version, Some(1));
    closed.expect("everything is acknowledged");
    assert_eq!(hub.reported(), json!({ "a": 1 }));

    // The first report gets no response from the hub. The second report waits behind it.
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    hub.treats(&[Treatment::Silence]);
    let started = tokio::time::Instant::now();
    let (first, second, closed) = tokio::join!(
        async { client.report(&json!({ "a": 1 })).await },
        async { client.report(&json!({ "a": 2 })).await },
        async { client.close(seconds(5)).await }
    );
    assert_eq!(started.elapsed(), seconds(5));
    assert!(
        matches!(first, Err(TwinError::Unknown { reason: UnconfirmedReason::Closed(CloseReason::Requested) })),
        "{first:?}"
    );
    assert!(
        matches!(second, Err(TwinError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Requested) })),
        "{second:?}"
    );
    closed.expect("every message is acknowledged");
    assert_eq!(hub.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_resolves_every_twin_request() {
    let hub = FakeHub::new([AttemptOutcome::PanicAfterLogin]);
    let client = spawn(&hub, options());
    let mut desired = client.desired().expect("twins");
    let error = client.twin().await.expect_err("the task ended");
    assert!(
        matches!(error, TwinError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Aborted) }),
        "{error:?}"
    );
    assert!(matches!(desired.changed().await, Err(CloseReason::Aborted)));
}

#[tokio::test(start_paused = true)]
async fn a_follower_gets_the_state_and_then_each_newer_one() {
    let hub = FakeHub::new([]);
    hub.desire(json!({ "a": 1 }));
    let client = spawn(&hub, options());
    let mut desired = client.desired().expect("twins");
    assert_eq!(desired.latest(), None);
    assert_eq!(changed(&mut desired).await, (1, json!({ "a": 1 })));
    assert_eq!(hub.lock().watched, [(1, Feature::TwinResponses), (1, Feature::Desired)], "before the twin is read");
    hub.desire(json!({ "a": null, "b": { "c": 2 } }));
    assert_eq!(changed(&mut desired).await, (2, json!({ "b": { "c": 2 } })));
    assert_eq!(hub.questions(), ["get"], "notices need no further fetch");

    // A late receiver gets the current state at once. A slow receiver skips to the newest state.
    let mut late = client.desired().expect("twins");
    assert_eq!(changed(&mut late).await.0, 2);
    for n in 0..5 {
        hub.desire(json!({ "n": n }));
        until_idle().await;
    }
    assert_eq!(desired.latest().map(|it| it.version), Some(7));
    assert_eq!(changed(&mut desired).await, (7, json!({ "b": { "c": 2 }, "n": 4 })));
    assert_eq!(changed(&mut late.clone()).await.0, 7);
    assert_eq!(changed(&mut late).await.0, 7);
    assert!(poll_times(5, desired.changed()).await.is_none(), "no newer state exists");

    // After a reconnect, the client fetches what it missed.
    hub.lock().outcomes.push_back(AttemptOutcome::Unreachable);
    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    hub.lock().document.twin.desired.values.clear();
    let version = hub.desire(json!({ "new": true }));
    assert_eq!(changed(&mut desired).await, (version, json!({ "new": true })));

    // A receiver returns the last known state before the end of the client. A receiver does not keep the client alive.
    let version = hub.desire(json!({ "last": true }));
    until_idle().await;
    drop(client);
    until_idle().await;
    assert_eq!(changed(&mut desired).await.0, version);
    assert!(matches!(desired.changed().await, Err(CloseReason::Dropped)));
    assert!(matches!(desired.changed().await, Err(CloseReason::Dropped)), "every call returns the reason");
    assert_eq!((desired.latest().map(|it| it.version), hub.alive()), (Some(version), 0));
}

#[tokio::test(start_paused = true)]
async fn oversized_desired_properties_end_the_connection_and_lose_no_message() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let mut desired = client.desired().expect("twins");
    assert_eq!(changed(&mut desired).await.0, 0);
    for n in 0..40 {
        hub.desire(json!({ format!("p{n}"): "x".repeat(2000) }));
        until_idle().await;
    }
    let last = desired.latest().expect("a state");
    assert!(last.version > 8 && last.version < 40, "{last:?}");
    assert!(client.state().borrow().is_connected(), "the client reads the twin before it ends the connection");
    until_state(&client, |it| matches!(it, ConnectionState::Disconnected { .. })).await;
    assert_eq!(hub.questions(), ["get", "get"], "one more fetch, because of the bound");
    let cause = client.last_error().expect("a cause");
    assert_eq!((cause.fault(), cause.to_string()), (Fault::Peer, format!("{ENDPOINT} broke the protocol (exchange)")));
    let chain = cause.transport_error().expect("an error").chain();
    assert!(chain.contains("the set of desired properties has "), "{chain}");
    assert_eq!(desired.latest(), Some(last), "the last state within the bounds");

    // On the next connection, the client works as before.
    let receipt = client.enqueue(Message::new("kept")).await.expect("there is room");
    hub.lock().document.twin.desired.values.clear();
    receipt.await.expect("an acknowledgement");
    let newest = loop {
        let newest = changed(&mut desired).await;
        if newest.0 == 40 {
            break newest;
        }
    };
    assert_eq!(newest, (40, json!({})));
    assert!(hub.opened() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_the_program_reads_updates_the_followers_too() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let mut desired = client.desired().expect("twins");
    assert_eq!(changed(&mut desired).await.0, 0);
    // A change whose notice gets lost.
    hub.lock().document.twin.desired = Properties::new(3, object(json!({ "v": 3 })));
    assert_eq!(client.twin().await.expect("a twin").desired.version, 3);
    assert_eq!(changed(&mut desired).await, (3, json!({ "v": 3 })));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_at_any_await_is_sent_completely_or_not_at_all() {
    for times in 0..12 {
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options().twin_queue(1));
        let mut desired = client.desired().expect("twins");
        let finished = poll_times(times, client.report(&json!({ "a": times }))).await.is_some();
        let _state = poll_times(times, desired.changed()).await;
        until_idle().await;
        let written = hub.questions().iter().filter(|it| *it != "get").count();
        assert!(written <= 1 && (written == 1 || !finished), "{times}");
        assert_eq!(client.shared.twin_room.available_permits(), 1, "no room leaked");
        client.report(&json!({ "b": 1 })).await.expect("reported");
        client.twin().await.expect("a twin");
        assert_eq!(desired.latest().map(|it| it.version), Some(0));
        client.close(seconds(5)).await.expect("everything is acknowledged");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_still_works_after_thousands_of_dropped_requests() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options().twin_queue(3).twin_deadline(None).seed(Some(seed)));
        let mut desired = client.desired().expect("twins");
        for n in 0..300 {
            let times = rng.usize(..6);
            match rng.u8(..4) {
                0 => drop(poll_times(times, client.twin()).await),
                1 => drop(poll_times(times, desired.changed()).await),
                _ => drop(poll_times(times, client.report(&json!({ "n": n }))).await),
            }
            match rng.u8(..12) {
                0 => hub.cut(),
                1 => hub.treats(&[Treatment::Silence]),
                2 => hub.treats(&[Treatment::Refuse(500)]),
                3 => hub.treats(&[Treatment::Cut]),
                4 => tokio::time::advance(Duration::from_millis(rng.u64(..20_000))).await,
                _ => {}
            }
        }
        hub.lock().document.treatments.clear();
        let version = hub.desire(json!({ "done": seed }));
        client.report(&json!({ "done": seed })).await.expect("reported");
        assert_eq!(hub.reported()["done"], json!(seed));
        while desired.latest().is_none_or(|it| it.version != version) {
            desired.changed().await.expect("the client lives");
        }
        assert_eq!(client.shared.twin_room.available_permits(), 3, "no room leaked, seed {seed}");
        client.close(seconds(5)).await.expect("everything is acknowledged");
        assert_eq!(hub.alive(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_at_any_moment_resolves_every_report_truthfully() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options().twin_queue(2).seed(Some(seed)));
        let mut desired = client.desired().expect("twins");
        let follower = tokio::spawn(async move { while desired.changed().await.is_ok() {} });
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut results = Vec::new();
                    for n in 0..1000 {
                        let key = format!("{asker}-{n}");
                        let outcome = client.report(&BTreeMap::from([(&key, true)])).await;
                        let ended = outcome.is_err();
                        results.push((key, outcome));
                        if ended {
                            break;
                        }
                    }
                    results
                })
            })
            .collect();
        for _ in 0..rng.usize(..200) {
            tokio::task::yield_now().await;
        }
        if rng.u8(..3) == 0 {
            hub.cut();
        }
        let _left = client.close(Duration::ZERO).await;
        follower.await.expect("no panic");
        for asker in askers {
            let results = asker.await.expect("no panic");
            let reported = hub.reported();
            for (key, outcome) in results {
                match outcome {
                    Ok(_) => assert!(reported.get(&key).is_some(), "{key} was never reported, seed {seed}"),
                    Err(error) if error.is_certainly_not_sent() => {
                        assert!(reported.get(&key).is_none(), "{key} was reported, seed {seed}: {error:?}");
                    }
                    Err(_) => {}
                }
            }
        }
        assert_eq!(hub.alive(), 0);
    }
}
