//! The commands of this repository: `cargo xtask help` lists them.
//!
//! Thin on purpose: it spawns cargo and Python, reads files, and links nothing of the workspace, so
//! that it builds in a moment and still works when the workspace does not.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a command is for")]

mod spawn;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use spawn::{Cargo, run, show_and_run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", Default::default()),
    };
    if let Some(text) = help_for(command, rest) {
        println!("{text}");
        return ExitCode::SUCCESS;
    }
    match command {
        "test" if rest.is_empty() => test::test(),
        "tidy" if rest.is_empty() => tidy::tidy(),
        "e2e" => e2e(rest),
        "interop" => interop(rest),
        "portal" => portal(rest),
        "bench" => bench(rest),
        "live-questions" => live_questions(rest),
        "test" | "tidy" => usage(&format!("`{command}` takes no arguments")),
        other => usage(&format!("there is no command `{other}`")),
    }
}

/// The conformance scenarios, end to end.
fn e2e(arguments: &[String]) -> ExitCode {
    let fixed = ["run", "--quiet", "--package", "hubward-tests", "--bin", "e2e", "--"];
    run(Cargo::command(fixed).args(arguments)).into()
}

/// Questions to a live service, compared with the emulator.
fn live_questions(arguments: &[String]) -> ExitCode {
    let fixed = ["run", "--quiet", "--package", "hubward-tests", "--bin", "live_questions", "--"];
    run(Cargo::command(fixed).args(arguments)).into()
}

/// Microsoft's SDKs against the emulator of a release build.
fn interop(arguments: &[String]) -> ExitCode {
    let binary = match release_binary() {
        Ok(binary) => binary,
        Err(code) => return code,
    };
    let mut python = spawn::command("python3");
    show_and_run(python.arg("tests/interop/run.py").arg("--hubward").arg(binary).args(arguments)).into()
}

/// The emulator's page in a real browser, against the emulator of a release build.
fn portal(arguments: &[String]) -> ExitCode {
    let binary = match release_binary() {
        Ok(binary) => binary,
        Err(code) => return code,
    };
    let mut node = spawn::command("node");
    show_and_run(node.arg("tests/portal/run.mjs").arg("--hubward").arg(binary).args(arguments)).into()
}

/// Builds the program with optimisation; where it is.
fn release_binary() -> Result<PathBuf, ExitCode> {
    let built = show_and_run(&mut Cargo::command(["build", "--release", "--package", "hubward-cli"]));
    if !built.is_success() {
        return Err(built.into());
    }
    let target = Cargo::target_directory().map_err(|problem| failed(&problem))?;
    Ok(target.join("release").join(format!("hubward{}", std::env::consts::EXE_SUFFIX)))
}

/// Measurements; they need an optimised build to mean anything.
fn bench(arguments: &[String]) -> ExitCode {
    let (what, rest) = match arguments.split_first() {
        Some((what, rest)) => (what.as_str(), rest),
        None => return usage("`bench` needs to know what to measure, for instance `cargo xtask bench telemetry`"),
    };
    if what == "emulator" {
        let hubward = match release_binary() {
            Ok(hubward) => hubward,
            Err(code) => return code,
        };
        let fixed = ["run", "--quiet", "--release", "--package", "hubward-tests", "--bin", "figures", "--"];
        return run(Cargo::command(fixed).arg(hubward).args(rest)).into();
    }
    let fixed = ["run", "--quiet", "--release", "--package", "hubward-bench", "--"];
    run(Cargo::command(fixed).args(arguments)).into()
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}\n\n{HELP}");
    ExitCode::from(2)
}

fn failed(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}");
    ExitCode::FAILURE
}

/// The help that was asked for: `help`, `help COMMAND`, `COMMAND --help`, `--help`.
fn help_for(command: &str, rest: &[String]) -> Option<&'static str> {
    let is_flag = |it: &str| matches!(it, "--help" | "-h");
    let topic = match (command, rest.first().map(String::as_str)) {
        ("help", topic) => topic.unwrap_or_default(),
        (flag, _) if is_flag(flag) => "",
        (command, Some(flag)) if is_flag(flag) => command,
        _ => return None,
    };
    Some(match topic {
        "test" => TEST_HELP,
        "tidy" => TIDY_HELP,
        "e2e" => E2E_HELP,
        "interop" => INTEROP_HELP,
        "portal" => PORTAL_HELP,
        "bench" => BENCH_HELP,
        "live-questions" => LIVE_QUESTIONS_HELP,
        _ => HELP,
    })
}

const HELP: &str = "\
The commands of this repository.

Usage: cargo xtask <COMMAND> [ARGUMENTS]

