//! MQTT over WebSocket, with a hand-written handshake and frames.

use hubward_emulator::Emulator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{
    Login, QOS1, Tls, connect, dps_connect, dps_token, http, patient, publish, read_head, send, subscribe, tls, token,
};

fn handshake(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

/// A WebSocket after its handshake.
pub(crate) async fn upgraded(emulator: &Emulator, path: &str) -> Tls {
    let mut stream = tls(emulator, emulator.https_addr()).await;
    upgrade(&mut stream, path).await;
    stream
}

/// Performs the handshake of a WebSocket on a TLS connection.
pub(crate) async fn upgrade(stream: &mut Tls, path: &str) {
    send(stream, handshake(path, "Sec-WebSocket-Protocol: mqtt\r\n").as_bytes()).await;
    let head = patient(read_head(stream)).await.expect("an answer").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // The example of RFC 6455, section 1.3.
    for line in [
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "sec-websocket-protocol: mqtt",
        "upgrade: websocket",
        "connection: upgrade",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
}

/// Sends one binary frame, masked with zeros.
pub(crate) async fn send_frame(stream: &mut Tls, payload: &[u8]) {
    let mut frame = vec![0x82];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("short")),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(long).expect("not longer").to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    send(stream, &frame).await;
}

pub(crate) async fn receive_frame(stream: &mut Tls) -> (u8, Vec<u8>) {
    patient(async {
        let kind = stream.read_u8().await.expect("a frame");
        let length = match stream.read_u8().await.expect("a length") {
            126 => usize::from(stream.read_u16().await.expect("a length")),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("the payload");
        (kind, payload)
    })
    .await
}

#[tokio::test]
async fn telemetry_over_every_path_the_sdks_use() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let password = token(&key, "localhost/devices/d1");
    let login = Login {
        client_id: "d1",
        username: "localhost/d1/?api-version=2021-04-12",
        password: &password,
        clean: true,
        keep_alive: 60,
        will: None,
    };
    for path in ["/$iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true", "/", "/%24iothub/websocket"] {
        let mut stream = upgraded(&emulator, path).await;
        // One frame may contain only a part of a packet, or several packets.
        let mut bytes = connect(&login);
        bytes.extend(publish(QOS1, "devices/d1/messages/events/", 5, path.as_bytes()));
        let (head, tail) = bytes.split_at(9);
        send_frame(&mut stream, head).await;
        send_frame(&mut stream, tail).await;
        let mut answers = Vec::new();
        while answers.len() < 8 {
            let (kind, payload) = receive_frame(&mut stream).await;
            assert_eq!(kind, 0x82, "a binary frame");
            answers.extend(payload);
        }
        assert_eq!(answers, b"\x20\x02\x00\x00\x40\x02\x00\x05");
    }
    assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 4);
}

#[tokio::test]
async fn registers_over_websocket() {
    let emulator = Emulator::builder().polls_before_assigned(0).start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let password = dps_token(&emulator, device.primary_key(), "dev-1");
    let mut stream = upgraded(&emulator, "/$iothub/websocket").await;
    let (mut near, mut far) = tokio::io::duplex(4096);
    let mut connect = vec![0; 4096];
    let (_, length) = tokio::join!(
        async {
            // This codec only encodes the bytes. Its other end never answers.
            drop(
                tokio::time::timeout(
                    std::time::Duration::ZERO,
                    dps_connect(&mut near, emulator.id_scope(), "dev-1", &password),
                )
                .await,
            );
            drop(near);
        },
        async { far.read(&mut connect).await.expect("bytes") }
    );
    connect.truncate(length);
    connect.extend(subscribe(1, &[("$dps/registrations/res/#", 0)]));
    connect.extend(publish(0, "$dps/registrations/PUT/iotdps-register/?$rid=1", 0, b""));
    send_frame(&mut stream, &connect).await;
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains("assigning") {
        answers.extend(receive_frame(&mut stream).await.1);
    }
    assert!(String::from_utf8_lossy(&answers).contains("$dps/registrations/res/202/?$rid=1&retry-after=0"));
}

#[tokio::test]
async fn invalid_handshakes_are_refused() {
    let emulator = Emulator::start().await.expect("started");
    let good = "Sec-WebSocket-Protocol: mqtt\r\n";
    for (request, status) in [
        (handshake("/$iothub/websocket", ""), 400),
        (handshake("/$iothub/websocket", "Sec-WebSocket-Protocol: amqp\r\n"), 400),
        (handshake("/elsewhere", good), 404),
        (handshake("/", good).replacen("GET", "POST", 1), 405),
        (handshake("/", good).replace("Version: 13", "Version: 8"), 426),
        (handshake("/", good).replace("Sec-WebSocket-Key", "X-Key"), 400),
        (handshake("/", good).replace("keep-alive, Upgrade", "keep-alive"), 400),
    ] {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert_eq!(reply.status, status, "{request}");
        assert!(reply.json()["trackingId"].is_string());
    }
    // The client offers several subprotocols, including `mqtt`.
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    send(&mut stream, handshake("/", "Sec-WebSocket-Protocol: amqp, MQTT\r\n").as_bytes()).await;
    assert!(patient(read_head(&mut stream)).await.expect("an answer").starts_with("HTTP/1.1 101"));
}

#[tokio::test]
async fn text_frames_end_the_connection() {
    let emulator = Emulator::start().await.expect("started");
    let mut stream = upgraded(&emulator, "/").await;
    patient(stream.write_all(b"\x81\x82\x00\x00\x00\x00hi")).await.expect("sent");
    let mut rest = Vec::new();
    let _ = patient(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() || rest[0] == 0x88, "nothing, or a Close: {rest:x?}");
}
