//! Direct methods: calls from the service side, and the device's responses.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hubward_proto::hub::{MethodRequestTopic, MethodResponseTopic};
use hubward_proto::limits::{METHOD_PAYLOAD_MAX, METHOD_RESPONSE_TIMEOUT};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::HubSession;
use super::delayed::{Draft, PublishKind};
use super::outgoing::CALLS;
use super::problem::Code;
use super::push::Push;
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::mqtt::codec::Publish;
use crate::mqtt::{Closed, Connection};
use crate::shared::Shared;
use crate::store::Key;

/// A call of a direct method.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The method's name.
    pub name: String,
    /// The payload for the device. `None` is an empty body; the service clients of Microsoft's SDKs send
    /// `null` instead.
    pub payload: Option<Value>,
    /// How long to wait for the response. The service allows 5 to 300 seconds.
    pub response_timeout: Duration,
    /// How long to wait until the device is connected and has subscribed to methods.
    pub connect_timeout: Duration,
}

impl Invocation {
    /// A call without a payload. It waits 30 seconds for the response, and does not wait for the device to connect.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (response_timeout, connect_timeout) = (METHOD_RESPONSE_TIMEOUT, Duration::ZERO);
        Self { name: name.into(), payload: None, response_timeout, connect_timeout }
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets how long to wait for the response.
    #[must_use]
    pub const fn response_timeout(mut self, time: Duration) -> Self {
        self.response_timeout = time;
        self
    }

    /// Sets how long to wait for the device to connect.
    #[must_use]
    pub const fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }
}

/// The response of a device to a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MethodResult {
    /// The status that the device chose; any number.
    pub status: i32,
    /// The JSON payload. `None` (`null` in JSON) if the response is empty or is not JSON; see `body`.
    pub payload: Option<Value>,
    /// The bytes that the device has published.
    #[serde(skip)]
    pub body: Bytes,
}

impl MethodResult {
    /// The body of the service's response. The device's bytes are inserted without parsing, so the caller may get text
    /// that is not JSON.
    ///
    /// Source: `[seen]` Azure/azure-iot-sdk-node, issue 736; Azure/azure-iot-sdk-c, issue 1641;
    /// Azure/azure-iot-sdk-python, issue 781. Recordings of azure-sdk-for-net for the empty response.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut text = format!(r#"{{"status":{},"payload":"#, self.status).into_bytes();
        text.extend_from_slice(if self.body.is_empty() { b"null" } else { &self.body });
        text.push(b'}');
        text
    }
}

/// Why a call has no response.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md, except where marked `[guess]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The hub, device or module does not exist, or it is disabled.
    #[error("the hub `{hub}` has no device or module `{id}`, or it is disabled")]
    NotFound {
        /// The hub.
        hub: String,
        /// The device, or `{device}/{module}`.
        id: String,
    },
    /// The name of the method is empty or longer than 1,024 bytes (the limit is a `[guess]`).
    #[error("the name of a method must have 1 to 1024 bytes")]
    Name,
    /// The payload is larger than 128 KB.
    #[error("the payload has {size} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// The maximum.
        limit: usize,
    },
    /// The device did not connect and subscribe to methods within the connect timeout.
    #[error("the device is not online: it is not connected, or has not subscribed to methods")]
    NotOnline,
    /// Too many calls wait for the device, or the queue of its connection is full.
    #[error("too many calls wait for the device")]
    TooMany,
    /// The device's connection ended before the device responded. The method may have run. The code is a
    /// `[guess]`.
    #[error("the device's connection ended before the device responded")]
    ConnectionClosed,
    /// The device did not respond in time. The method may have run.
    #[error("the device did not respond in time")]
    Timeout,
}

impl InvokeError {
    /// The hub's error code, such as 404103.
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
            Self::NotFound { id, .. } => Code::not_found(id),
            Self::Name => Code::ArgumentInvalid,
            Self::TooLarge { .. } => Code::MessageTooLarge,
            Self::NotOnline => Code::DeviceNotOnline,
            Self::TooMany => Code::DeviceMaximumInflightMethodExceeded,
            Self::ConnectionClosed => Code::DeviceConnectionClosedRemotely,
            Self::Timeout => Code::GatewayTimeout,
        }
    }
}

