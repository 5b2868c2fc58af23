//! Every way in which a client ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn every_close_returns_the_same_result() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().window(1));
    client.connected().await.expect("a login");
    let written = client.enqueue(Message::new("1").message_id("written")).await.expect("room");
    until_idle().await;
    let queued = client.enqueue(Message::new("2").message_id("queued")).await.expect("room");
    let started = tokio::time::Instant::now();
    let other = client.clone();
    let (first, second) = tokio::join!(client.close(seconds(60)), other.close(seconds(3)));
    assert_eq!(started.elapsed(), seconds(3), "the earliest moment counts");
    for error in [first, second, client.close(seconds(9)).await].map(|it| it.expect_err("a message is unacknowledged"))
    {
        let closed = error.closed();
        let ids = |labels: &[crate::MessageLabel]| labels.iter().filter_map(|it| it.id.clone()).collect::<Vec<_>>();
        assert_eq!((ids(&closed.not_sent), ids(&closed.unknown)), (vec!["queued".into()], vec!["written".into()]));
        assert!(matches!(closed.reason, CloseReason::Requested));
    }
    assert!(queued.await.expect_err("not sent").is_certainly_not_sent());
    assert!(!written.await.expect_err("no answer").is_certainly_not_sent());
    let late = client.send(Message::new("late")).await.expect_err("closed");
    assert!(matches!(late, SendError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Requested), .. }));
    let late = client.try_enqueue(Message::new("late")).expect_err("closed");
    assert!(matches!(late, TryEnqueueError::Closed(_)));
    assert!(matches!(client.connected().await, Err(error) if matches!(error.reason(), CloseReason::Requested)));
    assert!(matches!(*client.state().borrow(), ConnectionState::Closed { .. }));
    assert_eq!(hub.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_flushes_the_queue_and_takes_no_new_message() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    let receipt = client.enqueue(Message::new("1")).await.expect("room");
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close(seconds(60)).await }
    });
    until_idle().await;
    assert!(matches!(client.try_enqueue(Message::new("2")), Err(TryEnqueueError::Closed(_))));
    assert!(!closing.is_finished());
    hub.acknowledge(1);
    closing.await.expect("no panic").expect("everything is acknowledged");
    receipt.await.expect("an acknowledgement");
}

#[tokio::test(start_paused = true)]
async fn closing_stops_a_running_attempt() {
    for outcome in [AttemptOutcome::HangOpening, AttemptOutcome::HangLogin, AttemptOutcome::Unreachable] {
        let hub = FakeHub::new([outcome; 50]);
        let client = spawn(&hub, options());
        until_idle().await;
        let started = tokio::time::Instant::now();
        client.close(seconds(5)).await.expect("nothing to send");
        assert_eq!(started.elapsed(), Duration::ZERO, "nothing to wait for: {outcome:?}");
        assert_eq!(hub.alive(), 0);

        let hub = FakeHub::new([outcome; 50]);
        let client = spawn(&hub, options());
        let receipt = client.enqueue(Message::new("m")).await.expect("room");
        let started = tokio::time::Instant::now();
        let error = client.close(seconds(5)).await.expect_err("it could not be sent");
        assert_eq!((started.elapsed(), error.closed().not_sent.len()), (seconds(5), 1), "{outcome:?}");
        assert!(receipt.await.expect_err("not sent").is_certainly_not_sent());
        assert_eq!(hub.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_continues_after_its_future_is_dropped() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    let _dropped = tokio::time::timeout(Duration::ZERO, client.close(seconds(1))).await;
    assert!(matches!(client.closed().await, CloseReason::Requested));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_task_and_resolves_the_receipts() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options().window(1));
    let (other, mut state) = (client.clone(), client.state());
    client.connected().await.expect("a login");
    let written = client.enqueue(Message::new("1")).await.expect("room");
    until_idle().await;
    let queued = client.enqueue(Message::new("2")).await.expect("room");
    drop(client);
    until_idle().await;
    assert!(state.borrow().is_connected(), "another handle exists");
    drop(other);
    assert!(matches!(
        queued.await,
        Err(SendError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Dropped), .. })
    ));
    assert!(matches!(
        written.await,
        Err(SendError::Unknown { reason: UnconfirmedReason::Closed(CloseReason::Dropped), .. })
    ));
    state.wait_for(ConnectionState::is_closed).await.expect("outgoing");
    assert_eq!((hub.alive(), hub.disconnects()), (0, 1));
}

#[test]
fn every_receipt_resolves_when_the_runtime_shuts_down() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let first = runtime();
    let (client, written, queued) = first.block_on(async {
        let client = spawn(&hub, options().window(1));
        client.connected().await.expect("a login");
        let written = client.enqueue(Message::new("1")).await.expect("room");
        until_idle().await;
        let queued = client.enqueue(Message::new("2")).await.expect("room");
        (client, written, queued)
    });
    drop(first);
    runtime().block_on(async {
        assert!(matches!(
            written.await,
            Err(SendError::Unknown { reason: UnconfirmedReason::Closed(CloseReason::Aborted), .. })
        ));
        assert!(matches!(
            queued.await,
            Err(SendError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Aborted), .. })
        ));
        assert!(matches!(client.connected().await, Err(error) if matches!(error.reason(), CloseReason::Aborted)));
        assert!(matches!(client.enqueue(Message::new("3")).await, Err(SendError::NotSent { .. })));
        let error = client.close(seconds(5)).await.expect_err("two messages");
        assert_eq!((error.closed().not_sent.len(), error.closed().unknown.len()), (1, 1));
    });
    assert_eq!(hub.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_ends_only_its_client() {
    let hub = FakeHub::new([AttemptOutcome::PanicAfterLogin]);
    let client = spawn(&hub, options());
    let receipt = client.enqueue(Message::new("m")).await.expect("room");
    assert!(receipt.await.is_err());
    assert!(matches!(client.closed().await, CloseReason::Aborted));
    assert!(client.close(seconds(1)).await.is_err());
}
