//! A message on its way from the caller to the driver, and the message's outcome on its way back. The caller's receipt
//! and the driver's message share one allocation.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hubward_transport::Message;
use tokio::time::Instant;

use crate::deadline::SendDeadline;
use crate::outcome::{SendFailure, SendOutcome};
use crate::{CloseReason, MessageLabel, SendError, UnconfirmedReason};

/// A future that resolves when the hub has acknowledged the message, or when it is certain that no acknowledgement will
/// come.
///
/// Every receipt resolves. At the latest, it resolves at the message's deadline or at the end of the client. The
/// deadline ([`HubOptions::send_deadline`](crate::HubOptions)) counts from [`enqueue`](crate::HubClient::enqueue).
///
/// Awaiting a receipt again returns the same result. Dropping a receipt does not cancel the message.
///
/// # Errors
/// [`SendError`] says whether the hub may have the message.
///
/// # Cancel safety
/// The program can stop polling the receipt at any time, and poll it again later.
#[must_use = "the message is queued, but only the receipt says whether it arrived"]
pub struct Receipt(Arc<Inner>);

impl Future for Receipt {
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(self.0.result(outcome));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Receipt {
    /// Returns the outcome if it is known already; does not wait.
    #[must_use]
    pub fn try_outcome(&self) -> Option<Result<(), SendError>> {
        self.0.state().outcome.as_ref().map(|it| self.0.result(it))
    }

    /// Resolves the receipt of a message that entered the channel after the driver had ended. The driver will never
    /// take this message.
    pub(crate) fn resolve_after_end(&self, reason: CloseReason) {
        self.0.resolve(SendOutcome::NotSent(SendFailure::Closed(reason)));
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("done", &self.0.state().outcome.is_some()).finish_non_exhaustive()
    }
}

/// The message and its receipt, as the task holds them. The task must resolve the receipt. The value is `None` after
/// the task has resolved it.
pub(crate) struct PendingMessage(Option<Arc<Inner>>);

impl PendingMessage {
    /// A message on its way, and its receipt.
    pub(crate) fn new(message: Message, deadline: Option<SendDeadline>) -> (Self, Receipt) {
        let inner = Arc::new(Inner {
            message: Arc::new(message),
            deadline,
            written: AtomicBool::new(false),
            state: Mutex::new(State { outcome: None, waker: None }),
        });
        (Self(Some(inner.clone())), Receipt(inner))
    }

    pub(crate) fn message(&self) -> &Arc<Message> {
        &self.inner().message
    }

    /// Returns the deadline of the message. `now` is the time at which the driver takes the message.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.inner().deadline.map(|it| it.moment(now))
    }

    pub(crate) fn label(&self) -> MessageLabel {
        MessageLabel::of(&self.inner().message)
    }

    /// Records that a connection may have sent the message.
    pub(crate) fn mark_written(&self) {
        self.inner().written.store(true, Ordering::Relaxed);
    }

    pub(crate) fn resolve(mut self, outcome: SendOutcome) {
        if let Some(inner) = self.0.take() {
            inner.resolve(outcome);
        }
    }

    fn inner(&self) -> &Inner {
        self.0.as_deref().expect("only `resolve` empties it, and that takes it")
    }
}

impl Drop for PendingMessage {
    /// Resolves the receipt if the driver drops the message without an outcome.
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            let failure = SendFailure::Closed(CloseReason::Aborted);
            let written = inner.written.load(Ordering::Relaxed);
            inner.resolve(if written { SendOutcome::Unknown(failure) } else { SendOutcome::NotSent(failure) });
        }
    }
}

impl fmt::Debug for PendingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingMessage({})", self.label())
    }
}

struct Inner {
    message: Arc<Message>,
    deadline: Option<SendDeadline>,
    written: AtomicBool,
    state: Mutex<State>,
}

struct State {
    outcome: Option<SendOutcome>,
    waker: Option<Waker>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is usable: no code panics while it holds the lock, and no thread sees a half-made change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first outcome.
    fn resolve(&self, outcome: SendOutcome) {
        let mut state = self.state();
        if state.outcome.is_none() {
            state.outcome = Some(outcome);
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn result(&self, outcome: &SendOutcome) -> Result<(), SendError> {
        let message = || MessageLabel::of(&self.message);
        Err(match outcome {
            SendOutcome::Acknowledged => return Ok(()),
            SendOutcome::Refused(source) => SendError::Refused { message: message(), source: (**source).clone() },
            SendOutcome::NotSent(failure) => SendError::NotSent { message: message(), reason: self.reason(failure) },
            SendOutcome::Unknown(failure) => SendError::Unknown { message: message(), reason: self.reason(failure) },
        })
    }

    fn reason(&self, failure: &SendFailure) -> UnconfirmedReason {
        match failure {
            SendFailure::Deadline(cause) => UnconfirmedReason::Deadline {
                after: self.deadline.map(|it| it.after).unwrap_or_default(),
                cause: cause.clone(),
            },
            SendFailure::Closed(reason) => UnconfirmedReason::Closed(reason.clone()),
            SendFailure::Resend(problem) => UnconfirmedReason::Resend((**problem).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receipt_returns_its_first_outcome_every_time() {
        let (pending, mut receipt) = PendingMessage::new(Message::new("m"), None);
        assert!(receipt.try_outcome().is_none());
        pending.resolve(SendOutcome::Acknowledged);
        receipt.resolve_after_end(CloseReason::Requested);
        assert!((&mut receipt).await.is_ok());
        assert!(receipt.await.is_ok());
    }

    #[tokio::test]
    async fn a_dropped_ticket_resolves_its_receipt_as_sent_or_not_sent() {
        let (pending, receipt) = PendingMessage::new(Message::new("m"), None);
        drop(pending);
        assert!(receipt.await.expect_err("lost").is_certainly_not_sent());
        let (pending, receipt) = PendingMessage::new(Message::new("m"), None);
        pending.mark_written();
        let waiting = tokio::spawn(receipt);
        tokio::task::yield_now().await;
        drop(pending);
        let error = waiting.await.expect("no panic").expect_err("lost");
        assert!(
            matches!(error, SendError::Unknown { reason: UnconfirmedReason::Closed(CloseReason::Aborted), .. }),
            "{error:?}"
        );
    }
}
