//! Settings for connecting to a known hub: from a connection string, an identity and key, or the result of DPS.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hubward_proto::hub::HubIdentity;
use hubward_sas::ConnectionString;
use hubward_transport::{Credential, HubLogin, TransportKind};
use zeroize::Zeroizing;

use crate::ConnectOptions;
use crate::certificate_vars::{self, CertificateVars};
use crate::connection_string::interpret;
use crate::error::{DeviceStringError, SettingsError};
use crate::settings_error::Problems;
use crate::vars::{self, non_blank};

/// Maximum size of the file in bytes: far longer than any connection string.
const CONNECTION_STRING_FILE_MAX: u64 = 64 * 1024;

/// The settings for connecting a device or module to a known hub. [`HubSettings::connect`] opens the connection.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::{HubSettings, Message, TransportKind};
///
/// let text = std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?;
/// let settings = HubSettings::from_connection_string(&text)?.transport(TransportKind::MqttWs);
/// let hub = settings.connect().await?;
/// hub.send(Message::new("21.5")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct HubSettings {
    /// The device, or a module of a device, and the hub.
    pub identity: HubIdentity,
    /// The key, token, signer or certificate that proves the identity.
    pub credential: Credential,
    /// Transport to the hub; MQTT by default.
    pub transport: TransportKind,
    /// Certificate authorities, timeout, user agent, options of the hub client.
    pub options: ConnectOptions,
}

impl HubSettings {
    /// Creates the settings of a device or module, with MQTT and default options.
    pub fn new(identity: HubIdentity, credential: impl Into<Credential>) -> Self {
        let credential = credential.into();
        Self { identity, credential, transport: TransportKind::Mqtt, options: ConnectOptions::new() }
    }

    /// Reads a connection string in the form that the Azure portal shows:
    /// `HostName=…;DeviceId=…[;ModuleId=…];SharedAccessKey=…`, or with `SharedAccessSignature=…` instead of the key.
    ///
    /// With `x509=true` instead of the key, the device logs in with a certificate. Set it with
    /// [`HubSettings::credential`](HubSettings::credential()).
    ///
    /// # Errors
    /// [`DeviceStringError`] names the invalid part, but never contains its value.
    pub fn from_connection_string(text: &str) -> Result<Self, DeviceStringError> {
        Self::try_from(&ConnectionString::parse(text)?)
    }

    /// Reads the connection string from a file. The file may contain nothing else, and at most 64 KiB.
    ///
    /// # Errors
    /// [`DeviceStringError::File`] if the file cannot be read or is larger than 64 KiB. Otherwise, the errors of
    /// [`HubSettings::from_connection_string`].
    pub fn from_connection_string_file(file: impl AsRef<Path>) -> Result<Self, DeviceStringError> {
        let file = file.as_ref();
        let refused = |problem: String| DeviceStringError::File { file: file.to_owned(), problem };
        let mut text = Zeroizing::new(String::new());
        let opened = File::open(file);
        let read = opened.and_then(|it| it.take(CONNECTION_STRING_FILE_MAX + 1).read_to_string(&mut text));
        read.map_err(|error| refused(error.to_string()))?;
        if text.len() as u64 > CONNECTION_STRING_FILE_MAX {
            return Err(refused(format!("it is larger than {CONNECTION_STRING_FILE_MAX} bytes")));
        }
        Self::from_connection_string(&text)
    }

