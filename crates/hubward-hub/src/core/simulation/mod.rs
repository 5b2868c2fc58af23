//! Tests the core and its subscriptions against a random peer, in virtual time.
//!
//! The simulation covers these events:
//!
//! * Connections break at every step, are slow, or stay half-open.
//! * Acknowledgements are lost, late, repeated or reordered.
//! * The hub refuses logins, and attempts hang.
//! * A provider moves the client to another hub, or to another credential at the same hub, at any moment.
//! * Tokens are renewed, and deadlines pass.
//! * The program closes the client at any moment.
//!
//! Each run has a seed for its random generator. If a run fails, the test prints the seed, with a command that repeats
//! only this run. To run more seeds, set `HUBWARD_SEEDS=<count>`.

mod coverage;
mod model;
mod peer;
mod planted;
mod provider;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use self::coverage::Seen;
use self::planted::Bug;

/// Seeds in a normal test run.
const SEEDS: u64 = 20_000;

/// Minimum number of events in the run of one seed.
const EVENTS: u64 = 200;

/// The simulation must find each planted bug within this number of seeds.
const FOUND_WITHIN: u64 = 1_000;

/// Runs one seed. Returns the number of events, or an error that names the promise that was broken.
fn run(seed: u64, bug: Option<Bug>, seen: &mut Seen) -> Result<u64, String> {
    let world = AssertUnwindSafe(|| world::run(seed, bug, seen));
    catch_unwind(world).map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(|| "a panic".to_owned(), |it| (*it).to_owned()),
    })
}

#[test]
fn every_promise_holds_whatever_happens() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    if let Some(seed) = number("HUBWARD_SEED") {
        let events = world::run(seed, None, &mut Seen::default());
        println!("seed {seed}: {events} events, every promise holds");
        return;
    }
    let seeds = number("HUBWARD_SEEDS").unwrap_or(SEEDS);
    let (next, events, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (total, failed) = (Mutex::new(Seen::default()), Mutex::new(None));
    let work = || {
        let mut seen = Seen::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            match run(seed, None, &mut seen) {
                Ok(happened) if happened < EVENTS => panic!("only {happened} events with seed {seed}"),
                Ok(happened) => drop(events.fetch_add(happened, Ordering::Relaxed)),
                Err(problem) => {
                    stop.store(true, Ordering::Relaxed);
                    failed.lock().expect("no panic").get_or_insert((seed, problem));
                }
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
             HUBWARD_SEED={seed} cargo test -p hubward-hub --lib every_promise_holds -- --nocapture"
        );
    }
    let seen = total.into_inner().expect("no panic");
    println!("{seeds} seeds, {} events\n{}", events.into_inner(), seen.table());
    if seeds >= SEEDS {
        let problems = seen.problems();
        assert!(problems.is_empty(), "{problems:#?}\n{}", seen.table());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let once = |seed| {
        let mut seen = Seen::default();
        (world::run(seed, None, &mut seen), seen)
    };
    let runs: Vec<_> = (0..20).map(once).collect();
    assert_eq!((0..20).map(once).collect::<Vec<_>>(), runs);
    assert!((1..20).all(|it| runs[it] != runs[it - 1]), "every seed gives the same run");
}

/// Checks that the simulation finds planted bugs. Without this check, a simulation that finds no bug would prove
/// little.
#[test]
fn planted_bugs_are_found() {
    for (bug, found_as) in [
        (Bug::LostDup, "DUP is set exactly on repetitions"),
        (Bug::DupAfterMove, "DUP is set exactly on repetitions"),
        (Bug::UnaskedProvider, "the client waits for ever"),
        (Bug::DoubleReceipt, "was resolved already"),
        (Bug::LeakedTimer, "a timer is still set"),
        (Bug::ForgottenTimer, "the client waits for ever"),
    ] {
        let found = (0..FOUND_WITHIN).find_map(|seed| Some((seed, run(seed, Some(bug), &mut Seen::default()).err()?)));
        let (seed, problem) = found.unwrap_or_else(|| panic!("{found_as}: not found"));
        println!("found by seed {seed}: {problem}");
        assert!(problem.contains(found_as), "{found_as}, but: {problem}");
        run(seed, None, &mut Seen::default()).expect("every promise holds without the bug");
    }
}
