//! Clients whose provider moves them: what reaches the wire, and what stays valid.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hubward_transport::{Abilities, CertificateOutcome, CertificateResponse, Csr, Downstream, Feature, TransportKind};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fake::Taken;
use super::*;
use crate::{HubDecision, HubEvent, HubProvider, HubTarget, IssuanceError, IssuanceRequest};

/// Makes the answer to an event.
type Answer = Box<dyn FnOnce(&HubEvent) -> HubDecision + Send>;

/// A provider that follows a script, and records the events. After the script, it keeps the target.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    events: Arc<Mutex<Vec<String>>>,
    /// If set, each decision about a failure waits for this signal.
    gate: Option<Arc<Notify>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    fn new(first: HubTarget) -> Self {
        let script = Self::default();
        script.then(move |_| HubDecision::connect(first));
        script
    }

    /// Answers the next event that is not an acceptance.
    fn then(&self, answer: impl FnOnce(&HubEvent) -> HubDecision + Send + 'static) {
        self.answers.lock().expect("no panic").push_back(Box::new(answer));
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().expect("no panic").clone()
    }

    fn spawn(&self, options: HubOptions) -> HubClient {
        HubClient::spawn_with_provider(Box::new(self.clone()), options)
    }
}

#[async_trait]
impl HubProvider for Script {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn abilities(&self) -> Abilities {
        FakeHub::new([]).boxed().abilities()
    }

    async fn decide(&mut self, event: HubEvent) -> HubDecision {
        let text = match &event {
            HubEvent::Started => "started".to_owned(),
            HubEvent::Accepted => "accepted".to_owned(),
            HubEvent::Requested => "requested".to_owned(),
            HubEvent::Failed(it) if it.accepted_for.is_some() => format!("lost {}", it.failures),
            HubEvent::Failed(it) => format!("failed {}", it.failures),
        };
        self.events.lock().expect("no panic").push(text);
        if let (HubEvent::Failed(_), Some(gate)) = (&event, &self.gate) {
            gate.notified().await;
        }
        if matches!(event, HubEvent::Accepted) {
            return HubDecision::STAY;
        }
        let answer = self.answers.lock().expect("no panic").pop_front();
        answer.map_or(HubDecision::STAY, |it| it(&event))
    }
}

fn at(hub: &FakeHub, device: &str) -> HubTarget {
    let host = "hub.example".parse().expect("a host");
    let login = HubLogin::new(HubIdentity::new(host, device.parse().expect("an id")));
    HubTarget::new(hub.boxed(), login, credential())
}

fn taken(hub: &FakeHub) -> Vec<(u16, bool, String)> {
    hub.lock().taken.iter().map(|Taken { tag, again, body, .. }| (*tag, *again, body.clone())).collect()
}

fn text(tag: u16, again: bool, body: &str) -> (u16, bool, String) {
    (tag, again, body.to_owned())
}

#[tokio::test(start_paused = true)]
async fn after_a_move_unacknowledged_messages_come_first_with_new_ids_and_without_dup() {
    let (old, new) = (FakeHub::new([]).acknowledging(AckMode::Manual), FakeHub::new([]));
    let script = Script::new(at(&old, "dev-1"));
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    let mut receipts = Vec::new();
    for body in ["a", "b", "c"] {
        receipts.push(client.enqueue(Message::new(body)).await.expect("room"));
    }
    until_idle().await;
    old.acknowledge(1);
    until_idle().await;
    let next = at(&new, "dev-2");
    script.then(move |_| HubDecision::connect(next));
    old.cut();
    let d = client.enqueue(Message::new("d")).await.expect("room");
    receipts.push(d);
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    assert_eq!(taken(&old), [text(1, false, "a"), text(2, false, "b"), text(3, false, "c")]);
    assert_eq!(taken(&new), [text(1, false, "b"), text(2, false, "c"), text(3, false, "d")]);
    assert_eq!((old.alive(), new.alive()), (0, 1));
    assert_eq!(client.login().expect("a hub").identity.device.as_str(), "dev-2");
    assert_eq!(script.events(), ["started", "accepted", "lost 1", "accepted"]);
}

