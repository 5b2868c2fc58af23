//! DPS over HTTPS.

use std::sync::Arc;

use bytes::Bytes;
use hubward_proto::dps::http::{DpsHttpRequest, DpsHttpRequestError, DpsOperation};
use hubward_proto::limits::DPS_MESSAGE_MAX;
use hubward_sas::SasToken;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderMap, LOCATION};
use tokio::time::sleep;

use crate::doors::admission;
use crate::doors::http::{Aborted, Pace, Reply, add_headers, is_json, request, to_http, value};
use crate::services::api::api_version;
use crate::services::cloud::Cloud;
use crate::services::dps::{Caller, DpsResponse, Refusal};
use crate::services::faults;
use crate::services::presented::PresentedChain;
use crate::state::fault::{Fault, Point};

/// First segment of paths that the service API of DPS has and the emulator does not support.
const NOT_EMULATED: &str = "certificates";

/// Answers one request.
pub(super) async fn handle(cloud: &Arc<Cloud>, request: Request<Incoming>) -> Result<Reply, Aborted> {
    let (head, body) = request.into_parts();
    let registrar = &cloud.registrar;
    let refuse = |refusal: &Refusal| to_http(&cloud.clock, registrar.refuse(refusal), Pace::AtOnce);
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
    let caller = caller(&asked, uri.query(), &head.headers, head.extensions.get::<PresentedChain>());
    // If DPS refuses the request, discard the body instead of keeping it in memory. A refused request also gets no
    // connection slot.
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
        DpsOperation::Register => faults::take_of(cloud, Point::DpsRegister, who, known),
        DpsOperation::Status(_) => faults::take_of(cloud, Point::DpsPoll, who, known),
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
        Some(Fault::Cut) => return Err(Aborted),
        Some(Fault::Never) => std::future::pending().await,
        Some(Fault::Status { status, code, message, retry_after }) => {
            DpsResponse { retry_after, ..registrar.refuse(&Refusal::new(status, code, message)) }
        }
        Some(Fault::StatusWith { status, code, message, headers }) => {
            added = headers;
            registrar.refuse(&Refusal::new(status, code, message))
        }
        Some(Fault::TokenExpired) => registrar.expired(&caller),
        Some(Fault::HubMoved) => {
            faults::apply_to_registration(cloud, &Fault::HubMoved, who);
            answer()
        }
        Some(Fault::CutAfter(bytes)) => {
            pace = Pace::CutAfter(bytes);
            answer()
        }
        Some(Fault::Body { status, content_type, bytes }) => {
            DpsResponse { status, content_type, body: bytes, retry_after: None, error_code: None, ..answer() }
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
        Some(Fault::RetryAfter(retry_after)) => DpsResponse { retry_after, ..answer() },
        _ => answer(),
    };
    let mut reply = to_http(&cloud.clock, answer, pace);
    add_headers(&mut reply, &added);
    if asked.operation == DpsOperation::Register && reply.status() == hyper::StatusCode::ACCEPTED {
        // `Location` is the URL of this registration request, and not the URL where the device polls the status. A
        // documented transcript of the service shows this.
        let host = head.headers.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or("localhost");
        let location = format!("https://{host}{}", head.uri.path_and_query().map_or("/", |it| it.as_str()));
        reply.headers_mut().insert(LOCATION, value(&location));
    }
    Ok(reply)
}

fn caller(
    asked: &DpsHttpRequest,
    query: Option<&str>,
    headers: &HeaderMap,
    certificates: Option<&PresentedChain>,
) -> Caller {
    let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).and_then(|it| SasToken::parse(it).ok());
    Caller {
        id_scope: asked.id_scope.clone(),
        registration_id: asked.registration_id.clone(),
        token,
        // A token that cannot be read is refused, even beside a certificate.
        certificates: certificates.filter(|_| !headers.contains_key(AUTHORIZATION)).cloned(),
        api_version: api_version(query).to_owned(),
    }
}

/// Returns the error for a request that is not valid at the device API.
///
/// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for the classes of error codes. 501 for paths below
/// [`NOT_EMULATED`] is our choice: the real service has these paths.
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
