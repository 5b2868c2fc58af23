//! The grammar of connection strings: `Name=Value` joined by `;`. This module does not interpret the values.

use std::fmt;

use zeroize::Zeroizing;

const HOST_NAME: &str = "HostName";
const DEVICE_ID: &str = "DeviceId";
const MODULE_ID: &str = "ModuleId";
const GATEWAY_HOST_NAME: &str = "GatewayHostName";
const KEY_NAME: &str = "SharedAccessKeyName";
const KEY: &str = "SharedAccessKey";
const SIGNATURE: &str = "SharedAccessSignature";
const X509: &str = "x509";
const KNOWN: [&str; 8] = [HOST_NAME, DEVICE_ID, MODULE_ID, GATEWAY_HOST_NAME, KEY_NAME, KEY, SIGNATURE, X509];

/// A connection string of a device, a module or a service policy.
///
/// ```
/// use hubward_sas::ConnectionString;
///
/// let text = "HostName=contoso.azure-devices.net;DeviceId=device1;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
/// let device = ConnectionString::parse(text)?;
/// assert_eq!(device.host_name(), "contoso.azure-devices.net");
/// assert_eq!(device.device_id(), Some("device1"));
/// assert_eq!(device.expose_shared_access_key(), Some("AAECAwQFBgcICQoLDA0ODw=="));
/// # Ok::<(), hubward_sas::ConnectionStringError>(())
/// ```
///
/// A connection string is wiped from memory when dropped. `Debug` shows the host and the ids, never a key or a token.
#[derive(Clone)]
pub struct ConnectionString {
    fields: Vec<(String, Zeroizing<String>)>,
}

impl ConnectionString {
    /// Parses the text that the Azure portal shows. Ignores one trailing `;`. Also ignores whitespace around the text,
    /// because connection strings usually come from files.
    ///
    /// # Errors
    /// [`ConnectionStringError`] names the problem, never a value.
    ///
    /// Source: `[sdk]` azure-iot-sdk-python, connection_string.py, for the errors; azure-iot-common
    /// (Node) for the trailing `;` and for unknown names; vectors `cs-*`.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let text = text.trim();
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for field in text.strip_suffix(';').unwrap_or(text).split(';') {
            // Split at the first `=` only, because the padding of a base64 key may contain more `=` characters.
            let (name, value) = field.split_once('=').ok_or(ConnectionStringError::Field)?;
            if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric()) {
                return Err(ConnectionStringError::Name);
            }
            if fields.iter().any(|(it, _)| it == name) {
                return Err(ConnectionStringError::Duplicate(name.to_owned()));
            }
            fields.push((name.to_owned(), Zeroizing::new(value.to_owned())));
        }
        let all = Self { fields };
        if all.value(HOST_NAME).is_none_or(str::is_empty) {
            return Err(ConnectionStringError::Missing(HOST_NAME));
        }
        Ok(all)
    }

    /// `HostName`: the host name of the hub or of the DPS.
    #[must_use]
    pub fn host_name(&self) -> &str {
        self.value(HOST_NAME).unwrap_or_default()
    }

    /// `DeviceId`.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        self.value(DEVICE_ID)
    }

    /// `ModuleId`.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.value(MODULE_ID)
    }

    /// `GatewayHostName`: the edge gateway to connect to instead of the hub.
    #[must_use]
    pub fn gateway_host_name(&self) -> Option<&str> {
        self.value(GATEWAY_HOST_NAME)
    }

    /// `SharedAccessKeyName`: the name of a service policy.
    #[must_use]
    pub fn shared_access_key_name(&self) -> Option<&str> {
        self.value(KEY_NAME)
    }

    /// `x509=true`: the device authenticates with a certificate instead of a key.
    #[must_use]
    pub fn is_x509(&self) -> bool {
        self.value(X509).is_some_and(|it| it.eq_ignore_ascii_case("true"))
    }

    /// Reveals `SharedAccessKey`, in base64.
    #[must_use]
    pub fn expose_shared_access_key(&self) -> Option<&str> {
        self.value(KEY)
    }

    /// Reveals `SharedAccessSignature`: a token that was signed elsewhere.
    #[must_use]
    pub fn expose_shared_access_signature(&self) -> Option<&str> {
        self.value(SIGNATURE)
    }

    /// Returns the names that this version does not know. The caller can print a warning, because unknown names are
    /// often misspelt.
    pub fn unknown_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str()).filter(|it| !KNOWN.contains(it))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|(it, value)| (it == name).then_some(value.as_str()))
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host_name", &self.host_name())
            .field("device_id", &self.device_id())
            .field("module_id", &self.module_id())
            .finish_non_exhaustive()
    }
}

/// Why a text is not a valid connection string. Never contains a value.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// A part is not `Name=Value`.
    #[error("the connection string is not `Name=Value;Name=Value`")]
    Field,
    /// A name is empty, or contains a character other than a letter or a digit.
    #[error("a name in the connection string is empty, or contains characters other than letters and digits")]
    Name,
    /// A name occurs twice.
    #[error("the connection string contains `{0}` twice")]
    Duplicate(String),
    /// A required part is absent or empty. Names are case-sensitive.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
}

impl fmt::Debug for ConnectionStringError {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_errors_name_the_problem_and_never_a_value() {
        for (text, expected) in [
            ("", ConnectionStringError::Field),
            ("HostName", ConnectionStringError::Field),
            ("HostName=h;;DeviceId=d", ConnectionStringError::Field),
            ("HostName=h; DeviceId=d", ConnectionStringError::Name),
            ("=h", ConnectionStringError::Name),
            ("HostName=h;DeviceId=secret;DeviceId=secret", ConnectionStringError::Duplicate("DeviceId".into())),
            ("hostname=secret", ConnectionStringError::Missing("HostName")),
            ("HostName=;DeviceId=secret", ConnectionStringError::Missing("HostName")),
        ] {
            let error = ConnectionString::parse(text).expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn debug_shows_ids_and_no_secret() {
        let text = "HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0;SharedAccessSignature=signed;Foo=bar;\n";
        let read = ConnectionString::parse(text).expect("a connection string");
        let shown = format!("{read:?}");
        assert!(shown.contains("\"h\"") && shown.contains("\"d\""), "{shown}");
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("signed") && !shown.contains("bar"), "{shown}");
        assert_eq!(read.unknown_names().collect::<Vec<_>>(), ["Foo"]);
        assert!(!read.is_x509());
    }
}
