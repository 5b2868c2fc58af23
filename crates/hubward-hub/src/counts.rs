//! Counts of calls that failed, and of messages that were lost or that the hub delivers again.

use std::sync::{Mutex, PoisonError};

/// Counts of failed method calls, of messages that were lost or that the hub delivers again, and of data that the
/// client could not read. Counting begins when the client starts. See [`HubClient::counts`](crate::HubClient::counts).
///
/// In normal operation, all counts are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubCounts {
    /// Calls answered with 404, because no handler serves the method.
    pub methods_unknown: u64,
    /// Calls answered with 400, because the payload is not JSON, or the name cannot be read. No handler is called.
    pub methods_invalid: u64,
    /// Calls answered with 503, because [`HubOptions::method_calls`](crate::HubOptions::method_calls) calls were
    /// running.
    pub methods_busy: u64,
    /// Calls answered with 500: the handler failed or panicked, or its response body is not JSON or is too large.
    pub methods_failed: u64,
    /// Calls answered with 504, because the handler took longer than
    /// [`HubOptions::method_deadline`](crate::HubOptions::method_deadline).
    pub methods_timed_out: u64,
    /// Calls that the client could not answer, because the client or the connection that delivered the call had ended.
    /// The caller sees a timeout.
    pub methods_unanswered: u64,
    /// Messages that exceeded a [limit for received messages](crate::HubOptions::receive_queue), in number or in bytes.
    /// The client does not acknowledge these messages. So the hub delivers them again, on the same connection or the
    /// next one.
    pub messages_over_limit: u64,
    /// Messages that were still waiting for the program when the connection or the client ended. The client does not
    /// acknowledge these messages, so the hub delivers them again.
    pub messages_discarded: u64,
    /// Messages that the program took and dropped without settling them. The client does not acknowledge these
    /// messages, so the hub delivers them again, on the same connection or the next one.
    pub messages_unsettled: u64,
    /// Messages that the program completed, but whose acknowledgement the client did not send before the connection
    /// ended. The hub delivers these messages again, although the program has handled them.
    ///
    /// The client [held back](crate::CloudMessage#in-which-order-to-complete) the acknowledgement because an earlier
    /// message was not completed.
    pub messages_held_back: u64,
    /// Messages that the program settled after the connection that delivered them had ended. The client does not
    /// acknowledge these messages, so the hub delivers them again.
    pub messages_stale: u64,
    /// Messages with QoS 0 that the program never received, because the receive queue was full or the client ended.
    /// These messages are lost: the hub expects no acknowledgement and does not deliver them again.
    pub messages_lost: u64,
    /// Pieces of data that the client discarded, because it cannot read them or because it does not use their topic.
    pub unreadable: u64,
}

/// The current counts. The counted events are rare, so a lock costs little.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<HubCounts>);

impl Counters {
    pub(crate) fn add(&self, count: impl FnOnce(&mut HubCounts)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn snapshot(&self) -> HubCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
