//! Lines for the person who runs the program.
//!
//! A reader that goes away must not stop a run before it has deleted what it created, so a failed write is
//! remembered until the end.

use std::fmt::Arguments;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output.
pub(super) fn say(line: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    note(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Writes a line to standard error.
pub(super) fn complain(line: Arguments<'_>) {
    note(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Whether a line could not be written.
pub(super) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

fn note(written: std::io::Result<()>) {
    if written.is_err() {
        FAILED.store(true, Ordering::Relaxed);
    }
}
