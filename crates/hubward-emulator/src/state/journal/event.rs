//! One event of the journal. An event never contains a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum length of a text in an event, in bytes. The emulator shortens a longer text. The limit is longer than every
/// id that a service accepts, so the emulator never shortens such an id.
const LONGEST: usize = 400;

/// Highest return code of CONNACK in MQTT 3.1.1. Greater codes are codes of the service.
///
/// Source: MQTT 3.1.1, table 3.1.
const CONNACK_MAX: u32 = 5;

/// Something that happened in the emulator.
///
/// Displayed as one line: `dps refused dev-1: bad signature, 401002`, or `…, CONNACK 5` for a return code of CONNACK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Event {
    /// Position in the log, counted from 0.
    pub seq: u64,
    /// Time of the event: UTC with seven fractional digits.
    pub time: String,
    /// What happened.
    pub kind: EventKind,
    /// The part of the emulator that reports the event.
    pub source: EventSource,
    /// The host name of the hub, if the event is about a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// A registration id, a device id, `{device}/{module}`, or the name of an enrollment group or CA certificate. If
    /// the emulator refused a client, this is the id that the client sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The service's six-digit code; over MQTT the return code of CONNACK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// Details as text. May be empty.
    pub message: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source, hub, id, code, message, .. } = self;
        write!(f, "{} {}", source.name(), kind.verb())?;
        if let Some(id) = id {
            write!(f, " {id}")?;
        }
        if let Some(hub) = hub {
            write!(f, " at {hub}")?;
        }
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        match code {
            None => Ok(()),
            Some(code @ ..=CONNACK_MAX) => write!(f, ", CONNACK {code}"),
            Some(code) => write!(f, ", {code}"),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $verb:literal,)*) => {
        /// The kind of an event. In JSON, the name of the kind is in camel case, such as `enrollmentCreated`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// All kinds of events.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The verb in a line of text.
            const fn verb(self) -> &'static str {
                match self {
                    $(Self::$kind => $verb,)*
                }
            }
        }
    };
}

kinds! {
    /// DPS accepted a registration and assigned a hub.
    Registered => "registered",
    /// DPS accepted a registration, but found no hub for the device.
    RegistrationFailed => "found no hub for",
    /// DPS or a hub issued a certificate to a device.
    CertificateIssued => "issued a certificate to",
    /// DPS or a hub refused a device, or a service API refused a caller.
    Refused => "refused",
    /// A TLS handshake failed; for example, the client does not trust the emulator's CA.
    HandshakeFailed => "had a TLS handshake fail",
    /// A device or module connected to a hub.
    Connected => "connected",
    /// The connection of a device or module ended.
    Disconnected => "disconnected",
    /// An individual enrollment was created.
    EnrollmentCreated => "created the enrollment",
    /// An individual enrollment was updated.
    EnrollmentUpdated => "updated the enrollment",
    /// An individual enrollment was deleted.
    EnrollmentDeleted => "deleted the enrollment",
    /// An enrollment group was created.
    EnrollmentGroupCreated => "created the enrollment group",
    /// An enrollment group was updated.
    EnrollmentGroupUpdated => "updated the enrollment group",
    /// An enrollment group was deleted.
    EnrollmentGroupDeleted => "deleted the enrollment group",
    /// A registration record was deleted.
    RegistrationDeleted => "deleted the registration of",
    /// The certificate of an authority was uploaded.
    AuthorityCreated => "created the CA certificate",
    /// The certificate of an authority was verified or replaced, or got a verification code.
    AuthorityUpdated => "updated the CA certificate",
    /// The certificate of an authority was deleted.
    AuthorityDeleted => "deleted the CA certificate",
    /// The identity of a device or module was created at a hub.
    DeviceCreated => "created",
    /// The identity of a device or module was updated.
    DeviceUpdated => "updated",
    /// A device or module was deleted.
    DeviceDeleted => "deleted",
    /// A service client, or the program that embeds the emulator, updated the tags or desired properties of a twin.
    TwinUpdated => "updated the twin of",
    /// A device updated its reported properties.
    TwinReported => "updated the reported properties of",
    /// A caller invoked a direct method; the message contains the outcome.
    MethodInvoked => "invoked a method of",
    /// A hub queued a message to a device.
    MessageSent => "queued a message to",
    /// A fault was scripted.
    FaultScripted => "scripted a fault",
    /// A scripted fault happened.
    FaultHappened => "applied a scripted fault",
    /// The scripted faults were cleared.
    FaultsCleared => "cleared the faults",
    /// The emulator's clock was set.
    ClockMoved => "set the clock",
    /// State was imported.
    Imported => "imported state",
    /// All state was reset.
    Reset => "reset all state",
}

/// The part of the emulator that reports an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum EventSource {
    /// The device API of DPS.
    Dps,
    /// The device side of a hub.
    Hub,
    /// The service API of DPS.
    DpsService,
    /// The service API of a hub.
    HubService,
    /// Neither DPS nor a hub: the emulator itself, its admin port, or the program that embeds the emulator.
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

/// An event without number and time. The journal adds both.
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

/// Shortens a text, to limit the memory of the log: a client can send ids of any length.
fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|it| text.is_char_boundary(*it)).unwrap_or_default();
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_omits_absent_members() {
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
        assert_eq!(serde_json::from_value::<Event>(json!(event)).expect("read back"), event);
    }

    #[test]
    fn each_kind_is_listed_once() {
        let kinds: std::collections::BTreeSet<_> = EventKind::ALL.iter().collect();
        assert_eq!(kinds.len(), EventKind::ALL.len());
        assert!(kinds.contains(&EventKind::Registered) && kinds.contains(&EventKind::Reset));
    }

    #[test]
    fn shortens_ids_that_clients_send() {
        let note = Note::new(EventKind::Refused, EventSource::Hub).id(&"ä".repeat(60_000)).hub("h").code(5);
        let event = note.into_event(0, String::new());
        assert_eq!(event.id.as_deref().map(str::len), Some(LONGEST + "…".len()));
        assert_eq!(event.code, Some(5));
        assert!(event.to_string().ends_with(" at h, CONNACK 5"), "{event}");
    }
}
