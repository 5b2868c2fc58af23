//! The traits of transports between a device and its hub.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hubward_proto::hub::{CertificateAccepted, HubIdentity, IncomingMessage, Message, Replace};
use hubward_proto::{CertificateRequestId, Csr, ProtoError};
use hubward_sas::SasToken;

use crate::{Refusal, Stage, TransportError, TransportKind};

/// Connects to hubs over one protocol. It opens connections and keeps no state between them.
#[async_trait]
pub trait HubTransport: Send + Sync + fmt::Debug {
    /// Returns the protocol.
    fn kind(&self) -> TransportKind;

    /// Returns the host and port that the transport connects to, such as `contoso.azure-devices.net:8883`. Error
    /// messages and logs use it.
    fn endpoint(&self, login: &HubLogin) -> String;

    /// Returns what this protocol supports.
    fn abilities(&self) -> Abilities;

    /// Returns the current stage of the latest [`HubTransport::open`], if known. After `open` has returned, the stage
    /// is [`Stage::Login`].
    ///
    /// When a deadline passes, the caller uses the stage to report what did not finish.
    fn stage(&self) -> Option<Stage> {
        None
    }

    /// Opens one byte stream and queues the login. Does not wait for the hub's answer to the login.
    ///
    /// Later, [`HubConnection::poll_exchange`] returns the answer: [`Downstream::Ready`] if the hub accepts the login,
    /// or an error if the hub refuses it.
    ///
    /// # Errors
    /// [`TransportError`] of name resolution, TCP, TLS or the WebSocket upgrade.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    async fn open(&self, login: &HubLogin, token: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError>;
}

/// One connection to a hub.
///
/// A connection keeps only its own state. The hub client keeps the messages, their order and their acknowledgements,
/// and resends messages on the next connection.
pub trait HubConnection: Send + fmt::Debug {
    /// Returns `true` if the caller may call [`HubConnection::start_send`] now: the hub has accepted the login, and the
    /// buffer is not full.
    fn has_room(&self) -> bool;

    /// Queues `what` under `tag`. The next [`HubConnection::poll_exchange`] sends it. Set `again` to `true` if an
    /// earlier connection may have sent the same message.
    ///
    /// # Errors
    /// An error means only that this message cannot be sent, for example [`TransportError::Request`] with
    /// [`ProtoError::TooLarge`](hubward_proto::ProtoError::TooLarge). The connection stays usable.
    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError>;

    /// Queues the reply to an event of the hub. The next [`HubConnection::poll_exchange`] sends the reply. The hub does
    /// not answer a reply.
    ///
    /// The caller must ensure that the event came over *this* connection.
    ///
    /// The caller may reply even if [`HubConnection::has_room`] is false. The number of queued replies stays limited,
    /// because there is at most one reply for each received event.
    ///
    /// # Errors
    /// [`TransportError::Unsupported`] if [`Abilities`] excludes the reply. [`TransportError::Request`] if the reply
    /// cannot be encoded. After either error, the connection stays usable.
    fn start_reply(&mut self, reply: &Reply) -> Result<(), TransportError>;

    /// Returns the number of settlements that the connection has accepted but not sent yet.
    ///
    /// Some protocols require settlements in the order in which the messages arrived. A settlement then waits until
    /// every earlier message is settled. If the connection ends first, the hub redelivers the messages of the waiting
    /// settlements.
    ///
    /// The default implementation returns 0, for protocols that require no order.
    fn held_back(&self) -> usize {
        0
    }

