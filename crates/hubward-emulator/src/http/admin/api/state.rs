//! `GET /api/export`, `POST /api/import`, `POST /api/reset`: the state as a whole.

use serde_json::{Value, json};

use super::Failure;
use crate::shared::Shared;
use crate::store::export as exported;
use crate::{Seed, SeedError};

/// A seed, with all keys.
pub(super) fn export(shared: &Shared) -> Value {
    serde_json::to_value(shared.store.read(exported)).expect("a seed always serializes")
}

/// Puts a seed into the state; says what it did.
pub(super) fn import(shared: &Shared, body: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::wrong("The body is no UTF-8."))?;
    let seed = Seed::from_json(text).map_err(|problem| refused(&problem))?;
    let report = shared.import(&seed).map_err(|problem| refused(&problem))?;
    Ok(serde_json::to_value(report).expect("numbers always serialize"))
}

pub(super) fn reset(shared: &Shared) -> Result<Value, Failure> {
    shared.reset().map_err(|problem| Failure::new(500, format!("It is not all there again: {problem}.")))?;
    Ok(json!({ "status": "ok" }))
}

fn refused(problem: &SeedError) -> Failure {
    Failure::wrong(match problem {
        SeedError::Enrollment(problem) => format!("Nothing is imported: {problem}."),
        problem => format!("Nothing is imported: {problem}."),
    })
}
