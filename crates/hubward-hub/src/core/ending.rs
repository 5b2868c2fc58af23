//! How the client ends: when every message is resolved, when the time limit has passed, or at once.

use tokio::time::Instant;

use super::phase::{AfterDisconnect, Closing, Phase};
use super::{Core, DISCONNECT_LIMIT};
use crate::outcome::{SendFailure, SendOutcome};
use crate::{CloseReason, ConnectionState};

impl<T> Core<T> {
    /// Starts to close the client. The client ends when every message is resolved and [`Core::hold`] requires no wait,
    /// or at `until`, whichever is earlier. If this method is called more than once, the earliest `until` and the first
    /// `reason` count.
    pub(crate) fn close(&mut self, now: Instant, until: Instant, reason: CloseReason) {
        match &mut self.closing {
            Some(closing) => closing.until = closing.until.min(until),
            None => self.closing = Some(Closing { until, reason }),
        }
        if let Phase::Disconnecting { until: disconnect, then: AfterDisconnect::End } = &mut self.phase {
            *disconnect = (*disconnect).min(until.max(now));
        }
        self.advance(now);
    }

    /// Whether the client takes no more messages.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns why the client ends, if its end is final; otherwise `None`.
    pub(crate) fn end_reason(&self) -> Option<CloseReason> {
        self.closing.as_ref().filter(|_| self.is_ending()).map(|it| it.reason.clone())
    }

    /// Ends the client at once, without an orderly disconnect.
    pub(crate) fn abort(&mut self, now: Instant) {
        self.end_with(now, CloseReason::Aborted);
        self.end();
    }

    /// Continues a renewal or a close, if nothing is left for which it must wait. The caller calls this method when a
    /// message is resolved, or when [`Core::hold`] no longer requires a wait.
    pub(crate) fn advance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Draining { .. }) && self.flights.len() == 0 && !self.hold.renewal {
            self.start_disconnect(now);
        }
        if self.closing.is_some() && !self.hold.close && self.waiting.is_empty() && self.flights.unresolved() == 0 {
            self.finish(now);
        }
    }

    /// Ends the client, because every message is resolved or the time limit has passed.
    pub(super) fn finish(&mut self, now: Instant) {
        let reason = self.closing.as_ref().map_or(CloseReason::Requested, |it| it.reason.clone());
        self.end_with(now, reason);
    }

    pub(super) fn end_with(&mut self, now: Instant, reason: CloseReason) {
        if self.is_ending() {
            return;
        }
        let failure = || SendFailure::Closed(reason.clone());
        self.freed += self.waiting.len();
        let waiting = self.waiting.drain(..).map(|it| (it.message, SendOutcome::NotSent(failure())));
        self.resolved.extend(waiting);
        let written = self.flights.drain().into_iter().map(|it| (it, SendOutcome::Unknown(failure())));
        self.resolved.extend(written);
        (self.next_expiry, self.next_overdue) = (None, None);
        // Only a caller of `close` sets a time limit for the end of the client. If the client ends for another reason,
        // such as the drop of the last handle, the limit is `DISCONNECT_LIMIT`.
        //
        // In both cases, the orderly disconnect takes at most `DISCONNECT_LIMIT`.
        let limit = match (&self.closing, &reason) {
            (Some(closing), CloseReason::Requested) => closing.until,
            _ => now + DISCONNECT_LIMIT,
        };
        let until = limit.min(now + DISCONNECT_LIMIT).max(now);
        self.closing = Some(Closing { until: limit, reason });
        match self.phase {
            Phase::Up { .. } | Phase::Renewing { .. } | Phase::Draining { .. } => {
                self.phase = Phase::Disconnecting { until, then: AfterDisconnect::End };
            }
            Phase::Disconnecting { until: already, .. } => {
                self.phase = Phase::Disconnecting { until: already.min(until), then: AfterDisconnect::End };
            }
            Phase::Waiting { .. }
            | Phase::Deciding { .. }
            | Phase::Opening { .. }
            | Phase::Login { .. }
            | Phase::Ended => self.end(),
        }
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        let reason = self.closing.as_ref().map_or(CloseReason::Aborted, |it| it.reason.clone());
        if !self.state.is_closed() {
            self.set_state(ConnectionState::Closed { reason });
        }
    }

    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Disconnecting { then: AfterDisconnect::End, .. })
    }
}
