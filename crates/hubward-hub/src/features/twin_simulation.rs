//! Tests twins against a random service, in virtual time.
//!
//! The service has a document with versions. The simulation covers these events:
//!
//! * Connections break.
//! * Requests are lost, refused or answered late.
//! * Notices of changes are lost, late, repeated or garbled.
//! * Responses come from copies that lag behind, and twins are created again.
//!
//! Each run has a seed for its random generator. If a run fails, the test prints the seed. `HUBWARD_SEED=<seed> cargo
//! test -p hubward-hub twin_simulation` repeats only this run. `HUBWARD_SEEDS=<count>` runs more seeds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use hubward_proto::hub::{Properties, Twin, twin};
use hubward_transport::{Refusal, RefusedBy, Stage, Upstream};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::twin_requests::TwinOutcome;
use super::*;

/// Seeds in a normal test run.
const SEEDS: u64 = 2_000;

/// Number of deliberate actions in one run.
const ACTIONS: usize = 60;

/// Maximum lag of a copy of the twin. The limit is just under 5 s, the time after which the client fetches an older
/// twin again. With a greater lag, the second twin could be older too, and the client would accept it as a new twin.
const LAG_MS: u64 = 4_900;

/// Events that must happen at least 50 times over all seeds. If an event happens less often, the test fails, because it
/// hardly tested this event.
const COVERED: &[&str] = &[
    "cut",
    "cut with a request in flight",
    "request lost",
    "request refused temporarily",
    "request refused permanently",
    "answer late",
    "answer garbled",
    "twin lags",
    "twin created again",
    "created again and accepted",
    "notice lost",
    "notice late",
    "notice twice",
    "notice garbled",
    "watch refused",
    "caller stopped waiting",
    "report twice",
    "acknowledged",
    "refused",
    "not sent",
    "unknown",
];

#[test]
fn a_follower_ends_on_the_newest_state_and_reports_keep_their_order() {
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
            assert!(seen.get(wanted).is_some_and(|it| *it >= 50), "{wanted:?} happened too rarely: {seen:#?}");
        }
    }
}

type Seen = BTreeMap<&'static str, u64>;

/// A state of the document: how often the document had been created by then, and its version.
type Mark = (u64, u64);

#[derive(Debug, PartialEq, Eq)]
enum Happening {
    Up,
    Arrives(Tag, Sent),
    Tells(Downstream),
}

/// The part of an `Upstream` that this test uses.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Watch(Feature),
    Get,
    Report(u64),
}

/// A planned event on a connection. The order of events is reversed, so that the earliest event is the greatest: a
/// `BinaryHeap` returns the greatest item first.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    at: Reverse<(Instant, u64)>,
    connection: u64,
    what: Happening,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The document, and its complete history.
#[derive(Debug, Default)]
struct Document {
    mark: Mark,
    values: Map<String, Value>,
    /// Each state, and when it began.
    history: BTreeMap<Mark, (Instant, Map<String, Value>)>,
    /// The applied reports, in order.
    applied: Vec<u64>,
}

struct World<'a> {
    seed: u64,
    rng: Rng,
    seen: &'a mut Seen,
    now: Instant,
    features: Features,
    events: BinaryHeap<Event>,
    scheduled: u64,
    /// The current connection, and whether it is up.
    connection: u64,
    up: bool,
    /// Whether this connection has subscribed to desired properties.
    desired: bool,
    /// The earliest moment at which the client's next bytes can arrive. A stream keeps its order, so no byte arrives
    /// before the bytes in front of it.
    to_hub: Instant,
    own_asked_at: Option<Instant>,
    document: Document,
    reports: Vec<(u64, oneshot::Receiver<TwinOutcome>)>,
    gets: Vec<oneshot::Receiver<TwinOutcome>>,
    last_received: Option<Mark>,
    latest: Option<Arc<Properties>>,
    calm: bool,
}

