//! A certificate request with a hub that accepts, issues, refuses, stays silent or disconnects.

use hubward_transport::Stage;
use oneshot::Receiver;
use oneshot::error::TryRecvError;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(120);

struct Bench {
    certificates: Certificates,
    tags: RequestTags,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { certificates: Certificates::new(TIMEOUT), tags: RequestTags::default(), now: Instant::now() }
    }

    fn request(&mut self, id: &str) -> Receiver<IssuanceOutcome> {
        self.request_with(id, None, None)
    }

    fn request_with(&mut self, id: &str, replace: Option<Replace>, deadline: Option<u64>) -> Receiver<IssuanceOutcome> {
        let deadline = deadline.map(|it| self.now + seconds(it));
        let (call, outcome) =
            CertificateCall::new(request_id(id), Csr::new("AAAA").expect("base64"), replace, deadline);
        self.certificates.push(call);
        outcome
    }

    /// The next request for the hub: its tag and `id`, or `id replaces other`.
    fn next(&mut self) -> Option<(Tag, String)> {
        let Outgoing::Request(tag, Upstream::IssueCertificate { id, replace, .. }) =
            self.certificates.next(self.now, &mut self.tags)?
        else {
            panic!("another request");
        };
        let text = match replace {
            None => id.to_string(),
            Some(Replace::Any) => format!("{id} replaces *"),
            Some(Replace::Request(other)) => format!("{id} replaces {other}"),
        };
        Some((tag, text))
    }

    #[track_caller]
    fn sends(&mut self, expected: &str) -> Tag {
        let (tag, text) = self.next().expect("a request");
        assert_eq!(text, expected);
        assert!(self.next().is_none(), "sent once");
        tag
    }

    fn answers(&mut self, id: &str, outcome: CertificateOutcome) {
        self.certificates.on_response(self.now, CertificateResponse { id: id.to_owned(), outcome });
    }

    fn wait(&mut self, time: u64) {
        self.now += seconds(time);
        self.certificates.on_time(self.now);
    }
}

fn seconds(from: u64) -> Duration {
    Duration::from_secs(from)
}

fn request_id(text: &str) -> CertificateRequestId {
    CertificateRequestId::new(text).expect("an id")
}

fn accepted() -> CertificateOutcome {
    CertificateOutcome::Accepted(hubward_proto::hub::CertificateAccepted::default())
}

fn issued() -> CertificateOutcome {
    CertificateOutcome::Issued(vec!["MIIB".to_owned()])
}

fn refused(status: u16, code: u32, other: Option<&str>) -> CertificateOutcome {
    let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
    refusal.error_code = Some(code);
    CertificateOutcome::Refused { refusal: Box::new(refusal), other: other.map(str::to_owned) }
}

/// The outcome as text; `None` if the request is still pending.
fn outcome(receiver: &mut Receiver<IssuanceOutcome>) -> Option<String> {
    match receiver.try_recv() {
        Ok(Ok(chain)) => Some(format!("issued {}", chain.join(" "))),
        Ok(Err(IssuanceFailure::Refused(refusal))) => Some(format!("refused {:?}", refusal.error_code)),
        Ok(Err(failure)) => Some(format!("{failure:?}")),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some("no outcome".to_owned()),
    }
}

#[test]
fn the_first_final_answer_ends_the_request() {
    for (answers, expected) in [
        (vec![accepted(), issued()], Some("issued MIIB")),
        (vec![issued()], Some("issued MIIB")),
        (vec![accepted(), accepted(), issued()], Some("issued MIIB")),
        (vec![accepted()], None),
        (vec![refused(400, 400_004, None)], Some("refused Some(400004)")),
        (vec![accepted(), refused(400, 400_037, None)], Some("refused Some(400037)")),
        (vec![refused(429, 429_002, None)], Some("refused Some(429002)")),
        (vec![refused(500, 500_001, None)], Some("refused Some(500001)")),
        (vec![refused(409, 409_004, Some("other"))], Some("refused Some(409004)")),
        (vec![refused(412, 412_001, Some("other"))], Some("refused Some(412001)")),
        (
            vec![accepted(), CertificateOutcome::Unreadable(ProtoError::Missing("certificates"))],
            Some("Unreadable(the answer lacks `certificates`)"),
        ),
        (vec![issued(), refused(400, 400_037, None)], Some("issued MIIB")),
    ] {
        let mut bench = Bench::new();
        let mut caller = bench.request("one1");
        let tag = bench.sends("one1");
        assert!(bench.certificates.on_delivered(tag));
        let described = format!("{answers:?}");
        answers.into_iter().for_each(|it| bench.answers("one1", it));
        assert_eq!(outcome(&mut caller).as_deref(), expected, "{described}");
        assert!(bench.next().is_none(), "{described}: nothing more is sent");
        assert_eq!(bench.certificates.is_pending(), expected.is_none(), "{described}");
    }
}

