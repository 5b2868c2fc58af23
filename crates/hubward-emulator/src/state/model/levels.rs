//! The maximum nesting depth of JSON from clients that the emulator stores.

use serde::Serialize;
use serde_json::Value;

use super::enroll_error::EnrollError;

/// Maximum number of levels.
const MAX: usize = 64;

/// Refuses JSON with more than [`MAX`] levels.
///
/// The JSON parser accepts 127 levels. The limit is lower, because the JSON is later stored inside a row of the state
/// file and inside an export. Both add levels, and the parser must accept the result.
pub(crate) fn check(id: &str, what: &str, kept: &impl Serialize) -> Result<(), EnrollError> {
    if serde_json::to_value(kept).is_ok_and(|it| !are_too_many(&it)) {
        return Ok(());
    }
    let problem = format!("{what} has more than {MAX} levels of objects and arrays");
    Err(EnrollError::Setting { id: id.to_owned(), problem })
}

/// Whether a value has too many levels of objects and arrays.
pub(crate) fn are_too_many(value: &Value) -> bool {
    exceed(value, MAX)
}

fn exceed(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(values) => most == 0 || values.iter().any(|it| exceed(it, most - 1)),
        Value::Object(values) => most == 0 || values.values().any(|it| exceed(it, most - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_and_arrays_are_levels() {
        for wrap in [|it| json!([1, it]), |it| json!({ "a": 1, "b": it })] {
            let value = (0..MAX).fold(json!(1), |inner, _| wrap(inner));
            assert!(!are_too_many(&value));
            assert!(are_too_many(&wrap(value)));
        }
    }
}
