//! Single decisions of the core, with one table or scenario each.

use super::*;
use crate::Backoff;
use hubward_transport::{CredentialError, Refusal, RefusedBy, TlsFault};

const LIFE: Duration = Duration::from_secs(3600);

/// A token that was just signed.
const FRESH: TokenLife = TokenLife { span: LIFE, age: Duration::ZERO };

fn seconds(from: u64) -> Duration {
    Duration::from_secs(from)
}

fn options() -> HubOptions {
    HubOptions::default().seed(Some(1)).window(4)
}

fn core(options: HubOptions) -> (Core<u32>, Instant) {
    let now = Instant::now();
    (Core::new(Setup { options, target: target(), is_supervised: false }, now), now)
}

fn target() -> TargetSetup {
    TargetSetup { endpoint: "hub.example:8883".into(), token: TokenKind::Renewable, renew_in_place: false }
}

fn open(core: &mut Core<u32>, now: Instant) {
    core.on_time(now);
    assert!(matches!(core.link(), Link::Opening(_)), "{:?}", core.phase);
}

fn connect(core: &mut Core<u32>, now: Instant) {
    open(core, now);
    core.on_opened(now, Some(FRESH));
    core.on_ready(now);
    assert!(matches!(core.link(), Link::Open(_)), "{:?}", core.phase);
}

fn lose(core: &mut Core<u32>, now: Instant) -> Instant {
    core.on_lost(now, closed());
    next_try(core)
}

fn next_try(core: &Core<u32>) -> Instant {
    match core.state {
        ConnectionState::Disconnected { next_try, .. } => next_try,
        ref other => panic!("{other:?}"),
    }
}

fn closed() -> TransportError {
    TransportError::Closed { endpoint: "hub.example:8883".into(), stage: Stage::Exchange, source: None }
}

fn refused(code: u8) -> TransportError {
    let refusal = Refusal::new("hub.example:8883".into(), Stage::Login, RefusedBy::Connack(code));
    TransportError::Refused(Box::new(refusal))
}

fn untrusted() -> TransportError {
    let source = std::io::ErrorKind::InvalidData.into();
    TransportError::Tls { endpoint: "hub.example:8883".into(), fault: TlsFault::Untrusted, source }
}

fn sends(core: &mut Core<u32>, now: Instant) -> Vec<(u16, bool)> {
    std::iter::from_fn(|| core.next_send(now)).map(|(tag, again)| (tag.0.get(), again)).collect()
}

fn outcomes(core: &mut Core<u32>) -> Vec<(u32, &'static str)> {
    let name = |outcome| match outcome {
        SendOutcome::Acknowledged => "acknowledged",
        SendOutcome::Refused(_) => "refused",
        SendOutcome::NotSent(_) => "not sent",
        SendOutcome::Unknown(_) => "unknown",
    };
    core.resolved().drain(..).map(|(message, outcome)| (message, name(outcome))).collect()
}

fn tag(number: u16) -> Tag {
    Tag(std::num::NonZeroU16::new(number).expect("not zero"))
}

#[test]
fn a_first_login_ends_the_client_if_a_retry_cannot_help() {
    for (error, ends) in [
        (refused(5), true),
        (refused(4), true),
        (refused(1), true),
        (untrusted(), true),
        (TransportError::Unsupported("telemetry over HTTPS"), true),
        (TransportError::Credential(CredentialError::Signer("no key".into())), true),
        (refused(3), false),
        (closed(), false),
    ] {
        let text = error.to_string();
        let (mut core, now) = core(options());
        core.enqueue(7, None);
        open(&mut core, now);
        core.on_lost(now, error);
        assert_eq!(matches!(core.state, ConnectionState::Closed { reason: CloseReason::Refused(_) }), ends, "{text}");
        assert_eq!(core.link() == Link::Ended, ends, "{text}");
        let expected: &[_] = if ends { &[(7, "not sent")] } else { &[] };
        assert_eq!(outcomes(&mut core), expected, "{text}");
        assert_eq!(core.next_deadline().is_none(), ends, "{text}");
    }
}

#[test]
fn after_a_first_success_a_refusal_is_retried_slowly() {
    for error in [refused(5), untrusted()] {
        let (mut core, now) = core(options());
        connect(&mut core, now);
        let at = lose(&mut core, now);
        open(&mut core, at);
        core.on_lost(at, error);
        assert!(next_try(&core) >= at + seconds(15), "{:?}", core.state);
    }
}

