//! Tests of the life of a certificate. Both clocks are numbers.

use fastrand::Rng;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const CHECK_AT_LEAST_EVERY: Duration = Duration::from_secs(10 * 60);

/// The emulator makes a certificate valid from this time before it issues it.
const EARLIER: Duration = Duration::from_secs(5 * 60);

fn policy() -> RenewalPolicy {
    RenewalPolicy {
        renew_at: 0.8,
        jitter: 0.05,
        retry_wait: Backoff::new(MINUTE, HOUR),
        check_every: CHECK_AT_LEAST_EVERY,
    }
}

/// A time in 2026.
fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_700
}

/// Any moment.
fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A certificate for this time, which a service issues at `service` to a device whose clock is at `device`.
fn issued(life: Duration, service: SystemTime, device: SystemTime) -> Validity {
    Validity { not_before: service - EARLIER, not_after: service - EARLIER + life, issued_at: device }
}

fn life(validity: Validity) -> CertificateLife {
    CertificateLife::new(policy(), validity, false, 0.5)
}

#[test]
fn a_certificate_is_renewed_at_its_share_and_replaced_after_its_end() {
    let validity = issued(DAY * 10, epoch() + EARLIER, epoch() + EARLIER);
    let wait = |it: Duration| Due::Wait(it);
    for (at, random, expected) in [
        (Duration::ZERO, 0.5, wait(CHECK_AT_LEAST_EVERY)),
        (DAY * 8 - MINUTE, 0.5, wait(MINUTE)),
        (DAY * 8, 0.5, Due::Renew),
        (DAY * 15 / 2 - MINUTE, 0.0, wait(MINUTE)),
        (DAY * 15 / 2, 0.0, Due::Renew),
        (DAY * 17 / 2 - MINUTE, 1.0, wait(MINUTE)),
        (DAY * 17 / 2, 1.0, Due::Renew),
        (DAY * 10 - Duration::from_secs(1), 0.5, Due::Renew),
        (DAY * 10, 0.5, Due::Replace),
        (DAY * 10_000, 0.5, Due::Replace),
    ] {
        let life = CertificateLife::new(policy(), validity, false, random);
        assert_eq!(life.due(start(), epoch() + at), expected, "after {at:?}, random {random}");
        assert_eq!(life.is_expired(epoch() + at), expected == Due::Replace, "after {at:?}");
    }
}

#[test]
fn a_clock_that_is_wrong_or_jumps_causes_no_needless_request() {
    let week = DAY * 7;
    // What is due at a time of the device's clock, if the device's clock was `ahead` of or `behind` the service's when
    // the certificate was issued.
    let now = epoch();
    for (what, validity, wall, expected) in [
        ("a right clock", issued(week, now, now), now + DAY, None),
        ("a right clock jumps ahead", issued(week, now, now), now + DAY * 365, Some(Due::Replace)),
        ("it jumps back again", issued(week, now, now), now + DAY * 2, None),
        ("it jumps behind the certificate", issued(week, now, now), now - DAY * 365, None),
        ("a year ahead", issued(week, now, now + DAY * 365), now + DAY * 366, None),
        ("a year ahead, after 6 days", issued(week, now, now + DAY * 365), now + DAY * 371, Some(Due::Renew)),
        ("a year ahead, after 8 days", issued(week, now, now + DAY * 365), now + DAY * 373, Some(Due::Replace)),
        ("a year ahead, set back by 2 s", issued(week, now, now + DAY * 365), now + DAY * 365 - MINUTE, None),
        ("a year ahead, then right", issued(week, now, now + DAY * 365), now + DAY, None),
        ("then right, after 6 days", issued(week, now, now + DAY * 365), now + DAY * 6, Some(Due::Renew)),
        ("6 days ahead", issued(week, now, now + DAY * 6), now + DAY * 6 + HOUR, None),
        ("6 days ahead, after 6 days", issued(week, now, now + DAY * 6), now + DAY * 12, Some(Due::Renew)),
        ("in 1970", issued(week, now, SystemTime::UNIX_EPOCH), SystemTime::UNIX_EPOCH + DAY, None),
        ("in 1970, after 6 days", issued(week, now, SystemTime::UNIX_EPOCH), after_1970(6), Some(Due::Renew)),
        ("in 1970, after 8 days", issued(week, now, SystemTime::UNIX_EPOCH), after_1970(8), Some(Due::Replace)),
        ("in 1970, then right", issued(week, now, SystemTime::UNIX_EPOCH), now + DAY, None),
        ("a life of zero", issued(Duration::ZERO, now, now), now + DAY, Some(Due::Replace)),
    ] {
        let due = life(validity).due(start(), wall);
        let found = Some(due).filter(|it| !matches!(it, Due::Wait(_)));
        assert_eq!(found, expected, "{what}: {due:?}");
        if let Due::Wait(wait) = due {
            assert!(!wait.is_zero() && wait <= CHECK_AT_LEAST_EVERY, "{what}: the clock is read again after {wait:?}");
        }
    }
}

