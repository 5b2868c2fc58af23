//! The service API of a hub over HTTPS: identities, twins, methods, queries, messages.

mod access;
mod bulk;
mod feedback;
mod identity;
mod methods;
mod path;
mod problem;
mod query;
mod regenerate;
mod registry;
mod send;
mod statistics;
mod twins;

use hubward_proto::service::http::REQUEST_ID;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "admin")]
pub(crate) use methods::invoke;
pub(super) use path::is_asked;
pub(crate) use problem::{Form, Problem};
pub(crate) use query::query_of;
#[cfg(feature = "admin")]
pub(crate) use twins::patch as patch_twin;

use super::if_match::IfMatch;
use super::{BODY_MOST, TOO_LARGE};
use crate::admission;
use crate::http::request::{self, TooLarge};
use crate::http::{Cut, Pace, Paced, Reply, is_json, reply, value};
use crate::hub::Code;
use crate::shared::Shared;
use crate::wire_id;
use path::Action;

/// Processes a request for a path that [`is_asked`] accepts. If `hub` is given, the caller of this function has
/// authorized the request, and every operation is allowed. Otherwise a token is required.
pub(super) async fn handle(
    shared: &Shared,
    hub: Option<&str>,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let form = form(path);
    let asked = access::admit(shared, hub, path, &head);
    let answer = match asked {
        Ok((_, action)) if action.has_json() && !is_json(&head.headers) => {
            Err(Problem::generic(415, "The content type must be application/json."))
        }
        // The caller may have no token, so the body is not stored, and the request takes no connection slot.
        Ok((_, Action::NotEmulated(what))) => match request::discard(body, BODY_MOST).await? {
            Ok(()) => Err(Problem::not_emulated(what)),
            Err(TooLarge) => Err(too_large()),
        },
        Ok((hub, action)) => match request::read(body, BODY_MOST).await? {
            Ok(body) => {
                admission::acquire_slot(&head.extensions).await;
                answer(shared, &hub, &action, &head.headers, head.uri.query(), &body).await
            }
            Err(TooLarge) => Err(too_large()),
        },
        Err(problem) => Err(problem),
    };
    Ok(match answer {
        Ok(done) => done.reply(shared),
        Err(problem) => {
            tracing::info!(
                path,
                code = problem.code,
                why = problem.message,
                "a hub refuses a request to its service API"
            );
            let mut reply = problem.reply(&shared.clock, form);
            if problem.status == 405 {
                reply.headers_mut().insert(ALLOW, value(&path::allowed(path, "")));
            }
            reply
        }
    })
}

async fn answer(
    shared: &Shared,
    hub: &str,
    action: &Action,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &[u8],
) -> Result<Done, Problem> {
    let if_match = IfMatch::read(headers)?;
    let counted = match action {
        Action::GetIdentity(id) | Action::GetTwin(id) => Some(Some(id.as_str())),
        Action::List | Action::Modules(_) | Action::Query => Some(None),
        _ => None,
    };
    if let Some(id) = counted {
        let now = shared.clock.now();
        shared.store.update(|state| state.hub_mut(hub).map(|it| it.refresh(id, now)));
    }
    match action {
        Action::List => registry::list(shared, hub, query),
        Action::Bulk => bulk::answer(shared, hub, body),
        Action::Regenerate => regenerate::answer(shared, hub, body),
        Action::Query => query::answer(shared, hub, headers, body).await,
        Action::GetIdentity(id) => registry::get(shared, hub, id),
        Action::PutIdentity(id) => registry::put(shared, hub, id, &if_match, body),
        Action::DeleteIdentity(id) => registry::delete(shared, hub, id, &if_match),
        Action::Modules(id) => registry::modules(shared, hub, id),
        Action::Purge(id) => feedback::purge(shared, hub, id),
        Action::Send(id) => send::answer(shared, hub, id, headers, body),
        Action::GetTwin(id) => twins::get(shared, hub, id),
        Action::PatchTwin(id) => twins::change(shared, hub, id, &if_match, body, false),
        Action::PutTwin(id) => twins::change(shared, hub, id, &if_match, body, true),
        Action::Invoke(id) => methods::answer(shared, hub, id, body).await,
        Action::DeviceStatistics => statistics::devices(shared, hub),
        Action::ServiceStatistics => statistics::service(shared, hub),
        Action::Feedback => feedback::receive(shared, hub),
        Action::CompleteFeedback(token) => feedback::settle(shared, hub, token, true),
        Action::AbandonFeedback(token) => feedback::settle(shared, hub, token, false),
        Action::NotEmulated(what) => Err(Problem::not_emulated(what)),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::MessageTooLarge, TOO_LARGE)
}

