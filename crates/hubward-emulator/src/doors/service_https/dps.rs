//! The service API of DPS over HTTPS.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::ALLOW;

use super::{BODY_MAX, TOO_LARGE};
use crate::doors::admission;
use crate::doors::http::request::{self, TooLarge};
use crate::doors::http::{Aborted, Pace, Reply, is_json, to_http, value};
use crate::services::api::Authentication;
use crate::services::api::dps::{ApiResponse, ServiceRequest, allowed, answer, check};
use crate::services::cloud::Cloud;
use crate::services::dps::{DpsResponse, Refusal};

/// Processes a request for a path that [`super::is_asked`] accepts.
pub(super) async fn handle(
    cloud: &Cloud,
    authentication: Authentication,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    let (head, body) = request.into_parts();
    let parsed = check(cloud, authentication, &head).and_then(|()| ServiceRequest::parse(head.method.as_str(), path));
    let answer = match parsed {
        Ok(parsed) if parsed.action.has_json() && !is_json(&head.headers) => {
            Err(Refusal::generic(415, "The content type must be application/json."))
        }
        Ok(parsed) => match request::read(body, BODY_MAX).await? {
            Ok(body) => {
                admission::acquire_slot(&head.extensions).await;
                answer(cloud, &parsed, &head.headers, &body)
            }
            Err(TooLarge) => Err(Refusal::generic(413, TOO_LARGE)),
        },
        Err(refusal) => Err(refusal),
    };
    let ApiResponse { answer, headers } =
        answer.unwrap_or_else(|refusal| DpsResponse::error(&refusal, cloud.clock.now()).into());
    let wrong_method = answer.status == 405;
    let mut reply = to_http(&cloud.clock, answer, Pace::AtOnce);
    for (name, text) in headers {
        reply.headers_mut().insert(name, value(&text));
    }
    if wrong_method {
        reply.headers_mut().insert(ALLOW, value(&allowed(path)));
    }
    Ok(reply)
}
