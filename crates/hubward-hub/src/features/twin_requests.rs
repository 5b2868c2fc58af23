//! Twin requests, one at a time and in the order in which they were made.
//!
//! A report is a merge: the client may repeat it, but must not send it before an older one. So the next request
//! waits until the one before it is answered or has ended, also while that one is throttled. After a lost
//! connection, the client sends the same request again.

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

use super::RequestTags;
use crate::CloseReason;
use crate::receipt::far;

/// The first and the greatest bound of the wait after a busy hub.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The longest Retry-After that the client accepts.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// A program's request.
#[derive(Clone)]
pub(crate) enum Ask {
    Twin,
    /// A checked patch, as JSON.
    Report(Bytes),
}

/// The hub's response.
#[derive(Debug)]
pub(crate) enum Answer {
    Twin(Box<Twin>),
    Reported(Option<u64>),
}

/// Why there is no response. `written` says that a connection may have carried the request.
#[derive(Debug)]
pub(crate) enum Cut {
    Refused(Box<Refusal>),
    /// No connection can carry the request.
    Impossible(ProtoError),
    /// The next connection cannot carry the request, after an earlier one may have carried it.
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

pub(crate) type Outcome = Result<Answer, Cut>;

/// A pending request, and the duty to answer its caller.
#[derive(Debug)]
pub(crate) struct Question {
    ask: Ask,
    deadline: Option<Instant>,
    asker: Asker,
    /// Not sent again before this moment, since the hub is busy.
    resting: Option<Instant>,
    /// How often in a row the hub was busy.
    busy: u32,
    /// How often no response came in time on this connection.
    silences: u32,
    /// Whether an attempt got no response, so that its effect is unknown.
    unanswered: bool,
    /// The last response, if the hub was busy.
    refusal: Option<Box<Refusal>>,
}

impl Question {
    /// Returns the request and the receiver of its outcome.
    pub(crate) fn new(ask: Ask, deadline: Option<Instant>) -> (Self, oneshot::Receiver<Outcome>) {
        let (to, answer) = oneshot::channel();
        let asker = Asker { to: Some(to), written: false };
        (Self { ask, deadline, asker, resting: None, busy: 0, silences: 0, unanswered: false, refusal: None }, answer)
    }

    /// Whether the caller still waits for the response.
    fn is_wanted(&self) -> bool {
        self.asker.to.as_ref().is_some_and(|it| !it.is_closed())
    }
}

/// The caller that waits for the outcome.
#[derive(Debug)]
struct Asker {
    to: Option<oneshot::Sender<Outcome>>,
    /// Whether the hub may have the request. False again after the hub has answered that it did nothing.
    written: bool,
}

impl Asker {
    fn answer(mut self, outcome: Outcome) {
        if let Some(to) = self.to.take() {
            // The caller may have stopped waiting.
            let _unwanted = to.send(outcome);
        }
    }
}

impl Drop for Asker {
    /// The last resort: whatever happens to the driver, every request gets an outcome.
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let _unwanted = to.send(Err(Cut::Closed { reason: CloseReason::Aborted, written: self.written }));
        }
    }
}

/// Who made the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The program: the first request of the queue.
    Program,
    /// The client itself, to fetch the desired properties.
    Own,
}

/// The request in flight on this connection.
#[derive(Debug)]
struct Asked {
    tag: Tag,
    turn: Turn,
    /// When the request is sent again.
    until: Instant,
}

/// All twin requests of a client.
#[derive(Debug)]
pub(crate) struct TwinRequests {
    timeout: Duration,
    queue: VecDeque<Question>,
    asked: Option<Asked>,
    last: Turn,
    /// No request reaches its deadline before this.
    next_expiry: Option<Instant>,
    /// The hub's refusal, if it accepts no twin requests on this connection.
    barred: Option<Box<Refusal>>,
    /// Why the client takes no more requests.
    ended: Option<CloseReason>,
}

