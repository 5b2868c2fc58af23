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
    /// Returns a receiver of the messages that the cloud sends to this device. Only one receiver can exist at a time.
    /// After the program has dropped a receiver, it can make another one.
    ///
    /// The client subscribes when the program makes the first receiver. The subscription continues after the program
    /// has dropped the receiver, because unsubscribing would lose messages that wait at the hub.
    ///
    /// While there is no receiver, messages wait in the client for the next receiver: at most
    /// [`HubOptions::receive_queue`](crate::HubOptions::receive_queue) messages, with at most 4 MiB together. The
    /// client acknowledges none of them.
    ///
    /// The waiting messages and the [`CloudMessage`]s that the program holds take at most 16 MiB together. With the
    /// default options, the client has room for all messages that a hub keeps for a device.
    ///
    /// If a message does not fit within these limits, the client neither keeps nor acknowledges it, but
    /// [counts](HubCounts::messages_over_limit) it. The hub delivers the message again, like [a dropped
    /// message](CloudMessage).
    ///
    /// Until the program has completed this message, the client holds back [later
    /// acknowledgements](CloudMessage#in-which-order-to-complete).
    ///
    /// A receiver that does not read delays only its own messages.
    ///
    /// In a persistent session, messages may arrive before the program has made a receiver. These messages wait for the
    /// first receiver.
    ///
    /// # Errors
    /// [`ReceiveError`].
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md.
    pub fn cloud_messages(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::CloudToDevice, !self.is_module())
    }

    /// Returns a receiver of the messages that other modules send to this module's inputs. [`IncomingMessage::input`]
    /// names the input. The receiver behaves as described at [`HubClient::cloud_messages`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn inputs(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::Inputs, self.is_module())
    }

    /// Returns counts of failed calls, and of messages that were lost or that the hub delivers again.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        self.shared.incoming.counters.snapshot()
    }

    /// A client without a hub is a device, because only devices get their hub from a provider.
    fn is_module(&self) -> bool {
        self.login().is_some_and(|it| it.identity.module.is_some())
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
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The protocol does not support these messages, or this kind of identity (device or module) does not receive them.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Another receiver exists; drop it first.
    #[error("another receiver exists; drop it first")]
    AlreadyReceiving,
}

hubward_proto::debug_as_error_report!(ReceiveError);

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

/// A receiver of messages, made by [`HubClient::cloud_messages`] or [`HubClient::inputs`].
///
/// A receiver does not keep the client alive: the client ends when the last [`HubClient`] is dropped. After a receiver
/// is dropped, the messages that it has not returned wait for the next receiver.
#[derive(Debug)]
#[must_use = "no other receiver can be made while it exists"]
pub struct CloudMessages {
    source: Source,
}

