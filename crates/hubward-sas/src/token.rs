//! A SAS token: sign, parse, verify.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::{SIGNATURE_LEN, SharedKey, UnixSeconds};

/// How long the services still accept a token after the expiry time in `se`.
///
/// Source: `[sdk]` Azure/azure-iot-sdk-csharp, SharedAccessSignatureConstants.cs (`MaxClockSkew`);
/// Microsoft's own server-side verifier (Azure/iotedge) uses the same constant.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(5 * 60);

/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md.
const SCHEME: &str = "SharedAccessSignature";

/// Encodes every character except those that RFC 3986 calls "unreserved".
///
/// Source: `[sdk]` Azure/azure-iot-sdk-python, sastoken.py; vectors `sas-odd-*`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A shared access signature. It grants access to a resource until an expiry time, and is signed with a [`SharedKey`].
///
/// A token is wiped from memory when dropped. `Debug` shows the resource, the expiry and the policy, never the
/// signature.
#[derive(Clone)]
pub struct SasToken {
    text: Zeroizing<String>,
    /// The exact text of `sr` in the token. The signature covers this text.
    raw_resource: String,
    /// The exact text of `se` in the token. The signature covers this text.
    raw_expiry: String,
    expiry: UnixSeconds,
    policy: Option<String>,
    signature: Vec<u8>,
}

impl SasToken {
    /// Signs a token that is valid for `resource` until `expiry`. Pass `resource` without percent-encoding and without
    /// a scheme.
    ///
    /// `policy` becomes the field `skn`. Pass `registration` for a device at DPS, the policy's name for a service, and
    /// `None` for a device at a hub.
    ///
    /// The token has the fields `sr`, `sig` and `se`, in this order, and then `skn` if `policy` is given.
    ///
    /// In `sr` and `sig`, all characters except `A-Z a-z 0-9 - . _ ~` are percent-encoded with upper-case digits. `skn`
    /// is not encoded.
    ///
    /// Source: `[doc]` iot-hub/authenticate-authorize-sas.md; `[sdk]` Azure/azure-iot-sdk-python,
    /// sastoken.py; vectors `sas-hub-*`, `sas-dps-*`.
    #[must_use]
    pub fn sign(key: &SharedKey, resource: &str, expiry: UnixSeconds, policy: Option<&str>) -> Self {
        let signature = key.sign(Self::string_to_sign(resource, expiry).as_bytes());
        Self::from_signature(&signature, resource, expiry, policy)
    }

    /// Returns the text that [`SasToken::sign`] signs: the encoded resource, a line feed, and the expiry. Use this text
    /// with a signer that keeps the key elsewhere, such as a TPM or a key daemon.
    #[must_use]
    pub fn string_to_sign(resource: &str, expiry: UnixSeconds) -> String {
        format!("{}\n{}", utf8_percent_encode(resource, UNRESERVED), expiry.0)
    }

    /// Builds a token from a signature that was computed elsewhere: the HMAC-SHA256 of [`SasToken::string_to_sign`].
    #[must_use]
    pub fn from_signature(
        signature: &[u8; SIGNATURE_LEN],
        resource: &str,
        expiry: UnixSeconds,
        policy: Option<&str>,
    ) -> Self {
        let raw_resource = utf8_percent_encode(resource, UNRESERVED).to_string();
        let raw_expiry = expiry.0.to_string();
        let base64 = Zeroizing::new(STANDARD.encode(signature));
        let mut text =
            format!("{SCHEME} sr={raw_resource}&sig={}&se={raw_expiry}", utf8_percent_encode(&base64, UNRESERVED));
        if let Some(policy) = policy {
            text.push_str("&skn=");
            text.push_str(policy);
        }
        Self {
            text: Zeroizing::new(text),
            raw_resource,
            raw_expiry,
            expiry,
            policy: policy.map(str::to_owned),
            signature: signature.to_vec(),
        }
    }

