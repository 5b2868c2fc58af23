//! Questions about the twin, one at a time and in the order they were asked.
//!
//! A change of the reported properties is a merge: to make it twice does no harm, to make it before
//! an older one does. So the next question waits until the one before it has its answer or has
//! ended, also while that one is throttled, and after a lost connection the same one is asked again.

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

/// The bound of the first wait after a hub that is busy, and of the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The longest Retry-After that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What a program wants to know, or to say.
#[derive(Clone)]
pub(crate) enum Ask {
    Twin,
    /// A checked patch, as JSON.
    Report(Bytes),
}

/// What the hub answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Twin(Box<Twin>),
    Reported(Option<u64>),
}

/// Why there is no answer. `written` says that a connection may have carried the question.
#[derive(Debug)]
pub(crate) enum Cut {
    Refused(Box<Refusal>),
    /// No connection can carry it.
    Impossible(ProtoError),
    /// The next connection cannot carry it, after an earlier one may have.
    Resend(ProtoError),
    /// The hub answered something else.
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

/// A question on its way, and the duty to answer it.
#[derive(Debug)]
pub(crate) struct Question {
    ask: Ask,
    deadline: Option<Instant>,
    asker: Asker,
    /// Not before then: the hub is busy.
    resting: Option<Instant>,
    /// How often the hub was busy, in a row.
    busy: u32,
    /// How often no answer came in time on this connection.
    silences: u32,
    /// Whether some attempt never had an answer, so that nobody knows what became of it.
    unanswered: bool,
    /// The last answer, if it was that the hub is busy.
    refusal: Option<Box<Refusal>>,
}

impl Question {
    /// A question, and where its answer comes.
    pub(crate) fn new(ask: Ask, deadline: Option<Instant>) -> (Self, oneshot::Receiver<Outcome>) {
        let (to, answer) = oneshot::channel();
        let asker = Asker { to: Some(to), written: false };
        (Self { ask, deadline, asker, resting: None, busy: 0, silences: 0, unanswered: false, refusal: None }, answer)
    }

    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool {
        self.asker.to.as_ref().is_some_and(|it| !it.is_closed())
    }
}

/// Who is to be answered.
#[derive(Debug)]
struct Asker {
    to: Option<oneshot::Sender<Outcome>>,
    /// Whether the hub may have the question, and has not said that it did nothing.
    written: bool,
}

impl Asker {
    fn answer(mut self, outcome: Outcome) {
        if let Some(to) = self.to.take() {
            // If it is not wanted any more, nobody misses it.
            let _unwanted = to.send(outcome);
        }
    }
}

impl Drop for Asker {
    /// The net below: whatever happens to the driver, every question ends.
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let _unwanted = to.send(Err(Cut::Closed { reason: CloseReason::Aborted, written: self.written }));
        }
    }
}

/// Whose turn it is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first question of the queue.
    Program,
    /// The client's own question, for the desired properties.
    Own,
}

/// The question that waits for its answer on this connection.
#[derive(Debug)]
struct Asked {
    tag: Tag,
    turn: Turn,
    /// Then it is asked again.
    until: Instant,
}

/// All questions of a client.
#[derive(Debug)]
pub(crate) struct TwinRequests {
    timeout: Duration,
    queue: VecDeque<Question>,
    asked: Option<Asked>,
    last: Turn,
    /// No question's time is over before this.
    next_expiry: Option<Instant>,
    /// Why the hub does not let this connection ask at all.
    barred: Option<Box<Refusal>>,
    /// Why nothing is taken any more.
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

    // What happened.

    /// Takes a question.
    pub(crate) fn ask(&mut self, question: Question) {
        if let Some(reason) = &self.ended {
            question.asker.answer(Err(Cut::Closed { reason: reason.clone(), written: false }));
            return;
        }
        // Whoever left has made room for this one.
        self.forget_unwanted();
        self.next_expiry = [self.next_expiry, question.deadline].into_iter().flatten().min();
        self.queue.push_back(question);
    }

    /// The hub refuses to answer questions on this connection, or does so no longer.
    pub(crate) fn bar(&mut self, refusal: Option<&Refusal>) {
        self.barred = refusal.map(|it| Box::new(it.clone()));
    }

    /// The connection is over.
    pub(crate) fn on_lost(&mut self) {
        self.barred = None;
        if let Some(asked) = self.asked.take()
            && asked.turn == Turn::Program
        {
            self.unanswered();
        }
        self.queue.iter_mut().for_each(|it| it.silences = 0);
    }

    /// Whose question the hub answers under this tag; it is no longer on its way. `None` for an
    /// answer that comes too late, or to nothing.
    pub(crate) fn on_answer(&mut self, tag: Tag) -> Option<Turn> {
        self.asked.take_if(|it| it.tag == tag).map(|it| it.turn)
    }

    /// The program's question has its answer.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        let Some(question) = self.queue.pop_front() else { return };
        let outcome = match (&question.ask, outcome) {
            (Ask::Twin, Ok(Answer::Reported(_))) | (Ask::Report(_), Ok(Answer::Twin(_))) => {
                Err(Cut::Unreadable(ProtoError::Unexpected("the hub answered another question".into())))
            }
            (_, outcome) => outcome,
        };
        question.asker.answer(outcome);
    }

    /// The hub refuses the program's question: for now, or for good.
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

    /// The connection could not take the program's question; it lives on.
    pub(crate) fn unsendable(&mut self, problem: ProtoError) {
        let again = self.queue.front().is_some_and(|it| it.unanswered);
        self.finish(Err(if again { Cut::Resend(problem) } else { Cut::Impossible(problem) }));
    }

    /// Time has come to [`TwinRequests::next_deadline`], or anywhere. Says whose question the hub
    /// has left without an answer.
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

    // What is to be done.

    /// When to call [`TwinRequests::on_time`] at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let resting = self.queue.front().and_then(|it| it.resting);
        [self.next_expiry, resting, self.asked.as_ref().map(|it| it.until)].into_iter().flatten().min()
    }

    /// The next question, and whose it is. `own` says that the client has one of its own; neither
    /// keeps the other from its turn.
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
        // A hub that throttles may also be slow: asked more often, it would only be slower.
        let until = far(now, self.timeout.saturating_mul(2_u32.saturating_pow(silences)));
        self.asked = Some(Asked { tag, turn, until });
        self.last = turn;
        Some((turn, tag, what))
    }

    /// Whether no question is on its way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    /// Whether nobody waits for an answer.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.queue.iter().any(Question::is_wanted)
    }

    /// An attempt of the program's question has ended without an answer.
    fn unanswered(&mut self) {
        if let Some(question) = self.queue.front_mut() {
            question.unanswered = true;
        }
    }

    /// Questions whose asker has left, unless one is on its way: it keeps its turn until it is
    /// answered.
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
                // A late answer is not taken for the next question's: that has another tag.
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

/// Whether the hub may do later what it refuses now.
fn is_busy(refusal: &Refusal) -> bool {
    matches!(refusal.cause(), Cause::Throttled | Cause::Server)
}

/// How long to wait after so many failures in a row: random, so that devices which failed together
/// do not come back together, and never less than the hub asks for.
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
            // The program's data is nobody else's business.
            Self::Report(patch) => write!(f, "Report({} bytes)", patch.len()),
        }
    }
}
