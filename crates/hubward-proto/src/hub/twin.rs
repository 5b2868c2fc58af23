//! A device twin: its two halves, how a patch changes one, and what a hub lets in.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{ProtoError, limits};

/// The twin as a device sees it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Twin {
    /// What the cloud wants.
    pub desired: Properties,
    /// What the device has said.
    pub reported: Properties,
}

impl Twin {
    /// Reads the answer to a device's question: `{"desired":{…,"$version":4},"reported":{…}}`.
    ///
    /// # Errors
    /// [`ProtoError::Json`] or [`ProtoError::Missing`].
    ///
    /// Source: `[doc]` iot-hub/iot-hub-mqtt-support.md, "Retrieving a device twin's properties".
    pub fn parse(body: &[u8]) -> Result<Self, ProtoError> {
        let Value::Object(mut both) =
            serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))?
        else {
            return Err(ProtoError::Unexpected("the twin is no JSON object".into()));
        };
        let mut half = |name| match both.remove(name) {
            Some(Value::Object(map)) => Properties::from_wire(map),
            _ => Err(ProtoError::Missing(name)),
        };
        Ok(Self { desired: half("desired")?, reported: half("reported")? })
    }

    /// The answer to a device's question.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let both = serde_json::json!({ "desired": self.desired.to_wire(), "reported": self.reported.to_wire() });
        both.to_string().into_bytes()
    }
}

/// Properties with their version. `$metadata` and other names with `$` are not among them.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// Counts the changes.
    pub version: u64,
    /// The properties.
    pub values: Map<String, Value>,
}

impl Properties {
    /// Properties of a version.
    #[must_use]
    pub const fn new(version: u64, values: Map<String, Value>) -> Self {
        Self { version, values }
    }

    /// Takes `$version` and everything else that begins with `$` out of an object.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] without a version.
    pub fn from_wire(mut values: Map<String, Value>) -> Result<Self, ProtoError> {
        let version = values.get("$version").and_then(Value::as_u64).ok_or(ProtoError::Missing("$version"))?;
        values.retain(|name, _| !name.starts_with('$'));
        Ok(Self { version, values })
    }

    /// Reads the body of a notice: a patch with `$version`.
    ///
    /// # Errors
    /// [`ProtoError::Json`] or [`ProtoError::Missing`].
    pub fn parse_patch(body: &[u8]) -> Result<Self, ProtoError> {
        let values = serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))?;
        Self::from_wire(values)
    }

    /// The object with `$version` in it.
    #[must_use]
    pub fn to_wire(&self) -> Value {
        let mut values = self.values.clone();
        values.insert("$version".into(), self.version.into());
        Value::Object(values)
    }

    /// One property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The properties as a type of the program.
    ///
    /// # Errors
    /// What serde says, if they do not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.values.clone()))
    }
}

/// Applies a patch: objects are merged, `null` removes, anything else replaces. The result holds no
/// `null`, also not where the patch brings a new object with one in it.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin update"; RFC 7396.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(change) => {
                let slot = target.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, change);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// Bytes of properties as a hub counts them: UTF-8 of names and texts, 8 for a number, 4 for a truth
/// value, nothing for `null`.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size". That an element of an
/// array counts by the same rules is a `[guess]`.
#[must_use]
pub fn size(values: &Map<String, Value>) -> usize {
    values.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

/// As [`size`] of a patch: what it removes takes up nothing, not even by its name.
fn size_of_patch(values: &Map<String, Value>) -> usize {
    let stays = values.iter().filter(|(_, value)| !value.is_null());
    let sizes = stays.map(|(name, value)| {
        name.len()
            + match value {
                Value::Object(values) => size_of_patch(values),
                other => size_of_value(other),
            }
    });
    sizes.sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size_of_value).sum(),
        Value::Object(values) => size(values),
    }
}

/// Whether a hub would take these properties: names, texts, numbers, depth, and the size of the whole
/// up to `limit`.
///
/// # Errors
/// [`ProtoError::TooLarge`] with size and limit, [`ProtoError::Property`] with path and rule.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format"; `[seen]`
/// Azure/azure-iot-sdk-java, issue 243, and CGI-FR/IoT-Hub-Portal, issue 631, for `#`. That an array is a level
/// too is a `[guess]`: the documentation counts objects and says nothing of arrays.
pub fn check(values: &Map<String, Value>, limit: usize) -> Result<(), ProtoError> {
    check_object(values, "", 0)?;
    at_most(size(values), limit)
}

/// Whether a hub may take this patch of properties: as [`check`], but what it removes does not count
/// for its size. Whether the section has room for it after that, only the hub knows.
///
/// # Errors
/// As [`check`].
pub fn check_patch(patch: &Map<String, Value>, limit: usize) -> Result<(), ProtoError> {
    check_object(patch, "", 0)?;
    at_most(size_of_patch(patch), limit)
}

fn at_most(size: usize, limit: usize) -> Result<(), ProtoError> {
    if size > limit {
        return Err(ProtoError::TooLarge { what: "the twin's section", size, limit });
    }
    Ok(())
}

/// `depth` is 0 for the section itself.
fn check_object(values: &Map<String, Value>, path: &str, depth: usize) -> Result<(), ProtoError> {
    for (name, value) in values {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let problem = if name.is_empty() {
            Some("a name is empty")
        } else if name.len() > limits::TWIN_NAME_MAX {
            Some("a name may have 1024 bytes")
        } else if name.chars().any(|it| it.is_control() || matches!(it, '.' | '$' | '#' | ' ')) {
            Some("a name may not hold control characters, `.`, `$`, `#` or a space")
        } else {
            None
        };
        if let Some(rule) = problem {
            return Err(ProtoError::property(&path, rule));
        }
        check_value(value, &path, depth)?;
    }
    Ok(())
}

