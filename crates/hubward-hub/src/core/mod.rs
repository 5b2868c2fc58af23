//! Makes every decision of the client: what it sends and when, what a failure means, and how long it waits.
//!
//! The core has no socket, no task and no clock. These belong to the driver, which reports to the core what happened
//! and when.
//!
//! The driver must:
//!
//! * hold an attempt, a connection or neither, as [`Core::link`] requires;
//! * give the messages of [`Core::next_send`] to the connection, and report the events of the connection to the core;
//! * call [`Core::on_time`] at [`Core::next_deadline`];
//! * if the client has a provider, pass it the questions of [`Core::take_question`], pass its answers to the core, and
//!   use another target when [`Core::moves`] changes;
//! * resolve the receipts of [`Core::resolved`], return the permits of [`Core::freed`], and publish the state of
//!   [`Core::changed_state`].

mod backoff;
mod ending;
mod flights;
mod moves;
mod phase;
#[cfg(test)]
mod simulation;
mod takeovers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hubward_transport::{Credential, Fault, ProtoError, Stage, Tag, TransportError};
use tokio::time::Instant;

use self::backoff::FailureCounts;
use self::flights::Flights;
use self::moves::Supervision;
pub(crate) use self::moves::{Move, Question, TargetSetup};
pub(crate) use self::phase::Link;
use self::phase::{AfterDisconnect, Closing, Phase};
use self::takeovers::Takeovers;
use crate::outcome::{SendFailure, SendOutcome};
use crate::{CloseReason, ConnectionState, DisconnectCause, HubOptions};

/// Time limit for the orderly disconnect. The limit is short, because a program must end within a second after a stop
/// signal, even if the hub stops reading.
const DISCONNECT_LIMIT: Duration = Duration::from_millis(750);

/// Upper limit of the acknowledgement timeout, which doubles after each overdue acknowledgement.
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);

/// Minimum time between two checks of message deadlines. Each check goes through the whole queue, so frequent checks of
/// a long queue would be slow.
const DEADLINE_GRAIN: Duration = Duration::from_millis(10);

/// The settings of a core.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) options: HubOptions,
    /// Properties of the target. A client with a provider has no target at first; these are then placeholders.
    pub(crate) target: TargetSetup,
    /// Whether a provider chooses the hub.
    pub(crate) is_supervised: bool,
}

/// Whether the client logs in with a token, and whether it can get another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// The credential can sign another token.
    Renewable,
    /// A ready-made token.
    Fixed,
    /// No token: the client logs in with a certificate.
    Absent,
}

impl TokenKind {
    pub(crate) const fn of(credential: &Credential) -> Self {
        match credential {
            Credential::Certificate(_) => Self::Absent,
            it if it.is_renewable() => Self::Renewable,
            _ => Self::Fixed,
        }
    }
}

/// The lifetime of a token, and its age.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLife {
    pub(crate) span: Duration,
    pub(crate) age: Duration,
}

/// Makes the decisions of one client. `T` is the type of a message together with its receipt.
#[derive(Debug)]
pub(crate) struct Core<T> {
    setup: Setup,
    rng: Rng,
    phase: Phase,
    /// How many times the client has tried to connect. The count is also the number of the current attempt. The driver
    /// uses it to distinguish this attempt from earlier ones.
    attempts: u64,
    waiting: VecDeque<Waiting<T>>,
    flights: Flights<T>,
    resolved: Vec<(T, SendOutcome)>,
    freed: usize,
    /// No message reaches its deadline before this moment.
    next_expiry: Option<Instant>,
    /// No acknowledgement becomes overdue before this moment.
    next_overdue: Option<Instant>,
    ack_timeout: Duration,
    failures: FailureCounts,
    takeovers: Takeovers,
    /// The time at which the hub first accepted the client after the last failure. A planned reconnect is no failure,
    /// so it does not change this time.
    accepted_since: Option<Instant>,
    last_cause: Option<DisconnectCause>,
    was_connected: bool,
    /// What concerns the provider; `None` without one.
    supervision: Option<Box<Supervision>>,
    closing: Option<Closing>,
    /// Whether other parts of the client have unfinished work.
    hold: Hold,
    state: ConnectionState,
    state_changed: bool,
}

/// Whether other parts of the client have unfinished work, such as running methods. If `renewal` is true, a renewal
/// must wait for this work. If `close` is true, a close must wait for it.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    renewal: bool,
    close: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    message: T,
    deadline: Option<Instant>,
}

