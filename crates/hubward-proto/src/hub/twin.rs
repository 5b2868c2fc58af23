//! A device twin: its properties, how a patch changes them, and which properties a hub accepts.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{ProtoError, limits};

/// The twin as a device gets it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Twin {
    /// The desired properties, which the cloud sets.
    pub desired: Properties,
    /// The reported properties, which the device sets.
    pub reported: Properties,
}

impl Twin {
    /// Parses the response to a device's twin request: `{"desired":{…,"$version":4},"reported":{…}}`.
    ///
    /// # Errors
    /// [`ProtoError::Json`] or [`ProtoError::Missing`].
    ///
    /// Source: `[doc]` iot-hub/iot-hub-mqtt-support.md, "Retrieving a device twin's properties".
    pub fn parse(body: &[u8]) -> Result<Self, ProtoError> {
        let Value::Object(mut both) =
            serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))?
        else {
            return Err(ProtoError::Unexpected("the twin is not a JSON object".into()));
        };
        let mut section = |name| match both.remove(name) {
            Some(Value::Object(map)) => Properties::from_wire(map),
            _ => Err(ProtoError::Missing(name)),
        };
        Ok(Self { desired: section("desired")?, reported: section("reported")? })
    }

    /// Encodes the response to a device's twin request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let both = serde_json::json!({ "desired": self.desired.to_wire(), "reported": self.reported.to_wire() });
        both.to_string().into_bytes()
    }
}

/// Properties and their version. The properties contain no `$metadata` and no other name that begins with `$`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// The version. It grows with each change.
    pub version: u64,
    /// The properties.
    pub values: Map<String, Value>,
}

impl Properties {
    /// Creates properties with a version.
    #[must_use]
    pub const fn new(version: u64, values: Map<String, Value>) -> Self {
        Self { version, values }
    }

    /// Converts a JSON object. Takes the version from `$version`, and removes the top-level names that begin with `$`.
    ///
    /// # Errors
    /// [`ProtoError::Missing`] if the object has no version.
    pub fn from_wire(mut values: Map<String, Value>) -> Result<Self, ProtoError> {
        let version = values.get("$version").and_then(Value::as_u64).ok_or(ProtoError::Missing("$version"))?;
        values.retain(|name, _| !name.starts_with('$'));
        Ok(Self { version, values })
    }

    /// Parses the body of a change notification: a patch with `$version`.
    ///
    /// # Errors
    /// [`ProtoError::Json`] or [`ProtoError::Missing`].
    pub fn parse_patch(body: &[u8]) -> Result<Self, ProtoError> {
        let values = serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))?;
        Self::from_wire(values)
    }

    /// Returns a JSON object with the properties and `$version`.
    #[must_use]
    pub fn to_wire(&self) -> Value {
        let mut values = self.values.clone();
        values.insert("$version".into(), self.version.into());
        Value::Object(values)
    }

    /// Returns the value of a property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Deserializes the properties into a type of the program.
    ///
    /// # Errors
    /// If the properties do not match the type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.values.clone()))
    }
}

/// Applies a patch to `target`. `null` removes a property, an object is merged into the old object, and any other value
/// replaces the old value.
///
/// If the patch contains an object and the target has no object at this place, the object from the patch becomes the
/// new value, without its `null` members.
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