fn check_value(value: &Value, path: &str, depth: usize) -> Result<(), ProtoError> {
    match value {
        Value::Object(_) | Value::Array(_) if depth == limits::TWIN_DEPTH_MAX => {
            Err(ProtoError::property(path, "at most 10 levels are allowed"))
        }
        Value::String(text) if text.len() > limits::TWIN_TEXT_MAX => {
            Err(ProtoError::property(path, "a text may have 4096 bytes"))
        }
        Value::Number(number) => {
            let whole = number.as_i64().map_or_else(|| number.as_u64().map(i128::from), |it| Some(i128::from(it)));
            match whole {
                Some(whole) if !(limits::TWIN_INTEGER_MIN..=limits::TWIN_INTEGER_MAX).contains(&whole) => {
                    Err(ProtoError::property(path, "a whole number may have 52 bits and a sign"))
                }
                _ => Ok(()),
            }
        }
        Value::Array(values) => values.iter().try_for_each(|it| check_value(it, path, depth + 1)),
        Value::Object(values) => check_object(values, path, depth + 1),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    /// RFC 7396, appendix A, as far as both sides are objects; then what a twin adds.
    #[test]
    fn merges_as_the_rfc_says() {
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
            (json!({"a":1}), json!({"a":{"b":1}}), json!({"a":{"b":1}})),
        ] {
            let mut result = map(target.clone());
            merge(&mut result, &map(patch.clone()));
            assert_eq!(Value::Object(result), expected, "{target} + {patch}");
        }
    }

    #[test]
    fn reads_a_twin_and_leaves_the_services_names_out() {
        let body = br#"{"desired":{"fan":1,"$version":4,"$metadata":{}},"reported":{"$version":7}}"#;
        let twin = Twin::parse(body).expect("a twin");
        assert_eq!(twin.desired, Properties::new(4, map(json!({"fan": 1}))));
        assert_eq!((twin.reported.version, twin.reported.values.len()), (7, 0));
        assert_eq!(Twin::parse(&twin.encode()).expect("our own"), twin);
        for wrong in [&b"[]"[..], b"{}", br#"{"desired":{},"reported":{}}"#, b"", br#"{"desired":{"$version":1}}"#] {
            assert!(Twin::parse(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(Properties::parse_patch(br#"{"a":null,"$version":5}"#).expect("a patch").version, 5);
    }

    #[test]
    fn counts_as_the_service_counts() {
        assert_eq!(
            size(&map(json!({"ab": "cdé", "n": 1.5, "t": true, "x": null, "o": {"p": [1, "zz"]}}))),
            6 + 9 + 5 + 1 + 12
        );
    }

    #[test]
    fn lets_in_what_a_hub_lets_in() {
        // The documentation's own example of what is just allowed, below `tags`.
        let documented = r#"{"one":{"two":{"three":{"four":{"five":{"six":{"seven":{"eight":{"nine":{"ten":{
            "property":"value"}}}}}}}}}}}"#;
        let deep: Value = serde_json::from_str(documented).expect("the documented JSON");
        let lists = |count: usize| (0..count).fold(json!(1), |it, _| json!([it]));
        for (values, valid) in [
            (json!({"fan": {"speed": 1}, "list": [1, {"a": 2}], "gone": null}), true),
            (deep.clone(), true),
            (json!({ "zero": deep }), false),
            (json!({ "list": lists(10) }), true),
            (json!({ "list": lists(11) }), false),
            (json!({ "list": [deep["one"]["two"]] }), true),
            (json!({ "list": [deep["one"]] }), false),
            (json!({"a.b": 1}), false),
            (json!({"$a": 1}), false),
            (json!({"a b": 1}), false),
            (json!({"a#b": 1}), false),
            (json!({"": 1}), false),
            (json!({"a": {"b.c": 1}}), false),
            (json!({"a": "x".repeat(4096)}), true),
            (json!({"a": "x".repeat(4097)}), false),
            (json!({"a": 4_503_599_627_370_495_i64, "b": -4_503_599_627_370_496_i64, "c": 1e300}), true),
            (json!({"a": 4_503_599_627_370_496_i64}), false),
            (json!({"a": u64::MAX}), false),
        ] {
            let checked = check(&map(values.clone()), limits::TWIN_PROPERTIES_MAX);
            assert_eq!(
                checked.is_ok(),
                valid,
                "{}: {checked:?}",
                values.to_string().chars().take(80).collect::<String>()
            );
        }
        let error = check(&map(json!({"abc": "def"})), 5).expect_err("6 bytes");
        assert_eq!(error.to_string(), "the twin's section has 6 bytes, but at most 5 are allowed");
    }

    #[test]
    fn what_a_patch_removes_does_not_count_for_its_size() {
        let patch = json!({"abc": "def", "gone": null, "o": {"gone_too": null, "k": 1}, "l": [null]});
        let expected = "abc".len() + "def".len() + "o".len() + "k".len() + 8 + "l".len();
        assert_eq!(check_patch(&map(patch.clone()), expected), Ok(()));
        assert!(matches!(
            check_patch(&map(patch), expected - 1),
            Err(ProtoError::TooLarge { size, .. }) if size == expected
        ));
        // A hub's whole section, removed.
        let many: Map<_, _> = (0..64).map(|it| (format!("{it:01000}"), Value::Null)).collect();
        assert!(check(&many, limits::TWIN_PROPERTIES_MAX).is_err());
        assert_eq!(check_patch(&many, limits::TWIN_PROPERTIES_MAX), Ok(()));
        assert!(check_patch(&map(json!({"a.b": null})), 100).is_err(), "a name is a name");
    }
}
