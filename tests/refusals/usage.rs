//! Tests of errors that the program detects by itself before it connects.

use super::{CASE, Case, Endpoint, Expected, SUCCESS};

const USAGE: Expected =
    Expected { exit_code: 2, fault: "request", stage: Some("arguments"), endpoint: Endpoint::None, ..SUCCESS };

pub(super) const CASES: &[Case] = &[
    Case {
        name: "no variables",
        arrange: |scene| scene.variables.clear(),
        expected: Expected {
            hint: "--dps-host, --id-scope, --registration-id, --symmetric-key-file",
            message: "not set: PROVISIONING_HOST, PROVISIONING_IDSCOPE, PROVISIONING_REGISTRATION_ID, \
                   PROVISIONING_SYMMETRIC_KEY",
            ..USAGE
        },
        ..CASE
    },
    Case {
        name: "a key that is not base64",
        arrange: |scene| scene.set("PROVISIONING_SYMMETRIC_KEY", "not base64!"),
        expected: Expected { hint: "--symmetric-key-file", message: "PROVISIONING_SYMMETRIC_KEY", ..USAGE },
        ..CASE
    },
    Case {
        name: "a payload that is not JSON",
        arrange: |scene| scene.add_arguments(["--payload", "{serial: 1}"]),
        expected: Expected { hint: "JSON", message: "--payload is not JSON", ..USAGE },
        ..CASE
    },
    Case {
        name: "a host with a scheme",
        arrange: |scene| scene.add_arguments(["--dps-host", "https://dps.example/"]),
        expected: Expected { hint: "--dps-host", message: "is not a host name", ..USAGE },
        ..CASE
    },
    Case {
        name: "an unknown argument",
        arrange: |scene| scene.add_arguments(["--registraton-id", "dev-1"]),
        expected: Expected { hint: "--help", message: "--registraton-id", ..USAGE },
        ..CASE
    },
    Case {
        name: "a duration without a unit",
        arrange: |scene| scene.add_arguments(["--timeout", "20"]),
        expected: Expected { hint: "--help", message: "500ms", ..USAGE },
        ..CASE
    },
    Case {
        name: "a CA file that does not exist",
        arrange: |scene| scene.add_arguments(["--ca-file", "/nowhere/ca.pem"]),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("settings"),
            hint: "PEM",
            message: "/nowhere/ca.pem",
            ..USAGE
        },
        ..CASE
    },
    #[cfg(unix)]
    Case {
        name: "an endless CA file",
        arrange: |scene| scene.add_arguments(["--ca-file", "/dev/zero"]),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("settings"),
            hint: "PEM",
            message: "is larger than 4194304 bytes",
            ..USAGE
        },
        ..CASE
    },
    Case {
        name: "HTTPS to the hub",
        // The program refuses the transport, and does not register the device.
        arrange: |scene| {
            let never = hubward_emulator::Fault::status(400, 400_000, "it registered");
            scene.fault_always(hubward_emulator::Point::DpsRegister, never);
            scene.add_arguments(["--hub-transport", "https", "--messages", "1"]);
        },
        expected: Expected {
            exit_code: 11,
            fault: "unsupported",
            stage: Some("settings"),
            hint: "--hub-transport",
            message: "the transport https does not reach hubs yet",
            ..USAGE
        },
        ..CASE
    },
];