/// Returns the size of properties in bytes as a hub counts it. Names and strings count their UTF-8 bytes. A number
/// counts 8 bytes, a Boolean 4 bytes, and `null` 0 bytes.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size"; that the elements of an array count by
/// the same rules is a `[guess]`.
#[must_use]
pub fn size(values: &Map<String, Value>) -> usize {
    values.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

/// Returns the size of a patch. Counts as [`size`] does, but ignores each property that the patch removes.
fn size_of_patch(values: &Map<String, Value>) -> usize {
    let kept = values.iter().filter(|(_, value)| !value.is_null());
    let sizes = kept.map(|(name, value)| {
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

/// Checks the names, strings, numbers and depth of the properties, and that their total size is at most `limit` bytes.
/// A hub refuses properties that fail a check.
///
/// # Errors
/// [`ProtoError::TooLarge`] with size and limit, [`ProtoError::Property`] with path and rule.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format". A name must not contain
/// `#`: `[seen]` Azure/azure-iot-sdk-java, issue 243, and CGI-FR/IoT-Hub-Portal, issue 631.
///
/// `[guess]`: an array counts as a level of depth. The documentation counts objects and does not mention arrays.
pub fn check(values: &Map<String, Value>, limit: usize) -> Result<(), ProtoError> {
    check_object(values, "", 0)?;
    at_most(size(values), limit)
}

/// Checks a patch with the rules of [`check`]. Properties that the patch removes do not count for the size.
///
/// A hub may still refuse a patch that passes this check. Only the hub knows the size of the whole section after the
/// change.
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

/// Checks the members of an object. `depth` is the depth of the object below the section; the section itself has depth
/// 0.
fn check_object(values: &Map<String, Value>, path: &str, depth: usize) -> Result<(), ProtoError> {
    for (name, value) in values {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let problem = if name.is_empty() {
            Some("a name is empty")
        } else if name.len() > limits::TWIN_NAME_MAX {
            Some("a name may have at most 1024 bytes")
        } else if name.chars().any(|it| it.is_control() || matches!(it, '.' | '$' | '#' | ' ')) {
            Some("a name must not contain control characters, `.`, `$`, `#` or a space")
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
            Err(ProtoError::property(path, "a string may have at most 4096 bytes"))
        }
        Value::Number(number) => {
            let integer = number.as_i64().map_or_else(|| number.as_u64().map(i128::from), |it| Some(i128::from(it)));
            match integer {
                Some(integer) if !(limits::TWIN_INTEGER_MIN..=limits::TWIN_INTEGER_MAX).contains(&integer) => {
                    Err(ProtoError::property(path, "an integer may have at most 52 bits and a sign"))
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
            other => panic!("{other} is not an object"),
        }
    }

    /// The cases are examples of RFC 7396, appendix A: all examples whose target and patch are objects, without the one
    /// whose target contains `null`.
    ///
    /// The last case is not from the RFC: an object replaces a number.
    #[test]
    fn merges_as_the_rfc_requires() {
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
    fn parses_a_twin_without_the_names_of_the_service() {
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
    fn counts_bytes_as_the_service_does() {
        assert_eq!(
            size(&map(json!({"ab": "cdé", "n": 1.5, "t": true, "x": null, "o": {"p": [1, "zz"]}}))),
            6 + 9 + 5 + 1 + 12
        );
    }

    #[test]
    fn accepts_the_same_properties_as_a_hub() {
        // The documentation's example of the deepest allowed object, below `tags`.
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
    fn properties_that_a_patch_removes_do_not_count_for_its_size() {
        let patch = json!({"abc": "def", "gone": null, "o": {"gone_too": null, "k": 1}, "l": [null]});
        let expected = "abc".len() + "def".len() + "o".len() + "k".len() + 8 + "l".len();
        assert_eq!(check_patch(&map(patch.clone()), expected), Ok(()));
        assert!(matches!(
            check_patch(&map(patch), expected - 1),
            Err(ProtoError::TooLarge { size, .. }) if size == expected
        ));
        // A patch that removes a whole section.
        let many: Map<_, _> = (0..64).map(|it| (format!("{it:01000}"), Value::Null)).collect();
        assert!(check(&many, limits::TWIN_PROPERTIES_MAX).is_err());
        assert_eq!(check_patch(&many, limits::TWIN_PROPERTIES_MAX), Ok(()));
        assert!(check_patch(&map(json!({"a.b": null})), 100).is_err(), "the rules for names still apply");
    }
}
