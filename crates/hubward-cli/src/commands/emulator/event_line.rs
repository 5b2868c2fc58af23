//! An event of the emulator as a line of text.

use hubward_emulator::{Event, EventKind};
use serde_json::json;

use crate::output::visible;

/// Returns a line such as `03:04:05Z dps refused dev-1: bad signature, 401002`. The line contains no control
/// characters, although a client chooses some texts of the event.
pub(super) fn event_line(time: &str, event: &Event) -> String {
    visible(&format!("{time} {event}"))
}

/// Returns the name of a kind of events, as in the JSON of an event.
pub(super) fn name(kind: EventKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}
