//! The questions of the core to its provider. Carries out the answers: stay, move to another target, end.

use std::sync::Arc;
use std::time::Duration;

use hubward_transport::TransportError;
use tokio::time::Instant;

use super::backoff::RETRY_AFTER_MAX;
use super::phase::{AfterDisconnect, Phase};
use super::takeovers::Takeovers;
use super::{Core, TokenKind};
use crate::deadline::later;
use crate::{CloseReason, ConnectionState, DisconnectCause, HubFailure};

/// Minimum wait before the client asks a provider again that had no target for it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The properties of a target that the core uses.
#[derive(Debug, Clone)]
pub(crate) struct TargetSetup {
    pub(crate) endpoint: Arc<str>,
    pub(crate) token: TokenKind,
    /// Whether a token can be replaced without a new connection.
    pub(crate) renew_in_place: bool,
}

/// A change of the target.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) target: TargetSetup,
    /// Whether the new hub is another hub, or knows the client by another identity. It then knows no earlier message.
    pub(crate) is_elsewhere: bool,
    /// The first attempt starts at this moment at the earliest.
    pub(crate) not_before: Instant,
}

/// A question of the core to the provider.
#[derive(Debug)]
pub(crate) enum Question {
    /// The client has no target.
    NoTarget,
    /// The hub has accepted the client.
    Accepted,
    /// A connection or an attempt has failed.
    Failed(HubFailure),
}

/// The part of the core that concerns the provider.
#[derive(Debug)]
pub(super) struct Supervision {
    /// The newest question that the provider has not got yet.
    question: Option<Question>,
    has_target: bool,
    /// A move that waits until the connection is closed.
    planned: Option<Move>,
    /// Number of moves up to now.
    moves: u64,
    /// Failures in a row at this target, and when the first of them happened.
    failures: u32,
    failing_since: Option<Instant>,
    /// The end of the wait that the hub asked for. A move to another credential at this hub keeps to it, also if the
    /// provider decided before it knew about the failure.
    asked_until: Option<Instant>,
}

impl Supervision {
    pub(super) const fn new() -> Self {
        Self {
            question: Some(Question::NoTarget),
            has_target: false,
            planned: None,
            moves: 0,
            failures: 0,
            failing_since: None,
            asked_until: None,
        }
    }

    /// The hub has accepted the client for long enough, or the target is new.
    pub(super) const fn reset(&mut self) {
        (self.failures, self.failing_since) = (0, None);
    }

    pub(super) fn on_accepted(&mut self) {
        self.question = Some(Question::Accepted);
    }

    pub(super) fn on_failed(
        &mut self,
        now: Instant,
        cause: &DisconnectCause,
        accepted_for: Option<Duration>,
        wait: Duration,
    ) {
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let asked = cause.transport_error().and_then(TransportError::retry_after);
        self.asked_until = asked.map(|it| later(now, it.min(RETRY_AFTER_MAX)));
        let lasting = now.saturating_duration_since(since);
        let failure = HubFailure { cause: cause.clone(), failures: self.failures, lasting, accepted_for, wait };
        self.question = Some(Question::Failed(failure));
    }
}

impl<T> Core<T> {
    /// Takes the next question for the provider. After [`Question::NoTarget`] and [`Question::Failed`], the core waits
    /// for an answer. After [`Question::Accepted`], it does not wait.
    pub(crate) fn take_question(&mut self) -> Option<Question> {
        self.supervision.as_mut().filter(|_| !matches!(self.phase, Phase::Ended))?.question.take()
    }

    /// Number of moves up to now. After a change of this number, the driver must use the target of its last
    /// [`Core::on_target`].
    pub(crate) fn moves(&self) -> u64 {
        self.supervision.as_ref().map_or(0, |it| it.moves)
    }

