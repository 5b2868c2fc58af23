//! The DPS transport over MQTT. Uses one connection for a registration and its polls.

use std::future::poll_fn;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hubward_dial::{DialStep, Dialer, Endpoint};
use hubward_proto::dps::{
    DpsBody, DpsReply, OperationTopic, RESPONSE_FILTER, Register, RegisterTopic, RegistrationOperation, ResponseTopic,
    ServiceError,
};
use hubward_proto::{OperationId, ProtoError, limits, retry_after};
use hubward_transport::{
    DpsTransport, Excerpt, Refusal, RefusedBy, SasToken, Stage, Tag, TransportError, TransportKind, clock, one_line,
};
use tokio::time::{Instant, timeout};

use crate::dial_error::transport_error;
use crate::login::Login;
use crate::packet::{Message, QoS};
use crate::session::{Acknowledge, Event, Session};
use crate::{SessionOptions, TAG_MAX};

/// The tag of the subscription, which is the first request of a connection.
const FIRST_TAG: Tag = Tag(NonZeroU16::MIN);

/// Source: `[sdk]` azure-iot-sdk-python uses the same keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Maximum time to close a connection.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Sends requests to DPS over MQTT 3.1.1, on the byte stream that its dialer opens.
///
/// # Behaviour
/// * The first request opens the connection. Later requests of the same identity reuse the connection.
/// * The transport opens a new connection if the old one failed or was idle for a whole keep-alive.
/// * If the old connection turns out to be closed before any byte of a request is written, the transport sends the
///   request on a new connection.
/// * Each request has its own request id. If a response belongs to an earlier request, or arrives a second time, the
///   transport acknowledges it and then discards it.
/// * After the login, [`SessionOptions::silence`] limits how long the peer may be silent. The transport sets no other
///   time limit: the driver must limit the time for the login and for a response.
#[derive(Debug)]
pub struct MqttDps {
    kind: TransportKind,
    endpoint: Endpoint,
    dialer: Arc<dyn Dialer>,
    options: SessionOptions,
    connection: Option<DpsConnection>,
    /// The stage of the latest request.
    stage: Stage,
    /// The last request id, over all connections.
    requests: u64,
}

impl MqttDps {
    /// Creates a transport to `endpoint`. `kind` must match the dialer: [`TransportKind::Mqtt`] for a dialer
    /// that opens TLS streams, [`TransportKind::MqttWs`] for one that opens WebSockets.
    #[must_use]
    pub fn new(kind: TransportKind, endpoint: Endpoint, dialer: Arc<dyn Dialer>) -> Self {
        Self {
            kind,
            endpoint,
            dialer,
            options: SessionOptions::default(),
            connection: None,
            stage: Stage::Connect,
            requests: 0,
        }
    }

    /// Sets the limits of each session.
    #[must_use]
    pub const fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    async fn send(
        &mut self,
        registration: &Register,
        token: Option<&SasToken>,
        request: DpsRequest<'_>,
    ) -> Result<DpsReply, TransportError> {
        self.requests += 1;
        let request_id = self.requests.to_string();
        let body = request.body(registration)?;
        if !self.can_reuse(registration).await {
            self.close().await;
        }
        let mut reused = self.connection.is_some();
        loop {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => {
                    let stage = &mut self.stage;
                    none.insert(
                        DpsConnection::new(&self.endpoint, &*self.dialer, self.options, registration, token, stage)
                            .await?,
                    )
                }
            };
            self.stage = request.stage();
            let before = connection.session.sent();
            let result = connection.send(request, &request_id, &body).await;
            connection.last_used = Instant::now();
            let sent = connection.session.sent() != before;
            match &result {
                Ok(_) => {}
                // DPS refused the request, not the identity: the connection stays usable.
                Err(TransportError::Refused(refusal)) if !is_about_login(refusal) => {}
                Err(_) => self.connection = None,
            }
            match result {
                // The connection had already ended, so DPS has not received the request.
                Err(TransportError::Closed { .. }) if reused && !sent => reused = false,
                result => return result,
            }
        }
    }

    /// Returns whether the open connection can be used for a request of this registration.
    async fn can_reuse(&mut self, registration: &Register) -> bool {
        match &mut self.connection {
            Some(connection) => {
                connection.username == registration.username().encode()
                    && connection.last_used.elapsed() < KEEP_ALIVE
                    && connection.session.is_alive().await
            }
            None => false,
        }
    }
}

#[async_trait]
impl DpsTransport for MqttDps {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    async fn register(&mut self, request: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        self.send(request, token, DpsRequest::Register).await
    }

    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.send(request, token, DpsRequest::Status(operation)).await
    }

    fn stage(&self) -> Option<Stage> {
        let Stage::Connect = self.stage else { return Some(self.stage) };
        Some(match self.dialer.progress()?.step() {
            DialStep::Tls => Stage::Tls,
            DialStep::Upgrade => Stage::Upgrade,
            _ => Stage::Connect,
        })
    }

    async fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            // Do not wait for a peer that no longer reads.
            let _ = timeout(CLOSE_WITHIN, poll_fn(|cx| connection.session.poll_close(cx))).await;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum DpsRequest<'a> {
    Register,
    Status(&'a OperationId),
}

