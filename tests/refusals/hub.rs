//! Failures at the hub, after a successful registration.
//!
//! With `--transport https` the program uses MQTT to connect to the hub. So every case applies to every transport.

use std::time::Duration;

use hubward_emulator::{Emulator, Fault, Point};

use super::network::closed_port;
use super::{CASE, Case, DEVICE, Endpoint, Expected, SUCCESS, Scene};

const LOGIN: Expected =
    Expected { exit_code: 6, fault: "service", stage: Some("hub-login"), endpoint: Endpoint::Hub, ..SUCCESS };

const DEVICE_REFUSED: Expected =
    Expected { exit_code: 5, fault: "credential", hint: "the hub does not accept the device", ..LOGIN };

const SEND: Expected = Expected { stage: Some("hub-send"), endpoint: Endpoint::Hub, ..SUCCESS };

/// The default hub of an emulator.
const HUB: &str = "localhost";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "login at the hub: protocol version not accepted",
        arrange: |scene| refuse_login(scene, 1),
        expected: Expected { hint: "MQTT", message: "CONNACK 1", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: client id not accepted",
        arrange: |scene| refuse_login(scene, 2),
        expected: Expected { hint: "id", message: "CONNACK 2", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: unavailable",
        arrange: |scene| {
            refuse_login(scene, 3);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected { hint: "try again later", message: "CONNACK 3", ..LOGIN },
        ..CASE
    },
    Case {
        name: "login at the hub: bad user name or password",
        arrange: |scene| refuse_login(scene, 4),
        expected: Expected { message: "CONNACK 4", ..DEVICE_REFUSED },
        ..CASE
    },
    Case {
        name: "login at the hub: not authorized",
        arrange: |scene| refuse_login(scene, 5),
        expected: Expected { message: "CONNACK 5", ..DEVICE_REFUSED },
        ..CASE
    },
    Case {
        name: "a device that is disabled at its hub",
        cloud: |it| it.hubs([HUB]),
        arrange: |scene| {
            // The hub already has the device, and the device is disabled there. DPS finds the device at the hub and
            // does not enable it.
            scene.emulator.add_device(HUB, DEVICE).expect("a valid id");
            assert!(scene.emulator.set_device_enabled(HUB, DEVICE, false), "the device exists");
            scene.add_arguments(["--messages", "1"]);
        },
        expected: DEVICE_REFUSED,
        ..CASE
    },
    Case {
        name: "a device that its hub does not know",
        cloud: |it| it.hubs([OTHER_HUB]),
        arrange: |scene| redirect_hub(scene, Trusted::Yes),
        expected: Expected { endpoint: Endpoint::HubNamed(OTHER_HUB), ..DEVICE_REFUSED },
        ..CASE
    },
    Case {
        name: "a hub that is not trusted",
        cloud: |it| it.hubs([OTHER_HUB]),
        arrange: |scene| redirect_hub(scene, Trusted::No),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("hub-tls"),
            endpoint: Endpoint::HubNamed(OTHER_HUB),
            hint: "--ca-file",
            ..SUCCESS
        },
        ..CASE
    },
    Case {
        name: "a hub that cannot be reached",
        cloud: |it| it.hubs([OTHER_HUB]),
        arrange: |scene| {
            let dead = closed_port(scene);
            scene.add_arguments(["--connect-to", &format!("{OTHER_HUB}::127.0.0.1:{dead}")]);
            scene.add_arguments(["--messages", "1"]);
        },
        expected: Expected {
            exit_code: 3,
            fault: "network",
            stage: Some("hub-connect"),
            endpoint: Endpoint::HubNamed(OTHER_HUB),
            hint: "is the emulator running?",
            ..SUCCESS
        },
        ..CASE
    },
    Case {
        name: "a hub that never answers the login",
        arrange: |scene| {
            scene.fault_always(Point::HubConnect, Fault::Never);
            scene.add_arguments(["--messages", "1", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 8,
            fault: "deadline",
            stage: Some("hub-login"),
            endpoint: Endpoint::Hub,
            hint: "--timeout",
            ..SUCCESS
        },
        ..CASE
    },
    Case {
        name: "an oversize message",
        arrange: |scene| {
            let file = scene.file("body", &vec![b'x'; 262_145]);
            scene.add_arguments(["--messages", "1", "--body-file", &file]);
        },
        // The program refuses the message, and does not register the device.
        expected: Expected {
            exit_code: 2,
            fault: "request",
            stage: Some("arguments"),
            hint: "262144",
            message: "262181 bytes",
            ..SUCCESS
        },
        ..CASE
    },
    Case {
        name: "a hub that acknowledges only the first message",
        arrange: |scene| {
            scene.fault(Point::HubPublish, Fault::Delay(Duration::ZERO));
            scene.fault_always(Point::HubPublish, Fault::HoldPuback);
            scene.add_arguments(["--messages", "3", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 10,
            fault: "deadline",
            hint: "--timeout",
            message: "1 of 3 messages acknowledged",
            ..SEND
        },
        ..CASE
    },
    Case {
        name: "a hub that acknowledges no message",
        arrange: |scene| {
            scene.fault_always(Point::HubPublish, Fault::HoldPuback);
            scene.add_arguments(["--messages", "2", "--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 10,
            fault: "deadline",
            hint: "--timeout",
            message: "0 of 2 messages acknowledged",
            ..SEND
        },
        ..CASE
    },
    Case {
        name: "a connection that is lost at the first message and restored",
        arrange: |scene| {
            scene.fault(Point::HubPublish, Fault::Cut);
            scene.add_arguments(["--messages", "5"]);
        },
        ..CASE
    },
];

/// The name of a hub that does not have the same address as DPS.
const OTHER_HUB: &str = "hub.example";

fn refuse_login(scene: &mut Scene, code: u8) {
    scene.fault_always(Point::HubConnect, Fault::Connack(code));
    scene.add_arguments(["--messages", "1"]);
}

enum Trusted {
    Yes,
    No,
}

/// Starts a second emulator, and makes the command connect to it instead of the hub. The second emulator does not have
/// the device. Only the first emulator has it.
fn redirect_hub(scene: &mut Scene, trusted: Trusted) {
    let other = tokio::task::block_in_place(|| {
        let start = Emulator::builder().hubs([OTHER_HUB]).start();
        tokio::runtime::Handle::current().block_on(start).expect("the emulator starts")
    });
    for (port, address) in [(8883, other.mqtt_addr()), (443, other.https_addr())] {
        scene.add_arguments(["--connect-to", &format!("{OTHER_HUB}:{port}:{address}")]);
    }
    if matches!(trusted, Trusted::Yes) {
        let both = format!("{}\n{}", scene.emulator.ca_pem(), other.ca_pem());
        let file = scene.file("both.pem", both.as_bytes());
        scene.add_arguments(["--ca-file", &file]);
    }
    scene.add_arguments(["--messages", "1"]);
    scene.keep.push(Box::new(other));
}
