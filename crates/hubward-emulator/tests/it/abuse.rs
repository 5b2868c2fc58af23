//! Tests with clients that are slow, silent or unauthenticated, or that open too many connections. The emulator refuses
//! these clients or lets them wait. Meanwhile, a healthy device can still use the emulator.

use std::net::SocketAddr;
use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::SharedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{
    Login, QOS1, Tls, before_pong, connect, dps_token, http, hub_connect, patient, publish, receive, send, tls,
};

/// The first bytes of a TLS handshake.
const PARTIAL_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Slow clients. Each item has three values: the step at which the client stops, whether the client uses TLS, and the
/// bytes that the client sends.
const SLOW: [(&str, bool, &[u8]); 9] = [
    ("before TLS", false, b""),
    ("in the handshake", false, PARTIAL_HELLO),
    ("before CONNECT", true, b""),
    ("in CONNECT", true, b"\x10\x80\x01\x00\x04MQTT"),
    ("in a request line", true, b"GET /"),
    ("in a head", true, b"GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\n"),
    (
        "in a body",
        true,
        b"PUT /0ne000DECADE/registrations/d1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
          Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n{",
    ),
    (
        "in a chunk",
        true,
        b"PUT /0ne000DECADE/registrations/d1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
          Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{",
    ),
    (
        "in a WebSocket",
        true,
        b"GET /$iothub/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Protocol: mqtt\r\n\r\n\x82\xfe\x01\x00\x00\x00",
    ),
];

/// A connection that stays open.
enum Slow {
    Plain(TcpStream),
    Secure(Box<Tls>),
}

impl Slow {
    async fn open(emulator: &Emulator, address: SocketAddr, over_tls: bool, bytes: &[u8]) -> Self {
        if over_tls {
            let mut stream = tls(emulator, address).await;
            send(&mut stream, bytes).await;
            return Self::Secure(Box::new(stream));
        }
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(bytes).await.expect("sent");
        Self::Plain(stream)
    }

    /// Waits until the emulator has closed the connection.
    async fn is_closed(&mut self) {
        let mut discarded = [0; 1024];
        let closing = async {
            loop {
                let read = match self {
                    Self::Plain(stream) => stream.read(&mut discarded).await,
                    Self::Secure(stream) => stream.read(&mut discarded).await,
                };
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
        };
        patient(closing).await;
    }
}

/// Sends a message and reads its acknowledgement.
async fn sends(stream: &mut Tls, id: u16) {
    send(stream, &publish(QOS1, "devices/d1/messages/events/", id, b"on")).await;
    let [high, low] = id.to_be_bytes();
    assert_eq!(receive(stream).await.as_deref(), Some(&[0x40, 2, high, low][..]));
}

async fn connects(emulator: &Emulator, key: &SharedKey) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    let connack = hub_connect(&mut stream, "d1", key, true).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    stream
}

/// Registers a device over HTTPS on a new connection.
async fn registers(emulator: &Emulator, key: &SharedKey) {
    let request = format!(
        "PUT /{}/registrations/healthy/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope(),
        dps_token(emulator, key, "healthy"),
    );
    let mut stream = tls(emulator, emulator.https_addr()).await;
    assert_eq!(http(&mut stream, &request).await.expect("an answer").status, 202);
}

#[tokio::test]
async fn slow_clients_of_every_kind_delay_no_other_client() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let enrolled = emulator.enroll("healthy").expect("enrolled").primary_key().clone();
    let mut device = connects(&emulator, &key).await;
    let mut slow = Vec::new();
    for (name, over_tls, bytes) in SLOW {
        for address in [emulator.mqtt_addr(), emulator.https_addr()] {
            for _ in 0..8 {
                slow.push((name, Slow::open(&emulator, address, over_tls, bytes).await));
            }
        }
    }
    #[cfg(feature = "admin")]
    for bytes in [
        &b""[..],
        b"GET /hea",
        b"PATCH /hubs/localhost/twins/d1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    ] {
        for _ in 0..8 {
            slow.push(("admin", Slow::open(&emulator, emulator.admin_addr(), false, bytes).await));
        }
    }
    for id in 1..=20 {
        sends(&mut device, id).await;
    }
    registers(&emulator, &enrolled).await;
    sends(&mut connects(&emulator, &key).await, 1).await;
    #[cfg(feature = "admin")]
    {
        let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("it listens");
        let health = http(&mut stream, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer");
        assert_eq!(health.status, 200);
    }
    drop(slow);
}

#[tokio::test]
async fn more_half_open_connections_than_slots_keep_no_client_out() {
    let mut tests = JoinSet::new();
    for (name, over_tls, bytes) in &SLOW {
        tests.spawn(keep_no_client_out(name, *over_tls, bytes));
    }
    while let Some(ended) = tests.join_next().await {
        ended.expect("no panic");
    }
}

async fn keep_no_client_out(name: &'static str, over_tls: bool, bytes: &'static [u8]) {
    let emulator = Emulator::builder().max_connections(4).start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let enrolled = emulator.enroll("healthy").expect("enrolled").primary_key().clone();
    let mut device = connects(&emulator, &key).await;
    let address = match name {
        "before CONNECT" | "in CONNECT" => emulator.mqtt_addr(),
        _ => emulator.https_addr(),
    };
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(Slow::open(&emulator, address, over_tls, bytes).await);
    }
    sends(&mut device, 1).await;
    // The slow clients now occupy every slot for pending connections. The emulator must still serve a registration and
    // a device.
    registers(&emulator, &enrolled).await;
    sends(&mut connects(&emulator, &key).await, 1).await;
    assert_eq!(receive(&mut device).await, None, "{name}: its newer connection has taken over");
    slow[0].is_closed().await;
}

#[tokio::test]
async fn a_device_gets_the_slot_of_its_own_older_connection() {
    let emulator = Emulator::builder().max_connections(1).start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    // The test does not close the older connection. The emulator sees the same if a device loses its network and
    // connects again.
    let mut older = connects(&emulator, &key).await;
    let mut newer = connects(&emulator, &key).await;
    sends(&mut newer, 1).await;
    assert_eq!(receive(&mut older).await, None);
}

/// Returns a CONNECT to DPS. The token in the CONNECT has the correct format, but DPS does not know the key that signed
/// the token.
fn wrongly_signed(emulator: &Emulator, id: &str) -> Vec<u8> {
    let scope = emulator.id_scope();
    connect(&Login {
        client_id: id,
        username: &format!("{scope}/registrations/{id}/api-version=2019-03-31"),
        password: &dps_token(emulator, &SharedKey::generate().expect("random"), id),
        clean: true,
        keep_alive: 60,
        will: None,
    })
}

#[tokio::test]
async fn clients_with_wrongly_signed_tokens_keep_no_client_out_and_take_over_no_connection() {
    let emulator = Emulator::builder().max_connections(4).start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let enrolled = emulator.enroll("healthy").expect("enrolled").primary_key().clone();
    let scope = emulator.id_scope().to_owned();
    let mut own = tls(&emulator, emulator.mqtt_addr()).await;
    let login = Login {
        client_id: "healthy",
        username: &format!("{scope}/registrations/healthy/api-version=2019-03-31"),
        password: &dps_token(&emulator, &enrolled, "healthy"),
        clean: true,
        keep_alive: 60,
        will: None,
    };
    send(&mut own, &connect(&login)).await;
    assert_eq!(receive(&mut own).await.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    let mut unauthenticated = Vec::new();
    for _ in 0..8 {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        send(&mut stream, &wrongly_signed(&emulator, "healthy")).await;
        // DPS accepts the CONNECT, as the real service does. DPS refuses only the registration.
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
        unauthenticated.push(Slow::Secure(Box::new(stream)));
    }
    registers(&emulator, &enrolled).await;
    sends(&mut connects(&emulator, &key).await, 1).await;
    assert_eq!(before_pong(&mut own).await, [], "it is still connected");
    unauthenticated[0].is_closed().await;
}

#[tokio::test]
async fn a_device_request_without_a_token_is_answered_without_a_slot() {
    let emulator = Emulator::builder().max_connections(1).start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = connects(&emulator, &key).await;
    let body = "x".repeat(512 * 1024);
    let request = format!(
        "POST /devices/x/messages/events?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let mut client = tls(&emulator, emulator.https_addr()).await;
    // The device holds the only slot.
    let reply = patient(http(&mut client, &request)).await.expect("an answer");
    assert_eq!(reply.status, 501);
    sends(&mut device, 1).await;
}

#[cfg(feature = "admin")]
#[tokio::test]
async fn more_connections_than_slots_keep_no_client_from_the_admin_port() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device("localhost", "d1").expect("a device");
    let address = emulator.admin_addr();
    // The emulator does not evict a connection with an open stream.
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(b"GET /api/events?from=latest HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let head = patient(stream.read_u8()).await.expect("an answer");
    assert_eq!(head, b'H');
    let kinds = [
        &b""[..],
        b"GET /hea",
        b"PATCH /hubs/localhost/twins/d1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 9\r\n\r\n{",
        b"POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 9\r\n\r\n{",
        b"PUT /dps/enrollments/d HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 9\r\n\r\n{",
    ];
    let mut slow = Vec::new();
    for bytes in kinds.into_iter().cycle().take(600) {
        slow.push(Slow::open(&emulator, address, false, bytes).await);
    }
    let mut healthy = TcpStream::connect(address).await.expect("it listens");
    let asking = http(&mut healthy, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(patient(asking).await.expect("an answer").status, 200);
    slow[0].is_closed().await;
    emulator.enroll("dev-1").expect("enrolled");
    let mut events = String::new();
    while !events.contains("enrollmentCreated") {
        let mut bytes = [0; 1024];
        let count = patient(stream.read(&mut bytes)).await.expect("the stream is open");
        assert!(count > 0, "the stream has ended");
        events.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

#[tokio::test]
async fn a_client_that_never_reads_delays_no_other_client_and_fills_no_memory() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = connects(&emulator, &key).await;
    // The client does not read responses. When the buffers of the sockets are full, the emulator stops reading
    // requests.
    let mut unread = tls(&emulator, emulator.https_addr()).await;
    let request = "GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let mut sent = 0_usize;
    while timeout(Duration::from_millis(500), unread.write_all(request.as_bytes())).await.is_ok() {
        sent += 100;
        assert!(sent < 1_000_000, "the emulator keeps reading, so it must keep the responses in memory");
    }
    for id in 1..=20 {
        sends(&mut device, id).await;
    }
    let mut other = tls(&emulator, emulator.https_addr()).await;
    let reply = http(&mut other, "GET /enrollments/d1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer");
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn pages_of_other_origins_and_unknown_names_are_refused_at_every_endpoint() {
    let emulator = Emulator::start().await.expect("started");
    let paths = [
        "GET /enrollments/d1?api-version=2021-10-01",
        "PUT /enrollments/d1?api-version=2021-10-01",
        "POST /enrollmentGroups/query?api-version=2021-10-01",
        "DELETE /registrations/d1?api-version=2021-10-01",
        "GET /devices/d1?api-version=2021-04-12",
        "POST /devices/query?api-version=2021-04-12",
        "PATCH /twins/d1?api-version=2021-04-12",
        "PUT /0ne000DECADE/registrations/d1/register?api-version=2021-06-01",
        "GET /$iothub/websocket",
        "OPTIONS /enrollments/d1?api-version=2021-10-01",
        "OPTIONS *",
        "GET /nothing",
    ];
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n";
    for (headers, status) in [
        ("Host: evil.example\r\n", 421),
        ("Host: localhost.evil.example:443\r\n", 421),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
        ("Host: localhost\r\nOrigin: https://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
        ("Host: localhost\r\nOrigin: http://localhost\r\n", 403),
        ("Host: localhost\r\nOrigin: https://localhost:3000\r\n", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Host: localhost\r\nSec-Fetch-Site: same-site\r\nOrigin: http://localhost:3000\r\n", 403),
        (
            "Host: localhost\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n\
             Access-Control-Request-Headers: authorization\r\n",
            403,
        ),
    ] {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        for path in paths {
            let upgrade = if path.contains("websocket") { upgrade } else { "" };
            let request = format!("{path} HTTP/1.1\r\n{headers}{upgrade}Content-Length: 0\r\n\r\n");
            let reply = http(&mut stream, &request).await.expect("an answer");
            assert_eq!(reply.status, status, "{path} {headers}");
            assert_eq!(reply.json()["errorCode"], u32::from(status) * 1000, "{path} {headers}");
            assert!(!reply.head.to_ascii_lowercase().contains("access-control"), "{}", reply.head);
        }
    }
    // An `Origin` that names the host of the request is allowed, because Python's MQTT client sends it.
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let own =
        format!("GET /$iothub/websocket HTTP/1.1\r\nHost: localhost:443\r\nOrigin: https://localhost\r\n{upgrade}\r\n");
    assert_eq!(http(&mut stream, &own).await.expect("an answer").status, 101);
}
