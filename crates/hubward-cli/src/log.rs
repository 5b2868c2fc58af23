//! The log on stderr: plain warnings unless more is asked for.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output::{Writer, visible_log};

/// Starts the log. A reader of stderr who stops reading loses lines, which are counted, and blocks
/// nothing.
///
/// # Errors
/// If the filter cannot be read.
pub(crate) fn start(filter: Option<&str>, stderr: Writer) -> Result<(), Failure> {
    // An empty variable is what a shell leaves of a value that was not there.
    let filter = filter.filter(|it| !it.trim().is_empty());
    let text = filter.unwrap_or("warn");
    // A single word that is no level would be taken for a target, and silence everything else.
    if !text.contains(['=', ',']) && text.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(Failure::usage(format!("--log {text}: neither a level nor a filter"))
            .hint("use error, warn, info, debug, trace, or a filter such as hubward_mqtt=debug"));
    }
    let parsed = EnvFilter::try_new(text).map_err(|error| Failure::usage(format!("--log {text}: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(move || Lines(stderr.clone()))
        .with_ansi(io::stderr().is_terminal())
        .compact();
    if filter.is_some() {
        log.init();
    } else {
        log.without_time().with_target(false).init();
    }
    Ok(())
}

/// Takes a line at a time, as the log writes them.
struct Lines(Writer);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(visible_log(&String::from_utf8_lossy(line)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
