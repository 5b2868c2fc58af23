//! Tests that kill the emulator while it works. An emulator with a data directory must keep every acknowledged write.
//! It must store each other write completely or not at all.
//!
//! Several clients write at the same time. At a random moment, the test kills the program with `SIGKILL`. It then
//! restarts the program on the same directory, and compares the state with the acknowledged writes.
//!
//! The state is kept between rounds, so it grows.
//!
//! ```sh
//! HUBWARD_KILLS=300 cargo nextest run -p hubward-tests -E 'test(crash)' --no-capture   # 30 by default
//! HUBWARD_KILL_SEED=7 …                                                                # repeats the random choices
//! ```

mod check;
mod ledger;
mod process;
mod writers;

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use self::ledger::Ledger;
use self::process::Process;

/// If the emulator does not react, the test fails after this time.
const HANG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn crash_loses_nothing_that_was_acknowledged() {
    let (rounds, mut rng) = choices();
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let mut ledger = Ledger::default();
    let (mut early, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        // In about one of five rounds, the test first starts an emulator and kills it during its start. It then starts
        // the emulator of the round.
        if rng.u8(..5) == 0 {
            let process = Process::spawn(directory);
            sleep(Duration::from_micros(rng.u64(..200_000))).await;
            process.kill().await;
            early += 1;
        }
        let process = Process::start(directory).await;
        check::everything(&process, &mut ledger).await.unwrap_or_else(|problem| panic!("round {round}: {problem}"));
        let before = ledger.acknowledged();
        let writers = writers::spawn(&process, &ledger, &mut rng).await;
        // A round ends after 1 to 149 acknowledgements.
        let reached = ledger.reached(before + rng.u64(1..150));
        timeout(HANG, reached).await.unwrap_or_else(|_| panic!("round {round}: the emulator stopped acknowledging"));
        // This delay is random. So the kill happens at a random moment.
        sleep(Duration::from_micros(rng.u64(..10_000))).await;
        process.kill().await;
        writers::end(writers).await;
        acknowledged += ledger.acknowledged() - before;
    }
    let process = Process::start(directory).await;
    check::everything(&process, &mut ledger).await.unwrap_or_else(|problem| panic!("at the end: {problem}"));
    process.kill().await;
    let size = std::fs::metadata(folder.path().join("state.redb")).expect("the file").len();
    println!(
        "{acknowledged} writes acknowledged in {rounds} rounds, {early} more kills during the start: no write is lost"
    );
    println!("{}; the file has {} KiB", ledger.summary(), size / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_the_first_start_does_not_prevent_the_next_start() {
    let (rounds, mut rng) = choices();
    for round in 0..rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().to_str().expect("text");
        let process = Process::spawn(directory);
        // Kill the emulator while it creates the state file.
        let exists = || folder.path().read_dir().expect("a folder").any(|it| is_state(&it.expect("an entry")));
        let waiting = async {
            while !exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(HANG, waiting).await.unwrap_or_else(|_| panic!("round {round}: no state file is created"));
        sleep(Duration::from_micros(rng.u64(..1_500))).await;
        process.kill().await;
        Process::start(directory).await.kill().await;
    }
}

/// Returns the number of rounds, and the generator of the random choices. Prints the seed of the generator, so that a
/// user can repeat a failed run.
#[expect(clippy::print_stdout, reason = "a failure can be repeated with the printed seed")]
pub(crate) fn choices() -> (u64, Rng) {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let rounds = number("HUBWARD_KILLS").unwrap_or(30);
    let seed = number("HUBWARD_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{rounds} kills; to repeat the random choices: HUBWARD_KILL_SEED={seed}");
    (rounds, Rng::with_seed(seed))
}

/// Returns `true` if a directory entry is the state file. While the emulator creates this file, the file has a
/// temporary name, which also begins with `state.`.
fn is_state(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("state.")
}
