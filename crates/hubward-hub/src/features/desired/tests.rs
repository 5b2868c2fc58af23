//! Desired properties with twins and notices in every order.

use hubward_proto::hub::Twin;
use serde_json::{Value, json};

use super::*;
use crate::HubOptions;

struct Bench {
    desired: Desired,
    rng: Rng,
    now: Instant,
}

impl Bench {
    /// The program follows, and the connection delivers changes.
    fn watched() -> Self {
        let mut bench = Self { desired: unfollowed(), rng: Rng::with_seed(1), now: Instant::now() };
        bench.desired.follow();
        bench.desired.on_subscribed();
        bench
    }

    /// The state after a first fetch.
    fn live(version: u64, values: Value) -> Self {
        let mut bench = Self::watched();
        bench.fetches(version, values);
        assert!(bench.desired.has_changed());
        bench
    }

    fn requests(&mut self) {
        assert!(self.desired.is_due(), "{:?}", self.desired);
        self.desired.on_requested(self.now);
        assert!(!self.desired.is_due());
    }

    fn receives(&mut self, version: u64, values: Value) {
        self.desired.on_fetched(self.now, &mut self.rng, Ok(properties(version, values)));
    }

    fn fetches(&mut self, version: u64, values: Value) {
        self.requests();
        self.receives(version, values);
    }

    fn notice(&mut self, body: &str) {
        self.desired.on_notice(self.now, &mut self.rng, body.as_bytes());
    }

    /// A notice that sets `v` to its version.
    fn changes(&mut self, version: u64) {
        self.notice(&json!({ "v": version, "$version": version }).to_string());
    }

    fn reconnects(&mut self) {
        self.desired.on_lost();
        assert!(!self.desired.is_due());
        self.desired.on_subscribed();
    }

    fn wait_for_timer(&mut self) -> Duration {
        let next = self.desired.next_deadline().expect("something to wait for");
        let waited = next - self.now;
        self.now = next;
        self.desired.on_time(next);
        assert_eq!(self.desired.next_deadline(), None);
        waited
    }

    fn take_newest(&mut self) -> Option<(u64, Value)> {
        let (_, news) = self.desired.incoming.latest.newer_than(0).filter(|_| self.desired.has_changed())?;
        Some((news.version, Value::Object(news.values.clone())))
    }

    fn is_live(&self) -> bool {
        self.desired.phase == Phase::Live
    }
}

/// Desired properties that the program does not follow.
fn unfollowed() -> Desired {
    Desired::new(Incoming::new(&HubOptions::default()).0)
}

fn properties(version: u64, values: Value) -> Properties {
    match values {
        Value::Object(values) => Properties::new(version, values),
        other => panic!("{other} is not an object"),
    }
}

/// The examples of the documentation.
#[test]
fn the_twin_comes_first_and_notices_continue_it() {
    let mut it = Bench::watched();
    assert_eq!(it.take_newest(), None);
    it.requests();
    let body = br#"{"desired":{"telemetrySendFrequency":"5m","route":{"a":1},"$version":7},"reported":{"$version":1}}"#;
    let twin = Twin::parse(body).expect("a twin");
    it.desired.on_fetched(it.now, &mut it.rng, Ok(twin.desired));
    assert_eq!(it.take_newest(), Some((7, json!({"telemetrySendFrequency": "5m", "route": {"a": 1}}))));
    assert_eq!(it.take_newest(), None, "returned once");
    it.notice(r#"{"telemetrySendFrequency":"10m","route":null,"$version":8}"#);
    assert_eq!(it.take_newest(), Some((8, json!({"telemetrySendFrequency": "10m"}))));
    assert!(it.is_live() && it.desired.next_deadline().is_none());
}

#[test]
fn old_notices_are_dropped_and_early_ones_wait_for_the_twin() {
    let mut it = Bench::watched();
    it.changes(3);
    it.requests();
    for version in [6, 4, 5, 7, 7, 2] {
        it.changes(version);
    }
    assert_eq!(it.take_newest(), None);
    it.receives(5, json!({ "v": 5, "kept": true }));
    assert_eq!(it.take_newest(), Some((7, json!({ "v": 7, "kept": true }))));
    for old in [7, 6, 1] {
        it.changes(old);
        assert_eq!(it.take_newest(), None);
        assert!(it.is_live());
    }
    it.changes(8);
    assert_eq!(it.take_newest().map(|it| it.0), Some(8));
}

#[test]
fn a_gap_is_filled_from_the_twin() {
    let mut it = Bench::live(1, json!({}));
    it.changes(3);
    assert_eq!(it.take_newest(), None, "a state with a missing change is not published");
    assert_eq!(it.wait_for_timer(), SPACING, "not more often than that");
    it.fetches(3, json!({ "v": 3, "two": 2 }));
    assert_eq!(it.take_newest(), Some((3, json!({ "v": 3, "two": 2 }))));
    assert!(it.is_live());

    // The last fetch was long ago, so the client fetches at once after the next gap.
    it.now += SPACING;
    it.changes(5);
    it.changes(6);
    it.fetches(4, json!({ "v": 4 }));
    assert_eq!(it.take_newest(), Some((6, json!({ "v": 6 }))), "changes 5 and 6 waited for 4");
}

#[test]
fn a_twin_older_than_the_notices_is_fetched_again_with_growing_waits() {
    let mut it = Bench::watched();
    it.requests();
    it.changes(9);
    it.receives(5, json!({}));
    assert_eq!(it.take_newest().map(|it| it.0), Some(5));
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert!(!it.is_live());
        waits.push(it.wait_for_timer());
        it.fetches(5, json!({}));
    }
    assert!(waits[0] <= Duration::from_secs(1) && waits[0] >= Duration::from_millis(500), "{waits:?}");
    assert!(waits.iter().all(|it| *it <= Duration::from_secs(30)) && waits[7] >= Duration::from_secs(15), "{waits:?}");
    assert_eq!(it.take_newest(), None);
    it.wait_for_timer();
    it.fetches(8, json!({}));
    assert_eq!(it.take_newest(), Some((9, json!({ "v": 9 }))));
    assert!(it.is_live() && it.desired.failures == 0);
}

