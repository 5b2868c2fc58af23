//! The client side of the upgrade, against hand-written servers.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hubward_dial::{ByteStream, DialError, DialStep, Dialer, Endpoint, Opened, TlsFault};
use hubward_ws::{WebSocketStream, WsDialer, accept_key};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// A dialer that returns one end of a pipe.
#[derive(Debug)]
struct Pipe(Mutex<Option<DuplexStream>>);

#[async_trait]
impl Dialer for Pipe {
    async fn dial(&self, _to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        Ok(Box::new(self.0.lock().expect("one test").take().expect("dialled once")))
    }
}

/// 14 November 2023, 22:13:20 UTC.
fn dated_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn dialer() -> (WsDialer<Pipe>, DuplexStream) {
    let (here, there) = duplex(64 * 1024);
    (WsDialer::new(Pipe(Mutex::new(Some(here))), "/$iothub/websocket", "mqtt"), there)
}

fn hub() -> Endpoint {
    Endpoint::new("hub.example", 443)
}

/// Reads a request up to its empty line.
async fn request(pipe: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(pipe.read_u8().await.expect("a request"));
    }
    String::from_utf8(text).expect("text")
}

fn key_of(request: &str) -> &str {
    let (_, rest) = request.split_once("Sec-WebSocket-Key: ").expect("a key");
    rest.split_once("\r\n").expect("a line").0
}

/// The answer of a correct server. `change` can modify or remove each line.
fn answer(request: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let accept = format!("Sec-WebSocket-Accept: {}", accept_key(key_of(request).as_bytes()));
    let lines = ["Upgrade: websocket", "Connection: Upgrade", &accept, "Sec-WebSocket-Protocol: mqtt"];
    let lines: Vec<String> = lines.iter().filter_map(|line| change(line)).collect();
    format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n\r\n", lines.join("\r\n"))
}

#[tokio::test]
async fn the_request_matches_the_documentation_and_bytes_flow_afterwards() {
    for (host, port, path, host_header) in [
        ("hub.example", 443, "/$iothub/websocket", "hub.example"),
        ("hub.example", 8443, "/$iothub/websocket?iothub-no-client-cert=true", "hub.example:8443"),
        ("::1", 443, "/$iothub/websocket", "[::1]"),
        ("::1", 8443, "/", "[::1]:8443"),
    ] {
        let (here, mut pipe) = duplex(1024);
        let dialer = WsDialer::new(Pipe(Mutex::new(Some(here))), path, "mqtt");
        let server = async {
            let request = request(&mut pipe).await;
            let expected = format!(
                "GET {path} HTTP/1.1\r\nHost: {host_header}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                key_of(&request)
            );
            assert_eq!(request, expected);
            // The first frame arrives in the same write as the answer.
            let answer = answer(&request, |line| Some(line.to_owned()));
            let answer = [answer.as_bytes(), b"\x82\x02hi"].concat();
            pipe.write_all(&answer).await.expect("an open pipe");
            let mut server = WebSocketStream::server(pipe).await;
            assert_eq!(server.read_u8().await.expect("a byte"), b'!');
        };
        let to = Endpoint::new(host, port);
        let client = async {
            let mut stream = dialer.dial(&to).await.expect("a good server");
            let mut received = [0; 2];
            stream.read_exact(&mut received).await.expect("two bytes");
            assert_eq!(&received, b"hi");
            stream.write_all(b"!").await.expect("an open stream");
            stream.flush().await.expect("an open stream");
        };
        tokio::join!(server, client);
    }
}

/// Dials a server that sends this answer, and returns the error.
async fn refused(answer: impl Fn(&str) -> String) -> DialError {
    let (dialer, mut pipe) = dialer();
    let server = async {
        let request = request(&mut pipe).await;
        pipe.write_all(answer(&request).as_bytes()).await.expect("an open pipe");
        drop(pipe);
    };
    let to = hub();
    let (_, outcome) = tokio::join!(server, dialer.dial(&to));
    outcome.expect_err("a bad answer")
}

#[tokio::test]
async fn another_status_is_a_refusal() {
    for (answer, expected) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", (403, None, false)),
        ("HTTP/1.1 401 Unauthorized\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\nno", (401, None, true)),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Welcome to the hotel</html>", (200, None, false)),
        ("HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n", (302, None, false)),
        ("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n", (429, Some("7"), false)),
        (
            "HTTP/1.1 503 Busy\r\nretry-after: Tue, 14 Nov 2023 22:13:25 GMT\r\n\r\n",
            (503, Some("Tue, 14 Nov 2023 22:13:25 GMT"), false),
        ),
    ] {
        let error = refused(|_| answer.to_owned()).await;
        let DialError::Upgrade { endpoint, status, retry_after, server_time } = error else {
            panic!("{answer}: {error}")
        };
        let (status_expected, retry_after_expected, dated) = expected;
        assert_eq!((endpoint, status, retry_after.as_deref()), (hub(), status_expected, retry_after_expected));
        assert_eq!(server_time, dated.then_some(dated_at()), "{answer}");
    }
}

