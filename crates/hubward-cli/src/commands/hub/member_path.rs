//! Members of a JSON record by their paths: `authentication.symmetricKey.primaryKey`.

use serde_json::{Value, json};

use crate::failure::Failure;

/// Parses `path=value`.
pub(super) fn assignment(text: &str) -> Result<(&str, Value), Failure> {
    let (path, value) = text
        .split_once('=')
        .filter(|(path, _)| !path.trim().is_empty())
        .ok_or_else(|| Failure::usage(format!("--set {text}: write PATH=VALUE, such as status=disabled")))?;
    Ok((path.trim(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// Sets the member at this path. Creates the objects along the path that do not exist.
pub(super) fn set(record: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    let mut place = record;
    for name in path.split('.') {
        if place.is_null() {
            *place = json!({});
        }
        let Value::Object(members) = place else {
            return Err(Failure::usage(format!("cannot set {path}: the parent of `{name}` is not an object")));
        };
        place = members.entry(name).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_member_can_be_set_by_its_path() {
        let mut device = json!({"status": "enabled", "authentication": null});
        for text in ["status=disabled", "statusReason=3", "authentication.symmetricKey.primaryKey=a=b", "x={\"y\":1}"] {
            let (path, value) = assignment(text).expect("an assignment");
            set(&mut device, path, value).expect("a place");
        }
        let expected = json!({"status": "disabled", "statusReason": 3, "x": {"y": 1},
            "authentication": {"symmetricKey": {"primaryKey": "a=b"}}});
        assert_eq!(device, expected);
        assert!(assignment("status").is_err() && assignment("=x").is_err());
        assert!(set(&mut device, "status.x", json!(1)).is_err());
    }
}