Commands:
  test            Formatting, lints, tests, doc tests, documentation, tidy
  tidy            The repository's own rules: crate arrows, banned crates, vectors, manifests, sources
  e2e             The conformance scenarios on every transport, against the emulator or a live DPS
  interop         Microsoft's Python and Node SDKs, unmodified, against the emulator
  portal          The emulator's page in headless Chromium, against real devices
  bench           Measurements, for instance `cargo xtask bench telemetry`
  live-questions  Open questions to a live DPS and IoT Hub, compared with the emulator
  help            This text, or that of one command: cargo xtask help e2e";

const TEST_HELP: &str = "\
Everything that must hold before a change lands. Needs no network once the dependencies are there,
and no root.

Usage: cargo xtask test

Runs, and goes on after a failure: cargo fmt --check; clippy for all targets, warnings denied; the
tests (with cargo-nextest where it is installed, else cargo test); the doc tests; cargo doc, warnings
denied; tidy. Ends with one line a step and the total; exits 1 if a step failed.";

const TIDY_HELP: &str = "\
The repository's own rules. Each finding is a sentence that says what to do.

Usage: cargo xtask tidy

Checks: which crate may depend on which (docs/architecture.md), crates that must not be in the
lockfile, that every wire vector is accounted for, what a published manifest must say, long files,
traces of one machine, leftovers, and that every decision note can be found.";

const E2E_HELP: &str = "\
The conformance scenarios, end to end, ending with a transport x scenario table.

Usage: cargo xtask e2e [--emulator | --live] [--transport https|mqtt|mqtt-ws|all]

Without a flag it talks to a live DPS when the four PROVISIONING_* variables are set, else to an
emulator inside the process. The first line says which.
  --emulator   Ignores the variables
  --live       Insists on them: a missing one is an error

Live mode registers the given id, sends its telemetry, reads its twin and reports one property that it
removes again; scenarios that look at or steer the service are skipped. More: --help of the runner,
`cargo run -p hubward-tests --bin e2e -- --help`.";

const INTEROP_HELP: &str = "\
Microsoft's Python SDK (from PyPI, in a private venv) over MQTT and WebSocket, and their Node SDKs
(from npm) over HTTP, MQTT and WebSocket, against the emulator of a release build: provisioning, and
at the hub telemetry, twins, methods and messages, as devices and as modules. Then their SDKs for
services, every call they have; docs/interop.md lists them.

Usage: cargo xtask interop [ARGUMENTS OF tests/interop/run.py]

Needs python3 with venv, node and npm, and a network the first time.";

const PORTAL_HELP: &str = "\
The emulator's page in headless Chromium, driven by playwright-core (from npm), against the emulator of
a release build and devices that are real: every scenario with an emulator of its own.

Usage: cargo xtask portal [ARGUMENTS OF tests/portal/run.mjs]

  --only TEXT   Only the scenarios whose name contains it
  --list        Their names

Needs node 20 with npm, Chromium (apt-get install chromium, or CHROMIUM=/its/path), bash and python3,
and a network the first time.";

const BENCH_HELP: &str = "\
Measurements, on an optimised build.

Usage: cargo xtask bench telemetry [ARGUMENTS OF hubward-bench]
       cargo xtask bench emulator [DEVICES [SECONDS]]

telemetry: QoS 1 messages over TLS on loopback, at several windows, beside the bound that hand-written
frames without bookkeeping reach.
emulator: how soon it is ready, and its memory when idle, with 10,000 connections that are left alone, and
with devices (1000) that send a message a second (for 30 seconds). Fails if a bound of docs/emulator.md
is broken.";

const LIVE_QUESTIONS_HELP: &str = "\
Sends the requests of docs/live-questions.md to a DPS and an IoT Hub, writes the answers without keys to a
folder, and lists where they differ from those of the emulator.

Usage: cargo xtask live-questions [--yes] [--out DIR] [--only NUMBERS]

Reads IOTHUB_CONNECTION_STRING, PROVISIONING_CONNECTION_STRING and PROVISIONING_IDSCOPE. Creates devices and
enrollments, and deletes them at the end. Acts on services that are not on this machine with --yes only.
Exit code: 0 no difference, 3 a difference, 1 something could not be asked. More: --help of the program,
`cargo run -p hubward-tests --bin live_questions -- --help`.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_found_wherever_it_is_asked_for() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (line, expected) in [
            ("help", Some(HELP)),
            ("--help", Some(HELP)),
            ("-h", Some(HELP)),
            ("help e2e", Some(E2E_HELP)),
            ("help nonsense", Some(HELP)),
            ("tidy --help", Some(TIDY_HELP)),
            ("bench -h", Some(BENCH_HELP)),
            ("test", None),
            ("e2e --live", None),
            // Behind the first argument it belongs to the program that is spawned.
            ("bench telemetry --help", None),
        ] {
            let words = words(line);
            assert_eq!(help_for(&words[0], &words[1..]), expected, "{line}");
        }
    }
}
