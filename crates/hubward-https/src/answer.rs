//! Turns an HTTP answer of DPS into a reply or an error.

use std::time::SystemTime;

use http_body_util::BodyExt;
use hubward_proto::dps::http::{ERROR_CODE, REQUEST_ID};
use hubward_proto::dps::{DpsBody, RegistrationOperation, ServiceError, TpmChallenge};
use hubward_proto::{limits, retry_after};
use hubward_transport::{DpsReply, ProtoError, Refusal, RefusedBy, TransportError, clock, one_line};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

use crate::failure;
use crate::request_context::RequestContext;

/// Reads the whole answer and interprets it.
pub(crate) async fn read(
    context: &RequestContext<'_>,
    response: Response<Incoming>,
) -> Result<DpsReply, TransportError> {
    let (head, body) = response.into_parts();
    let body = body_text(context, body).await;
    if matches!(head.status, StatusCode::OK | StatusCode::ACCEPTED) {
        return accepted(context, &head, &body?);
    }
    // Use the status even if the body cannot be read.
    let body = body.unwrap_or_default();
    if head.status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = serde_json::from_str::<TpmChallenge>(&body)
    {
        return Ok(DpsReply::new(DpsBody::TpmChallenge(challenge), wait(&head.headers)));
    }
    let error = serde_json::from_str(&body).unwrap_or_default();
    Err(refused(context, &head, error, &body))
}

fn accepted(context: &RequestContext<'_>, head: &Parts, body: &str) -> Result<DpsReply, TransportError> {
    match serde_json::from_str::<RegistrationOperation>(body) {
        Ok(operation) => {
            let body = DpsBody::Operation(Box::new(operation));
            Ok(DpsReply::new(body, wait(&head.headers)).status(head.status.as_u16()))
        }
        Err(problem) => match serde_json::from_str::<ServiceError>(body) {
            // A success status with an error in the body is a refusal.
            Ok(error) if error.error_code.is_some() => Err(refused(context, head, error, body)),
            _ => Err(failure::protocol(context, ProtoError::json(&problem, body.as_bytes()))),
        },
    }
}

fn refused(context: &RequestContext<'_>, head: &Parts, error: ServiceError, body: &str) -> TransportError {
    let headers = &head.headers;
    // A gateway between client and DPS may answer with text that is not the JSON of DPS. Keep this text.
    let message =
        error.message.unwrap_or_else(|| if error.error_code.is_none() { body.to_owned() } else { String::new() });
    let mut refusal =
        Refusal::new(context.endpoint.to_string(), context.stage, RefusedBy::Status(head.status.as_u16()));
    refusal.error_code = error.error_code.or_else(|| text(headers, ERROR_CODE)?.trim().parse().ok());
    refusal.message = Some(one_line(&message)).filter(|it| !it.is_empty());
    refusal.tracking_id =
        error.tracking_id.or_else(|| text(headers, REQUEST_ID).map(str::to_owned)).map(|it| one_line(&it));
    refusal.retry_after = wait(headers);
    refusal.server_time = date(headers);
    TransportError::Refused(Box::new(refusal))
}

/// Reads the body as text, and redacts the token if the body quotes it.
async fn body_text(context: &RequestContext<'_>, mut body: Incoming) -> Result<String, TransportError> {
    let too_large = |size| {
        failure::protocol(context, ProtoError::TooLarge { what: "the answer", size, limit: limits::DPS_RESPONSE_MAX })
    };
    // The value of `Content-Length`, or zero if the header is absent.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits::DPS_RESPONSE_MAX {
        return Err(too_large(announced));
    }
    let mut bytes = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure::of_body(context, &error))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > limits::DPS_RESPONSE_MAX {
            return Err(too_large(bytes.len() + data.len()));
        }
        bytes.extend_from_slice(data);
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(context.token.map_or_else(|| text.clone().into_owned(), |token| token.redact(&text)))
}

fn wait(headers: &HeaderMap) -> Option<std::time::Duration> {
    let now = date(headers).unwrap_or_else(clock::now);
    retry_after::parse(text(headers, header::RETRY_AFTER.as_str())?, now)
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, header::DATE.as_str())?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
