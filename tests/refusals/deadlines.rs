//! `--timeout` holds against peers that take their time.

use std::time::Duration;

use hubward::TransportKind;
use hubward_emulator::{Fault, Point};
use tokio::net::TcpListener;

use super::{CASE, Case, Endpoint, Expected, HTTPS_HAS_NO_MQTT, NOTHING, Scene};

const LATE: Expected = Expected {
    exit_code: 8,
    fault: "deadline",
    stage: Some("dps-tls"),
    endpoint: Endpoint::Dps,
    hint: "accepted the connection but does not answer",
    ..NOTHING
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a server that accepts and never says a word",
        arrange: |scene| {
            let listener = silent(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{listener}"));
            scene.argue(["--timeout", "12s"]);
        },
        expected: LATE,
        ..CASE
    },
    Case {
        name: "a server that never starts TLS",
        arrange: |scene| slow(scene, accept(scene.kind), Fault::Never),
        expected: LATE,
        ..CASE
    },
    Case {
        name: "a server that drips its handshake",
        arrange: |scene| slow(scene, accept(scene.kind), Fault::Drip(Duration::from_secs(1))),
        expected: LATE,
        ..CASE
    },
    Case {
        name: "a server that never upgrades to WebSocket",
        arrange: |scene| slow(scene, Point::WebSocketUpgrade, Fault::Never),
        expected: Expected { stage: Some("dps-upgrade"), ..LATE },
        not_over: &[
            (TransportKind::Https, "there is no WebSocket to upgrade to over HTTPS"),
            (TransportKind::Mqtt, "there is no WebSocket to upgrade to over plain MQTT"),
        ],
        ..CASE
    },
    Case {
        name: "a server that never answers the login",
        arrange: |scene| slow(scene, Point::DpsConnect, Fault::Never),
        expected: Expected { stage: Some("dps-login"), ..LATE },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "a server that never answers the subscription",
        arrange: |scene| slow(scene, Point::DpsSubscribe, Fault::Never),
        expected: Expected { stage: Some("dps-subscribe"), ..LATE },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "a server that never answers the registration",
        arrange: |scene| slow(scene, Point::DpsRegister, Fault::Never),
        expected: Expected { stage: Some("dps-register"), ..LATE },
        ..CASE
    },
    Case {
        name: "a server that drips its answer",
        arrange: |scene| slow(scene, Point::DpsRegister, Fault::Drip(Duration::from_secs(1))),
        expected: Expected { stage: Some("dps-register"), ..LATE },
        ..CASE
    },
    Case {
        name: "a server that never answers a poll",
        arrange: |scene| slow(scene, Point::DpsPoll, Fault::Never),
        expected: Expected { stage: Some("dps-poll"), ..LATE },
        ..CASE
    },
    Case {
        name: "a hub that accepts and never says a word",
        cloud: |it| it.hubs([HUB]),
        arrange: |scene| {
            let port = silent(scene);
            hub_at(scene, port);
        },
        expected: Expected { stage: Some("hub-tls"), endpoint: Endpoint::HubNamed(HUB), hint: "--timeout", ..LATE },
        ..CASE
    },
    Case {
        name: "a hub that drips its answer to the login",
        arrange: |scene| {
            slow(scene, Point::HubConnect, Fault::Drip(Duration::from_secs(30)));
            scene.argue(["--messages", "1"]);
        },
        expected: Expected { stage: Some("hub-login"), endpoint: Endpoint::Hub, hint: "--timeout", ..LATE },
        ..CASE
    },
];

const HUB: &str = "hub.example";

/// A hub that is not where its DPS is.
fn hub_at(scene: &mut Scene, port: u16) {
    scene.argue(["--connect-to", &format!("{HUB}::127.0.0.1:{port}"), "--messages", "1", "--timeout", "7s"]);
}

/// Where a connection of this transport begins.
const fn accept(kind: TransportKind) -> Point {
    if hubward_tests::cloud::is_web(kind) { Point::HttpsAccept } else { Point::MqttAccept }
}

fn slow(scene: &mut Scene, point: Point, fault: Fault) {
    scene.emulator.fault_always(point, fault).expect("fits");
    scene.argue(["--timeout", "12s"]);
}

/// A listener that takes connections, since the system does so for it, and never looks at them.
fn silent(scene: &mut Scene) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    scene.keep.push(Box::new(listener));
    port
}
