//! The core against a peer made of dice, in virtual time: cuts, delays, lost, late, repeated and
//! reordered acknowledgements, refused logins, hanging attempts, renewals, closes at any moment.
//!
//! A failing seed is printed; `HUBWARD_SEED=<seed> cargo test -p hubward-hub simulation` runs it
//! alone, `HUBWARD_SEEDS=<count>` runs more of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use hubward_transport::{Refusal, RefusedBy};

use super::*;
use crate::Backoff;

/// Seeds in a normal test run.
const SEEDS: u64 = 2_000;

/// What the program does in one run.
const ACTIONS: usize = 80;

#[test]
fn every_promise_holds_whatever_happens() {
    let mut seen = BTreeMap::new();
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    if let Some(seed) = number("HUBWARD_SEED") {
        World::new(seed, &mut seen).run();
        return;
    }
    let seeds = number("HUBWARD_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| World::new(seed, &mut seen).run()));
        if let Err(panic) = run {
            eprintln!("seed {seed} fails; run it alone with HUBWARD_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    if seeds >= SEEDS {
        for wanted in COVERED {
            assert!(seen.get(wanted).is_some_and(|it| *it >= 10), "{wanted:?} was hardly met: {seen:#?}");
        }
    }
}

/// What must have happened, and in which phase, for the run to mean anything.
const COVERED: &[(&str, &str)] = &[
    ("open failed", "opening"),
    ("login refused", "login"),
    ("login refused for good", "login"),
    ("cut", "login"),
    ("cut", "up"),
    ("cut", "renewing"),
    ("cut", "draining"),
    ("cut", "leaving"),
    ("timer", "opening"),
    ("timer", "login"),
    ("timer", "renewing"),
    ("timer", "draining"),
    ("timer", "leaving"),
    ("overdue", "up"),
    ("overdue", "renewing"),
    ("wall clock", "up"),
    ("close", "waiting"),
    ("close", "opening"),
    ("close", "login"),
    ("close", "up"),
    ("close", "renewing"),
    ("close", "draining"),
    ("close", "leaving"),
    ("close", "ended"),
    ("answered twice", "up"),
    ("answer out of order", "up"),
    ("answer to nothing", "up"),
    ("unsendable", "up"),
    ("expired unsent", "waiting"),
    ("expired unsent", "up"),
    ("expired in flight", "waiting"),
    ("expired in flight", "up"),
    ("sent again", "up"),
    ("session lost", "login"),
];

/// A token that was just made.
const FRESH: Life = Life { span: Duration::from_secs(20), age: Duration::ZERO };

type Seen = BTreeMap<(&'static str, &'static str), u64>;

/// What the peer and the network do, later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Opened,
    OpenFails,
    Ready,
    LoginRefused(u8),
    Arrives(usize, Tag),
    Answer(Tag),
    Cut,
    Left,
    Renewed,
}

/// What the dice know about a message.
#[derive(Debug, Default)]
struct Record {
    deadline: Option<Instant>,
    /// The tag of its first transmission.
    tag: Option<Tag>,
    taken: bool,
    unsendable: bool,
    outcome: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Connection {
    number: u64,
    open: bool,
    /// When the next message arrives at the earliest: a stream keeps its order.
    arrives: Option<Instant>,
    /// Sent and not yet arrived.
    on_the_way: usize,
    unanswered: BTreeMap<Tag, usize>,
    /// The last message of those that were sent again, and whether a new one was sent.
    last_again: Option<usize>,
    sent_new: bool,
    leaving: bool,
    renewing: bool,
    /// Nothing arrives any more, in neither direction.
    dead: bool,
}

struct World<'a> {
    seed: u64,
    rng: Rng,
    start: Instant,
    now: Instant,
    core: Core<usize>,
    window: usize,
    records: Vec<Record>,
    /// The messages that have no outcome yet.
    open: BTreeSet<usize>,
    connection: Connection,
    future: BinaryHeap<Reverse<(Instant, u64, u64, Happening)>>,
    happened: u64,
    last_new: Option<usize>,
    was_connected: bool,
    close_until: Option<Instant>,
    seen: &'a mut Seen,
    /// How rough this world is, 0 to 1.
    rough: f64,
    max_delay: f64,
}

impl<'a> World<'a> {
    fn new(seed: u64, seen: &'a mut Seen) -> Self {
        let mut rng = Rng::with_seed(seed);
        let start = Instant::now();
        let window = rng.u16(1..=8);
        let options = HubOptions::default()
            .window(window)
            .login_deadline(Duration::from_secs(5))
            .ack_timeout(Duration::from_secs(3))
            .token_lifetime(Duration::from_secs(20))
            .renewal_drain(Duration::from_secs(1))
            .backoff(Backoff::new(Duration::from_millis(200), Duration::from_secs(2)))
            .refused_backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(4)))
            .lasting(Duration::from_secs(4))
            .duplicate_wait(Duration::from_secs(3))
            .seed(Some(seed));
        let setup = Setup {
            options,
            endpoint: "hub.example:8883".into(),
            renewable: rng.f64() < 0.9,
            renew_in_place: rng.bool(),
        };
        Self {
            seed,
            start,
            now: start,
            core: Core::new(setup, start),
            window: window.into(),
            records: Vec::new(),
            open: BTreeSet::new(),
            connection: Connection::default(),
            future: BinaryHeap::new(),
            happened: 0,
            last_new: None,
            was_connected: false,
            close_until: None,
            seen,
            rough: rng.f64() * rng.f64(),
            max_delay: if rng.bool() { 0.2 } else { 5.0 },
            rng,
        }
    }

    fn run(mut self) {
        for _ in 0..ACTIONS {
            self.act();
            let pause = if self.rng.u8(..10) == 0 { 20.0 } else { 1.0 };
            let until = self.now + self.delay(pause);
            self.live_until(until);
        }
        let flush = self.delay(8.0);
        self.close(flush);
        self.live_until(self.now + flush + GOODBYE);
        self.note("close");
        self.core.close(self.now, self.now, CloseReason::Requested);
        self.drive();
        assert!(matches!(self.core.phase, Phase::Ended), "{}", self.about());
        assert_eq!(self.core.next_deadline(), None, "a timer is left: {}", self.about());
        assert!(self.core.changed_state().is_none());
        assert!(self.core.state.is_closed());
        assert!(self.open.is_empty(), "messages are left without an answer: {}", self.about());
        let late = self.enqueue(None);
        self.drive();
        assert_eq!(self.records[late].outcome, Some("not sent"));
    }

    /// One thing that a program or the machine does.
    fn act(&mut self) {
        match self.rng.u8(..100) {
            0..80 => {
                for _ in 0..self.rng.usize(1..=2 * self.window) {
                    let deadline = match self.rng.u8(..4) {
                        0 => Some(self.now + self.delay(0.5)),
                        1 => Some(self.now + self.delay(30.0)),
                        _ => None,
                    };
                    self.enqueue(deadline);
                }
            }
            80..85 => {
                self.note("wall clock");
                self.core.on_token_old(self.now);
                self.core.on_time(self.now);
            }
            85 if self.rng.u8(..6) == 0 => {
                let flush = self.delay(20.0);
                self.close(flush);
            }
            _ => {}
        }
        self.drive();
    }

    fn enqueue(&mut self, deadline: Option<Instant>) -> usize {
        let message = self.records.len();
        let unsendable = self.rng.u8(..100) == 0;
        self.records.push(Record { deadline, unsendable, ..Record::default() });
        self.open.insert(message);
        self.core.enqueue(message, deadline);
        message
    }

    fn close(&mut self, flush: Duration) {
        self.note("close");
        let until = self.now + flush;
        self.close_until = Some(self.close_until.map_or(until, |it| it.min(until)));
        self.core.close(self.now, until, CloseReason::Requested);
        self.drive();
    }

    /// Lets everything happen that happens until then.
    fn live_until(&mut self, until: Instant) {
        loop {
            let timer = self.core.next_deadline().filter(|it| *it <= until);
            let event = self.future.peek().map(|Reverse((at, ..))| *at).filter(|it| *it <= until);
            // A driver may be late or see both at once.
            match (timer, event) {
                (None, None) => break,
                (Some(timer), event) if event.is_none_or(|it| timer <= it) => {
                    self.now = self.now.max(timer);
                    self.time();
                }
                _ => {
                    let Some(Reverse((at, _, number, happening))) = self.future.pop() else { break };
                    self.now = self.now.max(at);
                    if self.rng.bool() {
                        self.time();
                    }
                    // What belongs to a connection that is gone, is gone with it.
                    if number == self.connection.number {
                        self.happen(happening);
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
        let before = self.phase();
        let overdue = self.core.next_overdue.is_some_and(|it| it <= self.now);
        self.core.on_time(self.now);
        if self.phase() != before {
            let what = if overdue { "overdue" } else { "timer" };
            *self.seen.entry((what, before)).or_default() += 1;
        }
    }

    fn happen(&mut self, happening: Happening) {
        if self.connection.dead && happening != Happening::Cut {
            return;
        }
        match happening {
            Happening::Opened => {
                self.connection.open = true;
                let life = self.core.setup.renewable.then_some(FRESH);
                self.core.on_opened(self.now, life);
            }
            Happening::OpenFails => {
                self.note("open failed");
                let source = std::io::ErrorKind::ConnectionRefused.into();
                self.core.on_lost(self.now, TransportError::Connect { endpoint: "hub".into(), source });
                self.connection.number = 0;
            }
            Happening::Ready => {
                // Session or not: what is unanswered is sent again. The core is not even told.
                if self.was_connected && self.rng.bool() {
                    self.note("session lost");
                }
                self.was_connected = true;
                self.core.on_ready(self.now);
                assert!(matches!(self.core.state, ConnectionState::Connected));
            }
            Happening::LoginRefused(code) => {
                self.note(if code == 5 { "login refused for good" } else { "login refused" });
                let refusal = Refusal::new("hub".into(), Stage::Login, RefusedBy::Connack(code));
                self.core.on_lost(self.now, TransportError::Refused(Box::new(refusal)));
                let gives_up = code == 5 && (!self.was_connected || !self.core.setup.renewable);
                assert_eq!(self.core.is_ending(), gives_up, "{}", self.about());
                self.connection.number = 0;
            }
            Happening::Arrives(message, tag) => {
                self.connection.on_the_way -= 1;
                self.records[message].taken = true;
                // A hub that throttles answers late; one that is ill, never.
                if self.rng.f64() > 0.1 * self.rough {
                    self.later(Happening::Answer(tag), 1.0);
                }
            }
            Happening::Answer(tag) => self.answer(tag),
            Happening::Cut => {
                self.note("cut");
                self.core.on_lost(self.now, cut());
                self.connection.number = 0;
            }
            Happening::Left => self.core.on_left(self.now),
            Happening::Renewed => {
                self.connection.renewing = false;
                self.core.on_renewed(self.now, FRESH);
            }
        }
    }

    fn answer(&mut self, tag: Tag) {
        let stray = Tag(std::num::NonZeroU16::MIN.saturating_add(self.rng.u16(..10)));
        if !self.connection.unanswered.contains_key(&stray) {
            self.note("answer to nothing");
            self.core.on_done(self.now, stray);
        }
        if self.connection.leaving {
            return;
        }
        let first = self.connection.unanswered.values().min().copied();
        let message = self.connection.unanswered.remove(&tag).expect("one answer for each arrival");
        if Some(message) != first {
            self.note("answer out of order");
        }
        self.core.on_done(self.now, tag);
        if self.rng.u8(..20) == 0 {
            self.note("answered twice");
            self.core.on_done(self.now, tag);
        }
    }

    /// Does what a driver does after anything happened.
    fn drive(&mut self) {
        loop {
            let link = self.core.link();
            match link {
                Link::Nothing | Link::Ended => self.connection = Connection::default(),
                Link::Opening(number) if self.connection.number != number => self.begin(number),
                Link::Opening(_) => {}
                Link::Open(number) | Link::OpenRenewing(number) => {
                    assert!(self.connection.open && self.connection.number == number, "{}", self.about());
                    if matches!(link, Link::OpenRenewing(_)) && !self.connection.renewing {
                        self.connection.renewing = true;
                        self.later(Happening::Renewed, 1.0);
                    }
                    self.send();
                }
                // The connection broke in the same moment.
                Link::Leaving(number) if self.connection.number != number => self.core.on_left(self.now),
                Link::Leaving(_) => {
                    if !self.connection.leaving {
                        self.connection.leaving = true;
                        let end = if self.rng.u8(..8) == 0 { Happening::Cut } else { Happening::Left };
                        self.later(end, 0.5);
                    }
                }
            }
            self.receive();
            if self.core.link() == link {
                break;
            }
        }
        self.check();
    }

    /// A new attempt; its fate is thrown now.
    fn begin(&mut self, number: u64) {
        self.connection = Connection { number, ..Connection::default() };
        let fate = self.rng.f64();
        if fate < 0.3 * self.rough {
            if self.rng.bool() {
                self.later(Happening::OpenFails, 1.0);
            }
            return;
        }
        self.later(Happening::Opened, 0.3);
        if self.rng.f64() < 0.3 * self.rough {
            let code = if self.rng.u8(..3) == 0 { 5 } else { 3 };
            match self.rng.u8(..4) {
                0 => {}
                1 => self.later_from(0.3, Happening::Cut, 0.5),
                _ => self.later_from(0.3, Happening::LoginRefused(code), 0.5),
            }
            return;
        }
        self.later_from(0.3, Happening::Ready, 0.3);
        if self.rng.f64() < self.rough {
            self.later_from(0.6, Happening::Cut, 25.0);
        }
    }

    fn send(&mut self) {
        let buffer = 1 + self.rng.usize(..10);
        while self.connection.on_the_way < buffer {
            let next = self.core.next_send(self.now);
            self.receive();
            let Some((tag, again)) = next else { break };
            let message = *self.core.ticket(tag).expect("a message under the tag");
            let record = &self.records[message];
            assert_eq!(again, record.tag.is_some(), "DUP is set exactly on repetitions: {}", self.about());
            assert!(record.outcome.is_none(), "{message} was resolved and is sent: {}", self.about());
            assert!(record.tag.is_none_or(|it| it == tag), "the id is kept: {}", self.about());
            if again {
                *self.seen.entry(("sent again", "up")).or_default() += 1;
                assert!(!self.connection.sent_new, "repetitions come first: {}", self.about());
                assert!(self.connection.last_again < Some(message), "repetitions in order: {}", self.about());
                self.connection.last_again = Some(message);
            } else {
                self.connection.sent_new = true;
                assert!(self.last_new < Some(message), "first transmissions in order: {}", self.about());
                self.last_new = Some(message);
                for earlier in self.open.range(..message) {
                    let sent = self.connection.unanswered.values().any(|it| it == earlier);
                    assert!(sent, "{earlier} is not sent again before {message}: {}", self.about());
                }
            }
            if record.unsendable {
                *self.seen.entry(("unsendable", "up")).or_default() += 1;
                self.core.on_unsendable(self.now, tag, again, ProtoError::Missing("a reason"));
                continue;
            }
            self.records[message].tag = Some(tag);
            let reused = self.connection.unanswered.insert(tag, message);
            assert!(reused.is_none(), "{tag:?} is not answered yet: {}", self.about());
            assert!(self.connection.unanswered.len() <= self.window, "{}", self.about());
            self.connection.on_the_way += 1;
            let at = self.connection.arrives.unwrap_or(self.now).max(self.now + self.delay(0.1));
            self.connection.arrives = Some(at);
            self.at(at, Happening::Arrives(message, tag));
            if self.rng.f64() < 0.01 * self.rough {
                self.connection.dead = true;
            }
        }
    }

    /// Notes what became of messages.
    fn receive(&mut self) {
        let phase = self.phase();
        for (message, outcome) in std::mem::take(self.core.resolved()) {
            let about = format!("message {message}, {outcome:?}, seed {}", self.seed);
            self.open.remove(&message);
            let record = &mut self.records[message];
            let (what, allowed) = match outcome {
                Outcome::Acknowledged => ("acknowledged", record.taken),
                Outcome::Refused(_) => ("refused", record.tag.is_none() && record.unsendable),
                Outcome::NotSent(_) => ("not sent", record.tag.is_none()),
                Outcome::Unknown(_) => ("unknown", record.tag.is_some()),
            };
            assert!(allowed, "untrue: {about}");
            assert_eq!(record.outcome.replace(what), None, "resolved twice: {about}");
            if let Outcome::NotSent(Cut::Deadline(_)) | Outcome::Unknown(Cut::Deadline(_)) = outcome {
                assert!(record.deadline.is_some_and(|it| it <= self.now), "too early: {about}");
                let what = if record.tag.is_none() { "expired unsent" } else { "expired in flight" };
                *self.seen.entry((what, phase)).or_default() += 1;
            }
        }
        let _state = self.core.changed_state();
    }

    fn check(&mut self) {
        let held = self.core.waiting.len() + self.core.flights.unresolved();
        assert_eq!(self.open.len(), held, "{}", self.about());
        assert!(self.core.flights.len() <= self.window, "{}", self.about());
        if let Some(until) = self.close_until {
            let ended = self.core.is_ending() || self.now < until;
            assert!(ended, "still open after the flush time: {}", self.about());
            let ended = matches!(self.core.phase, Phase::Ended) || self.now <= until;
            assert!(ended, "says good-bye after the flush time: {}", self.about());
        }
        // Whatever is not over has a timer or a connection that may speak.
        let quiet = self.core.next_deadline().is_none() && !matches!(self.core.phase, Phase::Up { .. });
        assert_eq!(quiet, matches!(self.core.phase, Phase::Ended), "{}", self.about());
    }

    fn phase(&self) -> &'static str {
        match self.core.phase {
            Phase::Waiting { .. } => "waiting",
            Phase::Opening { .. } => "opening",
            Phase::Login { .. } => "login",
            Phase::Up { .. } => "up",
            Phase::Renewing { .. } => "renewing",
            Phase::Draining { .. } => "draining",
            Phase::Leaving { .. } => "leaving",
            Phase::Ended => "ended",
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry((what, self.phase())).or_default() += 1;
    }

    fn delay(&mut self, most: f64) -> Duration {
        Duration::from_secs_f64(most * self.rng.f64())
    }

    fn later(&mut self, happening: Happening, most: f64) {
        self.later_from(0.0, happening, most);
    }

    fn later_from(&mut self, least: f64, happening: Happening, most: f64) {
        // Answers and attempts are slower in some worlds than in others.
        let most = if matches!(happening, Happening::Cut) { most } else { most * self.max_delay.max(0.2) };
        let at = self.now + Duration::from_secs_f64(least * self.max_delay) + self.delay(most);
        self.at(at, happening);
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.happened += 1;
        self.future.push(Reverse((at, self.happened, self.connection.number, happening)));
    }

    fn about(&self) -> String {
        let at = self.now - self.start;
        format!("seed {} at {at:?}, {:?}, {:?}", self.seed, self.core.phase, self.connection)
    }
}

fn cut() -> TransportError {
    TransportError::Closed { endpoint: "hub".into(), stage: Stage::Exchange, source: None }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let once = |seed| {
        let mut seen = Seen::new();
        World::new(seed, &mut seen).run();
        seen
    };
    let runs: Vec<_> = (0..20).map(once).collect();
    assert_eq!((0..20).map(once).collect::<Vec<_>>(), runs);
    assert!(runs.iter().map(|it| format!("{it:?}")).collect::<BTreeSet<_>>().len() > 10, "the dice are loaded");
}
