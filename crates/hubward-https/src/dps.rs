//! The two requests to DPS over HTTPS: register, and query the operation's status.

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hubward_dial::{DialProgress, DialStep, Endpoint, TcpDialer, TlsConfig};
use hubward_proto::dps::http::{CONTENT_TYPE, DpsOperation, target};
use hubward_proto::limits;
use hubward_transport::{
    DpsReply, DpsTransport, OperationId, ProtoError, Register, SasToken, Stage, TransportError, TransportKind,
};
use hyper::Request;
use hyper::header::{self, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::Connector;
use crate::request_context::RequestContext;
use crate::{answer, failure};

/// Maximum size in bytes of the status line and headers of an answer.
const HEAD_MAX: usize = 64 * 1024;

/// A client of DPS over HTTPS, for one endpoint. Keeps one connection open between requests.
pub struct HttpsDps {
    endpoint: Endpoint,
    client: Client<Connector, Full<Bytes>>,
    progress: DialProgress,
    has_certificate: bool,
    /// The stage of the latest request.
    request_stage: Stage,
}

impl HttpsDps {
    /// Creates a client of the DPS at `endpoint`. The client connects with `tcp`. The server's certificate must match
    /// the host name. `tls` contains the authorities to trust, and the certificate of the device, if it has one (see
    /// [`TlsSettings`](hubward_dial::TlsSettings)).
    #[must_use]
    pub fn new(endpoint: Endpoint, tcp: TcpDialer, tls: TlsConfig) -> Self {
        let (progress, has_certificate) = (tcp.progress().clone(), tls.has_certificate());
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_MAX)
            .http1_title_case_headers(true)
            .build(Connector::new(tcp, tls));
        Self { endpoint, client, progress, has_certificate, request_stage: Stage::Register }
    }

    async fn ask(
        &self,
        operation: &DpsOperation,
        stage: Stage,
        request: &Register,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        let Self { endpoint, has_certificate, .. } = self;
        let context = RequestContext { endpoint, stage, has_certificate: *has_certificate, token };
        let request = self.request(operation, request, token)?;
        let (method, path) = (request.method(), request.uri().path());
        tracing::debug!(endpoint = %self.endpoint, %method, path, "sending a request to DPS");
        let response = self.client.request(request).await.map_err(|error| failure::of_request(&context, &error))?;
        tracing::debug!(endpoint = %self.endpoint, status = response.status().as_u16(), "DPS answered");
        answer::read(&context, response).await
    }

    /// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md.
    fn request(
        &self,
        operation: &DpsOperation,
        register: &Register,
        token: Option<&SasToken>,
    ) -> Result<Request<Full<Bytes>>, TransportError> {
        let target = target(&register.id_scope, &register.registration_id, operation, register.api_version());
        let body = match operation {
            DpsOperation::Status(_) => Vec::new(),
            _ => register.body().encode(),
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
            // The method, the path and these headers are always valid, so an invalid host is the cause.
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
        TransportError::Request(ProtoError::Unexpected(format!(
            "{what} contains a character that is not allowed in an HTTP header"
        )))
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
        self.request_stage = Stage::Register;
        self.ask(&DpsOperation::Register, Stage::Register, request, token).await
    }

    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.request_stage = Stage::Poll;
        self.ask(&DpsOperation::Status(operation.clone()), Stage::Poll, request, token).await
    }

    fn stage(&self) -> Option<Stage> {
        Some(match self.progress.step() {
            DialStep::Connect => Stage::Connect,
            DialStep::Tls => Stage::Tls,
            _ => self.request_stage,
        })
    }
}

impl fmt::Debug for HttpsDps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsDps").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
