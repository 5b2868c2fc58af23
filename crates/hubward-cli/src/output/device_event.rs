//! Prints the events of a device as text and as JSON. The JSON is a documented interface: see docs/cli.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward::hub::IncomingMessage;
use hubward::twin::{Properties, Twin};
use hubward::{ConnectionState, HubIdentity, TransportKind};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::lifecycle::{self, LifecycleEvent};
use super::visible::visible;

/// One event of a device.
#[derive(Debug)]
pub(crate) enum DeviceEvent<'a> {
    /// The hub has accepted the login.
    Online { identity: &'a HubIdentity, transport: TransportKind },
    /// The state of the connection changed.
    State(&'a ConnectionState),
    /// An event of a device that keeps itself connected.
    Lifecycle(&'a LifecycleEvent<'a>),
    /// The state of the connection of such a device changed. Its events already say most of it.
    LifecycleState(&'a ConnectionState),
    /// The device has read its twin.
    Twin(&'a Twin),
    /// The hub has accepted a report. The number is the new version of the reported properties.
    Reported(Option<u64>),
    /// The desired properties.
    Desired(&'a Properties),
    /// The hub calls a method.
    Call { number: u64, method: &'a str, payload: &'a [u8] },
    /// The device has answered the call.
    Answer { number: u64, method: &'a str, status: i32, payload: &'a [u8], problem: Option<&'a str> },
    /// The device has received a message.
    Received { number: u64, message: &'a IncomingMessage },
    /// The device has completed the message.
    Completed { number: u64 },
    /// The device has not completed the message; the hub delivers it again.
    Left { number: u64, reason: &'a str },
    /// The device sends a message.
    Sending { number: u64 },
    /// The hub has acknowledged the message.
    Sent { number: u64 },
    /// The hub has not acknowledged the message.
    Unsent { number: u64, reason: &'a str },
    /// The device could not read its twin or report its properties, and tries again.
    TwinFailed { reason: &'a str },
}

/// The type and the fields of the JSON line.
pub(super) fn json(event: &DeviceEvent<'_>) -> (&'static str, Value) {
    match event {
        DeviceEvent::Online { identity, transport } => (
            "connected",
            json!({
                "deviceId": identity.device.as_str(),
                "moduleId": identity.module.as_ref().map(|it| it.as_str()),
                "hub": identity.host.as_str(),
                "transport": transport.as_str(),
            }),
        ),
        DeviceEvent::State(state) | DeviceEvent::LifecycleState(state) => ("state", state_json(state)),
        DeviceEvent::Lifecycle(event) => lifecycle::json(event),
        DeviceEvent::Twin(twin) => {
            ("twin", json!({ "desired": properties(&twin.desired), "reported": properties(&twin.reported) }))
        }
        DeviceEvent::Reported(version) => ("reported", json!({ "reportedVersion": version })),
        DeviceEvent::Desired(desired) => {
            ("desired", json!({ "desiredVersion": desired.version, "properties": desired.values }))
        }
        DeviceEvent::Call { number, method, payload } => {
            ("call", json!({ "call": number, "method": method, "payload": payload_json(payload) }))
        }
        DeviceEvent::Answer { number, method, status, payload, problem } => (
            "answer",
            json!({
                "call": number,
                "method": method,
                "status": status,
                "payload": payload_json(payload),
                "problem": problem,
            }),
        ),
        DeviceEvent::Received { number, message } => ("received", received(*number, message)),
        DeviceEvent::Completed { number } => ("completed", json!({ "message": number })),
        DeviceEvent::Left { number, reason } => ("left", json!({ "message": number, "reason": reason })),
        DeviceEvent::Sending { number } => ("sending", json!({ "message": number })),
        DeviceEvent::Sent { number } => ("sent", json!({ "message": number })),
        DeviceEvent::Unsent { number, reason } => ("unsent", json!({ "message": number, "reason": reason })),
        DeviceEvent::TwinFailed { reason } => ("twinFailed", json!({ "reason": reason })),
    }
}

fn properties(properties: &Properties) -> Value {
    json!({ "version": properties.version, "properties": properties.values })
}

/// The payload as JSON; an empty payload is `null`.
fn payload_json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap_or(Value::Null)
}

fn state_json(state: &ConnectionState) -> Value {
    let mut body = json!({ "state": state_name(state) });
    if let ConnectionState::Disconnected { cause, attempt, next_try } = state {
        body["cause"] = json!(chain(cause));
        body["fault"] = json!(cause.fault().to_string());
        body["attempt"] = json!(attempt);
        body["nextTryInMs"] = json!(lifecycle::milliseconds(next_try.saturating_duration_since(Instant::now())));
    }
    body
}

fn state_name(state: &ConnectionState) -> &'static str {
    match state {
        ConnectionState::Connecting => "connecting",
        ConnectionState::Connected => "connected",
        ConnectionState::FindingHub => "finding-hub",
        ConnectionState::Renewing => "renewing",
        ConnectionState::Disconnected { .. } => "disconnected",
        ConnectionState::Closed { .. } => "closed",
        _ => "unknown",
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn received(number: u64, message: &IncomingMessage) -> Value {
    let application: Map<String, Value> =
        message.properties().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut body = json!({
        "message": number,
        "messageId": message.message_id(),
        "correlationId": message.correlation_id(),
        "userId": message.user_id(),
        "contentType": message.content_type(),
        "contentEncoding": message.content_encoding(),
        "to": message.to(),
        "expiry": message.expiry(),
        "ack": message.ack(),
        "input": message.input,
        "properties": application,
    });
    match std::str::from_utf8(&message.body) {
        Ok(text) => body["body"] = json!(text),
        Err(_) => body["bodyBase64"] = json!(STANDARD.encode(&message.body)),
    }
    body
}

/// The text for people. Returns `None` if the event has no text.
pub(super) fn text(event: &DeviceEvent<'_>) -> Option<String> {
    Some(match event {
        DeviceEvent::Lifecycle(event) => lifecycle::text(event),
        DeviceEvent::LifecycleState(state) => return next_attempt(state),
        DeviceEvent::Online { identity, transport } => format!("{} is connected over {transport}", identity),
        DeviceEvent::State(state) => match state {
            ConnectionState::Disconnected { cause, attempt, .. } => {
                format!("the connection is lost ({}), attempt {attempt}", visible(&chain(cause)))
            }
            other => format!("the connection is {}", state_name(other)),
        },
        DeviceEvent::Twin(twin) => format!(
            "the twin:\n  desired, version {}: {}\n  reported, version {}: {}",
            twin.desired.version,
            object(&twin.desired.values),
            twin.reported.version,
            object(&twin.reported.values)
        ),
        DeviceEvent::Reported(Some(version)) => format!("reported, version {version}"),
        DeviceEvent::Reported(None) => "reported".to_owned(),
        DeviceEvent::Desired(desired) => format!("desired, version {}: {}", desired.version, object(&desired.values)),
        DeviceEvent::Call { number, method, payload } => {
            format!("call #{number} of {}: {}", visible(method), payload_text(payload))
        }
        DeviceEvent::Answer { number, status, payload, problem, .. } => {
            let mut text = format!("answered call #{number} with {status}: {}", payload_text(payload));
            if let Some(problem) = problem {
                text.push_str(&format!(" ({})", visible(problem)));
            }
            text
        }
        DeviceEvent::Received { number, message } => {
            let mut text = format!("received message #{number}: {}", visible(&String::from_utf8_lossy(&message.body)));
            if let Some(input) = &message.input {
                text.push_str(&format!("\n  input {}", visible(input)));
            }
            for (name, value) in message.properties() {
                text.push_str(&format!("\n  {}={}", visible(name), visible(value.unwrap_or_default())));
            }
            text
        }
        DeviceEvent::Completed { number } => format!("completed message #{number}"),
        DeviceEvent::Left { number, reason } => format!("left message #{number}: {}", visible(reason)),
        DeviceEvent::Sending { number } => format!("sending message #{number}"),
        DeviceEvent::Sent { number } => format!("done sending message #{number}"),
        DeviceEvent::Unsent { number, reason } => format!("message #{number} is not acknowledged: {}", visible(reason)),
        DeviceEvent::TwinFailed { reason } => {
            format!("the twin was not read and reported: {}; trying again in a minute", visible(reason))
        }
    })
}

/// When the device connects again, if it has to wait for at least a second.
fn next_attempt(state: &ConnectionState) -> Option<String> {
    let ConnectionState::Disconnected { next_try, .. } = state else { return None };
    let wait = next_try.saturating_duration_since(Instant::now()).as_secs();
    match (wait / 60, wait % 60) {
        (0, 0) => None,
        (0, seconds) => Some(format!("the next attempt is in {seconds} s")),
        (minutes, 0) => Some(format!("the next attempt is in {minutes} min")),
        (minutes, seconds) => Some(format!("the next attempt is in {minutes} min {seconds} s")),
    }
}

fn payload_text(payload: &[u8]) -> String {
    visible(&payload_json(payload).to_string())
}

/// Returns the properties as JSON. JSON escapes only some of the characters that control a terminal, so `visible`
/// replaces the rest.
fn object(values: &Map<String, Value>) -> String {
    visible(&Value::Object(values.clone()).to_string())
}
