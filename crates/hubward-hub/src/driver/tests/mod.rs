//! Tests the driver and the handle, with a hub in memory and with paused time.

mod cancel;
mod certificate;
mod certificate_requests;
mod clocks;
mod cloud;
mod ends;
mod fake;
mod methods;
mod moves;
mod room;
mod twin;

use std::time::Duration;

use hubward_proto::limits;
use hubward_transport::{Credential, CredentialError, HubIdentity, HubLogin, ProtoError, SharedKey, Signer};

use self::fake::{AckMode, AttemptOutcome, ENDPOINT, FakeHub, Taken};
use crate::{
    CloseReason, ConnectionState, DisconnectCause, HubClient, HubOptions, Message, SendError, TryEnqueueError,
    UnconfirmedReason,
};

const KEY: &str = "c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5LXNlY3I=";

fn login() -> HubLogin {
    HubLogin::new(HubIdentity::new("hub.example".parse().expect("a host"), "dev-1".parse().expect("an id")))
}

fn credential() -> Credential {
    Credential::SharedKey(SharedKey::from_base64(KEY).expect("a key"))
}

fn options() -> HubOptions {
    HubOptions::default().seed(Some(1))
}

fn spawn(hub: &FakeHub, options: HubOptions) -> HubClient {
    HubClient::spawn(hub.boxed(), login(), credential(), options)
}

fn seconds(from: u64) -> Duration {
    Duration::from_secs(from)
}

/// Lets every task run until it waits.
async fn until_idle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Waits for a state. Follows the states in its own task, so that it also sees short-lived states.
async fn until_state(client: &HubClient, wanted: impl FnMut(&ConnectionState) -> bool + Send + 'static) {
    let mut state = client.state();
    tokio::spawn(async move { drop(state.wait_for(wanted).await.expect("the client lives")) }).await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_and_acknowledged() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    client.send(Message::new("one")).await.expect("an acknowledgement");
    client.enqueue(Message::new("two")).await.expect("room").await.expect("an acknowledgement");
    let closed = client.close(seconds(5)).await.expect("everything is acknowledged");
    assert!(matches!(closed.reason, CloseReason::Requested));
    assert_eq!(hub.bodies(), ["one", "two"]);
    assert_eq!((hub.disconnects(), hub.alive()), (1, 0));
    assert_eq!(&*client.endpoint(), ENDPOINT);
}

