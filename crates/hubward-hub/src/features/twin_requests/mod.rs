//! Twin requests. The client sends them one at a time, in the order in which they were made.
//!
//! The hub merges a report into the twin, so the same report twice in a row has the same result as once. The client may
//! therefore repeat a report, but must keep the order: an older report after a newer one would bring back old values.
//!
//! Each request therefore waits until the earlier request is answered or has ended, even if the hub throttles the
//! earlier request.
//!
//! If the connection is lost, the client sends the same request again on the next connection.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use hubward_proto::dps::error_code::Cause;
use hubward_proto::hub::Twin;
use hubward_transport::{ProtoError, Refusal, Tag, Upstream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::retry_wait::retry_wait;
use super::tags::RequestTags;
use crate::CloseReason;
use crate::deadline::later;

/// A program's request.
#[derive(Clone)]
pub(crate) enum TwinRequestKind {
    Twin,
    /// A checked patch, as JSON.
    Report(Bytes),
}

/// The hub's response.
#[derive(Debug)]
pub(crate) enum TwinResponse {
    Twin(Box<Twin>),
    Reported(Option<u64>),
}

/// Why a request failed. `written` is true if a connection may have sent the request.
#[derive(Debug)]
pub(crate) enum TwinFailure {
    Refused(Box<Refusal>),
    /// No connection can send the request.
    Impossible(ProtoError),
    /// The new connection cannot send the request again. An earlier connection may have sent it.
    Resend(ProtoError),
    /// The response cannot be read, or does not match the request.
    Unreadable(ProtoError),
    Deadline {
        written: bool,
    },
    Closed {
        reason: CloseReason,
        written: bool,
    },
}

pub(crate) type TwinOutcome = Result<TwinResponse, TwinFailure>;

/// A pending request. The client must answer its caller.
#[derive(Debug)]
pub(crate) struct TwinRequest {
    kind: TwinRequestKind,
    deadline: Option<Instant>,
    caller: Caller,
    /// The hub was busy, so the client does not send the request again before this moment.
    not_before: Option<Instant>,
    /// How often in a row the hub was busy.
    busy: u32,
    /// Number of times that the hub did not respond in time, on this connection.
    timeouts: u32,
    /// `true` if an attempt got no response. The hub may have applied this attempt.
    effect_unknown: bool,
    /// The last response, if the hub was busy.
    refusal: Option<Box<Refusal>>,
}

impl TwinRequest {
    /// Returns the request and the receiver of its outcome.
    pub(crate) fn new(kind: TwinRequestKind, deadline: Option<Instant>) -> (Self, oneshot::Receiver<TwinOutcome>) {
        let (sender, outcome) = oneshot::channel();
        let caller = Caller { sender: Some(sender), written: false };
        (
            Self {
                kind,
                deadline,
                caller,
                not_before: None,
                busy: 0,
                timeouts: 0,
                effect_unknown: false,
                refusal: None,
            },
            outcome,
        )
    }

    /// Whether the caller still waits for the response.
    fn is_awaited(&self) -> bool {
        self.caller.sender.as_ref().is_some_and(|it| !it.is_closed())
    }
}

/// The caller that waits for the outcome.
#[derive(Debug)]
struct Caller {
    sender: Option<oneshot::Sender<TwinOutcome>>,
    /// `true` if the hub may have applied the request. The client sets the value to `true` when it sends the request.
    /// If a busy hub refuses the request, this attempt changed nothing, and the client sets the value back to `false`,
    /// except if an earlier attempt got no response.
    written: bool,
}

impl Caller {
    fn resolve(mut self, outcome: TwinOutcome) {
        if let Some(sender) = self.sender.take() {
            // The caller may have stopped waiting.
            let _cancelled = sender.send(outcome);
        }
    }
}

impl Drop for Caller {
    /// Resolves the request if the driver drops it without an outcome. So every request gets an outcome.
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let _cancelled =
                sender.send(Err(TwinFailure::Closed { reason: CloseReason::Aborted, written: self.written }));
        }
    }
}

/// Who made the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requester {
    /// The program: the first request of the queue.
    Program,
    /// The client itself, to fetch the desired properties.
    Client,
}

/// The request in flight on this connection.
#[derive(Debug)]
struct InFlight {
    tag: Tag,
    requester: Requester,
    /// When the client sends the request again if no response comes.
    until: Instant,
}

