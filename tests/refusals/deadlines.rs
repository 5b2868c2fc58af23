//! Tests in which a peer is slow or silent. `--timeout` must end the run.

use std::time::Duration;

use hubward::TransportKind;
use hubward_emulator::{Fault, Point};

use super::{CASE, Case, Endpoint, Expected, ONLY_MQTT, ONLY_WEBSOCKET, SUCCESS, Scene};

const TIMED_OUT: Expected = Expected {
    exit_code: 8,
    fault: "deadline",
    stage: Some("dps-tls"),
    endpoint: Endpoint::Dps,
    hint: "accepted the connection but does not answer",
    ..SUCCESS
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a server that accepts and sends nothing",
        arrange: |scene| {
            let listener = listen_silently(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{listener}"));
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: TIMED_OUT,
        ..CASE
    },
    Case {
        name: "a server that never starts TLS",
        arrange: |scene| stall(scene, accept_point(scene.kind), Fault::Never),
        expected: TIMED_OUT,
        ..CASE
    },
    Case {
        name: "a server that sends its handshake byte by byte",
        arrange: |scene| stall(scene, accept_point(scene.kind), Fault::Drip(Duration::from_secs(1))),
        expected: TIMED_OUT,
        ..CASE
    },
    Case {
        name: "a server that never upgrades to WebSocket",
        arrange: |scene| stall(scene, Point::WebSocketUpgrade, Fault::Never),
        expected: Expected { stage: Some("dps-upgrade"), ..TIMED_OUT },
        except: ONLY_WEBSOCKET,
        ..CASE
    },
    Case {
        name: "a server that never answers the login",
        arrange: |scene| stall(scene, Point::DpsConnect, Fault::Never),
        expected: Expected { stage: Some("dps-login"), ..TIMED_OUT },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "a server that never answers the subscription",
        arrange: |scene| stall(scene, Point::DpsSubscribe, Fault::Never),
        expected: Expected { stage: Some("dps-subscribe"), ..TIMED_OUT },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "a server that never answers the registration",
        arrange: |scene| stall(scene, Point::DpsRegister, Fault::Never),
        expected: Expected { stage: Some("dps-register"), ..TIMED_OUT },
        ..CASE
    },
    Case {
        name: "a server that sends its answer byte by byte",
        arrange: |scene| stall(scene, Point::DpsRegister, Fault::Drip(Duration::from_secs(1))),
        expected: Expected { stage: Some("dps-register"), ..TIMED_OUT },
        ..CASE
    },
    Case {
        name: "a server that never answers a poll",
        arrange: |scene| stall(scene, Point::DpsPoll, Fault::Never),
        expected: Expected { stage: Some("dps-poll"), ..TIMED_OUT },
        ..CASE
    },
    Case {
        name: "a hub that accepts and sends nothing",
        cloud: |it| it.hubs([HUB]),
        arrange: |scene| {
            let port = listen_silently(scene);
            redirect_hub(scene, port);
        },
        expected: Expected {
            stage: Some("hub-tls"),
            endpoint: Endpoint::HubNamed(HUB),
            hint: "--timeout",
            ..TIMED_OUT
        },
        ..CASE
    },
    Case {
        name: "a hub that sends its answer to the login byte by byte",
        arrange: |scene| {
            stall(scene, Point::HubConnect, Fault::Drip(Duration::from_secs(30)));
            scene.add_arguments(["--messages", "1"]);
        },
        expected: Expected { stage: Some("hub-login"), endpoint: Endpoint::Hub, hint: "--timeout", ..TIMED_OUT },
        ..CASE
    },
];

const HUB: &str = "hub.example";

/// Adds an option with which the command connects to this local port instead of the hub. The connection to DPS does not
/// change.
fn redirect_hub(scene: &mut Scene, port: u16) {
    scene.add_arguments(["--connect-to", &format!("{HUB}::127.0.0.1:{port}"), "--messages", "1", "--timeout", "7s"]);
}

/// Returns the fault point at which the emulator accepts connections of this transport.
const fn accept_point(kind: TransportKind) -> Point {
    if hubward_tests::cloud::is_web(kind) { Point::HttpsAccept } else { Point::MqttAccept }
}

fn stall(scene: &mut Scene, point: Point, fault: Fault) {
    scene.fault_always(point, fault);
    scene.add_arguments(["--timeout", "12s"]);
}

/// Listens on a port, but never accepts a connection. The operating system still completes the TCP handshake.
fn listen_silently(scene: &mut Scene) -> u16 {
    let (listener, port) = Scene::listen();
    scene.keep.push(Box::new(listener));
    port
}