#[test]
fn answers_to_other_requests_are_ignored() {
    let mut bench = Bench::new();
    bench.answers("none", issued());
    let mut caller = bench.request("one1");
    bench.sends("one1");
    for outcome in [accepted(), issued(), refused(400, 400_004, None)] {
        bench.answers("two2", outcome);
    }
    assert_eq!(outcome(&mut caller), None);
    bench.answers("one1", issued());
    assert_eq!(outcome(&mut caller).as_deref(), Some("issued MIIB"));
}

/// Each answer 202 starts the time again. The deadline of the caller counts from the call.
#[test]
fn a_silent_hub_ends_the_request() {
    for (deadline, accepts, silent, expected) in [
        (None, 0, 119, None),
        (None, 0, 120, Some("Silent { after: 120s }")),
        (None, 3, 119, None),
        (None, 3, 120, Some("Silent { after: 120s }")),
        (Some(100), 0, 99, None),
        (Some(100), 0, 100, Some("Deadline { written: true }")),
        (Some(300), 3, 1, Some("Deadline { written: true }")),
    ] {
        let mut bench = Bench::new();
        let mut caller = bench.request_with("one1", None, deadline);
        bench.sends("one1");
        for _ in 0..accepts {
            bench.wait(100);
            bench.answers("one1", accepted());
        }
        let due = bench.certificates.next_deadline();
        bench.wait(silent);
        let found = outcome(&mut caller);
        assert_eq!(found.as_deref(), expected, "{deadline:?} {accepts} {silent}");
        assert_eq!(due.is_none_or(|it| it <= bench.now), expected.is_some(), "the timer is due at the same time");
    }
}

#[test]
fn a_request_that_was_never_sent_ends_at_its_deadline() {
    let mut bench = Bench::new();
    let mut caller = bench.request_with("one1", None, Some(10));
    assert_eq!(bench.certificates.next_deadline(), Some(bench.now + seconds(10)));
    assert!(!bench.certificates.on_time(bench.now + seconds(9)));
    assert!(bench.certificates.on_time(bench.now + seconds(10)), "no caller waits any more");
    assert_eq!(outcome(&mut caller).as_deref(), Some("Deadline { written: false }"));
}

/// Each case: the events after the first connection is lost, and what the client sends after them.
#[test]
fn a_new_connection_gets_the_same_request_again() {
    let mut bench = Bench::new();
    let mut caller = bench.request("one1");
    let tag = bench.sends("one1");
    bench.answers("one1", accepted());
    bench.certificates.on_lost();
    assert!(!bench.certificates.on_delivered(tag), "the tag belongs to the lost connection");
    bench.wait(10_000);
    assert_eq!(outcome(&mut caller), None, "without a connection, only the deadline counts");
    bench.sends("one1");
    // The hub still works on the request of the first connection.
    bench.answers("one1", refused(409, 409_004, Some("one1")));
    bench.sends("one1 replaces one1");
    bench.answers("one1", accepted());
    bench.answers("one1", issued());
    assert_eq!(outcome(&mut caller).as_deref(), Some("issued MIIB"));
}

#[test]
fn an_answer_may_arrive_before_the_request_is_sent_again() {
    for (answer, expected) in [
        (issued(), Some("issued MIIB")),
        (refused(400, 400_037, None), Some("refused Some(400037)")),
        // These answer the copy of the lost connection, and do not say what becomes of the next copy.
        (accepted(), None),
        (refused(409, 409_004, Some("one1")), None),
        (refused(412, 412_001, Some("one1")), None),
    ] {
        let described = format!("{answer:?}");
        let mut bench = Bench::new();
        let mut caller = bench.request("one1");
        bench.sends("one1");
        bench.certificates.on_lost();
        bench.answers("one1", answer);
        assert_eq!(outcome(&mut caller).as_deref(), expected, "{described}");
        assert_eq!(bench.next().map(|it| it.1).as_deref(), expected.is_none().then_some("one1"), "{described}");
    }
}

