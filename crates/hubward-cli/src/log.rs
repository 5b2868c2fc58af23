//! The log on stderr. By default it contains warnings only, without time and target.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;
use crate::output::{Writer, visible_log};
use crate::override_notes::OverrideNotes;

/// The filter without `--log`. The commands print the events of a device to stdout, so the log does not repeat them.
const DEFAULT: &str = "warn,hubward::device=error";

/// Starts the log. Logging never blocks: if the reader of stderr stops reading, the log drops lines and counts them.
///
/// If `notes_overrides` is `true`, also prints a line for each host whose address a dial rule changes. Dial rules come
/// from `--connect-to` or `HUBWARD_CONNECT_TO`.
///
/// # Errors
/// If the filter is not valid.
pub(crate) fn start(filter: Option<&str>, stderr: Writer, notes_overrides: bool) -> Result<(), Failure> {
    // An empty variable counts as not set.
    let filter = filter.filter(|it| !it.trim().is_empty());
    let text = filter.unwrap_or(DEFAULT);
    // Refuse a single word that is not a level, such as `inof`. The log would take this word as the name of a target (a
    // module). It would then hide the lines of all other targets.
    if !text.contains(['=', ',']) && text.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(Failure::usage(format!("--log {text}: this is neither a level nor a filter"))
            .hint("use error, warn, info, debug, trace, or a filter such as hubward_mqtt=debug"));
    }
    // Use `Targets`, not `EnvFilter`. `EnvFilter` can also filter by the values of fields, and needs the crate `regex`
    // for this. hubward does not need such filters.
    let targets: Targets = text.parse().map_err(|error| Failure::usage(format!("--log {text}: {error}")))?;
    let writer = stderr.clone();
    let log = fmt::layer().with_writer(move || Lines(writer.clone())).with_ansi(io::stderr().is_terminal()).compact();
    let log = if filter.is_some() { log.boxed() } else { log.without_time().with_target(false).boxed() };
    let mut layers = vec![log.with_filter(targets).boxed()];
    if notes_overrides {
        layers.push(OverrideNotes::new(stderr).with_filter(OverrideNotes::filter()).boxed());
    }
    tracing_subscriber::registry().with(layers).init();
    Ok(())
}

/// Sends each line of the log to the writer. The log calls `write` once for each line.
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
