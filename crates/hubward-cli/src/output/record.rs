//! A JSON record as text for people: one line for each member.

use serde_json::Value;

use super::never::time_or_never;
use super::visible::visible;

/// Maximum width of the column that contains the names. A longer name does not make the column wider.
const WIDE: usize = 40;

/// Printed in place of a key.
const HIDDEN: &str = "(hidden, see --show-keys)";

/// Returns a record as lines, each with a name and a value, such as `initialTwin.tags.site a`.
pub(super) fn described(value: &Value, reveal: bool) -> String {
    let mut lines = Vec::new();
    flatten("", value, reveal, &mut lines);
    aligned(&lines)
}

/// Like [`described`], for members in a given order.
#[cfg(feature = "service")]
pub(super) fn described_members(members: &[(&String, &Value)], reveal: bool) -> String {
    let mut lines = Vec::new();
    flatten_members("", members.iter().copied(), reveal, &mut lines);
    aligned(&lines)
}

fn aligned(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).filter(|it| *it <= WIDE).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn flatten(name: &str, value: &Value, reveal: bool, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => flatten_members(name, members.iter(), reveal, lines),
        Value::Null => {}
        Value::String(text) => lines.push((name.to_owned(), visible(time_or_never(text)))),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

fn flatten_members<'a>(
    name: &str,
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    reveal: bool,
    lines: &mut Vec<(String, String)>,
) {
    // Skip `$metadata`. It contains the time of each change in a twin, which only programs need.
    for (member, value) in members.filter(|(member, _)| *member != "$metadata") {
        let path = if name.is_empty() { visible(member) } else { format!("{name}.{}", visible(member)) };
        if is_key(member) && !reveal && value.as_str().is_some_and(|it| !it.is_empty()) {
            lines.push((path, HIDDEN.to_owned()));
        } else {
            flatten(&path, value, reveal, lines);
        }
    }
}

/// Returns whether the member with this name is a key. DPS and IoT Hub use the same names.
fn is_key(member: &str) -> bool {
    matches!(member, "primaryKey" | "secondaryKey")
}
