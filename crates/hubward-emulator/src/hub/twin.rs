//! Twin requests of a device, and notices about changes of its desired properties.

use std::time::SystemTime;

use bytes::Bytes;
use hubward_proto::ProtoError;
use hubward_proto::hub::{DesiredTopic, TwinResponseTopic};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::HubSession;
use super::delayed::{Draft, PublishKind};
use super::login::Login;
use super::outgoing::NOTICES;
use super::problem::{self, Code};
use super::push::Push;
use crate::clock::timestamp;
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::mqtt::codec::Publish;
use crate::mqtt::{Closed, Connection, REQUEST_ID_MAX};
use crate::shared::Shared;
use crate::store::{Change, Key, Notice, State, TAGS_NAME, Twin};
use crate::wire_id;

/// A twin request: reads the twin or reports properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Get { id: &'a str },
    Report { id: Option<&'a str> },
}

/// The response to a twin request.
#[derive(Debug, Clone)]
struct TwinResponse {
    status: u16,
    version: Option<u64>,
    body: Bytes,
}

impl<'a> Request<'a> {
    /// Parses a topic; `None` if it is not the topic of a twin request.
    ///
    /// Source: `[sdk]` Azure/iotedge, MessagingServiceClient.cs: a GET without a request id
    /// ends the connection, a report without one is accepted and not answered.
    pub(super) fn parse(topic: &'a str) -> Option<Result<Self, Closed>> {
        let (reports, rest) = match topic.strip_prefix("$iothub/twin/GET/") {
            Some(rest) => (false, rest),
            None => (true, topic.strip_prefix("$iothub/twin/PATCH/properties/reported/")?),
        };
        let parameters = if rest.is_empty() { "" } else { rest.strip_prefix('?')? };
        let id = parameters.split('&').find_map(|it| it.strip_prefix("$rid=")).filter(|it| !it.is_empty());
        Some(match id {
            Some(id) if id.len() > REQUEST_ID_MAX => Err(Closed::Violation("a request id that is too long")),
            _ if reports => Ok(Self::Report { id }),
            Some(id) => Ok(Self::Get { id }),
            None => Err(Closed::Violation("a GET of the twin without a request id")),
        })
    }

    const fn id(self) -> Option<&'a str> {
        match self {
            Self::Get { id } => Some(id),
            Self::Report { id } => id,
        }
    }
}

impl HubSession<'_> {
    /// Handles a twin request.
    pub(super) fn twin<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
        request: Request<'_>,
    ) -> Result<(), Closed> {
        let point = if matches!(request, Request::Get { .. }) { Point::HubTwinGet } else { Point::HubReported };
        let fault = self.take_fault(point)?;
        let answer = match &fault {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => None,
            Some(Fault::Status { status, code, message, .. }) => {
                let body = problem::body(*code, message, self.shared.clock.now());
                Some(TwinResponse { status: *status, version: None, body: body.to_string().into() })
            }
            Some(Fault::Body { status, bytes, .. }) => {
                Some(TwinResponse { status: *status, body: bytes.clone().into(), ..self.answer(publish, request)? })
            }
            _ => Some(self.answer(publish, request)?),
        };
        if let Some(Fault::CutAfter(bytes)) = &fault {
            connection.cut_after(*bytes);
        }
        if fault != Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        if let Some(id) = request.id()
            && let Some(answer) = answer
        {
            let draft = |id: &str| {
                let topic = TwinResponseTopic { status: answer.status, request_id: id.into(), version: answer.version };
                Draft { kind: PublishKind::Answer, topic: topic.encode(), body: answer.body.clone() }
            };
            let own = draft(id);
            match &fault {
                Some(Fault::Delay(time)) => self.delayed.delay(own, *time),
                Some(Fault::Duplicate) => {
                    self.send(connection, own.clone())?;
                    self.send(connection, own)?;
                }
                Some(Fault::Stray) => {
                    self.send(connection, draft(&wire_id::guid()))?;
                    self.send(connection, own)?;
                }
                _ => self.send(connection, own)?,
            }
        }
        if fault == Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        Ok(())
    }

    fn answer(&self, publish: &Publish, request: Request<'_>) -> Result<TwinResponse, Closed> {
        let Login { hub, identity, .. } = self.login;
        let client_id = identity.client_id();
        match request {
            Request::Get { .. } => {
                let twin = |state: &State| Some(state.device(hub, &client_id)?.twin.for_device());
                let body = self.shared.store.read(twin).ok_or(Closed::NotAllowed)?;
                Ok(TwinResponse { status: 200, version: None, body: body.into() })
            }
            Request::Report { .. } => {
                let now = self.shared.clock.now();
                let refused = |code: Code, message: &str| {
                    tracing::info!(device = %identity, message, "reported properties are refused");
                    let body = problem::body(code.number(), message, now);
                    Ok(TwinResponse { status: code.status(), version: None, body: body.to_string().into() })
                };
                if !self.login.has_version {
                    return refused(Code::InvalidProtocolVersion, "The user name has no api-version.");
                }
                let Some(patch) = patch(&publish.body) else {
                    return refused(Code::ArgumentInvalid, "The reported properties are not a JSON object.");
                };
                let report = |twin: &mut Twin| twin.report(&patch, &timestamp(now));
                let device = |state: &mut State| {
                    let device = state.device_mut(hub, &client_id).filter(|_| !self.activity.is_over())?;
                    Some(report(&mut device.twin))
                };
                match self.shared.store.change(device).ok_or(Closed::NotAllowed)? {
                    Ok(version) => {
                        let note = Note::new(EventKind::TwinReported, EventSource::Hub).hub(identity.host.as_str());
                        self.shared.journal.note(note.id(&client_id).message(format!("version {version}")));
                        Ok(TwinResponse { status: 204, version: Some(version), body: Bytes::new() })
                    }
                    Err(problem) => refused(refusal(&problem), &words(&problem)),
                }
            }
        }
    }

    /// Publishes a change of the desired properties if the device has subscribed to it.
    pub(super) fn desired<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        version: u64,
        body: Bytes,
    ) -> Result<(), Closed> {
        if self.qos(PublishKind::Notice).is_none() {
            return Ok(());
        }
        let draft = Draft { kind: PublishKind::Notice, topic: DesiredTopic { version: Some(version) }.encode(), body };
        match self.take_fault(Point::HubDesired)? {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::Delay(time)) => {
                self.delayed.delay(draft, time);
                return Ok(());
            }
            Some(Fault::Duplicate) => self.send(connection, draft.clone())?,
            _ => {}
        }
        self.send(connection, draft)
    }
}

