//! The task in which a method handler works on one call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_proto::limits::METHOD_PAYLOAD_MAX;
use hubward_transport::{CallId, Excerpt, one_line};
use tokio::sync::mpsc;

use crate::features::{CallResponse, Job, is_json_or_empty};
use crate::incoming::Incoming;
use crate::method::{MethodOutcome, error_body};

/// Starts the task. The client never aborts this task, because the handler may be the code that closes the client.
pub(super) fn start(job: Job, deadline: Duration, responses: mpsc::Sender<Box<CallResponse>>, incoming: Arc<Incoming>) {
    let Job { handler, call, connection } = job;
    let mut guard = ResponseGuard {
        id: call.id.clone(),
        method: call.name.clone(),
        connection,
        responses,
        incoming,
        response: None,
    };
    // The handler's code before its first `.await` may panic, so it also runs in the task.
    tokio::spawn(async move {
        let work = handler(call);
        drop(handler);
        let outcome = tokio::time::timeout(deadline, work).await;
        match outcome {
            Ok(outcome) => guard.set_outcome(outcome),
            Err(_) => guard.set_timed_out(deadline),
        }
    });
}

/// Sends the response to a call when the guard is dropped. So the call gets a response even if the task panics or is
/// aborted.
struct ResponseGuard {
    id: CallId,
    method: String,
    connection: u64,
    responses: mpsc::Sender<Box<CallResponse>>,
    incoming: Arc<Incoming>,
    response: Option<(i32, Bytes)>,
}

impl ResponseGuard {
    fn set_outcome(&mut self, outcome: MethodOutcome) {
        let method = Excerpt(&self.method);
        let failed = &self.incoming.warnings.failed_method;
        let (status, body) = match outcome {
            Ok(response) if response.body.len() > METHOD_PAYLOAD_MAX => {
                let (size, limit) = (response.body.len(), METHOD_PAYLOAD_MAX);
                failed.log(|| tracing::error!(%method, size, limit, "the response of a method handler is too large"));
                (500, error_body("the response is too large"))
            }
            Ok(response) if !is_json_or_empty(&response.body) => {
                failed.log(|| tracing::error!(%method, "the response of a method handler is not JSON"));
                (500, error_body("the response is not JSON"))
            }
            Ok(response) => return self.response = Some((response.status, response.body)),
            Err(error) => {
                // The error may quote the caller's payload.
                let text = || one_line(&error.to_string());
                failed.log(
                    || tracing::warn!(%method, status = error.status(), error = text(), "a method handler failed"),
                );
                (error.status(), error_body(error.message()))
            }
        };
        if status == 500 {
            self.incoming.counters.add(|it| it.methods_failed += 1);
        }
        self.response = Some((status, body));
    }

    fn set_timed_out(&mut self, deadline: Duration) {
        let method = Excerpt(&self.method);
        let overdue = &self.incoming.warnings.overdue_method;
        overdue.log(|| tracing::warn!(%method, ?deadline, "a method handler timed out"));
        self.incoming.counters.add(|it| it.methods_timed_out += 1);
        self.response = Some((504, error_body("the method took too long")));
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        let (status, body) = self.response.take().unwrap_or_else(|| {
            // The task returned no response, so it panicked or was aborted. The runtime aborts it only when the runtime
            // itself shuts down; the guard then logs nothing.
            if std::thread::panicking() {
                let method = Excerpt(&self.method);
                self.incoming.warnings.failed_method.log(|| tracing::error!(%method, "a method handler panicked"));
                self.incoming.counters.add(|it| it.methods_failed += 1);
            }
            (500, error_body("the method failed"))
        });
        let response =
            CallResponse { connection: self.connection, id: CallId(std::mem::take(&mut self.id.0)), status, body };
        // The channel has room for one response of each running task. So sending fails only if the client has ended.
        if self.responses.try_send(Box::new(response)).is_err() {
            self.incoming.counters.add(|it| it.methods_unanswered += 1);
        }
    }
}