impl DpsRequest<'_> {
    const fn stage(self) -> Stage {
        match self {
            Self::Register => Stage::Register,
            Self::Status(_) => Stage::Poll,
        }
    }

    fn topic(self, request_id: &str) -> String {
        let request_id = request_id.to_owned();
        match self {
            Self::Register => RegisterTopic { request_id }.encode(),
            Self::Status(operation) => OperationTopic { request_id, operation_id: operation.clone() }.encode(),
        }
    }

    /// Encodes the body of the request. A poll has no body, because its topic contains all information.
    fn body(self, request: &Register) -> Result<Vec<u8>, TransportError> {
        let body = match self {
            Self::Register => request.body().encode(),
            Self::Status(_) => Vec::new(),
        };
        if body.len() > limits::DPS_MESSAGE_MAX {
            let (what, size, limit) = ("the registration with its payload", body.len(), limits::DPS_MESSAGE_MAX);
            return Err(TransportError::Request(ProtoError::TooLarge { what, size, limit }));
        }
        Ok(body)
    }
}

/// A connection that is logged in and subscribed.
#[derive(Debug)]
struct DpsConnection {
    session: Session,
    /// The user name of the login. It contains id scope, registration id, `api-version` and client version.
    username: String,
    endpoint: String,
    last_tag: u16,
    last_used: Instant,
}

impl DpsConnection {
    async fn new(
        to: &Endpoint,
        dialer: &dyn Dialer,
        options: SessionOptions,
        request: &Register,
        token: Option<&SasToken>,
        stage: &mut Stage,
    ) -> Result<Self, TransportError> {
        *stage = Stage::Connect;
        let opened = dialer.open(to).await.map_err(transport_error)?;
        *stage = Stage::Login;
        let (endpoint, username) = (to.to_string(), request.username().encode());
        let login = Login {
            client_id: request.registration_id.to_string(),
            username: username.clone(),
            keep_alive: KEEP_ALIVE,
            // DPS keeps no session between connections.
            clean_session: true,
        };
        let mut session =
            Session::new(opened, endpoint.clone(), &login, token, options, (Acknowledge::AtOnce, Stage::Subscribe))?;
        session.wait_for(|event| matches!(event, Event::Accepted { .. }).then_some(())).await?;
        *stage = Stage::Subscribe;
        session.subscribe(FIRST_TAG, RESPONSE_FILTER, QoS::AtLeastOnce).map_err(TransportError::Request)?;
        let granted = session
            .wait_for(|event| match event {
                Event::Subscribed { granted, .. } => Some(granted),
                _ => None,
            })
            .await?;
        if !granted {
            return Err(session.refused(RefusedBy::Suback));
        }
        Ok(Self { session, username, endpoint, last_tag: 0, last_used: Instant::now() })
    }

    async fn send(
        &mut self,
        request: DpsRequest<'_>,
        request_id: &str,
        body: &[u8],
    ) -> Result<DpsReply, TransportError> {
        self.session.set_stage(request.stage());
        let tag = self.free_tag();
        let body = body.to_vec().into();
        self.session.publish(tag, request.topic(request_id), body, false).map_err(TransportError::Request)?;
        let (topic, message) = self
            .session
            .wait_for(|event| match event {
                Event::Message(message, _) => response_to(request_id, message),
                // Do not wait for the PUBACK. The response contains more information, and the PUBACK may be late or
                // missing.
                _ => None,
            })
            .await?;
        self.read(request, &topic, &message)
    }

    /// Returns the next packet id that no unanswered message uses.
    fn free_tag(&mut self) -> Tag {
        loop {
            self.last_tag = if self.last_tag >= TAG_MAX { 1 } else { self.last_tag + 1 };
            let tag = Tag(NonZeroU16::new(self.last_tag).unwrap_or(NonZeroU16::MIN));
            if !self.session.is_unanswered(tag) {
                return tag;
            }
        }
    }

    fn read(
        &self,
        request: DpsRequest<'_>,
        topic: &ResponseTopic,
        message: &Message,
    ) -> Result<DpsReply, TransportError> {
        let body = &message.body;
        if body.len() > limits::DPS_RESPONSE_MAX {
            let (what, size, limit) = ("the answer", body.len(), limits::DPS_RESPONSE_MAX);
            return Err(self.session.broken(ProtoError::TooLarge { what, size, limit }));
        }
        let wait = topic.retry_after.as_deref().and_then(|it| retry_after::parse(it, clock::now()));
        if (200..300).contains(&topic.status) {
            let operation: RegistrationOperation = serde_json::from_slice(body)
                .map_err(|problem| self.session.broken(ProtoError::json(&problem, body)))?;
            return Ok(DpsReply::new(DpsBody::Operation(Box::new(operation)), wait).status(topic.status));
        }
        // Report the refusal even if its body is unreadable.
        let error_body: ServiceError = serde_json::from_slice(body).unwrap_or_default();
        let by = RefusedBy::Status(topic.status);
        let mut refusal = Refusal::new(self.endpoint.clone(), request.stage(), by);
        refusal.error_code = error_body.error_code;
        refusal.message = error_body.message.map(|it| one_line(&it)).filter(|it| !it.is_empty());
        refusal.tracking_id = error_body.tracking_id.map(|it| one_line(&it));
        refusal.retry_after = wait;
        Err(TransportError::Refused(Box::new(refusal)))
    }
}

/// Returns the message if it is the response to this request.
fn response_to(request_id: &str, message: Message) -> Option<(ResponseTopic, Message)> {
    match ResponseTopic::parse(&message.topic) {
        Ok(topic) if topic.request_id == request_id => Some((topic, message)),
        Ok(topic) => {
            tracing::debug!(request_id = %Excerpt(&topic.request_id), "discarded a response to another request");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "discarded a message that is not a response");
            None
        }
    }
}

/// Returns whether DPS refused the login or the credential. The next request then needs a new connection.
fn is_about_login(refusal: &Refusal) -> bool {
    use hubward_proto::dps::error_code::Cause;
    !matches!(refusal.stage, Stage::Register | Stage::Poll) || refusal.cause() == Cause::Credential
}
