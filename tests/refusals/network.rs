//! Peers that cannot be reached, or not be trusted.

use hubward_emulator::BadCertificate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

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
            scene.argue(["--timeout", "6s"]);
        },
        expected: Expected { says: "refused", ..CONNECT },
        ..CASE
    },
    Case {
        name: "a name that does not resolve",
        arrange: |scene| {
            scene.set("PROVISIONING_HOST", "dps.invalid");
            scene.set("HUBWARD_CONNECT_TO", "");
            scene.argue(["--timeout", "8s"]);
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
            let plain = plain_http(scene);
            scene.set("HUBWARD_CONNECT_TO", format!("::127.0.0.1:{plain}"));
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

/// A web server that knows no TLS.
fn plain_http(scene: &mut Scene) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // It cannot read what TLS says, and answers as far as the peer listens.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    scene.keep.push(Box::new(server));
    port
}
