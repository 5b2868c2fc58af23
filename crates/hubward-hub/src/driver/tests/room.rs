//! Messages that wait in a client are bounded in bytes, not only in number.

use serde_json::{Map, Value};

use super::*;
use crate::TwinError;

/// Number of bytes that may wait or be in flight.
const BYTES: usize = 16 * 1024 * 1024;

/// Nearly the largest message.
fn large() -> Message {
    Message::new(vec![b'x'; 256_000])
}

#[tokio::test(start_paused = true)]
async fn large_messages_fill_the_queue_before_their_number_does() {
    let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
    let client = spawn(&hub, options());
    client.connected().await.expect("a login");
    let mut receipts = Vec::new();
    let full = loop {
        match client.try_enqueue(large()) {
            Ok(receipt) => receipts.push(receipt),
            Err(full) => break full,
        }
        assert!(receipts.len() * 256_000 <= BYTES, "{} messages", receipts.len());
        until_idle().await;
    };
    assert!(matches!(full, TryEnqueueError::Full(_)));
    assert_eq!(receipts.len(), BYTES / 256_000);
    let hasty = client.clone().send_deadline(Some(seconds(2)));
    let outside = hasty.enqueue(full.into_message()).await.expect_err("no room in time");
    assert!(outside.is_deadline() && outside.is_certainly_not_sent());
    let small = client.try_enqueue(Message::new("small")).expect("the message fits");

    // A message makes room when it is acknowledged. It also makes room when its deadline has passed.
    hub.acknowledge(1);
    receipts.remove(0).await.expect("an acknowledgement");
    let late = hasty.enqueue(large()).await.expect("there is room");
    assert!(late.await.expect_err("no answer").is_deadline());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.enqueue(large()).await }
    });
    let receipt = waiting.await.expect("no panic").expect("there is room");
    hub.lock().ack_mode = AckMode::AtOnce;
    hub.acknowledge(usize::MAX);
    for receipt in receipts.into_iter().chain([small, receipt]) {
        receipt.await.expect("an acknowledgement");
    }
    assert_eq!((client.room(), client.byte_room()), (1024, BYTES), "all permits are available");

    // The end of the client ends the wait for permits.
    hub.lock().ack_mode = AckMode::Manual;
    while client.try_enqueue(large()).is_ok() {}
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.enqueue(large()).await }
    });
    until_idle().await;
    assert!(!waiting.is_finished());
    client.close(Duration::ZERO).await.expect_err("nothing was answered");
    let error = waiting.await.expect("no panic").expect_err("closed");
    assert!(matches!(error, SendError::NotSent { reason: UnconfirmedReason::Closed(_), .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_few_bytes_still_takes_each_message_alone() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options().queue_bytes(1));
    for _ in 0..3 {
        client.send(Message::new(vec![b'x'; limits::TELEMETRY_MAX])).await.expect("an acknowledgement");
    }
}

/// A hub does not count removed properties against the size limit of the twin. But the names of these properties take
/// space in the message. So the message can be too large although the twin is not.
#[tokio::test(start_paused = true)]
async fn a_patch_that_no_message_can_carry_is_refused_before_it_waits() {
    let hub = FakeHub::new([AttemptOutcome::HangOpening]);
    let client = spawn(&hub, options());
    let removed: Map<String, Value> = (0..3000).map(|it| (format!("{it:0100}"), Value::Null)).collect();
    let error = client.report(&removed).await.expect_err("too large");
    let TwinError::Invalid(ProtoError::TooLarge { size, limit, .. }) = error else { panic!("{error:?}") };
    assert!(size > 300_000 && limit == limits::TELEMETRY_MAX);
}