    /// Exchanges data with the hub: writes queued bytes, reads available bytes and sends keep-alive pings. Appends the
    /// received events to `events`.
    ///
    /// Returns `Ready` if it has appended an event, or if [`HubConnection::has_room`] has become true.
    ///
    /// # Errors
    /// An error means that the connection has ended: the hub refused the login, closed the connection, was silent for
    /// too long or broke the protocol. The events that were appended before the error are valid.
    ///
    /// # Cancel safety
    /// The caller can stop polling at any time and loses nothing, because all state is in `self`.
    fn poll_exchange(&mut self, cx: &mut Context<'_>, events: &mut Vec<Downstream>)
    -> Poll<Result<(), TransportError>>;

    /// Replaces the token without a new connection, if [`Abilities::renew_in_place`] is set.
    ///
    /// # Errors
    /// [`TransportError::Unsupported`] if [`Abilities::renew_in_place`] is not set.
    fn poll_renew(&mut self, cx: &mut Context<'_>, token: &SasToken) -> Poll<Result<(), TransportError>>;

    /// Closes the connection in an orderly way. Returns `Ready` when all queued bytes are written, or when writing has
    /// failed.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The features of a hub that a protocol supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// The client can replace a token without a new connection.
    pub renew_in_place: bool,
    /// The client can read the twin, change reported properties, and receive changes of desired properties.
    pub twin: bool,
    /// The client can answer direct methods.
    pub methods: bool,
    /// The client can receive and complete messages from the cloud or from other modules.
    pub receive: bool,
    /// The client can return a received message to the hub ([`Disposition::Abandon`]).
    pub abandon: bool,
    /// The client can refuse a received message permanently ([`Disposition::Reject`]).
    pub reject: bool,
    /// The client can request certificates, after a login with [`HubLogin::certificate_requests`].
    pub certificates: bool,
}

/// The parameters of a login to a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct HubLogin {
    /// The device or module, and its hub.
    pub identity: HubIdentity,
    /// Name and version of the program, for the service's diagnostics.
    pub user_agent: Option<String>,
    /// The PnP model, such as `dtmi:com:example:Thermostat;1`.
    pub model_id: Option<String>,
    /// After the client has sent nothing for this time, it sends a ping. Whole seconds, from 1 s to
    /// [`KEEP_ALIVE_MAX`](hubward_proto::limits::KEEP_ALIVE_MAX).
    pub keep_alive: Duration,
    /// If `true`, the hub discards the device's subscriptions and undelivered messages when the connection ends.
    pub clean_session: bool,
    /// If `true`, the device may request certificates. Certificate requests are a preview of the service, so the login
    /// then names another version of the API.
    pub certificate_requests: bool,
}

impl HubLogin {
    /// Default of [`HubLogin::keep_alive`]. Load balancers drop a connection that is idle for 4 minutes, so the value
    /// must be shorter. With 60 s, the client also detects a dead connection soon.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

    /// Creates a login with the defaults: keep-alive 60 s, persistent session.
    pub const fn new(identity: HubIdentity) -> Self {
        Self {
            identity,
            user_agent: None,
            model_id: None,
            keep_alive: Self::KEEP_ALIVE,
            clean_session: false,
            certificate_requests: false,
        }
    }

    /// Sets [`HubLogin::user_agent`], such as `acme-pump/2.1`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Sets [`HubLogin::model_id`], such as `dtmi:com:example:Thermostat;1`.
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets [`HubLogin::keep_alive`].
    pub const fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets [`HubLogin::certificate_requests`].
    pub const fn certificate_requests(mut self, certificate_requests: bool) -> Self {
        self.certificate_requests = certificate_requests;
        self
    }

    /// Sets [`HubLogin::clean_session`].
    pub const fn clean_session(mut self, clean_session: bool) -> Self {
        self.clean_session = clean_session;
        self
    }
}

/// Identifies a message or request in flight on one connection. Over MQTT, the tag is the packet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub NonZeroU16);

/// A message or request that a device sends under a [`Tag`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Upstream {
    /// A telemetry message. The hub answers with [`Downstream::Done`].
    Telemetry(Arc<Message>),
    /// A subscription to a feature, sent once per connection. The hub answers with [`Downstream::Done`] or
    /// [`Downstream::Refused`].
    Subscribe(Feature),
    /// A request for the twin. It needs [`Feature::TwinResponses`]. The hub answers with [`Downstream::Twin`]
    /// or [`Downstream::Refused`].
    TwinGet,
    /// A change of the reported properties, as JSON. It needs [`Feature::TwinResponses`]. The hub answers with
    /// [`Downstream::Reported`] or [`Downstream::Refused`].
    ReportedPatch(Bytes),
    /// A request for a certificate of this device. It needs [`Feature::Certificates`].
    ///
    /// The hub acknowledges the request with [`Downstream::Done`]. Later, it sends one or more
    /// [`Downstream::Certificate`], on this connection or on a later one.
    IssueCertificate {
        /// The id that the answers repeat.
        id: CertificateRequestId,
        /// The certificate request.
        csr: Csr,
        /// The pending request that this request replaces.
        replace: Option<Replace>,
    },
}

