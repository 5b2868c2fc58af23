//! Implements the `Debug` of this crate's errors. It contains advice for the user: if `main` returns an error, Rust
//! prints the `Debug` of the error.

use std::error::Error;
use std::fmt;

use hubward_transport::one_line;

/// Writes the messages of an error and of its causes. If there is a hint or a tracking id, then writes an empty line,
/// one line for the hint, and one line for the tracking id.
pub(crate) fn write_with_advice(
    error: &dyn Error,
    hint: Option<&str>,
    tracking_id: Option<&str>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    hubward_proto::write_error_report(error, f)?;
    let mut separator = "\n\n";
    // The service sends the tracking id. The id may contain any character, so `one_line` cleans it.
    for (name, text) in [("Hint", hint.map(str::to_owned)), ("Tracking id", tracking_id.map(one_line))] {
        if let Some(text) = text {
            write!(f, "{separator}{name}: {text}")?;
            separator = "\n";
        }
    }
    Ok(())
}
