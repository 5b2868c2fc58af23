//! `POST /methods/{hub}/{device}` at the admin port.

use std::time::Duration;

use hubward_proto::limits::{METHOD_RESPONSE_TIMEOUT, METHOD_RESPONSE_TIMEOUT_MAX};
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::{Asked, Problem};
use crate::hub::{Code, Invocation, InvokeError};
use crate::shared::Shared;

/// Source: `[sdk]` azure-iot-sdk-node, service, device_method.js.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    method_name: String,
    /// `null` is a payload, too.
    #[serde(default, deserialize_with = "present")]
    payload: Option<Value>,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

/// Calls a method; `{status, payload}` whatever the status.
pub(super) async fn invoke(shared: &Shared, asked: &Asked, body: Value) -> Result<Value, Problem> {
    let wrong = |message: String| Problem::new(Code::ArgumentInvalid, message);
    let Body { method_name: name, payload, response_timeout_in_seconds, connect_timeout_in_seconds } =
        serde_json::from_value(body).map_err(|problem| wrong(format!("The body does not fit: {problem}.")))?;
    let response_timeout = response_timeout_in_seconds.map_or(METHOD_RESPONSE_TIMEOUT, Duration::from_secs);
    let connect_timeout = connect_timeout_in_seconds.map_or(Duration::ZERO, Duration::from_secs);
    if !(RESPONSE_TIMEOUT_MIN..=METHOD_RESPONSE_TIMEOUT_MAX).contains(&response_timeout) {
        return Err(wrong("responseTimeoutInSeconds is 5 to 300.".to_owned()));
    }
    if connect_timeout > CONNECT_TIMEOUT_MAX {
        return Err(wrong("connectTimeoutInSeconds is 0 to 300.".to_owned()));
    }
    let invocation = Invocation { name, payload, response_timeout, connect_timeout };
    let result = crate::hub::invoke(shared, &asked.hub, &asked.client_id, invocation).await;
    Ok(json!(result.map_err(|problem: InvokeError| Problem::new(problem.as_code(), problem.to_string()))?))
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method".
const RESPONSE_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// Source: `[sdk]` azure-iot-sdk-csharp, MethodRequestInternal.cs.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
