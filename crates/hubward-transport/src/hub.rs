//! The traits of everything that can carry a device's conversation with its hub.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hubward_proto::hub::{HubIdentity, IncomingMessage, Message};
use hubward_sas::SasToken;

use crate::{Refusal, Stage, TransportError, TransportKind};

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

    /// Queues the reply to something that came over *this* connection: the caller sees to that. There
    /// is no answer to it. Nothing reaches the network before the next
    /// [`HubConnection::poll_exchange`]; whether there [is room](HubConnection::has_room) does not
    /// matter, since replies are bounded by what came.
    ///
    /// # Errors
    /// [`TransportError::Unsupported`] for what [`Abilities`] excludes, [`TransportError::Request`]
    /// for what cannot be written; the connection lives on.
    fn start_reply(&mut self, reply: &Reply) -> Result<(), TransportError>;

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
    /// Twins can be read and reported, and changes of desired properties come by themselves.
    pub twin: bool,
    /// Direct methods can be served.
    pub methods: bool,
    /// Messages from the cloud, or from other modules, can be received and completed.
    pub receive: bool,
    /// A received message can be handed back at once ([`Verdict::Abandon`]).
    pub abandon: bool,
    /// A received message can be refused for good ([`Verdict::Reject`]).
    pub reject: bool,
    /// What is settled reaches the hub in the order in which the messages came: a message that is not
    /// settled holds back those behind it.
    pub settles_in_order: bool,
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

/// What a device sends, and what the hub answers under its tag.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Upstream {
    /// A telemetry message; answered by [`Downstream::Done`].
    Telemetry(Arc<Message>),
    /// The beginning of a feature, asked for once on each connection; answered by
    /// [`Downstream::Done`] or [`Downstream::Refused`].
    Watch(Feature),
    /// A question for the twin; needs [`Feature::TwinAnswers`]; answered by [`Downstream::Twin`] or
    /// [`Downstream::Refused`].
    TwinGet,
    /// A change of the reported properties, as JSON; needs [`Feature::TwinAnswers`]; answered by
    /// [`Downstream::Reported`] or [`Downstream::Refused`].
    ReportedPatch(Bytes),
}

/// What a hub sends only to those who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Answers about the twin.
    TwinAnswers,
    /// Changes of desired properties.
    Desired,
    /// Calls of direct methods.
    Methods,
    /// Messages from the cloud (devices only).
    CloudToDevice,
    /// Messages from other modules (modules only).
    Inputs,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwinAnswers => "answers about the twin",
            Self::Desired => "changes of desired properties",
            Self::Methods => "direct methods",
            Self::CloudToDevice => "cloud-to-device messages",
            Self::Inputs => "module inputs",
        })
    }
}

/// What a device replies to something the hub sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reply {
    /// The answer to a direct method.
    Method {
        /// Which call, as [`Downstream::Method`] named it.
        call: CallId,
        /// The method's own verdict.
        status: i32,
        /// JSON, or empty.
        body: Bytes,
    },
    /// What became of a received message.
    Settle {
        /// Which, as [`Downstream::Message`] named it.
        lock: Lock,
        /// What became of it.
        verdict: Verdict,
    },
    /// Nobody has a received message any more, and it is not settled: if the hub sends it again on this
    /// connection, it is to be told again. Nothing of this goes to the hub.
    Leave {
        /// Which, as [`Downstream::Message`] named it.
        lock: Lock,
    },
}

/// Names a call of a direct method on one connection; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallId(pub String);

/// Names a received message on one connection until it is settled. One that was
/// [left](Reply::Leave) comes again under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lock(pub u64);

/// What became of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Done with; the hub deletes it.
    Complete,
    /// Handed back; the hub delivers it again.
    Abandon,
    /// Refused for good; the hub drops it.
    Reject,
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
    /// The hub refused what was sent under this tag; the connection lives on.
    Refused(Tag, Box<Refusal>),
    /// The twin that was asked for under this tag, as JSON.
    Twin(Tag, Bytes),
    /// The reported properties are changed as asked under this tag.
    Reported(Tag, Option<u64>),
    /// Desired properties have changed: a patch with `$version`, as JSON.
    Desired(Bytes),
    /// The cloud calls a direct method.
    Method(Box<Call>),
    /// A message has come.
    Message(Box<Delivery>),
    /// A message has come and is left with the hub: more wait for their settlement than the
    /// connection can remember.
    Left,
    /// Something has come that cannot be read, and was discarded. If it calls a method, under this
    /// name, it can still be answered.
    Unreadable(Option<CallId>),
}

/// A call of a direct method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// For the answer.
    pub id: CallId,
    /// Which method, decoded.
    pub name: String,
    /// JSON, or empty.
    pub body: Bytes,
}

/// A message to the device or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To settle it; `None` if the hub wants no acknowledgement.
    pub lock: Option<Lock>,
    /// Body and properties.
    pub message: IncomingMessage,
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