/// The format of errors at a path.
pub(super) fn form(path: &str) -> Form {
    if path::is_method(path) { Form::Nested } else { Form::Named }
}

/// A response.
#[derive(Debug)]
struct Done {
    status: u16,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Done {
    fn json(body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("the models of the service always serialize");
        Self { status: 200, body, headers: Vec::new() }
    }

    /// A response without a body.
    const fn nothing() -> Self {
        Self { status: 204, body: Vec::new(), headers: Vec::new() }
    }

    /// Adds the header `ETag` with this value in quotes.
    fn etag(mut self, etag: &str) -> Self {
        self.headers.push(("etag", format!("\"{etag}\"")));
        self
    }

    fn reply(self, shared: &Shared) -> Reply {
        let mut reply = reply(&shared.clock, self.status, CONTENT_TYPE, Paced::new(self.body, Pace::AtOnce));
        reply.headers_mut().insert(REQUEST_ID, value(&wire_id::guid()));
        for (name, text) in self.headers {
            reply.headers_mut().insert(name, value(&text));
        }
        reply
    }
}

/// Refuses the request if the identity has another ETag. The message contains the version numbers in the ETags.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md, 412001; `[seen]` recordings of azure-sdk-for-net,
/// `DevicesClient_UpdateDevice_EtagDoesNotMatch`. The message for an ETag that is not a number is a `[guess]`.
fn check_etag(if_match: &IfMatch, etag: &str) -> Result<(), Problem> {
    if if_match.fits(Some(etag)) {
        return Ok(());
    }
    let wanted = match if_match {
        IfMatch::Etag(wanted) => wanted,
        IfMatch::Absent | IfMatch::Any => "",
    };
    let number = |etag: &str| wire_id::identity_version(etag).map_or_else(|| etag.to_owned(), |it| it.to_string());
    let (existing, new) = (number(etag), number(wanted));
    let message =
        format!("Precondition failed: Device version did not match, existingVersion:{existing} newVersion:{new}");
    Err(Problem::new(Code::PreconditionFailed, message))
}

/// Refuses the request if the twin of a device or module has another ETag. For a module, the message names the
/// device.
///
/// Source: `[seen]` recordings of azure-sdk-for-net, `ModulesClient_UpdateModuleTwin_EtagDoesNotMatch`.
fn check_twin_etag(if_match: &IfMatch, client_id: &str, etag: &str) -> Result<(), Problem> {
    if if_match.fits(Some(etag)) {
        return Ok(());
    }
    let device_id = client_id.split_once('/').map_or(client_id, |(device_id, _)| device_id);
    Err(Problem::new(Code::PreconditionFailed, format!("ETag mismatch for device ID '{device_id}'")))
}

/// Parses a body. An error names only the position, because the text may contain keys.
fn read<T: DeserializeOwned>(body: &[u8], first: u8) -> Result<T, Problem> {
    // Some JSON parsers, including ours, accept an array for an object with its members in order.
    if body.trim_ascii_start().first() != Some(&first) {
        let kind = if first == b'[' { "array" } else { "object" };
        return Err(Problem::new(Code::IotHubFormatError, format!("The body must be a JSON {kind}.")));
    }
    serde_json::from_slice(body).map_err(|problem| {
        let what = if problem.is_data() { "does not have the expected structure" } else { "is not JSON" };
        let (line, column) = (problem.line(), problem.column());
        Problem::new(Code::IotHubFormatError, format!("The body {what}, at line {line}, column {column}."))
    })
}

const CONTENT_TYPE: &str = "application/json; charset=utf-8";
