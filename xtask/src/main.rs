//! The development commands of this repository: `cargo xtask help` lists them.
//!
//! xtask only starts other programs and reads files. It does not depend on the crates of the workspace. For this
//! reason, it builds fast, and works even if the workspace does not compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

mod dist;
mod help;
mod spawn;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use help::{HELP, help_for};
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
        "dist" => dist::dist(rest).unwrap_or_else(|problem| usage(&problem)),
        "bench" => bench(rest),
        "live-questions" => live_questions(rest),
        "test" | "tidy" => usage(&format!("`{command}` takes no arguments")),
        other => usage(&format!("unknown command `{other}`")),
    }
}

/// Runs the conformance scenarios end to end.
fn e2e(arguments: &[String]) -> ExitCode {
    let fixed = ["run", "--quiet", "--package", "hubward-tests", "--bin", "e2e", "--"];
    run(Cargo::command(fixed).args(arguments)).into()
}

/// Asks a live service the questions that no public source answers. Compares the answers of the service with those of
/// the emulator.
fn live_questions(arguments: &[String]) -> ExitCode {
    let fixed = ["run", "--quiet", "--package", "hubward-tests", "--bin", "live_questions", "--"];
    run(Cargo::command(fixed).args(arguments)).into()
}

/// Runs Microsoft's SDKs against the emulator of a release build.
fn interop(arguments: &[String]) -> ExitCode {
    let binary = match release_binary() {
        Ok(binary) => binary,
        Err(code) => return code,
    };
    let mut python = spawn::command("python3");
    show_and_run(python.arg("tests/interop/run.py").arg("--hubward").arg(binary).args(arguments)).into()
}

/// Tests the web page of the emulator in a real browser. Uses a release build of the emulator.
fn portal(arguments: &[String]) -> ExitCode {
    let binary = match release_binary() {
        Ok(binary) => binary,
        Err(code) => return code,
    };
    let mut node = spawn::command("node");
    show_and_run(node.arg("tests/portal/run.mjs").arg("--hubward").arg(binary).args(arguments)).into()
}

/// Builds `hubward` with optimisation, and returns its path. `dist` can pack the same program.
fn release_binary() -> Result<PathBuf, ExitCode> {
    dist::build_program("release").map_err(|problem| failed(&problem))
}

/// Runs the measurements on an optimised build.
fn bench(arguments: &[String]) -> ExitCode {
    let (what, rest) = match arguments.split_first() {
        Some((what, rest)) => (what.as_str(), rest),
        None => return usage("`bench` needs the name of a measurement, for example `cargo xtask bench telemetry`"),
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
