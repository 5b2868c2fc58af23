//! The hub transport over MQTT: telemetry out, acknowledgements in.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hubward_dial::{DialStep, Dialer, Endpoint};
use hubward_proto::hub::{HubUsername, Message, TelemetryTopic};
use hubward_transport::{
    Abilities, Downstream, HubConnection, HubLogin, HubTransport, Reply, SasToken, Stage, Tag, TransportError,
    TransportKind, Upstream,
};

use crate::SessionOptions;
use crate::dial_error::transport_error;
use crate::login::Login;
use crate::session::{Acknowledge, Event, Session};

/// Reaches hubs over MQTT 3.1.1, on whatever byte stream its dialer opens.
///
/// # Behavior
/// * A [`Tag`] is the packet id, from 1 to [`TAG_MAX`](crate::TAG_MAX); sent again on another
///   connection it keeps its id and sets DUP.
/// * No time limit before [`Downstream::Ready`]: how long a login may take is the caller's business.
///   After it, [`SessionOptions::silence`] and 1.5 times the keep-alive apply.
/// * Messages to the device are neither dropped nor acknowledged: nothing subscribes to them here,
///   and what a kept session still delivers stays with the hub.
#[derive(Debug, Clone)]
pub struct MqttHub {
    kind: TransportKind,
    dialer: Arc<dyn Dialer>,
    port: u16,
    options: SessionOptions,
}

impl MqttHub {
    /// A transport that dials hubs on `port`; `kind` is what it calls itself, and the dialer is what
    /// makes it so: [`TransportKind::Mqtt`] with one that opens TLS,
    /// [`TransportKind::MqttWs`] with one that opens WebSockets.
    #[must_use]
    pub fn new(kind: TransportKind, dialer: Arc<dyn Dialer>, port: u16) -> Self {
        Self { kind, dialer, port, options: SessionOptions::default() }
    }

    /// Sets the limits of its sessions.
    #[must_use]
    pub const fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    fn to(&self, login: &HubLogin) -> Endpoint {
        Endpoint::new(login.identity.host.as_str(), self.port)
    }
}

impl From<MqttHub> for Arc<dyn HubTransport> {
    fn from(hub: MqttHub) -> Self {
        Arc::<MqttHub>::new(hub)
    }
}

#[async_trait]
impl HubTransport for MqttHub {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn endpoint(&self, login: &HubLogin) -> String {
        self.to(login).to_string()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn doing(&self) -> Option<Stage> {
        Some(match self.dialer.progress()?.step() {
            DialStep::Connect => Stage::Connect,
            DialStep::Tls => Stage::Tls,
            DialStep::Upgrade => Stage::Upgrade,
            _ => Stage::Login,
        })
    }

    async fn open(&self, login: &HubLogin, token: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError> {
        let to = self.to(login);
        let stream = self.dialer.dial(&to).await.map_err(transport_error)?;
        let username = HubUsername::new(login.identity.clone())
            .user_agent(login.user_agent.clone())
            .model_id(login.model_id.clone());
        let packet = Login {
            client_id: login.identity.client_id(),
            username: username.encode(),
            keep_alive: login.keep_alive,
            clean_session: login.clean_session,
        };
        let session =
            Session::new(stream, to.to_string(), &packet, token, self.options, (Acknowledge::Never, Stage::Exchange))?;
        Ok(Box::new(Connection { session, telemetry: TelemetryTopic::prefix(&login.identity) }))
    }
}

#[derive(Debug)]
struct Connection {
    session: Session,
    /// How every telemetry topic of this device begins.
    telemetry: String,
}

impl Connection {
    fn send_telemetry(&mut self, tag: Tag, message: &Message, again: bool) -> Result<(), TransportError> {
        message.check().map_err(TransportError::Request)?;
        let topic = TelemetryTopic::encode(&self.telemetry, message).map_err(TransportError::Request)?;
        self.session.publish(tag, topic, message.body.clone(), again).map_err(TransportError::Request)
    }
}

impl HubConnection for Connection {
    fn has_room(&self) -> bool {
        self.session.has_room()
    }

    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError> {
        match what {
            Upstream::Telemetry(message) => self.send_telemetry(tag, message, again),
            _ => Err(TransportError::Unsupported("this version cannot send that over MQTT")),
        }
    }

    fn start_reply(&mut self, _: &Reply) -> Result<(), TransportError> {
        Err(TransportError::Unsupported("this version cannot send that over MQTT"))
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Downstream>,
    ) -> Poll<Result<(), TransportError>> {
        let (before, had_room) = (events.len(), self.has_room());
        loop {
            let polled = self.session.poll(cx, &mut |event| match event {
                Event::Acked(tag) => events.push(Downstream::Done(tag)),
                Event::Accepted { session_present } => {
                    events.push(Downstream::Ready { session_present, server_time: None });
                }
                Event::Subscribed { .. } => {}
                Event::Message(message) => {
                    tracing::debug!(?message, "nobody asked for this message: left with the hub");
                }
            });
            // What nobody asked for is no news.
            match polled {
                Poll::Ready(Ok(())) if events.len() == before && (had_room || !self.has_room()) => {}
                polled => return polled,
            }
        }
    }

    fn poll_renew(&mut self, _: &mut Context<'_>, _: &SasToken) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Err(TransportError::Unsupported("MQTT 3.1.1 cannot renew a token in place: connect again")))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_close(cx)
    }
}
