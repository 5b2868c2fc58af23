//! One event of the journal. Nothing in it is ever a secret.

use std::fmt;

use serde::Serialize;

/// Something that has happened at the emulator.
///
/// Written as a line: `dps refused dev-1: bad signature, 401002`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Event {
    /// Its place in the log, counted from 0.
    pub seq: u64,
    /// When it happened: UTC with seven fractional digits.
    pub time: String,
    /// What happened.
    pub kind: EventKind,
    /// Which part of the emulator tells it.
    pub source: EventSource,
    /// Host name of the hub, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Registration id, device id, `{device}/{module}`, or the name of an enrollment group; as it was
    /// sent where somebody was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The service's six-digit code, or over MQTT that of CONNACK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// In words: why, how, what of it. Empty where the kind says it all.
    pub message: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source, hub, id, code, message, .. } = self;
        write!(f, "{} {}", source.name(), kind.words())?;
        if let Some(id) = id {
            write!(f, " {id}")?;
        }
        if let Some(hub) = hub {
            write!(f, " at {hub}")?;
        }
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        code.map_or(Ok(()), |code| write!(f, ", {code}"))
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $words:literal,)*) => {
        /// What has happened. As JSON the name in camel case: `enrollmentCreated`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "camelCase")]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// For a line of text.
            const fn words(self) -> &'static str {
                match self {
                    $(Self::$kind => $words,)*
                }
            }
        }
    };
}

kinds! {
    /// A registration at DPS has been accepted: a hub is assigned.
    Registered => "registered",
    /// A registration was accepted, and there is no hub for the device.
    RegistrationFailed => "found no hub for",
    /// Somebody was sent away: a device, or a caller of a service API.
    Refused => "refused",
    /// A TLS handshake has failed, such as that of a client that does not trust the emulator's CA.
    HandshakeFailed => "had a TLS handshake fail",
    /// A device or module has connected to a hub.
    Connected => "connected",
    /// Its connection has ended.
    Disconnected => "disconnected",
    /// An individual enrollment has been made.
    EnrollmentCreated => "created the enrollment",
    /// An individual enrollment has been changed.
    EnrollmentUpdated => "updated the enrollment",
    /// An individual enrollment has been deleted.
    EnrollmentDeleted => "deleted the enrollment",
    /// An enrollment group has been made.
    EnrollmentGroupCreated => "created the enrollment group",
    /// An enrollment group has been changed.
    EnrollmentGroupUpdated => "updated the enrollment group",
    /// An enrollment group has been deleted.
    EnrollmentGroupDeleted => "deleted the enrollment group",
    /// The record of a registration has been deleted.
    RegistrationDeleted => "deleted the registration of",
    /// A device or module has become known to a hub.
    DeviceCreated => "created",
    /// The identity of a device or module has been changed.
    DeviceUpdated => "updated",
    /// A device or module has been deleted.
    DeviceDeleted => "deleted",
    /// A twin's tags or desired properties have been changed from the cloud.
    TwinUpdated => "updated the twin of",
    /// A device has reported properties.
    TwinReported => "has reported properties of",
    /// A direct method has been called; the message says how that ended.
    MethodInvoked => "invoked a method of",
    /// A message to a device has been queued.
    MessageSent => "queued a message to",
    /// A fault has been scripted.
    FaultScripted => "scripted a fault",
    /// A scripted fault has happened.
    FaultHappened => "let a fault happen",
    /// Faults that had not happened yet have been forgotten.
    FaultsCleared => "cleared the faults",
    /// The emulator's clock has been moved.
    ClockMoved => "moved the clock",
    /// State has been imported.
    Imported => "imported state",
    /// All state has been thrown away.
    Reset => "threw all state away",
}

/// Which part of the emulator tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum EventSource {
    /// DPS, towards devices.
    Dps,
    /// A hub, towards devices.
    Hub,
    /// The service API of DPS.
    DpsService,
    /// The service API of a hub.
    HubService,
    /// The emulator itself: its admin port, or the program it is embedded in.
    Emulator,
}

impl EventSource {
    const fn name(self) -> &'static str {
        match self {
            Self::Dps => "dps",
            Self::Hub => "hub",
            Self::DpsService => "the service API of dps",
            Self::HubService => "the service API of a hub",
            Self::Emulator => "the emulator",
        }
    }
}

/// An event to be written down.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct Note {
    kind: EventKind,
    source: EventSource,
    hub: Option<String>,
    id: Option<String>,
    code: Option<u32>,
    message: String,
}

impl Note {
    pub(crate) const fn new(kind: EventKind, source: EventSource) -> Self {
        Self { kind, source, hub: None, id: None, code: None, message: String::new() }
    }

    pub(crate) fn hub(mut self, hub: &str) -> Self {
        self.hub = Some(shortened(hub));
        self
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.id = Some(shortened(id));
        self
    }

    pub(crate) const fn code(mut self, code: u32) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn message(mut self, message: impl AsRef<str>) -> Self {
        self.message = shortened(message.as_ref());
        self
    }

    pub(super) fn into_event(self, seq: u64, time: String) -> Event {
        let Self { kind, source, hub, id, code, message } = self;
        Event { seq, time, kind, source, hub, id, code, message }
    }
}

/// Strangers send ids of any length, and events are kept for long.
fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST)])
}

/// Longer than any id that a service takes.
const LONGEST: usize = 400;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_json_with_what_there_is() {
        let note = Note::new(EventKind::EnrollmentGroupCreated, EventSource::DpsService).id("line-7");
        let event = note.into_event(7, "2024-01-02T03:04:05.0000000Z".into());
        assert_eq!(
            json!(event),
            json!({
                "seq": 7, "time": "2024-01-02T03:04:05.0000000Z", "kind": "enrollmentGroupCreated",
                "source": "dpsService", "id": "line-7", "message": "",
            })
        );
        assert_eq!(event.to_string(), "the service API of dps created the enrollment group line-7");
    }

    #[test]
    fn what_strangers_send_is_kept_short() {
        let note = Note::new(EventKind::Refused, EventSource::Hub).id(&"ä".repeat(60_000)).hub("h").code(5);
        let event = note.into_event(0, String::new());
        assert_eq!(event.id.as_deref().map(str::len), Some(LONGEST + "…".len()));
        assert_eq!(event.code, Some(5));
    }
}
