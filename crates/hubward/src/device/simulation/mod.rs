//! Tests a whole device against random services, in virtual time: the real supervisor, client and provisioner, and
//! services in memory.
//!
//! * Hubs move the device, refuse it, vanish, throttle, hang, and accept and drop it.
//! * DPS throttles, fails, keeps assigning, refuses, and assigns a dead hub.
//! * The program sends messages, asks for registrations, changes credentials, and restarts.
//!
//! `model.rs` checks each request. In the end, the services are healthy, and the device must be connected.
//!
//! Each run has a seed for all random generators. If a run fails, the test prints the seed, with a command that repeats
//! only this run. To run more seeds, set `HUBWARD_SEEDS=<count>`.

mod coverage;
mod hub;
mod model;
mod planted;
mod provisioning;
mod scenario;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) use self::planted::Subject;

use self::coverage::Seen;
use self::planted::Bug;

/// Seeds in a normal test run.
const SEEDS: u64 = 20_000;

/// The simulation must find each planted fault within this number of seeds.
const FOUND_WITHIN: u64 = 1_000;

#[test]
fn a_device_keeps_every_promise_whatever_the_services_do() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    if let Some(seed) = number("HUBWARD_SEED") {
        scenario::run(seed, None, &mut Seen::default()).expect("every promise holds");
        return;
    }
    let seeds = number("HUBWARD_SEEDS").unwrap_or(SEEDS);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, failed) = (Mutex::new(Seen::default()), Mutex::new(None));
    let work = || {
        let mut seen = Seen::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            if let Err(problem) = scenario::run(seed, None, &mut seen) {
                stop.store(true, Ordering::Relaxed);
                failed.lock().expect("no panic").get_or_insert((seed, problem));
            }
        }
        total.lock().expect("no panic").add(&seen);
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some((seed, problem)) = failed.into_inner().expect("no panic") {
        panic!(
            "{problem}\nseed {seed} breaks a promise; to run it alone:\n  \
             HUBWARD_SEED={seed} cargo test -p hubward --lib a_device_keeps_every_promise -- --nocapture"
        );
    }
    let seen = total.into_inner().expect("no panic");
    println!("{seeds} seeds\n{}", seen.table());
    if seeds >= SEEDS {
        assert!(seen.missing().is_empty(), "{:#?} never happened\n{}", seen.missing(), seen.table());
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let once = |seed| {
        let mut seen = Seen::default();
        (scenario::run(seed, None, &mut seen), seen)
    };
    let runs: Vec<_> = (0..20).map(once).collect();
    assert_eq!((0..20).map(once).collect::<Vec<_>>(), runs);
    assert!((1..20).all(|it| runs[it] != runs[it - 1]), "every seed gives the same run");
}

/// Checks that the simulation finds planted faults. Without this check, a simulation that finds no fault would prove
/// little.
#[test]
fn planted_faults_of_the_policy_are_found() {
    for (bug, found_as) in [
        (Bug::RegistersTwice, "a registration without a reason"),
        (Bug::WindowIgnored, "a registration without a reason"),
        (Bug::CountIgnored, "a registration without a reason"),
        (Bug::RetryAfterIgnored, "before its Retry-After"),
        (Bug::CountsNotReset, "registration"),
        (Bug::CredentialOrder, "the order of credentials"),
        (Bug::NeverRolledBack, "the device is not connected"),
        (Bug::SlowScheduleConstant, "more registrations than the policy allows"),
        (Bug::SettledAtOnce, "the order of credentials"),
        (Bug::RefusalIgnored, "the device is not connected"),
    ] {
        let found = (0..FOUND_WITHIN)
            .find_map(|seed| Some((seed, scenario::run(seed, Some(bug), &mut Seen::default()).err()?)));
        let (seed, problem) = found.unwrap_or_else(|| panic!("{bug:?}: not found"));
        println!("{bug:?}: found by seed {seed}: {problem}");
        assert!(problem.contains(found_as), "{bug:?}: {found_as}, but: {problem}");
        scenario::run(seed, None, &mut Seen::default()).expect("every promise holds without the fault");
    }
}
