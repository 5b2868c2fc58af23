//! Twins of devices and modules: requests from the device, and changes from the service side.

use std::time::SystemTime;

use hubward_proto::ProtoError;
use serde_json::{Map, Value};

use super::code::Code;
use super::connection::DeviceConnection;
use crate::services::cloud::Cloud;
use crate::state::clock::timestamp;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Change, Key, Notice, Push, State, TAGS_NAME};

/// Why reported properties are not accepted.
#[derive(Debug)]
pub(crate) enum ReportError {
    /// The hub refuses them with this code and message.
    Refused(Code, String),
    /// The connection has to end.
    NotAllowed,
}

impl DeviceConnection<'_> {
    /// Returns the twin as JSON for the device. Returns `None` if the device no longer exists.
    pub(crate) fn twin(&self) -> Option<Vec<u8>> {
        let login = self.login();
        self.cloud.store.read(|state| Some(state.device(&login.hub, &login.identity.client_id())?.twin.for_device()))
    }

    /// Merges a patch into the reported properties. Returns their new version.
    pub(crate) fn report(&self, body: &[u8]) -> Result<u64, ReportError> {
        let refused = |code: Code, message: String| {
            tracing::info!(device = %self.login().identity, message, "reported properties are refused");
            ReportError::Refused(code, message)
        };
        if !self.login().has_version {
            return Err(refused(Code::InvalidProtocolVersion, "The user name has no api-version.".to_owned()));
        }
        let Ok(patch) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return Err(refused(Code::ArgumentInvalid, "The reported properties are not a JSON object.".to_owned()));
        };
        let now = timestamp(self.cloud.clock.now());
        let reported = self.cloud.store.change(|state| {
            let device = self.live_device_mut(state)?;
            Some(device.twin.report(&patch, &now))
        });
        let version = reported
            .ok_or(ReportError::NotAllowed)?
            .map_err(|problem| refused(refusal(&problem), message_of(&problem)))?;
        self.note(EventKind::TwinReported, Some(format!("version {version}")));
        Ok(version)
    }
}

/// Why a change of a twin is refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwinProblem {
    /// The hub, device or module does not exist.
    #[error("the hub `{hub}` has no device or module `{id}`")]
    NotFound {
        /// The hub.
        hub: String,
        /// The device, or `{device}/{module}`.
        id: String,
    },
    /// A part of a twin is not a JSON object.
    #[error("{part} must be a JSON object")]
    NotAnObject {
        /// The name of the part, such as `tags`.
        part: &'static str,
    },
    /// A name or a value breaks a rule for twins, or a part of the twin is too large.
    #[error("{}", message_of(.0))]
    Refused(#[from] ProtoError),
}

hubward_proto::debug_as_error_report!(TwinProblem);

impl TwinProblem {
    /// The hub's error code, such as 404001.
    #[must_use]
    pub fn code(&self) -> u32 {
        self.as_code().number()
    }

    /// The HTTP status of the service API.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.as_code().status()
    }

    pub(crate) fn as_code(&self) -> Code {
        match self {
            // The code for a module is the same as for a device: see `Problem::missing_twin`.
            Self::NotFound { .. } => Code::DeviceNotFound,
            Self::NotAnObject { .. } => Code::IotHubFormatError,
            Self::Refused(problem) => refusal(problem),
        }
    }
}

/// Writes to the journal that the service side has changed a twin.
pub(crate) fn note_update(cloud: &Cloud, hub: &str, client_id: &str, version: u64) {
    let note = Note::new(EventKind::TwinUpdated, EventSource::HubService).hub(hub).id(client_id);
    cloud.journal.note(note.message(format!("desired version {version}")));
}

/// Changes a twin for the service side, if `fits` accepts the current ETag. Returns the version of the desired
/// properties.
///
/// If the desired properties change, the hub notifies the device, provided that the device is connected and has
/// subscribed. If the queue of the connection is full, the hub sends no notice; the device can still read the twin
/// later.
pub(crate) fn change<E: From<TwinProblem>>(
    state: &mut State,
    hub: &str,
    client_id: &str,
    tags: Option<&Change>,
    desired: Option<&Change>,
    now: SystemTime,
    fits: impl FnOnce(&str) -> Result<(), E>,
) -> Result<u64, E> {
    let missing = || TwinProblem::NotFound { hub: hub.to_owned(), id: client_id.to_owned() };
    let twin = &mut state.device_mut(hub, client_id).ok_or_else(missing)?.twin;
    fits(&twin.etag())?;
    let notice = twin.update(tags, desired, &timestamp(now)).map_err(TwinProblem::from)?;
    let version = twin.desired().version;
    let key = Key::hub(hub, client_id);
    if let Some(Notice { version, body }) = notice
        && state.live.subscriptions(&key).is_some_and(|it| it.desired)
        && state.live.push(&key, Push::Desired { version, body }).is_err()
    {
        tracing::info!(
            hub,
            device = client_id,
            version,
            "a notification is not sent: the queue of the connection is full"
        );
    }
    Ok(version)
}

/// The error code of a refused change.
///
/// Source: for 400004, `[seen]` Azure/azure-iot-sdk-java, issue 243, and amenzhinsky/iothub, issue 70. For 403100,
/// `[seen]` Azure/iotedge, issues 1560, 1694 and 7035. `[guess]`: 413001 for tags.
fn refusal(problem: &ProtoError) -> Code {
    match problem {
        ProtoError::TooLarge { what: TAGS_NAME, .. } => Code::MessageTooLarge,
        ProtoError::TooLarge { .. } => Code::DeviceModelMaxPropertiesExceeded,
        _ => Code::ArgumentInvalid,
    }
}

/// The hub's message for a refused change.
///
/// Source: `[seen]` Azure/iotedge, issues 1694 and 7035: the message for a section that is too large.
fn message_of(problem: &ProtoError) -> String {
    match problem {
        ProtoError::TooLarge { what, limit, .. } => format!("'{what}' size should be less than {limit} bytes."),
        other => other.to_string(),
    }
}
