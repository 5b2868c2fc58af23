//! The slow schedule of a device that is refused.

use super::*;

/// Refuses the device at the hub and assigns it again, until `end` has passed. Returns the times of the registrations,
/// in seconds since the first refusal.
fn refused_until(it: &mut Bench, end: u64, random: f64) -> Vec<u64> {
    let (start, mut registrations) = (it.now, Vec::new());
    loop {
        let failure = HubFailure::new(not_authorized(), 1, Duration::ZERO, None);
        let next = it.it.on_hub_failed(it.now, &failure, random);
        assert!(is_register(&next), "{next:?}");
        it.until(&next);
        let at = (it.now - start).as_secs();
        if at > end {
            return registrations;
        }
        registrations.push(at);
        it.assign();
    }
}

/// Source: `[sdk]` Azure IoT SDK for C (unified), connecting: 5 minutes to 1 hour.
#[test]
fn a_refusal_registers_at_once_and_the_next_ones_follow_the_slow_schedule() {
    let mut it = Bench::connected();
    let minutes: Vec<u64> = refused_until(&mut it, 5 * 3600, MIDDLE).into_iter().map(|it| it / 60).collect();
    assert_eq!(minutes, [0, 5, 15, 35, 75, 135, 195, 255]);
}

/// Source: `[sdk]` Azure IoT SDK for C (unified), connecting: ±25 %.
#[test]
fn each_wait_of_the_slow_schedule_has_a_random_part_of_a_quarter() {
    for (random, expected) in [(0.0, [0, 225, 675]), (1.0, [0, 375, 1_125])] {
        assert_eq!(refused_until(&mut Bench::connected(), 1_200, random), expected, "{random}");
    }
    let policy = DevicePolicy::default().refused_jitter(f64::NAN);
    assert_eq!(refused_until(&mut Bench::with(policy, 1, true), 1_000, 1.0), [0, 300, 900], "no jitter");
}

#[test]
fn a_device_that_is_deleted_everywhere_registers_27_times_a_day_and_never_more_than_35_times() {
    const DAY: u64 = 24 * 60 * 60;
    // The hub refuses the device, and DPS still assigns it.
    for (random, expected) in [(0.0, 35), (MIDDLE, 27), (1.0, 22)] {
        let registrations = refused_until(&mut Bench::connected(), DAY, random).len();
        assert_eq!(registrations, expected, "the hub refuses; {random}");
    }
    // DPS refuses it, too: with and without a hub that the device knows.
    for has_assignment in [false, true] {
        for random in [0.0, MIDDLE, 1.0] {
            let mut it = Bench::with(DevicePolicy::default(), 1, has_assignment);
            let start = it.now;
            let mut registrations = 0;
            let failure = HubFailure::new(not_authorized(), 1, Duration::ZERO, None);
            let mut next = match has_assignment {
                true => it.it.on_hub_failed(it.now, &failure, random),
                false => Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::NoAssignment },
            };
            loop {
                it.until(&next);
                if it.now - start > secs(DAY) {
                    break;
                }
                next = match &next {
                    Next::Register { .. } => {
                        registrations += 1;
                        it.it.on_registration_failed(it.now, &dps_answers(404, None), random)
                    }
                    Next::Stay { .. } => it.it.on_hub_failed(it.now, &failure, random),
                    next => panic!("{next:?}"),
                };
            }
            assert!((22..=35).contains(&registrations), "{has_assignment} {random}: {registrations}");
        }
    }
}

#[test]
fn the_slow_schedule_starts_over_only_after_the_hub_has_accepted_the_device_for_ten_minutes() {
    for (accepted, expected) in [(1, 2_400), (599, 2_400), (600, 0)] {
        let mut it = Bench::connected();
        assert_eq!(refused_until(&mut it, 1_000, MIDDLE), [0, 300, 900]);
        // The registration after 20 more minutes succeeds, and the hub accepts the device.
        it.assign();
        it.wait(3_600);
        let next = it.drop_after(accepted, not_authorized());
        let reason = if accepted < 600 { Reason::SlowSchedule { step: 4 } } else { Reason::HubRefuses };
        assert!(matches!(&next, Next::Register { reason: it, .. } if *it == reason), "{accepted} s: {next:?}");
        assert_eq!(it.until(&next), expected, "{accepted} s");
    }
}

#[test]
fn a_refusal_soon_after_a_registration_waits() {
    for (age, expected) in [(0, 300), (100, 200), (299, 1), (300, 0), (4_000, 0)] {
        let mut it = Bench::with(DevicePolicy::default(), 1, false);
        it.assign();
        it.wait(age);
        let next = it.fail(not_authorized());
        assert!(is_register(&next), "{next:?}");
        assert_eq!(it.until(&next), expected, "the registration was {age} s ago");
    }
}

/// Source: `[doc]` iot-dps/concepts-device-reprovision.md: a hub refuses a device that an operator has moved.
#[test]
fn a_refused_device_follows_a_move_with_one_registration() {
    let mut it = Bench::connected();
    assert!(matches!(it.fail(not_authorized()), Next::Register { after: Duration::ZERO, .. }));
    let next = it.assign_elsewhere();
    let reason = Reason::Assigned { moved: true };
    assert_eq!(next, Next::Connect { credential: 0, at_least: Duration::ZERO, reason });
    assert_eq!(it.accept(), Accepted::AsBefore);
    assert!(is_stay(&it.drop_after(3_600, lost())));
}

/// Source: `[doc]` iot-dps/how-to-roll-certificates.md: the hub refuses the old certificate, and learns the new one
/// when the device registers.
#[test]
fn a_device_whose_certificate_was_rolled_registers_with_the_next_certificate() {
    let mut it = Bench::with(DevicePolicy::default(), 2, true);
    assert!(matches!(it.fail(not_authorized()), Next::Connect { credential: 1, .. }));
    assert!(matches!(it.fail(not_authorized()), Next::Register { credential: 0, .. }));
    let next = it.dps_fails(&dps_answers(401, None));
    assert!(matches!(next, Next::Register { credential: 1, after: Duration::ZERO, .. }), "{next:?}");
    assert!(matches!(it.assign(), Next::Connect { credential: 1, .. }));
    it.accept();
}

#[test]
fn the_devices_of_a_fleet_wait_before_a_registration() {
    let pacing = Pacing::for_fleet(100_000, 100.0, 0.5);
    let mut it = Bench::with(DevicePolicy::default().pacing(Some(pacing)), 1, true);
    let times = refused_until(&mut it, 11_000, 0.0);
    assert_eq!(times, [1, 2_001, 4_001, 6_001, 8_001, 10_701], "at least 2,000 s, and 45 minutes in the end");
}