impl<'a> World<'a> {
    fn new(seed: u64, seen: &'a mut Seen) -> Self {
        let options = HubOptions::default().seed(Some(seed));
        let now = Instant::now();
        let mut world = Self {
            seed,
            rng: Rng::with_seed(seed),
            seen,
            now,
            features: Features::new(&options, Incoming::new(&options).0),
            events: BinaryHeap::new(),
            scheduled: 0,
            connection: 0,
            up: false,
            desired: false,
            to_hub: now,
            own_asked_at: None,
            document: Document::default(),
            reports: Vec::new(),
            gets: Vec::new(),
            last_received: None,
            latest: None,
            calm: false,
        };
        world.recreate();
        world
    }

    fn run(mut self) {
        for feature in [Feature::TwinResponses, Feature::Desired] {
            self.features.subscribe(feature);
        }
        self.connect();
        for report in 0..ACTIONS {
            self.act(u64::try_from(report).expect("few"));
            let pause = match self.rng.u8(..10) {
                0..6 => self.rng.u64(..400),
                6..9 => self.rng.u64(..5_000),
                _ => self.rng.u64(..60_000),
            };
            self.pass(Duration::from_millis(pause));
        }
        // From here on, the simulation causes no more failures, so the client must reach the newest state. In half of
        // the runs, the connection is cut first, and the client uses a new one. In the other half, the client uses the
        // old connection, which may have missed changes.
        self.calm = true;
        if self.rng.bool() {
            self.cut();
        }
        self.pass(Duration::from_secs(5 * 60));
        self.change();
        self.pass(Duration::from_secs(60));
        self.look();
    }

    fn act(&mut self, report: u64) {
        match self.rng.u8(..100) {
            0..45 => self.change(),
            45..60 => {
                let patch = Bytes::from(report.to_string());
                let answer = self.ask(TwinRequestKind::Report(patch));
                self.reports.push((report, answer));
            }
            60..65 => {
                let answer = self.ask(TwinRequestKind::Twin);
                self.gets.push(answer);
            }
            65..68 if !self.reports.is_empty() => {
                let at = self.rng.usize(..self.reports.len());
                drop(self.reports.swap_remove(at));
                self.saw("caller stopped waiting");
            }
            68..70 => {
                self.recreate();
                self.saw("twin created again");
                self.cut();
            }
            70..82 => self.cut(),
            _ => {}
        }
    }

    fn ask(&mut self, kind: TwinRequestKind) -> oneshot::Receiver<TwinOutcome> {
        let deadline = match self.rng.u8(..3) {
            0 => None,
            1 => Some(self.now + Duration::from_secs(60)),
            _ => Some(self.now + Duration::from_millis(self.rng.u64(..20_000))),
        };
        let (request, answer) = TwinRequest::new(kind, deadline);
        self.features.on_twin_request(request);
        answer
    }

    /// The service changes the document.
    fn change(&mut self) {
        let (made, version) = self.document.mark;
        let version = version + 1;
        let key = ["a", "b", "c"][self.rng.usize(..3)];
        let value = match self.rng.u8(..4) {
            0 => Value::Null,
            1 => json!({ key: version, "n": null }),
            _ => json!(version),
        };
        let mut patch = Map::new();
        patch.insert(key.into(), value);
        twin::merge(&mut self.document.values, &patch);
        self.document.mark = (made, version);
        self.document.history.insert((made, version), (self.now, self.document.values.clone()));
        if !(self.up && self.desired) {
            return;
        }
        let notice = Bytes::from(Properties::new(version, patch).to_wire().to_string());
        let delay = Duration::from_millis(self.rng.u64(..50));
        match if self.calm { 99 } else { self.rng.u8(..100) } {
            0..8 => self.saw("notice lost"),
            8..16 => {
                self.saw("notice late");
                let late = Duration::from_millis(self.rng.u64(..8_000));
                self.send_event(delay + late, Downstream::Desired(notice));
            }
            16..24 => {
                self.saw("notice twice");
                self.send_event(delay, Downstream::Desired(notice.clone()));
                self.send_event(delay * 2, Downstream::Desired(notice));
            }
            24..27 => {
                self.saw("notice garbled");
                self.send_event(delay, Downstream::Desired(notice.slice(..notice.len() - 1)));
            }
            _ => self.send_event(delay, Downstream::Desired(notice)),
        }
    }

