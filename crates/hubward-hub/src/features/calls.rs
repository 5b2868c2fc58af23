//! Calls of direct methods: who works on them, how many at a time, and which answers still have a
//! connection to go to.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hubward_transport::{Call, CallId, Reply};
use serde::de::IgnoredAny;

use crate::incoming::Incoming;
use crate::method::{Handler, error_body};

/// A call that a handler is to work on.
pub(crate) struct Job {
    pub(crate) handler: Handler,
    pub(crate) call: Call,
    /// The connection it came over, by the number of its attempt.
    pub(crate) connection: u64,
}

/// What a handler's task says, exactly once for each job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) connection: u64,
    pub(crate) id: CallId,
    pub(crate) status: i32,
    pub(crate) body: Bytes,
}

/// The calls of one client.
#[derive(Debug)]
pub(crate) struct Calls {
    incoming: Arc<Incoming>,
    /// Handlers that may work at a time.
    limit: usize,
    /// Handlers at work, whatever connection their calls came over.
    working: usize,
    /// Those of the connection that is up.
    open: usize,
    jobs: Vec<Job>,
    replies: VecDeque<Reply>,
}

impl Calls {
    pub(crate) fn new(incoming: Arc<Incoming>, limit: usize) -> Self {
        Self { incoming, limit, working: 0, open: 0, jobs: Vec::new(), replies: VecDeque::new() }
    }

    /// The connection is over, and with it every call that came over it.
    pub(crate) fn on_lost(&mut self) {
        self.open = 0;
        let lost = self.replies.drain(..).len() as u64;
        self.incoming.counters.add(|it| it.methods_unanswered += lost);
    }

    /// Takes a call from the connection that is up.
    pub(crate) fn on_call(&mut self, up: Option<u64>, call: Call) {
        // Only a connection that is up tells anything.
        let Some(connection) = up else { return };
        let counters = &self.incoming.counters;
        let (status, why) = if let Some(handler) = self.incoming.handler(&call.name) {
            if !is_json_or_empty(&call.body) {
                counters.add(|it| it.methods_invalid += 1);
                (400, "the payload is not JSON")
            } else if self.working >= self.limit {
                counters.add(|it| it.methods_busy += 1);
                (503, "too many calls at a time")
            } else {
                self.working += 1;
                self.open += 1;
                self.jobs.push(Job { handler, call, connection });
                return;
            }
        } else {
            counters.add(|it| it.methods_unknown += 1);
            (404, "there is no such method")
        };
        tracing::warn!(method = call.name, status, why, "a call of a method is refused");
        self.replies.push_back(Reply::Method { call: call.id, status, body: error_body(why) });
    }

    /// Jobs to be begun; the caller empties it.
    pub(crate) const fn jobs(&mut self) -> &mut Vec<Job> {
        &mut self.jobs
    }

    /// A job is done. Its answer goes out only over the connection that it came over.
    pub(crate) fn on_answer(&mut self, up: Option<u64>, answer: Answer) {
        self.working = self.working.saturating_sub(1);
        if up == Some(answer.connection) {
            self.open = self.open.saturating_sub(1);
            self.replies.push_back(Reply::Method { call: answer.id, status: answer.status, body: answer.body });
        } else {
            tracing::debug!(id = answer.id.0, "the answer of a method has no connection to go to");
            self.incoming.counters.add(|it| it.methods_unanswered += 1);
        }
    }

    /// The next answer for the connection.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// The connection took what [`Calls::next`] handed out, or did not.
    pub(crate) fn on_reply(&self, taken: bool) {
        if !taken {
            self.incoming.counters.add(|it| it.methods_unanswered += 1);
        }
    }

    /// Whether no call of this connection waits for its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.open == 0 && self.is_flushed()
    }

    /// Whether every answer that was given is on the connection.
    pub(crate) fn is_flushed(&self) -> bool {
        self.replies.is_empty()
    }
}

/// Whether a payload is what a hub may send and what it takes.
pub(crate) fn is_json_or_empty(payload: &[u8]) -> bool {
    // What is ignored is not checked for being UTF-8.
    payload.is_empty() || std::str::from_utf8(payload).is_ok_and(|it| serde_json::from_str::<IgnoredAny>(it).is_ok())
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({:?} over {})", self.call.name, self.connection)
    }
}
