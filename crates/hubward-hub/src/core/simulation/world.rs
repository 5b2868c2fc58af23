//! Simulates a program, a machine and time, and checks the promises of the client.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use fastrand::Rng;
use hubward_transport::{Feature, Tag};
use tokio::time::Instant;

use super::EVENTS;
use super::coverage::{At, Kind, Seen};
use super::model::{Connection, Happening, Hub};
use super::planted::{Bug, Subject};
use super::provider::target;
use crate::core::phase::{AfterDisconnect, Phase};
use crate::core::{Core, DEADLINE_GRAIN, DISCONNECT_LIMIT, Setup, TokenKind};
use crate::features::Features;
use crate::incoming::Incoming;
use crate::outcome::{SendFailure, SendOutcome};
use crate::{Backoff, CloseReason, ConnectionState, HubOptions};

/// The number of actions of the program while a client lives.
const ACTIONS: std::ops::RangeInclusive<usize> = 8..=28;

/// Runs clients one after the other until enough events have happened. Returns the number of events.
pub(super) fn run(seed: u64, bug: Option<Bug>, seen: &mut Seen) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let mut events = 0;
    while events < EVENTS {
        events += World::new(rng.fork(), bug, seen).live();
    }
    events
}

/// The simulation's record of a message.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) deadline: Option<Instant>,
    /// The tag of its first transmission to the present hub.
    pub(super) tag: Option<Tag>,
    /// Whether the client has sent the message, to any hub.
    pub(super) is_sent: bool,
    /// Whether the peer has received the message.
    pub(super) taken: bool,
    pub(super) unsendable: bool,
    pub(super) outcome: Option<&'static str>,
}

/// Moment, order, connection, whether the event is late, and the event.
type Planned = (Instant, u64, u64, bool, Happening);

/// The life of one client.
pub(super) struct World<'a> {
    pub(super) rng: Rng,
    start: Instant,
    pub(super) now: Instant,
    pub(super) core: Subject,
    pub(super) features: Features,
    pub(super) window: usize,
    pub(super) records: Vec<Record>,
    /// The messages that have no outcome yet.
    pub(super) open: BTreeSet<usize>,
    pub(super) hub: Hub,
    pub(super) connection: Connection,
    future: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    events: u64,
    /// The last values given to [`Core::hold`]: renewal and close.
    hold: (bool, bool),
    close_until: Option<Instant>,
    /// The last message that was sent for the first time, and the last one that arrived for the first time.
    pub(super) last_new: Option<usize>,
    pub(super) last_taken: Option<usize>,
    /// The number of moves that the simulation has followed.
    pub(super) moves: u64,
    /// Whether the last planned move goes to another hub.
    pub(super) is_elsewhere: bool,
    /// Whether the provider works on a decision that the client waits for.
    pub(super) is_deciding: bool,
    /// The version of the newest desired properties that the program got.
    pub(super) desired: u64,
    seen: &'a mut Seen,
    /// The failure rate of this world, 0 to 1.
    pub(super) rough: f64,
    /// Another client has the same identity.
    pub(super) fought: bool,
    /// The usual delay in this world, in seconds.
    slow: f64,
}

