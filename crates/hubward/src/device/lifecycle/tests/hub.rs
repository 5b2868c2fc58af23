//! What a device does when its hub fails or refuses it.

use super::*;

/// Fails `count` times, `step` seconds apart, and returns the last answer.
fn fail_often(it: &mut Bench, count: u32, step: u64) -> Next {
    let mut next = it.fail(lost());
    for _ in 1..count {
        it.wait(step);
        next = it.fail(lost());
    }
    next
}

/// Source: `[doc]` iot/concepts-manage-device-reconnections.md: 10 failures; `[doc]`
/// iot-dps/concepts-deploy-at-scale.md: the hub for 15 to 30 minutes before DPS.
#[test]
fn ten_failures_in_a_row_over_at_least_fifteen_minutes_cause_one_registration() {
    for (case, count, step, registers) in [
        ("nine failures over 20 minutes", 9, 150, false),
        ("ten failures over 15 minutes", 10, 100, true),
        ("ten failures within a second less", 10, 99, false),
        ("a hundred failures within 14 minutes", 100, 8, false),
        ("a hundred failures over 20 minutes register", 100, 12, true),
    ] {
        let mut it = Bench::connected();
        let registered = (0..count).any(|at| {
            if at > 0 {
                it.wait(step);
            }
            is_register(&it.fail(lost()))
        });
        assert_eq!(registered, registers, "{case}");
    }
    let mut it = Bench::connected();
    let next = fail_often(&mut it, 10, 100);
    let reason = Reason::HubFailsTooLong { failures: 10, lasting: secs(900) };
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason });
}

#[test]
fn both_limits_of_failures_can_be_changed() {
    let policy = DevicePolicy::default().hub_failures(3).hub_failing_for(secs(20));
    for (count, step, registers) in [(3, 10, true), (2, 60, false), (3, 9, false)] {
        let mut it = Bench::with(policy.clone(), 1, true);
        assert_eq!(is_register(&fail_often(&mut it, count, step)), registers, "{count} failures, {step} s apart");
    }
}

#[test]
fn after_a_registration_the_counts_of_failures_start_over() {
    let mut it = Bench::connected();
    assert!(is_register(&fail_often(&mut it, 10, 100)));
    assert!(matches!(it.assign(), Next::Connect { .. }));
    it.wait(1);
    assert!(is_stay(&fail_often(&mut it, 9, 100)));
    it.wait(100);
    assert!(is_register(&it.fail(lost())));
}

#[test]
fn a_connection_that_lasts_starts_the_counts_over_and_a_short_one_does_not() {
    for (lasts, registers) in [(40, false), (29, true)] {
        let mut it = Bench::connected();
        fail_often(&mut it, 9, 110);
        let next = it.drop_after(lasts, lost());
        assert_eq!(is_register(&next), registers, "the hub accepted the device for {lasts} s: {next:?}");
    }
}

/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md, "Reprovisioning devices"; `[sdk]` Azure IoT SDK for C
/// (unified), connection: which return codes refuse the identity.
#[test]
fn each_answer_of_the_hub_has_its_next_request() {
    let status = |it| hub_refusal(RefusedBy::Status(it), None);
    let connack = |it| hub_refusal(RefusedBy::Connack(it), None);
    let upgrade = |it, wait| hub_refusal(RefusedBy::UpgradeStatus(it), wait);
    let tls = |fault| {
        let source = io::Error::other("alert");
        DisconnectCause::Transport(Arc::new(TransportError::Tls { endpoint: "hub.example:8883".into(), fault, source }))
    };
    for (cause, registers, waits) in [
        (status(401), true, 0),
        (status(403), true, 0),
        (status(404), true, 0),
        (connack(2), true, 0),
        (connack(4), true, 0),
        (connack(5), true, 0),
        (tls(TlsFault::ClientCertificate), true, 0),
        (connack(1), false, 0),
        (connack(3), false, 0),
        (status(500), false, 0),
        (upgrade(503, None), false, 0),
        (upgrade(503, Some(20)), false, 20),
        (upgrade(429, Some(7)), false, 7),
        (upgrade(429, None), false, 0),
        (upgrade(403, None), false, 0),
        (tls(TlsFault::Expired), false, 0),
        (lost(), false, 0),
        (DisconnectCause::AckOverdue { after: secs(30) }, false, 0),
    ] {
        let mut it = Bench::connected();
        let next = it.fail(cause.clone());
        assert_eq!(is_register(&next), registers, "{cause}: {next:?}");
        assert_eq!(it.until(&next), waits, "{cause}: {next:?}");
    }
}

