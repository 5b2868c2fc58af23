//! `GET /api/export`, `POST /api/import`, `POST /api/reset`: the whole state.

use serde_json::{Value, json};

use super::Failure;
use crate::shared::Shared;
use crate::store::export as exported;
use crate::{Seed, SeedError};

/// The state as a seed, with all keys.
pub(super) fn export(shared: &Shared) -> Value {
    serde_json::to_value(shared.store.read(exported)).expect("a seed always serializes")
}

/// Imports a seed into the state. Returns what changed.
pub(super) fn import(shared: &Shared, body: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::wrong("The body is not UTF-8."))?;
    let seed = Seed::from_json(text).map_err(|problem| refused(&problem))?;
    let report = shared.import(&seed).map_err(|problem| refused(&problem))?;
    Ok(serde_json::to_value(report).expect("numbers always serialize"))
}

pub(super) fn reset(shared: &Shared) -> Result<Value, Failure> {
    let failed = |problem| format!("The state was reset, but the start's seed could not be applied: {problem}.");
    shared.reset().map_err(|problem| Failure::new(500, failed(problem)))?;
    Ok(json!({ "status": "ok" }))
}

fn refused(problem: &SeedError) -> Failure {
    Failure::wrong(match problem {
        SeedError::Enrollment(problem) => format!("Nothing is imported: {problem}."),
        problem => format!("Nothing is imported: {problem}."),
    })
}