    /// The device is deleted and created again.
    fn recreate(&mut self) {
        let made = self.document.mark.0 + 1;
        self.document.mark = (made, 1);
        self.document.values = Map::from_iter([("made".to_owned(), json!(made))]);
        self.document.history.insert((made, 1), (self.now, self.document.values.clone()));
    }

    fn connect(&mut self) {
        self.connection += 1;
        self.to_hub = self.now;
        let delay = if self.calm { 100 } else { self.rng.u64(..8_000) };
        self.schedule(Duration::from_millis(delay), Happening::Up);
    }

    fn cut(&mut self) {
        self.saw("cut");
        if !self.features.is_idle() {
            self.saw("cut with a request in flight");
        }
        // Requests in transit still arrive, up to a random point.
        let mut on_its_way = Vec::new();
        for event in std::mem::take(&mut self.events).into_sorted_vec().into_iter().rev() {
            if let (Happening::Arrives(tag, sent), true) = (event.what, event.connection == self.connection) {
                on_its_way.push((tag, sent));
            }
        }
        let arriving = self.rng.usize(..=on_its_way.len());
        for (tag, sent) in on_its_way.into_iter().take(arriving) {
            self.arrives(tag, sent);
        }
        self.events.clear();
        (self.up, self.desired, self.own_asked_at) = (false, false, None);
        self.features.on_connection(self.now, None);
        self.connect();
        self.drive();
    }

    fn schedule(&mut self, delay: Duration, what: Happening) {
        self.scheduled += 1;
        let at = Reverse((self.now + delay, self.scheduled));
        self.events.push(Event { at, connection: self.connection, what });
    }

    fn send_event(&mut self, delay: Duration, what: Downstream) {
        self.schedule(delay, Happening::Tells(what));
    }

