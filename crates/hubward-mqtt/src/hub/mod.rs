//! The hub transport over MQTT.

mod connection;
mod incoming;

use std::sync::Arc;

use async_trait::async_trait;
use hubward_dial::{DialStep, Dialer, Endpoint};
use hubward_proto::hub::{API_VERSION_WITH_CERTIFICATES, HubUsername};
use hubward_transport::{
    Abilities, HubConnection, HubLogin, HubTransport, SasToken, Stage, TransportError, TransportKind,
};

use self::connection::Connection;
use crate::SessionOptions;
use crate::dial_error::transport_error;
use crate::login::Login;
use crate::session::{Acknowledge, Session};

/// Connects to hubs over MQTT 3.1.1, on the byte stream that its dialer opens.
///
/// # Behaviour
/// * The [`Tag`](hubward_transport::Tag) of a telemetry message is its packet id, from 1 to
///   [`TAG_MAX`](crate::TAG_MAX). If the caller resends the message on another connection, the message keeps its packet
///   id and has DUP set.
/// * Twin requests and subscriptions use tags from the same range, but these tags are not packet ids on the wire.
/// * The transport sets no time limit for the login. The caller must limit the time until
///   [`Downstream::Ready`](hubward_transport::Downstream::Ready).
/// * After the login, the time that the hub may be silent is limited. It is [`SessionOptions::silence`] while a
///   message, a subscription or a twin request is unanswered, and otherwise 1.5 times the keep-alive.
/// * Messages that the program has not settled do not count as unanswered. Method calls that the program has not
///   answered do not count either.
/// * A twin request under a tag replaces an unanswered twin request under the same tag. The client then ignores a
///   response to the old request.
/// * A subscription or twin request counts as unanswered for at most twice [`SessionOptions::silence`]. A telemetry
///   message counts as unanswered until the connection ends.
/// * Telemetry, certificate requests and messages to the device use QoS 1. Twins and methods use QoS 0.
/// * The client acknowledges a received message with PUBACK, and the hub then deletes the message.
/// * PUBACKs must have the order in which the messages arrived (MQTT-4.6.0-2). A PUBACK therefore waits until the
///   program has completed the message and every earlier one.
/// * Over MQTT, a device can neither abandon nor reject a message. If the program never completes a message, this
///   message blocks every later acknowledgement, and the hub redelivers the message on another connection.
/// * If the program [releases](hubward_transport::Reply::Release) a message, the hub can redeliver it on the same
///   connection. The program then gets the message again, at the same position in the order.
/// * The client ignores every other redelivery of an unacknowledged message.
/// * If some properties of a message are invalid, the client returns the message with the valid properties.
/// * If a message has a topic that this device does not use, the client logs a warning, acknowledges and discards the
///   message. Without the acknowledgement, the hub would redeliver the message for ever.
///
///   The client also returns [`Downstream::Unreadable`](hubward_transport::Downstream::Unreadable). With this event,
///   the caller can refuse a method call whose name is unreadable.
/// * A peer cannot fill the log. A connection logs the first few warnings of each kind, and after that only their
///   number ([`WarningLimit`](hubward_transport::WarningLimit)). The log shortens names from the peer.
/// * At most 4096 messages wait for their acknowledgement. Later messages stay with the hub until the next connection.
///   For each later message, the client returns
///   [`Downstream::MessageOverLimit`](hubward_transport::Downstream::MessageOverLimit). It logs one warning per
///   connection. Telemetry continues.
/// * All queues and buffers have a maximum size. One poll reads about 256 KiB at most. The caller must limit the bytes
///   of unsettled messages: it [releases](hubward_transport::Reply::Release) messages that it cannot keep.
/// * The client accepts every reply, even if it has no room for messages, because each reply answers a message of the
///   hub.
///
///   So the client limits what it reads instead. If the hub does not read and 512 KiB are unwritten, the client stops
///   reading too.
#[derive(Debug, Clone)]
pub struct MqttHub {
    kind: TransportKind,
    dialer: Arc<dyn Dialer>,
    port: u16,
    options: SessionOptions,
}

impl MqttHub {
    /// Creates a transport that connects to hubs on `port`. `kind` must match the dialer:
    /// [`TransportKind::Mqtt`] for a dialer that opens TLS streams, [`TransportKind::MqttWs`] for one that
    /// opens WebSockets.
    #[must_use]
    pub fn new(kind: TransportKind, dialer: Arc<dyn Dialer>, port: u16) -> Self {
        Self { kind, dialer, port, options: SessionOptions::default() }
    }

    /// Sets the limits of each session.
    #[must_use]
    pub const fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    fn target(&self, login: &HubLogin) -> Endpoint {
        Endpoint::new(login.identity.host.as_str(), self.port)
    }
}

impl From<MqttHub> for Arc<dyn HubTransport> {
    fn from(hub: MqttHub) -> Self {
        Arc::<MqttHub>::new(hub)
    }
}

/// The features of a hub that this protocol supports.
#[must_use]
pub fn hub_abilities() -> Abilities {
    let mut abilities = Abilities::default();
    (abilities.twin, abilities.methods, abilities.receive) = (true, true, true);
    abilities.certificates = true;
    abilities
}

#[async_trait]
impl HubTransport for MqttHub {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn endpoint(&self, login: &HubLogin) -> String {
        self.target(login).to_string()
    }

    fn abilities(&self) -> Abilities {
        hub_abilities()
    }

    fn stage(&self) -> Option<Stage> {
        Some(match self.dialer.progress()?.step() {
            DialStep::Connect => Stage::Connect,
            DialStep::Tls => Stage::Tls,
            DialStep::Upgrade => Stage::Upgrade,
            _ => Stage::Login,
        })
    }

    async fn open(&self, login: &HubLogin, token: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError> {
        let target = self.target(login);
        let opened = self.dialer.open(&target).await.map_err(transport_error)?;
        let mut username = HubUsername::new(login.identity.clone())
            .user_agent(login.user_agent.clone())
            .model_id(login.model_id.clone());
        if login.certificate_requests {
            username = username.api_version(API_VERSION_WITH_CERTIFICATES);
        }
        let packet = Login {
            client_id: login.identity.client_id(),
            username: username.encode(),
            keep_alive: login.keep_alive,
            clean_session: login.clean_session,
        };
        let endpoint = target.to_string();
        let how = (Acknowledge::WhenSettled, Stage::Exchange);
        let session = Session::new(opened, endpoint.clone(), &packet, token, self.options, how)?;
        Ok(Box::new(Connection::new(session, endpoint, login)))
    }
}
