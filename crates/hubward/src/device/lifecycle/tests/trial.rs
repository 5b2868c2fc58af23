//! Changes of the credentials while the device is running.

use super::*;

/// A connected device that changes its credentials.
fn on_trial(count: usize) -> Bench {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    it.fail(not_authorized());
    it.accept();
    let next = it.it.on_requested(it.now, Request::ChangeCredentials { count });
    let reason = Reason::CredentialsChanged;
    assert_eq!(next, Next::Connect { credential: 0, at_least: Duration::ZERO, reason });
    it
}

/// The step after a rollback to the second credential of the old list.
fn back(is_refused: bool) -> Next {
    let reason = Reason::TrialFailed { is_refused };
    Next::RollBack(Box::new(Next::Connect { credential: 1, at_least: Duration::ZERO, reason }))
}

#[test]
fn new_credentials_are_kept_when_the_hub_accepts_one_of_them() {
    let mut it = on_trial(2);
    assert!(matches!(it.fail(not_authorized()), Next::Connect { credential: 1, .. }));
    assert_eq!(it.accept(), Accepted::KeepCredentials);
    assert_eq!(it.accept(), Accepted::AsBefore, "the trial has ended");
    assert!(
        matches!(it.drop_after(700, not_authorized()), Next::Connect { credential: 0, .. }),
        "the new list is used"
    );
}

#[test]
fn new_credentials_that_the_hub_refuses_register_once_and_are_dropped_if_it_refuses_them_again() {
    let mut it = on_trial(1);
    let next = it.fail(not_authorized());
    assert!(matches!(next, Next::Register { credential: 0, after: Duration::ZERO, .. }), "{next:?}");
    assert!(matches!(it.assign(), Next::Connect { credential: 0, .. }));
    assert_eq!(it.fail(not_authorized()), back(true));
    // The registration of the trial does not make a later refusal wait.
    it.fail(not_authorized());
    assert!(matches!(it.fail(not_authorized()), Next::Register { after: Duration::ZERO, .. }));
}

#[test]
fn new_credentials_that_dps_refuses_are_dropped() {
    let mut it = on_trial(2);
    it.fail(not_authorized());
    assert!(is_register(&it.fail(not_authorized())));
    assert!(matches!(it.dps_fails(&dps_answers(401, None)), Next::Register { credential: 1, .. }));
    assert_eq!(it.dps_fails(&dps_answers(401, None)), back(true));
}

#[test]
fn if_dps_fails_during_a_trial_the_device_returns_to_the_credentials_before() {
    let mut it = on_trial(1);
    assert!(is_register(&it.fail(not_authorized())));
    assert_eq!(it.dps_fails(&dps_answers(500, None)), back(false));
    // DPS has asked for time, so the next trial does not register.
    it.it.on_requested(it.now, Request::ChangeCredentials { count: 1 });
    assert_eq!(it.fail(not_authorized()), back(true));
}

#[test]
fn new_credentials_are_dropped_after_three_failures() {
    let mut it = on_trial(1);
    for _ in 0..2 {
        assert!(is_stay(&it.fail(lost())));
        it.wait(10);
    }
    assert_eq!(it.fail(lost()), back(false));
    let mut it = Bench::with(DevicePolicy::default().trial_failures(0), 1, true);
    it.it.on_requested(it.now, Request::ChangeCredentials { count: 1 });
    assert!(matches!(it.fail(lost()), Next::RollBack(_)), "at least one failure");
}

#[test]
fn a_trial_that_replaces_a_trial_returns_to_the_credentials_that_worked() {
    let mut it = on_trial(1);
    it.it.on_requested(it.now, Request::ChangeCredentials { count: 3 });
    for _ in 0..2 {
        it.fail(lost());
    }
    assert_eq!(it.fail(lost()), back(false));
}

#[test]
fn a_change_of_credentials_waits_for_the_retry_after_of_the_hub() {
    let mut it = Bench::connected();
    it.fail(hub_refusal(RefusedBy::UpgradeStatus(429), Some(60)));
    it.wait(20);
    let next = it.it.on_requested(it.now, Request::ChangeCredentials { count: 1 });
    assert_eq!(it.until(&next), 40, "{next:?}");
}

#[test]
fn a_device_without_a_hub_registers_with_its_new_credentials() {
    let change = Request::ChangeCredentials { count: 2 };
    let mut it = Bench::with(DevicePolicy::default(), 1, false);
    let slow = it.dps_fails(&dps_answers(401, None));
    assert!(matches!(slow, Next::Register { reason: Reason::SlowSchedule { step: 1 }, .. }), "{slow:?}");
    it.wait(10);
    let next = it.it.on_requested(it.now, change);
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::CredentialsChanged });
    assert!(matches!(it.dps_fails(&dps_answers(401, None)), Next::Register { credential: 1, .. }));
    let after = secs(290);
    let reason = Reason::TrialFailed { is_refused: true };
    let expected = Next::RollBack(Box::new(Next::Register { credential: 0, after, reason }));
    assert_eq!(it.dps_fails(&dps_answers(401, None)), expected, "the old credentials wait for their schedule");
    // Accepted by DPS and by the hub, the new credentials are kept.
    it.it.on_requested(it.now, change);
    assert!(matches!(it.assign_elsewhere(), Next::Connect { credential: 0, .. }));
    assert_eq!(it.accept(), Accepted::KeepCredentials);
}
