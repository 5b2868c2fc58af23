//! Replaces the parts of an observation that differ from run to run. Without these parts, the run can compare the
//! observations of two clouds.

use serde_json::Value;

/// The names that one run uses. Each name has a placeholder.
#[derive(Debug)]
pub(super) struct Names(Vec<(String, &'static str)>);

impl Names {
    pub(super) fn new(names: impl IntoIterator<Item = (String, &'static str)>) -> Self {
        let mut names: Vec<_> = names.into_iter().filter(|it| !it.0.is_empty()).collect();
        // The longest name is first, because a name may contain a shorter name.
        names.sort_by_key(|it| std::cmp::Reverse(it.0.len()));
        Self(names)
    }

    /// Replaces names, GUIDs and times.
    pub(super) fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, placeholder) in &self.0 {
            text = text.replace(name.as_str(), placeholder);
        }
        let mut plain = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some((length, placeholder)) = volatile(rest.as_bytes(), plain.as_bytes().last()) {
                plain.push_str(placeholder);
                rest = &rest[length..];
            } else {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        plain
    }
}

/// Looks at the start of the text for a value that differs from run to run: a GUID, a time, or a long hexadecimal
/// number. Returns its length and a placeholder for it.
fn volatile(text: &[u8], before: Option<&u8>) -> Option<(usize, &'static str)> {
    if before.is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    if fits(text, b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
        return Some((36, "GUID"));
    }
    for pattern in [&b"dddd-dd-ddTdd:dd:dd"[..], b"dddd-dd-ddTdd%3Add%3Add"] {
        if fits(text, pattern) {
            let mut length = pattern.len();
            let more = |at: usize| text.get(at).is_some_and(|it| it.is_ascii_digit() || b".Z+:".contains(it));
            while more(length) {
                length += 1;
            }
            return Some((length, "TIME"));
        }
    }
    let run = text.iter().take_while(|it| it.is_ascii_hexdigit()).count();
    (run >= 16 && text.get(run).is_none_or(|it| !it.is_ascii_alphanumeric())).then_some((run, "HEX"))
}

/// Returns `true` if the text starts with the pattern. In the pattern, `x` matches a hexadecimal digit, `d` matches a
/// decimal digit, and every other byte matches itself.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    text.len() >= pattern.len()
        && text.iter().zip(pattern).all(|(byte, expected)| match expected {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Returns the shape of a body: the names of its members, the types of its values, and its error codes.
pub(super) fn shape(body: &[u8]) -> String {
    if body.is_empty() {
        return "empty".into();
    }
    serde_json::from_slice::<Value>(body).map_or_else(|_| "not JSON".into(), |it| shape_of(&it))
}

fn shape_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(it) => it.to_string(),
        Value::Number(_) => "number".into(),
        // In the errors of a hub, a string can itself contain JSON.
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => format!("text of {}", shape_of(&inner)),
            _ => "text".into(),
        },
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape_of).collect();
            shapes.sort();
            shapes.dedup();
            format!("[{}]", shapes.join(" | "))
        }
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    let is_code = matches!(name.as_str(), "errorCode" | "errorcode");
                    format!("{name}: {}", if is_code { value.to_string() } else { shape_of(value) })
                })
                .collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// Returns bytes as readable text. Escapes every byte that is not printable ASCII, and shortens long texts.
pub(super) fn literal(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'");
    if bytes.len() > SHOWN { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_from_run_to_run_are_replaced() {
        let names = Names::new([("hub.example".into(), "HOST"), ("hwq-1f".into(), "PREFIX")]);
        for (text, plain) in [
            ("https://hub.example/hwq-1f-a?x", "https://HOST/PREFIX-a?x"),
            ("$rid=0f8fad5b-d9cb-469f-a165-70867728950e&x", "$rid=GUID&x"),
            ("$.exp=2026-11-24T02%3A44%3A22.5Z&k=v", "$.exp=TIME&k=v"),
            ("at 2026-11-24T02:44:22.1234567Z.", "at TIME"),
            ("5.0123456789abcdef.x", "5.HEX.x"),
            ("version 12, größer", "version 12, größer"),
        ] {
            assert_eq!(names.plain(text), plain);
        }
    }

    #[test]
    fn a_shape_has_members_and_codes() {
        let body = br#"{"trackingId":"x","errorCode":404201,"info":{"timeout":"0:1"},"Message":"{\"errorCode\":1}"}"#;
        let expected = "{Message: text of {errorCode: 1}, errorCode: 404201, info: {timeout: text}, trackingId: text}";
        assert_eq!(shape(body), expected);
        assert_eq!((shape(b"").as_str(), shape(b"x").as_str()), ("empty", "not JSON"));
    }
}
