//! Settings of a device that knows its hub, from a connection string or from DPS.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hubward_dial::ConnectTo;
use hubward_dps::Assignment;
use hubward_hub::{HubClient, HubOptions};
use hubward_proto::hub::HubIdentity;
use hubward_sas::ConnectionString;
use hubward_transport::{Credential, HubLogin, HubTransport, TransportKind};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::connection_string::{DeviceStringError, interpret};
use crate::settings::{Problems, USER_AGENT, far, set};
use crate::transports::hub_transport_with;
use crate::{Settings, SettingsError, SetupError, vars};

/// No connection string is nearly as long.
const CONNECTION_STRING_FILE_MAX: u64 = 64 * 1024;

/// Everything [`connect_to_hub`](crate::connect_to_hub) needs.
///
/// ```
/// use hubward::{HubSettings, TransportKind};
///
/// let text = "HostName=contoso.azure-devices.net;DeviceId=dev-1;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
/// let settings = HubSettings::from_connection_string(text)?.transport(TransportKind::MqttWs);
/// assert_eq!(settings.identity.device.as_str(), "dev-1");
/// # Ok::<(), hubward::DeviceStringError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubSettings {
    /// The device, or a module of it, and its hub.
    pub identity: HubIdentity,
    /// The key, token or signer that proves the identity.
    pub credential: Credential,
    /// Transport to the hub; MQTT by default.
    pub transport: TransportKind,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Rules that replace addresses, in the form of curl's `--connect-to`.
    pub connect_to: Vec<ConnectTo>,
    /// How long the first connection may take; 2 minutes by default.
    pub timeout: Duration,
    /// Name and version of the program, such as `acme-pump/2.1`, for the service's diagnostics.
    pub user_agent: String,
    /// The PnP model, such as `dtmi:com:example:Thermostat;1`.
    pub model_id: Option<String>,
    /// How long the connection may be silent before a ping goes out; see [`HubLogin::keep_alive`].
    pub keep_alive: Duration,
    /// Window, deadlines, token lifetime, back-off.
    pub options: HubOptions,
}

impl HubSettings {
    /// The settings of a device or module.
    #[must_use]
    pub fn new(identity: HubIdentity, credential: Credential) -> Self {
        Self {
            identity,
            credential,
            transport: TransportKind::Mqtt,
            ca_file: None,
            connect_to: Vec::new(),
            timeout: Settings::TIMEOUT,
            user_agent: USER_AGENT.to_owned(),
            model_id: None,
            keep_alive: HubLogin::KEEP_ALIVE,
            options: HubOptions::default(),
        }
    }

    /// Reads a connection string as the Azure portal shows it:
    /// `HostName=…;DeviceId=…[;ModuleId=…];SharedAccessKey=…`, or `SharedAccessSignature=…` instead
    /// of the key.
    ///
    /// # Errors
    /// [`DeviceStringError`] names the invalid part, never its value.
    pub fn from_connection_string(text: &str) -> Result<Self, DeviceStringError> {
        Self::try_from(&ConnectionString::parse(text)?)
    }

    /// Reads the connection string from a file of at most 64 KiB that contains nothing else.
    ///
    /// # Errors
    /// [`DeviceStringError::File`] if the file cannot be read; otherwise the errors of
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
    /// | `HUBWARD_TRANSPORT` | `mqtt` (default) or `mqtt-ws` |
    /// | `HUBWARD_CA_FILE` | a PEM file of certificate authorities to trust instead of the system's |
    /// | `HUBWARD_CONNECT_TO` | rules that replace addresses: `HOST:PORT:ADDR:PORT`, separated by commas |
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Like [`HubSettings::from_env`], but reads each variable with the given function.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let variable = |name: &str| variable(name).filter(|it| set(it));
        let text = variable(vars::CONNECTION_STRING).map(Zeroizing::new);
        let settings = problems.required(vars::CONNECTION_STRING, text, Self::from_connection_string);
        let transport = problems.optional(vars::TRANSPORT, variable(vars::TRANSPORT), str::parse);
        let connect_to = problems.optional(vars::CONNECT_TO, variable(vars::CONNECT_TO), ConnectTo::parse_list);
        let mut settings = problems.into_result(settings)?;
        settings.transport = transport.unwrap_or(settings.transport);
        settings.connect_to = connect_to.unwrap_or_default();
        settings.ca_file = variable(vars::CA_FILE).map(PathBuf::from);
        Ok(settings)
    }

    /// The hub and device id that DPS has assigned; everything else as in `settings`.
    #[must_use]
    pub fn assigned(settings: &Settings, assignment: &Assignment) -> Self {
        Self {
            identity: assignment.identity(),
            credential: settings.credential.clone(),
            transport: settings.effective_hub_transport(),
            ca_file: settings.ca_file.clone(),
            connect_to: settings.connect_to.clone(),
            timeout: settings.timeout,
            user_agent: settings.user_agent.clone(),
            model_id: settings.model_id.clone(),
            keep_alive: settings.keep_alive,
            options: settings.hub_options.clone(),
        }
    }

    /// Sets [`HubSettings::transport`].
    #[must_use]
    pub const fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = transport;
        self
    }

    /// Sets [`HubSettings::ca_file`].
    #[must_use]
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }

    /// Sets [`HubSettings::connect_to`].
    #[must_use]
    pub fn connect_to(mut self, connect_to: Vec<ConnectTo>) -> Self {
        self.connect_to = connect_to;
        self
    }

    /// Sets [`HubSettings::timeout`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`HubSettings::user_agent`], such as `acme-pump/2.1`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets [`HubSettings::model_id`], such as `dtmi:com:example:Thermostat;1`.
    #[must_use]
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets [`HubSettings::keep_alive`].
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets [`HubSettings::options`].
    #[must_use]
    pub fn options(mut self, options: HubOptions) -> Self {
        self.options = options;
        self
    }

    /// The deadline of a connection attempt that starts now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        far(Instant::now(), self.timeout)
    }

    /// The login that these settings describe.
    #[must_use]
    pub fn login(&self) -> HubLogin {
        let mut login =
            HubLogin::new(self.identity.clone()).user_agent(self.user_agent.clone()).keep_alive(self.keep_alive);
        login.model_id.clone_from(&self.model_id);
        login
    }

    /// Creates the transport that these settings describe.
    ///
    /// # Errors
    /// The errors of [`hub_transport`](crate::hub_transport).
    pub fn hub_transport(&self) -> Result<Arc<dyn HubTransport>, SetupError> {
        hub_transport_with(self.transport, self.ca_file.as_deref(), &self.connect_to)
    }

    /// Creates a client. The client starts connecting in the background.
    ///
    /// # Errors
    /// The errors of [`hub_transport`](crate::hub_transport).
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub fn spawn(&self) -> Result<HubClient, SetupError> {
        Ok(self.spawn_over(self.hub_transport()?))
    }

    pub(crate) fn spawn_over(&self, transport: Arc<dyn HubTransport>) -> HubClient {
        HubClient::spawn(transport, self.login(), self.credential.clone(), self.options.clone())
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
    use super::*;

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
        assert_eq!((settings.transport, settings.connect_to.len()), (TransportKind::MqttWs, 1));
        assert_eq!(settings.ca_file, Some("ca.pem".into()));
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
        let settings = settings
            .user_agent("acme-pump/2.1")
            .model_id("dtmi:com:example:Thermostat;1")
            .keep_alive(Duration::from_secs(20));
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
