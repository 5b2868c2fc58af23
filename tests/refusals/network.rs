//! Peers that cannot be reached, or not be trusted.

use hubward_emulator::BadCertificate;
use tokio::net::TcpSocket;

use super::{CASE, Case, Endpoint, Expected, NOTHING, Scene};

const CONNECT: Expected = Expected {
    exit_code: 3,
    fault: "network",
    stage: Some("dps-connect"),
    endpoint: Endpoint::Dps,
    hint: "is the host name right",
    ..NOTHING
};

const TLS: Expected =
    Expected { exit_code: 4, fault: "tls", stage: Some("dps-tls"), endpoint: Endpoint::Dps, ..NOTHING };

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a port where nobody listens",
        arrange: |scene| {
            let dead = dead_port(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{dead}"));
            scene.argue(["--timeout", "1s"]);
        },
        expected: Expected { says: "refused", ..CONNECT },
        ..CASE
    },
    Case {
        name: "a name that does not resolve",
        arrange: |scene| {
            scene.set("PROVISIONING_HOST", "dps.invalid");
            scene.set("HUBWARD_CONNECT_TO", "");
            scene.argue(["--timeout", "3s"]);
        },
        expected: Expected { endpoint: Endpoint::DpsNamed("dps.invalid"), ..CONNECT },
        ..CASE
    },
    Case {
        name: "an untrusted certificate",
        cloud: |it| it.certificate(BadCertificate::UntrustedCa),
        expected: Expected { hint: "--ca-file", ..TLS },
        ..CASE
    },
    Case {
        name: "an expired certificate",
        cloud: |it| it.certificate(BadCertificate::Expired),
        expected: Expected { hint: "is this machine's clock right?", ..TLS },
        ..CASE
    },
    Case {
        name: "a certificate for another name",
        cloud: |it| it.certificate(BadCertificate::WrongName),
        expected: Expected { hint: "check PROVISIONING_HOST", ..TLS },
        ..CASE
    },
    Case {
        name: "a server without TLS",
        arrange: |scene| {
            let plain = scene.emulator.admin_addr();
            scene.set("HUBWARD_CONNECT_TO", format!("::{plain}"));
        },
        expected: Expected { hint: "is this the right port?", ..TLS },
        ..CASE
    },
];

/// A port that is taken, so that nobody else gets it, but where nobody listens.
pub(super) fn dead_port(scene: &mut Scene) -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    scene.keep.push(Box::new(socket));
    port
}
