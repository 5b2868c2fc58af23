//! Receiving and settling messages from the cloud or from other modules.

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use hubward_transport::{Abilities, Disposition, Fault, Feature, IncomingMessage, Lock, TransportKind};

use crate::inbox::{SettleFailure, Taken};
use crate::incoming::Incoming;
use crate::{Capability, CloseReason, HubClient, HubCounts, Unsupported};

impl HubClient {
    /// Receives the messages that the cloud sends to this device. There can be one receiver at a time; after it
    /// is dropped, the program can make another one.
    ///
    /// The client subscribes at the hub when the first receiver is made. The hub then continues to deliver
    /// after that receiver is dropped, since the client cannot unsubscribe without losing messages that wait at
    /// the hub. Up to [`HubOptions::receive_queue`](crate::HubOptions::receive_queue) messages (and 4 MiB) wait
    /// in the client for the receiver; the client acknowledges none of them. Together with the
    /// [`CloudMessage`]s that the program holds, they take at most 16 MiB. The client does not acknowledge
    /// messages beyond that, and [counts](HubCounts::messages_over_limit) them: the hub delivers such a message
    /// again, as it does with [a dropped one](CloudMessage), and until then the message holds back [later
    /// acknowledgements](CloudMessage#in-which-order-to-complete). With the defaults, the client has room for
    /// everything that a hub keeps for a device. A receiver that does not read delays only its own messages.
    ///
    /// In a persistent session, messages may arrive before there is a receiver; they wait as well.
    ///
    /// # Errors
    /// [`ReceiveError`].
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md.
    pub fn cloud_messages(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::CloudToDevice, self.login().identity.module.is_none())
    }

    /// Receives the messages that other modules send to this module's inputs; otherwise as
    /// [`HubClient::cloud_messages`]. [`IncomingMessage::input`] names the input.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn inputs(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::Inputs, self.login().identity.module.is_some())
    }

    /// Returns how often, up to now, the client could not hand over or answer something that came from the hub.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        self.shared.incoming.counters.snapshot()
    }

    fn receive(&self, feature: Feature, fits: bool) -> Result<CloudMessages, ReceiveError> {
        if !fits {
            return Err(Unsupported::for_identity(self.kind(), feature).into());
        }
        self.check(feature)?;
        let incoming = self.shared.incoming.clone();
        if !incoming.inbox().attach() {
            return Err(ReceiveError::AlreadyReceiving);
        }
        self.subscribe(feature);
        Ok(CloudMessages { source: Source { incoming, abilities: self.abilities(), kind: self.kind() } })
    }
}

/// Why messages cannot be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The protocol cannot carry these messages, or this kind of identity does not receive them.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Another receiver exists; drop it first.
    #[error("another receiver exists; drop it first")]
    AlreadyReceiving,
}

impl ReceiveError {
    /// Which party has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unsupported(unsupported) => unsupported.fault(),
            Self::AlreadyReceiving => Fault::Request,
        }
    }
}

/// Receives messages; [`HubClient::cloud_messages`] and [`HubClient::inputs`] make one.
///
/// A receiver does not keep the client alive: the client ends when the last [`HubClient`] is dropped. Messages
/// that a dropped receiver has not returned wait for the next receiver.
#[derive(Debug)]
#[must_use = "no other receiver can be made while it exists"]
pub struct CloudMessages {
    source: Source,
}

impl CloudMessages {
    /// Waits for the next message and returns messages in the order in which they came.
    ///
    /// # Errors
    /// The reason why the client has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Result<CloudMessage, CloseReason> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next message if one is waiting; does not wait itself.
    pub fn try_next(&mut self) -> Option<CloudMessage> {
        let taken = self.source.incoming.inbox().take();
        taken.map(|it| self.source.message(it))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<CloudMessage, CloseReason>> {
        let (taken, replaced) = self.source.incoming.inbox().take_or_wait(cx.waker());
        drop(replaced);
        taken.map_or(Poll::Pending, |it| Poll::Ready(it.map(|it| self.source.message(it))))
    }
}

impl Drop for CloudMessages {
    fn drop(&mut self) {
        let waker = self.source.incoming.inbox().detach();
        drop(waker);
    }
}

/// A received message. It dereferences to the [`IncomingMessage`].
///
/// The hub keeps the message until [`CloudMessage::complete`]. If the program drops it, because handling it
/// failed or panicked, the hub delivers it again when the hub's lock on it ends, a minute after the delivery:
/// on this connection, or on the next one if that comes first, and up to the hub's limit of deliveries (10
/// unless configured). The minute also passes while the program works: over MQTT, the client does not hand out
/// a second copy of a message that the program still holds.
///
/// # In which order to complete
/// Over MQTT, acknowledgements are sent in the order in which the messages came, as the protocol requires. The
/// client therefore holds back the acknowledgement of a message that is completed out of order until the
/// earlier messages are completed. A dropped message holds back every later one until it is delivered again and
/// completed. A message that the program keeps and never completes holds back the later ones for as long as the
/// connection lasts: the hub delivers all of them again after the next reconnect, at the latest when the token
/// is renewed, including those that were completed ([counted](HubCounts::messages_held_back)). So complete also
/// a message that the program cannot handle, after recording it, unless the hub should deliver it again.
///
/// A message counts towards the 16 MiB that a program may hold until this value is dropped, even after it was
/// completed and after its connection ended. Copy data that the program keeps longer.
///
/// A planned renewal waits up to [`HubOptions::renewal_drain`](crate::HubOptions::renewal_drain) for messages
/// that the program holds. A message whose connection has ended cannot be completed any more
/// ([`SettleError::Stale`]); the hub delivers it again, so make handling repeatable.
#[must_use = "the hub delivers a dropped message again; complete it"]
pub struct CloudMessage {
    message: IncomingMessage,
    /// `None` if the hub wants no acknowledgement, or the message is settled.
    lock: Option<Lock>,
    connection: u64,
    /// The message's size, counted until this value is dropped.
    bytes: usize,
    source: Source,
}

impl CloudMessage {
    /// Returns the message with its body and properties.
    pub const fn message(&self) -> &IncomingMessage {
        &self.message
    }

