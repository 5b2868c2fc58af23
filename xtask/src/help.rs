//! The help texts of the commands.

/// The help of the program: the list of commands.
pub(crate) const HELP: &str = "\
The development commands of this repository.

Usage: cargo xtask <COMMAND> [ARGUMENTS]

Commands:
  test            Run all checks: formatting, lints, tests, doc tests, documentation, tidy
  tidy            Check the repository's own rules: dependencies, vectors, manifests, sources
  e2e             Run the conformance scenarios against the emulator or a live DPS
  interop         Run Microsoft's Python and Node SDKs, unmodified, against the emulator
  portal          Test the emulator's web page in headless Chromium, with real device clients
  dist            Build the packages that people download, and install and use them with --test
  bench           Run measurements, for example `cargo xtask bench telemetry`
  live-questions  Send open questions to a live DPS and IoT Hub, and compare with the emulator
  help            Print this text, or the help of a command: cargo xtask help e2e";

const TEST_HELP: &str = "\
Runs all checks that must pass before a change is merged. Needs no root access, and no network once the
dependencies are downloaded.

Usage: cargo xtask test

Runs these steps, and continues after a failure: cargo fmt --check; clippy for all targets, with warnings
denied; clippy for builds with fewer features; the tests (with cargo-nextest if it is installed, otherwise
with cargo test); the doc tests; cargo doc, with warnings denied; tidy. Prints one line per step and the
totals at the end. The exit code is 1 if a step failed.";

const TIDY_HELP: &str = "\
Checks the repository's own rules. Each finding says what to do.

Usage: cargo xtask tidy

Checks the allowed dependencies between crates (docs/architecture.md), banned crates in the lockfile, that
every wire vector is tested or deferred, the required fields of a published manifest, the layout of modules,
modules that import each other, constants below functions, long files and lines, relative links in a crate's
README, paths and settings of one machine, leftovers such as unfinished code, and that every decision note
is linked.";

const E2E_HELP: &str = "\
Runs the conformance scenarios end to end, and prints a table of transports and scenarios.

Usage: cargo xtask e2e [--emulator | --live] [--transport https|mqtt|mqtt-ws|all]

Without a flag, the scenarios use a live DPS if the four PROVISIONING_* variables are set, otherwise an
emulator in the same process. The first output line names the target.
  --emulator   Use the emulator even if the variables are set
  --live       Use the live DPS; fail if a variable is missing

Live mode registers the given id, sends telemetry, reads the twin, reports one property, and removes this
property again. It skips scenarios that inspect or control the service. For more, see the help of the runner:
`cargo run -p hubward-tests --bin e2e -- --help`.";

const INTEROP_HELP: &str = "\
Runs Microsoft's SDKs, unmodified, against the emulator of a release build: the Python SDK (from PyPI, in a
private venv) over MQTT and WebSocket, and the Node SDKs (from npm) over HTTP, MQTT and WebSocket. Tests
provisioning, telemetry, twins, methods and messages, for devices and for modules. Also tests every call of
the service SDKs. docs/interop.md lists the calls.

Usage: cargo xtask interop [ARGUMENTS OF tests/interop/run.py]

Needs python3 with venv, node and npm. Needs a network on the first run.";

const PORTAL_HELP: &str = "\
Tests the emulator's web page in headless Chromium, with playwright-core (from npm). Uses the emulator of a
release build and real device clients. Each scenario starts its own emulator.

Usage: cargo xtask portal [ARGUMENTS OF tests/portal/run.mjs]

  --only TEXT   Run only the scenarios whose name contains TEXT
  --list        List the names of the scenarios

Needs node 20 with npm, Chromium (apt-get install chromium, or set CHROMIUM to its path), bash and python3.
Needs a network on the first run.";

const DIST_HELP: &str = "\
Builds the packages that people download, and prints the size of each file. Continues after a failure. The
exit code is 1 if a kind failed.

Usage: cargo xtask dist [--only NAME…] [--test] [--release | --binary PATH]

  --only NAME…   Build only these kinds: wheel, npm, deb, image, sbom, licences
  --test         Install each package in an empty place, and use it as a user does
  --release      Pack a build with the profile `release`, which builds faster than `dist`
  --binary PATH  Pack this program, and build nothing

Without --release or --binary, the program is built with the profile `dist`. The folder `packages` in the
target directory receives the files and SHA256SUMS, and loses the files of earlier runs. The packages are for
the system and processor of this machine.

RELEASING.md lists the kinds. .ci/run installs the programs that they need on Debian.";

const BENCH_HELP: &str = "\
Runs measurements on an optimised build.

Usage: cargo xtask bench telemetry [ARGUMENTS OF hubward-bench]
       cargo xtask bench certificates [ARGUMENTS OF hubward-bench]
       cargo xtask bench devices [ARGUMENTS OF hubward-bench]
       cargo xtask bench emulator [DEVICES [SECONDS]]

telemetry: measures the throughput of QoS 1 messages over TLS on loopback, with several windows, and compares
it with the upper bound (hand-written frames without bookkeeping).
certificates: measures the processor time of a login with a certificate and the memory of an idle device with
one, for the device and for the emulator, and compares them with a device with a key (SAS).
devices: measures the memory of an idle device that keeps itself connected, and compares it with a client
of the hub.
emulator: measures the start-up time, and the memory when idle, with 10,000 idle connections, and with DEVICES
(default 1000) that each send one message per second for SECONDS (default 30). Fails if a figure exceeds its
limit in docs/emulator.md.";

const LIVE_QUESTIONS_HELP: &str = "\
Sends the requests of docs/live-questions.md to a DPS and an IoT Hub, writes the answers without keys to a
folder, and lists the differences from the answers of the emulator.

Usage: cargo xtask live-questions [--yes] [--out DIR] [--only NUMBERS]

Reads IOTHUB_CONNECTION_STRING, PROVISIONING_CONNECTION_STRING and PROVISIONING_IDSCOPE. Creates devices and
enrollments, and deletes them at the end. Services on other machines require --yes.
Exit codes: 0 no difference, 3 a difference, 1 a request could not be sent. For more, see the help of the
program: `cargo run -p hubward-tests --bin live_questions -- --help`.";

/// Returns the help text for `COMMAND --help`, `help COMMAND`, `help` or `--help`. Returns `None` for other
/// arguments.
pub(crate) fn help_for(command: &str, rest: &[String]) -> Option<&'static str> {
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
        "dist" => DIST_HELP,
        "bench" => BENCH_HELP,
        "live-questions" => LIVE_QUESTIONS_HELP,
        _ => HELP,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_asking_for_help_finds_its_text() {
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
            // A `--help` after the first argument belongs to the program that xtask starts.
            ("bench telemetry --help", None),
        ] {
            let words = words(line);
            assert_eq!(help_for(&words[0], &words[1..]), expected, "{line}");
        }
    }
}