#[tokio::test]
async fn the_servers_time_is_returned() {
    for (line, expected) in [
        ("Date: Tue, 14 Nov 2023 22:13:20 GMT", Some(dated_at())),
        ("date: Tuesday, 14-Nov-23 22:13:20 GMT", Some(dated_at())),
        ("Date: Tue Nov 14 22:13:20 2023", Some(dated_at())),
        ("Date: yesterday", None),
        ("Date: \u{e9}", None),
        ("Server: none", None),
    ] {
        let (dialer, mut pipe) = dialer();
        let to = hub();
        let server = async {
            let request = request(&mut pipe).await;
            let answer = answer(&request, |it| Some(it.to_owned()));
            let answer = answer.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
            pipe.write_all(answer.as_bytes()).await.expect("an open pipe");
        };
        let ((), opened) = tokio::join!(server, dialer.open(&to));
        assert_eq!(opened.expect("a good server").server_time, expected, "{line}");
    }
}

#[tokio::test]
async fn an_answer_that_violates_the_upgrade_rules_is_not_websocket() {
    let without = |start: &'static str| move |line: &str| (!line.starts_with(start)).then(|| line.to_owned());
    let with = |line: &'static str| {
        move |request: &str| answer(request, |it| Some(it.to_owned())).replacen("\r\n", &format!("\r\n{line}\r\n"), 1)
    };
    for (what, error) in [
        ("no upgrade", refused(|it| answer(it, without("Upgrade"))).await),
        ("no connection", refused(|it| answer(it, without("Connection"))).await),
        ("no accept key", refused(|it| answer(it, without("Sec-WebSocket-Accept"))).await),
        ("no subprotocol", refused(|it| answer(it, without("Sec-WebSocket-Protocol"))).await),
        ("another's accept key", refused(|it| answer(it, |line| Some(line.replace("Accept: ", "Accept: x")))).await),
        ("another subprotocol", refused(|it| answer(it, |line| Some(line.replace("mqtt", "amqp")))).await),
        ("an extension", refused(with("Sec-WebSocket-Extensions: permessage-deflate")).await),
        ("not HTTP", refused(|_| "220 mail.example ESMTP\r\n\r\n".to_owned()).await),
        ("old HTTP", refused(|_| "HTTP/1.0 101 Switching Protocols\r\n\r\n".to_owned()).await),
        ("endless headers", refused(|_| format!("HTTP/1.1 101 S\r\n{}", "A: b\r\n".repeat(200))).await),
    ] {
        let DialError::NotWebSocket { endpoint, problem } = error else { panic!("{what}: {error:?}") };
        assert_eq!(endpoint, hub(), "{what}");
        assert!(!problem.is_empty() && problem.len() <= 200, "{what}: {problem}");
    }
}

#[tokio::test]
async fn an_end_before_the_answer_is_a_closed_connection() {
    for begun in ["", "HTTP/1.1 101 Switching Proto"] {
        let error = refused(|_| begun.to_owned()).await;
        assert!(matches!(error, DialError::Closed { during: DialStep::Upgrade, .. }), "{begun}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_times_out() {
    let (dialer, _pipe) = dialer();
    let limit = Duration::from_secs(4);
    let error = dialer.timeout(limit).dial(&hub()).await.expect_err("the server sends nothing");
    assert!(matches!(error, DialError::Timeout { after, .. } if after == limit), "{error:?}");
}

#[tokio::test]
async fn an_invalid_host_or_path_is_refused_before_dialing() {
    for (path, host) in [("/a b", "hub.example"), ("no-slash", "hub.example"), ("/", "no name")] {
        let (here, _there) = duplex(64);
        let dialer = WsDialer::new(Pipe(Mutex::new(Some(here))), path, "mqtt");
        let error = dialer.dial(&Endpoint::new(host, 443)).await.expect_err("nonsense");
        assert!(matches!(error, DialError::Connect { .. }), "{path} {host}: {error:?}");
    }
}

/// A dialer that returns itself as a TLS 1.3 connection. The first read returns an alert of the server.
#[derive(Debug, Clone, Copy)]
struct Alerting {
    has_certificate: bool,
}

#[async_trait]
impl Dialer for Alerting {
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        self.open(to).await.map(|it| it.stream)
    }

    async fn open(&self, _to: &Endpoint) -> Result<Opened, DialError> {
        Ok(Opened::new(Box::new(*self)).has_certificate(self.has_certificate))
    }
}

impl AsyncRead for Alerting {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let alert = rustls::Error::AlertReceived(AlertDescription::AccessDenied);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, alert)))
    }
}

impl AsyncWrite for Alerting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_alert_after_the_handshake_is_about_the_certificate_only_if_there_is_one() {
    for has_certificate in [true, false] {
        let dialer = WsDialer::new(Alerting { has_certificate }, "/$iothub/websocket", "mqtt");
        let error = dialer.dial(&hub()).await.expect_err("an alert");
        match error {
            DialError::Tls { fault: TlsFault::ClientCertificate, .. } => assert!(has_certificate, "{error}"),
            DialError::Closed { during: DialStep::Upgrade, .. } => assert!(!has_certificate, "{error}"),
            _ => panic!("{error}"),
        }
    }
}
