//! The property bag at the end of a topic: `key=value&key2&key3=`, percent-encoded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::ProtoError;
use crate::percent::{decode, encode};

/// The properties of a topic, in the order in which the topic contains them.
///
/// A name without `=` has no value. A name with `=` at its end has an empty value, which is different.
///
/// Source: `[sdk]` azure-iot-sdk-csharp, UrlEncodedDictionarySerializer.cs; vectors `telemetry-*`,
/// `decode-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyBag {
    entries: Vec<(String, Option<String>)>,
}

impl PropertyBag {
    /// Sets a property. If the bag already contains the name, the new value replaces the old value at the same
    /// position.
    pub fn set(&mut self, name: impl Into<String>, value: Option<String>) {
        let name = name.into();
        match self.entries.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Returns the value of a property. `None` means that the bag does not contain the property, and `Some(None)` means
    /// that the property has no value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find_map(|(it, value)| (it == name).then_some(value))
    }

    /// Returns all properties, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Returns whether the bag has no properties.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encodes the bag for a topic, without a leading `?`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.iter() {
            push_entry(&mut text, name, value);
        }
        text
    }

    /// Parses a bag at the end of a topic.
    ///
    /// * The bag ends at the first `/`.
    /// * The parser ignores one leading `?`, and does not change `+`.
    /// * If a name occurs twice, the parser uses the last value.
    ///
    /// # Errors
    /// [`ProtoError::PropertyBag`] for an empty name, a second `=`, or text that is not UTF-8.
    ///
    /// Source: as for [`PropertyBag`].
    ///
    /// `[guess]`: the parser ignores a leading `?`. Only examples in `[doc]` iot/iot-mqtt-connect-to-iot-hub.md show
    /// one.
    pub fn parse(text: &str) -> Result<Self, ProtoError> {
        let rule = |rule| ProtoError::PropertyBag { rule };
        let text = text.split('/').next().unwrap_or_default();
        let text = text.strip_prefix('?').unwrap_or(text);
        let mut bag = Self::default();
        if text.is_empty() {
            return Ok(bag);
        }
        // The position of each name in `bag.entries`. A topic can contain thousands of names, and a linear search for
        // each name would take seconds.
        let mut positions: HashMap<String, usize> = HashMap::new();
        for entry in text.split('&') {
            let (name, value) = match entry.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (entry, None),
            };
            if name.is_empty() {
                return Err(rule("a name is empty"));
            }
            if value.is_some_and(|it| it.contains('=')) {
                return Err(rule("a value contains `=` that is not percent-encoded"));
            }
            let text = |it| decode(it).ok_or_else(|| rule("a name or value is not UTF-8"));
            let (name, value) = (text(name)?, value.map(text).transpose()?);
            match positions.entry(name.clone()) {
                Entry::Occupied(position) => bag.entries[*position.get()].1 = value,
                Entry::Vacant(position) => {
                    position.insert(bag.entries.len());
                    bag.entries.push((name, value));
                }
            }
        }
        Ok(bag)
    }
}

/// Appends one property to the text of an encoded bag.
pub(crate) fn push_entry(text: &mut String, name: &str, value: Option<&str>) {
    if !text.is_empty() {
        text.push('&');
    }
    text.extend(encode(name));
    if let Some(value) = value {
        text.push('=');
        text.extend(encode(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(entries: &[(&str, Option<&str>)]) -> PropertyBag {
        let mut bag = PropertyBag::default();
        for (name, value) in entries {
            bag.set(*name, value.map(str::to_owned));
        }
        bag
    }

    #[test]
    fn a_missing_value_differs_from_an_empty_value() {
        for (text, expected) in [
            ("", bag(&[])),
            ("?", bag(&[])),
            ("flag", bag(&[("flag", None)])),
            ("flag=", bag(&[("flag", Some(""))])),
            ("?a=1&b=2", bag(&[("a", Some("1")), ("b", Some("2"))])),
            ("k=a+b", bag(&[("k", Some("a+b"))])),
            ("k=v/", bag(&[("k", Some("v"))])),
            ("k=v/x=y", bag(&[("k", Some("v"))])),
            ("a=1&a=2", bag(&[("a", Some("2"))])),
            ("%24.mid=m%201&$.cid=c", bag(&[("$.mid", Some("m 1")), ("$.cid", Some("c"))])),
        ] {
            assert_eq!(PropertyBag::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(bag(&[("a b", None), ("c", Some("")), ("d", Some("é/"))]).encode(), "a%20b&c=&d=%C3%A9%2F");
    }

    #[test]
    fn refuses_bags_that_break_the_grammar() {
        for text in ["=v", "a=1&", "a=1&&b=2", "a=b=c", "a=%FF"] {
            assert!(PropertyBag::parse(text).is_err(), "{text}");
        }
    }
}