#[test]
fn each_connection_fetches_and_trusts_the_twin_of_the_same_version() {
    let mut it = Bench::live(4, json!({ "a": 1 }));
    it.reconnects();
    it.fetches(4, json!({ "a": 1 }));
    assert_eq!(it.take_newest(), None, "nothing new");
    it.reconnects();
    it.fetches(9, json!({ "b": 1 }));
    assert_eq!(it.take_newest(), Some((9, json!({ "b": 1 }))), "the change that was missed while disconnected");
    it.reconnects();
    it.fetches(9, json!({ "c": 1 }));
    assert_eq!(it.take_newest(), Some((9, json!({ "c": 1 }))), "a change that came without a notice");
    // Notices of the old connection are dropped with it.
    it.reconnects();
    it.changes(11);
    it.reconnects();
    it.fetches(10, json!({}));
    assert_eq!(it.take_newest(), Some((10, json!({}))));
    assert!(it.is_live());
}

#[test]
fn more_notices_than_can_wait_cost_a_fetch_and_lose_no_change() {
    let mut it = Bench::watched();
    it.requests();
    let last = 1 + u64::try_from(WAITING_MAX).expect("few") * 3;
    for version in 2..=last {
        it.changes(version);
        assert!(it.desired.waiting.len() <= WAITING_MAX);
    }
    it.receives(1, json!({}));
    assert!(!it.is_live());
    it.wait_for_timer();
    it.fetches(last, json!({ "v": last }));
    assert_eq!(it.take_newest(), Some((last, json!({ "v": last }))));
    assert!(it.is_live());
}

#[test]
fn an_unreadable_notice_costs_one_fetch_and_never_a_tight_loop() {
    for body in ["", "[]", "no JSON", r#"{"a":1}"#, r#"{"a":1,"$version":"8"}"#, r#"{"$version":-1}"#] {
        let mut it = Bench::live(7, json!({}));
        it.notice(body);
        assert_eq!(it.take_newest(), None);
        assert!(it.wait_for_timer() >= Duration::from_millis(500), "{body}");
        it.fetches(8, json!({ "a": 1 }));
        assert_eq!(it.take_newest(), Some((8, json!({ "a": 1 }))));
        assert!(it.is_live());
    }
    // If an unreadable change arrives during a fetch, the client fetches once more, because the fetched twin may be
    // older than the change.
    let mut it = Bench::watched();
    it.requests();
    it.notice("no JSON");
    it.receives(7, json!({}));
    assert!(it.wait_for_timer() >= Duration::from_millis(500));
    it.fetches(8, json!({}));
    assert!(it.is_live());

    let mut it = Bench::watched();
    for _ in 0..5 {
        it.requests();
        it.desired.on_fetched(it.now, &mut it.rng, Err(ProtoError::Missing("desired")));
        assert!(it.wait_for_timer() >= Duration::from_millis(500));
    }
    it.requests();
    it.desired.on_failed(it.now, &mut it.rng, Some(Duration::from_secs(50)));
    assert!(it.wait_for_timer() >= Duration::from_secs(50), "as long as the hub requests");
    it.fetches(1, json!({}));
    assert_eq!(it.take_newest(), Some((1, json!({}))));
}