/// Each conflict has the code, the request that the hub names, and what the client sends then; `None` if the request
/// fails.
#[test]
fn only_a_request_of_this_client_is_replaced() {
    let (pending, unknown) = ((409, 409_004), (412, 412_001));
    for (what, first, conflicts) in [
        ("its own earlier copy", "one1", vec![(pending, Some("one1"), Some("one1 replaces one1"))]),
        ("a request of another program", "one1", vec![(pending, Some("else"), None)]),
        ("a code of the documentation", "one1", vec![((409, 409_005), Some("one1"), Some("one1 replaces one1"))]),
        ("an unnamed request", "one1", vec![(pending, None, Some("one1 replaces one1"))]),
        (
            "the earlier copy has ended since",
            "one1",
            vec![(pending, Some("one1"), Some("one1 replaces one1")), (unknown, Some("one1"), Some("one1"))],
        ),
        (
            "a hub that never agrees",
            "one1",
            vec![
                (pending, Some("one1"), Some("one1 replaces one1")),
                (pending, Some("one1"), Some("one1 replaces one1")),
                (pending, Some("one1"), Some("one1 replaces one1")),
                (pending, Some("one1"), None),
            ],
        ),
        ("nothing was replaced", "one1", vec![(unknown, Some("one1"), None)]),
        ("a dropped request of this client", "old1", vec![(pending, Some("old1"), Some("one1 replaces old1"))]),
    ] {
        let mut bench = Bench::new();
        if first != "one1" {
            drop(bench.request(first));
            assert!(bench.next().is_none(), "{what}: a dropped request is not sent");
            let caller = bench.request(first);
            bench.sends(first);
            drop(caller);
        }
        let mut caller = bench.request("one1");
        bench.sends("one1");
        for ((status, code), other, sent) in conflicts {
            bench.answers("one1", refused(status, code, other));
            assert_eq!(bench.next().map(|it| it.1).as_deref(), sent, "{what}");
            let refusal = format!("refused Some({code})");
            assert_eq!(outcome(&mut caller), sent.is_none().then_some(refusal), "{what}");
        }
    }
}

#[test]
fn the_caller_can_replace_any_pending_request() {
    let mut bench = Bench::new();
    let mut caller = bench.request_with("one1", Some(Replace::Any), None);
    bench.sends("one1 replaces *");
    bench.certificates.on_lost();
    bench.sends("one1 replaces *");
    bench.answers("one1", issued());
    assert_eq!(outcome(&mut caller).as_deref(), Some("issued MIIB"));
}

#[test]
fn a_dropped_request_that_has_ended_is_not_replaced() {
    for answer in [issued(), refused(400, 400_037, None)] {
        let mut bench = Bench::new();
        let caller = bench.request("old1");
        bench.sends("old1");
        drop(caller);
        bench.wait(1);
        bench.answers("old1", accepted());
        bench.answers("old1", answer);
        let mut caller = bench.request("one1");
        bench.sends("one1");
        bench.answers("one1", refused(409, 409_004, Some("old1")));
        assert_eq!(outcome(&mut caller).as_deref(), Some("refused Some(409004)"));
    }
}

#[test]
fn the_end_and_problems_of_the_connection_reach_the_caller() {
    let mut bench = Bench::new();
    let mut caller = bench.request("one1");
    let tag = bench.sends("one1");
    let problem = ProtoError::Missing("a free tag");
    assert!(!bench.certificates.on_unsendable(bench.tags.take(), &problem), "another request");
    assert!(bench.certificates.on_unsendable(tag, &problem));
    assert_eq!(outcome(&mut caller).as_deref(), Some("Impossible(the answer lacks `a free tag`)"));

    let mut caller = bench.request("two2");
    let refusal = Refusal::new("hub.example:8883".into(), Stage::Subscribe, RefusedBy::Suback);
    bench.certificates.on_not_subscribed(&refusal);
    assert_eq!(outcome(&mut caller).as_deref(), Some("refused None"));

    for sent in [false, true] {
        let mut bench = Bench::new();
        let mut caller = bench.request("one1");
        if sent {
            bench.sends("one1");
        }
        bench.certificates.end(&CloseReason::Requested);
        let text = outcome(&mut caller).expect("an outcome");
        assert!(text.starts_with("Closed") && text.ends_with(&format!("written: {sent} }}")), "{text}");
        let mut late = bench.request("two2");
        let text = outcome(&mut late).expect("an outcome");
        assert!(text.starts_with("Closed") && text.ends_with("written: false }"), "{text}");
    }
}
