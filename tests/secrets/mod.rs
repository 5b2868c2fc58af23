//! Tests that no output contains a key, a token or a signature. The tests scan logs at trace level, `Debug` text, and
//! errors.
//!
//! The first tests put secrets into a text, and check that the scanner finds the secrets.

mod debug;
mod device;
mod runs;
pub(crate) mod scanner;

use std::time::Duration;

use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use scanner::{Scanner, forms};

const RESOURCES: [&str; 2] = ["localhost/devices/dev-1", "0ne000DECADE/registrations/dev-1"];

/// Returns harmless output of a program with `secret` in the middle.
fn planted(secret: &[u8]) -> Vec<u8> {
    let before = b"2026-11-23T20:00:00Z TRACE hubward_dial: connected to localhost:443 path=\"certs/a/b\"\n DEBUG x=";
    let after = b" n=3 etag=\"NmNlYTQ4\"\n{\"type\":\"result\",\"version\":1}\n";
    [before, secret, after].concat()
}

#[test]
fn the_scanner_finds_a_planted_key_in_every_form_and_nothing_else() {
    for length in [16, 32, 33, 64] {
        let bytes: Vec<u8> = (0..length).map(|it: u8| it.wrapping_mul(37).wrapping_add(251)).collect();
        let key = SharedKey::from_bytes(&bytes).expect("a key");
        let scanner = Scanner::default().key("the key", &key);
        assert_eq!(scanner.find(&planted(b"SharedKey(..)")), Vec::<String>::new());
        for (form, needle) in forms(&bytes) {
            let found = scanner.find(&planted(&needle));
            assert!(!found.is_empty(), "{length} bytes, {form}");
        }
        // The scanner also finds the key in JSON.
        let json = format!("\"symmetricKey\":\"{}\"", key.expose_base64().as_str());
        assert!(!scanner.find(&planted(json.as_bytes())).is_empty(), "{length} bytes in JSON");
    }
}

#[test]
fn the_scanner_finds_a_planted_signature_with_and_without_its_name() {
    let scanner = Scanner::default();
    let key = SharedKey::generate().expect("a key");
    let far = UnixSeconds(1_800_000_000).saturating_add(Duration::from_secs(60));
    for resource in RESOURCES {
        let token = SasToken::sign(&key, resource, far, None);
        let text = token.expose();
        let value = text.split("sig=").nth(1).and_then(|it| it.split('&').next()).expect("a signature");
        let plain = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let twice = text.replace('%', "%25");
        for form in [text, value, &plain, &twice, &format!("sig={plain}"), &format!("Sig={value}")] {
            assert!(!scanner.find(&planted(form.as_bytes())).is_empty(), "{form}");
        }
        assert_eq!(scanner.find(&planted(format!("{token:?}").as_bytes())), Vec::<String>::new());
    }
    for harmless in ["sig=..", "sig=<redacted>", "sr=localhost%2Fdevices%2Fdev-1&se=1800000000&skn="] {
        assert_eq!(scanner.find(&planted(harmless.as_bytes())), Vec::<String>::new());
    }
}
