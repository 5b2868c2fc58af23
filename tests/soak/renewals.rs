//! A client renews a short-lived token under load. The application must not notice the renewals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hubward::{ConnectionState, HubClient, HubOptions, Message, TransportKind};
use hubward_tests::cloud::Cloud;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::seconds;

const RENEWALS: usize = 10;

/// Interval between two messages: 50 messages per second.
const EVERY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn ten_renewals_over_mqtt_lose_no_message_and_report_no_failure() {
    ten_renewals(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_renewals_over_websocket_lose_no_message_and_report_no_failure() {
    ten_renewals(TransportKind::MqttWs).await;
}

async fn ten_renewals(kind: TransportKind) {
    let life = seconds("HUBWARD_SOAK_TOKEN_SECONDS", 6.0);
    let cloud = Cloud::start().await;
    let options = HubOptions::default().token_lifetime(life);
    let client = cloud.hub_device("dev-1", kind).options(options).connect().await.expect("a login");
    let renewals = Arc::new(AtomicUsize::new(0));
    let watching = tokio::spawn(watch(client.clone(), renewals.clone()));

    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let gaps = tokio::spawn(async move {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while let Some(receipt) = answered.recv().await {
            let receipt: hubward::Receipt = receipt;
            receipt.await.expect("an acknowledgement for every message");
            let now = Instant::now();
            longest = longest.max(now - last);
            last = now;
        }
        longest
    });
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    while renewals.load(Ordering::SeqCst) < RENEWALS {
        ticks.tick().await;
        let receipt = client.enqueue(Message::new(format!("{sent}"))).await.expect("room");
        answers.send(receipt).expect("the other task has not failed");
        sent += 1;
    }
    drop(answers);
    let longest = gaps.await.expect("an acknowledgement for every message");
    let closed = client.close(Duration::from_secs(10)).await.expect("no message is left");
    assert!(closed.is_clean());
    watching.await.expect("no state was a failure");

    let bodies: Vec<_> = cloud.log().all().iter().map(|it| it.body_text()).collect();
    let expected: Vec<_> = (0..sent).map(|it| it.to_string()).collect();
    assert!(bodies == expected, "{} messages sent, {} arrived, or in another order", sent, bodies.len());
    println!(
        "{kind}: {RENEWALS} renewals of a token of {life:?}, {sent} messages, 0 lost, 0 failed; \
         longest time without an acknowledgement {longest:?}"
    );
}

/// Counts the renewals of a client. Panics if the client reports a failure.
async fn watch(client: HubClient, renewals: Arc<AtomicUsize>) {
    let mut state = client.state();
    drop(client);
    loop {
        match &*state.borrow_and_update() {
            ConnectionState::Renewing => drop(renewals.fetch_add(1, Ordering::SeqCst)),
            ConnectionState::Connected => {}
            ConnectionState::Closed { .. } => return,
            other => panic!("the client reported {other:?} during a renewal"),
        }
        state.changed().await.expect("the client reports its end before it drops the channel");
    }
}
