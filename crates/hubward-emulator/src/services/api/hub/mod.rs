//! The service API of a hub: identities, twins, methods, queries, messages.

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

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use access::admit;
pub(crate) use path::{Action, allowed, is_asked};
pub(crate) use problem::{Form, Problem};
pub(crate) use query::query_of;

use super::if_match::IfMatch;
use crate::services::cloud::Cloud;
use crate::services::hub::Code;
use crate::state::wire_id;

pub(crate) const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Performs an operation on a hub.
pub(crate) async fn answer(
    cloud: &Cloud,
    hub: &str,
    action: &Action,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &[u8],
) -> Result<ApiResponse, Problem> {
    let if_match = IfMatch::read(headers)?;
    let counted = match action {
        Action::GetIdentity(id) | Action::GetTwin(id) => Some(Some(id.as_str())),
        Action::List | Action::Modules(_) | Action::Query => Some(None),
        _ => None,
    };
    if let Some(id) = counted {
        let now = cloud.clock.now();
        cloud.store.update(|state| state.hub_mut(hub).map(|it| it.refresh(id, now)));
    }
    match action {
        Action::List => registry::list(cloud, hub, query),
        Action::Bulk => bulk::answer(cloud, hub, body),
        Action::Regenerate => regenerate::answer(cloud, hub, body),
        Action::Query => query::answer(cloud, hub, headers, body).await,
        Action::GetIdentity(id) => registry::get(cloud, hub, id),
        Action::PutIdentity(id) => registry::put(cloud, hub, id, &if_match, body),
        Action::DeleteIdentity(id) => registry::delete(cloud, hub, id, &if_match),
        Action::Modules(id) => registry::modules(cloud, hub, id),
        Action::Purge(id) => feedback::purge(cloud, hub, id),
        Action::Send(id) => send::answer(cloud, hub, id, headers, body),
        Action::GetTwin(id) => twins::get(cloud, hub, id),
        Action::PatchTwin(id) => twins::change(cloud, hub, id, &if_match, body, false),
        Action::PutTwin(id) => twins::change(cloud, hub, id, &if_match, body, true),
        Action::Invoke(id) => methods::answer(cloud, hub, id, body).await,
        Action::DeviceStatistics => statistics::devices(cloud, hub),
        Action::ServiceStatistics => statistics::service(cloud, hub),
        Action::Feedback => feedback::receive(cloud, hub),
        Action::CompleteFeedback(token) => feedback::complete_or_abandon(cloud, hub, token, true),
        Action::AbandonFeedback(token) => feedback::complete_or_abandon(cloud, hub, token, false),
        Action::NotEmulated(what) => Err(Problem::not_emulated(what)),
    }
}

/// The format of errors at a path.
pub(crate) fn form(path: &str) -> Form {
    if path::is_method(path) { Form::Nested } else { Form::Named }
}

/// A response.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl ApiResponse {
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
}

/// Refuses the request if its ETag is not the ETag of the identity. The error message contains the version numbers of
/// both ETags.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md, 412001; `[seen]` recordings of azure-sdk-for-net,
/// `DevicesClient_UpdateDevice_EtagDoesNotMatch`. `[guess]`: the message if an ETag is not a number.
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

/// Refuses the request if its ETag is not the ETag of the twin. For a module, the error message contains the device
/// id.
///
/// Source: `[seen]` recordings of azure-sdk-for-net, `ModulesClient_UpdateModuleTwin_EtagDoesNotMatch`.
fn check_twin_etag(if_match: &IfMatch, client_id: &str, etag: &str) -> Result<(), Problem> {
    if if_match.fits(Some(etag)) {
        return Ok(());
    }
    let device_id = client_id.split_once('/').map_or(client_id, |(device_id, _)| device_id);
    Err(Problem::new(Code::PreconditionFailed, format!("ETag mismatch for device ID '{device_id}'")))
}

/// Parses a body that must start with the byte `first`. An error contains only the position, because the body may
/// contain keys.
fn read<T: DeserializeOwned>(body: &[u8], first: u8) -> Result<T, Problem> {
    // Check the first byte. Without this check, `serde` would also accept an array in place of a struct, and would read
    // the items of the array as the fields in order.
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
