//! The machine sleeps, its clock is set, and tokens grow old. In each case, the hub must receive a fresh token.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use tokio::time::{Instant, sleep};

use super::*;

/// The wall clock at the start, in seconds since 1970.
const START: u64 = 1_700_000_000;

const LIFE: u64 = 3600;

/// A wall clock. It advances with tokio's paused clock, and a test can also set it.
#[derive(Clone)]
struct Wall {
    start: Instant,
    /// Seconds by which the clock was set.
    shift: Arc<AtomicI64>,
}

impl Wall {
    fn new() -> Self {
        Self { start: Instant::now(), shift: Arc::default() }
    }

    fn seconds(&self) -> u64 {
        (START + self.start.elapsed().as_secs()).saturating_add_signed(self.shift.load(Ordering::SeqCst))
    }

    /// Moves the wall clock by `by` seconds. Moving it forward also simulates a sleep of the machine, because the
    /// monotonic clock stops during a sleep.
    fn jump(&self, by: i64) {
        self.shift.fetch_add(by, Ordering::SeqCst);
    }

    fn spawn(&self, hub: &FakeHub, credential: Credential) -> HubClient {
        let wall = self.clone();
        let now = move || SystemTime::UNIX_EPOCH + seconds(wall.seconds());
        HubClient::spawn_by(hub.boxed(), login(), credential, options().token_lifetime(seconds(LIFE)), Arc::new(now))
    }
}

/// Records every state that is a failure.
fn failures(client: &HubClient) -> tokio::task::JoinHandle<Vec<String>> {
    let mut state = client.state();
    tokio::spawn(async move {
        let mut failures = Vec::new();
        loop {
            match &*state.borrow_and_update() {
                ConnectionState::Closed { .. } => return failures,
                ConnectionState::Disconnected { cause, .. } => failures.push(cause.to_string()),
                _ => {}
            }
            state.changed().await.expect("the closed state comes before the channel closes");
        }
    })
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_past_the_expiry_or_a_clock_set_forward_a_fresh_token_is_used() {
    for in_place in [false, true] {
        let (hub, wall) = (FakeHub::new([]), Wall::new());
        hub.lock().renew_in_place = in_place;
        let client = wall.spawn(&hub, credential());
        client.connected().await.expect("a login");
        let failed = failures(&client);
        sleep(seconds(100)).await;
        wall.jump(2 * 3600);
        // Without any event, the client still notices the sleep.
        sleep(seconds(61)).await;
        let expiries = hub.lock().expiries.clone();
        assert_eq!(expiries.len(), 2, "{expiries:?}");
        assert!(expiries[1] > wall.seconds() + LIFE - 70, "the full lifetime, counted from the new time");
        client.send(Message::new("m")).await.expect("an acknowledgement");
        assert_eq!(hub.opened(), if in_place { 1 } else { 2 });
        client.close(seconds(5)).await.expect("everything is acknowledged");
        assert_eq!(failed.await.expect("no panic"), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_does_not_delay_the_renewal() {
    let (hub, wall) = (FakeHub::new([]), Wall::new());
    let client = wall.spawn(&hub, credential());
    client.connected().await.expect("a login");
    sleep(seconds(100)).await;
    wall.jump(-2 * 3600);
    sleep(seconds(3300)).await;
    assert_eq!(hub.opened(), 2, "at 90 % at the latest");
    // The clock is set back by two hours, then the machine sleeps for one hour. The client must renew the token, which
    // is then an hour old, although the wall clock shows an earlier time.
    wall.jump(-2 * 3600);
    sleep(seconds(61)).await;
    wall.jump(3600);
    sleep(seconds(61)).await;
    assert_eq!(hub.opened(), 3);
    assert!(hub.lock().expiries[2] > wall.seconds() + LIFE - 70);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_in_the_middle_of_the_first_login_does_not_end_the_client() {
    for outcome in [AttemptOutcome::HangOpening, AttemptOutcome::HangLogin] {
        let (hub, wall) = (FakeHub::new([outcome]), Wall::new());
        let client = wall.spawn(&hub, credential());
        until_idle().await;
        assert_eq!(hub.opened(), 1);
        wall.jump(2 * 3600);
        // Any event wakes the client; here it is a message.
        client.send(Message::new("m")).await.expect("an acknowledgement");
        let expiries = hub.lock().expiries.clone();
        assert_eq!(expiries.len(), 2, "{expiries:?}");
        assert_eq!(expiries[1], wall.seconds() + LIFE);
        assert_eq!(wall.start.elapsed(), Duration::ZERO, "no attempt had to fail first: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_while_waiting_for_the_next_attempt_changes_nothing_but_the_token() {
    let (hub, wall) =
        (FakeHub::new([AttemptOutcome::Accept, AttemptOutcome::Refuse(3), AttemptOutcome::Refuse(3)]), Wall::new());
    let client = wall.spawn(&hub, credential());
    client.connected().await.expect("a login");
    hub.cut();
    until_state(&client, |it| matches!(it, ConnectionState::Disconnected { .. })).await;
    wall.jump(24 * 3600);
    client.connected().await.expect("connected after the retries");
    let last = hub.lock().expiries.last().copied().expect("a token");
    assert!(last > wall.seconds() + LIFE - 70);
}

#[tokio::test(start_paused = true)]
async fn a_ready_token_is_never_treated_as_old() {
    let (hub, wall) = (FakeHub::new([]), Wall::new());
    let resource = login().identity.sas_resource();
    let key = SharedKey::from_base64(KEY).expect("a key");
    let expiry = hubward_transport::UnixSeconds(START + LIFE);
    let token = Credential::SharedKey(key).token(&resource, expiry, None).await.expect("no error").expect("a token");
    let client = wall.spawn(&hub, Credential::Token(token));
    client.connected().await.expect("a login");
    wall.jump(2 * 3600);
    sleep(seconds(3 * 3600)).await;
    client.send(Message::new("m")).await.expect("an acknowledgement");
    assert_eq!(hub.opened(), 1, "the client cannot sign another token, so the hub decides");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_identity_is_reported_and_slows_reconnects() {
    let hub = FakeHub::new([]);
    let client = spawn(&hub, options());
    let mut state = client.state();
    for takeover in 1..=5 {
        client.connected().await.expect("a login");
        hub.cut();
        let found = state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. })).await.expect("alive");
        let ConnectionState::Disconnected { cause, next_try, .. } = &*found else { panic!("{found:?}") };
        let is_named = matches!(cause, DisconnectCause::DuplicateIdentity { takeovers: 5, .. });
        assert_eq!(is_named, takeover == 5, "{cause}");
        assert!(!is_named || *next_try >= Instant::now() + seconds(60));
    }
    assert!(client.last_error().is_some_and(|it| it.fault() == hubward_transport::Fault::Credential));
}