/// The kinds of messages that a hub sends only after a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Responses to twin requests.
    TwinResponses,
    /// Changes of desired properties.
    Desired,
    /// Direct method calls.
    Methods,
    /// Messages from the cloud (devices only).
    CloudToDevice,
    /// Messages from other modules (modules only).
    Inputs,
    /// Answers to certificate requests (devices only).
    Certificates,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwinResponses => "twin responses",
            Self::Desired => "changes of desired properties",
            Self::Methods => "direct methods",
            Self::CloudToDevice => "cloud-to-device messages",
            Self::Inputs => "module inputs",
            Self::Certificates => "certificate requests",
        })
    }
}

/// A reply of a device to an event of the hub.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reply {
    /// The response to a direct method call.
    Method {
        /// The id from [`Downstream::Method`].
        call: CallId,
        /// The status that the method returns.
        status: i32,
        /// JSON, or empty.
        body: Bytes,
    },
    /// The settlement of a received message.
    Settle {
        /// The lock from [`Downstream::Message`].
        lock: Lock,
        /// How the message is settled.
        disposition: Disposition,
    },
    /// Releases a received message without settling it. This reply sends nothing to the hub. If the hub redelivers the
    /// message on this connection, the connection returns it again as an event.
    Release {
        /// The lock from [`Downstream::Message`].
        lock: Lock,
    },
}

/// Identifies a direct method call on one connection; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallId(pub String);

/// Identifies a received message on one connection until the message is settled. If the hub redelivers a
/// [released](Reply::Release) message on this connection, the message has the same `Lock` as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lock(pub u64);

/// How a received message is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// The program has processed the message; the hub deletes it.
    Complete,
    /// The program returns the message; the hub redelivers it.
    Abandon,
    /// The program refuses the message permanently; the hub does not redeliver it.
    Reject,
}

/// An event of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Downstream {
    /// The hub accepted the login.
    Ready {
        /// Whether the hub kept a session of this device.
        session_present: bool,
        /// The time of the hub's clock, if the protocol transmits it.
        server_time: Option<SystemTime>,
    },
    /// The hub accepted the message or subscription with this tag.
    Done(Tag),
    /// The hub refused the request with this tag. The connection stays usable.
    Refused(Tag, Box<Refusal>),
    /// The twin as JSON, in response to the request with this tag.
    Twin(Tag, Bytes),
    /// The hub has made the change of reported properties that was sent under this tag. Contains the new version of the
    /// reported properties, if the hub sent it.
    Reported(Tag, Option<u64>),
    /// Desired properties have changed: a patch with `$version`, as JSON.
    Desired(Bytes),
    /// An answer to a certificate request of this connection or of an earlier one.
    Certificate(Box<CertificateResponse>),
    /// The cloud calls a direct method.
    Method(Box<Call>),
    /// A message arrived.
    Message(Box<Delivery>),
    /// A message arrived, but the connection cannot track more unsettled messages. The connection discarded its copy,
    /// and the message stays with the hub.
    MessageOverLimit,
    /// The connection received an unreadable message and discarded it. If the message is a method call with a readable
    /// id, this value contains the id. With this id, the client can answer the call.
    Unreadable(Option<CallId>),
}

/// An answer of the hub to a certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateResponse {
    /// The id of the request, as the hub sent it.
    pub id: String,
    /// The answer.
    pub outcome: CertificateOutcome,
}

/// The kinds of answers to a certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateOutcome {
    /// The hub works on the request, and sends another answer later.
    Accepted(CertificateAccepted),
    /// The issued certificates as the hub sent them: the certificate of the device first, then its issuers.
    Issued(Vec<String>),
    /// The hub refused the request.
    Refused {
        /// The refusal, with the details that the hub sent.
        refusal: Box<Refusal>,
        /// The id of another request that the refusal names: for example, the one that is pending.
        other: Option<String>,
    },
    /// The answer cannot be read.
    Unreadable(ProtoError),
}

/// A direct method call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The id for the response.
    pub id: CallId,
    /// The name of the method, decoded.
    pub name: String,
    /// JSON, or empty.
    pub body: Bytes,
}

/// A received message for the device or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Identifies the message when the client settles it; `None` if the hub expects no acknowledgement.
    pub lock: Option<Lock>,
    /// Body and properties.
    pub message: IncomingMessage,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The traits must stay usable as `dyn`.
    #[test]
    fn traits_are_object_safe() {
        fn takes(_: Option<&dyn HubTransport>, _: Option<&dyn HubConnection>, _: Option<&dyn crate::DpsTransport>) {}
        takes(None, None, None);
    }
}