fn after_1970(days: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * days
}

#[test]
fn a_failed_renewal_is_tried_again_with_growing_waits_until_the_end() {
    let (start, wall) = (start(), epoch());
    for random in [0.0, 0.5, 1.0] {
        let mut life = CertificateLife::new(policy(), issued(DAY * 7, wall, wall), false, 0.5);
        let (mut elapsed, mut waits) = (DAY * 6, Vec::new());
        loop {
            match life.due(start + elapsed, wall + elapsed) {
                Due::Renew => {
                    life.on_requested();
                    let due = life.due(start + elapsed, wall + elapsed);
                    assert!(matches!(due, Due::Wait(_)), "one request at a time: {due:?}");
                    waits.push(life.on_failed(start + elapsed, Duration::ZERO, random));
                }
                Due::Wait(wait) => elapsed += wait,
                Due::Replace => break,
            }
        }
        assert_eq!(elapsed, DAY * 7 - EARLIER, "the certificate has just expired");
        for (at, wait) in waits.iter().enumerate() {
            let bound = (MINUTE * 2_u32.pow(at.min(10) as u32)).min(HOUR);
            assert!((bound / 2..=bound).contains(wait), "wait {at}: {wait:?}");
        }
        let rest = DAY - EARLIER;
        let most = 6 + rest.as_secs() / (HOUR.as_secs() / 2);
        assert!((20..=most).contains(&(waits.len() as u64)), "{} requests", waits.len());
    }
}

#[test]
fn a_wait_that_the_hub_asks_for_is_kept_but_expiry_comes_first() {
    let (start, wall) = (start(), epoch());
    let at = |elapsed: Duration| (start + elapsed, wall + elapsed);
    for (asked, random, next) in
        [(HOUR * 3, 0.0, HOUR * 3), (HOUR * 3, 1.0, HOUR * 3 + MINUTE), (MINUTE, 1.0, MINUTE * 2)]
    {
        let mut life = life(issued(DAY * 7, wall, wall));
        life.on_requested();
        let (now, _) = at(DAY * 6);
        assert_eq!(life.on_failed(now, asked, random), next);
        let due = |elapsed| {
            let (now, wall) = at(elapsed);
            life.due(now, wall)
        };
        assert!(matches!(due(DAY * 6 + next - Duration::from_secs(1)), Due::Wait(_)), "{asked:?}");
        assert_eq!(due(DAY * 6 + next), Due::Renew, "{asked:?}");
    }
    let mut life = life(issued(DAY * 7, wall, wall));
    life.on_requested();
    life.on_failed(start + DAY * 6, DAY * 3, 0.5);
    let (now, before) = at(DAY * 7 - EARLIER - MINUTE);
    assert_eq!(life.due(now, before), Due::Wait(MINUTE), "the end of the certificate comes before the end of the wait");
}

