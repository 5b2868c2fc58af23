//! Bulk requests for enrollments.

use std::time::SystemTime;

use hubward_proto::service::{BulkError, BulkMode, BulkResult};

use super::kind::{Kind, delete, put, read};
use super::{ApiResponse, IfMatch};
use crate::services::cloud::Cloud;
use crate::services::dps::{DpsResponse, Refusal};
use crate::state::model::State;

/// Source: `[doc]` azure-rest-api-specs, bulk routes.
const MAX: usize = 10;

/// Processes the enrollments in order. If DPS refuses one enrollment, DPS still processes the remaining enrollments.
///
/// Source: `[doc]` azure-rest-api-specs, bulk routes: the status is always 200, even if enrollments are refused.
/// `[guess]`, from the list of errors: DPS processes the other enrollments.
pub(super) fn answer<K: Kind>(cloud: &Cloud, body: &[u8]) -> Result<ApiResponse, Refusal> {
    let (mode, models) = K::of_bulk(read(body)?);
    if let BulkMode::Unknown(word) = &mode {
        return Err(Refusal::generic(400, format!("Unknown mode `{word}`.")));
    }
    if !(1..=MAX).contains(&models.len()) {
        return Err(Refusal::generic(400, "A bulk request must have one to ten enrollments."));
    }
    let now = cloud.clock.now();
    let errors: Vec<BulkError> = cloud.store.change(|state| {
        let one = |model: K| {
            let id = model.id().to_owned();
            let refusal = apply(state, &mode, model, now).err()?;
            Some(K::bulk_error(id, refusal.code, refusal.message))
        };
        models.into_iter().filter_map(one).collect()
    });
    Ok(DpsResponse::json(200, &BulkResult { is_successful: errors.is_empty(), errors }).into())
}

fn apply<K: Kind>(state: &mut State, mode: &BulkMode, model: K, now: SystemTime) -> Result<(), Refusal> {
    let if_match = match mode {
        BulkMode::Create => IfMatch::Absent,
        BulkMode::UpdateIfMatchEtag => match model.settings().etag.as_deref().map(IfMatch::parse) {
            Some(it @ (IfMatch::Etag(_) | IfMatch::Any)) => it,
            _ => return Err(Refusal::generic(400, "The mode updateIfMatchETag requires an etag.")),
        },
        _ => IfMatch::Any,
    };
    if *mode == BulkMode::Delete {
        return delete::<K>(state, model.id(), &if_match);
    }
    put(state, model, &if_match, now).map(drop)
}
