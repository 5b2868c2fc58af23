//! A client that reads and writes bytes by hand.

use std::sync::Arc;
use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A time limit for every step. With this limit, the test of a broken emulator fails and does not wait forever.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const CLEAN: u8 = 0x02;

pub(crate) const QOS1: u8 = 0b0010;

pub(crate) async fn patient<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("an answer within the time limit")
}

pub(crate) type Tls = TlsStream<TcpStream>;

pub(crate) fn tls_config(ca_pem: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) async fn tls_with(
    config: Arc<ClientConfig>,
    address: std::net::SocketAddr,
    name: &str,
) -> std::io::Result<Tls> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    patient(TlsConnector::from(config).connect(name, tcp)).await
}

/// Opens a TLS connection to the emulator under the name `localhost`.
pub(crate) async fn tls(emulator: &Emulator, address: std::net::SocketAddr) -> Tls {
    let config = tls_config(emulator.ca_pem(), rustls::DEFAULT_VERSIONS);
    tls_with(config, address, "localhost").await.expect("a handshake")
}

// ---- Tokens ----

pub(crate) fn now() -> UnixSeconds {
    #[expect(clippy::disallowed_methods, reason = "tokens use the time of day")]
    let now = std::time::SystemTime::now();
    UnixSeconds::from_system_time(now)
}

pub(crate) fn token(key: &SharedKey, resource: &str) -> String {
    let expiry = now().saturating_add(Duration::from_secs(3600));
    SasToken::sign(key, resource, expiry, None).expose().to_owned()
}

pub(crate) fn dps_token(emulator: &Emulator, key: &SharedKey, registration_id: &str) -> String {
    token(key, &format!("{}/registrations/{registration_id}", emulator.id_scope()))
}

// ---- HTTP ----

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|it| it.split_once(':'));
        lines.into_iter().find_map(|(it, value)| it.eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends a request unchanged and reads one response. The response must have a Content-Length.
pub(crate) async fn http<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> std::io::Result<Reply> {
    patient(async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let head = read_head(stream).await?;
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |it| it.parse().expect("a length"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        reply.body = String::from_utf8(body).expect("UTF-8");
        Ok(reply)
    })
    .await
}

pub(crate) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).expect("ASCII"))
}

// ---- MQTT ----

pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(crate) fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = rest.len();
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

pub(crate) struct Login<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(&'a str, &'a str)>,
}

pub(crate) fn connect(login: &Login<'_>) -> Vec<u8> {
    let will = if login.will.is_some() { 0x0c } else { 0 };
    let flags = 0xc0 | will | if login.clean { CLEAN } else { 0 };
    let mut rest = b"\x00\x04MQTT\x04".to_vec();
    rest.push(flags);
    rest.extend_from_slice(&login.keep_alive.to_be_bytes());
    rest.extend(string(login.client_id));
    if let Some((topic, body)) = login.will {
        rest.extend(string(topic));
        rest.extend(string(body));
    }
    rest.extend(string(login.username));
    rest.extend(string(login.password));
    packet(0x10, &rest)
}

pub(crate) fn publish(flags: u8, topic: &str, id: u16, body: &[u8]) -> Vec<u8> {
    let mut rest = string(topic);
    if flags & 0b0110 != 0 {
        rest.extend_from_slice(&id.to_be_bytes());
    }
    rest.extend_from_slice(body);
    packet(0x30 | flags, &rest)
}

pub(crate) fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut rest = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        rest.extend(string(filter));
        rest.push(*qos);
    }
    packet(0x82, &rest)
}

pub(crate) async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    patient(async {
        stream.write_all(bytes).await.expect("sent");
        stream.flush().await.expect("sent");
    })
    .await;
}

/// Reads one whole packet; `None` at the end of the connection.
pub(crate) async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Vec<u8>> {
    patient(async {
        let mut bytes = vec![stream.read_u8().await.ok()?];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = stream.read_u8().await.ok()?;
            bytes.push(byte);
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let start = bytes.len();
        bytes.resize(start + length, 0);
        stream.read_exact(&mut bytes[start..]).await.ok()?;
        Some(bytes)
    })
    .await
}

/// Parses a received PUBLISH. Returns the topic and the body. With QoS 1, also returns the PUBACK to send.
pub(crate) fn read_publish(packet: &[u8]) -> (String, String, Option<Vec<u8>>) {
    assert_eq!(packet[0] & 0xf0, 0x30, "a PUBLISH: {packet:x?}");
    let start = 1 + packet[1..].iter().position(|it| it & 0x80 == 0).expect("a length") + 1;
    let length = usize::from(u16::from_be_bytes([packet[start], packet[start + 1]]));
    let topic = &packet[start + 2..start + 2 + length];
    let mut body = &packet[start + 2 + length..];
    let mut acknowledgement = None;
    if packet[0] & 0b0110 != 0 {
        acknowledgement = Some(vec![0x40, 2, body[0], body[1]]);
        body = &body[2..];
    }
    let text = |it: &[u8]| String::from_utf8(it.to_vec()).expect("UTF-8");
    (text(topic), text(body), acknowledgement)
}

/// Connects to a hub `localhost` and returns the CONNACK.
pub(crate) async fn hub_connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    device_id: &str,
    key: &SharedKey,
    clean: bool,
) -> Option<Vec<u8>> {
    let username = format!("localhost/{device_id}/?api-version=2021-04-12");
    let password = token(key, &format!("localhost/devices/{device_id}"));
    let login =
        Login { client_id: device_id, username: &username, password: &password, clean, keep_alive: 60, will: None };
    send(stream, &connect(&login)).await;
    receive(stream).await
}

/// Connects to DPS and returns the CONNACK.
pub(crate) async fn dps_connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id_scope: &str,
    registration_id: &str,
    password: &str,
) -> Option<Vec<u8>> {
    let username = format!("{id_scope}/registrations/{registration_id}/api-version=2019-03-31&ClientVersion=t");
    let login =
        Login { client_id: registration_id, username: &username, password, clean: false, keep_alive: 60, will: None };
    send(stream, &connect(&login)).await;
    receive(stream).await
}

/// Connects as device `d1` to hub `localhost` with a clean session, and subscribes to `filters`.
pub(crate) async fn listening(emulator: &Emulator, key: &SharedKey, filters: &[(&str, u8)]) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    let connack = hub_connect(&mut stream, "d1", key, true).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    if !filters.is_empty() {
        send(&mut stream, &subscribe(1, filters)).await;
        let suback = receive(&mut stream).await.expect("a SUBACK");
        assert!(suback[0] == 0x90 && suback[4..].iter().all(|it| *it < 2), "{suback:x?}");
    }
    stream
}

/// Sends a ping and returns the packets that arrive before the ping response. For a PUBLISH, the result contains the
/// topic and the body. For any other packet, the result contains the bytes.
pub(crate) async fn before_pong<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Vec<(String, String)> {
    send(stream, b"\xc0\x00").await;
    let mut packets = Vec::new();
    loop {
        let packet = receive(stream).await.expect("a packet");
        match packet[0] & 0xf0 {
            0xd0 => return packets,
            0x30 => {
                let (topic, body, _) = read_publish(&packet);
                packets.push((topic, body));
            }
            _ => packets.push((format!("{packet:x?}"), String::new())),
        }
    }
}
