//! Tests of received messages: when the client subscribes to them, and what happens to each message.

use fastrand::Rng;
use hubward_proto::hub::PropertyBag;
use hubward_transport::{Abilities, Delivery, Disposition, Downstream, Feature, IncomingMessage, Lock, Reply};

use super::cancel::poll_times;
use super::*;
use crate::{CloudMessage, HubCounts, ReceiveError, SettleError};

impl FakeHub {
    /// Delivers a message that needs an acknowledgement. The number `lock` is the lock of the message and also its
    /// body.
    fn deliver(&self, lock: u64) {
        self.deliver_as(Some(lock), IncomingMessage::new(lock.to_string(), PropertyBag::default()));
    }

    fn deliver_as(&self, lock: Option<u64>, message: IncomingMessage) {
        self.send_event(Downstream::Message(Box::new(Delivery { lock: lock.map(Lock), message })));
    }

    /// The settlements: connection, lock, disposition.
    fn settled(&self) -> Vec<(usize, u64, Disposition)> {
        let hub = self.lock();
        let settled = hub.replies.iter().filter_map(|(connection, reply)| match reply {
            Reply::Settle { lock, disposition } => Some((*connection, lock.0, *disposition)),
            Reply::Release { .. } => None,
            other => panic!("{other:?}"),
        });
        settled.collect()
    }

    /// The released messages: connection and lock.
    fn released(&self) -> Vec<(usize, u64)> {
        let hub = self.lock();
        let released = hub.replies.iter().filter_map(|(connection, reply)| match reply {
            Reply::Release { lock } => Some((*connection, lock.0)),
            _ => None,
        });
        released.collect()
    }
}

fn body(message: &CloudMessage) -> String {
    String::from_utf8(message.body.to_vec()).expect("text")
}

async fn connected(hub: &FakeHub, options: HubOptions) -> HubClient {
    let client = spawn(hub, options);
    client.connected().await.expect("a login");
    until_idle().await;
    client
}

async fn reconnected(hub: &FakeHub, client: &HubClient) {
    hub.cut();
    until_state(client, |it| !it.is_connected()).await;
    client.connected().await.expect("a login");
    until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn the_client_does_not_subscribe_before_there_is_a_receiver() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    assert!(hub.lock().watched.is_empty());
    let receiver = client.cloud_messages().expect("free");
    until_idle().await;
    assert_eq!(hub.lock().watched, [(1, Feature::CloudToDevice)]);
    assert_eq!(client.cloud_messages().expect_err("taken"), ReceiveError::AlreadyReceiving);
    drop(receiver);
    let _receiver = client.cloud_messages().expect("free again");
    reconnected(&hub, &client).await;
    assert_eq!(hub.lock().watched, [(1, Feature::CloudToDevice), (2, Feature::CloudToDevice)]);
}

#[tokio::test(start_paused = true)]
async fn receiving_fails_at_once_if_identity_or_protocol_does_not_support_it() {
    let hub = FakeHub::new([]);
    let mut login = login();
    login.identity = login.identity.module("mod-1".parse().expect("an id"));
    let module = HubClient::spawn(hub.boxed(), login, credential(), options());
    let error = module.cloud_messages().expect_err("a module");
    assert_eq!(error.to_string(), "cloud-to-device messages are not possible for a module, only for a device");
    let _inputs = module.inputs().expect("free");
    module.connected().await.expect("a login");
    until_idle().await;
    assert_eq!(hub.lock().watched, [(1, Feature::Inputs)]);

    let hub = FakeHub::new([]);
    hub.lock().abilities = Abilities::default();
    let device = spawn(&hub, options());
    let error = device.inputs().expect_err("a device");
    assert_eq!(error.to_string(), "module inputs are not possible for a device, only for a module");
    let error = device.cloud_messages().expect_err("no abilities");
    assert_eq!(error.to_string(), "cloud-to-device messages are not possible over mqtt");
}

