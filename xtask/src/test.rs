//! `cargo xtask test`: runs all steps in order. At the end, prints one line per step.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::spawn::{Cargo, show_and_run};
use crate::tidy;

/// One step: its name, and the function that runs it. The function returns whether the step succeeded.
type Step = (&'static str, fn() -> bool);

const STEPS: [Step; 7] = [
    ("fmt", || cargo(["fmt", "--all", "--check"])),
    ("clippy", || cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])),
    ("features", features),
    ("tests", tests),
    ("doc tests", || cargo(["test", "--workspace", "--doc"])),
    ("docs", || {
        let mut command = Cargo::command(["doc", "--workspace", "--no-deps"]);
        show_and_run(command.env("RUSTDOCFLAGS", "--deny warnings")).is_success()
    }),
    ("tidy", tidy::check_and_report),
];

/// Packages that clippy checks alone, each with a reduced set of features. In a build of the whole workspace, cargo
/// enables all features that any crate needs. So only a build of a single package can check a reduced set.
const REDUCED_BUILDS: [(&str, &str); 9] = [
    ("hubward", "https"),
    ("hubward", "mqtt"),
    ("hubward", "ws"),
    ("hubward-emulator", ""),
    ("hubward-cli", "https,man-pages"),
    ("hubward-cli", "mqtt"),
    ("hubward-cli", "emulator,ws"),
    ("hubward-cli", "https,service"),
    ("hubward-cli", "mqtt,x509"),
];

/// The first words of the compiler error that a build of `hubward` without a transport must give.
const NO_TRANSPORT: &str = "error: hubward has no transport. Enable at least one of its features";

/// Programs that some tests start. xtask builds them before it runs the tests. A test that first had to build a program
/// would exceed its time limit.
const PROGRAMS: [&[&str]; 2] = [&["--package", "hubward-cli"], &["--package", "hubward", "--examples"]];

/// Runs every step, even if an earlier step fails. One run then shows all problems.
pub(crate) fn test() -> ExitCode {
    let mut outcomes = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = now();
        outcomes.push(Outcome { name, passed: step(), took: now() - start });
    }
    println!("\n{}", summary(&outcomes));
    if outcomes.iter().all(|it| it.passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn features() -> bool {
    let builds = REDUCED_BUILDS.map(|(package, features)| {
        let parts = ["clippy", "--package", package, "--no-default-features", "--features", features];
        cargo([parts.as_slice(), &["--", "--deny", "warnings"]].concat())
    });
    builds.into_iter().all(|it| it) & refuses_no_transport()
}

/// Builds `hubward` without a transport. Returns true if the build fails with the error [`NO_TRANSPORT`].
fn refuses_no_transport() -> bool {
    let mut build = Cargo::command(["clippy", "--package", "hubward", "--no-default-features", "--color", "never"]);
    eprintln!("$ cargo clippy --package hubward --no-default-features    (must fail)");
    match build.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let is_right = is_refusal(output.status.success(), &text);
            if !is_right {
                eprintln!("xtask: expected a failure with `{NO_TRANSPORT}`, but the build printed:\n{text}");
            }
            is_right
        }
        Err(error) => {
            eprintln!("xtask: cannot run cargo: {error}");
            false
        }
    }
}

/// Returns true if a build failed, and its only error is the one for the missing transport. cargo then prints the
/// summary `could not compile` as a second line.
fn is_refusal(succeeded: bool, stderr: &str) -> bool {
    let errors: Vec<&str> = stderr.lines().filter(|it| it.starts_with("error")).collect();
    !succeeded
        && matches!(errors[..], [first, last] if first.starts_with(NO_TRANSPORT) && last.contains("could not compile"))
}

fn tests() -> bool {
    if !PROGRAMS.iter().all(|program| cargo(["build"].iter().chain(*program).copied())) {
        return false;
    }
    if Cargo::has("nextest") {
        return cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
    }
    println!("cargo-nextest is not installed; using cargo test");
    // The doc tests are a separate step.
    cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
}

fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> bool {
    show_and_run(&mut Cargo::command(arguments)).is_success()
}

#[derive(Debug)]
struct Outcome {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// One line per step, and the totals.
fn summary(outcomes: &[Outcome]) -> String {
    let mut lines: Vec<String> = outcomes
        .iter()
        .map(|Outcome { name, passed, took }| {
            format!("{} {name:<10} {:>7.1} s", if *passed { "ok    " } else { "FAILED" }, took.as_secs_f64())
        })
        .collect();
    let passed = outcomes.iter().filter(|it| it.passed).count();
    lines.push(format!("{passed} steps passed, {} failed", outcomes.len() - passed));
    lines.join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the duration of a step; xtask has no async runtime with a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_that_fails_for_the_missing_transport_is_right() {
        let refusal = format!("    Checking hubward\n{NO_TRANSPORT} `https`\n  --> lib.rs\n");
        let end = "error: could not compile `hubward` (lib) due to 1 previous error\n";
        for (succeeded, text, expected) in [
            (false, format!("{refusal}{end}"), true),
            (true, format!("{refusal}{end}"), false),
            (false, end.to_owned(), false),
            (false, format!("{refusal}error[E0432]: unresolved import\n{end}"), false),
        ] {
            assert_eq!(is_refusal(succeeded, &text), expected, "{text}");
        }
    }

    #[test]
    fn the_summary_has_one_line_per_step_and_the_totals() {
        let outcome = |name, passed| Outcome { name, passed, took: Duration::from_millis(1250) };
        assert_eq!(
            summary(&[outcome("fmt", true), outcome("clippy", false)]),
            "ok     fmt            1.2 s\nFAILED clippy         1.2 s\n1 steps passed, 1 failed"
        );
    }
}
