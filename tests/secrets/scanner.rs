//! Finds keys and signatures in the output of a program, in every encoding that a program may use.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hubward_sas::SharedKey;

/// Searches output for secrets.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    needles: Vec<(String, Vec<u8>)>,
}

impl Scanner {
    /// Makes the scanner search also for this key, complete or truncated.
    pub(crate) fn key(self, name: &str, key: &SharedKey) -> Self {
        self.bytes(name, key.expose_bytes())
    }

    /// Makes the scanner search also for these secret bytes, complete or truncated.
    pub(crate) fn bytes(mut self, name: &str, secret: &[u8]) -> Self {
        for (form, needle) in forms(secret) {
            self.needles.push((format!("{name}, {form}"), needle));
        }
        self
    }

    /// Panics if `output` contains a secret. The message lists the secrets.
    pub(crate) fn assert_clean(&self, name: &str, output: &[u8]) {
        let found = self.find(output);
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
    }

    /// Returns the secrets in `haystack`, each as a text with the name of the secret and the bytes around it.
    pub(crate) fn find(&self, haystack: &[u8]) -> Vec<String> {
        let mut found: Vec<String> = self
            .needles
            .iter()
            .filter_map(|(name, needle)| {
                let at = haystack.windows(needle.len()).position(|it| it == needle.as_slice())?;
                Some(format!("{name}: {}", around(haystack, at)))
            })
            .collect();
        // A text may be percent-encoded twice, for example the query of a URL that is part of another URL. So also
        // search the text after one and after two steps of decoding.
        let once = percent_decoded(haystack);
        let twice = percent_decoded(&once);
        for text in [haystack, &once, &twice] {
            found.extend(signature_fields(text));
            found.extend(digests(text));
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Returns the encoded forms in which these bytes may occur in a text, each with a name.
pub(super) fn forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = STANDARD.encode(bytes);
    let percent = |upper: bool| {
        let hex = |code: &str| if upper { code.to_owned() } else { code.to_ascii_lowercase() };
        base64.replace('+', &hex("%2B")).replace('/', &hex("%2F")).replace('=', &hex("%3D"))
    };
    let hex: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
    let decimal = bytes.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let half = &base64[..base64.len() / 2];
    let rest = base64[base64.len() / 2..].trim_end_matches('=');
    vec![
        ("base64", base64.trim_end_matches('=').as_bytes().to_vec()),
        ("base64, first half", half.as_bytes().to_vec()),
        ("base64, second half", rest.as_bytes().to_vec()),
        ("base64 for URLs", URL_SAFE.encode(bytes).trim_end_matches('=').as_bytes().to_vec()),
        ("base64 of base64", STANDARD.encode(&base64[..base64.len() / 3 * 3]).as_bytes().to_vec()),
        ("percent-encoded", percent(true).into_bytes()),
        ("percent-encoded in lower case", percent(false).into_bytes()),
        ("hex", hex.clone().into_bytes()),
        ("hex in upper case", hex.to_ascii_uppercase().into_bytes()),
        ("a list of numbers", decimal.into_bytes()),
        ("raw", bytes.to_vec()),
    ]
}

/// Finds each `sig=` with a value that is not a placeholder.
fn signature_fields(text: &[u8]) -> Vec<String> {
    let of_value = |it: &u8| it.is_ascii_alphanumeric() || b"+/=%-_".contains(it);
    let mut found = Vec::new();
    for (at, window) in text.windows(4).enumerate() {
        if window.eq_ignore_ascii_case(b"sig=") && text[at + 4..].iter().take_while(|it| of_value(it)).count() >= 16 {
            found.push(format!("a signature: {}", around(text, at)));
        }
    }
    found
}

/// Finds each text that is the base64 encoding of 32 bytes, with padding. Every signature has this form.
fn digests(text: &[u8]) -> Vec<String> {
    const LENGTH: usize = 43;
    let of_base64 = |it: &u8| it.is_ascii_alphanumeric() || b"+/-_".contains(it);
    let mut found = Vec::new();
    for (at, _) in text.iter().enumerate().filter(|(_, it)| **it == b'=') {
        let run = text[..at].iter().rev().take_while(|it| of_base64(it)).count();
        if run == LENGTH && text.get(at + 1) != Some(&b'=') {
            found.push(format!("base64 of 32 bytes: {}", around(text, at - run)));
        }
    }
    found
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |it: Option<&u8>| it.and_then(|it| char::from(*it).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two hex digits"));
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn around(text: &[u8], at: usize) -> String {
    let (from, to) = (at.saturating_sub(60), (at + 60).min(text.len()));
    String::from_utf8_lossy(&text[from..to]).into_owned()
}
