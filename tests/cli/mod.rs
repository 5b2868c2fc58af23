//! The command line: these tests check what docs/cli.md promises.

#[cfg(target_os = "linux")]
mod action;
#[cfg(unix)]
mod certificates;
#[cfg(unix)]
mod certificates_page;
mod device;
mod device_c2d;
mod device_field;
mod device_method;
mod device_run;
mod device_send;
mod device_twin;
mod dial_rules;
mod dps;
mod emulator;
mod emulator_env;
mod emulator_state;
mod emulator_terminal;
mod emulator_trust;
mod help;
pub(crate) mod http;
mod hub;
#[cfg(target_os = "linux")]
mod lost_output;
mod operator;
mod operators;
mod pipes;
mod portal_quickstart;
mod provision;
mod quickstart;
#[cfg(unix)]
mod recipes;
pub(crate) mod running;
mod sas;
mod simulated_device;
#[cfg(target_os = "linux")]
mod stalled;
#[cfg(target_os = "linux")]
mod terminal;
mod try_it;
mod x509;
mod x509_login;
mod x509_verify;

use hubward::TransportKind;
use hubward_emulator::{Emulator, Enrollment};

/// An emulator with one enrollment.
async fn cloud() -> (Emulator, Enrollment) {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let enrolled = emulator.enroll("dev-1").expect("a valid id");
    (emulator, enrolled)
}

/// Creates a link to the program under test in this folder. Returns a `PATH` with which a shell finds the program.
#[cfg(unix)]
fn path_with_hubward(folder: &std::path::Path) -> String {
    std::os::unix::fs::symlink(hubward_tests::binary::hubward(), folder.join("hubward")).expect("a link");
    format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH"))
}

/// The names of all transports, as arguments.
fn transports() -> impl Iterator<Item = &'static str> {
    TransportKind::ALL.into_iter().map(TransportKind::as_str)
}