    /// Parses a token that was signed elsewhere. Checks neither the signature nor the expiry.
    ///
    /// The fields may have any order, and their names any letter case. `sr` may be percent-encoded, `skn` may be absent
    /// or empty, and `se` may have a fraction.
    ///
    /// # Errors
    /// [`TokenError`] names the missing or invalid part, and never contains the token.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk-csharp, SharedAccessSignature.cs.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut words = text.split_whitespace();
        let (Some(scheme), Some(fields), None) = (words.next(), words.next(), words.next()) else {
            return Err(TokenError::Scheme);
        };
        if scheme != SCHEME {
            return Err(TokenError::Scheme);
        }
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').ok_or(TokenError::Field)?;
            let slot = match name.to_ascii_lowercase().as_str() {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => return Err(TokenError::UnknownField),
            };
            if slot.replace(value).is_some() {
                return Err(TokenError::Duplicate);
            }
        }
        let raw_resource = sr.filter(|it| !it.is_empty()).ok_or(TokenError::Missing("sr"))?;
        let sig = sig.filter(|it| !it.is_empty()).ok_or(TokenError::Missing("sig"))?;
        let raw_expiry = se.filter(|it| !it.is_empty()).ok_or(TokenError::Missing("se"))?;
        let base64 = Zeroizing::new(decode(sig).ok_or(TokenError::Signature)?);
        let signature = STANDARD.decode(base64.as_bytes()).map_err(|_| TokenError::Signature)?;
        let policy = skn.filter(|it| !it.is_empty()).map(|it| decode(it).ok_or(TokenError::Field)).transpose()?;
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            raw_resource: raw_resource.to_owned(),
            raw_expiry: raw_expiry.to_owned(),
            expiry: parse_expiry(raw_expiry)?,
            policy,
            signature,
        })
    }

    /// Returns whether this token was signed with `key`. The signature covers the exact text of `sr` and `se`. Compares
    /// in constant time.
    #[must_use]
    pub fn is_signed_by(&self, key: &SharedKey) -> bool {
        key.verify(format!("{}\n{}", self.raw_resource, self.raw_expiry).as_bytes(), &self.signature)
    }

    /// Returns whether the services refuse the token as expired at `now`. The services accept a token for
    /// [`EXPIRY_GRACE`] after its expiry.
    #[must_use]
    pub fn is_expired(&self, now: UnixSeconds) -> bool {
        self.expiry.saturating_add(EXPIRY_GRACE) < now
    }

    /// Returns the expiry time in `se`, without [`EXPIRY_GRACE`].
    #[must_use]
    pub const fn expiry(&self) -> UnixSeconds {
        self.expiry
    }

    /// Returns the policy name in `skn`; `None` if `skn` is absent or empty.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Returns the resource that the token grants access to: `sr`, percent-decoded once. A raw `+` stays a `+`.
    #[must_use]
    pub fn resource(&self) -> String {
        decode(&self.raw_resource).unwrap_or_else(|| self.raw_resource.clone())
    }

    /// Returns whether the token grants access to `resource`. The token's `sr` must be `resource` or a parent path of
    /// `resource`. Letter case and a `/` at the end of `sr` do not matter.
    ///
    /// A raw `+` in `sr` can mean a space (form encoding) or a `+` (no encoding). The token grants access if one of the
    /// two meanings matches `resource`.
    ///
    /// Paths are compared segment by segment: `hub/devices` covers `hub/devices/d1`, not `hub/devicesX`.
    ///
    /// Source: `[doc]` iot-hub/authenticate-authorize-sas.md (prefix by segment); `[sdk]` Azure/iotedge,
    /// DeviceScopeTokenAuthenticator.cs (case).
    #[must_use]
    pub fn covers(&self, resource: &str) -> bool {
        self.readings().iter().any(|granted| {
            let granted = granted.trim_end_matches('/');
            match (resource.get(..granted.len()), resource.get(granted.len()..)) {
                (Some(head), Some(rest)) => {
                    head.eq_ignore_ascii_case(granted) && (rest.is_empty() || rest.starts_with('/'))
                }
                _ => false,
            }
        })
    }

    /// Returns whether the token's resource equals `resource`. Microsoft's verifier requires this equality for a
    /// device's token. Letter case, a `/` at the end of `sr` and a raw `+` are handled as by [`SasToken::covers`].
    ///
    /// Source: `[sdk]` Azure/iotedge, DeviceScopeTokenAuthenticator.cs.
    #[must_use]
    pub fn is_for(&self, resource: &str) -> bool {
        self.readings().iter().any(|granted| granted.trim_end_matches('/').eq_ignore_ascii_case(resource))
    }

    /// Reveals the token, as sent on the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Replaces this token and its signature in `text` by `(redacted)`, and returns the result. Call this function
    /// before you log text from a peer: some gateways quote the request that they refuse.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let base64 = Zeroizing::new(STANDARD.encode(&self.signature));
        let encoded = Zeroizing::new(utf8_percent_encode(&base64, UNRESERVED).to_string());
        let hidden = [self.text.as_str(), encoded.as_str(), base64.as_str()];
        hidden.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(redacted)"))
    }

    fn readings(&self) -> [String; 2] {
        let form = self.raw_resource.replace('+', " ");
        [self.resource(), decode(&form).unwrap_or(form)]
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource())
            .field("expiry", &self.expiry)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a valid SAS token. Never contains the text.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is not the word `SharedAccessSignature`, whitespace, and the fields.
    #[error("not a SAS token: expected `SharedAccessSignature`, a space and the fields")]
    Scheme,
    /// A field is not `name=value`, or its value is not valid UTF-8.
    #[error("a field of the SAS token is not `name=value`")]
    Field,
    /// There is a field other than `sr`, `sig`, `se` and `skn`.
    #[error("the SAS token has a field other than sr, sig, se and skn")]
    UnknownField,
    /// A field occurs twice.
    #[error("the SAS token contains a field twice")]
    Duplicate,
    /// A required field is absent or empty.
    #[error("the SAS token has no `{0}`")]
    Missing(&'static str),
    /// `sig` is not percent-encoded base64.
    #[error("the signature of the SAS token is not base64")]
    Signature,
    /// `se` is not a number of seconds.
    #[error("the expiry of the SAS token is not a number of seconds since 1970")]
    Expiry,
}

