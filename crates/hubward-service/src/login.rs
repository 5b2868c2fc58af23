//! How the client authenticates: with the key of a policy, a SAS token or a bearer token.

use std::fmt;
use std::path::PathBuf;

use hubward_dial::Endpoint;
use hubward_proto::limits::HTTPS_PORT;
use hubward_sas::{ConnectionString, ConnectionStringError, KeyError, SasToken, SharedKey, TokenError};
use zeroize::Zeroizing;

/// The name of a service, and the credential for it. `Debug` shows the host and the kind of credential, but no
/// secret.
#[derive(Clone)]
pub struct ServiceLogin {
    pub(crate) endpoint: Endpoint,
    pub(crate) proof: Proof,
}

/// The credential for the `Authorization` header.
#[derive(Clone)]
pub(crate) enum Proof {
    /// The key of a policy, with which the client signs tokens.
    Key { policy: String, key: SharedKey },
    /// A SAS token that another program has signed.
    Token(SasToken),
    /// A bearer token of Microsoft Entra.
    Bearer(Zeroizing<String>),
    /// A file that contains a bearer token.
    BearerFile(PathBuf),
    /// No credential: the admin port of an emulator needs none.
    Nothing,
}

impl ServiceLogin {
    /// Parses the connection string of a service policy: `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.
    ///
    /// Also accepts `HostName=…;SharedAccessSignature=…`, with a SAS token. The host may have a port.
    ///
    /// # Errors
    /// [`LoginError`] names the invalid part, never its value.
    ///
    /// Source: `[sdk]` azure-iothub and azure-iot-provisioning-service (Node), connection strings.
    pub fn from_connection_string(text: &str) -> Result<Self, LoginError> {
        let all = ConnectionString::parse(text)?;
        if all.device_id().is_some() {
            return Err(LoginError::Device);
        }
        let host = all.host_name();
        match (all.shared_access_key_name(), all.expose_shared_access_key(), all.expose_shared_access_signature()) {
            (_, None, Some(token)) => Self::token(host, SasToken::parse(token)?),
            (Some(policy), Some(key), _) if !policy.is_empty() => {
                Self::policy(host, policy, SharedKey::from_base64(key)?)
            }
            (_, Some(_), _) => Err(LoginError::Missing("SharedAccessKeyName")),
            (_, None, None) => Err(LoginError::Missing("SharedAccessKey")),
        }
    }

    /// Authenticates with the key of a policy such as `iothubowner` or `provisioningserviceowner`.
    ///
    /// # Errors
    /// [`LoginError::Host`].
    pub fn policy(host: &str, policy: impl Into<String>, key: SharedKey) -> Result<Self, LoginError> {
        Self::new(host, Proof::Key { policy: policy.into(), key })
    }

    /// Authenticates with a SAS token that another program has signed. The client does not renew the token.
    ///
    /// # Errors
    /// [`LoginError::Host`].
    pub fn token(host: &str, token: SasToken) -> Result<Self, LoginError> {
        Self::new(host, Proof::Token(token))
    }

    /// Authenticates with a bearer token of Microsoft Entra. The client does not renew the token.
    ///
    /// # Errors
    /// [`LoginError::Host`], [`LoginError::Bearer`].
    pub fn bearer(host: &str, token: &str) -> Result<Self, LoginError> {
        let token = bearer_token(token).ok_or(LoginError::Bearer)?;
        Self::new(host, Proof::Bearer(token))
    }

    /// Authenticates with a bearer token of Microsoft Entra from a file. The file contains only the token, or a JSON
    /// object with `accessToken`, as `az account get-access-token` prints it.
    ///
    /// The client reads the file again before each attempt, and uses the token that the file contains at that time. If
    /// the file is a pipe, the client reads it once.
    ///
    /// # Errors
    /// [`LoginError::Host`].
    pub fn bearer_file(host: &str, file: impl Into<PathBuf>) -> Result<Self, LoginError> {
        Self::new(host, Proof::BearerFile(file.into()))
    }

