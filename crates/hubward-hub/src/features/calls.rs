//! Calls of direct methods. Chooses the handler of each call, limits how many handlers run at a time, and keeps each
//! response until the client sends it or the connection of the call ends.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hubward_transport::{Call, CallId, Excerpt, Reply};
use serde::de::IgnoredAny;

use crate::incoming::Incoming;
use crate::method::{Handler, error_body};

/// A call for a handler to work on.
pub(crate) struct Job {
    pub(crate) handler: Handler,
    pub(crate) call: Call,
    /// The number of the attempt whose connection delivered the call.
    pub(crate) connection: u64,
}

/// The response that a handler's task returns. Each job returns exactly one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallResponse {
    pub(crate) connection: u64,
    pub(crate) id: CallId,
    pub(crate) status: i32,
    pub(crate) body: Bytes,
}

/// The calls of one client.
#[derive(Debug)]
pub(crate) struct Calls {
    incoming: Arc<Incoming>,
    /// Maximum number of running handlers.
    limit: usize,
    /// Number of running handlers, for calls of any connection.
    working: usize,
    /// Number of running handlers whose call came over the connection that is up.
    open: usize,
    jobs: Vec<Job>,
    replies: VecDeque<Reply>,
}

impl Calls {
    pub(crate) fn new(incoming: Arc<Incoming>, limit: usize) -> Self {
        Self { incoming, limit, working: 0, open: 0, jobs: Vec::new(), replies: VecDeque::new() }
    }

    /// Handles the end of the connection: the client can no longer answer the calls of this connection.
    pub(crate) fn on_lost(&mut self) {
        self.open = 0;
        let lost = self.replies.drain(..).len() as u64;
        self.incoming.counters.add(|it| it.methods_unanswered += lost);
    }

    /// Accepts a call from the connection that is up.
    pub(crate) fn on_call(&mut self, up: Option<u64>, call: Call) {
        // Only a connection that is up delivers calls.
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
        self.incoming.warnings.refused_call.log(|| {
            tracing::warn!(method = %Excerpt(&call.name), status, why, "refused a method call");
        });
        self.replies.push_back(Reply::Method { call: call.id, status, body: error_body(why) });
    }

    /// Answers a call of which the client can read only the id. The connection that is up delivered the call.
    pub(crate) fn on_unreadable(&mut self, call: CallId) {
        let (status, why) = (400, "the name of the method cannot be read");
        self.incoming.counters.add(|it| it.methods_invalid += 1);
        let warnings = &self.incoming.warnings;
        warnings.refused_call.log(|| tracing::warn!(status, why, "refused a method call"));
        self.replies.push_back(Reply::Method { call, status, body: error_body(why) });
    }

    /// Jobs to start; the caller empties the list.
    pub(crate) const fn jobs(&mut self) -> &mut Vec<Job> {
        &mut self.jobs
    }

    /// Handles the response of a finished job. The client sends the response only if the connection that delivered the
    /// call is still up.
    pub(crate) fn on_response(&mut self, up: Option<u64>, response: CallResponse) {
        self.working = self.working.saturating_sub(1);
        if up == Some(response.connection) {
            self.open = self.open.saturating_sub(1);
            self.replies.push_back(Reply::Method { call: response.id, status: response.status, body: response.body });
        } else {
            tracing::debug!(id = %Excerpt(&response.id.0), "cannot send a method response: its connection has ended");
            self.incoming.counters.add(|it| it.methods_unanswered += 1);
        }
    }

    /// Returns the next response for the connection.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// Reports whether the connection accepted the response that [`Calls::next`] returned.
    pub(crate) fn on_reply(&self, taken: bool) {
        if !taken {
            self.incoming.counters.add(|it| it.methods_unanswered += 1);
        }
    }

    /// Whether every call of this connection is answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.open == 0 && self.is_flushed()
    }

    /// Returns `true` if no response waits for the connection.
    pub(crate) fn is_flushed(&self) -> bool {
        self.replies.is_empty()
    }
}