/// Calls a method of a device or module that is connected.
///
/// Dropping the future discards the response.
pub(crate) async fn invoke(
    shared: &Shared,
    hub: &str,
    client_id: &str,
    invocation: Invocation,
) -> Result<MethodResult, InvokeError> {
    let name = invocation.name.clone();
    let result = call(shared, hub, client_id, invocation).await;
    let how = match &result {
        Ok(result) => format!("{name} answered {}", result.status),
        Err(problem) => format!("{name}: {problem}"),
    };
    let note = Note::new(EventKind::MethodInvoked, EventSource::HubService).hub(hub).id(client_id).message(how);
    shared.journal.note(match &result {
        Ok(_) => note,
        Err(problem) => note.code(problem.code()),
    });
    result
}

async fn call(
    shared: &Shared,
    hub: &str,
    client_id: &str,
    invocation: Invocation,
) -> Result<MethodResult, InvokeError> {
    let Invocation { name, payload, response_timeout, connect_timeout } = invocation;
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(InvokeError::Name);
    }
    let payload = payload.map_or_else(Bytes::new, |it| it.to_string().into());
    if payload.len() > METHOD_PAYLOAD_MAX {
        return Err(InvokeError::TooLarge { size: payload.len(), limit: METHOD_PAYLOAD_MAX });
    }
    let key = Key::Hub(hub.to_ascii_lowercase(), client_id.to_owned());
    // `None`: the end of the timeout is beyond the range of `Instant`.
    let latest = Instant::now().checked_add(connect_timeout);
    let mut changes = shared.store.revision();
    let (sender, result) = oneshot::channel();
    let mut call = Some(Call { name, payload, result: sender });
    loop {
        changes.mark_unchanged();
        let started = shared.store.read(|state| {
            let missing = |id: &str| InvokeError::NotFound { hub: hub.to_owned(), id: id.to_owned() };
            // A module may be called if its device may.
            let device_id = client_id.split_once('/').map_or(client_id, |(device_id, _)| device_id);
            state.device(hub, device_id).filter(|it| it.enabled).ok_or_else(|| missing(device_id))?;
            state.device(hub, client_id).ok_or_else(|| missing(client_id))?;
            if state.live.filters(&key).is_none_or(|it| it.hears(CALLS).is_none()) {
                return Ok(false);
            }
            let push = call.take().map_or(Ok(()), |call| state.live.push(&key, Push::Method(call)));
            push.map(|()| true).map_err(|_| InvokeError::TooMany)
        })?;
        if started {
            break;
        }
        let over = match latest {
            Some(latest) => Instant::now() >= latest || timeout_at(latest, changes.changed()).await.is_err(),
            None => changes.changed().await.is_err(),
        };
        if over {
            return Err(InvokeError::NotOnline);
        }
    }
    // `timeout` accepts any duration; an addition could overflow.
    match timeout(response_timeout, result).await {
        Err(_) => Err(InvokeError::Timeout),
        Ok(Err(_)) => Err(InvokeError::ConnectionClosed),
        Ok(Ok(result)) => result,
    }
}

/// A call that has not been published yet.
#[derive(Debug)]
pub(crate) struct Call {
    name: String,
    /// JSON, or empty.
    payload: Bytes,
    result: ResultSender,
}

/// Sends the result of a call to its caller. Dropping it means that the connection has ended.
type ResultSender = oneshot::Sender<Result<MethodResult, InvokeError>>;

/// The published calls of a connection that wait for a response.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_id: HashMap<String, ResultSender>,
    /// The number of the newest request id.
    number: u64,
}

impl Calls {
    /// Adds a call and returns its request id. Returns the sender if there are too many calls.
    fn begin(&mut self, result: ResultSender) -> Result<String, ResultSender> {
        // Removes calls whose callers no longer wait.
        self.by_id.retain(|_, it| !it.is_closed());
        if self.by_id.len() >= CALLS_MAX {
            return Err(result);
        }
        let id = self.next_id();
        self.by_id.insert(id.clone(), result);
        Ok(id)
    }

    /// The next request id: each connection counts from 1, in hexadecimal.
    ///
    /// Source: `[seen]` Azure/azure-iot-sdks, issue 999; Azure/azure-iot-sdk-c, issue 616;
    /// MicrosoftDocs/azure-docs, issue 102263, and traces of four other projects, from 2016 to 2024.
    fn next_id(&mut self) -> String {
        self.number += 1;
        format!("{:x}", self.number)
    }
}

