//! What happens after a registration that went well: at the hub.
//!
//! The hub leg of `--transport https` is MQTT, so that every transport has every case.

use std::time::Duration;

use hubward_emulator::{Emulator, Fault, Point};

use super::network::dead_port;
use super::{CASE, Case, DEVICE, Endpoint, Expected, NOTHING, Scene};

const LOGIN: Expected =
    Expected { exit_code: 6, fault: "service", stage: Some("hub-login"), endpoint: Endpoint::Hub, ..NOTHING };

const NOT_ACCEPTED: Expected =
    Expected { exit_code: 5, fault: "credential", hint: "the hub does not accept the device", ..LOGIN };

const SEND: Expected = Expected { stage: Some("hub-send"), endpoint: Endpoint::Hub, ..NOTHING };

/// The hub that every emulator has.
const HUB: &str = "localhost";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "login at the hub: protocol version not accepted",
        arrange: |scene| refuse_login(scene, 1),
        expected: Expected { hint: "MQTT", says: "CONNACK 1", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: client id not accepted",
        arrange: |scene| refuse_login(scene, 2),
        expected: Expected { hint: "id", says: "CONNACK 2", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: unavailable",
        arrange: |scene| {
            refuse_login(scene, 3);
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected { hint: "try again later", says: "CONNACK 3", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: bad user name or password",
        arrange: |scene| refuse_login(scene, 4),
        expected: Expected { says: "CONNACK 4", ..NOT_ACCEPTED },
        ..CASE
    },
    Case {
        name: "login at the hub: not authorized",
        arrange: |scene| refuse_login(scene, 5),
        expected: Expected { says: "CONNACK 5", ..NOT_ACCEPTED },
        ..CASE
    },
    Case {
        name: "a device that is disabled at its hub",
        cloud: |it| it.hubs([HUB]),
        arrange: |scene| {
            // Known to the hub before it registers: DPS leaves its status alone.
            scene.emulator.add_device(HUB, DEVICE).expect("a valid id");
            assert!(scene.emulator.set_device_enabled(HUB, DEVICE, false), "there is such a device");
            scene.argue(["--messages", "1"]);
        },
        expected: NOT_ACCEPTED,
        ..CASE
    },
    Case {
        name: "a device that its hub does not know",
        cloud: |it| it.hubs([ELSEWHERE]),
        arrange: |scene| hub_elsewhere(scene, Trusted::Yes),
        expected: Expected { endpoint: Endpoint::HubNamed(ELSEWHERE), ..NOT_ACCEPTED },
        ..CASE
    },
    Case {
        name: "a hub that is not trusted",
        cloud: |it| it.hubs([ELSEWHERE]),
        arrange: |scene| hub_elsewhere(scene, Trusted::No),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("hub-tls"),
            endpoint: Endpoint::HubNamed(ELSEWHERE),
            hint: "--ca-file",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "a hub that cannot be reached",
        cloud: |it| it.hubs([ELSEWHERE]),
        arrange: |scene| {
            let dead = dead_port(scene);
            scene.argue(["--connect-to", &format!("{ELSEWHERE}::127.0.0.1:{dead}")]);
            scene.argue(["--messages", "1", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 3,
            fault: "network",
            stage: Some("hub-connect"),
            endpoint: Endpoint::HubNamed(ELSEWHERE),
            hint: "is the host name right",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "a hub that never answers the login",
        arrange: |scene| {
            scene.emulator.fault_always(Point::HubConnect, Fault::Never).expect("fits");
            scene.argue(["--messages", "1", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 8,
            fault: "deadline",
            stage: Some("hub-login"),
            endpoint: Endpoint::Hub,
            hint: "--timeout",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "an oversize message",
        arrange: |scene| {
            let file = scene.file("body", &vec![b'x'; 262_145]);
            scene.argue(["--messages", "1", "--body-file", &file]);
        },
        // Refused before anything is registered.
        expected: Expected {
            exit_code: 2,
            fault: "request",
            stage: Some("arguments"),
            hint: "262144",
            says: "262181 bytes",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "messages that are never acknowledged",
        arrange: |scene| {
            let emulator = &scene.emulator;
            emulator.fault(Point::HubPublish, Fault::Delay(Duration::ZERO)).expect("fits");
            emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("fits");
            scene.argue(["--messages", "3", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 10,
            fault: "deadline",
            hint: "--timeout",
            says: "1 of 3 messages acknowledged",
            ..SEND
        },
        ..CASE
    },
    Case {
        name: "no message is ever acknowledged",
        arrange: |scene| {
            scene.emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("fits");
            scene.argue(["--messages", "2", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 10,
            fault: "deadline",
            hint: "--timeout",
            says: "0 of 2 messages acknowledged",
            ..SEND
        },
        ..CASE
    },
    Case {
        name: "a connection that breaks under the first message and comes back",
        arrange: |scene| {
            scene.emulator.fault(Point::HubPublish, Fault::Cut).expect("fits");
            scene.argue(["--messages", "5"]);
        },
        ..CASE
    },
];

/// The hub of a device whose hub is not where its DPS is.
const ELSEWHERE: &str = "hub.example";

fn refuse_login(scene: &mut Scene, code: u8) {
    scene.emulator.fault_always(Point::HubConnect, Fault::Connack(code)).expect("fits");
    scene.argue(["--messages", "1"]);
}

enum Trusted {
    Yes,
    No,
}

/// Lets the hub's name lead to a second emulator: DPS makes the device known to the first one's hub
/// only.
fn hub_elsewhere(scene: &mut Scene, trusted: Trusted) {
    let other = tokio::task::block_in_place(|| {
        let start = Emulator::builder().hubs([ELSEWHERE]).start();
        tokio::runtime::Handle::current().block_on(start).expect("the emulator starts")
    });
    for (port, address) in [(8883, other.mqtt_addr()), (443, other.https_addr())] {
        scene.argue(["--connect-to", &format!("{ELSEWHERE}:{port}:{address}")]);
    }
    if matches!(trusted, Trusted::Yes) {
        let both = format!("{}\n{}", scene.emulator.ca_pem(), other.ca_pem());
        let file = scene.file("both.pem", both.as_bytes());
        scene.argue(["--ca-file", &file]);
    }
    scene.argue(["--messages", "1"]);
    scene.keep.push(Box::new(other));
}
