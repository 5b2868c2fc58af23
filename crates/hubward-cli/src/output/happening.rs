//! What happens to a device, as text and as JSON; the shape is a documented interface: see
//! docs/cli.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward::{ConnectionState, HubIdentity, IncomingMessage, Properties, TransportKind, Twin};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::visible::visible;

/// One thing that happens to a device.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// Its hub has accepted it.
    Online { identity: &'a HubIdentity, transport: TransportKind },
    /// Its connection changed.
    State(&'a ConnectionState),
    /// It read its twin.
    Twin(&'a Twin),
    /// A report was made; the version of the reported properties since then.
    Reported(Option<u64>),
    /// What the cloud wants.
    Desired(&'a Properties),
    /// The cloud calls a method.
    Call { number: u64, method: &'a str, payload: &'a [u8] },
    /// That call was answered.
    Answer { number: u64, method: &'a str, status: i32, payload: &'a [u8], problem: Option<&'a str> },
    /// A message came.
    Received { number: u64, message: &'a IncomingMessage },
    /// That message is completed.
    Completed { number: u64 },
    /// That message is not completed: the hub delivers it again.
    Left { number: u64, reason: &'a str },
    /// A message goes out.
    Sending { number: u64 },
    /// That message was acknowledged.
    Sent { number: u64 },
    /// That message was not acknowledged.
    Unsent { number: u64, reason: &'a str },
}

/// The type and the fields of the line.
pub(super) fn json(happening: &Happening<'_>) -> (&'static str, Value) {
    match happening {
        Happening::Online { identity, transport } => (
            "connected",
            json!({
                "deviceId": identity.device.as_str(),
                "moduleId": identity.module.as_ref().map(|it| it.as_str()),
                "hub": identity.host.as_str(),
                "transport": transport.as_str(),
            }),
        ),
        Happening::State(state) => ("state", state_json(state)),
        Happening::Twin(twin) => {
            ("twin", json!({ "desired": properties(&twin.desired), "reported": properties(&twin.reported) }))
        }
        Happening::Reported(version) => ("reported", json!({ "reportedVersion": version })),
        Happening::Desired(desired) => {
            ("desired", json!({ "desiredVersion": desired.version, "properties": desired.values }))
        }
        Happening::Call { number, method, payload } => {
            ("call", json!({ "call": number, "method": method, "payload": payload_json(payload) }))
        }
        Happening::Answer { number, method, status, payload, problem } => (
            "answer",
            json!({
                "call": number,
                "method": method,
                "status": status,
                "payload": payload_json(payload),
                "problem": problem,
            }),
        ),
        Happening::Received { number, message } => ("received", received(*number, message)),
        Happening::Completed { number } => ("completed", json!({ "message": number })),
        Happening::Left { number, reason } => ("left", json!({ "message": number, "reason": reason })),
        Happening::Sending { number } => ("sending", json!({ "message": number })),
        Happening::Sent { number } => ("sent", json!({ "message": number })),
        Happening::Unsent { number, reason } => ("unsent", json!({ "message": number, "reason": reason })),
    }
}

fn properties(properties: &Properties) -> Value {
    json!({ "version": properties.version, "properties": properties.values })
}

/// JSON as it came; nothing is `null`.
fn payload_json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap_or(Value::Null)
}

fn state_json(state: &ConnectionState) -> Value {
    let mut body = json!({ "state": state_name(state) });
    if let ConnectionState::Disconnected { cause, attempt, next_try } = state {
        body["cause"] = json!(chain(cause));
        body["fault"] = json!(cause.fault().to_string());
        body["attempt"] = json!(attempt);
        let wait = next_try.saturating_duration_since(Instant::now()).as_millis();
        body["nextTryInMs"] = json!(u64::try_from(wait).unwrap_or(u64::MAX));
    }
    body
}

fn state_name(state: &ConnectionState) -> &'static str {
    match state {
        ConnectionState::Connecting => "connecting",
        ConnectionState::Connected => "connected",
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

/// The line for people.
pub(super) fn text(happening: &Happening<'_>) -> String {
    match happening {
        Happening::Online { identity, transport } => format!("{} is connected over {transport}", identity),
        Happening::State(state) => match state {
            ConnectionState::Disconnected { cause, attempt, .. } => {
                format!("the connection is lost ({}), attempt {attempt}", visible(&chain(cause)))
            }
            other => format!("the connection is {}", state_name(other)),
        },
        Happening::Twin(twin) => format!(
            "the twin:\n  desired, version {}: {}\n  reported, version {}: {}",
            twin.desired.version,
            object(&twin.desired.values),
            twin.reported.version,
            object(&twin.reported.values)
        ),
        Happening::Reported(Some(version)) => format!("reported, version {version}"),
        Happening::Reported(None) => "reported".to_owned(),
        Happening::Desired(desired) => format!("desired, version {}: {}", desired.version, object(&desired.values)),
        Happening::Call { number, method, payload } => {
            format!("call #{number} of {}: {}", visible(method), payload_text(payload))
        }
        Happening::Answer { number, status, payload, problem, .. } => {
            let mut text = format!("answered call #{number} with {status}: {}", payload_text(payload));
            if let Some(problem) = problem {
                text.push_str(&format!(" ({})", visible(problem)));
            }
            text
        }
        Happening::Received { number, message } => {
            let mut text = format!("received message #{number}: {}", visible(&String::from_utf8_lossy(&message.body)));
            if let Some(input) = &message.input {
                text.push_str(&format!("\n  input {}", visible(input)));
            }
            for (name, value) in message.properties() {
                text.push_str(&format!("\n  {}={}", visible(name), visible(value.unwrap_or_default())));
            }
            text
        }
        Happening::Completed { number } => format!("completed message #{number}"),
        Happening::Left { number, reason } => format!("left message #{number}: {}", visible(reason)),
        Happening::Sending { number } => format!("sending message #{number}"),
        Happening::Sent { number } => format!("done sending message #{number}"),
        Happening::Unsent { number, reason } => format!("message #{number} is not acknowledged: {}", visible(reason)),
    }
}

fn payload_text(payload: &[u8]) -> String {
    visible(&payload_json(payload).to_string())
}

/// JSON escapes what would command a terminal, except for some that `visible` knows.
fn object(values: &Map<String, Value>) -> String {
    visible(&Value::Object(values.clone()).to_string())
}
