//! The hub transport over MQTT: opens connections.

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

/// Reaches hubs over MQTT 3.1.1, on whatever byte stream its dialer opens.
///
/// # Behavior
/// * A [`Tag`](hubward_transport::Tag) of telemetry is the packet id, from 1 to
///   [`TAG_MAX`](crate::TAG_MAX); sent again on another connection it keeps its id and sets DUP.
///   Questions and subscriptions take tags from the same range, which do not appear on the wire as
///   packet ids.
/// * No time limit before [`Downstream::Ready`](hubward_transport::Downstream::Ready): how long a
///   login may take is the caller's business. After it, [`SessionOptions::silence`] applies while a
///   message, a subscription or a question about the twin is unanswered, and 1.5 times the keep-alive
///   otherwise. What a program has not settled or answered yet is its own business.
/// * A question under a tag whose last question is unanswered replaces that one; a late answer is
///   ignored. Others stay open, and count as unanswered, until the connection ends.
/// * Telemetry and messages to the device go at QoS 1, everything about twins and methods at QoS 0.
/// * A received message is acknowledged (PUBACK, which makes the hub delete it) when it is completed,
///   and not before everything that came earlier is completed: acknowledgements leave in the order of
///   arrival (MQTT-4.6.0-2). Abandon and reject do not exist in MQTT: a message that is never
///   completed holds back every acknowledgement behind it, and comes again on another connection. One
///   that was [left](hubward_transport::Reply::Leave) is told again, in its old place, when the hub
///   sends it again on this one; otherwise what comes again unacknowledged is ignored.
/// * A message whose properties break the rules is handed over with those that can be read. One on a
///   topic that is nothing of this device's would come again for ever: it is acknowledged and
///   discarded, with a warning in the log and [word](hubward_transport::Downstream::Unreadable) of it,
///   so that a call can be refused whose name cannot be read.
/// * A peer cannot fill the log: of each kind of warning, a connection logs the first few and then how many
///   more there were ([`WarningLimit`](hubward_transport::WarningLimit)); names from the peer are cut.
/// * Everything is bounded: 4096 messages may wait for their acknowledgement; what comes after them is
///   left with the hub until the next connection, with a warning in the log and
///   [word](hubward_transport::Downstream::Left) of it, and telemetry goes on. The bytes of messages that
///   wait are the caller's to bound, by [leaving](hubward_transport::Reply::Leave) what it cannot keep.
///   One poll reads about 256 KiB at most.
///   Replies are always taken, since they are bounded by what came: while a peer leaves 512 KiB of
///   ours unread, nothing more of it is read.
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
        let mut abilities = Abilities::default();
        (abilities.twin, abilities.methods, abilities.receive) = (true, true, true);
        abilities.settles_in_order = true;
        abilities
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
        let opened = self.dialer.open(&to).await.map_err(transport_error)?;
        let username = HubUsername::new(login.identity.clone())
            .user_agent(login.user_agent.clone())
            .model_id(login.model_id.clone());
        let packet = Login {
            client_id: login.identity.client_id(),
            username: username.encode(),
            keep_alive: login.keep_alive,
            clean_session: login.clean_session,
        };
        let endpoint = to.to_string();
        let how = (Acknowledge::WhenSettled, Stage::Exchange);
        let session = Session::new(opened, endpoint.clone(), &packet, token, self.options, how)?;
        Ok(Box::new(Connection::new(session, endpoint, login.identity.clone())))
    }
}
