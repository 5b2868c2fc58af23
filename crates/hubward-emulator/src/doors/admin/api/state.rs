//! `GET /api/export`, `POST /api/import`, `POST /api/reset`: the whole state.

use serde_json::{Value, json};

use super::Failure;
use crate::services::cloud::Cloud;
use crate::services::maintenance;
use crate::state::model::export as exported;
use crate::state::model::{Seed, SeedError};

/// The state as a seed, with all keys.
pub(super) fn export(cloud: &Cloud) -> Value {
    serde_json::to_value(cloud.store.read(exported)).expect("a seed always serializes")
}

/// Imports a seed into the state. Returns what changed.
pub(super) fn import(cloud: &Cloud, body: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::wrong("The body is not UTF-8."))?;
    let seed = Seed::from_json(text).map_err(|problem| refused(&problem))?;
    let report = maintenance::import(cloud, &seed).map_err(|problem| refused(&problem))?;
    Ok(serde_json::to_value(report).expect("numbers always serialize"))
}

pub(super) fn reset(cloud: &Cloud) -> Result<Value, Failure> {
    let failed = |problem| format!("The state was reset, but the start's seed could not be applied: {problem}.");
    maintenance::reset(cloud).map_err(|problem| Failure::new(500, failed(problem)))?;
    Ok(json!({ "status": "ok" }))
}

fn refused(problem: &SeedError) -> Failure {
    Failure::wrong(match problem {
        SeedError::Enrollment(problem) => format!("Nothing is imported: {problem}."),
        problem => format!("Nothing is imported: {problem}."),
    })
}
