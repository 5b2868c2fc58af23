//! The service API of DPS: enrollments, groups and registration records.

mod bulk;
mod enrollments;
mod groups;
mod kind;
mod operations;
mod path;
mod query;
mod records;

use http::HeaderMap;
use http::request::Parts;
use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};

pub(crate) use path::{ServiceRequest, allowed, is_asked};

use super::if_match::{IfMatch, Unreadable};
use super::{Authentication, api_version};
use crate::services::access::Denied;
use crate::services::cloud::Cloud;
use crate::services::dps::{DpsResponse, Refusal};
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::DPS_POLICY;
use path::Subject;

const API_VERSIONS: [&str; 11] = [
    "2018-04-01",
    "2018-09-01-preview",
    "2018-11-01",
    "2019-03-31",
    "2020-09-01-preview",
    "2021-06-01",
    "2021-10-01",
    "2025-07-01-preview",
    "2026-07-01-preview",
    "2026-11-01",
    "2026-11-02-preview",
];

/// Source: `[guess]`: a request whose `Host` names another server gets 421. The real service has no such case.
pub(crate) fn check(cloud: &Cloud, authentication: Authentication, head: &Parts) -> Result<(), Refusal> {
    match authentication {
        Authentication::Required => {}
        #[cfg(feature = "admin")]
        Authentication::Done => return Ok(()),
    }
    let checked = cloud.store.read(|state| {
        let keys = state.policies.get(DPS_POLICY);
        cloud.access.check_dps(&head.headers, head.uri.path(), keys, cloud.clock.unix())
    });
    if let Err(denied) = &checked {
        let note = Note::new(EventKind::Refused, EventSource::DpsService).code(denied_code(*denied));
        let call = format!("{} {}: {}", head.method, head.uri.path(), denied.why());
        cloud.journal.note(note.message(call));
    }
    match checked {
        Ok(()) => check_version(head.uri.query()),
        Err(Denied::NoHost) => Err(Refusal::generic(400, "The request must have one Host header.")),
        Err(Denied::ForeignHost) => {
            Err(Refusal::generic(421, "The name in the Host header is not a name of this DPS."))
        }
        Err(Denied::Bearer) => {
            let message = "The emulator does not emulate Microsoft Entra tokens. Use a SAS token of a policy.";
            Err(Refusal::new(401, 401_002, message))
        }
        Err(denied @ (Denied::NoToken | Denied::Token(_))) => {
            tracing::info!(why = denied.why(), "DPS refuses a caller of its service API (401002)");
            Err(Refusal::unauthorized())
        }
    }
}

/// The codes of the responses in [`check`].
const fn denied_code(denied: Denied) -> u32 {
    match denied {
        Denied::NoHost => 400_000,
        Denied::ForeignHost => 421_000,
        Denied::Bearer | Denied::NoToken | Denied::Token(_) => 401_002,
    }
}

/// Performs a request.
pub(crate) fn answer(
    cloud: &Cloud,
    parsed: &ServiceRequest,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ApiResponse, Refusal> {
    let if_match = IfMatch::read(headers).map_err(|_| Refusal::generic(400, Unreadable::MESSAGE))?;
    match parsed.subject {
        Subject::Enrollments => {
            operations::answer::<IndividualEnrollment>(cloud, &parsed.action, &if_match, headers, body)
        }
        Subject::Groups => operations::answer::<EnrollmentGroup>(cloud, &parsed.action, &if_match, headers, body),
        Subject::Registrations => records::answer(cloud, &parsed.action, &if_match, headers, body),
    }
}

/// A response with its headers.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    pub(crate) answer: DpsResponse,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl From<DpsResponse> for ApiResponse {
    fn from(answer: DpsResponse) -> Self {
        Self { answer, headers: Vec::new() }
    }
}

impl ApiResponse {
    /// A response without a body.
    fn nothing() -> Self {
        DpsResponse { body: Vec::new(), ..DpsResponse::json(204, &()) }.into()
    }
}

/// Source: `[sdk]` the service SDKs and azure-rest-api-specs name the versions in [`API_VERSIONS`]. `[guess]`: DPS
/// refuses other versions with 400000.
fn check_version(query: Option<&str>) -> Result<(), Refusal> {
    let version = api_version(query);
    if version.is_empty() {
        return Err(Refusal::generic(400, "The api-version is missing."));
    }
    if !API_VERSIONS.contains(&version) {
        let known = API_VERSIONS.join(", ");
        return Err(Refusal::generic(400, format!("The api-version is unknown. Known versions: {known}.")));
    }
    Ok(())
}

/// Refuses the request if the object has another ETag.
///
/// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for 412; the six-digit code is a `[guess]`.
fn check_etag(if_match: &IfMatch, etag: Option<&str>) -> Result<(), Refusal> {
    if if_match.fits(etag) {
        return Ok(());
    }
    Err(Refusal::generic(412, "Precondition failed: the etag does not match."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_api_versions() {
        for (query, ok) in [
            (Some("api-version=2021-10-01"), true),
            (Some("x=y&API-Version=2019-03-31"), true),
            (Some("api-version=2031-01-01"), false),
            (Some("api-version="), false),
            (Some("x"), false),
            (None, false),
        ] {
            assert_eq!(check_version(query).is_ok(), ok, "{query:?}");
        }
    }
}
