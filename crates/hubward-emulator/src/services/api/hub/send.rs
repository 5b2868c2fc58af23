//! Sends a message to a device over HTTP.

use http::header::HeaderMap;
use hubward_proto::service::{CloudMessage, DeliveryAck};

use super::ApiResponse;
use super::problem::Problem;
use crate::services;
use crate::services::cloud::Cloud;
use crate::services::hub::CloudToDevice;
use crate::state::clock::read_timestamp;
use crate::state::model::Ack;

/// Adds a message to the queue of a device. Returns 204 with an empty body.
///
/// The headers `Content-Type` and `Content-Encoding` describe the HTTP request. They do not become properties of the
/// message.
///
/// Source: `[sdk]` azure-iot-explorer, devicesService.ts, sends this request and accepts 204. `[seen]`
/// azure-iot-explorer, issue 598: the device gets the message, and the response has no body. `[guess]`: everything
/// else.
pub(super) fn answer(
    cloud: &Cloud,
    hub: &str,
    device_id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ApiResponse, Problem> {
    let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let message = CloudMessage::read(body.to_vec(), texts).map_err(|problem| Problem::invalid(problem.to_string()))?;
    services::hub::send(cloud, hub, device_id, None, of(message)?)?;
    Ok(ApiResponse::nothing())
}

fn of(message: CloudMessage) -> Result<CloudToDevice, Problem> {
    let mut result = CloudToDevice::new(message.body);
    result.properties = message.properties.into_iter().map(|(name, value)| (name, Some(value))).collect();
    result.message_id = message.message_id;
    result.correlation_id = message.correlation_id;
    result.user_id = message.user_id;
    result.content_type = message.content_type;
    result.content_encoding = message.content_encoding;
    result.ack = message.ack.map(|it| match it {
        DeliveryAck::None => Ack::None,
        DeliveryAck::Positive => Ack::Positive,
        DeliveryAck::Negative => Ack::Negative,
        DeliveryAck::Full => Ack::Full,
    });
    let Some(text) = message.expiry_time_utc else { return Ok(result) };
    let moment =
        read_timestamp(&text).ok_or_else(|| Problem::invalid("iothub-expiry is not a timestamp in ISO 8601."))?;
    Ok(result.expires_at(moment))
}