    /// Tells the hub that the program has handled the message. Returns when the acknowledgement is on its
    /// connection, or is held back there for [earlier messages](CloudMessage#in-which-order-to-complete); the
    /// hub does not answer it. If the connection ends while the acknowledgement is held back, the hub delivers
    /// the message again. For a message that needs no acknowledgement (QoS 0), this method does nothing.
    ///
    /// # Errors
    /// [`SettleError::Stale`] or [`SettleError::Closed`]: the hub delivers the message again.
    ///
    /// # Cancel safety
    /// If dropped before its first poll, the message counts as dropped; afterwards the client still completes
    /// it.
    pub async fn complete(self) -> Result<(), SettleError> {
        self.settle(Disposition::Complete).await
    }

    /// Returns the message to the hub, which delivers it again at once.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`], at once and with the message, if [`Abilities::abandon`] is false, as over
    /// MQTT; drop the message instead. Otherwise as [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As [`CloudMessage::complete`].
    pub async fn abandon(self) -> Result<(), SettleError> {
        if self.source.abilities.abandon {
            self.settle(Disposition::Abandon).await
        } else {
            Err(self.unsupported(Capability::Abandon))
        }
    }

    /// Rejects the message: the hub drops it, and informs its sender if the sender requested that.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`], at once and with the message, if [`Abilities::reject`] is false, as over
    /// MQTT; complete the message instead. Otherwise as [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As [`CloudMessage::complete`].
    pub async fn reject(self) -> Result<(), SettleError> {
        if self.source.abilities.reject {
            self.settle(Disposition::Reject).await
        } else {
            Err(self.unsupported(Capability::Reject))
        }
    }

    async fn settle(mut self, disposition: Disposition) -> Result<(), SettleError> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let incoming = &self.source.incoming;
        let result = incoming.inbox().settle(self.connection, lock, disposition, &incoming.counters)?;
        incoming.wake_task();
        // The task answers before it ends; it does not if its runtime is gone.
        Ok(result.await.unwrap_or(Err(SettleFailure::Closed(CloseReason::Aborted)))?)
    }

    fn unsupported(self, what: Capability) -> SettleError {
        let source = Unsupported::over(self.source.kind, what);
        SettleError::Unsupported { message: Box::new(self), source }
    }
}

impl Deref for CloudMessage {
    type Target = IncomingMessage;

    fn deref(&self) -> &IncomingMessage {
        &self.message
    }
}

impl Drop for CloudMessage {
    fn drop(&mut self) {
        let incoming = &self.source.incoming;
        incoming.inbox().release_bytes(self.bytes);
        if let Some(lock) = self.lock.take() {
            incoming.inbox().drop_unsettled(self.connection, lock, &incoming.counters);
            // The connection has to learn of the release, and a renewal may be waiting for it.
            incoming.wake_task();
        }
    }
}

impl fmt::Debug for CloudMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudMessage").field("message", &self.message).finish_non_exhaustive()
    }
}

/// Why a message could not be settled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The protocol does not support this way to settle; [`HubClient::abilities`] says so before the call.
    /// Nothing was sent.
    #[error("the message was not settled")]
    Unsupported {
        /// The message, which the program can still complete.
        message: Box<CloudMessage>,
        /// The capability that is not supported.
        #[source]
        source: Unsupported,
    },
    /// The connection that delivered the message has ended; the hub delivers the message again.
    #[error("the connection that delivered the message has ended; the hub delivers the message again")]
    Stale,
    /// The client has ended; the hub delivers the message again to the next client of this identity.
    #[error("the client was closed before the message was settled")]
    Closed(#[source] CloseReason),
}

impl SettleError {
    /// Which party has to act; `None` if no party has to, since the hub delivers the message again.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Unsupported { source, .. } => Some(source.fault()),
            Self::Stale => None,
            Self::Closed(reason) => reason.fault(),
        }
    }

    /// Returns the message if the program can still complete it.
    #[must_use]
    pub fn into_message(self) -> Option<CloudMessage> {
        match self {
            Self::Unsupported { message, .. } => Some(*message),
            Self::Stale | Self::Closed(_) => None,
        }
    }
}

impl From<SettleFailure> for SettleError {
    fn from(reason: SettleFailure) -> Self {
        match reason {
            SettleFailure::Stale => Self::Stale,
            SettleFailure::Closed(reason) => Self::Closed(reason),
        }
    }
}

/// The data with which a message can be settled.
#[derive(Debug, Clone)]
struct Source {
    incoming: Arc<Incoming>,
    abilities: Abilities,
    kind: TransportKind,
}

impl Source {
    fn message(&self, taken: Taken) -> CloudMessage {
        let Taken { connection, bytes, mut delivery } = taken;
        let message = mem::take(&mut delivery.message);
        CloudMessage { message, lock: delivery.lock, connection, bytes, source: self.clone() }
    }
}
