//! Messages from the cloud, or from other modules: received, and settled.

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use hubward_transport::{Abilities, Fault, Feature, IncomingMessage, Lock, TransportKind, Verdict};

use crate::features::Taken;
use crate::incoming::Incoming;
use crate::{Capability, CloseReason, HubClient, HubCounts, Unsupported};

impl HubClient {
    /// Receives the messages that the cloud sends to this device. One receiver at a time; the place
    /// is free again when it is dropped.
    ///
    /// Nothing is asked of the hub before the first receiver exists. From then on the hub delivers,
    /// also after this receiver is dropped: there is no way to ask it to stop that would not lose
    /// what waits there. Up to [`HubOptions::receive_queue`](crate::HubOptions::receive_queue)
    /// messages (and 4 MiB) wait here for the receiver, none of them acknowledged. Together with the
    /// [`CloudMessage`]s that the program holds they have at most 16 MiB. What comes beyond
    /// that is left with the hub and [counted](HubCounts::messages_left): it comes again as [a dropped
    /// one](CloudMessage) does, and until then it holds back [later
    /// acknowledgements](CloudMessage#in-which-order-to-complete). With the default, everything that a
    /// hub keeps for a device has room. A reader that does not read holds up nothing but its own
    /// messages.
    ///
    /// With a persistent session messages may arrive before there is a receiver; they wait as well.
    ///
    /// # Errors
    /// [`ReceiveError`].
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md.
    pub fn cloud_messages(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::CloudToDevice, self.login().identity.module.is_none())
    }

    /// Receives the messages that other modules send to this module's inputs; otherwise as
    /// [`HubClient::cloud_messages`]. [`IncomingMessage::input`] says through which one.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn inputs(&self) -> Result<CloudMessages, ReceiveError> {
        self.receive(Feature::Inputs, self.login().identity.module.is_some())
    }

    /// How often something that came was not handed over or not answered, up to now.
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
        self.want(feature);
        Ok(CloudMessages { source: Source { incoming, abilities: self.abilities(), kind: self.kind() } })
    }
}

/// Why messages cannot be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The protocol cannot carry them, or this kind of identity has none.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// There is a receiver already; drop it first.
    #[error("there is a receiver already")]
    AlreadyReceiving,
}

impl ReceiveError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unsupported(unsupported) => unsupported.fault(),
            Self::AlreadyReceiving => Fault::Request,
        }
    }
}

/// Receives messages. Made by [`HubClient::cloud_messages`] and [`HubClient::inputs`].
///
/// It is no handle: the client ends when the last [`HubClient`] is dropped. What a dropped receiver
/// has not handed out waits for the next one.
#[derive(Debug)]
#[must_use = "its place is taken while it exists"]
pub struct CloudMessages {
    source: Source,
}

impl CloudMessages {
    /// Waits for the next message, in the order in which they came.
    ///
    /// # Errors
    /// The reason for which the client has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Result<CloudMessage, CloseReason> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next message if it is here already; does not wait.
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

/// A message in the program's hands. It reads like the [`IncomingMessage`] it is.
///
/// The hub keeps it until [`CloudMessage::complete`]. One that is dropped, because handling it failed
/// or panicked, is delivered again when the hub's lock on it ends, a minute after the delivery: on this
/// connection, or on the next one if that comes first; up to the hub's limit of deliveries (10 unless
/// configured). The minute also passes while the program works: over MQTT a message that it still holds
/// then is not handed to it twice.
///
/// # In which order to complete
/// Over MQTT, acknowledgements leave in the order in which the messages came; the protocol demands
/// it. A message that is completed out of order is therefore held back until the ones before it are
/// completed. One that is dropped holds back every later one until it has come again and is
/// completed. One that is kept and never completed holds them back as long as the connection lasts:
/// all of them come again after the next reconnect, at the latest when the token is renewed, also those
/// that were completed ([counted](HubCounts::messages_held_back)). So complete also what cannot be
/// handled, after noting it somewhere, unless it is to come again.
///
/// A message counts towards the 16 MiB that a program may hold until this value is dropped, also after it
/// was completed and after its connection; copy what is to be kept longer.
///
/// A planned renewal waits a moment ([`HubOptions::renewal_drain`](crate::HubOptions::renewal_drain))
/// for messages in the program's hands. Messages of a connection that is over cannot be completed
/// any more ([`SettleError::Stale`]); the hub delivers them again, so make handling them repeatable.
#[must_use = "a message that is dropped comes again; complete it"]
pub struct CloudMessage {
    message: IncomingMessage,
    /// Empty if there is nothing to settle, or nothing any more.
    lock: Option<Lock>,
    connection: u64,
    /// Its size, counted until this value is dropped.
    bytes: usize,
    source: Source,
}

impl CloudMessage {
    /// Body and properties.
    #[must_use]
    pub const fn message(&self) -> &IncomingMessage {
        &self.message
    }

