//! The hub transport over MQTT.

mod connection;
mod incoming;

use std::sync::Arc;

use async_trait::async_trait;
use hubward_dial::{DialStep, Dialer, Endpoint};
use hubward_proto::hub::HubUsername;
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
///   [`TAG_MAX`](crate::TAG_MAX). If the caller resends the message on another connection, it keeps its
///   packet id and sets DUP. Twin requests and subscriptions use tags from the same range, but these tags
///   are not packet ids on the wire.
/// * There is no time limit before [`Downstream::Ready`](hubward_transport::Downstream::Ready); the caller
///   sets one for the login. After the login, [`SessionOptions::silence`] applies while a message, a
///   subscription or a twin request is unanswered, and 1.5 times the keep-alive otherwise. Messages that
///   the program has not settled and methods that it has not answered do not count.
/// * A twin request under a tag replaces an unanswered twin request under the same tag; a late response to
///   the old request is ignored. Other requests stay open, and count as unanswered, until the connection
///   ends.
/// * Telemetry and messages to the device use QoS 1. Twins and methods use QoS 0.
/// * The client acknowledges a received message (PUBACK, which makes the hub delete it) when the program
///   completes it and has completed every earlier message: acknowledgements keep the order of arrival
///   (MQTT-4.6.0-2). MQTT has neither abandon nor reject. A message that is never completed blocks every
///   later acknowledgement, and the hub redelivers it on another connection. If the program
///   [releases](hubward_transport::Reply::Release) a message and the hub redelivers it on the same connection,
///   the client hands it over again and keeps its position in the order. The client ignores every other
///   redelivery of a message that is not acknowledged yet.
/// * The client hands over a message with invalid properties, with the properties that are readable. It
///   acknowledges and discards a message on a topic that this device does not use, since the hub would
///   otherwise redeliver it for ever. It logs a warning and returns
///   [`Downstream::Unreadable`](hubward_transport::Downstream::Unreadable), so that the caller can refuse a
///   method call whose name is unreadable.
/// * A peer cannot fill the log: a connection logs the first few warnings of each kind and then the number
///   of the others ([`WarningLimit`](hubward_transport::WarningLimit)). Names from the peer are shortened.
/// * Everything is bounded. At most 4096 messages wait for their acknowledgement. Later messages stay with
///   the hub until the next connection; the client logs a warning and returns
///   [`Downstream::MessageOverLimit`](hubward_transport::Downstream::MessageOverLimit), and telemetry
///   continues. The caller must bound the bytes of unsettled messages: it
///   [releases](hubward_transport::Reply::Release) those that it cannot keep. One poll reads about 256 KiB
///   at most. The client always accepts replies, because each one answers a message of the hub: while
///   512 KiB are unwritten because the peer does not read, the client does not read either.
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

#[async_trait]
impl HubTransport for MqttHub {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn endpoint(&self, login: &HubLogin) -> String {
        self.target(login).to_string()
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        (abilities.twin, abilities.methods, abilities.receive) = (true, true, true);
        abilities
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
        let username = HubUsername::new(login.identity.clone())
            .user_agent(login.user_agent.clone())
            .model_id(login.model_id.clone());
        let packet = Login {
            client_id: login.identity.client_id(),
            username: username.encode(),
            keep_alive: login.keep_alive,
            clean_session: login.clean_session,
        };
        let endpoint = target.to_string();
        let how = (Acknowledge::WhenSettled, Stage::Exchange);
        let session = Session::new(opened, endpoint.clone(), &packet, token, self.options, how)?;
        Ok(Box::new(Connection::new(session, endpoint, login.identity.clone())))
    }
}