impl HubSession<'_> {
    /// Publishes a call.
    pub(super) fn call<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        call: Call,
    ) -> Result<(), Closed> {
        let Call { name, payload, result } = call;
        if self.qos(PublishKind::Call).is_none() {
            // The device has unsubscribed since the call was queued.
            let _ = result.send(Err(InvokeError::NotOnline));
            return Ok(());
        }
        let id = match self.calls.begin(result) {
            Ok(id) => id,
            Err(result) => {
                // The caller may no longer wait.
                let _ = result.send(Err(InvokeError::TooMany));
                return Ok(());
            }
        };
        let draft = |request_id: String| {
            let topic = MethodRequestTopic { name: name.clone(), request_id };
            Draft { kind: PublishKind::Call, topic: topic.encode(), body: payload.clone() }
        };
        let own = draft(id);
        match self.take_fault(Point::HubMethod)? {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::Delay(time)) => {
                self.delayed.delay(own, time);
                return Ok(());
            }
            Some(Fault::Duplicate) => self.send(connection, own.clone())?,
            Some(Fault::Stray) => {
                let stray = draft(self.calls.next_id());
                self.send(connection, stray)?;
            }
            _ => {}
        }
        self.send(connection, own)
    }

    /// Passes a device's response to the caller. A late or duplicate response is dropped. A response that is not JSON
    /// is passed on unchanged.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Responding to a direct method". That a response
    /// larger than 128 KB ends the connection is a `[guess]`.
    pub(super) fn method_answered<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
    ) -> Result<(), Closed> {
        let MethodResponseTopic { status, request_id } = MethodResponseTopic::parse(&publish.topic)
            .map_err(|_| Closed::Violation("a method response without a status or a request id"))?;
        if publish.body.len() > METHOD_PAYLOAD_MAX {
            return Err(Closed::Violation("a method response larger than 128 KB"));
        }
        let payload = serde_json::from_slice(&publish.body).ok();
        if payload.is_none() && !publish.body.is_empty() {
            tracing::warn!(device = %self.login.identity, request_id, "a method response is not JSON");
        }
        self.acknowledge(connection, publish, None);
        let result = MethodResult { status, payload, body: publish.body.clone() };
        let delivered = self.calls.by_id.remove(&request_id).is_some_and(|it| it.send(Ok(result)).is_ok());
        if !delivered {
            tracing::info!(device = %self.login.identity, request_id, "a method response is dropped: no call waits");
        }
        Ok(())
    }
}

/// Maximum length of a method's name, in bytes, so that the topic always fits.
const NAME_MAX: usize = 1024;

/// Maximum number of calls that wait for responses of one device.
///
/// Source: `[guess]`; the service has such a limit (403800) and does not document it.
const CALLS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_bounded_and_removed_when_their_callers_stop_waiting() {
        let mut calls = Calls::default();
        let mut waiting = Vec::new();
        for _ in 0..CALLS_MAX {
            let (answer, answered) = oneshot::channel();
            calls.begin(answer).expect("room");
            waiting.push(answered);
        }
        assert!(calls.begin(oneshot::channel().0).is_err());
        waiting.pop();
        let first = calls.begin(oneshot::channel().0).expect("room again");
        let second = calls.begin(oneshot::channel().0).expect("the caller of the first has stopped waiting");
        assert_ne!(first, second);
    }

    #[test]
    fn errors_have_the_codes_of_the_service() {
        let not_found = |id: &str| InvokeError::NotFound { hub: "h".into(), id: id.into() };
        for (error, status, code) in [
            (not_found("d1"), 404, 404_001),
            (not_found("d1/m"), 404, 404_010),
            (InvokeError::NotOnline, 404, 404_103),
            (InvokeError::Timeout, 504, 504_101),
            (InvokeError::TooLarge { size: 2, limit: 1 }, 413, 413_001),
            (InvokeError::TooMany, 403, 403_800),
            (InvokeError::Name, 400, 400_004),
        ] {
            assert_eq!((error.status(), error.code()), (status, code), "{error}");
        }
    }
}
