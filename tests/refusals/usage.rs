//! What the command refuses on its own, before or without talking to anybody.

use super::{CASE, Case, Endpoint, Expected, NOTHING};

const USAGE: Expected =
    Expected { exit_code: 2, fault: "request", stage: Some("arguments"), endpoint: Endpoint::None, ..NOTHING };

pub(super) const CASES: &[Case] = &[
    Case {
        name: "no variables at all",
        arrange: |scene| scene.variables.clear(),
        expected: Expected {
            hint: "--dps-host, --id-scope, --registration-id, --symmetric-key-file",
            says: "not set: PROVISIONING_HOST, PROVISIONING_IDSCOPE, PROVISIONING_REGISTRATION_ID, \
                   PROVISIONING_SYMMETRIC_KEY",
            ..USAGE
        },
        ..CASE
    },
    Case {
        name: "a key that is no base64",
        arrange: |scene| scene.set("PROVISIONING_SYMMETRIC_KEY", "not base64!"),
        expected: Expected { hint: "--symmetric-key-file", says: "PROVISIONING_SYMMETRIC_KEY", ..USAGE },
        ..CASE
    },
    Case {
        name: "a payload that is no JSON",
        arrange: |scene| scene.argue(["--payload", "{serial: 1}"]),
        expected: Expected { hint: "JSON", says: "--payload is not JSON", ..USAGE },
        ..CASE
    },
    Case {
        name: "a host with a scheme",
        arrange: |scene| scene.argue(["--dps-host", "https://dps.example/"]),
        expected: Expected { hint: "--dps-host", says: "is not a host name", ..USAGE },
        ..CASE
    },
    Case {
        name: "an argument that there is not",
        arrange: |scene| scene.argue(["--registraton-id", "dev-1"]),
        expected: Expected { hint: "--help", says: "--registraton-id", ..USAGE },
        ..CASE
    },
    Case {
        name: "a duration without a unit",
        arrange: |scene| scene.argue(["--timeout", "20"]),
        expected: Expected { hint: "--help", says: "500ms", ..USAGE },
        ..CASE
    },
    Case {
        name: "a CA file that is not there",
        arrange: |scene| scene.argue(["--ca-file", "/nowhere/ca.pem"]),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("settings"),
            hint: "PEM",
            says: "/nowhere/ca.pem",
            ..USAGE
        },
        ..CASE
    },
    #[cfg(unix)]
    Case {
        name: "a CA file without end",
        arrange: |scene| scene.argue(["--ca-file", "/dev/zero"]),
        expected: Expected {
            exit_code: 4,
            fault: "tls",
            stage: Some("settings"),
            hint: "PEM",
            says: "is larger than 4194304 bytes",
            ..USAGE
        },
        ..CASE
    },
    Case {
        name: "HTTPS to the hub",
        // Refused before anything is registered.
        arrange: |scene| {
            let never = hubward_emulator::Fault::status(400, 400_000, "it registered");
            scene.emulator.fault_always(hubward_emulator::Point::DpsRegister, never).expect("fits");
            scene.argue(["--hub-transport", "https", "--messages", "1"]);
        },
        expected: Expected {
            exit_code: 11,
            fault: "unsupported",
            stage: Some("settings"),
            hint: "--hub-transport",
            says: "the transport https does not reach hubs yet",
            ..USAGE
        },
        ..CASE
    },
];