    /// Tells the hub that the message is done with. Returns when the acknowledgement is on its
    /// connection, or held back there for [earlier messages](CloudMessage#in-which-order-to-complete);
    /// the hub does not answer it. If the connection ends while it is held back, the message comes
    /// again all the same. For a message that the hub did not want acknowledged (QoS 0) it does
    /// nothing.
    ///
    /// # Errors
    /// [`SettleError::Stale`] or [`SettleError::Closed`]: the hub delivers the message again.
    ///
    /// # Cancel safety
    /// If dropped before its first poll, the message counts as dropped; afterwards it is completed
    /// all the same.
    pub async fn complete(self) -> Result<(), SettleError> {
        self.settle(Verdict::Complete).await
    }

    /// Hands the message back: the hub delivers it again at once.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`] without waiting, with the message, where
    /// [`Abilities::abandon`] says so, as over MQTT; there, drop the message instead. Otherwise as
    /// [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As [`CloudMessage::complete`].
    pub async fn abandon(self) -> Result<(), SettleError> {
        if self.source.abilities.abandon {
            self.settle(Verdict::Abandon).await
        } else {
            Err(self.unsupported(Capability::Abandon))
        }
    }

    /// Refuses the message for good: the hub drops it, and tells its sender if that wants to know.
    ///
    /// # Errors
    /// [`SettleError::Unsupported`] without waiting, with the message, where [`Abilities::reject`]
    /// says so, as over MQTT; there, complete the message instead. Otherwise as
    /// [`CloudMessage::complete`].
    ///
    /// # Cancel safety
    /// As [`CloudMessage::complete`].
    pub async fn reject(self) -> Result<(), SettleError> {
        if self.source.abilities.reject {
            self.settle(Verdict::Reject).await
        } else {
            Err(self.unsupported(Capability::Reject))
        }
    }

    async fn settle(mut self, verdict: Verdict) -> Result<(), SettleError> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let incoming = &self.source.incoming;
        let told = incoming.inbox().settle(self.connection, lock, verdict, &incoming.counters)?;
        incoming.nudge();
        // The task tells before it ends; if its runtime is gone, nobody does.
        Ok(told.await.unwrap_or(Err(crate::features::Unsettled::Closed(CloseReason::Aborted)))?)
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
        incoming.inbox().release(self.bytes);
        if let Some(lock) = self.lock.take() {
            incoming.inbox().leave(self.connection, lock, &incoming.counters);
            // The connection is to know, and a renewal may have waited for it.
            incoming.nudge();
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
    /// The protocol has no such verdict; known before the call by
    /// [`HubClient::abilities`]. Nothing was sent.
    #[error("the message was not settled")]
    Unsupported {
        /// The message, which can still be completed.
        message: Box<CloudMessage>,
        /// What is not supported.
        #[source]
        source: Unsupported,
    },
    /// The connection that it came over is over; the hub delivers it again.
    #[error("the message came over a connection that is over; the hub delivers it again")]
    Stale,
    /// The client has ended; the hub delivers it again to the next one.
    #[error("the client was closed before the message was settled")]
    Closed(#[source] CloseReason),
}

impl SettleError {
    /// Who has to act; `None` if nobody has to, since the message comes again.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Unsupported { source, .. } => Some(source.fault()),
            Self::Stale => None,
            Self::Closed(reason) => reason.fault(),
        }
    }

    /// The message, if it can still be completed.
    #[must_use]
    pub fn into_message(self) -> Option<CloudMessage> {
        match self {
            Self::Unsupported { message, .. } => Some(*message),
            Self::Stale | Self::Closed(_) => None,
        }
    }
}

/// Where a message came from.
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
