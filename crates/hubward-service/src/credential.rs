//! The value of the header `Authorization`. The client signs a token, reads a token from a file, or uses a token of the
//! caller. No `Debug` output and no error contains a token.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hubward_dial::Endpoint;
use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use hyper::header::HeaderValue;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::error::ServiceError;
use crate::login::{Proof, ServiceLogin, bearer_token};

/// How long a token that this client signs is valid.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Part of the lifetime, in percent, after which the client replaces a token.
const RENEW_AT: u32 = 85;

/// Maximum size in bytes of a file with a bearer token.
const FILE_MAX: u64 = 64 * 1024;

/// Provides the value of `Authorization`. Caches the value if the client can use it again.
#[derive(Debug)]
pub(crate) struct Credential {
    host: String,
    proof: Proof,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    authorization: Authorization,
    /// The time when the client cached the value.
    ///
    /// If the clock now shows an earlier time than this, the clock was set back. `until` comes from the old clock and
    /// may be too late, so the client then uses the value only if `until` is `None`.
    from: SystemTime,
    /// The time until which the client uses the value. With `None`, the client uses the value without a time limit.
    until: Option<SystemTime>,
}

/// The value of `Authorization` for one request. The `Debug` output does not contain the token.
#[derive(Debug, Clone)]
pub(crate) enum Authorization {
    Nothing,
    Sas(SasToken),
    Bearer(Bearer),
}

/// A bearer token of Microsoft Entra. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Bearer(Zeroizing<String>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl Credential {
    pub(crate) fn new(login: ServiceLogin) -> Self {
        let ServiceLogin { endpoint: Endpoint { host, .. }, proof } = login;
        Self { host, proof, cached: Mutex::default() }
    }

    /// Returns the authorization for the next request.
    pub(crate) async fn authorization(&self, now: SystemTime) -> Result<Authorization, ServiceError> {
        match &self.proof {
            Proof::Nothing => Ok(Authorization::Nothing),
            Proof::Token(token) => Ok(Authorization::Sas(token.clone())),
            Proof::Bearer(token) => Ok(Authorization::Bearer(Bearer(token.clone()))),
            Proof::Key { policy, key } => Ok(self.signed(policy, key, now)),
            Proof::BearerFile(file) => self.read_file(file, now).await,
        }
    }

    fn signed(&self, policy: &str, key: &SharedKey, now: SystemTime) -> Authorization {
        if let Some(cached) = self.cached(now) {
            return cached;
        }
        let expiry = UnixSeconds::from_system_time(now).saturating_add(LIFETIME);
        let token = Authorization::Sas(SasToken::sign(key, &self.host, expiry, Some(policy)));
        self.cache(token.clone(), now, Some(now + LIFETIME * RENEW_AT / 100));
        token
    }

    async fn read_file(&self, file: &Path, now: SystemTime) -> Result<Authorization, ServiceError> {
        let cannot = |problem: String| ServiceError::Credential(format!("the file {}: {problem}", file.display()));
        let meta = tokio::fs::metadata(file).await.map_err(|error| cannot(error.to_string()))?;
        // The file may be a pipe. A pipe can be read only once, so the client caches the token from a pipe.
        if !meta.is_file()
            && let Some(cached) = self.cached(now)
        {
            return Ok(cached);
        }
        let opened = tokio::fs::File::open(file).await.map_err(|error| cannot(error.to_string()))?;
        let mut text = Zeroizing::new(String::new());
        opened.take(FILE_MAX + 1).read_to_string(&mut text).await.map_err(|error| cannot(error.to_string()))?;
        if text.len() as u64 > FILE_MAX {
            return Err(cannot("it is too large to contain a token".to_owned()));
        }
        let token = bearer_token(&text).ok_or_else(|| {
            cannot("it contains no bearer token; expected one word, or JSON with `accessToken`".into())
        })?;
        let authorization = Authorization::Bearer(Bearer(token));
        if !meta.is_file() {
            self.cache(authorization.clone(), now, None);
        }
        Ok(authorization)
    }

    fn cached(&self, now: SystemTime) -> Option<Authorization> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |it: &&Cached| it.until.is_none_or(|until| (it.from..until).contains(&now));
        cached.as_ref().filter(good).map(|it| it.authorization.clone())
    }

    fn cache(&self, authorization: Authorization, from: SystemTime, until: Option<SystemTime>) {
        let cached = Cached { authorization, from, until };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
    }
}