impl TwinRequests {
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            queue: VecDeque::new(),
            asked: None,
            last: Turn::Program,
            next_expiry: None,
            barred: None,
            ended: None,
        }
    }

    // Events.

    /// Queues a request.
    pub(crate) fn ask(&mut self, question: Question) {
        if let Some(reason) = &self.ended {
            question.asker.answer(Err(Cut::Closed { reason: reason.clone(), written: false }));
            return;
        }
        // A caller that stopped waiting has returned the permit that this request uses.
        self.forget_unwanted();
        self.next_expiry = [self.next_expiry, question.deadline].into_iter().flatten().min();
        self.queue.push_back(question);
    }

    /// The hub refuses all twin requests on this connection; `None` if it accepts them.
    pub(crate) fn bar(&mut self, refusal: Option<&Refusal>) {
        self.barred = refusal.map(|it| Box::new(it.clone()));
    }

    /// The connection has ended.
    pub(crate) fn on_lost(&mut self) {
        self.barred = None;
        if let Some(asked) = self.asked.take()
            && asked.turn == Turn::Program
        {
            self.unanswered();
        }
        self.queue.iter_mut().for_each(|it| it.silences = 0);
    }

    /// The hub answered under this tag: the request is no longer in flight. Returns who made it; `None` for a
    /// response that comes too late or belongs to no request.
    pub(crate) fn on_answer(&mut self, tag: Tag) -> Option<Turn> {
        self.asked.take_if(|it| it.tag == tag).map(|it| it.turn)
    }

    /// Ends the program's request with its outcome.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        let Some(question) = self.queue.pop_front() else { return };
        let outcome = match (&question.ask, outcome) {
            (Ask::Twin, Ok(Answer::Reported(_))) | (Ask::Report(_), Ok(Answer::Twin(_))) => {
                Err(Cut::Unreadable(ProtoError::Unexpected("the response does not match the request".into())))
            }
            (_, outcome) => outcome,
        };
        question.asker.answer(outcome);
    }

    /// The hub refused the program's request, temporarily or permanently.
    pub(crate) fn refused(&mut self, now: Instant, rng: &mut Rng, refusal: &Refusal) {
        if !is_busy(refusal) {
            return self.finish(Err(Cut::Refused(Box::new(refusal.clone()))));
        }
        let Some(question) = self.queue.front_mut() else { return };
        question.asker.written = question.unanswered;
        question.busy = question.busy.saturating_add(1);
        question.resting = Some(now + wait(rng, question.busy, refusal.retry_after));
        question.refusal = Some(Box::new(refusal.clone()));
    }

    /// The connection could not carry the program's request; the connection itself continues.
    pub(crate) fn unsendable(&mut self, problem: ProtoError) {
        let again = self.queue.front().is_some_and(|it| it.unanswered);
        self.finish(Err(if again { Cut::Resend(problem) } else { Cut::Impossible(problem) }));
    }

    /// Handles timers that are due; may be called before [`TwinRequests::next_deadline`]. Returns who made the
    /// request that the hub has not answered in time.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Turn> {
        let silent = self.asked.take_if(|it| it.until <= now).map(|it| it.turn);
        if silent == Some(Turn::Program)
            && let Some(question) = self.queue.front_mut()
        {
            question.silences = question.silences.saturating_add(1);
            self.unanswered();
        }
        if let Some(question) = self.queue.front_mut() {
            question.resting.take_if(|it| *it <= now);
        }
        if self.next_expiry.is_some_and(|it| it <= now) {
            self.expire(now);
        }
        silent
    }

    /// The client has ended.
    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.ended = Some(reason.clone());
        (self.asked, self.next_expiry) = (None, None);
        for question in self.queue.drain(..) {
            let written = question.asker.written;
            question.asker.answer(Err(Cut::Closed { reason: reason.clone(), written }));
        }
    }

    // Actions.

    /// The latest moment for the next call of [`TwinRequests::on_time`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let resting = self.queue.front().and_then(|it| it.resting);
        [self.next_expiry, resting, self.asked.as_ref().map(|it| it.until)].into_iter().flatten().min()
    }

    /// Returns the next request, and who made it. `own` says that the client has a request of its own; the
    /// program and the client take turns.
    pub(crate) fn next(&mut self, now: Instant, tags: &mut RequestTags, own: bool) -> Option<(Turn, Tag, Upstream)> {
        if self.asked.is_some() {
            return None;
        }
        self.forget_unwanted();
        let program = self.queue.front_mut().filter(|it| it.resting.is_none());
        let (turn, what, silences) = match program {
            Some(question) if !own || self.last == Turn::Own => {
                question.asker.written = true;
                let what = match &question.ask {
                    Ask::Twin => Upstream::TwinGet,
                    Ask::Report(patch) => Upstream::ReportedPatch(patch.clone()),
                };
                (Turn::Program, what, question.silences)
            }
            _ if own => (Turn::Own, Upstream::TwinGet, 0),
            _ => return None,
        };
        let tag = tags.take();
        // A hub that throttles may also be slow, and more requests would make it slower.
        let until = far(now, self.timeout.saturating_mul(2_u32.saturating_pow(silences)));
        self.asked = Some(Asked { tag, turn, until });
        self.last = turn;
        Some((turn, tag, what))
    }

    /// Whether no request is in flight.
    pub(crate) const fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    /// Whether no caller waits for a response.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.queue.iter().any(Question::is_wanted)
    }

    /// An attempt of the program's request ended without a response.
    fn unanswered(&mut self) {
        if let Some(question) = self.queue.front_mut() {
            question.unanswered = true;
        }
    }

    /// Removes requests whose caller stopped waiting, except one in flight: it stays until the hub answers.
    fn forget_unwanted(&mut self) {
        let mut on_its_way = self.asked.as_ref().is_some_and(|it| it.turn == Turn::Program);
        self.queue.retain(|it| std::mem::take(&mut on_its_way) || it.is_wanted());
    }

    fn expire(&mut self, now: Instant) {
        let mut left = VecDeque::with_capacity(self.queue.len());
        for (at, question) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            if question.deadline.is_none_or(|it| it > now) {
                left.push_back(question);
                continue;
            }
            if at == 0 {
                // A late response cannot be taken for the next request's, which has another tag.
                self.asked.take_if(|it| it.turn == Turn::Program);
            }
            let written = question.asker.written;
            question.asker.answer(Err(match question.refusal.or_else(|| self.barred.clone()) {
                Some(refusal) if !written => Cut::Refused(refusal),
                _ => Cut::Deadline { written },
            }));
        }
        self.next_expiry = left.iter().filter_map(|it| it.deadline).min();
        self.queue = left;
    }
}

/// Whether the hub may accept later what it refuses now.
fn is_busy(refusal: &Refusal) -> bool {
    matches!(refusal.cause(), Cause::Throttled | Cause::Server)
}

/// How long to wait after this many failures in a row: random, so that devices that failed together do not
/// return together, and never shorter than the hub requests.
pub(super) fn wait(rng: &mut Rng, failures: u32, asked: Option<Duration>) -> Duration {
    let (first, most) = AGAIN;
    let bound = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(most);
    let wait = bound / 2 + (bound / 2).mul_f64(rng.f64());
    asked.map_or(wait, |it| wait.max(it.min(RETRY_AFTER_MAX) + first.mul_f64(rng.f64())))
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twin => f.write_str("Twin"),
            // The program's data must not appear in logs.
            Self::Report(patch) => write!(f, "Report({} bytes)", patch.len()),
        }
    }
}
