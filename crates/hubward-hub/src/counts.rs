//! What was not handed over or not answered, counted: nothing vanishes silently.

use std::sync::{Mutex, PoisonError};

/// How often something that came from the hub was not handed to the program, or not answered, since
/// the client was started. See [`HubClient::counts`](crate::HubClient::counts).
///
/// All zero is a client that keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubCounts {
    /// Calls of a method that nobody serves; answered with 404.
    pub methods_unknown: u64,
    /// Calls whose payload was not JSON, or whose name could not be read; answered with 400, no handler
    /// saw anything of them.
    pub methods_invalid: u64,
    /// Calls beyond [`HubOptions::method_calls`](crate::HubOptions::method_calls); answered with 503.
    pub methods_busy: u64,
    /// Calls whose handler failed, panicked, or returned what is no JSON or too large; answered with
    /// 500.
    pub methods_failed: u64,
    /// Calls whose handler took longer than
    /// [`HubOptions::method_deadline`](crate::HubOptions::method_deadline); answered with 504.
    pub methods_overdue: u64,
    /// Calls whose answer could not be sent: their connection was over, or the client had ended. The
    /// caller sees a timeout.
    pub methods_unanswered: u64,
    /// Messages that came while as many were waiting as [may
    /// wait](crate::HubOptions::receive_queue), or while the program held 16 MiB of them: not acknowledged, the hub delivers them again, on the
    /// same connection or the next.
    pub messages_left: u64,
    /// Messages that were waiting to be taken when their connection, or the client, ended: not
    /// acknowledged, the hub delivers them again.
    pub messages_discarded: u64,
    /// Messages that the program took and dropped without settling them: not acknowledged, the hub
    /// delivers them again, on the same connection or the next.
    pub messages_unsettled: u64,
    /// Messages that were completed, and said to be, whose acknowledgement was [held
    /// back](crate::CloudMessage#in-which-order-to-complete) for an earlier message until their
    /// connection ended: the hub delivers them again, although the program is done with them.
    pub messages_held_back: u64,
    /// Messages that the program settled too late, after their connection was over: not
    /// acknowledged, the hub delivers them again.
    pub messages_stale: u64,
    /// Messages that came without wanting an acknowledgement (QoS 0) and that the program never saw:
    /// there was no place for them to wait, or the client ended while they did. Lost: the hub does not
    /// deliver them again.
    pub messages_lost: u64,
    /// What came in a form that cannot be read, or on a topic that is nothing of this client's;
    /// discarded.
    pub unreadable: u64,
}

/// The counts while they grow. What is counted is rare, so a lock costs nothing.
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
