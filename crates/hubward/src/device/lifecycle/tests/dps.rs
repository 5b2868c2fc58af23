//! What a device does when DPS fails or refuses it.

use super::*;

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: at least 5 s after a status of 5xx; Retry-After after 429.
#[test]
fn a_device_without_a_hub_registers_again_for_ever_and_never_too_early() {
    for (error, least) in [
        (dps_answers(500, None), 5),
        (dps_answers(503, Some(2)), 5),
        (dps_answers(503, Some(20)), 20),
        (dps_answers(429, Some(7)), 7),
        (dps_answers(429, Some(3_600)), 3_600),
        (dps_answers(429, None), 5),
        (dps_lost(), 1),
        (provision(not_listening()), 1),
        (provision(untrusted()), 1),
    ] {
        for random in [0.0, 1.0] {
            let mut it = Bench::with(DevicePolicy::default(), 1, false);
            let mut longest = 0;
            for failure in 0..40 {
                let next = it.it.on_registration_failed(it.now, &error, random);
                assert!(matches!(next, Next::Register { credential: 0, .. }), "{error}: {next:?}");
                let wait = it.until(&next);
                assert!(wait >= least, "{error}, failure {failure}: {wait} s");
                longest = longest.max(wait);
            }
            assert!((300..=3_602).contains(&longest), "{error}: the waits grow, up to 10 minutes: {longest}");
        }
    }
}

#[test]
fn devices_with_the_same_retry_after_do_not_all_register_at_the_same_moment() {
    let waits: Vec<u128> = [0.0, 0.25, 0.5, 1.0]
        .into_iter()
        .map(|random| {
            let mut it = Bench::with(DevicePolicy::default(), 1, false);
            match it.it.on_registration_failed(it.now, &dps_answers(429, Some(60)), random) {
                Next::Register { after, .. } => after.as_millis(),
                next => panic!("{next:?}"),
            }
        })
        .collect();
    assert_eq!(waits, [60_000, 60_500, 61_000, 62_000]);
}

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: after 5xx, use the cached assignment.
#[test]
fn if_dps_fails_a_device_with_a_hub_returns_to_it_and_asks_dps_again_after_the_back_off() {
    for (error, wait) in [(dps_answers(429, Some(300)), 301), (dps_answers(500, None), 6), (dps_lost(), 2)] {
        let mut it = Bench::connected();
        for _ in 0..9 {
            it.fail(lost());
            it.wait(100);
        }
        assert!(is_register(&it.fail(lost())));
        let trouble = DpsTrouble::of(&error);
        let stay = Next::Stay { at_least: Duration::ZERO, reason: Reason::BackToHub(trouble) };
        assert_eq!(it.dps_fails(&error), stay, "{error}");
        it.wait(wait - 1);
        assert!(is_stay(&it.fail(lost())), "{error}: too early");
        it.wait(1);
        assert!(is_register(&it.fail(lost())), "{error}: {wait} s have passed");
    }
}

#[test]
fn a_refused_device_waits_for_the_retry_after_of_dps() {
    let mut it = Bench::connected();
    assert!(is_register(&it.fail(not_authorized())));
    assert!(is_stay(&it.dps_fails(&dps_answers(429, Some(900)))));
    let next = it.fail(not_authorized());
    assert!(is_register(&next), "{next:?}");
    assert_eq!(it.until(&next), 901, "Retry-After is longer than the wait of the slow schedule");
}

#[test]
fn a_request_of_an_operator_waits_for_retry_after_but_not_for_the_back_off() {
    for (error, least) in [(dps_answers(429, Some(60)), 60), (dps_answers(500, None), 5), (dps_lost(), 0)] {
        let mut it = Bench::with(DevicePolicy::default(), 1, false);
        for _ in 0..8 {
            let next = it.dps_fails(&error);
            it.until(&next);
        }
        it.dps_fails(&error);
        let next = it.it.on_requested(it.now, Request::Register);
        assert_eq!(next, Next::Register { credential: 0, after: secs(least), reason: Reason::Requested }, "{error}");
    }
}

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: an operator can make a device register again with a method.
#[test]
fn an_operator_can_make_a_connected_device_register_at_once() {
    let mut it = Bench::connected();
    it.wait(3_600);
    let next = it.it.on_requested(it.now, Request::Register);
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::Requested });
    assert!(matches!(it.assign_elsewhere(), Next::Connect { .. }));
    let mut it = Bench::connected();
    it.it.on_requested(it.now, Request::Register);
    assert!(is_stay(&it.dps_fails(&rejected(AssignmentStatus::Failed))), "a refusal by DPS ends no connection");
}