    /// Advances time and handles every event that is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drive();
        loop {
            let event = self.events.peek().map(|it| it.at.0.0);
            let timer = self.features.next_deadline();
            let Some(next) = [event, timer].into_iter().flatten().min().filter(|it| *it <= until) else { break };
            self.now = self.now.max(next);
            if event.is_some_and(|it| it <= self.now)
                && let Some(event) = self.events.pop()
            {
                self.happens(event.what);
            }
            self.features.on_time(self.now);
            assert!(self.features.next_deadline().is_none_or(|it| it > self.now), "a timer that never ends");
            self.drive();
        }
        self.now = until;
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Up => {
                self.up = true;
                self.features.on_connection(self.now, Some(self.connection));
            }
            Happening::Arrives(tag, sent) => self.arrives(tag, sent),
            Happening::Tells(event) => self.features.on_event(self.now, event),
        }
    }

    /// Does what a driver does after every event.
    fn drive(&mut self) {
        while let Some(out) = self.features.next(self.now, self.up) {
            let Outgoing::Request(tag, what) = out else { panic!("{out:?}") };
            let sent = match what {
                Upstream::Subscribe(feature) => Sent::Watch(feature),
                Upstream::TwinGet => Sent::Get,
                Upstream::ReportedPatch(patch) => {
                    Sent::Report(std::str::from_utf8(&patch).expect("text").parse().expect("a number"))
                }
                other => panic!("{other:?}"),
            };
            self.to_hub = self.to_hub.max(self.now + Duration::from_millis(self.rng.u64(..50)));
            let delay = self.to_hub - self.now;
            self.schedule(delay, Happening::Arrives(tag, sent));
        }
        if let Some(news) = self.features.take_newest() {
            self.is_news(news);
        }
    }

    fn is_news(&mut self, news: Arc<Properties>) {
        let made =
            |values: &Map<String, Value>| values.get("made").and_then(Value::as_u64).expect("it is never removed");
        let mark = (made(&news.values), news.version);
        let state = self.document.history.get(&mark).map(|it| &it.1);
        assert_eq!(state, Some(&news.values), "{mark:?} never had this content");
        if let Some(last) = self.last_received {
            assert!(last < mark, "{mark:?} after {last:?}");
            if last.1 > mark.1 {
                self.saw("created again and accepted");
            }
        }
        self.last_received = Some(mark);
        self.latest = Some(news);
    }

    /// The hub receives what the client sent.
    fn arrives(&mut self, tag: Tag, sent: Sent) {
        let delay = Duration::from_millis(self.rng.u64(..50));
        if let Sent::Watch(feature) = sent {
            if !self.calm && self.rng.u8(..40) == 0 {
                self.saw("watch refused");
                return self.send_event(delay, Downstream::Refused(tag, refusal(RefusedBy::Suback)));
            }
            self.desired |= feature == Feature::Desired;
            return self.send_event(delay, Downstream::Done(tag));
        }
        let dice = if self.calm { 99 } else { self.rng.u8(..100) };
        match dice {
            0..6 => return self.saw("request lost"),
            6..18 => {
                self.saw("request refused temporarily");
                let status = if self.rng.bool() { 429 } else { 503 };
                return self.send_event(delay, Downstream::Refused(tag, refusal(RefusedBy::Status(status))));
            }
            18..20 => {
                self.saw("request refused permanently");
                return self.send_event(delay, Downstream::Refused(tag, refusal(RefusedBy::Status(400))));
            }
            _ => {}
        }
        let answer = match sent {
            Sent::Report(report) => {
                if self.document.applied.last() == Some(&report) {
                    self.saw("report twice");
                }
                self.document.applied.push(report);
                Downstream::Reported(tag, Some(u64::try_from(self.document.applied.len()).expect("few")))
            }
            _ => Downstream::Twin(tag, self.twin(dice)),
        };
        let late = match dice {
            20..28 => {
                self.saw("answer late");
                Duration::from_millis(self.rng.u64(..40_000))
            }
            _ => Duration::ZERO,
        };
        self.send_event(delay + late, answer);
    }

    fn twin(&mut self, dice: u8) -> Bytes {
        let made = self.document.mark.0;
        let mut as_of = self.now;
        if (28..34).contains(&dice) {
            self.saw("twin lags");
            as_of -= Duration::from_millis(self.rng.u64(..LAG_MS));
        }
        let of_this = || self.document.history.range((made, 0)..).map(|((_, version), state)| (*version, state));
        let shown = of_this().take_while(|(_, (since, _))| *since <= as_of).last().or_else(|| of_this().next());
        let (version, (_, values)) = shown.expect("the document exists");
        let mut twin = Twin::default();
        twin.desired = Properties::new(version, values.clone());
        let body = Bytes::from(twin.encode());
        if (34..36).contains(&dice) {
            self.saw("answer garbled");
            return body.slice(1..);
        }
        body
    }

    /// Checks every promise.
    fn look(&mut self) {
        let Self { seed, document, features, latest, .. } = self;
        let latest = latest.as_deref().expect("a state");
        assert_eq!(latest, &Properties::new(document.mark.1, document.values.clone()), "seed {seed}");
        assert!(document.applied.is_sorted(), "a report has overtaken another: {:?}", document.applied);
        assert!(features.is_idle() && features.is_flushed());
        assert_eq!(features.next_deadline(), None, "a timer is still set");
        for (report, mut answer) in std::mem::take(&mut self.reports) {
            let applied = self.document.applied.contains(&report);
            match answer.try_recv().expect("every request ends") {
                Ok(TwinResponse::Reported(Some(_))) => {
                    assert!(applied, "{report} was never applied");
                    self.saw("acknowledged");
                }
                Err(TwinFailure::Deadline { written: false }) => {
                    assert!(!applied, "{report} was applied");
                    self.saw("not sent");
                }
                Err(TwinFailure::Deadline { written: true }) => self.saw("unknown"),
                Err(TwinFailure::Refused(_)) => self.saw("refused"),
                other => panic!("{other:?}"),
            }
        }
        for mut answer in std::mem::take(&mut self.gets) {
            drop(answer.try_recv().expect("every request ends"));
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

fn refusal(by: RefusedBy) -> Box<Refusal> {
    Box::new(Refusal::new("hub.example:8883".into(), Stage::Exchange, by))
}
