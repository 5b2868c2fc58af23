//! `GET` and `POST /messages/{hub}/{device}` at the admin port. Properties are JSON instead of headers, and messages
//! can also go to inputs of modules.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::Target;
use crate::services;
use crate::services::api::hub::Problem;
use crate::services::cloud::Cloud;
use crate::services::hub::{CloudToDevice, Code};
use crate::state::clock::read_timestamp;
use crate::state::model::Ack;

/// A message as JSON, with the property names of the service's SDKs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    body: Option<String>,
    body_base64: Option<String>,
    /// `null` stands for a name without a value.
    #[serde(default)]
    properties: BTreeMap<String, Option<String>>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    user_id: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    ack: Option<Ack>,
    expiry_time_utc: Option<String>,
    time_to_live_in_seconds: Option<u64>,
    /// Required for a module, not allowed for a device.
    input_name: Option<String>,
    sender_device_id: Option<String>,
    sender_module_id: Option<String>,
}

/// The queued messages, the oldest first.
pub(super) fn show(cloud: &Cloud, target: &Target) -> Result<Value, Problem> {
    let messages = services::hub::queued(cloud, &target.hub, &target.client_id);
    let missing = || Problem::new(Code::not_found(&target.client_id), "The hub does not have this device or module.");
    Ok(json!({ "messages": messages.ok_or_else(missing)? }))
}

/// Sends a message. Returns `{messageId}`.
pub(super) fn send(cloud: &Cloud, target: &Target, body: Value) -> Result<Value, Problem> {
    let body: Body =
        serde_json::from_value(body).map_err(|problem| wrong(&format!("The body is not valid: {problem}.")))?;
    let input = body.input_name.clone();
    let message = read(body)?;
    let sent = match (target.client_id.split_once('/'), &input) {
        (None, None) => services::hub::send(cloud, &target.hub, &target.client_id, None, message),
        (Some((device, module)), Some(input)) => {
            services::hub::send(cloud, &target.hub, device, Some((module, input)), message)
        }
        (None, Some(_)) => return Err(wrong(INPUT_OF_DEVICE)),
        (Some(_), None) => return Err(wrong("A message to a module needs an inputName.")),
    };
    Ok(json!({ "messageId": sent? }))
}

fn read(body: Body) -> Result<CloudToDevice, Problem> {
    let bytes = match (body.body, body.body_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| wrong("bodyBase64 is not base64."))?,
        (None, None) => Vec::new(),
        (Some(_), Some(_)) => return Err(wrong("Give either body or bodyBase64, not both.")),
    };
    let mut message = CloudToDevice::new(bytes);
    message.properties = body.properties.into_iter().collect();
    message.message_id = body.message_id;
    message.correlation_id = body.correlation_id;
    message.user_id = body.user_id;
    message.content_type = body.content_type;
    message.content_encoding = body.content_encoding;
    message.ack = body.ack;
    message = match (body.expiry_time_utc, body.time_to_live_in_seconds) {
        (None, None) => message,
        (None, Some(seconds)) => message.expires_after(Duration::from_secs(seconds)),
        (Some(text), None) => {
            let moment = read_timestamp(&text);
            message.expires_at(moment.ok_or_else(|| wrong("expiryTimeUtc is not ISO 8601."))?)
        }
        (Some(_), Some(_)) => return Err(wrong("Give either expiryTimeUtc or timeToLiveInSeconds, not both.")),
    };
    message = match (body.sender_device_id, body.sender_module_id) {
        (Some(device), module) => message.sender(device, module.as_deref()),
        (None, None) => message,
        (None, Some(_)) => return Err(wrong("A senderModuleId needs a senderDeviceId.")),
    };
    Ok(message)
}

fn wrong(message: &str) -> Problem {
    Problem::new(Code::ArgumentInvalid, message)
}

const INPUT_OF_DEVICE: &str =
    "Only modules have inputs: leave out inputName, or send the message to {device}/modules/{module}.";
