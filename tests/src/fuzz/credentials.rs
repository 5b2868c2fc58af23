//! Keys, tokens, connection strings and Retry-After.

use std::time::{Duration, UNIX_EPOCH};

use hubward_proto::retry_after::{self, RETRY_AFTER_MAX};
use hubward_sas::{ConnectionString, EXPIRY_GRACE, SasToken, SharedKey, UnixSeconds};

use super::text;

/// Keys, tokens and connection strings.
pub(super) fn credentials(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let key = SharedKey::from_base64(text);
    if let Ok(key) = &key {
        assert_eq!(key.expose_base64().as_str(), text.trim(), "a key has one encoding");
        assert!((SharedKey::MIN_LEN..=SharedKey::MAX_LEN).contains(&key.expose_bytes().len()));
    }
    let token = SasToken::parse(text);
    if let Ok(token) = &token {
        check_token(token, text);
    }
    check_signing(text);
    let connection = ConnectionString::parse(text);
    if let Ok(connection) = &connection {
        check_connection_string(connection);
    }
    key.is_ok() || token.is_ok() || connection.is_ok()
}

fn check_token(token: &SasToken, text: &str) {
    assert_eq!(token.expose(), text);
    let expiry = token.expiry();
    assert!(!token.is_expired(expiry), "a token is valid until its expiry");
    let late = expiry.saturating_add(EXPIRY_GRACE).saturating_add(Duration::from_secs(1));
    assert_eq!(token.is_expired(late), late > expiry.saturating_add(EXPIRY_GRACE));
    assert!(token.covers(token.resource().trim_end_matches('/')), "a token covers its own resource");
    let second = SasToken::parse(token.expose()).expect("the same token");
    assert_eq!((second.resource(), second.expiry()), (token.resource(), expiry));
    assert_eq!(second.policy(), token.policy());
    assert!(!token.redact(&format!("refused: {text}")).contains(text), "`redact` removes the token");
}

/// Signs a token for this resource, and parses the token. The parser must return the values of the signed token.
fn check_signing(resource: &str) {
    if resource.is_empty() {
        return;
    }
    let key = SharedKey::from_bytes(&[7; 32]).expect("a key");
    let made = SasToken::sign(&key, resource, UnixSeconds(1_700_000_000), Some("registration"));
    let read = SasToken::parse(made.expose()).expect("our own token");
    assert!(read.is_signed_by(&key) && !read.is_signed_by(&SharedKey::from_bytes(&[8; 32]).expect("a key")));
    assert_eq!((read.resource().as_str(), read.policy()), (resource, Some("registration")));
    assert_eq!(read.expiry(), UnixSeconds(1_700_000_000));
}

fn check_connection_string(read: &ConnectionString) {
    assert!(!read.host_name().is_empty());
    let parts = |it: &ConnectionString| {
        [
            ("HostName", Some(it.host_name().to_owned())),
            ("DeviceId", it.device_id().map(str::to_owned)),
            ("ModuleId", it.module_id().map(str::to_owned)),
            ("GatewayHostName", it.gateway_host_name().map(str::to_owned)),
            ("SharedAccessKeyName", it.shared_access_key_name().map(str::to_owned)),
            ("SharedAccessKey", it.expose_shared_access_key().map(str::to_owned)),
            ("SharedAccessSignature", it.expose_shared_access_signature().map(str::to_owned)),
        ]
    };
    let mut text = String::new();
    for (name, value) in parts(read) {
        text.extend(value.map(|it| format!("{name}={it};")));
    }
    // `x509` must be the last part. The parser removes white space at the end of the text, so it would shorten the
    // value of any other last part.
    text.push_str(if read.is_x509() { "x509=true" } else { "x509=false" });
    let again = ConnectionString::parse(&text).expect("the same parts");
    assert_eq!((parts(&again), again.is_x509()), (parts(read), read.is_x509()));
    assert_eq!(again.unknown_names().count(), 0);
}

/// A Retry-After as a number of seconds or as a date.
pub(super) fn retry_after(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let Some(wait) = retry_after::parse(text, now) else { return false };
    assert!(wait <= RETRY_AFTER_MAX);
    assert_eq!(wait.subsec_nanos(), 0, "whole seconds");
    assert_eq!(retry_after::parse(&wait.as_secs().to_string(), now), Some(wait));
    assert_eq!(retry_after::parse(&format!(" {text}\t"), now), Some(wait));
    let earlier = retry_after::parse(text, now - Duration::from_secs(5)).expect("a value that is valid at any time");
    assert!(earlier >= wait, "an earlier clock gives the same or a longer wait");
    true
}