#[tokio::test(start_paused = true)]
async fn a_message_before_the_receiver_waits_and_is_not_acknowledged() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    // Typed from `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
    let bag = "%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&iothub-ack=full&k=v";
    hub.deliver_as(Some(7), IncomingMessage::new("hello", PropertyBag::parse(bag).expect("a bag")));
    hub.deliver(8);
    until_idle().await;
    let mut receiver = client.cloud_messages().expect("free");
    let message = receiver.next().await.expect("alive");
    assert_eq!(
        (message.message_id(), message.ack(), message.property("k")),
        (Some("m1"), Some("full"), Some(Some("v")))
    );
    assert_eq!((message.message().to(), body(&message)), (Some("/devices/d1/messages/deviceBound"), "hello".into()));
    until_idle().await;
    assert!(hub.settled().is_empty());
    message.complete().await.expect("the same connection");
    until_idle().await;
    assert_eq!(hub.settled(), [(1, 7, Disposition::Complete)]);
    let next = receiver.try_next().expect("the second");
    assert!(receiver.try_next().is_none());
    drop(next);
    until_idle().await;
    assert_eq!((hub.settled().len(), hub.released()), (1, vec![(1, 8)]));
    assert_eq!(client.counts(), HubCounts { messages_unsettled: 1, ..HubCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_delivered_again_under_its_lock() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    for lock in 1..=3 {
        hub.deliver(lock);
    }
    drop(receiver.next().await.expect("alive"));
    receiver.next().await.expect("alive").complete().await.expect("the same connection");
    let held = receiver.next().await.expect("alive");
    until_idle().await;
    assert_eq!(hub.released(), [(1, 1)]);
    hub.deliver(1);
    let again = receiver.next().await.expect("alive");
    assert_eq!(body(&again), "1");
    again.complete().await.expect("the same connection");
    until_idle().await;
    assert_eq!(hub.settled(), [(1, 2, Disposition::Complete), (1, 1, Disposition::Complete)]);
    assert_eq!(client.counts(), HubCounts { messages_unsettled: 1, ..HubCounts::default() });

    // The program completes message 4, but still holds an earlier message. A connection acknowledges messages in the
    // order of arrival, so this connection ends before it can acknowledge message 4. The hub delivers message 4 again,
    // and the client counts it as held back.
    hub.deliver(4);
    receiver.next().await.expect("alive").complete().await.expect("the same connection");
    reconnected(&hub, &client).await;
    drop(held);
    until_idle().await;
    assert_eq!(hub.released(), [(1, 1)], "the next connection does not learn of the release");
    let expected = HubCounts { messages_unsettled: 2, messages_held_back: 1, ..HubCounts::default() };
    assert_eq!(client.counts(), expected);
}

#[tokio::test(start_paused = true)]
async fn held_back_acknowledgements_are_counted_when_the_client_ends() {
    for closes in [true, false] {
        let hub = FakeHub::new([]);
        let client = connected(&hub, options()).await;
        let mut receiver = client.cloud_messages().expect("free");
        let counts = client.shared.incoming.clone();
        for lock in 1..=3 {
            hub.deliver(lock);
        }
        let first = receiver.next().await.expect("alive");
        for _ in 2..=3 {
            receiver.next().await.expect("alive").complete().await.expect("the same connection");
        }
        if closes {
            client.close(seconds(5)).await.expect("no telemetry waits");
        } else {
            drop(client);
        }
        until_idle().await;
        let expected = HubCounts { messages_held_back: 2, ..HubCounts::default() };
        assert_eq!(counts.counters.snapshot(), expected, "closes: {closes}");
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn unreadable_data_is_counted_and_an_unreadable_call_is_answered() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    client.serve_methods(|_| async { Ok(crate::MethodResponse::new(200)) }).expect("methods");
    for what in [
        Downstream::Unreadable(None),
        Downstream::Unreadable(Some(hubward_transport::CallId("7f".into()))),
        Downstream::MessageOverLimit,
        Downstream::Unreadable(None),
    ] {
        hub.send_event(what);
    }
    until_idle().await;
    let answers: Vec<_> = hub.lock().replies.drain(..).map(|it| it.1).collect();
    assert!(matches!(&answers[..], [Reply::Method { call, status: 400, .. }] if call.0 == "7f"), "{answers:?}");
    let expected = HubCounts { unreadable: 2, methods_invalid: 1, messages_over_limit: 1, ..HubCounts::default() };
    assert_eq!(client.counts(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_woken_and_takes_over_from_a_dropped_one() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    let waiting = tokio::spawn(async move {
        let first = receiver.next().await.expect("alive");
        (receiver, first)
    });
    until_idle().await;
    assert!(!waiting.is_finished());
    for lock in 1..=3 {
        hub.deliver(lock);
    }
    let (receiver, first) = waiting.await.expect("no panic");
    until_idle().await;
    drop(receiver);
    let mut receiver = client.cloud_messages().expect("free again");
    let second = receiver.next().await.expect("alive");
    assert_eq!((body(&first), body(&second)), ("1".into(), "2".into()));
    // The program may complete messages in any order. The client passes the settlements to the connection in the order
    // of completion. A real connection then sends the acknowledgements in the order in which the messages arrived.
    second.complete().await.expect("the same connection");
    first.complete().await.expect("the same connection");
    receiver.next().await.expect("alive").complete().await.expect("the same connection");
    until_idle().await;
    assert_eq!(hub.settled().iter().map(|it| it.1).collect::<Vec<_>>(), [2, 1, 3]);
    assert_eq!(client.counts(), HubCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_message_of_an_old_connection_is_stale_and_waiting_ones_are_delivered_again() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    for lock in 1..=4 {
        hub.deliver(lock);
    }
    let first = receiver.next().await.expect("alive");
    let second = receiver.next().await.expect("alive");
    reconnected(&hub, &client).await;
    // On the new connection, the same locks belong to other messages.
    hub.deliver(1);
    let again = receiver.next().await.expect("alive");
    assert!(matches!(first.complete().await, Err(SettleError::Stale)));
    drop(second);
    again.complete().await.expect("the same connection");
    until_idle().await;
    assert_eq!(hub.settled(), [(2, 1, Disposition::Complete)]);
    let expected =
        HubCounts { messages_stale: 1, messages_discarded: 2, messages_unsettled: 1, ..HubCounts::default() };
    assert_eq!(client.counts(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_settlement_fails_and_returns_the_message() {
    for able in [false, true] {
        let hub = FakeHub::new([]);
        {
            let abilities = &mut hub.lock().abilities;
            (abilities.abandon, abilities.reject) = (able, able);
        }
        let client = connected(&hub, options()).await;
        assert_eq!((client.abilities().abandon, client.abilities().reject), (able, able));
        let mut receiver = client.cloud_messages().expect("free");
        hub.deliver(1);
        hub.deliver(2);
        let (first, second) = (receiver.next().await.expect("alive"), receiver.next().await.expect("alive"));
        let (abandoned, rejected) = (first.abandon().await, second.reject().await);
        let expected = if able {
            abandoned.expect("able");
            rejected.expect("able");
            [(1, 1, Disposition::Abandon), (1, 2, Disposition::Reject)]
        } else {
            for (error, why) in [
                (abandoned.expect_err("unable"), "abandoning a message is not possible over mqtt"),
                (rejected.expect_err("unable"), "rejecting a message is not possible over mqtt"),
            ] {
                assert_eq!(std::error::Error::source(&error).expect("why").to_string(), why);
                error.into_message().expect("still there").complete().await.expect("the same connection");
            }
            [(1, 1, Disposition::Complete), (1, 2, Disposition::Complete)]
        };
        until_idle().await;
        assert_eq!(hub.settled(), expected);
        assert_eq!(client.counts(), HubCounts::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_acknowledgement_needs_no_settlement() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    for _ in 0..2 {
        hub.deliver_as(None, IncomingMessage::new("x", PropertyBag::default()));
    }
    let (first, second) = (receiver.next().await.expect("alive"), receiver.next().await.expect("alive"));
    drop(second);
    client.close(seconds(5)).await.expect("everything is acknowledged");
    first.complete().await.expect("nothing to do");
    assert_eq!((hub.settled().len(), client.counts()), (0, HubCounts::default()));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_reads_delays_nothing_else_and_is_counted() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    client.serve_method("ping", |_| async { Ok(crate::MethodResponse::new(200)) }).expect("methods");
    let mut receipts = Vec::new();
    for number in 0..10_000_u64 {
        hub.deliver(number);
        receipts.push(client.enqueue(Message::new("t")).await.expect("room"));
    }
    for receipt in receipts {
        receipt.await.expect("an acknowledgement");
    }
    until_idle().await;
    assert_eq!(client.counts(), HubCounts { messages_over_limit: 10_000 - 64, ..HubCounts::default() });
    assert_eq!(hub.released(), (64..10_000).map(|it| (1, it)).collect::<Vec<_>>());
    for number in 0..64 {
        let message = receiver.try_next().expect("it waited");
        assert_eq!(body(&message), number.to_string());
        message.complete().await.expect("the same connection");
    }
    assert!(receiver.try_next().is_none());
    hub.deliver(20_000);
    receiver.next().await.expect("there is room again").complete().await.expect("the same connection");
    client.close(seconds(5)).await.expect("everything is acknowledged");
    assert_eq!(hub.settled().len(), 65);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_held_messages_within_its_limit() {
    for settles in ["completes", "drops", "keeps"] {
        let hub = FakeHub::new([]);
        let client = connected(&hub, options().token_lifetime(seconds(60)).renewal_drain(seconds(5))).await;
        let mut receiver = client.cloud_messages().expect("free");
        hub.deliver(1);
        let message = receiver.next().await.expect("alive");
        until_state(&client, |it| matches!(it, ConnectionState::Renewing)).await;
        let started = tokio::time::Instant::now();
        until_idle().await;
        assert_eq!(hub.opened(), 1, "it waits");
        let expected = match settles {
            "completes" => {
                message.complete().await.expect("the same connection");
                until_idle().await;
                assert_eq!((started.elapsed(), hub.opened()), (Duration::ZERO, 2), "no longer than necessary");
                assert_eq!(hub.settled(), [(1, 1, Disposition::Complete)]);
                HubCounts::default()
            }
            "drops" => {
                drop(message);
                until_idle().await;
                assert_eq!((started.elapsed(), hub.opened()), (Duration::ZERO, 2), "no longer than necessary");
                HubCounts { messages_unsettled: 1, ..HubCounts::default() }
            }
            _ => {
                until_state(&client, |it| matches!(it, ConnectionState::Connected)).await;
                assert_eq!((started.elapsed(), hub.opened()), (seconds(5), 2));
                assert!(matches!(message.complete().await, Err(SettleError::Stale)));
                HubCounts { messages_stale: 1, ..HubCounts::default() }
            }
        };
        assert_eq!(client.counts(), expected, "{settles}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_receiver_learns_of_the_end_of_its_client() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    hub.deliver(1);
    hub.deliver(2);
    let message = receiver.next().await.expect("alive");
    let waiting = tokio::spawn(async move {
        let second = receiver.next().await.expect("alive");
        (receiver.next().await.expect_err("the end"), receiver, second)
    });
    until_idle().await;
    hub.deliver(3);
    // The receiver does not keep the client alive, so this drop ends the client. If the receiver gets the third message
    // first, `expect_err` panics in the spawned task, and the test returns early.
    drop(client);
    let (reason, mut receiver, second) = match poll_times(50, waiting).await {
        Some(Ok(ended)) => ended,
        Some(Err(_)) => return,
        None => panic!("the receiver did not learn of the end"),
    };
    assert!(matches!(reason, CloseReason::Dropped));
    assert!(matches!(receiver.next().await, Err(CloseReason::Dropped)));
    assert!(matches!(message.complete().await, Err(SettleError::Closed(CloseReason::Dropped))));
    drop(second);
    assert_eq!((hub.settled().len(), hub.alive()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_completed_before_a_close_is_acknowledged_before_it() {
    let hub = FakeHub::new([]);
    let client = connected(&hub, options()).await;
    let mut receiver = client.cloud_messages().expect("free");
    hub.deliver(1);
    hub.deliver(2);
    let (first, second) = (receiver.next().await.expect("alive"), receiver.next().await.expect("alive"));
    let (completed, closed) = tokio::join!(first.complete(), client.close(seconds(5)));
    completed.expect("the same connection");
    closed.expect("everything is acknowledged");
    assert!(matches!(second.complete().await, Err(SettleError::Closed(CloseReason::Requested))));
    assert!(matches!(receiver.next().await, Err(CloseReason::Requested)));
    assert!(client.cloud_messages().is_err(), "there can be only one receiver");
    drop(receiver);
    let mut late = client.cloud_messages().expect("free");
    assert!(matches!(late.next().await, Err(CloseReason::Requested)));
    assert_eq!(hub.settled(), [(1, 1, Disposition::Complete)]);
}

/// Uses two threads. Messages and calls arrive, and connections end, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_leave_over_their_own_connection_and_everything_is_counted() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]);
        let quick = crate::Backoff::new(Duration::ZERO, Duration::ZERO);
        let client = spawn(&hub, options().seed(Some(seed)).backoff(quick).receive_queue(8).method_calls(4));
        let mut receiver = client.cloud_messages().expect("free");
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let worked = calls.clone();
        client
            .serve_method("work", move |_| {
                let worked = worked.clone();
                async move {
                    tokio::task::yield_now().await;
                    worked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Ok(crate::MethodResponse::new(200))
                }
            })
            .expect("methods");
        client.connected().await.expect("a login");
        let reader = tokio::spawn(async move {
            let (mut taken, mut completed, mut stale) = (0, 0, 0);
            while let Ok(message) = receiver.next().await {
                taken += 1;
                if taken % 5 == 0 {
                    continue;
                }
                match message.complete().await {
                    Ok(()) => completed += 1,
                    Err(SettleError::Stale | SettleError::Closed(_)) => stale += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            (taken, completed, stale)
        });
        for number in 0..100_u64 {
            hub.send_event_by(|connection| {
                let own = connection as u64 * 1000 + number;
                if number % 3 > 0 {
                    let message = IncomingMessage::new("m", PropertyBag::default());
                    return Downstream::Message(Box::new(Delivery { lock: Some(Lock(own)), message }));
                }
                let id = hubward_transport::CallId(own.to_string());
                Downstream::Method(Box::new(hubward_transport::Call { id, name: "work".into(), body: "".into() }))
            });
            match rng.u8(..20) {
                0 => hub.cut(),
                1..8 => tokio::task::yield_now().await,
                _ => {}
            }
        }
        let _ended = client.close(Duration::ZERO).await;
        let (taken, completed, stale) = reader.await.expect("no panic");
        // The task of a handler may end after the client, and then counts its response as unanswered. So wait for all
        // tasks before reading the counts.
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
        let counts = client.counts();
        let (mut settled, mut released, mut answered) = (0, 0, 0);
        for (connection, reply) in &hub.lock().given {
            let (count, own) = match reply {
                Reply::Settle { lock, .. } => (&mut settled, lock.0),
                Reply::Release { lock } => (&mut released, lock.0),
                Reply::Method { call, .. } => (&mut answered, call.0.parse().expect("a number")),
                other => panic!("{other:?}"),
            };
            *count += 1;
            assert_eq!(own / 1000, *connection as u64, "seed {seed}");
        }
        assert_eq!(settled, completed, "seed {seed}");
        assert!(released <= counts.messages_unsettled + counts.messages_over_limit, "seed {seed}");
        assert_eq!(taken, completed + stale + counts.messages_unsettled, "seed {seed}");
        assert_eq!(stale, counts.messages_stale, "seed {seed}");
        let worked = calls.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(worked + counts.methods_busy, answered + counts.methods_unanswered, "seed {seed}");
        assert_eq!(hub.alive(), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn futures_dropped_at_any_moment_lose_no_message() {
    let (mut dropped, mut settled) = (0, 0);
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]);
        let client = connected(&hub, options()).await;
        let mut receiver = client.cloud_messages().expect("free");
        let mut hands = Vec::new();
        let mut taken = 0;
        for lock in 0..60 {
            hub.deliver(lock);
            if let Some(message) = poll_times(rng.usize(..8), receiver.next()).await {
                let message = message.expect("alive");
                assert_eq!(body(&message), taken.to_string(), "seed {seed}");
                taken += 1;
                hands.push(message);
            }
            if !hands.is_empty() && rng.bool() {
                let message = hands.swap_remove(rng.usize(..hands.len()));
                dropped += usize::from(poll_times(rng.usize(..3), message.complete()).await.is_none());
            }
        }
        while taken < 60 {
            hands.push(receiver.next().await.expect("alive"));
            taken += 1;
        }
        let kept = hands.len() as u64;
        for message in hands {
            message.complete().await.expect("the same connection");
        }
        until_idle().await;
        let mut locks: Vec<u64> = hub.settled().iter().map(|it| it.1).collect();
        let count = locks.len() as u64;
        locks.sort_unstable();
        locks.dedup();
        assert_eq!(locks.len() as u64, count, "no message twice, seed {seed}");
        assert_eq!(
            client.counts(),
            HubCounts { messages_unsettled: 60 - count, ..HubCounts::default() },
            "seed {seed}"
        );
        assert!(count >= kept, "seed {seed}");
        settled += count;
        client.send(Message::new("after all that")).await.expect("an acknowledgement");
        client.close(seconds(5)).await.expect("everything is acknowledged");
    }
    assert!(dropped > 200 && settled > 1000, "{dropped} {settled}");
}