#[test]
fn throttling_and_a_second_client_never_cause_a_registration() {
    let closed = TransportError::Closed { endpoint: "hub.example:8883".into(), stage: Stage::Exchange, source: None };
    let duplicate = DisconnectCause::DuplicateIdentity { takeovers: 5, source: Arc::new(closed) };
    for cause in [hub_refusal(RefusedBy::UpgradeStatus(429), Some(60)), duplicate] {
        let mut it = Bench::connected();
        for failure in 0..100 {
            assert!(is_stay(&it.fail(cause.clone())), "{cause}, failure {failure}");
            it.wait(60);
        }
    }
}

#[test]
fn a_hub_that_accepts_and_drops_at_once_counts_as_failing() {
    let mut it = Bench::connected();
    let registrations = (0..60).filter(|_| is_register(&it.drop_after(20, lost()))).count();
    // 60 drops in 20 minutes.
    assert_eq!(registrations, 1 + 14, "without an answer of DPS, each failure after the limit asks again");
    let mut it = Bench::connected();
    let mut registrations = 0;
    for _ in 0..60 {
        if is_register(&it.drop_after(20, lost())) {
            registrations += 1;
            it.assign();
        }
    }
    assert_eq!(registrations, 1, "an answer starts the counts over");
}

/// Source: `[doc]` iot-hub/iot-hub-devguide-security.md: each identity has two keys, so that one can be rolled.
#[test]
fn a_refused_device_tries_its_other_credentials_at_the_hub_before_it_registers() {
    let mut it = Bench::with(DevicePolicy::default(), 3, true);
    let reason = Reason::NextCredentialAtHub;
    for credential in [1, 2] {
        let expected = Next::Connect { credential, at_least: Duration::ZERO, reason: reason.clone() };
        assert_eq!(it.fail(not_authorized()), expected);
    }
    let next = it.fail(not_authorized());
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::HubRefuses });
}

#[test]
fn the_credential_that_the_hub_accepts_becomes_the_first_one_to_register() {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    assert!(matches!(it.fail(not_authorized()), Next::Connect { credential: 1, .. }));
    assert!(is_register(&it.drop_after(60, not_authorized())), "the first one is still refused");
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    it.fail(not_authorized());
    // After ten minutes, the refusal of the first credential is forgotten.
    assert!(matches!(it.drop_after(600, not_authorized()), Next::Connect { credential: 0, .. }));
    assert!(matches!(it.fail(not_authorized()), Next::Register { credential: 1, .. }));
}

#[test]
fn a_credential_that_cannot_sign_is_replaced_and_causes_no_registration() {
    let signer = || {
        let error = hubward_transport::CredentialError::Signer("no such key".into());
        DisconnectCause::Transport(Arc::new(TransportError::Credential(error)))
    };
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    assert!(matches!(it.fail(signer()), Next::Connect { credential: 1, .. }));
    assert!(is_stay(&it.fail(signer())));
    let mut it = Bench::connected();
    for _ in 0..30 {
        assert!(is_stay(&it.fail(signer())));
        it.wait(60);
    }
}

#[test]
fn a_credential_for_which_no_connection_can_be_made_waits_for_the_slow_schedule() {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    let next = it.it.on_unusable_at_hub(it.now, MIDDLE);
    assert!(matches!(next, Next::Connect { credential: 1, .. }), "{next:?}");
    let next = it.it.on_unusable_at_hub(it.now, MIDDLE);
    assert_eq!(it.until(&next), 300, "{next:?}");
    assert!(matches!(next, Next::Connect { .. }), "{next:?}");
    let mut impatient = Lifecycle::new(DevicePolicy::default(), 1, true);
    impatient.on_started(it.now, true, MIDDLE);
    assert_eq!(impatient.on_unusable_at_hub(it.now, MIDDLE), Next::End);
}

#[test]
fn a_row_of_failures_that_begins_with_throttling_starts_the_counts_over() {
    let mut it = Bench::connected();
    fail_often(&mut it, 9, 110);
    // The hub accepts the device for a while, and then throttles it.
    it.drop_after(40, hub_refusal(RefusedBy::UpgradeStatus(429), None));
    assert!(is_stay(&it.fail(lost())), "the failures before the connection do not count");
}