/// Whether a payload is valid: JSON, or empty.
pub(crate) fn is_json_or_empty(payload: &[u8]) -> bool {
    // `IgnoredAny` does not check that strings are UTF-8.
    payload.is_empty() || std::str::from_utf8(payload).is_ok_and(|it| serde_json::from_str::<IgnoredAny>(it).is_ok())
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({:?} over {})", self.call.name, self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::MethodResponse;
    use crate::{HubCounts, HubOptions};
    use fastrand::Rng;

    fn calls(limit: usize) -> (Calls, Arc<Incoming>) {
        let (incoming, _task_wakes) = Incoming::new(&HubOptions::default());
        incoming.serve(Some("known".into()), Arc::new(|_| Box::pin(async { Ok(MethodResponse::new(200)) })));
        (Calls::new(incoming.clone(), limit), incoming)
    }

    fn call(name: &str, id: &str, body: &[u8]) -> Call {
        Call { id: CallId(id.into()), name: name.into(), body: Bytes::copy_from_slice(body) }
    }

    fn reply(calls: &mut Calls) -> Option<(String, i32, String)> {
        match calls.next()? {
            Reply::Method { call, status, body } => {
                Some((call.0, status, String::from_utf8(body.to_vec()).expect("text")))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_without_a_handler_is_answered_at_once() {
        let (mut calls, incoming) = calls(1);
        for (name, body, status) in [
            ("unknown", "{}", Some((404, "there is no such method"))),
            ("Known", "{}", Some((404, "there is no such method"))),
            ("known", "{", Some((400, "the payload is not JSON"))),
            ("known", "{}", None),
            ("known", "{", Some((400, "the payload is not JSON"))),
            ("known", "{}", Some((503, "too many calls at a time"))),
            ("unknown", "{}", Some((404, "there is no such method"))),
        ] {
            calls.on_call(Some(1), call(name, "a=/b", body.as_bytes()));
            let expected = status.map(|(status, why)| ("a=/b".into(), status, format!("{{\"error\":\"{why}\"}}")));
            assert_eq!(reply(&mut calls), expected, "{name} {body}");
        }
        assert_eq!(calls.jobs().len(), 1);
        assert!(!calls.is_idle() && calls.is_flushed());
        let counts = incoming.counters.snapshot();
        assert_eq!((counts.methods_unknown, counts.methods_invalid, counts.methods_busy), (3, 2, 1));
    }

    #[test]
    fn a_call_with_an_unreadable_name_is_answered_without_calling_a_handler() {
        let (mut calls, incoming) = calls(1);
        incoming.serve(None, Arc::new(|_| Box::pin(async { Ok(MethodResponse::new(200)) })));
        calls.on_unreadable(CallId("a=/b".into()));
        let body = "{\"error\":\"the name of the method cannot be read\"}";
        assert_eq!(reply(&mut calls), Some(("a=/b".into(), 400, body.into())));
        assert!(calls.jobs().is_empty() && calls.is_idle());
        assert_eq!(incoming.counters.snapshot(), HubCounts { methods_invalid: 1, ..HubCounts::default() });
    }

    #[test]
    fn a_payload_is_json_or_empty() {
        for (payload, expected) in [
            (&b""[..], true),
            (b"null", true),
            (b" {\"a\":[1,2.5e3,\"\\u00e9\"]} ", true),
            (b"\"t\xc3\xa9xt\"", true),
            (b"\"\xff\"", false),
            (b" ", false),
            (b"{}{}", false),
            (b"{'a':1}", false),
            (b"NaN", false),
            (b"[1,]", false),
        ] {
            assert_eq!(is_json_or_empty(payload), expected, "{:?}", String::from_utf8_lossy(payload));
        }
    }

    #[test]
    fn a_response_leaves_only_over_the_connection_of_its_call() {
        let (mut calls, incoming) = calls(2);
        let answer = |connection| CallResponse { connection, id: CallId("1".into()), status: 200, body: Bytes::new() };
        calls.on_call(Some(1), call("known", "1", b""));
        calls.on_call(None, call("known", "1", b""));
        assert_eq!(calls.jobs().drain(..).map(|it| it.connection).collect::<Vec<_>>(), [1], "no connection is up");
        calls.on_lost();
        assert!(calls.is_idle(), "calls of an ended connection do not count");
        calls.on_call(Some(2), call("known", "1", b""));
        calls.on_response(Some(2), answer(1));
        assert_eq!((reply(&mut calls), calls.is_idle()), (None, false));
        calls.on_response(Some(2), answer(2));
        assert!(!calls.is_flushed());
        assert_eq!((reply(&mut calls), calls.is_idle()), (Some(("1".into(), 200, String::new())), true));
        calls.on_reply(true);
        assert_eq!(incoming.counters.snapshot(), HubCounts { methods_unanswered: 1, ..HubCounts::default() });
    }

    /// Runs calls, responses, ends of connections and replies in random order.
    #[test]
    fn each_call_is_answered_once_on_its_own_connection_or_counted() {
        for seed in 0..500 {
            let mut rng = Rng::with_seed(seed);
            let limit = rng.usize(1..4);
            let (mut calls, incoming) = calls(limit);
            let (mut up, mut connections) = (None, 0);
            let mut working = Vec::new();
            let (mut came, mut replied) = (0, 0);
            for _ in 0..400 {
                match rng.u8(..10) {
                    0 if up.take().is_some() => {
                        calls.on_lost();
                        assert!(calls.is_idle() && calls.is_flushed(), "seed {seed}");
                    }
                    1 if up.is_none() => {
                        connections += 1;
                        up = Some(connections);
                    }
                    2..=5 => {
                        if let Some(connection) = up {
                            let name = if rng.u8(..8) == 0 { "unknown" } else { "known" };
                            let body: &[u8] = if rng.u8(..8) == 0 { b"x" } else { b"1" };
                            calls.on_call(up, call(name, &format!("{connection}/{came}"), body));
                            came += 1;
                        }
                    }
                    6 | 7 if !working.is_empty() => {
                        let Job { call, connection, .. } = working.swap_remove(rng.usize(..working.len()));
                        calls
                            .on_response(up, CallResponse { connection, id: call.id, status: 200, body: Bytes::new() });
                    }
                    _ if up.is_some() => {
                        if let Some((id, ..)) = reply(&mut calls) {
                            let taken = rng.u8(..10) > 0;
                            calls.on_reply(taken);
                            replied += u64::from(taken);
                            assert_eq!(id.split('/').next(), up.map(|it| it.to_string()).as_deref(), "seed {seed}");
                        }
                    }
                    _ => {}
                }
                working.append(calls.jobs());
                assert!(working.len() <= limit, "seed {seed}");
                let open = working.iter().any(|it| up == Some(it.connection));
                assert_eq!(calls.is_idle(), !open && calls.is_flushed(), "seed {seed}");
            }
            let counts = incoming.counters.snapshot();
            let waiting = calls.replies.len() as u64;
            assert_eq!(came, replied + counts.methods_unanswered + waiting + working.len() as u64, "seed {seed}");
            assert!(came > 20 && counts.methods_unanswered > 0, "seed {seed}");
        }
    }
}
