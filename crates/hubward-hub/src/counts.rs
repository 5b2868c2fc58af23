//! Counts of what the client could not hand to the program or could not answer.

use std::sync::{Mutex, PoisonError};

/// How often, since the client started, it could not hand something from the hub to the program, or could not
/// answer it. See [`HubClient::counts`](crate::HubClient::counts).
///
/// All counts are zero for a client that keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubCounts {
    /// Calls of a method that no handler serves; answered with 404.
    pub methods_unknown: u64,
    /// Calls with a payload that is not JSON, or with a name that cannot be read; answered with 400 without
    /// calling a handler.
    pub methods_invalid: u64,
    /// Calls beyond [`HubOptions::method_calls`](crate::HubOptions::method_calls); answered with 503.
    pub methods_busy: u64,
    /// Calls whose handler failed, panicked, or returned a body that is not JSON or is too large; answered with
    /// 500.
    pub methods_failed: u64,
    /// Calls whose handler took longer than
    /// [`HubOptions::method_deadline`](crate::HubOptions::method_deadline); answered with 504.
    pub methods_timed_out: u64,
    /// Calls that the client could not answer: their connection had ended, or the client had ended. The caller
    /// sees a timeout.
    pub methods_unanswered: u64,
    /// Messages that came while the [receive queue](crate::HubOptions::receive_queue) was full or the program
    /// held 16 MiB of them. Not acknowledged: the hub delivers them again, on the same connection or the next.
    pub messages_over_limit: u64,
    /// Messages that were waiting for the program when their connection, or the client, ended. Not
    /// acknowledged: the hub delivers them again.
    pub messages_discarded: u64,
    /// Messages that the program took and dropped without settling them. Not acknowledged: the hub delivers
    /// them again, on the same connection or the next.
    pub messages_unsettled: u64,
    /// Messages that the program completed successfully, but whose acknowledgement was [held
    /// back](crate::CloudMessage#in-which-order-to-complete) for an earlier message until their connection
    /// ended. The hub delivers them again, although the program has handled them.
    pub messages_held_back: u64,
    /// Messages that the program settled after their connection had ended. Not acknowledged: the hub delivers
    /// them again.
    pub messages_stale: u64,
    /// Messages without acknowledgement (QoS 0) that the program never received: the receive queue was full, or
    /// the client ended while they waited. Lost: the hub does not deliver them again.
    pub messages_lost: u64,
    /// Data that the client cannot read, or that came on a topic that this client does not use; discarded.
    pub unreadable: u64,
}

/// The counts while they grow. The counted events are rare, so a lock costs little.
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
