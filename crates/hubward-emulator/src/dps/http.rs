//! DPS over HTTPS.

use std::sync::Arc;

use bytes::Bytes;
use hubward_proto::dps::http::{DpsHttpRequest, DpsHttpRequestError, DpsOperation, ERROR_CODE, REQUEST_ID};
use hubward_proto::limits::DPS_MESSAGE_MAX;
use hubward_sas::SasToken;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderMap, LOCATION, RETRY_AFTER, STRICT_TRANSPORT_SECURITY};
use tokio::time::sleep;

use super::admit::Caller;
use super::answer::{Answer, Refusal};
use crate::admission;
use crate::clock::Clock;
use crate::fault::{Fault, Point};
use crate::http::{Cut, Pace, Paced, Reply, add_headers, is_json, reply, request, value};
use crate::service::api_version;
use crate::shared::Shared;

/// Answers one request.
pub(crate) async fn handle(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let registrar = &shared.registrar;
    let refuse = |refusal: &Refusal| to_http(&shared.clock, registrar.refuse(refusal), Pace::AtOnce);
    let uri = &head.uri;
    let asked = match DpsHttpRequest::parse(head.method.as_str(), uri.path(), uri.query()) {
        Ok(asked) => asked,
        Err(why) => {
            tracing::info!(method = %head.method, path = uri.path(), ?why, "DPS has no such request");
            let mut reply = refuse(&no_such(&why, uri.path()));
            if why == DpsHttpRequestError::Method {
                reply.headers_mut().insert(ALLOW, value(allowed(uri.path())));
            }
            return Ok(reply);
        }
    };
    let has_body = !matches!(asked.operation, DpsOperation::Status(_));
    if has_body && !is_json(&head.headers) {
        return Ok(refuse(&Refusal::generic(415, "The content type must be application/json.")));
    }
    let caller = caller(&asked, uri.query(), &head.headers);
    // A request that is refused anyway gets no slot, and its body is not kept in memory.
    let denial = registrar.denial(&caller);
    let body = match &denial {
        None => request::read(body, DPS_MESSAGE_MAX).await?,
        Some(_) => request::discard(body, DPS_MESSAGE_MAX).await?.map(|()| Bytes::new()),
    };
    let Ok(body) = body else {
        return Ok(refuse(&Refusal::generic(413, "The request is larger than 96 KB.")));
    };
    if denial.is_none() {
        admission::acquire_slot(&head.extensions).await;
    }
    let (who, known) = (caller.registration_id.as_str(), denial.is_none());
    let fault = match asked.operation {
        DpsOperation::Register => shared.take_fault_of(Point::DpsRegister, who, known),
        DpsOperation::Status(_) => shared.take_fault_of(Point::DpsPoll, who, known),
        DpsOperation::Lookup => None,
    };
    let answer = || match (denial, &asked.operation) {
        (Some(denial), _) => registrar.deny(&caller, denial),
        (None, DpsOperation::Register) => registrar.register(&caller, &body),
        (None, DpsOperation::Status(operation_id)) => registrar.poll(&caller, operation_id),
        (None, DpsOperation::Lookup) => registrar.lookup(&caller, &body),
    };
    let (mut pace, mut added) = (Pace::AtOnce, Vec::new());
    let answer = match fault {
        Some(Fault::Cut) => return Err(Cut),
        Some(Fault::Never) => std::future::pending().await,
        Some(Fault::Status { status, code, message, retry_after }) => {
            Answer { retry_after, ..registrar.refuse(&Refusal::new(status, code, message)) }
        }
        Some(Fault::StatusWith { status, code, message, headers }) => {
            added = headers;
            registrar.refuse(&Refusal::new(status, code, message))
        }
        Some(Fault::TokenExpired) => registrar.expired(&caller),
        Some(Fault::HubMoved) => {
            shared.apply_fault_to_registration(&Fault::HubMoved, who);
            answer()
        }
        Some(Fault::CutAfter(bytes)) => {
            pace = Pace::CutAfter(bytes);
            answer()
        }
        Some(Fault::Body { status, content_type, bytes }) => {
            Answer { status, content_type, body: bytes, retry_after: None, error_code: None, ..answer() }
        }
        Some(Fault::Delay(time)) => {
            sleep(time).await;
            answer()
        }
        Some(Fault::Drip(every)) => {
            pace = Pace::Drip(every);
            answer()
        }
        Some(Fault::Chunked(bytes)) => {
            pace = Pace::Chunks(bytes);
            answer()
        }
        Some(Fault::RetryAfter(retry_after)) => Answer { retry_after, ..answer() },
        _ => answer(),
    };
    let mut reply = to_http(&shared.clock, answer, pace);
    add_headers(&mut reply, &added);
    if asked.operation == DpsOperation::Register && reply.status() == hyper::StatusCode::ACCEPTED {
        // A documented transcript has the URL of the registration here, not that of the operation.
        let host = head.headers.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or("localhost");
        let location = format!("https://{host}{}", head.uri.path_and_query().map_or("/", |it| it.as_str()));
        reply.headers_mut().insert(LOCATION, value(&location));
    }
    Ok(reply)
}

/// Encodes a response for HTTP, with the headers of the service.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md, transcripts.
pub(crate) fn to_http(clock: &Clock, answer: Answer, pace: Pace) -> Reply {
    let Answer { status, body, retry_after, error_code, request_id, content_type } = answer;
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

fn caller(asked: &DpsHttpRequest, query: Option<&str>, headers: &HeaderMap) -> Caller {
    let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).and_then(|it| SasToken::parse(it).ok());
    Caller {
        id_scope: asked.id_scope.clone(),
        registration_id: asked.registration_id.clone(),
        token,
        api_version: api_version(query).to_owned(),
    }
}

/// The refusal of a request that does not exist.
///
/// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for the classes. 501 is the emulator's own: the real service
/// has these paths.
fn no_such(why: &DpsHttpRequestError, path: &str) -> Refusal {
    match why {
        DpsHttpRequestError::Path => {
            let first = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
            if first == NOT_EMULATED {
                return Refusal::generic(501, "The emulator does not emulate this part of the service.");
            }
            Refusal::generic(404, "There is nothing at this path.")
        }
        DpsHttpRequestError::Method => Refusal::generic(405, "The path does not have this method."),
        DpsHttpRequestError::ApiVersion => Refusal::generic(400, "The api-version is missing."),
        DpsHttpRequestError::Id(problem) => {
            Refusal::generic(400, format!("The request names an invalid id: {problem}."))
        }
    }
}

/// The method that a path supports.
fn allowed(path: &str) -> &'static str {
    let path = path.to_ascii_lowercase();
    if path.ends_with("/register") {
        "PUT"
    } else if path.contains("/operations/") {
        "GET"
    } else {
        "POST"
    }
}

/// First segment of the service API's paths that are not emulated.
const NOT_EMULATED: &str = "certificates";
