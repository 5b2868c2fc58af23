//! A stream of the emulator's admin API, such as its events or its telemetry.

use hubward_service::{AdminPort, EventStream, ServiceError};

/// A stream that a command opens at its start, and again if the emulator closes it. The new stream then continues after
/// the event `last`.
pub(crate) struct AdminFeed {
    pub(crate) admin: AdminPort,
    pub(crate) path: String,
    pub(crate) query: String,
    /// The id of the last event that the command has printed.
    pub(crate) last: Option<String>,
}

impl AdminFeed {
    pub(crate) async fn open(&self) -> Result<EventStream, ServiceError> {
        self.admin.events(self.path.as_str(), self.query.as_str(), self.last.as_deref()).await
    }
}

/// Checks where a stream begins: a number, or `latest`. `what` names the number in the error.
pub(crate) fn position(text: &str, what: &str) -> Result<String, String> {
    let fits = text == "latest" || text.parse::<u64>().is_ok();
    if fits { Ok(text.to_owned()) } else { Err(format!("this is not {what}; write a number, such as 0, or `latest`")) }
}
