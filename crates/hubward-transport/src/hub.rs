//! The traits of everything that can carry a device's conversation with its hub.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hubward_proto::hub::{HubIdentity, Message};
use hubward_sas::SasToken;

use crate::{Stage, TransportError, TransportKind};

/// A way to reach a hub. Opens connections; keeps nothing between them.
#[async_trait]
pub trait HubTransport: Send + Sync + fmt::Debug {
    /// Which protocol this is.
    fn kind(&self) -> TransportKind;

    /// The host and port it dials, for messages: `contoso.azure-devices.net:8883`.
    fn endpoint(&self, login: &HubLogin) -> String;

    /// What this protocol can do. Asked, not compiled in.
    fn abilities(&self) -> Abilities;

    /// What the latest [`HubTransport::open`] was doing, where that is known; the login once it is
    /// done. Whoever gives up at a deadline can then say what hung.
    fn doing(&self) -> Option<Stage> {
        None
    }

    /// Opens one byte stream and queues the login. Acceptance comes later as
    /// [`Downstream::Ready`], a refusal as the error of [`HubConnection::poll_exchange`].
    ///
    /// # Errors
    /// [`TransportError`] of name resolution, TCP, TLS or the WebSocket upgrade.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    async fn open(&self, login: &HubLogin, token: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError>;
}

/// One connection to a hub. It owns the bytes of this connection, and nothing else: messages, their
/// order and their receipts belong to the hub client, which puts them on the next connection.
pub trait HubConnection: Send + fmt::Debug {
    /// Whether [`HubConnection::start_send`] may be called now: the login was accepted and the
    /// buffer is not full.
    fn has_room(&self) -> bool;

    /// Queues `what` under `tag`. `again` says that an earlier connection may have carried it.
    /// Nothing reaches the network before the next [`HubConnection::poll_exchange`].
    ///
    /// # Errors
    /// Only what makes this one message impossible ([`TransportError::Request`] with
    /// [`ProtoError::TooLarge`](hubward_proto::ProtoError::TooLarge), say); the connection lives on.
    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError>;

    /// Writes what is queued, reads what is there, appends what happened to `events`. Ready when it
    /// appended something or room appeared; pending until then, keep-alive included.
    ///
    /// # Errors
    /// The connection is over: refused at login, closed, silent for too long, or a broken protocol.
    /// Events appended before the error count.
    ///
    /// # Cancel safety
    /// All state is in `self`: not polling again loses nothing.
    fn poll_exchange(&mut self, cx: &mut Context<'_>, events: &mut Vec<Downstream>)
    -> Poll<Result<(), TransportError>>;

    /// Replaces the token in place, where [`Abilities::renew_in_place`] says so.
    ///
    /// # Errors
    /// [`TransportError::Unsupported`] where it does not.
    fn poll_renew(&mut self, cx: &mut Context<'_>, token: &SasToken) -> Poll<Result<(), TransportError>>;

    /// Says good-bye and closes. Ready when the bytes are out or cannot be.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What a protocol can do at a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// A token can be replaced without a new connection.
    pub renew_in_place: bool,
}

/// Who logs in, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubLogin {
    /// Device or module, and its hub.
    pub identity: HubIdentity,
    /// Name and version of the program, for the service's diagnostics.
    pub user_agent: Option<String>,
    /// The PnP model, such as `dtmi:com:example:Thermostat;1`.
    pub model_id: Option<String>,
    /// How long the connection may be silent before a ping goes out; 1 s to
    /// [`KEEP_ALIVE_MAX`](hubward_proto::limits::KEEP_ALIVE_MAX), whole seconds.
    pub keep_alive: Duration,
    /// Whether the hub forgets subscriptions and undelivered messages when the connection ends.
    pub clean_session: bool,
}

impl HubLogin {
    /// Keep-alive when nobody chose one. Below the 4 minutes after which load balancers drop an
    /// idle connection, and short enough to notice a dead one.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

    /// A login with the defaults: keep-alive 60 s, persistent session.
    #[must_use]
    pub const fn new(identity: HubIdentity) -> Self {
        Self { identity, user_agent: None, model_id: None, keep_alive: Self::KEEP_ALIVE, clean_session: false }
    }

    /// Names the program, such as `acme-pump/2.1`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Names the PnP model, such as `dtmi:com:example:Thermostat;1`.
    #[must_use]
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets [`HubLogin::keep_alive`].
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets [`HubLogin::clean_session`].
    #[must_use]
    pub const fn clean_session(mut self, clean_session: bool) -> Self {
        self.clean_session = clean_session;
        self
    }
}

/// Names a message in flight on one connection; over MQTT it is the packet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub NonZeroU16);

/// What a device sends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Upstream {
    /// A telemetry message.
    Telemetry(Arc<Message>),
}

/// What a connection tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Downstream {
    /// The hub accepted the login.
    Ready {
        /// Whether the hub kept a session of this device.
        session_present: bool,
        /// The hub's clock, where the protocol shows it.
        server_time: Option<SystemTime>,
    },
    /// The hub has taken what was sent under this tag.
    Done(Tag),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both traits must stay usable as `dyn`.
    #[test]
    fn traits_are_object_safe() {
        fn takes(_: Option<&dyn HubTransport>, _: Option<&dyn HubConnection>, _: Option<&dyn crate::DpsTransport>) {}
        takes(None, None, None);
    }
}
