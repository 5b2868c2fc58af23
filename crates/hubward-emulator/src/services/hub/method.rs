//! Calls of direct methods from the service side.

use std::time::Duration;

use bytes::Bytes;
use hubward_proto::limits::{METHOD_PAYLOAD_MAX, METHOD_RESPONSE_TIMEOUT};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::code::Code;
use crate::services::cloud::Cloud;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Key, MethodCall, MethodOutcome, Push};

/// Maximum length of the name of a method, in bytes. With this limit, the topic always fits in a packet.
const NAME_MAX: usize = 1024;

/// A call of a direct method.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Invocation {
    /// The method's name.
    pub name: String,
    /// The payload for the device. `None` means an empty body. Microsoft's service SDKs do not send an empty body: if a
    /// call has no payload, they send `null`.
    pub payload: Option<Value>,
    /// How long the caller waits for the response. The service allows 5 to 300 seconds.
    pub response_timeout: Duration,
    /// How long the caller waits until the device is connected and has subscribed to methods.
    pub connect_timeout: Duration,
}

impl Invocation {
    /// An invocation without a payload. It waits 30 seconds for the response, but does not wait for the device to
    /// connect.
    pub fn new(name: impl Into<String>) -> Self {
        let (response_timeout, connect_timeout) = (METHOD_RESPONSE_TIMEOUT, Duration::ZERO);
        Self { name: name.into(), payload: None, response_timeout, connect_timeout }
    }

    /// Sets the payload.
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets how long to wait for the response.
    pub const fn response_timeout(mut self, time: Duration) -> Self {
        self.response_timeout = time;
        self
    }

    /// Sets how long to wait for the device to connect.
    pub const fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }
}

/// The response of a device to a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MethodResult {
    /// The status that the device chose. It can be any number.
    pub status: i32,
    /// The payload as JSON. `None` if the response of the device is empty or is not JSON. For the bytes, see `body`.
    pub payload: Option<Value>,
    /// The bytes that the device has published as its response.
    #[serde(skip)]
    pub body: Bytes,
}

impl MethodResult {
    /// Returns the body of the response for the caller of the service API. The body contains the bytes of the device
    /// unchanged. If these bytes are not JSON, the body is not valid JSON.
    ///
    /// Source: `[seen]` Azure/azure-iot-sdk-node, issue 736; Azure/azure-iot-sdk-c, issue 1641;
    /// Azure/azure-iot-sdk-python, issue 781. For the empty response: recordings of azure-sdk-for-net.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut text = format!(r#"{{"status":{},"payload":"#, self.status).into_bytes();
        text.extend_from_slice(if self.body.is_empty() { b"null" } else { &self.body });
        text.push(b'}');
        text
    }
}

/// Why an invocation of a method failed.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md, except where marked `[guess]`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The hub, the device or the module does not exist, or the device is disabled.
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
        /// The size of the payload in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The device did not connect and subscribe to methods within the connect timeout, or it unsubscribed before it got
    /// the call.
    #[error("the device is not online: it is not connected, or has not subscribed to methods")]
    NotOnline,
    /// Too many calls wait for a response of the device, or the queue of the device's connection is full.
    #[error("too many calls wait for the device")]
    TooMany,
    /// The connection of the device ended before the device responded. The device may have run the method. The code
    /// is a `[guess]`.
    #[error("the device's connection ended before the device responded")]
    ConnectionClosed,
    /// The device did not respond in time. The device may have run the method.
    #[error("the device did not respond in time")]
    Timeout,
}

hubward_proto::debug_as_error_report!(InvokeError);

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

/// Calls a method of a connected device or module, and waits for the response.
///
/// Dropping the future discards the response.
pub(crate) async fn invoke(
    cloud: &Cloud,
    hub: &str,
    client_id: &str,
    invocation: Invocation,
) -> Result<MethodResult, InvokeError> {
    let name = invocation.name.clone();
    let result = call(cloud, hub, client_id, invocation).await;
    let how = match &result {
        Ok(result) => format!("{name} answered {}", result.status),
        Err(problem) => format!("{name}: {problem}"),
    };
    let note = Note::new(EventKind::MethodInvoked, EventSource::HubService).hub(hub).id(client_id).message(how);
    cloud.journal.note(match &result {
        Ok(_) => note,
        Err(problem) => note.code(problem.code()),
    });
    result
}

async fn call(cloud: &Cloud, hub: &str, client_id: &str, invocation: Invocation) -> Result<MethodResult, InvokeError> {
    let Invocation { name, payload, response_timeout, connect_timeout } = invocation;
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(InvokeError::Name);
    }
    let payload = payload.map_or_else(Bytes::new, |it| it.to_string().into());
    if payload.len() > METHOD_PAYLOAD_MAX {
        return Err(InvokeError::TooLarge { size: payload.len(), limit: METHOD_PAYLOAD_MAX });
    }
    let key = Key::hub(hub, client_id);
    // `latest` is the time when the connect timeout ends. If that time is too late for an `Instant`, `latest` is
    // `None`, and the caller waits for the device without a limit.
    let latest = Instant::now().checked_add(connect_timeout);
    let mut changes = cloud.store.revision();
    let (sender, outcome) = oneshot::channel();
    let mut call = Some(MethodCall { name, payload, outcome: sender });
    loop {
        changes.mark_unchanged();
        let started = cloud.store.read(|state| {
            let missing = |id: &str| InvokeError::NotFound { hub: hub.to_owned(), id: id.to_owned() };
            // A module has no status of its own. If its device is disabled, the module cannot be called.
            let device_id = client_id.split_once('/').map_or(client_id, |(device_id, _)| device_id);
            state.device(hub, device_id).filter(|it| it.enabled).ok_or_else(|| missing(device_id))?;
            state.device(hub, client_id).ok_or_else(|| missing(client_id))?;
            if !state.live.subscriptions(&key).is_some_and(|it| it.methods) {
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
    // `timeout` accepts any duration; adding the duration to `Instant::now()` could overflow.
    match timeout(response_timeout, outcome).await {
        Err(_) => Err(InvokeError::Timeout),
        Ok(Err(_)) => Err(InvokeError::ConnectionClosed),
        Ok(Ok(MethodOutcome::NotSubscribed)) => Err(InvokeError::NotOnline),
        Ok(Ok(MethodOutcome::TooMany)) => Err(InvokeError::TooMany),
        Ok(Ok(MethodOutcome::Response { status, body })) => {
            let payload = serde_json::from_slice(&body).ok();
            if payload.is_none() && !body.is_empty() {
                tracing::warn!(hub, device = client_id, "a method response is not JSON");
            }
            Ok(MethodResult { status, payload, body })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