#[test]
fn an_older_version_is_accepted_after_a_second_response_with_it() {
    let mut it = Bench::live(50, json!({ "old": 1 }));
    it.reconnects();
    it.fetches(2, json!({ "new": 2 }));
    assert_eq!(it.take_newest(), None);
    assert_eq!(it.wait_for_timer(), CONFIRM_AFTER);
    it.changes(3);
    it.requests();
    it.changes(4);
    it.receives(3, json!({ "new": 3 }));
    assert_eq!(it.take_newest(), Some((4, json!({ "new": 3, "v": 4 }))), "the twin was created again");
    assert!(it.is_live());

    // A single response from a copy that lags behind.
    let mut it = Bench::live(50, json!({}));
    it.reconnects();
    it.fetches(49, json!({}));
    it.changes(50);
    assert!(!it.desired.is_due(), "nothing new");
    it.changes(51);
    assert_eq!(it.take_newest(), None, "the change may belong to either twin");
    assert_eq!(it.wait_for_timer(), SPACING, "fetched again soon");
    it.fetches(49, json!({}));
    assert_eq!(it.take_newest(), None, "the older version is not accepted sooner");
    it.changes(52);
    assert_eq!(it.wait_for_timer(), SPACING);
    it.fetches(50, json!({}));
    assert_eq!(it.take_newest(), Some((52, json!({ "v": 52 }))));
    assert!(it.is_live());
    it.now += CONFIRM_AFTER;
    it.changes(54);
    it.fetches(49, json!({}));
    assert_eq!(it.wait_for_timer(), SPACING, "the notice has a newer version");
    it.fetches(49, json!({}));
    assert_eq!(it.take_newest(), None, "the earlier older response does not count");

    // An older twin that came over the earlier connection does not count. So the first older twin on the new connection
    // starts the full wait.
    it.reconnects();
    it.fetches(49, json!({}));
    assert_eq!((it.wait_for_timer(), it.take_newest()), (CONFIRM_AFTER, None));
    // If the program then reads a newer twin, the client forgets the older twin. So the next older twin starts the full
    // wait again.
    it.desired.on_seen(&properties(60, json!({})));
    assert_eq!(it.take_newest().map(|it| it.0), Some(60));
    it.fetches(59, json!({}));
    assert_eq!((it.wait_for_timer(), it.take_newest()), (CONFIRM_AFTER, None));
}

