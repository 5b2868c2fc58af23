//! Killed in the middle of its work: an emulator with a data directory loses nothing that it has
//! acknowledged, and nothing in it is half-written.
//!
//! Several clients write at the same time; at a random moment the program is killed (`SIGKILL`), then
//! started again on the same directory, and everything is compared with what was acknowledged. The state
//! grows over the rounds.
//!
//! ```sh
//! HUBWARD_KILLS=300 cargo nextest run -p hubward-tests -E 'test(crash)' --no-capture   # 30 by default
//! HUBWARD_KILL_SEED=7 …                                                                # the same choices again
//! ```

mod check;
mod http;
mod ledger;
mod process;
mod writers;

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use self::ledger::Ledger;
use self::process::Process;

/// Only so that a broken emulator fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn crash_loses_nothing_that_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let rounds = number("HUBWARD_KILLS").unwrap_or(30);
    let seed = number("HUBWARD_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} kills; to make the same choices again: HUBWARD_KILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let mut ledger = Ledger::default();
    let (mut early, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        // Now and then before it is even ready.
        if rng.u8(..5) == 0 {
            let process = Process::spawn(directory);
            sleep(Duration::from_micros(rng.u64(..200_000))).await;
            process.kill().await;
            early += 1;
        }
        let process = Process::start(directory).await;
        check::everything(&process, &mut ledger).await.unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        let before = ledger.acknowledged();
        let writers = writers::spawn(&process, &ledger, &mut rng).await;
        // Some rounds end at the first acknowledgement, most in the middle of many.
        let enough = before + rng.u64(1..150);
        let reached = ledger.reached(enough);
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("round {round}: nothing is acknowledged any more"));
        // A random moment is what is wanted.
        sleep(Duration::from_micros(rng.u64(..10_000))).await;
        process.kill().await;
        writers::end(writers).await;
        acknowledged += ledger.acknowledged() - before;
    }
    let process = Process::start(directory).await;
    check::everything(&process, &mut ledger).await.unwrap_or_else(|wrong| panic!("at the end: {wrong}"));
    process.kill().await;
    let size = std::fs::metadata(folder.path().join("state.redb")).expect("the file").len();
    println!(
        "{acknowledged} writes acknowledged in {rounds} rounds, {early} more kills while starting: nothing is lost"
    );
    println!("{}; the file has {} KiB", ledger.summary(), size / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_in_the_first_start_keeps_no_later_one_from_starting() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let rounds = number("HUBWARD_KILLS").unwrap_or(30);
    let seed = number("HUBWARD_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} kills; to make the same choices again: HUBWARD_KILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    for round in 0..rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().to_str().expect("text");
        let process = Process::spawn(directory);
        // From the file's first byte on the moment is the right one.
        let begun = || folder.path().read_dir().expect("a folder").any(|it| is_state(&it.expect("an entry")));
        let waiting = async {
            while !begun() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("round {round}: it never begins"));
        sleep(Duration::from_micros(rng.u64(..1_500))).await;
        process.kill().await;
        Process::start(directory).await.kill().await;
    }
}

/// Whether it is the file of the state, be it under the name that it has while it is made.
fn is_state(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("state.")
}
