//! Tests that start the emulator with damaged state files. For each file, the emulator must report the damage, or the
//! whole state must be there and unchanged.

mod corpus;
mod population;

use std::path::Path;

use hubward_emulator::{Emulator, StartError};
use serde_json::json;

use self::corpus::Damaged;
use self::population::Population;
use crate::state::{HUB, seen, start};

/// The name of the state file in a data directory.
const FILE: &str = "state.redb";

/// The outcome for a damaged file.
#[derive(Debug, Default)]
struct Counts {
    /// The start failed and reported the damage.
    reported: usize,
    /// The emulator started with the whole state. The first write failed and reported the damage.
    reported_late: usize,
    /// The whole state was there and remained after a write.
    unharmed: usize,
    wrong: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_file_that_was_closed_is_reported_or_does_no_harm() {
    let population = Population::make().await;
    println!("{}", survive(&population, &population.closed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_file_that_was_open_is_reported_or_does_no_harm() {
    let population = Population::make().await;
    println!("{}", survive(&population, &population.killed).await);
}

/// Starts an emulator with each damaged variant of the file `whole`. Returns a summary of the outcomes.
async fn survive(population: &Population, whole: &[u8]) -> String {
    let mut counts = Counts::default();
    let undamaged = Damaged { name: "nothing".to_owned(), bytes: whole.to_vec() };
    look(population, &undamaged, &mut counts).await;
    assert_eq!(counts.unharmed, 1, "{:?}", counts.wrong);
    let damaged = corpus::of(whole, &population.earlier);
    for one in &damaged {
        look(population, one, &mut counts).await;
    }
    let Counts { reported, reported_late, unharmed, wrong } = &counts;
    assert!(damaged.len() >= 110 && *reported >= 70, "{} {reported}", damaged.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), damaged.len(), wrong.join("\n"));
    format!(
        "{} damaged files: {reported} reported at the start, {reported_late} at the first write, {} unharmed, 0 wrong",
        damaged.len(),
        unharmed - 1
    )
}

async fn look(population: &Population, damaged: &Damaged, counts: &mut Counts) {
    let folder = population.with(&damaged.bytes);
    let directory = folder.path().to_owned();
    // In a separate task, so that a panic is counted.
    let judged = tokio::spawn(judge(directory, population.seen.clone(), damaged.bytes.clone())).await;
    match judged {
        Ok(Ok(Outcome::Reported)) => counts.reported += 1,
        Ok(Ok(Outcome::ReportedLate)) => counts.reported_late += 1,
        Ok(Ok(Outcome::Unharmed)) => counts.unharmed += 1,
        Ok(Err(wrong)) => counts.wrong.push(format!("{}: {wrong}", damaged.name)),
        Err(panic) => counts.wrong.push(format!("{}: {panic}", damaged.name)),
    }
}

enum Outcome {
    Reported,
    ReportedLate,
    Unharmed,
}

async fn judge(directory: std::path::PathBuf, expected: serde_json::Value, bytes: Vec<u8>) -> Result<Outcome, String> {
    match Emulator::builder().data_dir(&directory).start().await {
        Ok(emulator) => goes_on(&directory, emulator, expected).await,
        Err(StartError::State(error)) => {
            if std::fs::read(directory.join(FILE)).expect("the file") != bytes {
                return Err(format!("the damaged file is changed: {error}"));
            }
            is_a_report(&error.to_string())?;
            // Start a second time. If the first start had not released its lock on the directory, the error would be
            // different.
            match Emulator::builder().data_dir(&directory).start().await {
                Err(StartError::State(again)) if again.to_string() == error.to_string() => Ok(Outcome::Reported),
                other => Err(format!("first {error}, then {:?}", other.err())),
            }
        }
        Err(other) => Err(format!("{other:?}")),
    }
}

/// Checks that the state is complete, and that it is still complete after some writes.
async fn goes_on(directory: &Path, emulator: Emulator, expected: serde_json::Value) -> Result<Outcome, String> {
    let compare = |what: &str, left: &serde_json::Value, right: &serde_json::Value| {
        let differs = |(key, value): (&String, &serde_json::Value)| (right[key] != *value).then(|| key.clone());
        let parts: Vec<String> = left.as_object().into_iter().flatten().filter_map(differs).collect();
        if parts.is_empty() { Ok(()) } else { Err(format!("{what}, these differ: {}", parts.join(", "))) }
    };
    let found = seen(&emulator);
    if let Err(wrong) = compare("silently started", &expected, &found) {
        emulator.shutdown().await;
        return Err(wrong);
    }
    for number in 0..5 {
        emulator.patch_tags(HUB, &format!("machine-{number:03}"), json!({ "after": "x".repeat(900) })).expect("fine");
        emulator.add_device(HUB, &format!("new-{number:03}")).map_err(|error| error.to_string())?;
        if let Err(lost) = emulator.flush().await {
            let lost = lost.to_string();
            emulator.shutdown().await;
            if number > 0 || !lost.contains("it is damaged") {
                return Err(lost);
            }
            // Nothing was written, and the state can still be exported.
            let emulator = start(directory).await;
            let again = seen(&emulator);
            emulator.shutdown().await;
            return is_a_report(&lost)
                .and_then(|()| compare("after the first write failed", &expected, &again))
                .map(|()| Outcome::ReportedLate);
        }
    }
    let after = seen(&emulator);
    emulator.shutdown().await;
    let emulator = start(directory).await;
    let again = seen(&emulator);
    emulator.shutdown().await;
    compare("after more was written", &after, &again).map(|()| Outcome::Unharmed)
}

/// Checks that an error names the file and what to do.
fn is_a_report(text: &str) -> Result<(), String> {
    let is_good = text.contains(FILE) && text.contains("move ");
    if is_good { Ok(()) } else { Err(format!("no report: {text}")) }
}
