//! Prints text for the user.
//!
//! If the reader of the output closes the pipe, the run must still delete what it has created. So a failed write only
//! sets a flag, which the run checks at the end.

use std::fmt::Arguments;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Writes a line to stdout.
pub(super) fn print_line(line: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    note(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Writes a line to stderr.
pub(super) fn print_error(line: Arguments<'_>) {
    note(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Whether a write failed.
pub(super) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

fn note(written: std::io::Result<()>) {
    if written.is_err() {
        FAILED.store(true, Ordering::Relaxed);
    }
}
