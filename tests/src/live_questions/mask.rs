//! Masks keys, tokens and signatures in all output.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The replacement for a secret.
const MASKED: &str = "<masked>";

/// Texts that come before a secret, in lower case. The secret follows directly. It ends at the first character that
/// cannot be part of a secret.
const NAMES: [&str; 7] = [
    "sig=",
    "sharedaccesskey=",
    "sharedaccesssignature=",
    "\"primarykey\":\"",
    "\"secondarykey\":\"",
    "\"primarykey\": \"",
    "\"secondarykey\": \"",
];

/// Minimum number of characters before the `=` at the end of a base64 text that counts as a key or a signature. For
/// example, the base64 text of 32 bytes has 43 characters and one `=`.
const KEY_LENGTH: usize = 40;

/// Masks the secrets of a run.
#[derive(Debug, Default)]
pub(super) struct Mask {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known(BTreeSet<String>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({})", self.0.len())
    }
}

impl Mask {
    /// From now on, masks this text. Also masks its percent-encoded forms.
    pub(super) fn learn(&self, secret: &str) {
        // Shorter texts could be ordinary words.
        if secret.len() < 12 {
            return;
        }
        let upper = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let lower = secret.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
        let known = [secret.trim_end_matches('=').to_owned(), upper, lower];
        self.known.lock().unwrap_or_else(PoisonError::into_inner).0.extend(known);
    }

    /// Finds the keys in an answer of a service. From now on, masks these keys.
    pub(super) fn learn_keys(&self, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(key) if matches!(name.as_str(), "primaryKey" | "secondaryKey") => self.learn(key),
                        _ => self.learn_keys(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|it| self.learn_keys(it)),
            _ => {}
        }
    }

    /// Returns the text without secrets.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.known.lock().unwrap_or_else(PoisonError::into_inner).0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASKED);
            }
        }
        // Also remove padding after a masked secret. The padding would reveal the length of the secret.
        let padded = format!("{MASKED}=");
        while text.contains(&padded) {
            text = text.replace(&padded, MASKED);
        }
        without_base64(&without_named(&text))
    }
}

fn is_of_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=%-_".contains(&byte)
}

/// Masks the value after each text in [`NAMES`].
fn without_named(text: &str) -> String {
    // The lower-case text has each byte at the same position as the original text.
    let lower = text.to_ascii_lowercase();
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, name)) =
        NAMES.iter().filter_map(|it| Some((at + lower[at..].find(it)?, *it))).min_by_key(|it| it.0)
    {
        let value = start + name.len();
        let length = lower.as_bytes()[value..].iter().take_while(|it| is_of_value(**it)).count();
        clean.push_str(&text[at..value]);
        if length > 0 {
            clean.push_str(MASKED);
        }
        at = value + length;
    }
    clean.push_str(&text[at..]);
    clean
}

/// Masks each base64 text that has at least [`KEY_LENGTH`] characters and is followed by `=`.
fn without_base64(text: &str) -> String {
    let of_base64 = |it: char| it.is_ascii_alphanumeric() || "+/-_".contains(it);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(of_base64) {
        let (before, run) = rest.split_at(start);
        clean.push_str(before);
        let end = run.find(|it| !of_base64(it)).unwrap_or(run.len());
        let (run, behind) = run.split_at(end);
        let padding = behind.len() - behind.trim_start_matches('=').len();
        if run.len() >= KEY_LENGTH && padding > 0 {
            clean.push_str(MASKED);
            rest = &behind[padding..];
        } else {
            clean.push_str(run);
            rest = behind;
        }
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const SHORT: &str = "c2hvcnQra2V5L29m";

    #[test]
    fn secrets_are_masked_in_every_form() {
        let mask = Mask::default();
        mask.learn(SHORT);
        mask.learn_keys(&serde_json::json!({ "a": [{ "symmetricKey": { "primaryKey": "0123456789abcdef" } }] }));
        for text in [
            format!("known {SHORT} here"),
            "percent c2hvcnQra2V5L29m".into(),
            "twice 0123456789abcdef, 0123456789abcdef".into(),
            format!("unknown {KEY}"),
            format!("{{\"primaryKey\":\"{}\"}}", "YWJj"),
            "SharedAccessSignature sr=h&sig=abcdefgh%2Bijk%3D&se=1".into(),
            "HostName=h;SharedAccessKeyName=owner;SharedAccessKey=abc=".into(),
        ] {
            let masked = mask.apply(&text);
            assert!(masked.contains(MASKED), "{text}: {masked}");
            for secret in [SHORT, KEY, "0123456789abcdef", "YWJj", "abcdefgh", "=abc"] {
                assert!(!masked.contains(secret), "{text}: {masked}");
            }
        }
        mask.learn(KEY);
        assert_eq!(mask.apply(&format!("\"{KEY}\"")), "\"<masked>\"");
        assert_eq!(mask.apply("sr=h&se=1&skn=owner"), "sr=h&se=1&skn=owner");
        assert_eq!(mask.apply("an etag \"AAAAAAAAAAE=\" stays, ü too"), "an etag \"AAAAAAAAAAE=\" stays, ü too");
    }
}