impl<T> Core<T> {
    pub(crate) fn new(setup: Setup, now: Instant) -> Self {
        let options = &setup.options;
        let supervision = setup.is_supervised.then(|| Box::new(Supervision::new()));
        let (phase, state) = match supervision {
            None => (Phase::Waiting { until: now }, ConnectionState::Connecting),
            Some(_) => (Phase::Deciding { next_try: now }, ConnectionState::FindingHub),
        };
        Self {
            rng: options.seed.map_or_else(Rng::new, Rng::with_seed),
            phase,
            attempts: 0,
            waiting: VecDeque::new(),
            flights: Flights::new(options.window),
            resolved: Vec::new(),
            freed: 0,
            next_expiry: None,
            next_overdue: None,
            ack_timeout: options.ack_timeout,
            failures: FailureCounts::default(),
            takeovers: Takeovers::default(),
            accepted_since: None,
            last_cause: None,
            was_connected: false,
            supervision,
            closing: None,
            hold: Hold::default(),
            state,
            state_changed: false,
            setup,
        }
    }

    // Commands of the program.

    /// Queues a message. If the client has ended, or has started its last disconnect, does not queue the message but
    /// resolves it as not sent.
    pub(crate) fn enqueue(&mut self, message: T, deadline: Option<Instant>) {
        if let Some(reason) = self.end_reason() {
            self.freed += 1;
            self.resolved.push((message, SendOutcome::NotSent(SendFailure::Closed(reason))));
            return;
        }
        if let Some(deadline) = deadline {
            self.next_expiry = Some(earlier(self.next_expiry, deadline));
        }
        self.waiting.push_back(Waiting { message, deadline });
    }

    /// Tells the core whether other parts of the client have unfinished work.
    ///
    /// If `renewal` is true, a planned reconnect waits for this work. If `close` is true, an orderly close waits for
    /// it. Both waits still have their time limits.
    pub(crate) const fn hold(&mut self, renewal: bool, close: bool) {
        self.hold = Hold { renewal, close };
    }

    // Events.

    /// The driver calls this when the current attempt has opened a connection. `life` is the life of the connection's
    /// token; `None` if the client has no token, or the token cannot be renewed.
    pub(crate) fn on_opened(&mut self, now: Instant, life: Option<TokenLife>) {
        if let Phase::Opening { until } = self.phase {
            let renew_at = life.map(|it| self.renew_at(now, it));
            self.phase = Phase::Login { until, renew_at };
        }
    }

    /// The driver calls this when the hub has accepted the login.
    pub(crate) fn on_ready(&mut self, now: Instant) {
        if let Phase::Login { renew_at, .. } = self.phase {
            self.phase = Phase::Up { renew_at };
            self.accepted_since.get_or_insert(now);
            self.was_connected = true;
            self.last_cause = None;
            if let Some(supervision) = &mut self.supervision {
                supervision.on_accepted();
            }
            self.set_state(ConnectionState::Connected);
        }
    }

    /// The driver calls this when the hub has acknowledged the message under `tag`.
    pub(crate) fn on_done(&mut self, now: Instant, tag: Tag) {
        let Some((message, sent_at)) = self.flights.acknowledged(tag) else { return };
        let usual = self.setup.options.ack_timeout;
        if self.ack_timeout != usual && now.saturating_duration_since(sent_at) < usual {
            self.ack_timeout = usual;
        }
        if let Some(message) = message {
            self.resolved.push((message, SendOutcome::Acknowledged));
        }
        if self.closing.is_some() || matches!(self.phase, Phase::Draining { .. }) {
            self.advance(now);
        }
    }

    /// The driver calls this when the connection cannot send the message that [`Core::next_send`] returned, for example
    /// because the message is too large. Resolves the message with `problem`. The connection stays usable.
    pub(crate) fn on_unsendable(&mut self, now: Instant, tag: Tag, again: bool, problem: ProtoError) {
        let was_sent = again || self.flights.was_moved(tag);
        if let Some((Some(message), _)) = self.flights.acknowledged(tag) {
            let problem = Box::new(problem);
            let outcome = match was_sent {
                true => SendOutcome::Unknown(SendFailure::Resend(problem)),
                false => SendOutcome::Refused(problem),
            };
            self.resolved.push((message, outcome));
        }
        self.advance(now);
    }

    /// The driver calls this when the attempt failed or the connection ended.
    pub(crate) fn on_lost(&mut self, now: Instant, error: TransportError) {
        self.fail(now, DisconnectCause::Transport(Arc::new(error)));
    }