/// Why a change of a twin is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// A name or value that a hub does not accept, or too many of them.
    #[error("{}", words(.0))]
    Refused(#[from] ProtoError),
}

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
            // Also for a module: see `Problem::missing_twin`.
            Self::NotFound { .. } => Code::DeviceNotFound,
            Self::NotAnObject { .. } => Code::IotHubFormatError,
            Self::Refused(problem) => refusal(problem),
        }
    }
}

/// Records in the journal that the service side has changed a twin.
pub(crate) fn note_update(shared: &Shared, hub: &str, client_id: &str, version: u64) {
    let note = Note::new(EventKind::TwinUpdated, EventSource::HubService).hub(hub).id(client_id);
    shared.journal.note(note.message(format!("desired version {version}")));
}

/// Changes a twin for the service side, if `fits` accepts its etag. Returns the version of the desired properties. If
/// these change, the device gets a notice if it is connected and has subscribed. A device whose queue is full gets no
/// notice, since it can read the change from the twin later.
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
    let key = Key::Hub(hub.to_ascii_lowercase(), client_id.to_owned());
    if let Some(Notice { version, body }) = notice
        && state.live.filters(&key).is_some_and(|it| it.hears(NOTICES).is_some())
        && state.live.push(&key, Push::Desired { version, body }).is_err()
    {
        tracing::info!(hub, device = client_id, version, "a notice is not sent: the connection's queue is full");
    }
    Ok(version)
}

/// The error code of a refused change.
///
/// Source: `[seen]` Azure/azure-iot-sdk-java, issue 243, and amenzhinsky/iothub, issue 70, for 400004;
/// Azure/iotedge, issues 1560, 1694 and 7035, for 403100. That tags are 413001 is a `[guess]`.
fn refusal(problem: &ProtoError) -> Code {
    match problem {
        ProtoError::TooLarge { what: TAGS_NAME, .. } => Code::MessageTooLarge,
        ProtoError::TooLarge { .. } => Code::DeviceModelMaxPropertiesExceeded,
        _ => Code::ArgumentInvalid,
    }
}

/// The hub's message for a refused change.
///
/// Source: `[seen]` Azure/iotedge, issues 1694 and 7035, for sections that are too large.
fn words(problem: &ProtoError) -> String {
    match problem {
        ProtoError::TooLarge { what, limit, .. } => format!("'{what}' size should be less than {limit} bytes."),
        other => other.to_string(),
    }
}

fn patch(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_topics_of_twin_requests() {
        let (get, report) = (|id| Some(Some(Request::Get { id })), |id| Some(Some(Request::Report { id })));
        let long = format!("$iothub/twin/GET/?$rid={}", "x".repeat(1025));
        for (topic, expected) in [
            ("$iothub/twin/GET/?$rid=1", get("1")),
            ("$iothub/twin/GET/?$rid=a-b%20&x=y", get("a-b%20")),
            ("$iothub/twin/GET/?x=y&$rid=1", get("1")),
            ("$iothub/twin/GET/?$rid=", Some(None)),
            ("$iothub/twin/GET/?rid=1", Some(None)),
            ("$iothub/twin/GET/", Some(None)),
            (&long, Some(None)),
            ("$iothub/twin/PATCH/properties/reported/?$rid=7", report(Some("7"))),
            ("$iothub/twin/PATCH/properties/reported/?$rid=", report(None)),
            ("$iothub/twin/PATCH/properties/reported/", report(None)),
            ("$iothub/twin/PATCH/properties/reported", None),
            ("$iothub/twin/PATCH/properties/desired/?$rid=7", None),
            ("$iothub/twin/GET", None),
            ("$iothub/twin/GET/x?$rid=1", None),
        ] {
            assert_eq!(Request::parse(topic).map(Result::ok), expected, "{topic}");
        }
    }
}
