//! Events as JSON, one object per line. The JSON is a documented interface: see docs/cli.md.

use serde_json::{Value, json};

use crate::exit_code::ExitCode;
use crate::output::{AssignmentFacts, Event, device_event};

/// The version of the JSON format. The version changes if a field is removed, or if the meaning of a field changes. New
/// fields and new types of events do not change the version.
const VERSION: u32 = 1;

/// The line of an event.
pub(super) fn render(event: &Event<'_>) -> String {
    let (kind, body) = match event {
        #[cfg(feature = "emulator")]
        Event::Ready(content) => ("ready", ready(content)),
        #[cfg(feature = "emulator")]
        Event::Step { number, text } => ("step", json!({ "step": number, "text": text })),
        #[cfg(feature = "emulator")]
        Event::Device { variables } => ("device", json!({ "variables": map(variables) })),
        #[cfg(feature = "emulator")]
        Event::Operator { variables } => ("operator", json!({ "variables": map(variables) })),
        Event::Provisioning { registration_id, endpoint, transport } => {
            ("provisioning", json!({ "registrationId": registration_id, "endpoint": endpoint, "transport": transport }))
        }
        Event::Assigned { assignment } => ("assigned", AssignmentFacts::from(*assignment).json()),
        Event::Connected { hub, transport } => ("connected", json!({ "hub": hub, "transport": transport })),
        Event::Sending { number } => ("sending", json!({ "message": number })),
        Event::Sent { number } => ("sent", json!({ "message": number })),
        #[cfg(feature = "emulator")]
        Event::Registry { device_id, hub, status } => {
            ("registry", json!({ "deviceId": device_id, "hub": hub, "status": status }))
        }
        Event::Value { name, value } => ("result", json!({ *name: value, "exitCode": ExitCode::Ok as u8 })),
        #[cfg(feature = "x509")]
        Event::Certificate { position, certificate } => {
            ("certificate", json!({ "position": position, "certificate": certificate }))
        }
        #[cfg(feature = "x509")]
        Event::Problem { message, advice } => ("problem", json!({ "message": message, "advice": advice })),
        #[cfg(feature = "x509")]
        Event::Facts(facts) => {
            let mut body = (*facts).clone();
            body["exitCode"] = json!(ExitCode::Ok as u8);
            ("result", body)
        }
        Event::FromDevice(event) => device_event::json(event),
        Event::Finished { counts } => {
            let mut body: serde_json::Map<String, Value> =
                counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
            body.insert("exitCode".to_owned(), json!(ExitCode::Ok as u8));
            ("result", body.into())
        }
        Event::Result { outcome } => {
            let mut body = outcome.assignment.as_ref().map_or_else(|| json!({}), AssignmentFacts::json);
            body["messages"] = json!(outcome.messages);
            body["acknowledged"] = json!(outcome.acknowledged);
            body["exitCode"] = json!(ExitCode::Ok as u8);
            ("result", body)
        }
        Event::Error { failure } => (
            "error",
            json!({
                "message": failure.messages.first(),
                "causes": failure.messages.get(1..),
                "stage": failure.stage,
                "endpoint": failure.endpoint,
                "dialed": failure.dialed,
                "fault": failure.fault,
                "serviceCode": failure.service_code,
                "trackingId": failure.tracking_id,
                "hint": failure.hint,
                "exitCode": failure.exit_code as u8,
            }),
        ),
    };
    line(kind, body)
}

/// The `ready` line of a server.
#[cfg(feature = "emulator")]
fn ready(content: &Value) -> Value {
    let mut content = content.clone();
    // The JSON line already has a member `version` for the format.
    content["emulatorVersion"] = content["version"].take();
    content
}

#[cfg(feature = "emulator")]
fn map(variables: &[(String, String)]) -> serde_json::Map<String, Value> {
    variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

fn line(kind: &str, mut body: Value) -> String {
    body["version"] = json!(VERSION);
    body["type"] = json!(kind);
    body.to_string()
}
