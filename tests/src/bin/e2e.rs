//! `cargo xtask e2e`: every scenario over every transport, against the embedded emulator or a live
//! DPS; a table and a count at the end.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use hubward::{Settings, TransportKind};
use hubward_tests::{ALL, Ran, Target};

const HELP: &str = "cargo xtask e2e [--live | --emulator] [--transport https|mqtt|mqtt-ws|all]

  Without a flag: the live service that PROVISIONING_HOST, PROVISIONING_IDSCOPE,
  PROVISIONING_REGISTRATION_ID and PROVISIONING_SYMMETRIC_KEY name, if all four are set; else the
  embedded emulator.
  --live       insist on the live service: a missing variable is an error
  --emulator   ignore the variables
  --transport  run over one transport only (default: all)

  Live, it registers the given id, sends its telemetry, reads its twin, and reports the property
  hubwardConformance, which it removes again. It changes nothing else.";

/// How many variables a live service takes.
const REQUIRED: usize = 4;

/// No scenario takes nearly as long, unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let choice = match Choice::parse(std::env::args().skip(1)) {
        Ok(Some(choice)) => choice,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("error: {problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match choice.target {
        Target::Emulator => println!("e2e talks to the embedded emulator, one for each scenario, on loopback"),
        Target::Live(ref settings) => println!(
            "e2e talks to the LIVE service {} (id scope {}, registration id {})",
            settings.dps_host, settings.id_scope, settings.registration_id
        ),
    }
    let tally = run(&choice).await;
    println!("\n{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Choice {
    target: Target,
    transports: Vec<TransportKind>,
}

impl Choice {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut live, mut emulator, mut transports) = (false, false, TransportKind::ALL.to_vec());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--live" => live = true,
                "--emulator" => emulator = true,
                "--transport" => {
                    let name = arguments.next().ok_or("--transport needs a name")?;
                    if name != "all" {
                        transports = vec![name.parse().map_err(|error| format!("{error}"))?];
                    }
                }
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        let target = match (live, emulator) {
            (true, true) => return Err("--live and --emulator exclude each other".into()),
            (false, true) => Target::Emulator,
            (live, false) => match Settings::from_env() {
                Ok(settings) => Target::Live(Box::new(settings)),
                Err(problem) if live => return Err(format!("--live: {problem}")),
                // Some of the four but not all, or one that is wrong, is a mistake and not a choice.
                Err(problem) if problem.problems().iter().any(|it| it.invalid.is_some()) => {
                    return Err(problem.to_string());
                }
                Err(problem) if problem.problems().len() < REQUIRED => {
                    return Err(format!(
                        "some of the variables are set, but not all ({problem}); --emulator ignores them"
                    ));
                }
                Err(_) => Target::Emulator,
            },
        };
        Ok(Some(Self { target, transports }))
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

async fn run(choice: &Choice) -> Tally {
    let mut tally = Tally::default();
    let (mut rows, mut reasons, mut absent) = (Vec::new(), BTreeSet::new(), false);
    let width = ALL.iter().map(|it| it.name.len()).max().unwrap_or_default() + 2;
    for scenario in ALL {
        let mut row = format!("{:<width$}", scenario.name);
        for kind in &choice.transports {
            let cell = match tokio::time::timeout(LIMIT, scenario.run(&choice.target, *kind)).await {
                Ok(Ran::Ended(Ok(()))) => {
                    tally.passed += 1;
                    "passed"
                }
                Ok(Ran::Skipped(reason)) => {
                    tally.skipped += 1;
                    reasons.insert(reason);
                    "skipped"
                }
                Ok(Ran::NotAbout) => {
                    absent = true;
                    "-"
                }
                Ok(Ran::Ended(Err(problem))) => {
                    tally.failed += 1;
                    eprintln!("FAILED {} over {kind}: {problem}", scenario.name);
                    "FAILED"
                }
                Err(_) => {
                    tally.failed += 1;
                    eprintln!("FAILED {} over {kind}: no end after {LIMIT:?}", scenario.name);
                    "FAILED"
                }
            };
            row.push_str(&format!("{cell:<10}"));
        }
        rows.push(row.trim_end().to_owned());
    }
    let head: String = choice.transports.iter().map(|kind| format!("{kind:<10}")).collect();
    println!("\n{:<width$}{}", "scenario", head.trim_end());
    for row in &rows {
        println!("{row}");
    }
    if absent {
        println!("-: about what a device does at its hub, which hubward does not reach over this transport");
    }
    for reason in reasons {
        println!("skipped: {reason}");
    }
    tally
}
