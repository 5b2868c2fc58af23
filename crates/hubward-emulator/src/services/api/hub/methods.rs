//! Direct methods.

use std::time::Duration;

use hubward_proto::limits::{METHOD_RESPONSE_TIMEOUT, METHOD_RESPONSE_TIMEOUT_MAX};
use hubward_proto::service::MethodRequest;
use serde_json::Value;

use super::ApiResponse;
use super::identity::find;
use super::problem::Problem;
use crate::services::cloud::Cloud;
use crate::services::hub::{Invocation, invoke};

const RESPONSE_TIMEOUT_MIN: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Invokes a method. If the device responds, returns 200 with the body `{status, payload}`, even if the device reports
/// an error in `status`.
///
/// The payload comes from the device and may not be valid JSON.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method". For the longest wait for a
/// connection: `[sdk]` azure-iot-sdk-csharp, MethodRequestInternal.cs. `[seen]` by mwalser/terraform-provider-iothub,
/// CONCEPT.md: the connection timeout must not be longer than the response timeout.
pub(super) async fn answer(cloud: &Cloud, hub: &str, client_id: &str, body: &[u8]) -> Result<ApiResponse, Problem> {
    let body: Value = super::read(body, b'{')?;
    cloud.store.read(|state| find(state, hub, client_id).map(drop))?;
    let request: MethodRequest = serde_json::from_value(body)
        .map_err(|problem| Problem::invalid(format!("The body does not fit: {problem}.")))?;
    let response_timeout = request.response_timeout_in_seconds.map_or(METHOD_RESPONSE_TIMEOUT, Duration::from_secs);
    let connect_timeout = request.connect_timeout_in_seconds.map_or(Duration::ZERO, Duration::from_secs);
    if !(RESPONSE_TIMEOUT_MIN..=METHOD_RESPONSE_TIMEOUT_MAX).contains(&response_timeout) {
        return Err(Problem::invalid("responseTimeoutInSeconds must be 5 to 300."));
    }
    if connect_timeout > CONNECT_TIMEOUT_MAX {
        return Err(Problem::invalid("connectTimeoutInSeconds must be 0 to 300."));
    }
    if connect_timeout > response_timeout {
        let message = "connectTimeoutInSeconds must be at most responseTimeoutInSeconds, which is 30 by default.";
        return Err(Problem::invalid(message));
    }
    let invocation =
        Invocation { name: request.method_name, payload: request.payload, response_timeout, connect_timeout };
    let body = invoke(cloud, hub, client_id, invocation).await?.to_wire();
    Ok(ApiResponse { status: 200, body, headers: Vec::new() })
}
