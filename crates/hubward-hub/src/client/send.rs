//! Sending telemetry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hubward_transport::Message;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::deadline::{SendDeadline, later};
use crate::receipt::PendingMessage;
use crate::shared::Command;
use crate::{HubClient, MessageLabel, Receipt, SendError, TryEnqueueError, UnconfirmedReason};

impl HubClient {
    /// Returns a handle whose messages have this deadline instead of
    /// [`HubOptions::send_deadline`](crate::HubOptions::send_deadline). Other handles keep their deadline.
    pub const fn send_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.send_deadline = deadline;
        self
    }

    /// Waits until the queue has room, queues the message and returns a [`Receipt`]. The receipt resolves when the hub
    /// has acknowledged the message. The client sends messages in the order in which they were queued.
    ///
    /// Delivery is at least once: after a reconnect, the client sends unacknowledged messages again.
    ///
    /// # Errors
    /// [`SendError::Refused`] if the service would not accept the message (size, property names); the client then sends
    /// nothing. [`SendError::NotSent`] if the client has ended, or if the message's deadline passed before the queue
    /// had room.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns a receipt, the client did not queue the message.
    pub async fn enqueue(&self, message: Message) -> Result<Receipt, SendError> {
        if let Err(source) = message.check() {
            return Err(SendError::Refused { message: MessageLabel::of(&message), source });
        }
        let mut deadline = self.send_deadline.map(|after| SendDeadline { at: None, after });
        let closed = |message: &Message| SendError::NotSent {
            message: MessageLabel::of(message),
            reason: UnconfirmedReason::Closed(self.shared.reason()),
        };
        let room = self.permits(&self.shared.room, 1, &message, &mut deadline).await?;
        let byte_room = self.permits(&self.shared.byte_room, bytes(&message), &message, &mut deadline).await?;
        // With these permits, the channel nearly always has room. So try `try_reserve` first, because it costs less
        // than `reserve`.
        let slot = match self.commands.try_reserve() {
            Ok(slot) => slot,
            Err(_) => self.commands.reserve().await.map_err(|_| closed(&message))?,
        };
        // `forget` drops the guards without returning their permits. The client's task returns the permits later: the
        // permit of `room` when the message leaves the queue, and the permits of `byte_room` when the message is
        // resolved.
        room.forget();
        byte_room.forget();
        let (pending, receipt) = PendingMessage::new(message, deadline);
        slot.send(Command::Send(pending));
        Ok(self.resolve_if_ended(receipt))
    }

    /// Waits for permits, until the deadline at the latest. The first wait for a message computes the time of the
    /// deadline: the current time plus `after`. A second wait for the same message uses the same time.
    async fn permits<'a>(
        &self,
        semaphore: &'a Semaphore,
        count: u32,
        message: &Message,
        deadline: &mut Option<SendDeadline>,
    ) -> Result<SemaphorePermit<'a>, SendError> {
        let not_sent = |reason| SendError::NotSent { message: MessageLabel::of(message), reason };
        let acquired = match (semaphore.try_acquire_many(count), deadline) {
            (Ok(permits), _) => return Ok(permits),
            (Err(TryAcquireError::Closed), _) => return Err(not_sent(UnconfirmedReason::Closed(self.shared.reason()))),
            (Err(TryAcquireError::NoPermits), None) => semaphore.acquire_many(count).await,
            (Err(TryAcquireError::NoPermits), Some(SendDeadline { at, after })) => {
                let (after, at) = (*after, *at.get_or_insert_with(|| later(Instant::now(), *after)));
                let waited = timeout_at(at, semaphore.acquire_many(count)).await;
                waited
                    .map_err(|_| not_sent(UnconfirmedReason::Deadline { after, cause: self.shared.current_cause() }))?
            }
        };
        acquired.map_err(|_| not_sent(UnconfirmedReason::Closed(self.shared.reason())))
    }

    /// Queues a message if the queue has room right now. Does not wait.
    ///
    /// # Errors
    /// [`TryEnqueueError`], which contains the message.
    pub fn try_enqueue(&self, message: Message) -> Result<Receipt, TryEnqueueError> {
        if let Err(source) = message.check() {
            return Err(TryEnqueueError::Refused { message: Box::new(message), source });
        }
        let room = self.shared.room.try_acquire();
        let byte_room = self.shared.byte_room.try_acquire_many(bytes(&message));
        let (room, byte_room) = match (room, byte_room) {
            (Ok(room), Ok(byte_room)) => (room, byte_room),
            (Err(TryAcquireError::Closed), _) | (_, Err(TryAcquireError::Closed)) => {
                return Err(TryEnqueueError::Closed(Box::new(message)));
            }
            _ => return Err(TryEnqueueError::Full(Box::new(message))),
        };
        let slot = match self.commands.try_reserve() {
            Ok(slot) => slot,
            Err(mpsc::error::TrySendError::Full(())) => return Err(TryEnqueueError::Full(Box::new(message))),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(TryEnqueueError::Closed(Box::new(message))),
        };
        room.forget();
        byte_room.forget();
        let (pending, receipt) =
            PendingMessage::new(message, self.send_deadline.map(|after| SendDeadline { at: None, after }));
        slot.send(Command::Send(pending));
        Ok(self.resolve_if_ended(receipt))
    }

    /// Sends a message and waits until the hub has acknowledged it.
    ///
    /// # Errors
    /// [`SendError`] says whether the hub may have the message.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message may or may not be sent.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        self.enqueue(message).await?.await
    }

    /// Resolves the receipt if the client has ended. A message may enter the channel at the moment when the task ends.
    /// The task then never takes this message, and without this check its receipt would never resolve.
    fn resolve_if_ended(&self, receipt: Receipt) -> Receipt {
        if self.shared.is_closed.load(Ordering::SeqCst) {
            receipt.resolve_after_end(self.shared.reason());
        }
        receipt
    }
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.shared.room.available_permits()
    }

    #[cfg(test)]
    pub(crate) fn byte_room(&self) -> usize {
        self.shared.byte_room.available_permits()
    }
}

/// Every size that passes the check fits into a `u32`.
fn bytes(message: &Message) -> u32 {
    u32::try_from(message.size()).unwrap_or(u32::MAX)
}