    /// Reads the environment:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `IOTHUB_DEVICE_CONNECTION_STRING` | the device's connection string, required |
    /// | `X509_CERT_FILE` | a PEM file: the device's certificate, followed by the certificates of its issuers |
    /// | `X509_KEY_FILE` | a PEM file with the private key of the device's certificate |
    /// | `X509_PASS_PHRASE` | the passphrase that decrypts the private key |
    /// | `HUBWARD_TRANSPORT` | `mqtt` (default) or `mqtt-ws` |
    /// | `HUBWARD_CA_FILE` | a PEM file of certificate authorities to trust instead of the system's |
    /// | `HUBWARD_CONNECT_TO` | dial overrides: `HOST:PORT:ADDR:PORT`, separated by commas |
    ///
    /// The two files of a certificate are required if the connection string contains `x509=true`. Otherwise, they must
    /// not be set.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_vars(vars::read)
    }

    /// Like [`HubSettings::from_env`], but reads each variable with the given function.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let variable = |name: &str| non_blank(variable(name));
        let text = variable(vars::CONNECTION_STRING).map(Zeroizing::new);
        let settings = problems.required(vars::CONNECTION_STRING, text, Self::from_connection_string);
        let settings = settings.and_then(|it| it.with_certificate(&mut problems, variable));
        let transport = problems.optional(vars::TRANSPORT, variable(vars::TRANSPORT), str::parse);
        let mut options = ConnectOptions::new();
        options.read(&mut problems, variable);
        let mut settings = problems.into_result(settings)?;
        settings.transport = transport.unwrap_or(settings.transport);
        settings.options = options;
        Ok(settings)
    }

    /// Adds the certificate of the variables if the connection string says that the device has one.
    fn with_certificate(mut self, problems: &mut Problems, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if !matches!(self.credential, Credential::MissingCertificate) {
            if certificate_vars::is_set(variable) {
                let both = format!("{} has a key or token; write `x509=true` instead", vars::CONNECTION_STRING);
                problems.invalid(vars::CERT_FILE, both);
                return None;
            }
            return Some(self);
        }
        match certificate_vars::read(problems, variable) {
            CertificateVars::Read(certificate) => {
                self.credential = certificate.into();
                Some(self)
            }
            CertificateVars::Broken => None,
            CertificateVars::Absent => {
                problems.missing(vars::CERT_FILE);
                problems.missing(vars::KEY_FILE);
                None
            }
        }
    }

    /// Sets [`HubSettings::transport`].
    pub const fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = transport;
        self
    }

    /// Sets [`HubSettings::credential`](field@HubSettings::credential), for example the certificate of a device whose
    /// connection string contains `x509=true`.
    pub fn credential(mut self, credential: impl Into<Credential>) -> Self {
        self.credential = credential.into();
        self
    }

    /// Changes [`HubSettings::options`]. `change` gets the current options, including those from the environment.
    pub fn options(mut self, change: impl FnOnce(ConnectOptions) -> ConnectOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// Returns the login for these settings.
    pub fn login(&self) -> HubLogin {
        let ConnectOptions { user_agent, model_id, keep_alive, .. } = &self.options;
        let mut login = HubLogin::new(self.identity.clone()).user_agent(user_agent.clone()).keep_alive(*keep_alive);
        login.model_id.clone_from(model_id);
        login
    }
}

impl TryFrom<&ConnectionString> for HubSettings {
    type Error = DeviceStringError;

    fn try_from(text: &ConnectionString) -> Result<Self, DeviceStringError> {
        let (identity, credential) = interpret(text)?;
        Ok(Self::new(identity, credential))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connect_options::USER_AGENT;

    const TEXT: &str = "HostName=contoso.azure-devices.net;DeviceId=dev-1;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";

    fn read(variables: &[(&str, &str)]) -> Result<HubSettings, SettingsError> {
        HubSettings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, it)| (*it).to_owned()))
    }

    #[test]
    fn reads_the_environment_and_names_every_problem_without_the_key() {
        let settings = read(&[
            ("IOTHUB_DEVICE_CONNECTION_STRING", TEXT),
            ("HUBWARD_TRANSPORT", "mqtt-ws"),
            ("HUBWARD_CA_FILE", "ca.pem"),
            ("HUBWARD_CONNECT_TO", ":443:127.0.0.1:8443"),
        ])
        .expect("settings");
        assert_eq!((settings.transport, settings.options.dial_overrides.len()), (TransportKind::MqttWs, 1));
        assert_eq!(settings.options.ca_file, Some("ca.pem".into()));
        assert!(!format!("{settings:?}").contains("AAEC"));

        let missing = read(&[("IOTHUB_DEVICE_CONNECTION_STRING", " ")]).expect_err("empty");
        assert_eq!(missing.to_string(), "not set: IOTHUB_DEVICE_CONNECTION_STRING");
        let wrong = TEXT.replace("DeviceId=dev-1;", "DeviceId=dev-1 ");
        let error = read(&[("IOTHUB_DEVICE_CONNECTION_STRING", &wrong), ("HUBWARD_TRANSPORT", "amqp")])
            .expect_err("a part is wrong")
            .to_string();
        assert!(error.contains("IOTHUB_DEVICE_CONNECTION_STRING: `DeviceId`") && error.contains("amqp"), "{error}");
        assert!(!error.contains("AAEC"), "{error}");
    }

    #[test]
    fn the_login_has_the_values_that_were_set() {
        let settings = HubSettings::from_connection_string(TEXT).expect("a device");
        assert_eq!(settings.login(), HubLogin::new(settings.identity.clone()).user_agent(USER_AGENT));
        let settings = settings.options(|it| {
            it.user_agent("acme-pump/2.1").model_id("dtmi:com:example:Thermostat;1").keep_alive(Duration::from_secs(20))
        });
        let expected = HubLogin::new(settings.identity.clone())
            .user_agent("acme-pump/2.1")
            .model_id("dtmi:com:example:Thermostat;1")
            .keep_alive(Duration::from_secs(20));
        assert_eq!(settings.login(), expected);
    }

    #[test]
    fn an_error_names_the_file_that_cannot_be_read() {
        let error = HubSettings::from_connection_string_file("there/is/no/such/file").expect_err("no file");
        assert!(error.to_string().starts_with("the file there/is/no/such/file cannot be read: "), "{error}");
        #[cfg(unix)]
        {
            let error = HubSettings::from_connection_string_file("/dev/zero").expect_err("no end");
            assert!(error.to_string().contains("it is larger than 65536 bytes"), "{error}");
        }
    }
}
