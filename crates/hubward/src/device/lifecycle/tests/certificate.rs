//! A device with an issued certificate: it uses the certificate at the hub, and its credentials only at DPS.

use super::*;

/// A connected device that uses an issued certificate.
fn with_certificate(credentials: usize) -> Bench {
    let mut it = Bench::with(DevicePolicy::default(), credentials, true);
    it.it.use_certificate(true);
    it
}

#[test]
fn a_start_without_a_certificate_registers_and_may_use_the_hub_if_dps_fails() {
    for (has_assignment, reason) in [(true, Reason::NoCertificate), (false, Reason::NoAssignment)] {
        let mut it = Bench::with(DevicePolicy::default(), 1, false);
        let next = it.it.on_started_without_certificate(has_assignment, 0.0);
        assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason });
        let next = it.dps_fails(&dps_lost());
        assert_eq!(is_stay(&next), has_assignment, "{next:?}");
    }
    let it = Bench::connected();
    let next = it.it.first_connect(secs(3), Reason::BackToHub(DpsTrouble::Transient));
    assert!(matches!(next, Next::Connect { credential: 0, at_least, .. } if at_least == secs(3)), "{next:?}");
}

#[test]
fn a_refused_certificate_registers_and_tries_no_other_credential_at_the_hub() {
    for credentials in [1, 3] {
        let mut it = with_certificate(credentials);
        let next = it.drop_after(700, not_authorized());
        let reason = Reason::HubRefuses;
        assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason }, "{credentials} credentials");
        // DPS still gets each credential.
        let next = it.dps_fails(&dps_answers(401, None));
        assert_eq!(matches!(next, Next::Register { credential: 1, .. }), credentials > 1, "{next:?}");
    }
    let mut it = with_certificate(2);
    it.it.use_certificate(false);
    assert!(matches!(it.fail(not_authorized()), Next::Connect { credential: 1, .. }), "without a certificate");
}

#[test]
fn the_second_refusal_follows_the_slow_schedule() {
    let mut it = with_certificate(1);
    it.drop_after(700, not_authorized());
    it.assign();
    let next = it.fail(not_authorized());
    assert!(matches!(next, Next::Register { reason: Reason::SlowSchedule { step: 1 }, .. }), "{next:?}");
    assert_eq!(it.until(&next), 300);
}

#[test]
fn an_expired_certificate_registers_until_dps_answers() {
    let mut it = with_certificate(1);
    let next = it.it.on_certificate_lost(it.now, MIDDLE);
    let reason = Reason::CertificateExpired;
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason });
    assert!(it.it.has_lost_certificate());
    // The hub would refuse the certificate, so the device does not return to it.
    let mut waits = Vec::new();
    for _ in 0..4 {
        let next = it.dps_fails(&dps_lost());
        assert!(is_register(&next), "{next:?}");
        waits.push(it.until(&next));
    }
    assert!(waits.is_sorted() && waits[3] > waits[0], "{waits:?}");
    let next = it.dps_fails(&dps_answers(401, None));
    assert!(is_register(&next), "{next:?}");
    assert_eq!(it.until(&next), 300, "the slow schedule");
    assert!(matches!(it.assign(), Next::Connect { .. }));
    assert!(!it.it.has_lost_certificate());
    assert!(is_stay(&it.dps_fails(&dps_lost())), "the hub is of use again");
}

#[test]
fn a_certificate_that_is_found_again_leads_back_to_the_hub() {
    let mut it = with_certificate(1);
    it.it.on_certificate_lost(it.now, MIDDLE);
    it.dps_fails(&dps_lost());
    let next = it.it.on_certificate_found(it.now);
    assert!(matches!(next, Next::Connect { credential: 0, .. }), "{next:?}");
    assert!(!it.it.has_lost_certificate());
}

#[test]
fn a_connected_device_registers_once_for_an_expired_certificate_and_not_before_dps_allows_it() {
    let mut it = with_certificate(1);
    let next = it.it.on_certificate_expired(it.now);
    let reason = Reason::CertificateExpired;
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason });
    assert!(is_stay(&it.dps_fails(&dps_answers(429, Some(60)))), "the connection still works");
    let next = it.it.on_certificate_expired(it.now);
    assert!(it.until(&next) >= 60, "{next:?}");
}

#[test]
fn a_renewed_certificate_moves_the_device_and_a_rollback_honours_the_hub() {
    let mut it = with_certificate(1);
    let next = it.it.on_certificate_renewed(it.now);
    let reason = Reason::CertificateRenewed;
    assert_eq!(next, Next::Connect { credential: 0, at_least: Duration::ZERO, reason });
    let failure = HubFailure::new(hub_refusal(RefusedBy::Status(429), Some(7)), 1, Duration::ZERO, None);
    let next = it.it.on_certificate_rolled_back(it.now, &failure);
    let reason = Reason::CertificateRolledBack;
    assert_eq!(next, Next::Connect { credential: 0, at_least: secs(7), reason });
    // A rollback is not a refusal of the device: the next refusal still registers at once.
    it.accept();
    it.wait(700);
    let next = it.fail(not_authorized());
    assert!(matches!(next, Next::Register { after: Duration::ZERO, .. }), "{next:?}");
}

#[test]
fn new_credentials_are_tried_at_dps() {
    let mut it = with_certificate(1);
    let next = it.it.on_requested(it.now, Request::ChangeCredentials { count: 2 });
    let reason = Reason::CredentialsChanged;
    assert_eq!(next, Next::Register { credential: 0, after: Duration::ZERO, reason });
    assert!(matches!(it.dps_fails(&dps_answers(401, None)), Next::Register { credential: 1, .. }));
    assert!(matches!(it.assign(), Next::Connect { credential: 1, .. }));
    assert_eq!(it.accept(), Accepted::KeepCredentials);
    it.it.on_requested(it.now, Request::ChangeCredentials { count: 1 });
    let next = it.dps_fails(&dps_answers(401, None));
    assert!(matches!(&next, Next::RollBack(next) if matches!(**next, Next::Connect { .. })), "{next:?}");
}
