//! `cargo xtask e2e`: runs every scenario over every transport, against the embedded emulator or a live DPS. Prints a
//! table, and the number of results of each kind.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the program prints for people")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use hubward::{Settings, TransportKind};
use hubward_tests::{ALL, RunResult, Target};

const HELP: &str = "cargo xtask e2e [--live | --emulator] [--transport https|mqtt|mqtt-ws|all]

  Without a flag: uses the live service that PROVISIONING_HOST, PROVISIONING_IDSCOPE,
  PROVISIONING_REGISTRATION_ID and PROVISIONING_SYMMETRIC_KEY name if all four are set,
  otherwise the embedded emulator.
  --live       Use the live service; a missing variable is an error
  --emulator   Use the emulator and ignore the variables
  --transport  Run over one transport (default: all)

  With a live service, it registers the given id, sends telemetry, reads the twin, reports the
  property hubwardConformance and removes it. It changes nothing else.";

/// Number of variables that a live service needs.
const REQUIRED: usize = 4;

/// Maximum time of a scenario. Every scenario takes far less. A scenario that takes longer hangs.
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
        Target::Emulator => println!("e2e uses the embedded emulator, one for each scenario, on loopback"),
        Target::Live(ref settings) => println!(
            "e2e uses the LIVE service {} (id scope {}, registration id {})",
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
                // The user has set only some of the variables, or has set an invalid value.
                Err(problem) if problem.problems().iter().any(|it| it.invalid.is_some()) => {
                    return Err(problem.to_string());
                }
                Err(problem) if problem.problems().len() < REQUIRED => {
                    return Err(format!(
                        "only some of the variables are set ({problem}); set all of them, or use --emulator"
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
    let (mut rows, mut reasons, mut some_do_not_apply) = (Vec::new(), BTreeSet::new(), false);
    let width = ALL.iter().map(|it| it.name.len()).max().unwrap_or_default() + 2;
    for scenario in ALL {
        let mut row = format!("{:<width$}", scenario.name);
        for kind in &choice.transports {
            let cell = match tokio::time::timeout(LIMIT, scenario.run(&choice.target, *kind)).await {
                Ok(RunResult::Ended(Ok(()))) => {
                    tally.passed += 1;
                    "passed"
                }
                Ok(RunResult::Skipped(reason)) => {
                    tally.skipped += 1;
                    reasons.insert(reason);
                    "skipped"
                }
                Ok(RunResult::NotApplicable) => {
                    some_do_not_apply = true;
                    "-"
                }
                Ok(RunResult::Ended(Err(problem))) => {
                    tally.failed += 1;
                    eprintln!("FAILED {} over {kind}: {problem}", scenario.name);
                    "FAILED"
                }
                Err(_) => {
                    tally.failed += 1;
                    eprintln!("FAILED {} over {kind}: still running after {LIMIT:?}", scenario.name);
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
    if some_do_not_apply {
        println!("-: needs a connection to the hub, which hubward does not support over this transport");
    }
    for reason in reasons {
        println!("skipped: {reason}");
    }
    tally
}
