//! The query language for twins: `POST /devices/query`.

mod cursor;
mod eval;
mod expression;
mod functions;
mod lexer;
mod parse;
mod run;
mod tree;

use std::ops::Bound;

use http::header::HeaderMap;
use hubward_proto::service::http::MAX_ITEM_COUNT;
use hubward_proto::service::{Capabilities, QuerySpecification};
use serde_json::Value;

pub(crate) use tree::Query;

use super::super::page::PageRequest;
use super::{ApiResponse, Problem};
use crate::services::cloud::Cloud;
use crate::state::model::twin_view;
use run::Batch;
use tree::Collection;

/// Number of identities that are read before the lock is released.
const BATCH: usize = 128;

/// Answers a query for a hub's twins.
///
/// # Cancel safety
/// Dropping the future loses nothing; a query only reads.
pub(super) async fn answer(cloud: &Cloud, hub: &str, headers: &HeaderMap, body: &[u8]) -> Result<ApiResponse, Problem> {
    let QuerySpecification { query: text } = super::read(body, b'{')?;
    let mut wanted = PageRequest::read(headers).map_err(Problem::invalid)?;
    wanted.order = cloud.choices.next_order();
    let query = Query::parse(&text)?;
    let modules = query.from() == Collection::Modules;
    let next = |after: Option<String>| async move {
        // Other tasks can run between two batches.
        tokio::task::yield_now().await;
        batch(cloud, hub, modules, after.as_deref())
    };
    let (body, mut headers) = query.run(&text, &wanted, next).await.map_err(Problem::invalid)?;
    // Only DPS returns this header; a hub does not.
    headers.retain(|(name, _)| *name != MAX_ITEM_COUNT);
    Ok(ApiResponse { status: 200, body, headers })
}

/// Reads the next twins. Holds the lock only for this batch.
///
/// Source: `[seen]` recordings of azure-sdk-for-net, of 2021: a query for modules returns `capabilities`. A GET of a
/// module's twin does not return `capabilities`.
fn batch(cloud: &Cloud, hub: &str, modules: bool, after: Option<&str>) -> Batch {
    cloud.store.read(|state| {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let devices = state.hub(hub).map(|it| it.devices.range::<str, _>((from, Bound::Unbounded)));
        let ids: Vec<&String> = devices.into_iter().flatten().map(|(id, _)| id).take(BATCH).collect();
        let last = (ids.len() == BATCH).then(|| ids.last().map(|it| (*it).clone())).flatten();
        let twin = |id: &String| {
            let mut twin = serde_json::to_value(twin_view(state, hub, id)?).ok()?;
            if modules {
                twin["capabilities"] = serde_json::json!(Capabilities::default());
            }
            Some((id.clone(), twin))
        };
        let documents = ids.into_iter().filter(|it| it.contains('/') == modules).filter_map(twin).collect();
        Batch { documents, last }
    })
}

/// Source: for the code, `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md.
///
/// Our text is different. Clients of the real service have seen: "The query is invalid. Please check the format of the
/// query and try again."
impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Query(invalid) => Self::invalid(invalid.to_string()),
            QueryError::NotEmulated(what) => Self::not_emulated(&what),
        }
    }
}

/// Why a query fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// The query is not valid.
    #[error(transparent)]
    Query(#[from] Invalid),
    /// The real service supports the query, but the emulator does not.
    #[error("The emulator does not emulate {0}.")]
    NotEmulated(String),
}

/// The error of an invalid query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The query is invalid at character {at}: {message}.")]
pub(crate) struct Invalid {
    /// Position of the error, counted from 1.
    at: usize,
    message: String,
}

impl Invalid {
    fn new(at: usize, message: &str) -> Self {
        Self { at, message: message.to_owned() }
    }
}

/// Parses a query and runs it on one document. Returns `None` if the query is not valid. For the fuzz targets.
pub(crate) fn query_of(text: &str, document: &Value) -> Option<Option<Value>> {
    Query::parse(text).ok().map(|query| query.shows(document))
}

#[cfg(test)]
mod tests;