impl<'a> World<'a> {
    fn new(mut rng: Rng, bug: Option<Bug>, seen: &'a mut Seen) -> Self {
        let start = Instant::now();
        let window = rng.u16(1..=8);
        let life = rng.u64(3..=20);
        let options = HubOptions::default()
            .window(window)
            .login_deadline(Duration::from_secs(5))
            .ack_timeout(Duration::from_secs(3))
            .token_lifetime(Duration::from_secs(life))
            .renewal_drain(Duration::from_secs(1))
            .backoff(Backoff::new(Duration::from_millis(200), Duration::from_secs(2)))
            .refused_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(4)))
            .backoff_reset_after(Duration::from_secs(4))
            .duplicate_wait(Duration::from_secs(3))
            .twin_timeout(Duration::from_secs(3))
            .seed(Some(rng.u64(..)));
        let mut features = Features::new(&options, Incoming::new(&options).0);
        for feature in [Feature::TwinResponses, Feature::Desired, Feature::Methods] {
            if rng.u8(..4) > 0 {
                features.subscribe(feature);
            }
        }
        let setup = Setup { options, target: target(&mut rng), is_supervised: rng.u8(..3) == 0 };
        Self {
            start,
            now: start,
            core: Subject::new(Core::new(setup, start), bug),
            features,
            window: window.into(),
            records: Vec::new(),
            open: BTreeSet::new(),
            hub: Hub { desired: 1, ..Hub::default() },
            connection: Connection::default(),
            future: BinaryHeap::new(),
            planned: 0,
            events: 0,
            hold: (false, false),
            close_until: None,
            last_new: None,
            last_taken: None,
            moves: 0,
            is_elsewhere: false,
            is_deciding: false,
            desired: 0,
            seen,
            rough: rng.f64() * rng.f64(),
            fought: rng.u8(..10) == 0,
            slow: if rng.bool() { 0.2 } else { 5.0 },
            rng,
        }
    }

    /// Runs one client from its first attempt to its end. Returns the number of events.
    fn live(mut self) -> u64 {
        for _ in 0..self.rng.usize(ACTIONS) {
            self.act();
            let pause = if self.rng.u8(..10) == 0 { 20.0 } else { 1.0 };
            let until = self.now + self.delay(pause);
            self.live_until(until);
            if self.at() == At::Ended && self.rng.u8(..4) == 0 {
                break;
            }
        }
        if self.rng.u8(..6) == 0 {
            self.calm();
        }
        self.finish();
        self.events
    }

    /// One action of the program or the machine.
    fn act(&mut self) {
        self.events += 1;
        match self.rng.u16(..1000) {
            0..750 => {
                for _ in 0..self.rng.usize(1..=self.window + 2) {
                    let deadline = match self.rng.u8(..4) {
                        0 => Some(self.now + self.delay(0.5)),
                        1 => Some(self.now + self.delay(10.0)),
                        _ => None,
                    };
                    self.enqueue(deadline);
                }
            }
            750..800 if self.core.setup.target.token == TokenKind::Renewable && self.at() != At::Ended => {
                self.note(Kind::ClockJump);
                self.core.on_token_old(self.now);
                self.core.on_time(self.now);
            }
            800..850 => self.hold = (self.rng.bool(), self.rng.bool()),
            850..930 => self.change_desired(),
            930..940 => {
                let flush = self.delay(20.0);
                self.close(flush);
            }
            940..944 => self.drop_handles(),
            944..948 => self.abort(),
            950..990 if self.core.setup.is_supervised => self.move_on_request(),
            _ => {}
        }
        self.drive();
    }

    fn enqueue(&mut self, deadline: Option<Instant>) -> usize {
        self.note(Kind::Queued);
        let message = self.records.len();
        let unsendable = self.rng.u8(..100) == 0;
        self.records.push(Record { deadline, unsendable, ..Record::default() });
        self.open.insert(message);
        self.core.enqueue(message, deadline);
        message
    }

    fn close(&mut self, flush: Duration) {
        self.note(Kind::Close);
        self.end_by(self.now + flush, CloseReason::Requested);
    }

    fn drop_handles(&mut self) {
        self.note(Kind::Drop);
        self.end_by(self.now, CloseReason::Dropped);
    }

    fn end_by(&mut self, until: Instant, reason: CloseReason) {
        self.close_until = Some(self.close_until.map_or(until, |it| it.min(until)));
        self.core.close(self.now, until, reason);
        self.time();
        self.drive();
    }

    /// The task is aborted.
    fn abort(&mut self) {
        if self.at() != At::Ended {
            self.note(Kind::Abort);
            self.core.abort(self.now);
            self.drive();
            assert_eq!(self.at(), At::Ended, "{}", self.about());
        }
    }

    /// No more failures: everything arrives in the end.
    fn calm(&mut self) {
        (self.rough, self.slow, self.fought) = (0.0, 0.2, false);
        self.hold = (false, false);
        self.connection.mute = false;
        self.change_desired();
        let until = self.now + Duration::from_secs(100);
        self.live_until(until);
        if self.core.is_closing() || self.at() == At::Ended {
            return;
        }
        assert!(self.open.is_empty(), "{:?} never arrive: {}", self.open, self.about());
        if self.hub.is_followed() {
            assert_eq!(self.desired, self.hub.desired, "the newest state never arrives: {}", self.about());
        }
    }

    fn finish(&mut self) {
        let flush = self.delay(8.0);
        let by_now = self.now + flush + DISCONNECT_LIMIT;
        match self.rng.u8(..10) {
            0 => self.abort(),
            1 | 2 => self.drop_handles(),
            _ => self.close(flush),
        }
        self.live_until(by_now);
        self.note(Kind::Close);
        self.core.close(self.now, self.now, CloseReason::Requested);
        self.drive();
        assert_eq!(self.at(), At::Ended, "{}", self.about());
        assert_eq!(self.core.next_deadline(), None, "a timer is still set: {}", self.about());
        assert!(self.core.changed_state().is_none());
        assert!(self.core.state.is_closed());
        assert!(self.open.is_empty(), "messages have no outcome: {}", self.about());
        let late = self.enqueue(None);
        self.drive();
        assert_eq!(self.records[late].outcome, Some("not sent"));
        self.features.end(&CloseReason::Requested);
    }

    /// Handles every event up to `until`.
    fn live_until(&mut self, until: Instant) {
        loop {
            let timers = [self.core.next_deadline(), self.features.next_deadline()];
            // The driver owns the features' timers, so these timers end with the driver.
            let timers = if self.at() == At::Ended { [self.core.next_deadline(), None] } else { timers };
            let timer = timers.into_iter().flatten().min().filter(|it| *it <= until);
            let event = self.future.peek().map(|Reverse((at, ..))| *at).filter(|it| *it <= until);
            self.events += 1;
            match (timer, event) {
                (None, None) => break,
                (Some(timer), event) if event.is_none_or(|it| timer <= it) => {
                    self.now = self.now.max(timer);
                    self.time();
                }
                _ => {
                    let Some(Reverse((at, _, number, late, happening))) = self.future.pop() else { break };
                    self.now = self.now.max(at);
                    // If a timer is due and an event has arrived, a driver may handle either of them first. So choose
                    // at random whether to handle the timers before the event.
                    if self.rng.bool() {
                        self.time();
                        self.drive();
                    }
                    // The events of a connection end with the connection.
                    if number == self.connection.number {
                        self.happen(happening, late);
                    }
                }
            }
            self.drive();
        }
        self.now = self.now.max(until);
        self.time();
        self.drive();
        let late = DEADLINE_GRAIN + Duration::from_millis(1);
        for message in &self.open {
            let past = self.records[*message].deadline.is_some_and(|it| it + late < self.now);
            assert!(!past, "message {message} is past its deadline: {}", self.about());
        }
    }

    fn time(&mut self) {
        let before = self.at();
        let due = match self.core.phase {
            Phase::Opening { until }
            | Phase::Login { until, .. }
            | Phase::Renewing { until }
            | Phase::Draining { until }
            | Phase::Disconnecting { until, .. } => Some((Kind::Hang, until)),
            Phase::Up { renew_at: Some(at) } => Some((Kind::Renewal, at)),
            Phase::Up { renew_at: None } | Phase::Waiting { .. } | Phase::Deciding { .. } | Phase::Ended => None,
        };
        let overdue = self.core.next_overdue.filter(|_| self.core.may_request(self.now)).map(|it| (Kind::Overdue, it));
        let closes = self.close_until.is_some_and(|it| it <= self.now);
        self.features.on_time(self.now);
        self.core.hold(self.hold.0, self.hold.1);
        self.core.on_time(self.now);
        self.receive_at(before);
        if self.at() == before || closes {
            return;
        }
        let is_over = |it: &(Kind, Instant)| it.1 <= self.now;
        if let Some((kind, _)) = due.filter(is_over).or_else(|| overdue.filter(is_over)) {
            self.seen.note(kind, before);
        }
    }

    /// Records the outcomes of messages, and the desired properties.
    pub(super) fn receive(&mut self) {
        self.receive_at(self.at());
    }

    fn receive_at(&mut self, at: At) {
        for (message, outcome) in self.core.take_resolved() {
            self.open.remove(&message);
            let record = &mut self.records[message];
            let (what, is_true) = match outcome {
                SendOutcome::Acknowledged => ("acknowledged", record.taken),
                SendOutcome::Refused(_) => ("refused", !record.is_sent && record.unsendable),
                SendOutcome::NotSent(_) => ("not sent", !record.is_sent && !record.taken),
                SendOutcome::Unknown(_) => ("unknown", record.is_sent),
            };
            let (before, is_sent) = (record.outcome.replace(what), record.is_sent);
            let is_over = record.deadline.is_some_and(|it| it <= self.now);
            assert_eq!(before, None, "message {message} was resolved already: {}", self.about());
            assert!(is_true, "message {message} is not {what}: {}", self.about());
            if let SendOutcome::NotSent(SendFailure::Deadline(_)) | SendOutcome::Unknown(SendFailure::Deadline(_)) =
                outcome
            {
                assert!(is_over, "message {message} resolved too early: {}", self.about());
                self.seen.note(if is_sent { Kind::ExpiredInFlight } else { Kind::ExpiredUnsent }, at);
            }
        }
        if let Some(desired) = self.features.take_newest() {
            let (before, version) = (std::mem::replace(&mut self.desired, desired.version), desired.version);
            assert!(before < version, "desired {version} after {before}: {}", self.about());
            assert!(version <= self.hub.desired, "version {version} does not exist yet: {}", self.about());
            let value = desired.values.get("n").and_then(serde_json::Value::as_u64);
            assert_eq!(value, Some(version), "a version with the values of another one: {}", self.about());
        }
        let _state = self.core.changed_state();
    }

    pub(super) fn check(&self) {
        assert!(self.core.flights.len() <= self.window, "{}", self.about());
        if let Some(until) = self.close_until {
            let ended = self.core.is_ending() || self.now < until;
            assert!(ended, "still open after the flush time: {}", self.about());
            // If a caller closed the client, the caller's time limit includes the orderly disconnect. If the client
            // ends for another reason, it may take `DISCONNECT_LIMIT` longer for the orderly disconnect.
            let requested = matches!(self.core.closing.as_ref().map(|it| &it.reason), Some(CloseReason::Requested));
            let polite = if requested { Duration::ZERO } else { DISCONNECT_LIMIT };
            let ended = self.at() == At::Ended || self.now <= until + polite;
            assert!(ended, "disconnects after the flush time: {}", self.about());
        }
        // A client that has not ended must have a timer, or a connection that may deliver an event.
        let is_waiting = matches!(self.core.phase, Phase::Up { .. }) || self.at() == At::Deciding && self.is_deciding;
        let quiet = self.core.next_deadline().is_none() && !is_waiting;
        assert!(!quiet || self.at() == At::Ended, "the client waits for ever: {}", self.about());
    }

    pub(super) fn at(&self) -> At {
        let renewing = matches!(self.core.state, ConnectionState::Renewing);
        match self.core.phase {
            Phase::Waiting { .. } => At::Waiting,
            Phase::Deciding { .. } => At::Deciding,
            Phase::Opening { .. } if renewing => At::Reopening,
            Phase::Opening { .. } => At::Opening,
            Phase::Login { .. } if renewing => At::Relogin,
            Phase::Login { .. } => At::Login,
            Phase::Up { .. } => At::Up,
            Phase::Renewing { .. } => At::Renewing,
            Phase::Draining { .. } => At::Draining,
            Phase::Disconnecting { then: AfterDisconnect::Reopen, .. } => At::Disconnecting,
            Phase::Disconnecting { then: AfterDisconnect::End, .. } => At::FinalDisconnect,
            Phase::Ended => At::Ended,
        }
    }

    pub(super) fn note(&mut self, kind: Kind) {
        self.seen.note(kind, self.at());
    }

    pub(super) fn note_at(&mut self, kind: Kind, at: At) {
        self.seen.note(kind, at);
    }

    pub(super) fn delay(&mut self, most: f64) -> Duration {
        Duration::from_secs_f64(most * self.rng.f64())
    }

    /// Plans an event. Its delay is random, between `least` and `least + most` times the usual delay of this world.
    pub(super) fn later(&mut self, least: f64, most: f64, happening: Happening) {
        let after = Duration::from_secs_f64(least * self.slow) + self.delay(most * self.slow);
        self.at_time(self.now + after, happening);
    }

    pub(super) fn at_time(&mut self, at: Instant, happening: Happening) {
        /// From this delay on, an event counts as late.
        const LATE: Duration = Duration::from_millis(500);
        self.planned += 1;
        let late = at.saturating_duration_since(self.now) > LATE;
        self.future.push(Reverse((at, self.planned, self.connection.number, late, happening)));
    }

    pub(super) fn about(&self) -> String {
        let at = self.now - self.start;
        format!("at {at:?}, {:?}, {:?}, {:?}", self.core.phase, self.connection, self.hub)
    }
}
