//! The client side of the WebSocket upgrade, over any dialer.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hubward_dial::{ByteStream, DialError, DialProgress, DialStep, Dialer, Endpoint, Opened, TlsFault};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_key};
use tokio_tungstenite::tungstenite::http;

use crate::WebSocketStream;
use crate::stream::config;

/// The default port, which a `Host` header omits.
const HTTPS_PORT: u16 = 443;

/// Opens WebSockets over the byte streams of another dialer.
pub struct WsDialer<D> {
    inner: D,
    path: String,
    subprotocol: String,
    timeout: Duration,
}

impl<D: Dialer> WsDialer<D> {
    /// Default limit for the upgrade.
    pub const TIMEOUT: Duration = Duration::from_secs(8);

    /// Creates a dialer that upgrades the streams of `inner` to WebSockets at `path`, for `subprotocol`. `path` starts
    /// with `/` and may contain a query.
    #[must_use]
    pub fn new(inner: D, path: impl Into<String>, subprotocol: impl Into<String>) -> Self {
        Self { inner, path: path.into(), subprotocol: subprotocol.into(), timeout: Self::TIMEOUT }
    }

    /// Sets the limit for the upgrade, measured from its first byte.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<D: fmt::Debug> fmt::Debug for WsDialer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsDialer")
            .field("inner", &self.inner)
            .field("path", &self.path)
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<D: Dialer> Dialer for WsDialer<D> {
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        self.open(to).await.map(|it| it.stream)
    }

    async fn open(&self, to: &Endpoint) -> Result<Opened, DialError> {
        let request = self.request(to).map_err(|problem| DialError::Connect {
            endpoint: to.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, problem),
        })?;
        let Opened { stream, has_certificate, .. } = self.inner.open(to).await?;
        self.enter(DialStep::Upgrade);
        let upgrade = client_async_with_config(request, stream, Some(config()));
        let (stream, response) = tokio::time::timeout(self.timeout, upgrade)
            .await
            .map_err(|_| DialError::Timeout { endpoint: to.clone(), during: DialStep::Upgrade, after: self.timeout })?
            .map_err(|error| upgrade_error(to, error, has_certificate))?;
        // The client offers no extension, so the server must not choose one. tungstenite does not check this rule.
        if response.headers().contains_key(http::header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err(not_websocket(to, "an extension that the client did not offer"));
        }
        self.enter(DialStep::Done);
        let opened = Opened::new(Box::new(WebSocketStream::new(stream)));
        Ok(opened.server_time(date(&response)).has_certificate(has_certificate))
    }

    fn progress(&self) -> Option<&DialProgress> {
        self.inner.progress()
    }
}

impl<D: Dialer> WsDialer<D> {
    fn enter(&self, step: DialStep) {
        if let Some(progress) = self.inner.progress() {
            progress.enter(step);
        }
    }
}

impl<D> WsDialer<D> {
    fn request(&self, to: &Endpoint) -> Result<Request, Box<dyn Error + Send + Sync>> {
        let host = match to.port {
            HTTPS_PORT if to.host.contains(':') => format!("[{}]", to.host),
            HTTPS_PORT => to.host.clone(),
            _ => to.to_string(),
        };
        // The `http` crate also accepts a path that does not begin with a slash. The request line would then be
        // invalid.
        if !self.path.starts_with('/') {
            return Err("the path of a WebSocket must start with `/`".into());
        }
        let uri =
            http::Uri::builder().scheme("wss").authority(host.as_str()).path_and_query(self.path.as_str()).build()?;
        let request = Request::builder()
            .method(http::Method::GET)
            .uri(uri)
            .header(http::header::HOST, host)
            .header(http::header::CONNECTION, "Upgrade")
            .header(http::header::UPGRADE, "websocket")
            .header(http::header::SEC_WEBSOCKET_VERSION, "13")
            .header(http::header::SEC_WEBSOCKET_KEY, generate_key())
            .header(http::header::SEC_WEBSOCKET_PROTOCOL, &self.subprotocol)
            .body(())?;
        Ok(request)
    }
}

/// Converts a failed upgrade to an error that shows whether the network or the server is at fault.
fn upgrade_error(to: &Endpoint, error: WsError, has_certificate: bool) -> DialError {
    let closed = |source| DialError::Closed { endpoint: to.clone(), during: DialStep::Upgrade, source };
    match error {
        WsError::Http(response) => DialError::Upgrade {
            endpoint: to.clone(),
            status: response.status().as_u16(),
            retry_after: header(&response, &http::header::RETRY_AFTER).map(str::to_owned),
            server_time: date(&response),
        },
        // With TLS 1.3, the server can refuse the client's certificate after the client has finished the handshake.
        WsError::Io(source) => match TlsFault::find(&source, has_certificate) {
            Some(fault @ TlsFault::ClientCertificate) => DialError::Tls { endpoint: to.clone(), fault, source },
            _ => closed(Some(source)),
        },
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => closed(None),
        // tungstenite returns this error for an answer that is very long, or arrives in very many small fragments.
        // Regular servers send no such answer.
        WsError::AttackAttempt => not_websocket(to, "the answer is too long, or arrived in too many fragments"),
        other => not_websocket(to, &other.to_string()),
    }
}

fn not_websocket(to: &Endpoint, problem: &str) -> DialError {
    let problem = problem.chars().filter(|it| !it.is_control()).take(200).collect();
    DialError::NotWebSocket { endpoint: to.clone(), problem }
}

/// The server's time, if its `Date` header is present and valid.
///
/// Source: RFC 9110, section 6.6.1.
fn date(response: &Response) -> Option<SystemTime> {
    httpdate::parse_http_date(header(response, &http::header::DATE)?).ok()
}

fn header<'a>(response: &'a Response, name: &http::HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}
