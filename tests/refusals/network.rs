//! Tests with peers that the program cannot reach or does not trust.

use hubward_emulator::BadCertificate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::{CASE, Case, Endpoint, Expected, SUCCESS, Scene};

const CONNECT: Expected = Expected {
    exit_code: 3,
    fault: "network",
    stage: Some("dps-connect"),
    endpoint: Endpoint::Dps,
    hint: "is the host name right",
    ..SUCCESS
};

const TLS: Expected =
    Expected { exit_code: 4, fault: "tls", stage: Some("dps-tls"), endpoint: Endpoint::Dps, ..SUCCESS };

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a port without a listener",
        arrange: |scene| {
            let dead = closed_port(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{dead}"));
        },
        // The case sets no `--timeout`: the command must end by itself, long before the two minutes that a registration
        // may take.
        expected: Expected { message: "refused", hint: "is the emulator running?", ..CONNECT },
        ..CASE
    },
    Case {
        name: "a name that does not resolve",
        arrange: |scene| {
            scene.set("PROVISIONING_HOST", "dps.invalid");
            scene.set("HUBWARD_CONNECT_TO", "");
            scene.add_arguments(["--timeout", "8s"]);
        },
        expected: Expected { endpoint: Endpoint::DpsNamed("dps.invalid"), ..CONNECT },
        ..CASE
    },
    Case {
        name: "an untrusted certificate",
        cloud: |it| it.certificate(BadCertificate::UntrustedCa),
        expected: Expected {
            hint: "--ca-file); to connect to Azure, trust the system's authorities again: unset HUBWARD_CA_FILE",
            ..TLS
        },
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
        name: "a name without a certificate",
        arrange: |scene| {
            let (mqtt, https) = (scene.emulator.mqtt_addr(), scene.emulator.https_addr());
            scene.set("PROVISIONING_HOST", "dps.exmaple");
            scene.set("HUBWARD_CONNECT_TO", format!(":8883:{mqtt},:443:{https}"));
        },
        expected: Expected {
            endpoint: Endpoint::DpsNamed("dps.exmaple"),
            message: "the server has no certificate for this name",
            hint: "check the host name `dps.exmaple`",
            ..TLS
        },
        ..CASE
    },
    Case {
        name: "a server without TLS",
        arrange: |scene| {
            let plain = start_plain_http(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{plain}"));
        },
        expected: Expected { hint: "is this the right port?", ..TLS },
        ..CASE
    },
];

/// Returns a port on which no process listens. This process binds the port, so that no other process can listen on it.
pub(super) fn closed_port(scene: &mut Scene) -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    scene.keep.push(Box::new(socket));
    port
}

/// A web server without TLS.
fn start_plain_http(scene: &mut Scene) -> u16 {
    let (listener, port) = Scene::listen();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The server does not know TLS, so it answers the handshake with an HTTP error. Ignore a failed write: the
            // client may already have closed the connection.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    scene.keep.push(Box::new(server));
    port
}
