//! Responses of DPS over HTTP.

use hubward_proto::dps::http::{ERROR_CODE, REQUEST_ID};
use hyper::header::{RETRY_AFTER, STRICT_TRANSPORT_SECURITY};

use super::body::{Pace, Paced, Reply, reply, value};
use crate::services::dps::DpsResponse;
use crate::state::clock::Clock;

/// Encodes a response for HTTP, with the headers of the service.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md, transcripts.
pub(crate) fn to_http(clock: &Clock, answer: DpsResponse, pace: Pace) -> Reply {
    let DpsResponse { status, body, retry_after, error_code, request_id, content_type } = answer;
    let mut reply = reply(clock, status, &content_type, Paced::new(body, pace));
    let headers = reply.headers_mut();
    headers.insert(REQUEST_ID, value(&request_id));
    headers.insert(STRICT_TRANSPORT_SECURITY, value("max-age=31536000; includeSubDomains"));
    if let Some(retry_after) = retry_after {
        headers.insert(RETRY_AFTER, value(&retry_after));
    }
    if let Some(code) = error_code {
        headers.insert(ERROR_CODE, value(&code.to_string()));
    }
    reply
}