#[test]
fn a_failed_registration_is_tried_again_with_growing_waits() {
    let (start, wall) = (start(), epoch());
    let mut life = life(issued(DAY * 7, wall, wall));
    let (mut elapsed, mut times) = (DAY * 8, Vec::new());
    while times.len() < 10 {
        match life.due(start + elapsed, wall + elapsed) {
            Due::Replace => {
                times.push(elapsed);
                life.on_requested();
                life.on_registration_failed(start + elapsed, 1.0);
            }
            Due::Wait(wait) => elapsed += wait,
            Due::Renew => panic!("the certificate has expired"),
        }
    }
    let minutes: Vec<u64> = times.windows(2).map(|it| (it[1] - it[0]).as_secs() / 60).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn the_waits_after_failures_do_not_follow_the_wall_clock() {
    let (start, wall) = (start(), epoch());
    let mut life = life(issued(DAY * 7, wall, wall));
    life.on_requested();
    let wait = life.on_failed(start, Duration::ZERO, 0.5);
    for wall in [wall + DAY * 6, wall - DAY * 365] {
        assert!(matches!(life.due(start, wall), Due::Wait(_)), "the clock jumps: the wait stays");
    }
    assert_eq!(life.due(start + wait, wall + DAY * 6), Due::Renew);
}

#[test]
fn a_renewed_certificate_is_on_trial_until_the_hub_accepts_it() {
    let (now, wall) = (start(), epoch());
    let old = issued(DAY * 7, wall, wall);
    let new = issued(DAY * 7, wall + DAY * 6, wall + DAY * 6);
    let mut life = life(old);
    life.on_requested();
    life.on_failed(now, Duration::ZERO, 0.0);
    life.on_requested();
    life.on_issued(new, true, 0.5);
    assert!(matches!(life.due(now + HOUR, wall + DAY * 12), Due::Wait(_)), "no renewal during a trial");
    assert_eq!(life.due(now + HOUR, wall + DAY * 14), Due::Replace, "an expired one is replaced");
    // The wait goes on growing, because the attempt has failed after all.
    let wait = life.on_rolled_back(old, now, 0.0);
    assert_eq!(wait, MINUTE, "the second failure");
    assert!(matches!(life.due(now, wall + DAY * 6), Due::Wait(_)));
    assert_eq!(life.due(now + wait, wall + DAY * 6), Due::Renew);
    life.on_requested();
    life.on_issued(new, true, 0.5);
    life.on_accepted();
    life.on_requested();
    assert_eq!(life.on_failed(now, Duration::ZERO, 0.0), MINUTE / 2, "an accepted certificate ends the failures");
    life.on_requested();
    life.on_dropped();
    assert_eq!(life.due(now + HOUR, wall + DAY * 12), Due::Renew, "a dropped request is not a running one");
}

#[test]
fn numbers_out_of_range_do_no_harm() {
    let wall = epoch();
    let zero = Backoff::new(Duration::ZERO, Duration::ZERO);
    for (renew_at, jitter) in [(f64::NAN, f64::NAN), (-1.0, 2.0), (5.0, 5.0), (0.95, 0.5), (0.1, 0.5), (1e300, -1.0)] {
        let policy = RenewalPolicy { renew_at, jitter, retry_wait: zero, check_every: Duration::ZERO };
        for random in [0.0, 1.0] {
            let mut life = CertificateLife::new(policy, issued(DAY * 7, wall, wall), false, random);
            let case = format!("{renew_at} {jitter} {random}");
            assert!((0.0..=LATEST + 1e-9).contains(&life.share), "{case}: {}", life.share);
            assert!(life.on_failed(start(), Duration::MAX, random) <= WAIT_MAX, "{case}");
            assert!(life.on_failed(start(), Duration::ZERO, random) >= Duration::from_millis(500), "{case}");
        }
    }
}

/// A year of certificates that are valid for 7 days. Some renewals fail, and both clocks run.
#[test]
fn a_year_of_certificates_has_no_gap_and_no_needless_request() {
    let week = DAY * 7;
    for (seed, failing) in (0..40).zip([0.0, 0.1, 0.5, 0.7].into_iter().cycle()) {
        let mut rng = Rng::with_seed(seed);
        let (start, wall) = (start(), epoch());
        let (mut elapsed, mut renewals, mut failures) = (Duration::ZERO, 0_u64, 0_u64);
        let mut current = issued(week, wall, wall);
        let mut life = CertificateLife::new(policy(), current, false, rng.f64());
        while elapsed < DAY * 365 {
            let (now, at) = (start + elapsed, wall + elapsed);
            let share =
                at.duration_since(current.not_before).expect("valid already").as_secs_f64() / week.as_secs_f64();
            match life.due(now, at) {
                Due::Wait(wait) => {
                    assert!(!wait.is_zero() && wait <= CHECK_AT_LEAST_EVERY, "seed {seed}: {wait:?}");
                    elapsed += wait;
                }
                Due::Renew => {
                    assert!((0.75 - 1e-6..1.0).contains(&share), "seed {seed}: renewed after {share}");
                    if failures == 0 {
                        assert!(share <= 0.85 + 0.003, "seed {seed}: the first attempt is late, after {share}");
                    }
                    life.on_requested();
                    assert!(matches!(life.due(now, at), Due::Wait(_)), "seed {seed}: one request at a time");
                    // An answer takes up to 3 minutes.
                    elapsed += Duration::from_secs(rng.u64(1..180));
                    let (now, at) = (start + elapsed, wall + elapsed);
                    if rng.f64() < failing {
                        failures += 1;
                        life.on_failed(now, Duration::ZERO, rng.f64());
                        continue;
                    }
                    assert!(!current.is_expired(at), "seed {seed}: no gap");
                    current = issued(week, at, at);
                    life.on_issued(current, true, rng.f64());
                    life.on_accepted();
                    (renewals, failures) = (renewals + 1, 0);
                }
                Due::Replace => panic!("seed {seed}: a certificate expired after {failures} failures"),
            }
        }
        // 365 days of 75 % to 85 % of 7 days each.
        let range = if failing > 0.5 { 55..=70 } else { 60..=70 };
        assert!(range.contains(&renewals), "seed {seed}: {renewals} renewals, failing {failing}");
    }
}
