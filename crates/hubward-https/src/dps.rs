//! The two questions to DPS, as HTTP requests.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hubward_dial::{ClientConfig, DialProgress, DialStep, Endpoint, TcpDialer};
use hubward_proto::dps::DeviceRegistration;
use hubward_proto::dps::http::{CONTENT_TYPE, DpsOperation, target};
use hubward_proto::limits;
use hubward_transport::{
    DpsReply, DpsTransport, OperationId, ProtoError, Register, SasToken, Stage, TransportError, TransportKind,
};
use hyper::Request;
use hyper::header::{self, HeaderValue};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::{Connector, Tracked};
use crate::{answer, failure};

/// Most bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

/// DPS over HTTPS, at one endpoint. Keeps one connection between requests.
pub struct HttpsDps {
    endpoint: Endpoint,
    client: Client<Tracked<HttpsConnector<Connector>>, Full<Bytes>>,
    progress: DialProgress,
    /// What the latest question asks.
    asking: Stage,
}

/// What every step of a request needs to say what went wrong.
pub(crate) struct Asked<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stage: Stage,
    pub(crate) token: Option<&'a SasToken>,
}

impl HttpsDps {
    /// DPS at `endpoint`, whose certificate must be for its host, trusted as `tls` says (see
    /// [`TlsSettings`](hubward_dial::TlsSettings)), over connections of `tcp`.
    #[must_use]
    pub fn new(endpoint: Endpoint, tcp: TcpDialer, tls: Arc<ClientConfig>) -> Self {
        let resolver = Arc::new(DefaultServerNameResolver::default());
        let progress = tcp.progress().clone();
        let inner = HttpsConnector::new(Connector(tcp), tls, true, resolver);
        let connector = Tracked { inner, progress: progress.clone() };
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_MAX)
            .http1_title_case_headers(true)
            .build(connector);
        Self { endpoint, client, progress, asking: Stage::Register }
    }

    async fn ask(
        &self,
        operation: &DpsOperation,
        stage: Stage,
        request: &Register,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        let asked = Asked { endpoint: &self.endpoint, stage, token };
        let request = self.request(operation, request, token)?;
        tracing::debug!(endpoint = %self.endpoint, method = %request.method(), path = request.uri().path(), "asking DPS");
        let response = self.client.request(request).await.map_err(|error| failure::of_request(&asked, &error))?;
        tracing::debug!(endpoint = %self.endpoint, status = response.status().as_u16(), "DPS answered");
        answer::read(&asked, response).await
    }

    /// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md.
    fn request(
        &self,
        operation: &DpsOperation,
        register: &Register,
        token: Option<&SasToken>,
    ) -> Result<Request<Full<Bytes>>, TransportError> {
        let target = target(&register.id_scope, &register.registration_id, operation);
        let body = match operation {
            DpsOperation::Status(_) => Vec::new(),
            _ => DeviceRegistration::new(&register.registration_id, register.payload.clone()).encode(),
        };
        if body.len() > limits::DPS_MESSAGE_MAX {
            let (what, size, limit) = ("the registration with its payload", body.len(), limits::DPS_MESSAGE_MAX);
            return Err(TransportError::Request(ProtoError::TooLarge { what, size, limit }));
        }
        let mut request = Request::builder()
            .method(operation.method())
            .uri(format!("https://{}{target}", self.endpoint))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::ACCEPT, "application/json")
            .body(Full::from(body))
            // Method, path and these headers always fit: it is the host.
            .map_err(|_| TransportError::Connect {
                endpoint: self.endpoint.to_string(),
                source: io::Error::new(io::ErrorKind::InvalidInput, "not a host name"),
            })?;
        if let Some(client) = &register.client_version {
            request.headers_mut().insert(header::USER_AGENT, header_value("the client version", client)?);
        }
        if let Some(token) = token {
            let mut value = header_value("the SAS token", token.expose())?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn header_value(what: &'static str, text: &str) -> Result<HeaderValue, TransportError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        TransportError::Request(ProtoError::Unexpected(format!("{what} has a character that HTTP cannot carry")))
    })
}

#[async_trait]
impl DpsTransport for HttpsDps {
    fn kind(&self) -> TransportKind {
        TransportKind::Https
    }

    fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    async fn register(&mut self, request: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        self.asking = Stage::Register;
        self.ask(&DpsOperation::Register, Stage::Register, request, token).await
    }

    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.asking = Stage::Poll;
        self.ask(&DpsOperation::Status(operation.clone()), Stage::Poll, request, token).await
    }

    fn doing(&self) -> Option<Stage> {
        Some(match self.progress.step() {
            DialStep::Connect => Stage::Connect,
            DialStep::Tls => Stage::Tls,
            _ => self.asking,
        })
    }
}

impl fmt::Debug for HttpsDps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsDps").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
