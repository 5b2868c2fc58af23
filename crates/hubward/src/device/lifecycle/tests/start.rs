//! How a device starts, and when an impatient device gives up.

use super::*;

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: connect straight to the known hub; registrations are billed.
#[test]
fn a_device_that_knows_its_hub_connects_without_a_registration() {
    let mut it = Lifecycle::new(DevicePolicy::default(), 2, false);
    let next = it.on_started(clock(), true, MIDDLE);
    assert_eq!(next, Next::Connect { credential: 0, at_least: Duration::ZERO, reason: Reason::Started });
}

#[test]
fn a_device_without_a_hub_registers_at_once_and_then_connects_with_the_same_credential() {
    let mut it = Lifecycle::new(DevicePolicy::default(), 2, false);
    let now = clock();
    let next = it.on_started(now, false, MIDDLE);
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::NoAssignment });
    let reason = Reason::Assigned { moved: true };
    assert_eq!(it.on_assigned(now, true), Next::Connect { credential: 0, at_least: Duration::ZERO, reason });
}

#[test]
fn a_device_starts_with_the_credential_that_worked_last() {
    for (credential, expected) in [(0, 0), (1, 1), (2, 0), (usize::MAX, 0)] {
        let mut it = Lifecycle::new(DevicePolicy::default(), 2, false);
        it.prefer(credential);
        let next = it.on_started(clock(), true, MIDDLE);
        assert!(matches!(next, Next::Connect { credential, .. } if credential == expected), "{credential}: {next:?}");
    }
}

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md: stagger the first registrations and connections of a fleet.
#[test]
fn devices_of_a_fleet_start_at_random_times() {
    let pacing = Pacing::for_fleet(10_000, 100.0, 0.5);
    for has_assignment in [false, true] {
        for (random, expected) in [(0.0, 1), (1.0, 200)] {
            let mut bench = Bench::with(DevicePolicy::default().pacing(Some(pacing)), 1, false);
            let next = bench.it.on_started(bench.now, has_assignment, random);
            assert_eq!(bench.until(&next), expected, "{has_assignment} {random}");
        }
    }
}

/// A step that an impatient device takes after its failure.
fn impatient(has_assignment: bool, has_registered: bool, cause: DisconnectCause, failures: u32) -> Next {
    let (mut it, now) = (Lifecycle::new(DevicePolicy::default(), 1, true), clock());
    it.on_started(now, has_assignment, MIDDLE);
    if has_registered {
        it.on_assigned(now, false);
    }
    it.on_hub_failed(now, &HubFailure::new(cause, failures, Duration::ZERO, None), MIDDLE)
}

#[test]
fn an_impatient_device_ends_at_a_failure_that_no_retry_can_change() {
    let of = |error| DisconnectCause::Transport(Arc::new(error));
    for (cause, failures, ends) in [
        (not_authorized(), 1, true),
        (of(untrusted()), 1, true),
        (of(not_listening()), 1, false),
        (of(not_listening()), 2, true),
        (of(TransportError::Unsupported("x")), 1, true),
        (lost(), 50, false),
        (hub_refusal(RefusedBy::Connack(3), None), 50, false),
        (hub_refusal(RefusedBy::UpgradeStatus(429), None), 50, false),
    ] {
        let next = impatient(false, true, cause.clone(), failures);
        assert_eq!(next == Next::End, ends, "{cause}, {failures} failures: {next:?}");
        // The device does not end once it has been connected.
        let mut it = Lifecycle::new(DevicePolicy::default(), 1, true);
        it.on_started(clock(), true, MIDDLE);
        it.on_accepted(clock());
        let failure = HubFailure::new(cause.clone(), failures, Duration::ZERO, None);
        assert_ne!(it.on_hub_failed(clock(), &failure, MIDDLE), Next::End, "{cause}");
    }
}

#[test]
fn an_impatient_device_registers_once_before_it_ends_if_its_hub_is_from_an_earlier_run() {
    let of = |error| DisconnectCause::Transport(Arc::new(error));
    for (cause, failures) in [(not_authorized(), 1), (of(untrusted()), 1), (of(not_listening()), 2)] {
        let next = impatient(true, false, cause.clone(), failures);
        assert!(is_register(&next), "{cause}: {next:?}");
        assert_eq!(impatient(true, true, cause.clone(), failures), Next::End, "{cause}");
    }
}

#[test]
fn an_impatient_device_ends_at_a_final_failure_of_dps_and_waits_otherwise() {
    for (error, ends) in [
        (dps_answers(401, None), true),
        (dps_answers(404, None), true),
        (rejected(AssignmentStatus::Disabled), true),
        (provision(not_listening()), true),
        (provision(untrusted()), true),
        (dps_answers(429, Some(7)), false),
        (dps_answers(500, None), false),
        (dps_lost(), false),
    ] {
        let mut it = Lifecycle::new(DevicePolicy::default(), 1, true);
        let now = clock();
        it.on_started(now, false, MIDDLE);
        let next = it.on_registration_failed(now, &error, MIDDLE);
        assert_eq!(next == Next::End, ends, "{error}: {next:?}");
    }
}

#[test]
fn a_registration_sends_one_register_request_and_repeats_polls() {
    let policy = Lifecycle::new(DevicePolicy::default(), 1, false).retry_policy();
    assert_eq!(policy.max_registrations, 1);
    assert!(policy.max_failures >= 3, "polls are not billed, so they may be repeated");
}