#[test]
fn requests_of_an_operator_do_not_lengthen_the_slow_schedule() {
    let mut it = Bench::with(DevicePolicy::default(), 1, false);
    let next = it.dps_fails(&dps_answers(404, None));
    assert!(matches!(next, Next::Register { reason: Reason::SlowSchedule { step: 1 }, .. }), "{next:?}");
    it.wait(100);
    it.it.on_requested(it.now, Request::Register);
    let next = it.dps_fails(&dps_answers(404, None));
    assert!(matches!(next, Next::Register { reason: Reason::SlowSchedule { step: 1 }, .. }), "{next:?}");
    assert_eq!(it.until(&next), 200, "the rest of the wait");
}

/// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for the answers.
#[test]
fn a_refusal_by_dps_tries_each_credential_once_and_then_follows_the_slow_schedule() {
    for error in [
        dps_answers(401, None),
        dps_answers(403, None),
        dps_answers(404, None),
        rejected(AssignmentStatus::Failed),
        rejected(AssignmentStatus::Disabled),
    ] {
        let mut it = Bench::with(DevicePolicy::default(), 3, false);
        for round in [300, 600, 1_200] {
            for credential in [1, 2] {
                let reason = Reason::NextCredentialAtDps;
                let expected = Next::Register { credential, after: Duration::ZERO, reason };
                assert_eq!(it.dps_fails(&error), expected, "{error}");
            }
            let next = it.dps_fails(&error);
            assert!(matches!(next, Next::Register { credential: 0, .. }), "{error}: {next:?}");
            assert_eq!(it.until(&next), round, "{error}");
        }
    }
}

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: a registration has a result only when DPS has assigned a hub.
#[test]
fn an_operation_that_dps_does_not_end_in_time_is_no_refusal() {
    let late = ProvisionError::Deadline { endpoint: "dps.example:443".into(), after: secs(600) };
    let mut it = Bench::with(DevicePolicy::default(), 2, false);
    let next = it.dps_fails(&late);
    let reason = Reason::RegisterAgain(DpsTrouble::Transient);
    assert!(matches!(&next, Next::Register { credential: 0, reason: it, .. } if *it == reason), "{next:?}");
    assert!(is_stay(&Bench::connected().dps_fails(&late)));
}

#[test]
fn a_device_of_a_fleet_registers_again_only_after_its_turn() {
    let pacing = Pacing::for_fleet(10_000, 100.0, 0.5);
    for random in [0.0, 1.0] {
        let mut it = Bench::with(DevicePolicy::default().pacing(Some(pacing)), 1, false);
        for _ in 0..3 {
            let next = it.it.on_registration_failed(it.now, &dps_answers(500, None), random);
            assert!((200..=400).contains(&it.until(&next)), "{next:?}");
        }
    }
}

#[test]
fn a_registration_that_dps_has_not_answered_continues_with_the_same_credential() {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    assert!(matches!(it.fail(not_authorized()), Next::Connect { credential: 1, .. }));
    assert!(matches!(it.fail(not_authorized()), Next::Register { credential: 0, .. }));
    assert!(matches!(it.dps_fails(&dps_answers(401, None)), Next::Register { credential: 1, .. }));
    assert!(is_stay(&it.dps_fails(&dps_lost())));
    it.fail(not_authorized());
    // DPS has refused the first credential, and has not answered the second one.
    let next = it.fail(not_authorized());
    assert!(matches!(next, Next::Register { credential: 1, .. }), "{next:?}");
    // A request of an operator starts with the credential that worked last.
    it.dps_fails(&dps_lost());
    let next = it.it.on_requested(it.now, Request::Register);
    assert!(matches!(next, Next::Register { credential: 0, .. }), "{next:?}");
}

#[test]
fn the_waits_grow_although_dps_refuses_another_credential_between_two_failures() {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    let mut waits = Vec::new();
    for _ in 0..4 {
        it.it.on_requested(it.now, Request::Register);
        assert!(matches!(it.dps_fails(&dps_answers(401, None)), Next::Register { credential: 1, .. }));
        it.dps_fails(&dps_lost());
        waits.push(remaining(it.it.dps.not_before, it.now).as_millis());
    }
    assert_eq!(waits, [1_500, 3_000, 6_000, 12_000]);
}