impl CloudMessages {
    /// Waits for the next message and returns it. Messages come in the order of their arrival.
    ///
    /// # Errors
    /// The reason why the client has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Result<CloudMessage, CloseReason> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next message, if a message has arrived; otherwise `None`. Does not wait.
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
/// The hub keeps the message until the program calls [`CloudMessage::complete`] or the message expires.
///
/// If the program drops this value instead, the hub delivers the message again. For example, a handler that fails or
/// panics drops the value.
///
/// The hub locks a delivered message for a minute. If the program does not complete the message within this minute, the
/// hub delivers it again on the same connection, even if the program is still working on it.
///
/// If the client makes a new connection within the minute, the hub delivers the message there at once.
///
/// Over MQTT, the client discards a second copy of a message that the program still holds.
///
/// If the delivery count of a message reaches a limit (by default 10), the hub dead-letters the message. According to
/// the current documentation, only an explicit abandon increases this count, and MQTT has no abandon.
///
/// # In which order to complete
/// Over MQTT, a client must send acknowledgements in the order in which the messages came. But the program may
/// complete messages in any order: the client holds back an acknowledgement until every earlier message is completed.
///
/// * A dropped message holds back all later acknowledgements until the hub has delivered it again and the program has
///   completed it.
/// * A message that the program keeps and never completes holds back all later acknowledgements until the connection
///   ends. A connection ends at the latest when the client renews the token.
///
///   On the next connection, the hub delivers all these messages again, including those that the program completed
///   ([counted](HubCounts::messages_held_back)).
///
/// If the program can never handle a message, record the message and complete it. Drop it only if the hub should
/// deliver it again.
///
/// # Memory and connections
/// A program may hold at most 16 MiB of messages. A message counts until the program drops this value, even if the
/// message is completed or its connection has ended. To keep data longer, copy the data.
///
/// A planned renewal waits up to [`HubOptions::renewal_drain`](crate::HubOptions::renewal_drain) for the messages that
/// the program holds.
///
/// After the connection of a message has ended, the program can no longer complete the message
/// ([`SettleError::Stale`]), and the hub delivers it again. So the program must be able to handle the same message
/// twice.
#[must_use = "the hub delivers a dropped message again; complete it"]
pub struct CloudMessage {
    message: IncomingMessage,
    /// The lock for settling the message. `None` if the hub wants no acknowledgement, or if the message is settled.
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

    /// Acknowledges the message: tells the hub that the program has handled it. The hub does not answer. For a message
    /// that needs no acknowledgement (QoS 0), this method does nothing.
    ///
    /// The method returns when the connection has accepted the acknowledgement. The connection may still hold it back
    /// for [earlier messages](CloudMessage#in-which-order-to-complete).
    ///
    /// If the connection ends before it has sent the acknowledgement, the hub delivers the message again.
    ///
    /// # Errors
    /// [`SettleError::Stale`] or [`SettleError::Closed`]: the hub delivers the message again.
    ///
    /// # Cancel safety
    /// If the future is dropped before its first poll, the message counts as dropped. If the future is dropped later,
    /// the client still completes the message.
    pub async fn complete(self) -> Result<(), SettleError> {
        self.settle(Disposition::Complete).await
    }

    /// Gives the message back to the hub. The hub delivers it again at once.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`] if [`Abilities::abandon`] is false, as over MQTT. The method returns this error at
    /// once, and the error contains the message; drop the message instead. Other errors are as for
    /// [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As for [`CloudMessage::complete`].
    pub async fn abandon(self) -> Result<(), SettleError> {
        if self.source.abilities.abandon {
            self.settle(Disposition::Abandon).await
        } else {
            Err(self.unsupported(Capability::Abandon))
        }
    }

    /// Rejects the message. The hub drops it, and informs the sender of the message if the sender requested that.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`] if [`Abilities::reject`] is false, as over MQTT. The method returns this error at
    /// once, and the error contains the message; complete the message instead. Other errors are as for
    /// [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As for [`CloudMessage::complete`].
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
        // The task sends a result for every settlement before it ends. Without a result, the runtime has aborted the
        // task.
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
            // Wake the client's task. The task tells the connection that the program has dropped the message. If a
            // token renewal waits for this message, the task can then continue the renewal.
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
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The protocol does not support this way to settle a message, and nothing was sent. To avoid this error, check
    /// [`HubClient::abilities`] before the call.
    #[error("the message was not settled")]
    Unsupported {
        /// The message, which the program can still complete.
        message: Box<CloudMessage>,
        /// The capability that is not supported.
        #[source]
        source: Unsupported,
    },
    /// The connection that delivered the message has ended. The hub delivers the message again.
    #[error("the connection that delivered the message has ended; the hub delivers the message again")]
    Stale,
    /// The client has ended. The hub delivers the message again to the next client of this identity.
    #[error("the client was closed before the message was settled")]
    Closed(#[source] CloseReason),
}

hubward_proto::debug_as_error_report!(SettleError);

impl SettleError {
    /// Returns the party that has to act; `None` if the hub delivers the message again and no party has to act.
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
