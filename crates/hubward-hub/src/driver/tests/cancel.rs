//! Futures that are dropped at any moment, and clients that end at any moment.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll};

use fastrand::Rng;

use super::*;

/// Polls a future at most `times` times and lets other tasks run between two polls. Then drops the future.
pub(super) async fn poll_times<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        let poll = |cx: &mut Context<'_>| Poll::Ready(future.as_mut().poll(cx));
        if let Poll::Ready(output) = std::future::poll_fn(poll).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn thousands_of_dropped_futures_leave_a_client_that_still_sends() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]).acknowledging(AckMode::Manual);
        let client = spawn(&hub, options().window(3).queue(4).seed(Some(seed)));
        let mut receipts = Vec::new();
        let mut dropped = 0;
        for number in 0..400 {
            let times = rng.usize(..4);
            let message = Message::new(number.to_string());
            let finished = match rng.u8(..6) {
                0 | 1 => {
                    let receipt = poll_times(times, client.enqueue(message)).await;
                    let finished = receipt.is_some();
                    receipts.extend(receipt.and_then(Result::ok));
                    finished
                }
                2 => poll_times(times, client.send(message)).await.is_some(),
                3 => poll_times(times, client.connected()).await.is_some(),
                4 => poll_times(times, client.closed()).await.is_some(),
                _ if receipts.is_empty() => true,
                _ => {
                    let receipt = receipts.swap_remove(rng.usize(..receipts.len()));
                    poll_times(times, receipt).await.is_some()
                }
            };
            dropped += usize::from(!finished);
            match rng.u8(..20) {
                0..10 => hub.acknowledge(rng.usize(..4)),
                10 => hub.cut(),
                11 => tokio::time::advance(Duration::from_millis(rng.u64(..500))).await,
                _ => {}
            }
        }
        assert!(dropped > 100, "only {dropped} futures were dropped");
        hub.lock().ack_mode = AckMode::AtOnce;
        hub.acknowledge(usize::MAX);
        hub.cut();
        client.send(Message::new("after all that")).await.expect("an acknowledgement");
        for receipt in receipts {
            receipt.await.expect("an acknowledgement");
        }
        until_idle().await;
        assert_eq!(client.room(), 4, "no room leaked, seed {seed}");
        client.close(seconds(5)).await.expect("everything is acknowledged");
        assert_eq!(hub.alive(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_at_any_moment_resolves_every_send_truthfully() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let hub = FakeHub::new([]);
        let client = spawn(&hub, options().window(4).queue(4).seed(Some(seed)));
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut results = Vec::new();
                    for number in 0..1000 {
                        let body = format!("{sender}/{number}");
                        let outcome = client.send(Message::new(body.clone())).await;
                        let ended = outcome.is_err();
                        results.push((body, outcome));
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
        for sender in senders {
            let results = sender.await.expect("no panic");
            let taken: BTreeSet<String> = hub.bodies().into_iter().collect();
            for (body, outcome) in results {
                match outcome {
                    Ok(()) => assert!(taken.contains(&body), "{body} was never sent, seed {seed}"),
                    Err(error) if error.is_certainly_not_sent() => {
                        assert!(!taken.contains(&body), "{body} was sent, seed {seed}: {error:?}");
                    }
                    Err(_) => {}
                }
            }
        }
        assert_eq!(hub.alive(), 0);
    }
}