#[test]
fn a_ready_token_that_is_no_longer_accepted_ends_the_client() {
    let (mut core, now) = core(options());
    core.setup.target.token = TokenKind::Fixed;
    open(&mut core, now);
    core.on_opened(now, None);
    core.on_ready(now);
    assert_eq!(core.next_deadline(), None, "the token cannot be renewed");
    let at = lose(&mut core, now);
    open(&mut core, at);
    core.on_lost(at, refused(5));
    assert!(matches!(core.state, ConnectionState::Closed { reason: CloseReason::Refused(_) }));
}

#[test]
fn the_waits_restart_only_after_a_connection_that_lasted() {
    let (mut core, mut now) = core(options());
    let mut attempts = Vec::new();
    for lasted in [0, 1, 29, 30, 0, 31] {
        connect(&mut core, now);
        now += seconds(lasted);
        now = lose(&mut core, now);
        attempts.push(core.failures.attempt());
    }
    assert_eq!(attempts, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn a_planned_reconnect_does_not_interrupt_the_time_of_a_connection() {
    let (mut core, mut now) = core(options());
    connect(&mut core, now);
    for _ in 0..3 {
        now += seconds(20);
        assert!(core.on_token_old(now));
        core.on_time(now);
        core.on_disconnected(now);
        core.on_opened(now, Some(FRESH));
        core.on_ready(now);
    }
    core.failures = FailureCounts::default();
    core.failures.failed(&DisconnectCause::Transport(Arc::new(closed())), &core.setup.options, &mut core.rng);
    lose(&mut core, now);
    assert_eq!(core.failures.attempt(), 1, "the hub has accepted the client for a minute");
}

#[test]
fn a_stopped_emulator_does_not_end_a_client() {
    let not_listening = || TransportError::NotListening {
        endpoint: "localhost:8883".into(),
        source: std::io::ErrorKind::ConnectionRefused.into(),
    };
    for was_connected in [false, true] {
        let (mut core, mut now) = core(options());
        if was_connected {
            connect(&mut core, now);
            now = lose(&mut core, now);
        }
        for _ in 0..100 {
            open(&mut core, now);
            core.on_lost(now, not_listening());
            now = next_try(&core);
        }
        connect(&mut core, now);
    }
}

#[test]
fn a_hub_that_accepts_and_closes_is_retried_slowly_and_reported_as_a_duplicate() {
    let (mut core, mut now) = core(options());
    for cycle in 1..=20_u32 {
        connect(&mut core, now);
        let at = lose(&mut core, now);
        let ConnectionState::Disconnected { cause, attempt, .. } = &core.state else { panic!("{:?}", core.state) };
        assert_eq!(*attempt, cycle);
        match cause {
            DisconnectCause::DuplicateIdentity { takeovers, source } if cycle >= 5 => {
                assert_eq!(*takeovers, cycle);
                assert!(matches!(**source, TransportError::Closed { .. }));
                assert!((seconds(60)..=seconds(120)).contains(&(at - now)), "{:?}", at - now);
            }
            DisconnectCause::Transport(_) if cycle < 5 => assert!(at - now <= seconds(16)),
            other => panic!("cycle {cycle}: {other:?}"),
        }
        now = at;
    }
    // A connection that ends before the login is not a takeover. So the core reports the transport error as the cause.
    // It still waits at least 60 s, because it still suspects that another client uses the identity.
    open(&mut core, now);
    let at = lose(&mut core, now);
    assert!(matches!(core.last_cause(), Some(DisconnectCause::Transport(_))) && at - now >= seconds(60));
    // A connection that lasts one minute does not end the suspicion. A connection that lasts ten minutes does.
    for (lasted, suspected) in [(60, true), (600, false)] {
        let at = next_try(&core);
        connect(&mut core, at);
        lose(&mut core, at + seconds(lasted));
        let found = matches!(core.last_cause(), Some(DisconnectCause::DuplicateIdentity { .. }));
        assert_eq!(found, suspected, "after {lasted} s");
    }
    let (at, lost) = (next_try(&core), core.attempts);
    assert!(lost > 20 && core.failures.attempt() == 1, "{at:?}");
}

#[test]
fn timeouts_of_the_client_do_not_count_as_takeovers() {
    let (mut core, mut now) = core(options());
    for _ in 0..20 {
        connect(&mut core, now);
        let endpoint = "hub.example:8883".into();
        core.on_lost(now, TransportError::Timeout { endpoint, stage: Stage::Exchange, after: seconds(20) });
        assert!(matches!(core.last_cause(), Some(DisconnectCause::Transport(_))));
        now = next_try(&core);
    }
}

/// Two clients, and a hub that keeps only the newest connection.
#[test]
fn two_clients_with_one_identity_both_detect_it_and_slow_down() {
    for seed in 0..200 {
        let start = Instant::now();
        let mut clients = [seed, seed + 1000].map(|seed| core(options().seed(Some(seed))).0);
        // `known`: for each client, the number of takeovers after which it detected the other client. `lost`: how often
        // each client lost its connection.
        let (mut known, mut lost) = ([None; 2], [0_u32; 2]);
        let mut late = 0;
        loop {
            let Some((at, next)) = (0..2).filter_map(|it| Some((clients[it].next_deadline()?, it))).min() else {
                panic!("both wait for ever")
            };
            if at > start + seconds(2 * 3600) {
                break;
            }
            clients[next].on_time(at);
            if !matches!(clients[next].link(), Link::Opening(_)) {
                continue;
            }
            clients[next].on_opened(at, Some(FRESH));
            clients[next].on_ready(at);
            let other = 1 - next;
            if clients[other].up().is_some() {
                lost[other] += 1;
                let again = lose(&mut clients[other], at);
                let is_known = matches!(clients[other].last_cause(), Some(DisconnectCause::DuplicateIdentity { .. }));
                if is_known {
                    known[other].get_or_insert(lost[other]);
                    assert!(again >= at + seconds(60), "seed {seed}: {:?}", again - at);
                }
                late += u32::from(at >= start + seconds(3600));
            }
        }
        for known in known {
            assert!(known.is_some_and(|it| it <= 5), "seed {seed}: known after {known:?} takeovers");
        }
        assert!(late <= 60, "seed {seed}: {late} takeovers in the second hour");
    }
}

#[test]
fn a_token_that_aged_during_an_attempt_is_replaced_before_the_hub_sees_it() {
    for opened in [false, true] {
        let (mut core, now) = core(options());
        open(&mut core, now);
        if opened {
            core.on_opened(now, Some(FRESH));
        }
        assert!(core.on_token_old(now + seconds(1)));
        assert!(matches!(core.link(), Link::Opening(2)), "{:?}", core.link());
        assert!(matches!(core.state, ConnectionState::Connecting) && core.failures.attempt() == 0, "no failure");
    }
    let (mut core, now) = core(options());
    assert!(!core.on_token_old(now), "the next attempt signs its own token anyway");
}

#[test]
fn a_token_that_lives_no_longer_than_a_login_takes_is_not_replaced_for_ever() {
    let (mut core, mut now) = core(options());
    open(&mut core, now);
    let limit = now + core.setup.options.login_deadline;
    while now < limit {
        assert!(core.on_token_old(now));
        assert_eq!(core.next_deadline(), Some(limit));
        now += seconds(1);
    }
    core.on_time(limit);
    assert!(matches!(core.state, ConnectionState::Disconnected { attempt: 1, .. }), "{:?}", core.state);
}

#[test]
fn the_time_to_connect_counts_towards_the_age_of_the_token() {
    let (mut core, now) = core(options());
    for (age, least, most) in [(0, 2880, 3240), (1800, 1080, 1440), (3500, 360, 360)] {
        let life = TokenLife { span: LIFE, age: seconds(age) };
        let due = core.renew_at(now, life) - now;
        assert!((seconds(least)..=seconds(most)).contains(&due), "{age}: {due:?}");
    }
}

#[test]
fn an_attempt_that_hangs_times_out_and_names_the_stage() {
    let (mut core, now) = core(options());
    open(&mut core, now);
    assert_eq!(core.next_deadline(), Some(now + seconds(30)));
    let stage = |core: &Core<u32>| core.last_cause.as_ref()?.transport_error()?.stage();
    core.on_time(now + seconds(30));
    assert_eq!(stage(&core), Some(Stage::Connect));
    let at = next_try(&core);
    open(&mut core, at);
    core.on_opened(at + seconds(10), Some(FRESH));
    assert_eq!(core.next_deadline(), Some(at + seconds(30)), "one deadline for connecting and logging in");
    core.on_time(at + seconds(30));
    assert_eq!(stage(&core), Some(Stage::Login));
}

#[test]
fn an_overdue_acknowledgement_reconnects_after_a_doubling_time() {
    let (mut core, mut now) = core(options().send_deadline(None));
    core.enqueue(7, None);
    for timeout in [30, 60, 120, 240, 480, 600, 600] {
        connect(&mut core, now);
        assert_eq!(sends(&mut core, now), [(1, timeout != 30)]);
        assert_eq!(core.next_deadline(), Some(now + seconds(timeout)));
        now += seconds(timeout);
        core.on_time(now);
        let ConnectionState::Disconnected { cause: DisconnectCause::AckOverdue { after }, .. } = core.state else {
            panic!("{:?}", core.state)
        };
        assert_eq!(after, seconds(timeout));
        now = next_try(&core);
    }
    connect(&mut core, now);
    sends(&mut core, now);
    core.on_done(now + seconds(31), tag(1));
    assert_eq!(core.ack_timeout, seconds(600), "a late acknowledgement changes nothing");
    core.enqueue(8, None);
    sends(&mut core, now);
    core.on_done(now + seconds(1), tag(2));
    assert_eq!(core.ack_timeout, seconds(30), "one in time resets the limit");
    assert_eq!(outcomes(&mut core), [(7, "acknowledged"), (8, "acknowledged")]);
}

#[test]
fn later_acknowledgements_do_not_hide_a_missing_one() {
    let (mut core, now) = core(options());
    connect(&mut core, now);
    core.enqueue(0, None);
    assert_eq!(sends(&mut core, now), [(1, false)]);
    for at in 1..30 {
        let now = now + seconds(at);
        core.enqueue(0, None);
        core.on_time(now);
        for (tag, _) in sends(&mut core, now) {
            core.on_done(now, self::tag(tag));
        }
        assert!(matches!(core.state, ConnectionState::Connected));
    }
    core.on_time(now + seconds(30));
    assert!(matches!(core.state, ConnectionState::Disconnected { .. }));
}

#[test]
fn a_renewal_waits_for_acknowledgements_holds_new_messages_and_is_not_a_failure() {
    let (mut core, now) = core(options());
    connect(&mut core, now);
    core.enqueue(1, None);
    core.enqueue(2, None);
    let due = core.next_deadline().expect("a renewal");
    assert!((LIFE.mul_f64(0.8)..=LIFE.mul_f64(0.9)).contains(&(due - now)), "{:?}", due - now);
    let sent = due - seconds(1);
    assert_eq!(sends(&mut core, sent), [(1, false), (2, false)]);
    core.on_time(due);
    assert!(matches!(core.state, ConnectionState::Renewing));
    core.enqueue(3, None);
    assert_eq!(sends(&mut core, due), [], "nothing new is sent on the old connection");
    core.on_done(due, tag(1));
    assert!(matches!(core.link(), Link::Open(1)));
    // The second message is not acknowledged in time, so it is sent again on the new connection.
    core.on_time(due + seconds(5));
    assert!(matches!(core.link(), Link::Disconnecting(1)));
    core.on_disconnected(due + seconds(5));
    assert!(matches!(core.link(), Link::Opening(2)) && matches!(core.state, ConnectionState::Renewing));
    core.on_opened(due + seconds(6), Some(FRESH));
    core.on_ready(due + seconds(6));
    assert!(matches!(core.state, ConnectionState::Connected));
    assert_eq!(sends(&mut core, due + seconds(6)), [(2, true), (3, false)]);
    assert_eq!(core.failures.attempt(), 0);
    assert_eq!(outcomes(&mut core), [(1, "acknowledged")]);
}

#[test]
fn renewals_of_a_fleet_are_spread() {
    let due = |seed| {
        let (mut core, now) = core(options().seed(Some(seed)));
        connect(&mut core, now);
        (core.next_deadline().expect("a renewal") - now).as_secs()
    };
    let mut seconds: Vec<_> = (0..1000).map(due).collect();
    seconds.sort_unstable();
    let most = (0..1000).map(|at| seconds[at..].iter().take_while(|it| **it < seconds[at] + 5).count()).max();
    assert!(most < Some(50), "{most:?} of 1000 devices renew within 5 s");
}

#[test]
fn a_connection_that_breaks_during_a_renewal_is_not_a_failure() {
    let (mut core, now) = core(options());
    connect(&mut core, now);
    core.enqueue(1, None);
    sends(&mut core, now);
    assert!(core.on_token_old(now));
    core.on_time(now);
    core.on_lost(now, closed());
    assert!(matches!(core.link(), Link::Opening(2)) && matches!(core.state, ConnectionState::Renewing));
}

#[test]
fn a_renewal_in_place_continues_to_send() {
    let (mut core, now) = core(options());
    core.setup.target.renew_in_place = true;
    connect(&mut core, now);
    assert!(core.on_token_old(now));
    core.on_time(now);
    assert!(matches!(core.link(), Link::OpenRenewing(1)) && matches!(core.state, ConnectionState::Renewing));
    core.enqueue(1, None);
    assert_eq!(sends(&mut core, now), [(1, false)]);
    core.on_renewed(now, FRESH);
    assert!(matches!(core.link(), Link::Open(1)) && matches!(core.state, ConnectionState::Connected));
    core.on_done(now, tag(1));
    assert!(matches!(core.phase, Phase::Up { renew_at: Some(at) } if at >= now + LIFE.mul_f64(0.8)));
}

#[test]
fn closing_waits_only_for_unresolved_messages() {
    let (mut core, now) = core(options());
    core.close(now, now + seconds(5), CloseReason::Requested);
    assert_eq!((core.link(), core.next_deadline()), (Link::Ended, None));

    let (mut core, now) = self::core(options().backoff(Backoff::new(seconds(1), seconds(1))));
    connect(&mut core, now);
    core.enqueue(1, None);
    core.enqueue(2, None);
    core.close(now, now + seconds(5), CloseReason::Requested);
    assert_eq!(sends(&mut core, now), [(1, false), (2, false)], "queued messages are still sent");
    core.on_done(now, tag(1));
    // If the connection breaks during the close, the client reconnects.
    let at = lose(&mut core, now);
    connect(&mut core, at);
    assert_eq!(sends(&mut core, at), [(2, true)]);
    core.close(now, now + seconds(9), CloseReason::Requested);
    core.on_time(now + seconds(5));
    assert_eq!(outcomes(&mut core), [(1, "acknowledged"), (2, "unknown")], "the earliest moment counts");
    core.on_time(now + seconds(5));
    assert_eq!(core.link(), Link::Ended);
}

#[test]
fn a_message_that_no_connection_can_carry_is_refused_and_blocks_no_other() {
    let (mut core, now) = core(options());
    connect(&mut core, now);
    core.enqueue(1, None);
    core.enqueue(2, None);
    let (first, again) = core.next_send(now).expect("the first");
    core.on_unsendable(now, first, again, ProtoError::Missing("a reason"));
    assert_eq!(sends(&mut core, now), [(2, false)]);
    core.on_done(now, tag(2));
    assert_eq!(outcomes(&mut core), [(1, "refused"), (2, "acknowledged")]);
}

#[test]
fn a_message_past_its_deadline_is_not_sent_and_makes_room() {
    let (mut core, now) = core(options());
    core.enqueue(1, Some(now + seconds(2)));
    core.enqueue(2, None);
    core.enqueue(3, Some(now + seconds(1)));
    open(&mut core, now);
    core.on_lost(now, closed());
    assert!(core.next_deadline() <= Some(now + seconds(1)));
    core.on_time(now + seconds(1));
    let (message, outcome) = core.resolved().pop().expect("one message is resolved");
    assert!(
        matches!((message, outcome), (3, SendOutcome::NotSent(SendFailure::Deadline(Some(_))))),
        "says why the client was not connected"
    );
    assert_eq!(core.freed(), 1);
    core.on_time(now + seconds(2));
    assert_eq!(outcomes(&mut core), [(1, "not sent")]);
    assert_eq!(core.waiting.len(), 1);
}
