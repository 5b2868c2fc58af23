//! A message as JSON, as an operator sends it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::services::api::hub::Problem;
use crate::services::hub::{CloudToDevice, Code};
use crate::state::clock::read_timestamp;
use crate::state::model::Ack;

pub(super) const INPUT_OF_DEVICE: &str =
    "Only modules have inputs: leave out inputName, or send the message to {device}/modules/{module}.";

/// A message as JSON, with the property names of the service's SDKs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    body: Option<String>,
    body_base64: Option<String>,
    /// The properties by name. The value `null` stands for a property without a value.
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

/// Parses the JSON of a message. Returns the message. If the message is for an input of a module, also returns the name
/// of the input.
pub(super) fn read(body: Value) -> Result<(CloudToDevice, Option<String>), Problem> {
    let body: Body =
        serde_json::from_value(body).map_err(|problem| wrong(&format!("The body is not valid: {problem}.")))?;
    let input = body.input_name.clone();
    Ok((message(body)?, input))
}

fn message(body: Body) -> Result<CloudToDevice, Problem> {
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

pub(super) fn wrong(message: &str) -> Problem {
    Problem::new(Code::ArgumentInvalid, message)
}