#[test]
fn a_twin_that_the_program_read_counts_if_it_is_newer() {
    let mut it = Bench::live(5, json!({}));
    for (version, news) in [(4, None), (5, None), (7, Some(7)), (6, None)] {
        it.desired.on_seen(&properties(version, json!({ "v": version })));
        assert_eq!(it.take_newest().map(|it| it.0), news, "{version}");
        assert!(it.is_live());
    }
    it.changes(7);
    assert_eq!(it.take_newest(), None);
    it.changes(8);
    assert_eq!(it.take_newest().map(|it| it.0), Some(8));

    let mut unfollowed = unfollowed();
    unfollowed.on_seen(&properties(1, json!({})));
    unfollowed.on_notice(it.now, &mut it.rng, br#"{"$version":2}"#);
    assert!(!unfollowed.has_changed() && unfollowed.waiting.is_empty());
}

#[test]
fn readers_keep_the_state_that_they_took() {
    let mut it = Bench::live(1, json!({ "v": 1 }));
    it.changes(2);
    let (_, held) = it.desired.incoming.latest.newer_than(0).expect("a state");
    assert!(it.desired.has_changed());
    it.changes(3);
    assert_eq!(held.get("v"), Some(&json!(2)));
    assert_eq!(it.take_newest(), Some((3, json!({ "v": 3 }))));
}

/// A property of 4 KB that no other notice has.
fn large(version: u64) -> Value {
    json!({ format!("p{version}"): "x".repeat(4000) })
}

impl Bench {
    /// Sends notices with large properties until one of them exceeds the limit. Returns the version of this notice.
    fn outgrows(&mut self, mut version: u64) -> u64 {
        while self.is_live() {
            version += 1;
            let mut notice = large(version);
            notice["$version"] = version.into();
            self.notice(&notice.to_string());
        }
        version
    }
}

#[test]
fn a_state_beyond_the_bound_costs_one_fetch_and_then_the_connection() {
    let mut it = Bench::live(1, json!({ "v": 1 }));
    let last = it.outgrows(1);
    assert!(last > 8 && last < 40, "{last}");
    assert_eq!(it.take_newest().map(|it| it.0), Some(last - 1), "the last state within the bounds");
    assert_eq!(it.desired.broken(), None);
    assert_eq!(it.wait_for_timer(), SPACING, "not more often than that");
    // The twin at the hub is smaller than the sum of the changes, so the client continues. It tolerates a too large
    // change once on each connection.
    it.fetches(last, json!({ "v": 2 }));
    assert!(it.is_live());
    assert_eq!(it.take_newest(), Some((last, json!({ "v": 2 }))));
    it.now += SPACING;
    let again = it.outgrows(last);
    assert!(matches!(it.desired.broken(), Some(ProtoError::TooLarge { .. })));
    assert_eq!(it.desired.broken(), None, "returned once");
    assert!(!it.desired.is_due() && it.desired.next_deadline().is_none(), "no further fetch is planned");
    assert_eq!(it.take_newest().map(|it| it.0), Some(again - 1));

    // The next connection starts with a fetch of the twin. On this connection, a change may exceed the limit once
    // again.
    it.reconnects();
    it.fetches(again, json!({ "v": 3 }));
    assert_eq!(it.take_newest(), Some((again, json!({ "v": 3 }))));
    it.outgrows(again);
    assert_eq!(it.desired.broken(), None);
}

#[test]
fn a_twin_that_is_too_large_itself_breaks_the_protocol() {
    let everything: Value =
        (0..20).flat_map(|it| properties(0, large(it)).values).collect::<serde_json::Map<_, _>>().into();
    let mut it = Bench::watched();
    it.fetches(7, everything.clone());
    assert!(matches!(it.desired.broken(), Some(ProtoError::TooLarge { .. })));
    assert_eq!(it.take_newest(), None);

    let mut it = Bench::live(1, json!({}));
    let last = it.outgrows(1);
    it.wait_for_timer();
    it.fetches(last, everything.clone());
    assert!(matches!(it.desired.broken(), Some(ProtoError::TooLarge { .. })));
    assert_eq!(it.take_newest().map(|it| it.0), Some(last - 1));

    // If the program itself requests the twin, a too large twin does not end the connection. But the receivers of
    // desired properties do not get this twin.
    let mut it = Bench::live(1, json!({}));
    it.desired.on_seen(&properties(9, everything));
    assert_eq!((it.take_newest(), it.desired.broken()), (None, None));
}

#[test]
fn waiting_notices_are_bounded_in_bytes_too() {
    let mut it = Bench::watched();
    it.requests();
    let body = |version: u64| json!({ "p": "x".repeat(WAITING_BYTES_MAX / 4), "$version": version }).to_string();
    for version in 2..=20 {
        it.notice(&body(version));
        assert!(it.desired.waiting.iter().map(|it| it.bytes).sum::<usize>() <= WAITING_BYTES_MAX);
    }
    it.receives(1, json!({}));
    assert!(!it.is_live() && it.desired.broken().is_none(), "notices were dropped, so the twin is fetched again");

    // If a single notice exceeds the limit, the client does not parse it.
    let mut it = Bench::live(1, json!({}));
    let huge = format!("{{\"p\":{}1{},\"$version\":2}}", "[".repeat(WAITING_BYTES_MAX), "]".repeat(WAITING_BYTES_MAX));
    it.notice(&huge);
    assert_eq!((it.take_newest(), it.desired.broken()), (None, None));
    it.wait_for_timer();
    it.fetches(2, json!({}));
    it.notice(&huge);
    assert!(matches!(it.desired.broken(), Some(ProtoError::TooLarge { .. })));

    // If a too large notice arrives during a fetch, the client fetches once more, because the fetched twin may be older
    // than the notice. Receivers still get the twin of the first fetch.
    let mut it = Bench::watched();
    it.requests();
    it.notice(&huge);
    it.receives(1, json!({ "v": 1 }));
    assert_eq!(it.take_newest(), Some((1, json!({ "v": 1 }))));
    it.wait_for_timer();
    it.fetches(2, json!({ "v": 2 }));
    assert!(it.is_live() && it.desired.broken().is_none());
}
