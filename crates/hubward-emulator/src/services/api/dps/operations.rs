//! The operations on individual enrollments and on groups.

use http::header::HeaderMap;

use super::kind::{Kind, attestation, delete, find, put, read, shown};
use super::path::Action;
use super::query::{self, Page};
use super::{ApiResponse, IfMatch, bulk};
use crate::services::cloud::Cloud;
use crate::services::dps::{DpsResponse, Refusal};

/// Processes a request.
pub(super) fn answer<K: Kind>(
    cloud: &Cloud,
    action: &Action,
    if_match: &IfMatch,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ApiResponse, Refusal> {
    match action {
        Action::Get(id) => cloud.store.read(|state| {
            let model = shown(find::<K>(state, id)?).with_registration(state);
            Ok(DpsResponse::json(200, &model).into())
        }),
        Action::Attestation(id) => {
            cloud.store.read(|state| Ok(DpsResponse::json(200, &attestation(find::<K>(state, id)?)).into()))
        }
        Action::Put(id) => {
            let model: K = read(body)?;
            if !model.id().eq_ignore_ascii_case(id) {
                return Err(Refusal::generic(400, "The id in the body differs from the id in the path."));
            }
            let now = cloud.clock.now();
            let entry = cloud.store.change(|state| put(state, model, if_match, now))?;
            let mut model = shown(&entry);
            model.settings_mut().attestation = Some(attestation(&entry));
            Ok(DpsResponse::json(200, &model).into())
        }
        Action::Delete(id) => {
            cloud.store.change(|state| delete::<K>(state, id, if_match))?;
            Ok(ApiResponse::nothing())
        }
        Action::Query => {
            let page = Page::read(headers, K::ITEM_TYPE, cloud.choices.next_order())?;
            query::check(body, K::TABLE)?;
            Ok(cloud.store.read(|state| page.of(K::entries(state), |it| Some(shown(it)))))
        }
        Action::Bulk => bulk::answer::<K>(cloud, body),
        Action::QueryOf(_) => Err(Refusal::generic(405, "The path does not have this method.")),
    }
}