#[tokio::test(start_paused = true)]
async fn another_credential_for_the_same_identity_keeps_ids_and_dup() {
    let (old, new) = (FakeHub::new([]).acknowledging(AckMode::Manual), FakeHub::new([]));
    let script = Script::new(at(&old, "dev-1"));
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    let receipts = [client.enqueue(Message::new("a")).await, client.enqueue(Message::new("b")).await];
    until_idle().await;
    old.acknowledge(1);
    until_idle().await;
    let next = at(&new, "dev-1");
    script.then(move |_| HubDecision::connect(next));
    old.cut();
    for receipt in receipts {
        receipt.expect("room").await.expect("an acknowledgement");
    }
    assert_eq!(taken(&new), [text(2, true, "b")]);
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_waits_for_acknowledgements_and_disconnects_in_an_orderly_way() {
    let (old, new) = (FakeHub::new([]).acknowledging(AckMode::Manual), FakeHub::new([]));
    let script = Script::new(at(&old, "dev-1"));
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    let a = client.enqueue(Message::new("a")).await.expect("room");
    until_idle().await;
    let next = at(&new, "dev-1");
    script.then(move |_| HubDecision::connect(next));
    client.ask_provider();
    until_idle().await;
    let b = client.enqueue(Message::new("b")).await.expect("room");
    until_idle().await;
    assert_eq!((old.opened(), old.disconnects(), new.opened()), (1, 0, 0), "`a` is not acknowledged yet");
    assert!(matches!(*client.state().borrow(), ConnectionState::Renewing));
    old.acknowledge(1);
    a.await.expect("an acknowledgement");
    b.await.expect("an acknowledgement");
    assert_eq!((old.disconnects(), old.alive()), (1, 0));
    assert_eq!((taken(&old), taken(&new)), (vec![text(1, false, "a")], vec![text(2, false, "b")]));
    assert_eq!(script.events(), ["started", "accepted", "requested", "accepted"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_credential_that_the_hub_refuses_was_never_accepted() {
    let old = FakeHub::new([]);
    let new = FakeHub::new([AttemptOutcome::Refuse(5)]);
    let script = Script::new(at(&old, "dev-1"));
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    let (next, back) = (at(&new, "dev-1"), at(&old, "dev-1"));
    script.then(move |_| HubDecision::connect(next));
    script.then(move |_| HubDecision::connect(back));
    client.ask_provider();
    until_idle().await;
    client.send(Message::new("a")).await.expect("an acknowledgement");
    assert_eq!(script.events(), ["started", "accepted", "requested", "failed 1", "accepted"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_hub_queues_expires_and_closes() {
    let script = Script::default();
    script.then(|_| HubDecision::Stay { at_least: seconds(60) });
    let client = script.spawn(options().send_deadline(Some(seconds(10))));
    assert!(client.login().is_none());
    assert_eq!((&*client.endpoint(), client.kind()), ("no hub yet", TransportKind::Mqtt));
    assert!(client.serve_method("reboot", |_| async { Ok(crate::MethodResponse::new(200)) }).is_ok());
    let expires = client.enqueue(Message::new("a")).await.expect("room");
    let started = Instant::now();
    let error = expires.await.expect_err("no hub");
    assert!(error.is_certainly_not_sent() && error.is_deadline(), "{error}");
    assert_eq!(started.elapsed().as_secs(), 10);
    assert!(matches!(*client.state().borrow(), ConnectionState::FindingHub));
    tokio::time::sleep(seconds(49)).await;
    assert_eq!(script.events(), ["started"]);
    tokio::time::sleep(seconds(1)).await;
    until_idle().await;
    assert_eq!(script.events(), ["started", "started"], "the client asks again after the wait");
    let waits = client.enqueue(Message::new("b")).await.expect("room");
    let error = client.close(seconds(1)).await.expect_err("`b` was not sent");
    assert_eq!(error.closed().not_sent.len(), 1);
    assert!(waits.await.expect_err("closed").is_certainly_not_sent());
}

#[tokio::test(start_paused = true)]
async fn while_the_provider_decides_about_a_failure_the_client_makes_no_attempt() {
    let hub = FakeHub::new([]);
    let gate = Arc::new(Notify::new());
    let script = Script { gate: Some(gate.clone()), ..Script::new(at(&hub, "dev-1")) };
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    hub.cut();
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!((hub.opened(), hub.alive()), (1, 0));
    assert!(matches!(*client.state().borrow(), ConnectionState::FindingHub));
    let sent = client.enqueue(Message::new("a")).await.expect("room");
    gate.notify_one();
    sent.await.expect("an acknowledgement");
    assert_eq!(hub.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_decision_to_stay_delays_the_next_attempt() {
    let hub = FakeHub::new([]);
    let script = Script::new(at(&hub, "dev-1"));
    let client = script.spawn(options());
    client.connected().await.expect("a login");
    script.then(|_| HubDecision::Stay { at_least: seconds(600) });
    hub.cut();
    until_idle().await;
    let ConnectionState::Disconnected { attempt: 1, next_try, .. } = *client.state().borrow() else { panic!("a wait") };
    assert!(next_try >= Instant::now() + seconds(600));
    tokio::time::sleep(seconds(599)).await;
    assert_eq!(hub.opened(), 1);
    client.connected().await.expect("a login");
    assert_eq!(hub.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_ends_the_client_and_its_error_is_the_reason() {
    let hub = FakeHub::new([AttemptOutcome::Refuse(5)]);
    let script = Script::new(at(&hub, "dev-1"));
    script.then(|_| HubDecision::End(Arc::new(std::io::Error::other("the device is gone"))));
    let client = script.spawn(options());
    let sent = client.enqueue(Message::new("a")).await.expect("room");
    let reason = client.closed().await;
    assert_eq!(reason.to_string(), "the device is gone");
    assert!(sent.await.expect_err("the client has ended").is_certainly_not_sent());
}

#[tokio::test(start_paused = true)]
async fn handlers_receivers_and_reports_survive_a_move_and_the_new_twin_is_read_at_once() {
    let (old, new) = (FakeHub::new([]), FakeHub::new([]));
    for (hub, version, interval) in [(&old, 40, 5), (&new, 1, 60)] {
        hub.lock().document.set_desired(version, [("interval".to_owned(), json!(interval))].into_iter().collect());
    }
    let script = Script::new(at(&old, "dev-1"));
    let client = script.spawn(options());
    let mut desired = client.desired().expect("twins");
    client.serve_method("ping", |_| async { Ok(crate::MethodResponse::new(200)) }).expect("methods");
    assert_eq!(desired.changed().await.expect("a state").version, 40);
    let next = at(&new, "dev-2");
    script.then(move |_| HubDecision::connect(next));
    old.cut();
    let started = Instant::now();
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, state.values["interval"].as_u64()), (1, Some(60)));
    assert_eq!(started.elapsed().as_secs(), 0, "an older version needs no confirmation at a new hub");
    let features: Vec<_> = new.lock().watched.iter().map(|(_, feature)| *feature).collect();
    for feature in [Feature::Methods, Feature::TwinResponses, Feature::Desired] {
        assert!(features.contains(&feature), "{feature} is not subscribed at the new hub");
    }
    client.report(&json!({"firmware": "2"})).await.expect("a report");
}

/// A request that is made before there is a hub waits. It follows the client to each hub with the same id, and ends at
/// a login that does not allow it.
#[tokio::test(start_paused = true)]
async fn a_certificate_request_follows_the_client_to_a_login_that_allows_it() {
    let allowing = |hub: &FakeHub, device: &str| {
        let mut target = at(hub, device);
        target.login.certificate_requests = true;
        target
    };
    for last_allows in [true, false] {
        let (first, last) = (FakeHub::new([]), FakeHub::new([]));
        let script = Script::new(allowing(&first, "dev-1"));
        let client = script.spawn(options());
        let request = IssuanceRequest::new(Csr::new("AAAA").expect("base64")).id("one1".parse().expect("an id"));
        let task = tokio::spawn({
            let client = client.clone();
            async move { client.request_certificate(request).await }
        });
        client.connected().await.expect("a login");
        until_idle().await;
        assert_eq!(first.lock().certificate_requests, [(1, "one1".to_owned())]);

        let next = if last_allows { allowing(&last, "dev-1") } else { at(&last, "dev-1") };
        script.then(move |_| HubDecision::connect(next));
        first.cut();
        until_state(&client, |it| !it.is_connected()).await;
        client.connected().await.expect("a login");
        until_idle().await;
        if last_allows {
            assert_eq!(last.lock().certificate_requests, [(1, "one1".to_owned())]);
            let outcome = CertificateOutcome::Issued(vec!["MIIB".to_owned()]);
            let response = CertificateResponse { id: "one1".to_owned(), outcome };
            last.send_event(Downstream::Certificate(Box::new(response)));
            assert_eq!(task.await.expect("no panic").expect("a chain"), ["MIIB"]);
        } else {
            let error = task.await.expect("no panic").expect_err("the login does not allow it");
            assert!(matches!(error, IssuanceError::Invalid(_)), "{error:?}");
            assert_eq!(last.lock().certificate_requests, []);
            assert_eq!(last.lock().watched, [], "no subscription reached the hub");
            client.send(Message::new("a")).await.expect("the client works on");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_credentials_wait_for_the_retry_after_of_the_hub_and_another_hub_does_not() {
    let hub = FakeHub::new([AttemptOutcome::Throttle(600)]);
    let script = Script::new(at(&hub, "dev-1"));
    for _ in 0..2 {
        let again = at(&hub, "dev-1");
        script.then(move |_| HubDecision::connect(again));
    }
    let client = script.spawn(options());
    until_idle().await;
    tokio::time::sleep(seconds(300)).await;
    client.ask_provider();
    tokio::time::sleep(seconds(299)).await;
    assert_eq!((hub.opened(), script.events()), (1, vec!["started".into(), "failed 1".into(), "requested".into()]));
    client.connected().await.expect("a login");
    assert_eq!(hub.opened(), 2);

    let (busy, other) = (FakeHub::new([AttemptOutcome::Throttle(600)]), FakeHub::new([]));
    let script = Script::new(at(&busy, "dev-1"));
    let elsewhere = at(&other, "dev-2");
    script.then(move |_| HubDecision::connect(elsewhere));
    let (client, started) = (script.spawn(options()), Instant::now());
    client.connected().await.expect("a login");
    assert!(started.elapsed() < seconds(1));
}
