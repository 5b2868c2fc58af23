//! The DPS transport over MQTT: one connection for a registration and its polls.

use std::future::poll_fn;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hubward_dial::{DialStep, Dialer, Endpoint};
use hubward_proto::dps::{
    DeviceRegistration, DpsBody, DpsReply, DpsUsername, OperationTopic, RESPONSE_FILTER, Register, RegisterTopic,
    RegistrationOperation, ResponseTopic, ServiceError,
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

/// Asks DPS over MQTT 3.1.1, on whatever byte stream its dialer opens.
///
/// # Behavior
/// * Opens at the first question and keeps the connection for the next ones of the same identity.
///   One that turns out dead before anything of a question was written, or that was idle for a whole
///   keep-alive, is opened again; that is still the same question.
/// * Each question has a request id of its own; an answer to another one, or a second answer, is
///   acknowledged and discarded.
/// * No time limit of its own on login and answer but [`SessionOptions::silence`] once the login was
///   accepted: deadlines belong to the driver.
#[derive(Debug)]
pub struct MqttDps {
    kind: TransportKind,
    endpoint: Endpoint,
    dialer: Arc<dyn Dialer>,
    options: SessionOptions,
    open: Option<Open>,
    /// What the latest question was doing.
    doing: Stage,
    /// Counts request ids over all connections.
    requests: u64,
}

impl MqttDps {
    /// A transport to `endpoint`; `kind` is what it calls itself, and the dialer is what makes it so:
    /// [`TransportKind::Mqtt`] with one that opens TLS, [`TransportKind::MqttWs`] with one that opens
    /// WebSockets.
    #[must_use]
    pub fn new(kind: TransportKind, endpoint: Endpoint, dialer: Arc<dyn Dialer>) -> Self {
        Self {
            kind,
            endpoint,
            dialer,
            options: SessionOptions::default(),
            open: None,
            doing: Stage::Connect,
            requests: 0,
        }
    }

    /// Sets the limits of its sessions.
    #[must_use]
    pub const fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    async fn ask(
        &mut self,
        request: &Register,
        token: Option<&SasToken>,
        question: Question<'_>,
    ) -> Result<DpsReply, TransportError> {
        self.requests += 1;
        let request_id = self.requests.to_string();
        let body = question.body(request)?;
        if !self.can_reuse(request).await {
            self.close().await;
        }
        let mut reused = self.open.is_some();
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                none => {
                    let doing = &mut self.doing;
                    none.insert(Open::new(&self.endpoint, &*self.dialer, self.options, request, token, doing).await?)
                }
            };
            self.doing = question.stage();
            let before = open.session.sent();
            let result = open.ask(question, &request_id, &body).await;
            open.last_used = Instant::now();
            let sent = open.session.sent() != before;
            match &result {
                Ok(_) => {}
                // Refused, but not for who we are: the connection is as good as before.
                Err(TransportError::Refused(refusal)) if !is_about_login(refusal) => {}
                Err(_) => self.open = None,
            }
            match result {
                // It had ended before we asked: nobody has heard the question yet.
                Err(TransportError::Closed { .. }) if reused && !sent => reused = false,
                result => return result,
            }
        }
    }

    /// Whether the open connection may carry a question of `request`.
    async fn can_reuse(&mut self, request: &Register) -> bool {
        match &mut self.open {
            Some(open) => {
                open.username == username(request)
                    && open.last_used.elapsed() < KEEP_ALIVE
                    && open.session.is_alive().await
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
        self.ask(request, token, Question::Register).await
    }

    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.ask(request, token, Question::Status(operation)).await
    }

    fn doing(&self) -> Option<Stage> {
        let Stage::Connect = self.doing else { return Some(self.doing) };
        Some(match self.dialer.progress()?.step() {
            DialStep::Tls => Stage::Tls,
            DialStep::Upgrade => Stage::Upgrade,
            _ => Stage::Connect,
        })
    }

    async fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            // A peer that does not listen any more is no reason to stay.
            let _ = timeout(CLOSE_WITHIN, poll_fn(|cx| open.session.poll_close(cx))).await;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Question<'a> {
    Register,
    Status(&'a OperationId),
}

impl Question<'_> {
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

    /// A poll has none: the topic says it all.
    fn body(self, request: &Register) -> Result<Vec<u8>, TransportError> {
        let body = match self {
            Self::Register => DeviceRegistration::new(&request.registration_id, request.payload.clone()).encode(),
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
struct Open {
    session: Session,
    /// Names scope, registration id and program: whose connection it is.
    username: String,
    endpoint: String,
    last_tag: u16,
    last_used: Instant,
}

impl Open {
    async fn new(
        to: &Endpoint,
        dialer: &dyn Dialer,
        options: SessionOptions,
        request: &Register,
        token: Option<&SasToken>,
        doing: &mut Stage,
    ) -> Result<Self, TransportError> {
        *doing = Stage::Connect;
        let opened = dialer.open(to).await.map_err(transport_error)?;
        *doing = Stage::Login;
        let (endpoint, username) = (to.to_string(), username(request));
        let login = Login {
            client_id: request.registration_id.to_string(),
            username: username.clone(),
            keep_alive: KEEP_ALIVE,
            // DPS keeps nothing between connections.
            clean_session: true,
        };
        let mut session =
            Session::new(opened, endpoint.clone(), &login, token, options, (Acknowledge::AtOnce, Stage::Subscribe))?;
        session.wait_for(|event| matches!(event, Event::Accepted { .. }).then_some(())).await?;
        *doing = Stage::Subscribe;
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

    async fn ask(&mut self, question: Question<'_>, request_id: &str, body: &[u8]) -> Result<DpsReply, TransportError> {
        self.session.set_stage(question.stage());
        let tag = self.free_tag();
        let body = body.to_vec().into();
        self.session.publish(tag, question.topic(request_id), body, false).map_err(TransportError::Request)?;
        let (topic, message) = self
            .session
            .wait_for(|event| match event {
                Event::Message(message, _) => answer_to(request_id, message),
                // An acknowledgement says nothing that the answer does not; it may come later or never.
                _ => None,
            })
            .await?;
        self.read(question, &topic, &message)
    }

    /// The next packet id that nothing unanswered has.
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
        question: Question<'_>,
        topic: &ResponseTopic,
        message: &Message,
    ) -> Result<DpsReply, TransportError> {
        let body = &message.body;
        if body.len() > limits::DPS_ANSWER_MAX {
            let (what, size, limit) = ("the answer", body.len(), limits::DPS_ANSWER_MAX);
            return Err(self.session.broken(ProtoError::TooLarge { what, size, limit }));
        }
        let wait = topic.retry_after.as_deref().and_then(|it| retry_after::parse(it, clock::now()));
        if (200..300).contains(&topic.status) {
            let operation: RegistrationOperation = serde_json::from_slice(body)
                .map_err(|problem| self.session.broken(ProtoError::json(&problem, body)))?;
            return Ok(DpsReply::new(DpsBody::Operation(Box::new(operation)), wait).status(topic.status));
        }
        // A refusal counts even if its body says nothing we can read.
        let said: ServiceError = serde_json::from_slice(body).unwrap_or_default();
        let by = RefusedBy::Status(topic.status);
        let mut refusal = Refusal::new(self.endpoint.clone(), question.stage(), by);
        refusal.error_code = said.error_code;
        refusal.message = said.message.map(|it| one_line(&it)).filter(|it| !it.is_empty());
        refusal.tracking_id = said.tracking_id.map(|it| one_line(&it));
        refusal.retry_after = wait;
        Err(TransportError::Refused(Box::new(refusal)))
    }
}

/// The message, if it answers this request.
fn answer_to(request_id: &str, message: Message) -> Option<(ResponseTopic, Message)> {
    match ResponseTopic::parse(&message.topic) {
        Ok(topic) if topic.request_id == request_id => Some((topic, message)),
        Ok(topic) => {
            tracing::debug!(request_id = %Excerpt(&topic.request_id), "an answer to another request, discarded");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "a message that is no answer, discarded");
            None
        }
    }
}

/// Whether a refusal is about the login, so that the next question must begin with a new one.
fn is_about_login(refusal: &Refusal) -> bool {
    use hubward_proto::dps::error_code::Cause;
    !matches!(refusal.stage, Stage::Register | Stage::Poll) || refusal.cause() == Cause::Credential
}

fn username(request: &Register) -> String {
    let version = request.client_version.clone();
    DpsUsername::new(request.id_scope.clone(), request.registration_id.clone(), version).encode()
}

/// The subscription's, before anything else has a tag.
const FIRST_TAG: Tag = Tag(NonZeroU16::MIN);

/// Source: `[sdk]` azure-iot-sdk-python asks for the same.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a good-bye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