impl Authorization {
    /// Returns the value of the header. Returns `None` if the request needs no authorization.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, ServiceError> {
        let text = match self {
            Self::Nothing => return Ok(None),
            Self::Sas(token) => Zeroizing::new(token.expose().to_owned()),
            Self::Bearer(Bearer(token)) => Zeroizing::new(format!("Bearer {}", token.as_str())),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            ServiceError::Credential("the token contains a character that HTTP does not allow".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Replaces the token in `text` with `(redacted)`. A refusal may quote the request with its token.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self {
            Self::Nothing => text.to_owned(),
            Self::Sas(token) => token.redact(text),
            Self::Bearer(Bearer(token)) => text.replace(token.as_str(), "(redacted)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::UNIX_EPOCH;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn expiry(authorization: &Authorization) -> u64 {
        match authorization {
            Authorization::Sas(token) => token.expiry().0,
            other => panic!("no token: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_token_is_valid_for_an_hour_and_renewed_before_it_expires() {
        let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODw==").expect("a key");
        let login =
            ServiceLogin::policy("contoso.azure-devices.net:8443", "iothubowner", key.clone()).expect("a login");
        let credential = Credential::new(login);
        for (now, expected) in [
            (NOW, NOW + 3600),
            (NOW + 3059, NOW + 3600),
            (NOW + 3060, NOW + 3060 + 3600),
            // The clock was set back.
            (NOW - 10, NOW - 10 + 3600),
        ] {
            let authorization = credential.authorization(at(now)).await.expect("a token");
            assert_eq!(expiry(&authorization), expected, "{now}");
        }
        let Authorization::Sas(token) = credential.authorization(at(NOW)).await.expect("a token") else {
            panic!("no token");
        };
        // The port is not part of the resource.
        assert_eq!((token.resource().as_str(), token.policy()), ("contoso.azure-devices.net", Some("iothubowner")));
        assert!(token.is_signed_by(&key));
    }

    #[tokio::test]
    async fn a_newer_token_in_the_file_is_used_for_the_next_request() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let credential = Credential::new(ServiceLogin::bearer_file("h", file.path()).expect("a login"));
        for token in ["first", "other", "much-longer-than-before"] {
            std::fs::write(file.path(), token).expect("written");
            let header = credential.authorization(at(NOW)).await.expect("a token").header().expect("a header");
            let header = header.expect("one");
            assert!(header.is_sensitive());
            assert_eq!(header.to_str().expect("text"), format!("Bearer {token}"));
        }
        file.as_file_mut().set_len(0).expect("cut");
        file.write_all(b"").expect("written");
        let error = credential.authorization(at(NOW)).await.expect_err("an empty file");
        assert!(error.to_string().contains("no bearer token"), "{error}");
        std::fs::write(file.path(), "a".repeat(65_537)).expect("written");
        let error = credential.authorization(at(NOW)).await.expect_err("truncated, it would be another token");
        assert!(error.to_string().contains("too large"), "{error}");
        let gone = file.path().with_extension("gone");
        let credential = Credential::new(ServiceLogin::bearer_file("h", &gone).expect("a login"));
        let error = credential.authorization(at(NOW)).await.expect_err("no file");
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn a_token_that_a_peer_quotes_is_redacted() {
        let bearer = Authorization::Bearer(Bearer(Zeroizing::new("eyJ0".to_owned())));
        assert_eq!(bearer.redact("bad token eyJ0!"), "bad token (redacted)!");
        let token = SasToken::parse("SharedAccessSignature sr=h&sig=c2VjcmV0&se=1").expect("a token");
        assert!(!Authorization::Sas(token).redact("you sent sig=c2VjcmV0").contains("c2VjcmV0"));
    }
}