/// All twin requests of a client.
#[derive(Debug)]
pub(crate) struct TwinRequests {
    timeout: Duration,
    queue: VecDeque<TwinRequest>,
    in_flight: Option<InFlight>,
    last: Requester,
    /// No request reaches its deadline before this.
    next_expiry: Option<Instant>,
    /// The hub's refusal of the subscription to twin responses. While it is set, the hub answers no twin request on
    /// this connection.
    refusal: Option<Box<Refusal>>,
    /// Why the client takes no more requests.
    ended: Option<CloseReason>,
}

impl TwinRequests {
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            queue: VecDeque::new(),
            in_flight: None,
            last: Requester::Program,
            next_expiry: None,
            refusal: None,
            ended: None,
        }
    }

    // Events.

    /// Queues a request.
    pub(crate) fn push(&mut self, request: TwinRequest) {
        if let Some(reason) = &self.ended {
            request.caller.resolve(Err(TwinFailure::Closed { reason: reason.clone(), written: false }));
            return;
        }
        // A caller that stops waiting returns its permit at once, but its request stays in the queue. Remove such
        // requests. Otherwise, the queue could contain more requests than there are permits.
        self.remove_cancelled();
        self.next_expiry = [self.next_expiry, request.deadline].into_iter().flatten().min();
        self.queue.push_back(request);
    }

    /// Sets whether the hub refuses all twin requests on this connection. `None` means that the hub accepts them.
    pub(crate) fn set_refusal(&mut self, refusal: Option<&Refusal>) {
        self.refusal = refusal.map(|it| Box::new(it.clone()));
    }

    /// Handles the end of the connection.
    pub(crate) fn on_lost(&mut self) {
        self.refusal = None;
        if let Some(in_flight) = self.in_flight.take()
            && in_flight.requester == Requester::Program
        {
            self.on_no_response();
        }
        self.queue.iter_mut().for_each(|it| it.timeouts = 0);
    }

    /// Handles a response with this tag: the request is no longer in flight. Returns who made the request. Returns
    /// `None` if the response comes too late or belongs to no request.
    pub(crate) fn on_response(&mut self, tag: Tag) -> Option<Requester> {
        self.in_flight.take_if(|it| it.tag == tag).map(|it| it.requester)
    }

    /// Ends the program's request with its outcome.
    pub(crate) fn finish(&mut self, outcome: TwinOutcome) {
        let Some(request) = self.queue.pop_front() else { return };
        let outcome = match (&request.kind, outcome) {
            (TwinRequestKind::Twin, Ok(TwinResponse::Reported(_)))
            | (TwinRequestKind::Report(_), Ok(TwinResponse::Twin(_))) => {
                Err(TwinFailure::Unreadable(ProtoError::Unexpected("the response does not match the request".into())))
            }
            (_, outcome) => outcome,
        };
        request.caller.resolve(outcome);
    }

    /// Handles the hub's refusal of the program's request. If the hub is busy, the client sends the request again
    /// later. Any other refusal ends the request.
    pub(crate) fn refused(&mut self, now: Instant, rng: &mut Rng, refusal: &Refusal) {
        if !is_busy(refusal) {
            return self.finish(Err(TwinFailure::Refused(Box::new(refusal.clone()))));
        }
        let Some(request) = self.queue.front_mut() else { return };
        request.caller.written = request.effect_unknown;
        request.busy = request.busy.saturating_add(1);
        request.not_before = Some(now + retry_wait(rng, request.busy, refusal.retry_after));
        request.refusal = Some(Box::new(refusal.clone()));
    }

    /// Ends the program's request, because the connection could not send it. The connection stays usable.
    pub(crate) fn unsendable(&mut self, problem: ProtoError) {
        let again = self.queue.front().is_some_and(|it| it.effect_unknown);
        self.finish(Err(if again { TwinFailure::Resend(problem) } else { TwinFailure::Impossible(problem) }));
    }

    /// Handles the timers that are due. If the time limit of the request in flight has passed without a response,
    /// returns who made this request.
    ///
    /// The caller may call this function earlier than [`TwinRequests::next_deadline`] says.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Requester> {
        let silent = self.in_flight.take_if(|it| it.until <= now).map(|it| it.requester);
        if silent == Some(Requester::Program)
            && let Some(request) = self.queue.front_mut()
        {
            request.timeouts = request.timeouts.saturating_add(1);
            self.on_no_response();
        }
        if let Some(request) = self.queue.front_mut() {
            request.not_before.take_if(|it| *it <= now);
        }
        if self.next_expiry.is_some_and(|it| it <= now) {
            self.expire(now);
        }
        silent
    }

    /// Handles the end of the client.
    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.ended = Some(reason.clone());
        (self.in_flight, self.next_expiry) = (None, None);
        for request in self.queue.drain(..) {
            let written = request.caller.written;
            request.caller.resolve(Err(TwinFailure::Closed { reason: reason.clone(), written }));
        }
    }

    // Actions.

    /// The latest moment for the next call of [`TwinRequests::on_time`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let not_before = self.queue.front().and_then(|it| it.not_before);
        [self.next_expiry, not_before, self.in_flight.as_ref().map(|it| it.until)].into_iter().flatten().min()
    }

    /// Returns the next request to send, and who made it. Set `own` to `true` if the client itself needs the twin. If
    /// the program also has a request, the two take turns.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        tags: &mut RequestTags,
        own: bool,
    ) -> Option<(Requester, Tag, Upstream)> {
        if self.in_flight.is_some() {
            return None;
        }
        self.remove_cancelled();
        let program = self.queue.front_mut().filter(|it| it.not_before.is_none());
        let (requester, what, timeouts) = match program {
            Some(request) if !own || self.last == Requester::Client => {
                request.caller.written = true;
                let what = match &request.kind {
                    TwinRequestKind::Twin => Upstream::TwinGet,
                    TwinRequestKind::Report(patch) => Upstream::ReportedPatch(patch.clone()),
                };
                (Requester::Program, what, request.timeouts)
            }
            _ if own => (Requester::Client, Upstream::TwinGet, 0),
            _ => return None,
        };
        let tag = tags.take();
        // The time limit for the response doubles with each timeout. A hub that throttles may respond slowly, and
        // frequent repetitions would make it slower still.
        let until = later(now, self.timeout.saturating_mul(2_u32.saturating_pow(timeouts)));
        self.in_flight = Some(InFlight { tag, requester, until });
        self.last = requester;
        Some((requester, tag, what))
    }

    /// Whether no request is in flight.
    pub(crate) const fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Whether no caller waits for a response.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.queue.iter().any(TwinRequest::is_awaited)
    }

    /// Handles an attempt of the program's request that ended without a response.
    fn on_no_response(&mut self) {
        if let Some(request) = self.queue.front_mut() {
            request.effect_unknown = true;
        }
    }

    /// Removes requests whose caller stopped waiting. A request that is in flight stays in the queue.
    fn remove_cancelled(&mut self) {
        let mut on_its_way = self.in_flight.as_ref().is_some_and(|it| it.requester == Requester::Program);
        self.queue.retain(|it| std::mem::take(&mut on_its_way) || it.is_awaited());
    }

    fn expire(&mut self, now: Instant) {
        let mut remaining = VecDeque::with_capacity(self.queue.len());
        for (at, request) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            if request.deadline.is_none_or(|it| it > now) {
                remaining.push_back(request);
                continue;
            }
            if at == 0 {
                // The deadline of the request in flight has passed. The next request need not wait for its response:
                // each request has its own tag, so a late response does not match the next request.
                self.in_flight.take_if(|it| it.requester == Requester::Program);
            }
            let written = request.caller.written;
            request.caller.resolve(Err(match request.refusal.or_else(|| self.refusal.clone()) {
                Some(refusal) if !written => TwinFailure::Refused(refusal),
                _ => TwinFailure::Deadline { written },
            }));
        }
        self.next_expiry = remaining.iter().filter_map(|it| it.deadline).min();
        self.queue = remaining;
    }
}

/// Whether the hub may accept later what it refuses now.
fn is_busy(refusal: &Refusal) -> bool {
    matches!(refusal.cause(), Cause::Throttled | Cause::Server)
}

impl fmt::Debug for TwinRequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twin => f.write_str("Twin"),
            // The program's data must not appear in logs.
            Self::Report(patch) => write!(f, "Report({} bytes)", patch.len()),
        }
    }
}