    /// The host, without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// The name of the policy, if the login uses one.
    #[must_use]
    pub fn policy_name(&self) -> Option<&str> {
        match &self.proof {
            Proof::Key { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// The key of the policy, if the login uses one.
    #[must_use]
    pub const fn policy_key(&self) -> Option<&SharedKey> {
        match &self.proof {
            Proof::Key { key, .. } => Some(key),
            _ => None,
        }
    }

    fn new(host: &str, proof: Proof) -> Result<Self, LoginError> {
        Ok(Self { endpoint: endpoint(host).ok_or(LoginError::Host)?, proof })
    }
}

impl fmt::Debug for ServiceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceLogin")
            .field("endpoint", &self.endpoint.to_string())
            .field("proof", &self.proof)
            .finish()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { policy, .. } => f.debug_struct("Key").field("policy", policy).finish_non_exhaustive(),
            Self::Token(token) => f.debug_tuple("Token").field(token).finish(),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
            Self::BearerFile(file) => f.debug_tuple("BearerFile").field(file).finish(),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

/// Parses a host with an optional port.
fn endpoint(text: &str) -> Option<Endpoint> {
    let text = text.trim();
    let authority: hyper::http::uri::Authority = text.parse().ok()?;
    // `Authority` also accepts a text with a user name or an invalid port, but its host and port leave these parts out.
    // So such a text differs from `whole`, and is refused below.
    let whole = match authority.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if text != whole || host.is_empty() {
        return None;
    }
    Some(Endpoint::new(host, authority.port_u16().unwrap_or(HTTPS_PORT)))
}

/// Returns the bearer token in a text. The text is the token, or a JSON object with the member `accessToken`.
pub(crate) fn bearer_token(text: &str) -> Option<Zeroizing<String>> {
    #[derive(serde::Deserialize)]
    struct FromAz {
        #[serde(rename = "accessToken")]
        access_token: String,
    }
    let text = text.trim().trim_start_matches('\u{feff}');
    let token = if text.starts_with('{') {
        Zeroizing::new(serde_json::from_str::<FromAz>(text).ok()?.access_token)
    } else {
        Zeroizing::new(text.strip_prefix("Bearer ").unwrap_or(text).trim().to_owned())
    };
    let is_token = !token.is_empty() && token.bytes().all(|it| it.is_ascii_graphic());
    is_token.then_some(token)
}

/// Why a login is not valid. The error never contains a value from the login.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The text is not a valid connection string.
    #[error(transparent)]
    ConnectionString(#[from] ConnectionStringError),
    /// The connection string belongs to a device, not to a policy.
    #[error("this is the connection string of a device; the service API needs that of a shared access policy")]
    Device,
    /// A required part is absent or empty.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
    /// The host name is not valid.
    #[error("the host name is not valid; expected HOST or HOST:PORT")]
    Host,
    /// The shared access key is not valid.
    #[error("the shared access key cannot be used")]
    Key(#[from] KeyError),
    /// The shared access signature is not a valid SAS token.
    #[error("the shared access signature cannot be used")]
    Token(#[from] TokenError),
    /// The text contains no bearer token.
    #[error("the text is not a bearer token; expected one word, or JSON with `accessToken`")]
    Bearer,
}

hubward_proto::debug_as_error_report!(LoginError);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    #[test]
    fn parses_the_connection_string_of_a_policy() {
        let text = format!("HostName=contoso.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
        let login = ServiceLogin::from_connection_string(&text).expect("a login");
        assert_eq!((login.host(), login.endpoint.port), ("contoso.azure-devices.net", 443));
        assert_eq!(login.policy_name(), Some("iothubowner"));
        assert!(!format!("{login:?}").contains(KEY), "{login:?}");

        let text = format!("HostName=localhost:8443;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        let login = ServiceLogin::from_connection_string(&text).expect("a login");
        assert_eq!(login.endpoint, Endpoint::new("localhost", 8443));

        let text = "HostName=h;SharedAccessSignature=SharedAccessSignature sr=h&sig=YQ%3d%3d&se=1&skn=p";
        let login = ServiceLogin::from_connection_string(text).expect("a login");
        assert_eq!((login.policy_name(), login.policy_key().is_some()), (None, false));
    }

    #[test]
    fn errors_name_the_problem_and_never_a_value() {
        for (text, expected) in [
            ("", "the connection string is not `Name=Value;Name=Value`"),
            ("HostName=h;DeviceId=d;SharedAccessKey=cw==", "this is the connection string of a device"),
            ("HostName=h;SharedAccessKey=c2VjcmV0", "the connection string has no `SharedAccessKeyName`"),
            ("HostName=h;SharedAccessKeyName=p", "the connection string has no `SharedAccessKey`"),
            ("HostName=h;SharedAccessKeyName=p;SharedAccessKey=s!cr!t", "the shared access key cannot be used"),
            ("HostName=h;SharedAccessSignature=s!cr!t", "the shared access signature cannot be used"),
            (
                "HostName=a b;SharedAccessKeyName=p;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
                "the host name is not valid",
            ),
        ] {
            let error = ServiceLogin::from_connection_string(text).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{text}: {error}");
            assert!(!format!("{error:?}").contains("s!cr!t"), "{error:?}");
        }
    }

    #[test]
    fn a_host_may_have_a_port_and_nothing_else() {
        for (text, expected) in [
            ("contoso.azure-devices.net", Some(("contoso.azure-devices.net", 443))),
            (" localhost:8443 ", Some(("localhost", 8443))),
            ("[::1]:8443", Some(("::1", 8443))),
            ("127.0.0.1", Some(("127.0.0.1", 443))),
            ("", None),
            ("https://h", None),
            ("h/p", None),
            ("user@h", None),
            ("h:", None),
            ("h:x", None),
            ("h\r\nx", None),
        ] {
            let expected = expected.map(|(host, port)| Endpoint::new(host, port));
            assert_eq!(endpoint(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bearer_token_is_the_text_itself_or_in_the_output_of_az() {
        for (text, expected) in [
            ("eyJ0.e30.sig\n", Some("eyJ0.e30.sig")),
            ("\u{feff}eyJ0", Some("eyJ0")),
            ("Bearer eyJ0", Some("eyJ0")),
            (r#"{"accessToken": "eyJ0", "expiresOn": "2026-01-01"}"#, Some("eyJ0")),
            (r#"{"token": "eyJ0"}"#, None),
            ("", None),
            ("two words", None),
            ("eyJ\u{7}", None),
        ] {
            assert_eq!(bearer_token(text).as_ref().map(|it| it.as_str()), expected, "{text:?}");
        }
        let login = ServiceLogin::bearer("h", "eyJ0").expect("a token");
        assert!(!format!("{login:?}").contains("eyJ0"), "{login:?}");
        assert_eq!(ServiceLogin::bearer("h", "a b").expect_err("two words"), LoginError::Bearer);
    }
}
