//! Links that die in silence are found out within the documented limits; a hub that is merely slow is
//! no dead link.

use std::sync::Arc;
use std::time::Duration;

use hubward::error::{DisconnectCause, TransportError};
use hubward::hub::Backoff;
use hubward::transport::{HubLogin, HubTransport, Stage};
use hubward::{ConnectionState, DialOverride, HubClient, HubOptions, Message, TransportKind, limits};
use hubward_dial::{Dialer, TcpDialer, TlsDialer, TlsSettings};
use hubward_emulator::{Fault, Point};
use hubward_mqtt::{MqttHub, SessionOptions};
use hubward_tests::cloud::{Cloud, is_web};
use hubward_ws::WsDialer;

use super::proxy::Proxy;
use super::{TRANSPORTS, seconds};

/// A cloud behind a network, and a device.
struct Scene {
    cloud: Cloud,
    proxy: Proxy,
    kind: TransportKind,
}

impl Scene {
    async fn new(kind: TransportKind) -> Self {
        let cloud = Cloud::start().await;
        let target = if is_web(kind) { cloud.emulator.https_addr() } else { cloud.emulator.mqtt_addr() };
        Self { proxy: Proxy::to(target).await, cloud, kind }
    }

    /// A client with these limits, not connected yet.
    fn client(&self, silence: Duration, keep_alive: Duration, options: HubOptions) -> HubClient {
        let device = self.cloud.known("dev-1", self.kind);
        let rule = DialOverride::parse_list(&format!("::{}", self.proxy.address)).expect("a rule");
        let tls = TlsSettings::new().ca_file(self.cloud.emulator.ca_file()).client_config().expect("the authority");
        let tls = TlsDialer::new(TcpDialer::new().dial_overrides(rule), tls);
        let dialer: Arc<dyn Dialer> = if is_web(self.kind) {
            Arc::new(WsDialer::new(tls, limits::WEBSOCKET_PATH, limits::WEBSOCKET_SUBPROTOCOL))
        } else {
            Arc::new(tls)
        };
        let hub = MqttHub::new(self.kind, dialer, self.kind.default_port());
        let transport: Arc<dyn HubTransport> = hub.options(SessionOptions::default().silence(silence)).into();
        let login = device.settings.login().keep_alive(keep_alive);
        HubClient::spawn(transport, login, device.settings.credential.clone(), options)
    }
}

/// Waits that are long enough for a state to be seen; the seed makes the first one more than a second.
fn visible() -> HubOptions {
    let second = Duration::from_secs(2);
    HubOptions::default().backoff(Backoff::new(second, second)).seed(Some(1))
}

/// The next loss of the connection.
async fn loss(client: &HubClient) -> TransportError {
    let mut state = client.state();
    let lost = state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. })).await.expect("it lives").clone();
    let ConnectionState::Disconnected { cause: DisconnectCause::Transport(error), .. } = lost else {
        panic!("{lost:?}")
    };
    drop(state);
    Arc::try_unwrap(error).unwrap_or_else(|shared| match &*shared {
        TransportError::Timeout { endpoint, stage, after } => {
            TransportError::Timeout { endpoint: endpoint.clone(), stage: *stage, after: *after }
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_limits_are_the_documented_ones() {
    assert_eq!(SessionOptions::default().silence, Duration::from_secs(20));
    assert_eq!(HubLogin::KEEP_ALIVE, Duration::from_secs(60));
    assert_eq!(HubOptions::default().ack_timeout, Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_while_a_message_is_unanswered_is_a_dead_link() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let silence = Duration::from_secs(4);
        let client = scene.client(silence, Duration::from_secs(60), visible());
        client.connected().await.expect("a login");
        client.send(Message::new("before")).await.expect("an acknowledgement");
        scene.proxy.swallow();
        let receipt = client.enqueue(Message::new("into the hole")).await.expect("room");
        let error = loss(&client).await;
        let TransportError::Timeout { stage: Stage::Exchange, after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, silence, "{kind}");
        receipt.await.expect("it is sent again on the next connection");
        let bodies: Vec<_> = scene.cloud.log().all().iter().map(|it| it.body_text()).collect();
        assert_eq!(bodies, ["before", "into the hole"], "{kind}");
        assert_eq!(scene.proxy.connections(), 2, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_dead_link_is_found_after_one_and_a_half_keep_alives() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let client = scene.client(Duration::from_secs(20), Duration::from_secs(2), visible());
        client.connected().await.expect("a login");
        scene.proxy.swallow();
        let error = loss(&client).await;
        let TransportError::Timeout { stage: Stage::Exchange, after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, Duration::from_secs(3), "{kind}");
        client.send(Message::new("after")).await.expect("an acknowledgement");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_dies_before_the_login_is_given_up_at_its_deadline() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        scene.proxy.swallow_next(1);
        let deadline = Duration::from_secs(1);
        let client = scene.client(Duration::from_secs(20), Duration::from_secs(60), visible().login_deadline(deadline));
        let error = loss(&client).await;
        let TransportError::Timeout { after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, deadline, "{kind}");
        client.send(Message::new("after")).await.expect("an acknowledgement");
    }
}

/// A hub throttles by delaying acknowledgements, and answers pings all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_holds_every_acknowledgement_for_long_keeps_its_client() {
    let hold = seconds("HUBWARD_SOAK_HOLD_SECONDS", 10.0);
    // Without answered pings, the link would be dead after less than half of that.
    let silence = hold.mul_f64(0.4).min(SessionOptions::SILENCE);
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        scene.cloud.emulator.fault_always(Point::HubPublish, Fault::HoldPubackFor(hold)).expect("it fits");
        let client = scene.client(silence, Duration::from_secs(60), HubOptions::default());
        client.connected().await.expect("a login");
        let mut state = client.state();
        state.mark_unchanged();
        let started = tokio::time::Instant::now();
        let mut receipts = Vec::new();
        for number in 0..10 {
            receipts.push(client.enqueue(Message::new(number.to_string())).await.expect("room"));
        }
        for receipt in receipts {
            receipt.await.expect("an acknowledgement, late");
        }
        println!("{kind}: held for {hold:?}, acknowledged after {:?}", started.elapsed());
        assert!(!state.has_changed().expect("it lives"), "{kind}: {:?}", *state.borrow());
        assert_eq!(scene.proxy.connections(), 1, "{kind}");
        assert!(scene.cloud.log().all().iter().all(|it| !it.duplicate), "{kind}: nothing is sent twice");
    }
}
