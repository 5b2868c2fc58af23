//! An event of the emulator as a line of text.

use hubward_emulator::{Event, EventKind};
use serde_json::json;

use crate::output::visible;

/// Returns a line such as `03:04:05Z dps refused dev-1: bad signature, 401002`.
///
/// Some texts of the event come from a client. So the function replaces control characters with spaces.
pub(super) fn event_line(time: &str, event: &Event) -> String {
    visible(&format!("{time} {event}"))
}

/// Returns the name of a kind of events, as in the JSON of an event.
pub(super) fn name(kind: EventKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}
