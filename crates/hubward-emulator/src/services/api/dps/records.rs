//! Registration records: get, query, delete.

use http::header::HeaderMap;

use super::path::Action;
use super::query::Page;
use super::{ApiResponse, IfMatch, check_etag, query};
use crate::services::cloud::Cloud;
use crate::services::dps::{DpsResponse, Refusal};

/// Processes a request.
pub(super) fn answer(
    cloud: &Cloud,
    action: &Action,
    if_match: &IfMatch,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ApiResponse, Refusal> {
    match action {
        Action::Get(id) => cloud.store.read(|state| {
            let record = state.records.get(&id.to_ascii_lowercase()).ok_or_else(missing)?;
            Ok(DpsResponse::json(200, &record.state).into())
        }),
        Action::Delete(id) => cloud.store.change(|state| {
            let key = id.to_ascii_lowercase();
            check_etag(if_match, state.records.get(&key).ok_or_else(missing)?.state.etag.as_deref())?;
            state.records.remove(&key);
            Ok(ApiResponse::nothing())
        }),
        Action::QueryOf(group) => {
            let page = Page::read(headers, "deviceRegistration", cloud.choices.next_order())?;
            // A request without a body lists all records of the group. A request with a body is a query.
            if !body.is_empty() {
                query::check(body, "deviceRegistrations")?;
            }
            cloud.store.read(|state| {
                let of = |it: &crate::state::model::Record| {
                    it.group.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(group))
                };
                // If a group is deleted, its records stay.
                if !state.groups.contains_key(&group.to_ascii_lowercase()) && !state.records.values().any(of) {
                    return Err(Refusal::new(404, 404_202, "The enrollment group was not found."));
                }
                Ok(page.of(&state.records, |it| of(it).then(|| it.state.clone())))
            })
        }
        Action::Put(_) | Action::Attestation(_) | Action::Query | Action::Bulk => {
            Err(Refusal::generic(405, "The path does not have this method."))
        }
    }
}

/// Source: `[guess]`: a missing registration record gets 404202. The guess is from `[issue]` MicrosoftDocs/azure-docs
/// 57082, which shows 404202 for an object that is not an individual enrollment.
fn missing() -> Refusal {
    Refusal::new(404, 404_202, "The registration was not found.")
}
