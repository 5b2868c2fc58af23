//! A client must still work after the test has dropped thousands of futures of the client. The test drops them at
//! random moments.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use hubward::twin::DesiredProperties;
use hubward::{CloudMessages, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use hubward_tests::cloud::{Cloud, HUB, HubDevice, fast_reconnect};
use serde_json::json;

const CANCELLATIONS: usize = 10_000;

/// The asynchronous calls of a client, each with the minimum number of times that the test must cancel the call.
const CALLS: [(Call, usize); 12] = [
    (Call::Connected, 10),
    (Call::Enqueue, 100),
    (Call::Send, 100),
    (Call::Receipt, 100),
    (Call::Twin, 100),
    (Call::Report, 100),
    (Call::Changed, 100),
    (Call::Next, 100),
    // This call completes at its first poll, so the test cannot cancel it.
    (Call::Complete, 0),
    (Call::Closed, 100),
    (Call::Connect, 50),
    (Call::Close, 50),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Connected,
    Enqueue,
    Send,
    Receipt,
    Twin,
    Report,
    Changed,
    Next,
    Complete,
    Closed,
    Connect,
    Close,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_works_after_ten_thousand_cancellations_over_mqtt() {
    cancel_and_check(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_works_after_ten_thousand_cancellations_over_websocket() {
    cancel_and_check(TransportKind::MqttWs).await;
}

async fn cancel_and_check(kind: TransportKind) {
    let seed = std::env::var("HUBWARD_SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().expect("a number"));
    println!("HUBWARD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let cloud = Cloud::start().await;
    let tasks = tasks();
    // With a small window and a small queue, calls often have to wait.
    let device = cloud.hub_device("dev-1", kind).options(fast_reconnect().window(4).queue(4));
    let hub = device.connect().await.expect("a login");
    hub.serve_method("ping", async |_| Ok(MethodResponse::new(200))).expect("methods");
    let mut scene = Scene {
        messages: hub.cloud_messages().expect("messages"),
        desired: hub.desired().expect("desired properties"),
        other: cloud.hub_device("dev-2", kind),
        cloud,
        hub,
    };
    let mut cancelled: BTreeMap<Call, usize> = BTreeMap::new();
    let mut count = 0;
    while count < CANCELLATIONS {
        scene.change_cloud(&mut rng);
        let call = CALLS[rng.usize(..CALLS.len())].0;
        // Each of these two calls opens a connection, which takes time. So make a call of this kind only in about one
        // of eight cases.
        if matches!(call, Call::Connect | Call::Close) && rng.u8(..8) > 0 {
            continue;
        }
        if scene.cancel(call, &mut rng).await {
            count += 1;
            *cancelled.entry(call).or_default() += 1;
        }
    }
    println!("{kind}: {cancelled:?}");
    for (call, least) in CALLS {
        let count = cancelled.get(&call).copied().unwrap_or_default();
        assert!(count >= least, "{call:?} was cancelled only {count} times: {cancelled:?}");
    }
    let Scene { cloud, hub, messages, desired, .. } = scene;
    check_every_feature(&cloud, &hub, messages, desired).await;
    let closed = hub.close(Duration::from_secs(30)).await.expect("nothing is left");
    assert!(closed.is_clean());
    drop(hub);
    // The last client has closed its connection. The emulator's tasks for this connection end a moment later.
    let left = tokio::time::timeout(Duration::from_secs(60), async {
        while self::tasks() > tasks {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(left.await.is_ok(), "{} tasks before, {} after", tasks, self::tasks());
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

struct Scene {
    cloud: Cloud,
    hub: HubClient,
    messages: CloudMessages,
    desired: DesiredProperties,
    /// The identity of a second device. The test connects and closes clients with this identity.
    other: HubDevice,
}

impl Scene {
    /// Makes a random change in the cloud.
    fn change_cloud(&self, rng: &mut Rng) {
        let emulator = &self.cloud.emulator;
        match rng.u16(..1000) {
            0..30 => drop(emulator.patch_desired(HUB, "dev-1", json!({ "n": rng.u32(..) }))),
            // The hub refuses the message if the device's queue is full.
            30..60 => drop(emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("random"))),
            60..65 => drop(emulator.disconnect_device(HUB, "dev-1")),
            _ => {}
        }
    }

    /// Starts a call and drops it after a random time. Returns `true` if the call was still running.
    async fn cancel(&mut self, call: Call, rng: &mut Rng) -> bool {
        let hub = &self.hub;
        let message = || Message::new("cancelled");
        match call {
            Call::Connected => cancel(rng, hub.connected()).await,
            Call::Enqueue => {
                while hub.try_enqueue(message()).is_ok() {}
                cancel(rng, hub.enqueue(message())).await
            }
            Call::Send => cancel(rng, hub.send(message())).await,
            Call::Receipt => match hub.enqueue(message()).await {
                Ok(receipt) => cancel(rng, receipt).await,
                Err(error) => panic!("{error}"),
            },
            Call::Twin => cancel(rng, hub.twin()).await,
            Call::Report => cancel(rng, hub.report(&json!({ "n": 1 }))).await,
            Call::Changed => cancel(rng, self.desired.changed()).await,
            Call::Next => cancel(rng, self.messages.next()).await,
            Call::Complete => match self.messages.try_next() {
                Some(message) => cancel(rng, message.complete()).await,
                None => false,
            },
            Call::Closed => cancel(rng, hub.closed()).await,
            Call::Connect => cancel(rng, self.other.settings.clone().connect()).await,
            Call::Close => {
                let other = self.other.settings.clone().spawn().expect("a client");
                // A queued message delays the close.
                let _receipt = other.try_enqueue(message());
                cancel(rng, other.close(Duration::from_secs(5))).await
            }
        }
    }
}

/// Polls a future for a random time, then drops it. Returns `true` if the future was still pending.
async fn cancel<T>(rng: &mut Rng, future: impl Future<Output = T>) -> bool {
    let (yields, pause) = (rng.usize(..20), Duration::from_micros(rng.u64(..3000)));
    let by_yields = rng.bool();
    let limit = async move {
        if by_yields {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
        } else {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        biased;
        _ = future => false,
        () = limit => true,
    }
}

/// Uses every feature of a device once, to check that it works.
async fn check_every_feature(
    cloud: &Cloud,
    hub: &HubClient,
    mut messages: CloudMessages,
    mut desired: DesiredProperties,
) {
    hub.connected().await.expect("a login");
    hub.send(Message::new("still there")).await.expect("an acknowledgement");
    assert!(cloud.log().all().iter().any(|it| it.body_text() == "still there"));
    let version = hub.report(&json!({ "last": true })).await.expect("reported").version;
    assert_eq!(Some(hub.twin().await.expect("the twin").reported.version), version);
    let version = cloud.emulator.patch_desired(HUB, "dev-1", json!({ "last": true })).expect("a change");
    while desired.latest().is_none_or(|it| it.version < version) {
        desired.changed().await.expect("alive");
    }
    let invocation = Invocation::new("ping").connect_timeout(Duration::from_secs(60));
    let result = cloud.emulator.invoke_method(HUB, "dev-1", invocation).await.expect("an answer");
    assert_eq!(result.status, 200);
    // Disconnect the device. On the next connection, the hub delivers the unsettled messages again.
    let mut state = hub.state();
    state.mark_unchanged();
    cloud.emulator.disconnect_device(HUB, "dev-1");
    // The client may already have reconnected. So the test does not wait for the disconnected state. It waits for any
    // change of the state.
    state.changed().await.expect("alive");
    hub.connected().await.expect("a new connection");
    while cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("the last one")).is_err() {
        // The device's queue is full.
        complete_next(&mut messages).await;
    }
    while complete_next(&mut messages).await != "the last one" {}
    cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
}

/// Completes the next message and returns its body.
async fn complete_next(messages: &mut CloudMessages) -> String {
    let message = messages.next().await.expect("alive");
    let text = String::from_utf8_lossy(&message.body).into_owned();
    // The call fails for a message that a previous connection delivered.
    drop(message.complete().await);
    text
}
