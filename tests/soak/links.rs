//! A client must detect a dead connection within the documented limits. But it must not close the connection to a hub
//! that is only slow.

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

/// An emulator behind a proxy, and a device.
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

    /// Starts a client with these limits. Does not wait until the client is connected.
    fn client(&self, silence: Duration, keep_alive: Duration, options: HubOptions) -> HubClient {
        let device = self.cloud.hub_device("dev-1", self.kind);
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

/// Returns options with a long back-off: the client stays disconnected long enough for the test to see this state. With
/// this seed, the first wait takes more than a second.
fn slow_reconnect() -> HubOptions {
    let second = Duration::from_secs(2);
    HubOptions::default().backoff(Backoff::new(second, second)).seed(Some(1))
}

/// Waits until the client loses its connection. Returns the error that caused the loss.
async fn connection_error(client: &HubClient) -> TransportError {
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
fn the_default_limits_match_the_documentation() {
    assert_eq!(SessionOptions::default().silence, Duration::from_secs(20));
    assert_eq!(HubLogin::KEEP_ALIVE, Duration::from_secs(60));
    assert_eq!(HubOptions::default().ack_timeout, Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_after_a_message_ends_the_connection() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let silence = Duration::from_secs(4);
        let client = scene.client(silence, Duration::from_secs(60), slow_reconnect());
        client.connected().await.expect("a login");
        client.send(Message::new("before")).await.expect("an acknowledgement");
        scene.proxy.drop_traffic();
        let receipt = client.enqueue(Message::new("unacknowledged")).await.expect("room");
        let error = connection_error(&client).await;
        let TransportError::Timeout { stage: Stage::Exchange, after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, silence, "{kind}");
        receipt.await.expect("an acknowledgement on the next connection");
        let bodies: Vec<_> = scene.cloud.log().all().iter().map(|it| it.body_text()).collect();
        assert_eq!(bodies, ["before", "unacknowledged"], "{kind}");
        assert_eq!(scene.proxy.connections(), 2, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_dead_connection_ends_after_one_and_a_half_keep_alives() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let client = scene.client(Duration::from_secs(20), Duration::from_secs(2), slow_reconnect());
        client.connected().await.expect("a login");
        scene.proxy.drop_traffic();
        let error = connection_error(&client).await;
        let TransportError::Timeout { stage: Stage::Exchange, after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, Duration::from_secs(3), "{kind}");
        client.send(Message::new("after")).await.expect("an acknowledgement");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_ends_at_the_login_deadline() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        scene.proxy.drop_traffic_of_next(1);
        let deadline = Duration::from_secs(1);
        let client =
            scene.client(Duration::from_secs(20), Duration::from_secs(60), slow_reconnect().login_deadline(deadline));
        let error = connection_error(&client).await;
        let TransportError::Timeout { after, .. } = error else { panic!("{kind}: {error:?}") };
        assert_eq!(after, deadline, "{kind}");
        client.send(Message::new("after")).await.expect("an acknowledgement");
    }
}

/// The hub delays acknowledgements, like a hub that throttles. It answers pings without delay.
#[tokio::test(flavor = "multi_thread")]
async fn delayed_acknowledgements_do_not_end_the_connection() {
    let hold = seconds("HUBWARD_SOAK_HOLD_SECONDS", 10.0);
    // While an answer is missing, the client closes a connection that delivers no byte for the time `silence`. This
    // time is less than half of the delay of an acknowledgement. So only the answers to pings keep the connection open.
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
            receipt.await.expect("a delayed acknowledgement");
        }
        println!("{kind}: held for {hold:?}, acknowledged after {:?}", started.elapsed());
        assert!(!state.has_changed().expect("it lives"), "{kind}: {:?}", *state.borrow());
        assert_eq!(scene.proxy.connections(), 1, "{kind}");
        assert!(scene.cloud.log().all().iter().all(|it| !it.duplicate), "{kind}: the client sends every message once");
    }
}
