//! The certificate request of a client. There is at most one at a time.
//!
//! The hub answers a request twice: it accepts it, and later it sends the certificates. If the connection ends before
//! that, the client sends the same request with the same id again on the next connection. The hub may still work on the
//! earlier copy. It then refuses the later one and names the earlier one, and the client sends the request once more,
//! in place of the named one.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hubward_proto::hub::credential_code;
use hubward_transport::{
    CertificateOutcome, CertificateRequestId, CertificateResponse, Csr, Excerpt, ProtoError, Refusal, RefusedBy,
    Replace, Tag, Upstream,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::outgoing::Outgoing;
use super::tags::RequestTags;
use crate::CloseReason;
use crate::deadline::later;

/// Maximum number of times that the client sends a request again because the hub names another request.
const CONFLICTS_MAX: u8 = 3;

/// Why a certificate request failed. `written` is true if a connection may have sent the request.
#[derive(Debug)]
pub(crate) enum IssuanceFailure {
    Refused(Box<Refusal>),
    /// The connection cannot send the request.
    Impossible(ProtoError),
    /// The answer cannot be read.
    Unreadable(ProtoError),
    /// The hub did not send the next answer in time.
    Silent {
        after: Duration,
    },
    /// The caller's deadline passed.
    Deadline {
        written: bool,
    },
    Closed {
        reason: CloseReason,
        written: bool,
    },
}

pub(crate) type IssuanceOutcome = Result<Vec<String>, IssuanceFailure>;

/// A pending request. The client must answer its caller.
#[derive(Debug)]
pub(crate) struct CertificateCall {
    id: CertificateRequestId,
    csr: Csr,
    replace: Option<Replace>,
    deadline: Option<Instant>,
    caller: oneshot::Sender<IssuanceOutcome>,
}

impl CertificateCall {
    /// Returns the request and the receiver of its outcome.
    pub(crate) fn new(
        id: CertificateRequestId,
        csr: Csr,
        replace: Option<Replace>,
        deadline: Option<Instant>,
    ) -> (Self, oneshot::Receiver<IssuanceOutcome>) {
        let (caller, outcome) = oneshot::channel();
        (Self { id, csr, replace, deadline, caller }, outcome)
    }

    fn resolve(self, outcome: IssuanceOutcome) {
        // The caller may have stopped waiting.
        let _cancelled = self.caller.send(outcome);
    }
}

/// The request that the client works on.
#[derive(Debug)]
struct Pending {
    call: CertificateCall,
    state: State,
    /// The pending request at the hub that the next copy of this request replaces.
    replace: Option<Replace>,
    /// Whether a connection may have sent the request.
    written: bool,
    /// How often the client sent the request again because the hub named another request.
    conflicts: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request must be sent.
    Due,
    /// The request was sent under this tag; the next answer must come before `until`.
    Sent { tag: Tag, until: Instant },
}

/// The certificate requests of a client.
#[derive(Debug)]
pub(crate) struct Certificates {
    timeout: Duration,
    pending: Option<Pending>,
    /// A request whose caller no longer waits, but on which the hub may still work.
    abandoned: Option<CertificateRequestId>,
    /// Why the client takes no more requests.
    ended: Option<CloseReason>,
}

impl Certificates {
    /// `timeout` limits the time until the next answer of the hub.
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self { timeout, pending: None, abandoned: None, ended: None }
    }

    // Events.

    /// Starts a request. The caller must ensure that no other caller waits: an earlier request ends.
    pub(crate) fn push(&mut self, call: CertificateCall) {
        if let Some(reason) = &self.ended {
            call.resolve(Err(IssuanceFailure::Closed { reason: reason.clone(), written: false }));
            return;
        }
        self.abandon();
        let replace = call.replace.clone();
        self.pending = Some(Pending { call, state: State::Due, replace, written: false, conflicts: 0 });
    }

    /// Handles the end of the connection: the request must be sent again.
    pub(crate) fn on_lost(&mut self) {
        self.remove_cancelled();
        if let Some(pending) = &mut self.pending {
            pending.state = State::Due;
        }
    }

    /// Handles the hub's refusal of the subscription: no answer can come, so the request fails.
    pub(crate) fn on_not_subscribed(&mut self, refusal: &Refusal) {
        self.finish(Err(IssuanceFailure::Refused(Box::new(refusal.clone()))));
    }

    /// Handles a connection that cannot send the subscription, so it cannot send the request either.
    pub(crate) fn on_not_possible(&mut self, problem: &ProtoError) {
        self.finish(Err(IssuanceFailure::Impossible(problem.clone())));
    }

    /// Handles the hub's acknowledgement of the request. Returns `true` if the tag belongs to the request.
    pub(crate) fn on_delivered(&self, tag: Tag) -> bool {
        self.is_sent_under(tag)
    }

    /// Handles a request that the connection could not send. Returns `true` if the tag belongs to the request.
    pub(crate) fn on_unsendable(&mut self, tag: Tag, problem: &ProtoError) -> bool {
        let is_ours = self.is_sent_under(tag);
        if is_ours {
            self.finish(Err(IssuanceFailure::Impossible(problem.clone())));
        }
        is_ours
    }

    /// Handles an answer of the hub. Ignores an answer to another request, and an answer that does not end a request
    /// which must be sent again.
    pub(crate) fn on_response(&mut self, now: Instant, response: CertificateResponse) {
        let CertificateResponse { id, outcome } = response;
        let timeout = self.timeout;
        let Some(pending) = self.pending.as_mut().filter(|it| it.call.id.as_str() == id) else {
            self.on_other_response(&id, &outcome);
            return;
        };
        match (outcome, &mut pending.state) {
            (CertificateOutcome::Accepted(details), State::Sent { until, .. }) => {
                *until = later(now, timeout);
                let (id, expires) = (Excerpt(&id), details.operation_expires.unwrap_or_default());
                tracing::debug!(%id, expires = %Excerpt(&expires), "the hub works on a certificate request");
            }
            (CertificateOutcome::Issued(chain), _) => self.finish(Ok(chain)),
            (CertificateOutcome::Unreadable(problem), _) => self.finish(Err(IssuanceFailure::Unreadable(problem))),
            (CertificateOutcome::Refused { refusal, other }, state) => {
                let (is_sent, conflict) = (*state != State::Due, Conflict::of(&refusal));
                match conflict {
                    // The refusal answers an earlier copy of the request.
                    Some(_) if !is_sent => {}
                    Some(conflict) if self.resolve_conflict(conflict, other.as_deref()) => {}
                    _ => self.finish(Err(IssuanceFailure::Refused(refusal))),
                }
            }
            (_, _) => tracing::debug!(id = %Excerpt(&id), "ignored an answer to an earlier certificate request"),
        }
    }

    /// Handles the timers that are due. Returns `true` if a request has ended, so that no caller waits any more.
    ///
    /// The caller may call this function earlier than [`Certificates::next_deadline`] says.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let had_request = self.pending.is_some();
        self.remove_cancelled();
        self.expire(now);
        had_request && self.pending.is_none()
    }

    /// Handles the end of the client.
    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.ended = Some(reason.clone());
        let written = self.pending.as_ref().is_some_and(|it| it.written);
        self.finish(Err(IssuanceFailure::Closed { reason: reason.clone(), written }));
    }

    // Actions.

    /// The latest moment for the next call of [`Certificates::on_time`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        let until = match pending.state {
            State::Due => None,
            State::Sent { until, .. } => Some(until),
        };
        [pending.call.deadline, until].into_iter().flatten().min()
    }

    /// Returns the request to send; `None` if there is none, or if it was sent on this connection.
    ///
    /// The caller must ensure that the hub has granted the subscription to the answers: a hub sends no answer to a
    /// client that was not subscribed when the request arrived.
    pub(crate) fn next(&mut self, now: Instant, tags: &mut RequestTags) -> Option<Outgoing> {
        self.remove_cancelled();
        let pending = self.pending.as_mut().filter(|it| it.state == State::Due)?;
        let tag = tags.take();
        pending.state = State::Sent { tag, until: later(now, self.timeout) };
        pending.written = true;
        let CertificateCall { id, csr, .. } = &pending.call;
        let what = Upstream::IssueCertificate { id: id.clone(), csr: csr.clone(), replace: pending.replace.clone() };
        Some(Outgoing::Request(tag, what))
    }

    /// Whether a caller waits for a certificate.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|it| !it.call.caller.is_closed())
    }

    /// Prepares the request for another attempt after a conflict. Returns `false` if another attempt cannot help.
    fn resolve_conflict(&mut self, conflict: Conflict, other: Option<&str>) -> bool {
        let Some(pending) = self.pending.as_mut().filter(|it| it.conflicts < CONFLICTS_MAX) else { return false };
        let replace = match conflict {
            // The replaced request has ended since.
            Conflict::ReplacedUnknown if pending.conflicts > 0 => None,
            // The caller chose the request to replace.
            Conflict::ReplacedUnknown => return false,
            Conflict::OtherPending => {
                let mut own = [Some(&pending.call.id), self.abandoned.as_ref()].into_iter().flatten();
                let named = own.find(|it| other.is_none_or(|other| it.as_str() == other));
                match named {
                    Some(id) => Some(Replace::Request(id.clone())),
                    // The pending request is not a request of this client.
                    None => return false,
                }
            }
        };
        pending.replace = replace;
        pending.conflicts += 1;
        pending.state = State::Due;
        true
    }

    /// Handles an answer that does not belong to the pending request.
    fn on_other_response(&mut self, id: &str, outcome: &CertificateOutcome) {
        let is_final = !matches!(outcome, CertificateOutcome::Accepted(_));
        if is_final {
            self.abandoned.take_if(|it| it.as_str() == id);
        }
        tracing::debug!(id = %Excerpt(id), is_final, "ignored an answer to another certificate request");
    }

    /// Ends the request with its outcome.
    fn finish(&mut self, outcome: IssuanceOutcome) {
        let Some(pending) = self.pending.take() else { return };
        match &outcome {
            // The hub has finished the request. It keeps one request of a device, so no other one is pending.
            Ok(_) | Err(IssuanceFailure::Unreadable(_)) => self.abandoned = None,
            // The hub does not work on this request, but it may still work on an earlier one.
            Err(IssuanceFailure::Refused(refusal)) if matches!(refusal.by, RefusedBy::Status(_)) => {
                self.abandoned.take_if(|it| *it == pending.call.id);
            }
            Err(_) if pending.written => self.abandoned = Some(pending.call.id.clone()),
            Err(_) => {}
        }
        pending.call.resolve(outcome);
    }

    fn expire(&mut self, now: Instant) {
        let Some(pending) = &self.pending else { return };
        if pending.call.deadline.is_some_and(|it| it <= now) {
            let written = pending.written;
            self.finish(Err(IssuanceFailure::Deadline { written }));
        } else if matches!(pending.state, State::Sent { until, .. } if until <= now) {
            let after = self.timeout;
            self.finish(Err(IssuanceFailure::Silent { after }));
        }
    }

    fn abandon(&mut self) {
        if let Some(pending) = self.pending.take()
            && pending.written
        {
            self.abandoned = Some(pending.call.id);
        }
    }

    /// Removes the request if its caller stopped waiting.
    fn remove_cancelled(&mut self) {
        if !self.is_pending() {
            self.abandon();
        }
    }

    fn is_sent_under(&self, tag: Tag) -> bool {
        self.pending.as_ref().is_some_and(|it| matches!(it.state, State::Sent { tag: sent, .. } if sent == tag))
    }
}

/// A refusal after which the client can send the same request again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// Another request is pending.
    OtherPending,
    /// The request to replace does not exist.
    ReplacedUnknown,
}

impl Conflict {
    const fn of(refusal: &Refusal) -> Option<Self> {
        let RefusedBy::Status(status) = refusal.by else { return None };
        if credential_code::is_pending(status, refusal.error_code) {
            Some(Self::OtherPending)
        } else if credential_code::is_replaced_unknown(status, refusal.error_code) {
            Some(Self::ReplacedUnknown)
        } else {
            None
        }
    }
}