    /// The driver calls this when the connection is closed after an orderly disconnect.
    pub(crate) fn on_disconnected(&mut self, now: Instant) {
        if let Phase::Disconnecting { then, .. } = self.phase {
            match then {
                AfterDisconnect::Reopen => self.reopen(now),
                AfterDisconnect::End => self.end(),
            }
        }
    }

    /// The driver calls this when the token was replaced in place.
    pub(crate) fn on_renewed(&mut self, now: Instant, life: TokenLife) {
        if matches!(self.phase, Phase::Renewing { .. }) {
            let renew_at = Some(self.renew_at(now, life));
            self.phase = Phase::Up { renew_at };
            self.set_state(ConnectionState::Connected);
        }
    }

    /// The driver calls this when the token of the connection or attempt is too old. Normally, a timer renews the token
    /// earlier. A token becomes too old only if the machine slept, its clock was set, or connecting took very long.
    ///
    /// Returns `true` if the core replaces the token now.
    pub(crate) fn on_token_old(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Up { renew_at: Some(at), .. } => *at = now,
            // The hub would refuse the old token, and the client would report this refusal as a wrong key. So the core
            // starts another attempt, with a new token.
            //
            // The new attempt keeps the time limit of the current one. With a new limit each time, a token that always
            // expires before the login would make the client retry for ever without a wait.
            Phase::Opening { until } | Phase::Login { until, .. } => {
                let until = *until;
                self.open(now);
                self.phase = Phase::Opening { until };
            }
            _ => return false,
        }
        true
    }

    /// Handles timers that are due; may be called before [`Core::next_deadline`].
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.expire(now);
        match self.phase {
            Phase::Waiting { until } if until <= now => self.leave_wait(now),
            Phase::Opening { until } if until <= now => self.timed_out(now, Stage::Connect),
            Phase::Login { until, .. } if until <= now => self.timed_out(now, Stage::Login),
            Phase::Renewing { until } if until <= now => self.timed_out(now, Stage::Exchange),
            Phase::Up { renew_at: Some(at) } if at <= now => self.renew(now),
            Phase::Draining { until } if until <= now => self.start_disconnect(now),
            Phase::Disconnecting { until, .. } if until <= now => self.on_disconnected(now),
            _ => {}
        }
        if self.next_overdue.is_some_and(|it| it <= now) {
            self.check_overdue(now);
        }
        if self.closing.as_ref().is_some_and(|it| it.until <= now) {
            self.finish(now);
        } else {
            self.advance(now);
        }
    }

    // Actions.

    /// Returns the moment at which the driver must call [`Core::on_time`] at the latest; `None` if no timer is set.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Waiting { until }
            | Phase::Opening { until }
            | Phase::Login { until, .. }
            | Phase::Renewing { until }
            | Phase::Draining { until }
            | Phase::Disconnecting { until, .. } => Some(until),
            Phase::Up { renew_at } => renew_at,
            Phase::Deciding { .. } | Phase::Ended => None,
        };
        let closing = self.closing.as_ref().map(|it| it.until).filter(|_| !self.is_ending());
        [phase, closing, self.next_expiry, self.next_overdue].into_iter().flatten().min()
    }

    /// The link that the driver must hold.
    pub(crate) const fn link(&self) -> Link {
        let attempt = self.attempts;
        match self.phase {
            Phase::Waiting { .. } | Phase::Deciding { .. } => Link::Nothing,
            Phase::Opening { .. } => Link::Opening(attempt),
            Phase::Login { .. } | Phase::Up { .. } | Phase::Draining { .. } => Link::Open(attempt),
            Phase::Renewing { .. } => Link::OpenRenewing(attempt),
            Phase::Disconnecting { .. } => Link::Disconnecting(attempt),
            Phase::Ended => Link::Ended,
        }
    }

    /// Returns the number of the attempt whose connection the hub has accepted; `None` if there is no such connection.
    pub(crate) const fn up(&self) -> Option<u64> {
        match self.phase {
            Phase::Up { .. } | Phase::Renewing { .. } | Phase::Draining { .. } => Some(self.attempts),
            _ => None,
        }
    }

    /// Returns `true` if messages and new requests may go to the hub; otherwise only replies may.
    ///
    /// While a renewal waits for other parts of the client, messages and requests may still go to the hub.
    ///
    /// For example, a running method may wait for a message that it sends, while the renewal waits for the method.
    ///
    /// In the last eighth of the renewal's time limit, the client sends no more messages and requests, only replies.
    /// This time is left for the hub's answers to earlier requests.
    pub(crate) fn may_request(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Up { .. } | Phase::Renewing { .. } => true,
            Phase::Draining { until } => {
                self.hold.renewal && until.saturating_duration_since(now) > self.setup.options.renewal_drain / 8
            }
            _ => false,
        }
    }

    /// Chooses the next message for the connection. Returns the tag of the message, and `true` if an earlier connection
    /// to the same hub may have sent it. The caller must check that the connection has room.
    pub(crate) fn next_send(&mut self, now: Instant) -> Option<(Tag, bool)> {
        if !self.may_request(now) {
            return None;
        }
        let next = match self.flights.next_again(now) {
            Some(next) => Some(next),
            None => self.next_new(now).map(|tag| (tag, false)),
        };
        if next.is_some() && self.next_overdue.is_none() {
            self.next_overdue = Some(now + self.ack_timeout);
        }
        next
    }

    /// The message that [`Core::next_send`] returned under this tag.
    pub(crate) fn message(&self, tag: Tag) -> Option<&T> {
        self.flights.message(tag)
    }

    /// Returns the list of resolved messages with their outcomes. The caller empties the list.
    pub(crate) const fn resolved(&mut self) -> &mut Vec<(T, SendOutcome)> {
        &mut self.resolved
    }

    /// Returns how many messages have left the queue since the last call.
    pub(crate) const fn freed(&mut self) -> usize {
        std::mem::replace(&mut self.freed, 0)
    }

    /// Returns the state if it changed since the last call.
    pub(crate) fn changed_state(&mut self) -> Option<ConnectionState> {
        std::mem::take(&mut self.state_changed).then(|| self.state.clone())
    }

    /// Returns why the last connection or attempt ended; `None` after a successful login.
    pub(crate) const fn last_cause(&self) -> Option<&DisconnectCause> {
        self.last_cause.as_ref()
    }

    fn next_new(&mut self, now: Instant) -> Option<Tag> {
        while !self.flights.is_full() {
            let Waiting { message, deadline } = self.waiting.pop_front()?;
            self.freed += 1;
            if deadline.is_none_or(|it| it > now) {
                return Some(self.flights.insert(message, deadline, now));
            }
            self.resolved.push((message, SendOutcome::NotSent(SendFailure::Deadline(self.last_cause.clone()))));
        }
        None
    }

    fn open(&mut self, now: Instant) {
        self.attempts += 1;
        self.phase = Phase::Opening { until: now + self.setup.options.login_deadline };
        if !matches!(self.state, ConnectionState::Renewing | ConnectionState::Connecting) {
            self.set_state(ConnectionState::Connecting);
        }
    }

    fn timed_out(&mut self, now: Instant, stage: Stage) {
        let after = self.setup.options.login_deadline;
        self.on_lost(now, TransportError::Timeout { endpoint: self.setup.target.endpoint.to_string(), stage, after });
    }

    fn fail(&mut self, now: Instant, mut cause: DisconnectCause) {
        match self.phase {
            // This connection is being closed anyway.
            Phase::Disconnecting { .. } => return self.on_disconnected(now),
            Phase::Waiting { .. } | Phase::Deciding { .. } | Phase::Ended => return,
            _ => {}
        }
        let accepted_for = self.end_accepted(now);
        if self.up().is_some()
            && let DisconnectCause::Transport(error) = &cause
            && let Some(takeovers) = self.takeovers.failed(now, error)
        {
            cause = DisconnectCause::DuplicateIdentity { takeovers, source: error.clone() };
        }
        self.forget_connection();
        // For the renewal, the client was about to replace this connection. So the end of the connection is not a
        // failure.
        if matches!(self.phase, Phase::Draining { .. }) {
            return self.reopen(now);
        }
        if let DisconnectCause::Transport(error) = &cause
            && self.supervision.is_none()
            && self.is_final(error)
        {
            self.last_cause = Some(cause.clone());
            return self.end_with(now, CloseReason::Refused(error.clone()));
        }
        let options = &self.setup.options;
        let wait = self.failures.failed(&cause, options, &mut self.rng);
        let wait = wait.max(self.takeovers.min_wait(options.duplicate_wait, &mut self.rng));
        let next_try = now + wait;
        self.phase = match &mut self.supervision {
            None => Phase::Waiting { until: next_try },
            Some(supervision) => {
                supervision.on_failed(now, &cause, accepted_for, wait);
                Phase::Deciding { next_try }
            }
        };
        self.last_cause = Some(cause.clone());
        self.set_state(ConnectionState::Disconnected { cause, attempt: self.failures.attempt(), next_try });
    }

    /// Returns `true` if the failure ends the client.
    ///
    /// Before the first successful login, a failure ends the client if a retry cannot succeed. After the first login, a
    /// failure ends the client only if the hub refuses a token that cannot be renewed. If the hub refuses a
    /// certificate, the client keeps trying, because an operator can enable the device again, or set its thumbprints.
    fn is_final(&self, error: &TransportError) -> bool {
        if self.was_connected {
            self.setup.target.token == TokenKind::Fixed && error.fault() == Fault::Credential
        } else {
            !error.is_retryable()
        }
    }

    /// Handles the end of the time during which the hub has accepted the client. If this time was at least
    /// [`HubOptions::backoff_reset_after`], resets the failure counts. Also reports the length of this time to
    /// [`Takeovers::lasted`]. Returns this length; `None` if the hub has not accepted the client since the last
    /// failure.
    fn end_accepted(&mut self, now: Instant) -> Option<Duration> {
        let lasted = now.saturating_duration_since(self.accepted_since.take()?);
        if lasted >= self.setup.options.backoff_reset_after {
            self.failures.reset();
            if let Some(supervision) = &mut self.supervision {
                supervision.reset();
            }
        }
        self.takeovers.lasted(lasted);
        Some(lasted)
    }

    fn forget_connection(&mut self) {
        self.flights.lost();
        self.next_overdue = None;
    }

    /// Returns the moment of the renewal: a random moment between 80 and 90 % of the token's life. The random part
    /// spreads the renewals of devices that started together.
    ///
    /// If connecting took most of the token's life, this moment may be near or past. So the renewal comes at the
    /// earliest a tenth of the token's life after `now`.
    fn renew_at(&mut self, now: Instant, life: TokenLife) -> Instant {
        let due = life.span.mul_f64(0.8 + 0.1 * self.rng.f64()).saturating_sub(life.age);
        now + due.max(life.span / 10)
    }

    fn renew(&mut self, now: Instant) {
        if self.setup.target.renew_in_place {
            self.set_state(ConnectionState::Renewing);
            self.phase = Phase::Renewing { until: now + self.setup.options.login_deadline };
        } else {
            self.drain(now);
        }
    }

    /// Starts to replace the connection: first waits for acknowledgements.
    fn drain(&mut self, now: Instant) {
        self.set_state(ConnectionState::Renewing);
        self.next_overdue = None;
        self.phase = Phase::Draining { until: now + self.setup.options.renewal_drain };
    }

    fn start_disconnect(&mut self, now: Instant) {
        self.forget_connection();
        self.phase = Phase::Disconnecting { until: now + DISCONNECT_LIMIT, then: AfterDisconnect::Reopen };
    }

    fn check_overdue(&mut self, now: Instant) {
        self.next_overdue = self.flights.oldest().map(|it| it + self.ack_timeout);
        if self.next_overdue.is_some_and(|it| it <= now) {
            let after = self.ack_timeout;
            self.ack_timeout = (after * 2).min(ACK_TIMEOUT_MAX.max(self.setup.options.ack_timeout));
            self.fail(now, DisconnectCause::AckOverdue { after });
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.next_expiry.is_none_or(|it| it > now) {
            return;
        }
        let cause = self.last_cause.clone();
        let failure = || SendFailure::Deadline(cause.clone());
        let mut earliest = None;
        for _ in 0..self.waiting.len() {
            let Some(it) = self.waiting.pop_front() else { break };
            match it.deadline {
                Some(deadline) if deadline <= now => {
                    self.freed += 1;
                    self.resolved.push((it.message, SendOutcome::NotSent(failure())));
                    continue;
                }
                Some(deadline) => earliest = Some(earlier(earliest, deadline)),
                None => {}
            }
            self.waiting.push_back(it);
        }
        let resolved = &mut self.resolved;
        let in_flight = self.flights.expire(now, |message| resolved.push((message, SendOutcome::Unknown(failure()))));
        self.next_expiry = [earliest, in_flight].into_iter().flatten().min().map(|it| it.max(now + DEADLINE_GRAIN));
    }

    fn set_state(&mut self, state: ConnectionState) {
        self.state = state;
        self.state_changed = true;
    }
}

fn earlier(known: Option<Instant>, other: Instant) -> Instant {
    known.map_or(other, |it| it.min(other))
}
