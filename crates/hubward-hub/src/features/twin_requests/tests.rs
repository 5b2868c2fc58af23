//! Twin requests with a hub that answers, refuses, stays silent or disconnects.

use hubward_transport::{RefusedBy, Stage};
use oneshot::Receiver;
use oneshot::error::TryRecvError;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(15);

struct Bench {
    requests: TwinRequests,
    tags: RequestTags,
    rng: Rng,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (requests, tags) = (TwinRequests::new(TIMEOUT), RequestTags::default());
        Self { requests, tags, rng: Rng::with_seed(1), now: Instant::now() }
    }

    fn report_within(&mut self, patch: &'static str, deadline: Option<u64>) -> Receiver<TwinOutcome> {
        let deadline = deadline.map(|it| self.now + seconds(it));
        let (request, answer) =
            TwinRequest::new(TwinRequestKind::Report(Bytes::from_static(patch.as_bytes())), deadline);
        self.requests.push(request);
        answer
    }

    fn report(&mut self, patch: &'static str) -> Receiver<TwinOutcome> {
        self.report_within(patch, None)
    }

    fn get(&mut self) -> Receiver<TwinOutcome> {
        let (request, answer) = TwinRequest::new(TwinRequestKind::Twin, None);
        self.requests.push(request);
        answer
    }

    /// The next request, as text.
    fn next(&mut self, own: bool) -> Option<(Tag, String)> {
        let (requester, tag, what) = self.requests.next(self.now, &mut self.tags, own)?;
        let text = match what {
            Upstream::TwinGet if requester == Requester::Client => "own".into(),
            Upstream::TwinGet => "get".into(),
            Upstream::ReportedPatch(patch) => String::from_utf8(patch.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        };
        Some((tag, text))
    }

    fn sends(&mut self, expected: &str) -> Tag {
        let (tag, text) = self.next(false).expect("a request");
        assert_eq!(text, expected);
        assert!(self.next(true).is_none(), "one at a time");
        assert!(!self.requests.is_idle());
        tag
    }

    fn answers(&mut self, tag: Tag, version: u64) {
        assert_eq!(self.requests.on_response(tag), Some(Requester::Program));
        self.requests.finish(Ok(TwinResponse::Reported(Some(version))));
    }

    fn refuses(&mut self, tag: Tag, status: u16, retry_after: Option<Duration>) {
        assert_eq!(self.requests.on_response(tag), Some(Requester::Program));
        self.requests.refused(self.now, &mut self.rng, &refusal(status, retry_after));
    }

    fn wait(&mut self, time: Duration) -> Option<Requester> {
        self.now += time;
        self.requests.on_time(self.now)
    }

    /// Waits for the next timer, and returns how long that took.
    fn wait_for_timer(&mut self) -> Duration {
        let next = self.requests.next_deadline().expect("something to wait for");
        let waited = next - self.now;
        self.wait(waited);
        assert!(self.requests.next_deadline().is_none_or(|it| it > self.now), "no passed deadline remains");
        waited
    }
}

fn seconds(from: u64) -> Duration {
    Duration::from_secs(from)
}

fn refusal(status: u16, retry_after: Option<Duration>) -> Refusal {
    let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
    refusal.retry_after = retry_after;
    refusal
}

fn version(mut answer: Receiver<TwinOutcome>) -> Option<u64> {
    match answer.try_recv() {
        Ok(Ok(TwinResponse::Reported(version))) => version,
        other => panic!("{other:?}"),
    }
}

fn failure(mut answer: Receiver<TwinOutcome>) -> TwinFailure {
    answer.try_recv().expect("an end").expect_err("no answer")
}

fn is_open(answer: &mut Receiver<TwinOutcome>) -> bool {
    matches!(answer.try_recv(), Err(TryRecvError::Empty))
}