#[tokio::test(start_paused = true)]
async fn messages_queued_before_the_login_leave_in_one_write() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().window(64));
    let mut receipts = Vec::new();
    for number in 0..100 {
        receipts.push(client.enqueue(Message::new(number.to_string())).await.expect("room"));
    }
    client.connected().await.expect("a login");
    until_idle().await;
    assert_eq!(hub.lock().writes, [64], "the window in one write");
    hub.acknowledge(64);
    until_idle().await;
    assert_eq!(hub.lock().writes, [64, 36]);
    hub.acknowledge(36);
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    assert_eq!(hub.bodies(), (0..100).map(|it| it.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_small_buffer_gets_every_message() {
    let hub = FakeHub::new([]);
    hub.lock().buffer = 3;
    let client = spawn(&hub, options());
    let mut receipts = Vec::new();
    for number in 0..1000 {
        receipts.push(client.enqueue(Message::new(number.to_string())).await.expect("room"));
    }
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    assert!(hub.lock().writes.iter().all(|it| *it <= 3));
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_messages_are_sent_again_in_order_after_a_reconnect() {
    let hub = FakeHub::new([AttemptOutcome::Accept, AttemptOutcome::Unreachable]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options());
    let mut state = client.state();
    let mut receipts = Vec::new();
    for body in ["a", "b", "c"] {
        receipts.push(client.enqueue(Message::new(body)).await.expect("room"));
    }
    client.connected().await.expect("a login");
    until_idle().await;
    hub.acknowledge(1);
    until_idle().await;
    hub.cut();
    let cause = |state: &ConnectionState| match state {
        ConnectionState::Disconnected { cause, attempt, .. } => Some((cause.clone(), *attempt)),
        _ => None,
    };
    let first = cause(&state.wait_for(|it| cause(it).is_some()).await.expect("alive")).expect("a cause");
    assert_eq!((first.0.to_string(), first.1), (format!("{ENDPOINT} closed the connection (exchange)"), 1));
    let second = cause(&state.wait_for(|it| cause(it).is_some_and(|it| it.1 == 2)).await.expect("alive"));
    assert_eq!(second.expect("a cause").0.to_string(), format!("could not connect to {ENDPOINT}"));
    receipts.push(client.enqueue(Message::new("d")).await.expect("room"));
    client.connected().await.expect("a login");
    assert!(client.last_error().is_none());
    until_idle().await;
    hub.acknowledge(3);
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    let taken = |connection, tag, again, body: &str| Taken { connection, tag, again, body: body.into() };
    assert_eq!(
        hub.lock().taken[3..],
        [taken(3, 2, true, "b"), taken(3, 3, true, "c"), taken(3, 4, false, "d")],
        "repeated messages keep their ids, are marked, and come first"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_first_login_ends_the_client_and_says_why() {
    let hub = FakeHub::new([AttemptOutcome::Refuse(5)]);
    let client = spawn(&hub, options());
    let receipt = client.enqueue(Message::new("m").message_id("m-1")).await.expect("room");
    let error = client.connected().await.expect_err("refused");
    let reason = error.reason();
    assert!(matches!(reason, CloseReason::Refused(_)) && reason.suggests_reprovisioning());
    assert_eq!(reason.to_string(), format!("{ENDPOINT} refused the login: not authorized (CONNACK 5)"));
    let not_sent = receipt.await.expect_err("not sent");
    assert!(
        matches!(not_sent, SendError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Refused(_)), .. }),
        "{not_sent:?}"
    );
    assert_eq!(not_sent.fault(), error.fault());
    let error = client.close(seconds(5)).await.expect_err("a message is unacknowledged");
    assert_eq!(error.closed().not_sent[0].id.as_deref(), Some("m-1"));
    assert_eq!((hub.opened(), hub.alive()), (1, 0));
    assert!(matches!(client.closed().await, CloseReason::Refused(_)));
}

#[tokio::test(start_paused = true)]
async fn failures_before_the_first_login_are_retried_and_reported_by_last_error() {
    let hub = FakeHub::new([
        AttemptOutcome::Unreachable,
        AttemptOutcome::Refuse(3),
        AttemptOutcome::HangOpening,
        AttemptOutcome::HangLogin,
    ]);
    let client = spawn(&hub, options());
    let wait = tokio::time::timeout(Duration::from_millis(1), client.connected()).await;
    assert!(wait.is_err(), "the caller sets a timeout");
    assert!(matches!(client.last_error(), Some(DisconnectCause::Transport(_))));
    client.connected().await.expect("succeeds after the retries");
    assert_eq!(hub.opened(), 5);
    assert_eq!(hub.alive(), 1, "the attempts that hung are dropped");
}

#[tokio::test(start_paused = true)]
async fn after_a_first_success_a_refusal_does_not_end_the_client() {
    let hub = FakeHub::new([AttemptOutcome::Accept, AttemptOutcome::Refuse(5), AttemptOutcome::Refuse(5)]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    hub.cut();
    until_state(
        &client,
        |it| matches!(it, ConnectionState::Disconnected { cause, .. } if cause.suggests_reprovisioning()),
    )
    .await;
    client.send(Message::new("m")).await.expect("succeeds after the retries");
    assert_eq!(hub.opened(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_its_permits_return() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().window(2).queue(3));
    client.connected().await.expect("a login");
    let mut receipts = Vec::new();
    for number in 0..5 {
        receipts.push(client.enqueue(Message::new(number.to_string())).await.expect("room"));
        until_idle().await;
    }
    let full = client.try_enqueue(Message::new("5").message_id("m-5")).expect_err("two in flight, three waiting");
    assert!(matches!(full, TryEnqueueError::Full(_)));
    let message = full.into_message();
    assert_eq!(message.id(), Some("m-5"));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.enqueue(message).await }
    });
    until_idle().await;
    assert!(!waiting.is_finished());
    hub.acknowledge(1);
    receipts.push(waiting.await.expect("no panic").expect("room"));
    hub.lock().ack_mode = AckMode::AtOnce;
    hub.acknowledge(2);
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    assert_eq!(client.room(), 3, "all permits are available");
}

#[tokio::test(start_paused = true)]
async fn deadlines_count_from_enqueue_and_say_whether_the_hub_may_have_the_message() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().window(1).queue(1).send_deadline(Some(seconds(10))));
    let started = tokio::time::Instant::now();
    let written = client.enqueue(Message::new("written")).await.expect("room");
    client.connected().await.expect("a login");
    until_idle().await;
    let queued = client.enqueue(Message::new("queued")).await.expect("room");
    let hasty = client.clone().send_deadline(Some(seconds(2)));
    let outside = hasty.enqueue(Message::new("outside")).await.expect_err("no room in time");
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(outside.is_deadline() && outside.is_certainly_not_sent());
    let queued = queued.await.expect_err("too late");
    assert!(queued.is_deadline() && queued.is_certainly_not_sent(), "{queued:?}");
    let written = written.await.expect_err("no answer");
    assert!(written.is_deadline() && !written.is_certainly_not_sent(), "{written:?}");
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(hub.bodies(), ["written"]);
    // After the late acknowledgement, the client sends messages again.
    hub.acknowledge(1);
    hub.lock().ack_mode = AckMode::AtOnce;
    client.send(Message::new("next")).await.expect("an acknowledgement");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_can_never_be_sent_is_refused_and_blocks_no_other() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let huge = vec![b'x'; limits::TELEMETRY_MAX];
    let error = client.enqueue(Message::new(huge.clone()).property("k", "v")).await.expect_err("too large");
    let SendError::Refused { source: ProtoError::TooLarge { size, limit, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((size, limit), (limits::TELEMETRY_MAX + 2, limits::TELEMETRY_MAX));
    let error = client.try_enqueue(Message::new(huge).flag("k")).expect_err("too large");
    assert!(matches!(error, TryEnqueueError::Refused { .. }));
    let impossible = client.enqueue(Message::new("impossible")).await.expect("room");
    let behind = client.enqueue(Message::new("behind")).await.expect("room");
    assert!(matches!(impossible.await, Err(SendError::Refused { .. })));
    behind.await.expect("an acknowledgement");
}

#[tokio::test(start_paused = true)]
async fn ten_renewals_under_load_lose_no_message_and_report_no_failure() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().token_lifetime(seconds(6)));
    client.connected().await.expect("a login");
    let mut state = client.state();
    let watcher = tokio::spawn(async move {
        let mut renewals = 0;
        while state.changed().await.is_ok() {
            match &*state.borrow_and_update() {
                ConnectionState::Renewing => renewals += 1,
                ConnectionState::Connected => {}
                ConnectionState::Closed { .. } => break,
                other => panic!("a renewal was reported as {other:?}"),
            }
        }
        renewals
    });
    let mut receipts = Vec::new();
    while hub.opened() <= 10 {
        receipts.push(client.enqueue(Message::new(receipts.len().to_string())).await.expect("room"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = receipts.len();
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    client.close(seconds(5)).await.expect("everything is acknowledged");
    assert!(watcher.await.expect("no failure was reported") >= 10);
    assert!(hub.lock().taken.iter().all(|it| !it.again), "no message was in flight during the change");
    assert_eq!(hub.bodies(), (0..sent).map(|it| it.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_in_place_if_the_transport_can() {
    let hub = FakeHub::new([]);
    hub.lock().renew_in_place = true;
    let client = spawn(&hub, options().token_lifetime(seconds(60)));
    client.connected().await.expect("a login");
    until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
    client.connected().await.expect("still");
    client.send(Message::new("m")).await.expect("an acknowledgement");
    assert_eq!(hub.lock().renewed, 2, "asked twice for one renewal");
    assert_eq!(hub.opened(), 1);
}

#[derive(Debug)]
struct CountingSigner(std::sync::Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Signer for CountingSigner {
    async fn sign(&self, message: &[u8]) -> Result<[u8; 32], CredentialError> {
        let mut signed = self.0.lock().expect("no panic");
        signed.push(String::from_utf8_lossy(message).into_owned());
        if signed.len() == 2 { Err(CredentialError::Signer("busy".into())) } else { Ok([7; 32]) }
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_signs_its_own_token() {
    let signer = std::sync::Arc::new(CountingSigner(std::sync::Mutex::default()));
    let hub = FakeHub::new([]);
    let client = HubClient::spawn(hub.boxed(), login(), Credential::Signer(signer.clone()), options());
    client.connected().await.expect("a login");
    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    client.connected().await.expect("a login");
    let signed = signer.0.lock().expect("no panic").clone();
    assert_eq!(signed.len(), 3, "{signed:?}");
    assert!(signed.iter().all(|it| it.starts_with("hub.example%2Fdevices%2Fdev-1\n")), "{signed:?}");
}

#[tokio::test(start_paused = true)]
async fn no_debug_output_contains_the_key() {
    let hub = FakeHub::new([AttemptOutcome::Accept, AttemptOutcome::Refuse(5)]);
    let client = spawn(&hub, options());
    let receipt = client.enqueue(Message::new("m")).await.expect("room");
    client.connected().await.expect("a login");
    hub.cut();
    until_state(&client, |it| matches!(it, ConnectionState::Disconnected { .. })).await;
    let text = format!("{client:?} {receipt:?} {:?} {:?}", client.last_error(), options());
    assert!(text.contains("hub.example") && !text.contains("secret-canary") && !text.contains(&KEY[..20]), "{text}");
}
