//! The size of a section of a twin, updated while patches are merged into the section.

use serde_json::{Map, Value};

/// The size of a section of a twin.
///
/// A client that stores a section updates the size with each patch. The update reads the patch and the values that the
/// patch replaces, but not the whole section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TwinSize {
    /// Number of bytes as a hub counts them, see [`twin::size`](super::twin::size).
    pub counted: usize,
    /// Number of bytes of the section as JSON. This number can be too high by one byte for each object and array.
    ///
    /// The number includes empty objects, empty arrays and each `null` in an array. [`counted`](Self::counted) does not
    /// include these values.
    pub json: usize,
}

impl TwinSize {
    /// Calculates the size of a section. Reads the whole section.
    #[must_use]
    pub fn of(values: &Map<String, Value>) -> Self {
        values.iter().fold(Self::EMPTY_OBJECT, |size, (name, value)| size.plus(Self::of_member(name, value)))
    }

    /// Returns the size of `values` after [merging](super::twin::merge) `patch` into `values`. `self` must be the size
    /// of `values` before the merge.
    ///
    /// Reads only the patch and the values that the patch replaces.
    #[must_use]
    pub fn after(self, values: &Map<String, Value>, patch: &Map<String, Value>) -> Self {
        let mut size = self;
        for (name, change) in patch {
            let old = values.get(name);
            if let (Some(Value::Object(old)), Value::Object(change)) = (old, change) {
                size = size.after(old, change);
                continue;
            }
            if let Some(old) = old {
                size = size.minus(Self::of_member(name, old));
            }
            size = match change {
                Value::Null => size,
                // A new object does not contain the `null` members of the patch.
                Value::Object(change) => {
                    size.plus(Self::of_name(name)).plus(Self::EMPTY_OBJECT).after(&Map::new(), change)
                }
                other => size.plus(Self::of_member(name, other)),
            };
        }
        size
    }

    const EMPTY_OBJECT: Self = Self { counted: 0, json: "{}".len() };

    fn of_member(name: &str, value: &Value) -> Self {
        Self::of_name(name).plus(Self::of_value(value))
    }

    /// The size of a name with its colon and a comma.
    fn of_name(name: &str) -> Self {
        Self { counted: name.len(), json: text_as_json(name) + ":,".len() }
    }

    fn of_value(value: &Value) -> Self {
        let (counted, json) = match value {
            Value::Null => (0, "null".len()),
            Value::Bool(it) => (4, if *it { "true".len() } else { "false".len() }),
            Value::Number(number) => (8, number.to_string().len()),
            Value::String(text) => (text.len(), text_as_json(text)),
            Value::Array(values) => {
                let brackets = Self { counted: 0, json: "[]".len() };
                let comma = Self { counted: 0, json: ",".len() };
                return values.iter().fold(brackets, |size, it| size.plus(Self::of_value(it)).plus(comma));
            }
            Value::Object(values) => return Self::of(values),
        };
        Self { counted, json }
    }

    const fn plus(self, other: Self) -> Self {
        Self { counted: self.counted + other.counted, json: self.json + other.json }
    }

    /// Subtracts `other`, the size of a part of this value.
    const fn minus(self, other: Self) -> Self {
        Self { counted: self.counted.saturating_sub(other.counted), json: self.json.saturating_sub(other.json) }
    }
}

/// Returns the length of a text in JSON, with its quotes.
fn text_as_json(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0..0x20 => "\\u0000".len(),
        _ => 1,
    };
    2 + text.bytes().map(length).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::twin;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is not an object"),
        }
    }

    /// [`TwinSize::json`] counts one comma too many for each object or array that is not empty. Returns the number of
    /// these commas.
    fn spare_commas(value: &Value) -> usize {
        match value {
            Value::Array(values) => usize::from(!values.is_empty()) + values.iter().map(spare_commas).sum::<usize>(),
            Value::Object(values) => usize::from(!values.is_empty()) + values.values().map(spare_commas).sum::<usize>(),
            _ => 0,
        }
    }

    fn check(values: &Map<String, Value>, size: TwinSize) {
        assert_eq!(size.counted, twin::size(values), "{values:?}");
        let value = Value::Object(values.clone());
        assert_eq!(size.json, value.to_string().len() + spare_commas(&value), "{value}");
    }

    #[test]
    fn counts_bytes_as_a_hub_and_as_json() {
        for values in [
            json!({}),
            json!({"ab": "cdé", "n": 1.5, "t": true, "f": false, "x": null, "o": {"p": [1, "zz", [], {}, null]}}),
            json!({"q\"\\": "\u{1}\u{8}\t\n\u{c}\r\u{7f}\u{1f}\"\\/", "big": u64::MAX, "small": -1e-300}),
        ] {
            let values = map(values);
            check(&values, TwinSize::of(&values));
        }
    }

    #[test]
    fn the_size_after_a_patch_equals_a_new_count() {
        for (values, patch) in [
            (json!({}), json!({"a": 1})),
            (json!({"a": 1}), json!({"a": "longer"})),
            (json!({"a": {"b": 1}}), json!({"a": {"c": 2}})),
            (json!({"a": {"b": 1}}), json!({"a": null})),
            (json!({"a": {"b": 1}}), json!({"a": {"b": null}})),
            (json!({"a": {"b": 1}}), json!({"a": [1, null]})),
            (json!({"a": 1}), json!({"a": {"b": {"c": null, "d": {}}}})),
            (json!({}), json!({"gone": null})),
        ] {
            let (mut values, patch) = (map(values), map(patch));
            let size = TwinSize::of(&values).after(&values, &patch);
            twin::merge(&mut values, &patch);
            check(&values, size);
        }
    }

    /// Makes a random value. Uses few member names, so that a patch often changes an existing member.
    fn any(dice: &mut dyn FnMut(u64) -> u64, depth: u64) -> Value {
        match dice(if depth < 4 { 8 } else { 5 }) {
            0 => Value::Null,
            1 => json!(dice(2) == 0),
            2 => json!(dice(100_000)),
            3 | 4 => json!("é\n".repeat(usize::try_from(dice(4)).expect("small"))),
            5 => (0..dice(3)).map(|_| any(dice, depth + 1)).collect(),
            _ => object(dice, depth + 1).into(),
        }
    }

    fn object(dice: &mut dyn FnMut(u64) -> u64, depth: u64) -> Map<String, Value> {
        (0..dice(4))
            .map(|_| (["a", "b", "c\""][usize::try_from(dice(3)).expect("small")].into(), any(dice, depth)))
            .collect()
    }

    #[test]
    fn the_size_after_many_random_patches_equals_a_new_count() {
        for seed in 1..200_u64 {
            let mut state = seed;
            let mut dice = |sides: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % sides
            };
            let mut values = Map::new();
            let mut size = TwinSize::of(&values);
            for _ in 0..20 {
                let patch = object(&mut dice, 0);
                size = size.after(&values, &patch);
                twin::merge(&mut values, &patch);
                check(&values, size);
            }
        }
    }
}