    /// The provider needs time for its answer.
    pub(crate) fn on_deciding(&mut self) {
        if matches!(self.phase, Phase::Deciding { .. }) && !matches!(self.state, ConnectionState::FindingHub) {
            self.set_state(ConnectionState::FindingHub);
        }
    }

    /// The provider has answered: keep the target, and wait at least for this time.
    pub(crate) fn on_stay(&mut self, now: Instant, at_least: Duration) {
        let Phase::Deciding { next_try } = self.phase else { return };
        let Some(supervision) = &self.supervision else { return };
        // A question that came during the decision is answered next.
        if supervision.question.is_some() {
            return;
        }
        let at_least = if supervision.has_target { at_least } else { at_least.max(ASK_AGAIN) };
        self.wait(now, next_try.max(later(now, at_least)));
    }

    /// The provider has answered: move to another target. If a connection is open, the client closes it first.
    pub(crate) fn on_target(&mut self, now: Instant, to: Move) {
        match self.phase {
            Phase::Ended | Phase::Disconnecting { then: AfterDisconnect::End, .. } => {}
            Phase::Up { .. } | Phase::Renewing { .. } => {
                self.plan(to);
                self.drain(now);
                self.advance(now);
            }
            Phase::Draining { .. } | Phase::Disconnecting { then: AfterDisconnect::Reopen, .. } => self.plan(to),
            Phase::Waiting { .. } | Phase::Deciding { .. } | Phase::Opening { .. } | Phase::Login { .. } => {
                self.move_to(now, to);
            }
        }
    }

    /// The provider ends the client.
    pub(crate) fn on_provider_end(&mut self, now: Instant, reason: CloseReason) {
        self.end_with(now, reason);
    }

    /// Connects again after a planned disconnect: to the next target if there is one.
    pub(super) fn reopen(&mut self, now: Instant) {
        match self.supervision.as_mut().and_then(|it| it.planned.take()) {
            Some(to) => self.move_to(now, to),
            None => self.open(now),
        }
    }

    /// Handles the end of a wait.
    pub(super) fn leave_wait(&mut self, now: Instant) {
        match &mut self.supervision {
            Some(supervision) if !supervision.has_target => {
                supervision.question = Some(Question::NoTarget);
                self.phase = Phase::Deciding { next_try: now };
            }
            _ => self.open(now),
        }
    }

    fn plan(&mut self, to: Move) {
        if let Some(supervision) = &mut self.supervision {
            supervision.planned = Some(to);
            // The old target was accepted during the decision. The provider would take this for the new target.
            supervision.question = None;
        }
    }

    /// Takes the new target. No connection is open, or it is dropped.
    fn move_to(&mut self, now: Instant, to: Move) {
        let Some(supervision) = &mut self.supervision else { return };
        supervision.moves += 1;
        supervision.has_target = true;
        // A question about the old target needs no answer any more.
        supervision.question = None;
        supervision.reset();
        if to.is_elsewhere {
            supervision.asked_until = None;
        }
        let not_before = to.not_before.max(supervision.asked_until.unwrap_or(now));
        self.forget_connection();
        // No hub has accepted the client with the new target yet.
        self.accepted_since = None;
        if to.is_elsewhere {
            self.flights.moved();
            self.failures.reset();
            self.takeovers = Takeovers::default();
            self.ack_timeout = self.setup.options.ack_timeout;
        }
        self.setup.target = to.target;
        if not_before > now { self.wait(now, not_before) } else { self.open(now) }
    }

    /// Waits for the next attempt.
    fn wait(&mut self, now: Instant, until: Instant) {
        self.phase = Phase::Waiting { until: until.max(now) };
        // Without a cause, nothing has failed: the client waits before its first attempt.
        if let Some(cause) = self.last_cause.clone().filter(|_| !matches!(self.state, ConnectionState::Renewing)) {
            let attempt = self.failures.attempt();
            self.set_state(ConnectionState::Disconnected { cause, attempt, next_try: until });
        }
    }
}