impl fmt::Debug for TokenError {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Parses whole seconds. Also accepts a fraction, because Microsoft's C# parser accepts a floating-point number.
/// Ignores the digits of the fraction.
fn parse_expiry(text: &str) -> Result<UnixSeconds, TokenError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(TokenError::Expiry);
    }
    whole.parse().map(UnixSeconds).map_err(|_| TokenError::Expiry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SharedKey {
        SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key")
    }

    /// Vector `sas-hub-plain`.
    #[test]
    fn signs_the_documented_form() {
        let token =
            SasToken::sign(&key(), "contoso.azure-devices.net/devices/device1", UnixSeconds(1_700_003_600), None);
        assert_eq!(
            token.expose(),
            "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdevice1\
             &sig=1sY1G3%2B%2BFZar2HfkFZit4C3IGSAfGbAJ1zno1WkK9d4%3D&se=1700003600"
        );
    }

    #[test]
    fn parse_errors_name_the_problem() {
        for (text, expected) in [
            ("", TokenError::Scheme),
            ("SharedAccessSignature", TokenError::Scheme),
            ("Bearer sr=a&sig=YQ==&se=1", TokenError::Scheme),
            ("SharedAccessSignature sr=a&sig=YQ==&se=1 x", TokenError::Scheme),
            ("SharedAccessSignature sr&sig=YQ==&se=1", TokenError::Field),
            ("SharedAccessSignature sr=a&sig=YQ==&se=1&x=y", TokenError::UnknownField),
            ("SharedAccessSignature sr=a&sr=b&sig=YQ==&se=1", TokenError::Duplicate),
            ("SharedAccessSignature sig=YQ==&se=1", TokenError::Missing("sr")),
            ("SharedAccessSignature sr=a&se=1", TokenError::Missing("sig")),
            ("SharedAccessSignature sr=a&sig=YQ==", TokenError::Missing("se")),
            ("SharedAccessSignature sr=a&sig=%FF&se=1", TokenError::Signature),
            ("SharedAccessSignature sr=a&sig=***&se=1", TokenError::Signature),
            ("SharedAccessSignature sr=a&sig=YQ==&se=soon", TokenError::Expiry),
            ("SharedAccessSignature sr=a&sig=YQ==&se=-1", TokenError::Expiry),
            ("SharedAccessSignature sr=a&sig=YQ==&se=99999999999999999999", TokenError::Expiry),
        ] {
            assert_eq!(SasToken::parse(text).expect_err(text), expected, "{text}");
        }
    }

    #[test]
    fn a_token_is_accepted_for_five_minutes_after_expiry() {
        let token = SasToken::sign(&key(), "a", UnixSeconds(1000), None);
        for (now, expired) in [(0, false), (1000, false), (1290, false), (1300, false), (1301, true)] {
            assert_eq!(token.is_expired(UnixSeconds(now)), expired, "{now}");
        }
    }

    #[test]
    fn covers_compares_path_segments_case_insensitively() {
        let covers = |granted: &str, wanted: &str| SasToken::sign(&key(), granted, UnixSeconds(1), None).covers(wanted);
        assert!(covers("Hub/devices/D1", "hub/devices/d1"));
        assert!(covers("hub", "hub/devices/d1"));
        assert!(covers("hub/", "hub/devices/d1"));
        assert!(!covers("hub/devices/d", "hub/devices/d1"));
        assert!(!covers("hub/devices/d1", "hub/devices"));
        assert!(!covers("hub/devices/é", "hub/devices/1é"));
    }

    #[test]
    fn a_raw_plus_matches_a_space_and_a_plus() {
        let token = |sr: &str| SasToken::parse(&format!("SharedAccessSignature sr={sr}&sig=YQ==&se=1")).expect(sr);
        assert!(token("hub%2Fa+b").is_for("hub/a b"));
        assert!(token("hub/a+b").is_for("hub/a+b"));
        assert!(token("hub%2Fa%2Bb").is_for("hub/a+b"));
        assert!(!token("hub%2Fa%2Bb").is_for("hub/a b"));
    }

    #[test]
    fn a_changed_token_fails_verification() {
        let text = SasToken::sign(&key(), "hub/devices/d1", UnixSeconds(1000), None).expose().to_owned();
        assert!(SasToken::parse(&text).expect("token").is_signed_by(&key()));
        for (from, to) in [("d1", "d2"), ("se=1000", "se=1001"), ("%2F", "%2f")] {
            let changed = SasToken::parse(&text.replacen(from, to, 1)).expect("token");
            assert!(!changed.is_signed_by(&key()), "{from} -> {to}");
        }
    }

    #[test]
    fn debug_shows_no_signature() {
        let token = SasToken::sign(&key(), "hub/devices/d1", UnixSeconds(1000), Some("p"));
        let shown = format!("{token:?}");
        let signature = STANDARD.encode(&token.signature);
        assert!(shown.contains("hub/devices/d1"));
        assert!(!shown.contains(&signature) && !shown.contains("sig"), "{shown}");
    }

    #[test]
    fn redact_removes_the_token_from_text_of_a_peer() {
        let key = SharedKey::generate().expect("randomness");
        let token = SasToken::sign(&key, "scope/registrations/d", UnixSeconds(1), None);
        let text = token.expose();
        let signature = text.split_once("sig=").and_then(|(_, it)| it.split_once('&')).expect("a signature").0;
        let plain = decode(signature).expect("UTF-8");
        for (said, expected) in [
            (format!("you sent `{text}`"), "you sent `(redacted)`"),
            (format!("sig={signature}"), "sig=(redacted)"),
            (format!("sig={plain}!"), "sig=(redacted)!"),
            ("nothing of it".to_owned(), "nothing of it"),
        ] {
            assert_eq!(token.redact(&said), expected);
        }
    }
}