#[test]
fn at_the_deadline_a_refused_subscription_is_the_reason() {
    for lifted in [false, true] {
        let mut bench = Bench::new();
        let mut answer = bench.report_within("{}", Some(60));
        let refused = Refusal::new("hub.example:8883".into(), Stage::Subscribe, RefusedBy::Suback);
        bench.requests.set_refusal(Some(&refused));
        if lifted {
            bench.requests.set_refusal(None);
        }
        bench.wait(seconds(60));
        match (lifted, answer.try_recv().expect("an end")) {
            (false, Err(TwinFailure::Refused(said))) => assert_eq!(*said, refused),
            (true, Err(TwinFailure::Deadline { written: false })) => {}
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_are_sent_one_at_a_time_and_in_order() {
    let mut it = Bench::new();
    let (first, second, third) = (it.report(r#"{"n":1}"#), it.report(r#"{"n":2}"#), it.get());
    assert!(!it.requests.is_flushed() && it.requests.is_idle());
    for (expected, version) in [(r#"{"n":1}"#, 5), (r#"{"n":2}"#, 6)] {
        let tag = it.sends(expected);
        it.answers(tag, version);
    }
    let tag = it.sends("get");
    assert_eq!(it.requests.on_response(tag), Some(Requester::Program));
    let body = br#"{"desired":{"fan":1,"$version":4},"reported":{"n":2,"$version":7}}"#;
    it.requests.finish(Ok(TwinResponse::Twin(Box::new(Twin::parse(body).expect("a twin")))));
    assert_eq!((version(first), version(second)), (Some(5), Some(6)));
    let Ok(Ok(TwinResponse::Twin(twin))) = { third }.try_recv() else { panic!("no twin") };
    assert_eq!((twin.desired.version, twin.reported.version), (4, 7));
    assert!(it.next(false).is_none() && it.requests.is_flushed() && it.requests.is_idle());
    assert_eq!(it.requests.next_deadline(), None);
}

#[test]
fn a_busy_hub_is_retried_with_growing_waits_and_the_order_stays() {
    let mut it = Bench::new();
    let (first, mut second) = (it.report("1"), it.report("2"));
    for status in [429, 429, 500, 503, 429, 429, 429, 429] {
        let tag = it.sends("1");
        it.refuses(tag, status, None);
        assert!(it.next(false).is_none() && it.requests.is_idle(), "it rests");
        it.wait_for_timer();
    }
    let tag = it.sends("1");
    it.refuses(tag, 429, Some(seconds(40)));
    let waited = it.wait_for_timer();
    assert!((seconds(40)..=seconds(41)).contains(&waited), "as long as the hub requests: {waited:?}");
    let tag = it.sends("1");
    it.answers(tag, 9);
    assert!(is_open(&mut second));
    let tag = it.sends("2");
    it.answers(tag, 10);
    assert_eq!((version(first), version(second)), (Some(9), Some(10)));
}

#[test]
fn any_other_refusal_ends_the_request() {
    for status in [400, 401, 403, 404, 413] {
        let mut it = Bench::new();
        let (first, mut second) = (it.report("1"), it.report("2"));
        let tag = it.sends("1");
        it.refuses(tag, status, None);
        assert!(
            matches!(failure(first), TwinFailure::Refused(refusal) if refusal.by == RefusedBy::Status(status)),
            "{status}"
        );
        assert!(is_open(&mut second));
        it.sends("2");
    }
}

#[test]
fn an_unanswered_request_is_sent_again_under_another_tag_and_a_late_response_is_ignored() {
    let mut it = Bench::new();
    let answer = it.report("1");
    let old = it.sends("1");
    assert_eq!(it.wait(TIMEOUT - Duration::from_millis(1)), None);
    assert_eq!(it.wait(Duration::from_millis(1)), Some(Requester::Program));
    let new = it.sends("1");
    assert_ne!(old, new);
    assert_eq!(it.requests.on_response(old), None);
    assert_eq!(it.wait_for_timer(), TIMEOUT * 2, "a slow hub gets more time");
    let newest = it.sends("1");
    it.answers(newest, 3);
    assert_eq!(it.requests.on_response(newest), None, "answered twice");
    assert_eq!(version(answer), Some(3));
}

#[test]
fn the_next_connection_gets_the_same_requests_in_the_same_order() {
    let mut it = Bench::new();
    let (first, second) = (it.report("1"), it.report("2"));
    let old = it.sends("1");
    it.requests.on_lost();
    assert!(it.requests.is_idle() && !it.requests.is_flushed());
    assert_eq!(it.requests.next_deadline(), None, "no timer runs without a connection");
    let new = it.sends("1");
    assert_eq!(it.requests.on_response(old), None, "an answer to the old connection's request");
    it.answers(new, 3);
    let tag = it.sends("2");
    it.answers(tag, 4);
    assert_eq!((version(first), version(second)), (Some(3), Some(4)));
}

#[test]
fn a_deadline_says_whether_the_hub_may_have_the_request() {
    // `refused`, `written` and `lost` each simulate one event before the deadline of the request. `check` lets the
    // deadline pass and compares the error with `expected`:
    //
    // * `Some(true)`: a deadline error, which says that the hub may have the request.
    // * `Some(false)`: a deadline error, which says that the hub certainly does not have the request.
    // * `None`: the hub's refusal.
    let refused = |it: &mut Bench| {
        let tag = it.sends("1");
        it.refuses(tag, 429, Some(seconds(3600)));
    };
    let written = |it: &mut Bench| {
        it.sends("1");
    };
    let lost = |it: &mut Bench| {
        it.sends("1");
        it.requests.on_lost();
    };
    let check = |what: &str, happens: &dyn Fn(&mut Bench), expected: Option<bool>| {
        let mut it = Bench::new();
        let answer = it.report_within("1", Some(60));
        happens(&mut it);
        it.wait(seconds(60));
        match (failure(answer), expected) {
            (TwinFailure::Deadline { written }, Some(expected)) => assert_eq!(written, expected, "{what}"),
            (TwinFailure::Refused(_), None) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert!(it.requests.is_idle() && it.requests.is_flushed());
    };
    check("never written", &|_| {}, Some(false));
    check("written", &written, Some(true));
    check("lost", &lost, Some(true));
    check("busy", &refused, None);
    check(
        "lost, then busy",
        &|it| {
            lost(it);
            refused(it);
        },
        Some(true),
    );
}

#[test]
fn a_late_response_does_not_answer_the_next_request() {
    let mut it = Bench::new();
    let (first, mut second) = (it.report_within("1", Some(5)), it.report("2"));
    let old = it.sends("1");
    assert_eq!(it.wait_for_timer(), seconds(5));
    assert!(matches!(failure(first), TwinFailure::Deadline { written: true }));
    let new = it.sends("2");
    assert_eq!(it.requests.on_response(old), None);
    assert!(is_open(&mut second));
    it.answers(new, 1);
    assert_eq!(version(second), Some(1));
}

#[test]
fn only_requests_past_their_deadline_expire() {
    let mut it = Bench::new();
    let (mut first, second, mut third) =
        (it.report_within("1", Some(30)), it.report_within("2", Some(10)), it.report("3"));
    let tag = it.sends("1");
    assert_eq!(it.wait_for_timer(), seconds(10));
    assert!(matches!(failure(second), TwinFailure::Deadline { written: false }));
    assert!(is_open(&mut first) && is_open(&mut third));
    it.answers(tag, 1);
    it.sends("3");
    assert_eq!(version(first), Some(1));
}

#[test]
fn a_cancelled_request_is_not_sent() {
    let mut it = Bench::new();
    let (first, mut second) = (it.report("1"), it.report("2"));
    drop(first);
    assert!(!it.requests.is_flushed());
    let tag = it.sends("2");
    it.answers(tag, 1);
    assert!(second.try_recv().is_ok());

    // If the caller cancels a request that is in flight, the request stays in the queue until the hub answers or the
    // time limit passes. The client then sends the next request, and does not repeat the cancelled one.
    for silent in [false, true] {
        let (first, second) = (it.report("1"), it.report("2"));
        let tag = it.sends("1");
        drop(first);
        let third = it.report("3");
        if silent {
            it.wait(TIMEOUT);
        } else {
            it.refuses(tag, 429, None);
        }
        let tag = it.sends("2");
        it.answers(tag, 2);
        let tag = it.sends("3");
        it.answers(tag, 3);
        assert_eq!((version(second), version(third)), (Some(2), Some(3)));
    }
    let only = it.report("4");
    it.sends("4");
    drop(only);
    assert!(it.requests.is_flushed() && !it.requests.is_idle(), "no caller waits, but a response is still outstanding");
}

#[test]
fn cancelled_requests_do_not_accumulate() {
    let mut it = Bench::new();
    for _ in 0..1000 {
        drop(it.report("1"));
        assert!(it.requests.queue.len() <= 1);
    }
}

#[test]
fn the_client_and_the_program_take_turns() {
    let mut it = Bench::new();
    let _answers: Vec<_> = (0..3).map(|_| it.get()).collect();
    let mut order = Vec::new();
    for own in [true, true, true, true, false, true] {
        let (tag, what) = it.next(own).expect("a request");
        order.push(what);
        if it.requests.on_response(tag) == Some(Requester::Program) {
            it.requests.finish(Ok(TwinResponse::Reported(None)));
        }
    }
    assert_eq!(order, ["own", "get", "own", "get", "get", "own"]);

    // While the program's request waits because the hub is busy, the client can send its own request.
    let _answer = it.report("1");
    let tag = it.sends("1");
    it.refuses(tag, 429, None);
    let (tag, what) = it.next(true).expect("the own one");
    assert_eq!(what, "own");
    assert_eq!(it.requests.on_response(tag), Some(Requester::Client));
    assert!(it.next(false).is_none());
    let (tag, _) = it.next(true).expect("again");
    assert_eq!(it.wait(TIMEOUT), Some(Requester::Client), "{tag:?}");
}

#[test]
fn an_unsendable_request_says_whether_an_older_connection_carried_it() {
    let mut it = Bench::new();
    let problem = || ProtoError::Missing("a topic that fits");
    let first = it.report("1");
    let tag = it.sends("1");
    assert_eq!(it.requests.on_response(tag), Some(Requester::Program));
    it.requests.unsendable(problem());
    assert!(matches!(failure(first), TwinFailure::Impossible(_)));
    let second = it.report("2");
    it.sends("2");
    it.requests.on_lost();
    let tag = it.sends("2");
    assert_eq!(it.requests.on_response(tag), Some(Requester::Program));
    it.requests.unsendable(problem());
    assert!(matches!(failure(second), TwinFailure::Resend(_)));
}

#[test]
fn a_response_of_the_wrong_kind_is_an_error() {
    let mut it = Bench::new();
    let get = it.get();
    let tag = it.sends("get");
    it.answers(tag, 1);
    assert!(matches!(failure(get), TwinFailure::Unreadable(ProtoError::Unexpected(_))));
}

#[test]
fn the_end_of_the_client_answers_every_request() {
    let mut it = Bench::new();
    let (first, second) = (it.report("1"), it.report("2"));
    it.sends("1");
    it.requests.end(&CloseReason::Requested);
    let late = it.report("3");
    for (answer, expected) in [(first, true), (second, false), (late, false)] {
        let failed = failure(answer);
        assert!(
            matches!(failed, TwinFailure::Closed { written, reason: CloseReason::Requested } if written == expected)
        );
    }
    assert_eq!(it.requests.next_deadline(), None);

    // If the driver is dropped, every request is answered as well.
    let mut it = Bench::new();
    let (first, second) = (it.report("1"), it.report("2"));
    it.sends("1");
    drop(it);
    for (answer, expected) in [(first, true), (second, false)] {
        let failed = failure(answer);
        assert!(matches!(failed, TwinFailure::Closed { written, reason: CloseReason::Aborted } if written == expected));
    }
}

#[test]
fn debug_output_does_not_contain_the_programs_data() {
    let (request, _answer) =
        TwinRequest::new(TwinRequestKind::Report(Bytes::from_static(br#"{"wifi":"secret"}"#)), None);
    assert!(!format!("{request:?}").contains("secret"));
}
