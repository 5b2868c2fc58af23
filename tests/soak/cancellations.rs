//! Futures that are dropped at any moment leave a client that still works.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use hubward::twin::DesiredProperties;
use hubward::{CloudMessages, HubClient, Message, MethodResponse, TransportKind};
use hubward_emulator::{CloudToDevice, Invocation};
use hubward_tests::cloud::{Cloud, HUB, Known, eager};
use serde_json::json;

const CANCELLATIONS: usize = 10_000;

/// Every call that can wait, and the least number of times that it must have been cut off.
const CALLS: [(Call, usize); 12] = [
    (Call::Connected, 10),
    (Call::Enqueue, 100),
    (Call::Send, 100),
    (Call::Receipt, 100),
    (Call::Twin, 100),
    (Call::Report, 100),
    (Call::Changed, 100),
    (Call::Next, 100),
    // Done at the first look.
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
async fn ten_thousand_cancellations_over_mqtt_leave_a_client_that_works() {
    cancel_and_look(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_cancellations_over_websocket_leave_a_client_that_works() {
    cancel_and_look(TransportKind::MqttWs).await;
}

async fn cancel_and_look(kind: TransportKind) {
    let seed = std::env::var("HUBWARD_SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().expect("a number"));
    println!("HUBWARD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let cloud = Cloud::start().await;
    let tasks = tasks();
    // Little room, so that there is something to wait for.
    let device = cloud.known("dev-1", kind).options(eager().window(4).queue(4));
    let hub = device.connect().await.expect("a login");
    hub.serve_method("ping", async |_| Ok(MethodResponse::new(200))).expect("methods");
    let mut scene = Scene {
        messages: hub.cloud_messages().expect("messages"),
        desired: hub.desired().expect("desired properties"),
        other: cloud.known("dev-2", kind),
        cloud,
        hub,
    };
    let mut cut_off: BTreeMap<Call, usize> = BTreeMap::new();
    let mut count = 0;
    while count < CANCELLATIONS {
        scene.stir(&mut rng);
        let call = CALLS[rng.usize(..CALLS.len())].0;
        // Each of these makes a connection.
        if matches!(call, Call::Connect | Call::Close) && rng.u8(..8) > 0 {
            continue;
        }
        if scene.cut_off(call, &mut rng).await {
            count += 1;
            *cut_off.entry(call).or_default() += 1;
        }
    }
    println!("{kind}: {cut_off:?}");
    for (call, least) in CALLS {
        let count = cut_off.get(&call).copied().unwrap_or_default();
        assert!(count >= least, "{call:?} was cut off {count} times only: {cut_off:?}");
    }
    let Scene { cloud, hub, messages, desired, .. } = scene;
    works(&cloud, &hub, messages, desired).await;
    let closed = hub.close(Duration::from_secs(30)).await.expect("nothing is left");
    assert!(closed.is_clean());
    drop(hub);
    // The emulator needs a moment to see that its last client has left.
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
    /// For clients that are to end.
    other: Known,
}

impl Scene {
    /// Something happens in the cloud.
    fn stir(&self, rng: &mut Rng) {
        let emulator = &self.cloud.emulator;
        match rng.u16(..1000) {
            0..30 => drop(emulator.patch_desired(HUB, "dev-1", json!({ "n": rng.u32(..) }))),
            // Refused while its queue is full.
            30..60 => drop(emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("stir"))),
            60..65 => drop(emulator.disconnect_device(HUB, "dev-1")),
            _ => {}
        }
    }

    /// Begins a call and drops it after a random while; says whether it was not done by then.
    async fn cut_off(&mut self, call: Call, rng: &mut Rng) -> bool {
        let hub = &self.hub;
        let message = || Message::new("cut off");
        match call {
            Call::Connected => cut_off(rng, hub.connected()).await,
            Call::Enqueue => {
                while hub.try_enqueue(message()).is_ok() {}
                cut_off(rng, hub.enqueue(message())).await
            }
            Call::Send => cut_off(rng, hub.send(message())).await,
            Call::Receipt => match hub.enqueue(message()).await {
                Ok(receipt) => cut_off(rng, receipt).await,
                Err(error) => panic!("{error}"),
            },
            Call::Twin => cut_off(rng, hub.twin()).await,
            Call::Report => cut_off(rng, hub.report(&json!({ "n": 1 }))).await,
            Call::Changed => cut_off(rng, self.desired.changed()).await,
            Call::Next => cut_off(rng, self.messages.next()).await,
            Call::Complete => match self.messages.try_next() {
                Some(message) => cut_off(rng, message.complete()).await,
                None => false,
            },
            Call::Closed => cut_off(rng, hub.closed()).await,
            Call::Connect => cut_off(rng, self.other.settings.clone().connect()).await,
            Call::Close => {
                let other = self.other.settings.clone().spawn().expect("a client");
                // What is queued keeps it from ending at once.
                let _receipt = other.try_enqueue(message());
                cut_off(rng, other.close(Duration::from_secs(5))).await
            }
        }
    }
}

/// Lets a future run for a random while, then drops it; says whether it was not done by then.
async fn cut_off<T>(rng: &mut Rng, future: impl Future<Output = T>) -> bool {
    let (yields, pause) = (rng.usize(..20), Duration::from_micros(rng.u64(..3000)));
    let by_yields = rng.bool();
    let patience = async move {
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
        () = patience => true,
    }
}

/// Everything that a device does, once.
async fn works(cloud: &Cloud, hub: &HubClient, mut messages: CloudMessages, mut desired: DesiredProperties) {
    hub.connected().await.expect("a login");
    hub.send(Message::new("still there")).await.expect("an acknowledgement");
    assert!(cloud.log().all().iter().any(|it| it.body_text() == "still there"));
    let version = hub.report(&json!({ "last": true })).await.expect("reported").version;
    assert_eq!(Some(hub.twin().await.expect("the twin").reported.version), version);
    let wanted = cloud.emulator.patch_desired(HUB, "dev-1", json!({ "last": true })).expect("a change");
    while desired.latest().is_none_or(|it| it.version < wanted) {
        desired.changed().await.expect("alive");
    }
    let invocation = Invocation::new("ping").connect_timeout(Duration::from_secs(60));
    let result = cloud.emulator.invoke_method(HUB, "dev-1", invocation).await.expect("an answer");
    assert_eq!(result.status, 200);
    // What was left with the hub comes again on the next connection.
    let mut state = hub.state();
    state.mark_unchanged();
    cloud.emulator.disconnect_device(HUB, "dev-1");
    // It may be back before anybody looks; that something changed is enough.
    state.changed().await.expect("alive");
    hub.connected().await.expect("back again");
    while cloud.emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("the last one")).is_err() {
        // Its queue is full.
        settle(&mut messages).await;
    }
    while settle(&mut messages).await != "the last one" {}
    cloud.emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
}

/// Takes the next message; gives what it says.
async fn settle(messages: &mut CloudMessages) -> String {
    let message = messages.next().await.expect("alive");
    let text = String::from_utf8_lossy(&message.body).into_owned();
    // One of the connection before cannot be completed any more.
    drop(message.complete().await);
    text
}
