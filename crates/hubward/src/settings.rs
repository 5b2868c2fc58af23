//! Settings of a device that registers at DPS, from the environment or set one by one.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hubward_dial::ConnectTo;
use hubward_hub::HubOptions;
use hubward_proto::{IdScope, RegistrationId};
use hubward_sas::SharedKey;
use hubward_transport::{Credential, HubLogin, Register, TransportKind};
use serde_json::Value;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The default of [`Settings::user_agent`].
pub(crate) const USER_AGENT: &str = concat!("hubward/", env!("CARGO_PKG_VERSION"));

/// Everything [`connect`](crate::connect()) needs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Host name of DPS, without a port. There is no default: the host decides where a device sends
    /// its credentials.
    pub dps_host: String,
    /// The id scope, which names the DPS instance.
    pub id_scope: IdScope,
    /// The registration id of the device.
    pub registration_id: RegistrationId,
    /// The key, token or signer that proves the identity, at DPS and at the hub.
    pub credential: Credential,
    /// Transport to DPS; MQTT by default.
    pub transport: TransportKind,
    /// Transport to the hub; `None` means the one of DPS, or MQTT if that is HTTPS.
    pub hub_transport: Option<TransportKind>,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Rules that replace addresses, in the form of curl's `--connect-to`.
    pub connect_to: Vec<ConnectTo>,
    /// Payload for the custom allocation webhook of the enrollment.
    pub payload: Option<Value>,
    /// Timeout of registration and first connection together; 2 minutes by default.
    pub timeout: Duration,
    /// Name and version of the program, such as `acme-pump/2.1`, for the services' diagnostics.
    pub user_agent: String,
    /// The PnP model that the client names to the hub, such as `dtmi:com:example:Thermostat;1`.
    pub model_id: Option<String>,
    /// How long the hub's connection may be silent before a ping goes out; see
    /// [`HubLogin::keep_alive`].
    pub keep_alive: Duration,
    /// Window, deadlines, token lifetime and back-off of the hub client.
    pub hub_options: HubOptions,
}

impl Settings {
    /// The default of [`Settings::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(120);

    /// The settings of a device with a symmetric key of its own.
    #[must_use]
    pub fn new(
        dps_host: impl Into<String>,
        id_scope: IdScope,
        registration_id: RegistrationId,
        key: SharedKey,
    ) -> Self {
        Self {
            dps_host: dps_host.into(),
            id_scope,
            registration_id,
            credential: Credential::SharedKey(key),
            transport: TransportKind::Mqtt,
            hub_transport: None,
            ca_file: None,
            connect_to: Vec::new(),
            payload: None,
            timeout: Self::TIMEOUT,
            user_agent: USER_AGENT.to_owned(),
            model_id: None,
            keep_alive: HubLogin::KEEP_ALIVE,
            hub_options: HubOptions::default(),
        }
    }

    /// Reads the environment:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `PROVISIONING_HOST` | host name of DPS, such as `global.azure-devices-provisioning.net` |
    /// | `PROVISIONING_IDSCOPE` | the id scope |
    /// | `PROVISIONING_REGISTRATION_ID` | the registration id of the device |
    /// | `PROVISIONING_SYMMETRIC_KEY` | the device's key, base64: its own, or derived from a group's |
    /// | `HUBWARD_TRANSPORT` | `https`, `mqtt` (default) or `mqtt-ws` |
    /// | `HUBWARD_CA_FILE` | a PEM file of certificate authorities to trust instead of the system's |
    /// | `HUBWARD_CONNECT_TO` | rules that replace addresses: `HOST:PORT:ADDR:PORT`, separated by commas |
    ///
    /// The first four have the names of Microsoft's samples and are required.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Like [`Settings::from_env`], but reads each variable with the given function.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let variable = |name: &str| variable(name).filter(|it| set(it));
        let host = problems.required(vars::HOST, variable(vars::HOST), parse_host);
        let scope = problems.required(vars::ID_SCOPE, variable(vars::ID_SCOPE), |it| IdScope::new(it));
        let id =
            problems.required(vars::REGISTRATION_ID, variable(vars::REGISTRATION_ID), |it| RegistrationId::new(it));
        let key = variable(vars::SYMMETRIC_KEY).map(Zeroizing::new);
        let key = problems.required(vars::SYMMETRIC_KEY, key, SharedKey::from_base64);
        let transport = problems.optional(vars::TRANSPORT, variable(vars::TRANSPORT), str::parse);
        let connect_to = problems.optional(vars::CONNECT_TO, variable(vars::CONNECT_TO), ConnectTo::parse_list);
        let all = (|| Some(Self::new(host?, scope?, id?, key?)))();
        let mut settings = problems.into_result(all)?;
        settings.transport = transport.unwrap_or(settings.transport);
        settings.connect_to = connect_to.unwrap_or_default();
        settings.ca_file = variable(vars::CA_FILE).map(PathBuf::from);
        Ok(settings)
    }

    /// Sets [`Settings::transport`].
    #[must_use]
    pub const fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = transport;
        self
    }

    /// Sets [`Settings::hub_transport`].
    #[must_use]
    pub const fn hub_transport(mut self, hub_transport: TransportKind) -> Self {
        self.hub_transport = Some(hub_transport);
        self
    }

    /// Sets [`Settings::credential`].
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// Sets [`Settings::ca_file`].
    #[must_use]
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }

    /// Sets [`Settings::connect_to`].
    #[must_use]
    pub fn connect_to(mut self, connect_to: Vec<ConnectTo>) -> Self {
        self.connect_to = connect_to;
        self
    }

    /// Sets [`Settings::payload`].
    #[must_use]
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Sets [`Settings::timeout`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`Settings::user_agent`], such as `acme-pump/2.1`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets [`Settings::model_id`], such as `dtmi:com:example:Thermostat;1`.
    #[must_use]
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets [`Settings::keep_alive`].
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets [`Settings::hub_options`].
    #[must_use]
    pub fn hub_options(mut self, hub_options: HubOptions) -> Self {
        self.hub_options = hub_options;
        self
    }

    /// The transport to the hub: [`Settings::hub_transport`] if it is set, otherwise the transport to DPS. If
    /// that is HTTPS, it is MQTT, since hubward does not support the hub's HTTPS API yet.
    #[must_use]
    pub fn effective_hub_transport(&self) -> TransportKind {
        match (self.hub_transport, self.transport) {
            (Some(chosen), _) => chosen,
            (None, TransportKind::Https) => TransportKind::Mqtt,
            (None, same) => same,
        }
    }

    /// The deadline of an attempt that starts now; for [`connect_assigned`](crate::connect_assigned).
    #[must_use]
    pub fn deadline(&self) -> Instant {
        far(Instant::now(), self.timeout)
    }

    /// The registration request that these settings describe.
    #[must_use]
    pub fn register(&self) -> Register {
        let request =
            Register::new(self.id_scope.clone(), self.registration_id.clone()).client_version(self.user_agent.clone());
        match &self.payload {
            Some(payload) => request.payload(payload.clone()),
            None => request,
        }
    }
}

/// `duration` after `now`, limited to a century: a larger sum could overflow the clock.
pub(crate) fn far(now: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now + duration.min(CENTURY)
}

/// Whether a variable has a value. A shell passes an unset value as an empty one.
pub(crate) fn set(value: &str) -> bool {
    !value.trim().is_empty()
}

/// The names of the variables that [`Settings::from_env`] and
/// [`HubSettings::from_env`](crate::HubSettings::from_env) read.
pub mod vars {
    /// The connection string of a device or module that knows its hub.
    pub const CONNECTION_STRING: &str = "IOTHUB_DEVICE_CONNECTION_STRING";
    /// Host name of DPS.
    pub const HOST: &str = "PROVISIONING_HOST";
    /// The id scope.
    pub const ID_SCOPE: &str = "PROVISIONING_IDSCOPE";
    /// The registration id of the device.
    pub const REGISTRATION_ID: &str = "PROVISIONING_REGISTRATION_ID";
    /// The device's key, base64.
    pub const SYMMETRIC_KEY: &str = "PROVISIONING_SYMMETRIC_KEY";
    /// `https`, `mqtt` or `mqtt-ws`.
    pub const TRANSPORT: &str = "HUBWARD_TRANSPORT";
    /// A PEM file of certificate authorities to trust.
    pub const CA_FILE: &str = "HUBWARD_CA_FILE";
    /// Rules that replace addresses.
    pub const CONNECT_TO: &str = "HUBWARD_CONNECT_TO";
}

/// The missing and the invalid variables. Its text names all of them, and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<SettingsProblem>,
}

/// One problem of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsProblem {
    /// Name of the variable.
    pub variable: &'static str,
    /// Why the value is invalid; `None` if the variable is missing.
    pub invalid: Option<String>,
}

impl SettingsError {
    /// All problems, in the order of the table at [`Settings::from_env`].
    #[must_use]
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: Vec<&str> = self.problems.iter().filter(|it| it.invalid.is_none()).map(|it| it.variable).collect();
        if !missing.is_empty() {
            write!(f, "not set: {}", missing.join(", "))?;
        }
        let mut separator = if missing.is_empty() { "" } else { "; " };
        for problem in &self.problems {
            if let Some(invalid) = &problem.invalid {
                write!(f, "{separator}{}: {invalid}", problem.variable)?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// Collects the problems of all variables, so that one error names them all.
#[derive(Default)]
pub(crate) struct Problems(Vec<SettingsProblem>);

impl Problems {
    /// The settings, or all problems as an error.
    pub(crate) fn into_result<T>(self, read: Option<T>) -> Result<T, SettingsError> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(SettingsError { problems: self.0 }),
        }
    }

    pub(crate) fn required<S: AsRef<str>, T, E: fmt::Display>(
        &mut self,
        variable: &'static str,
        value: Option<S>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if value.is_none() {
            self.0.push(SettingsProblem { variable, invalid: None });
        }
        self.optional(variable, value, parse)
    }

    pub(crate) fn optional<S: AsRef<str>, T, E: fmt::Display>(
        &mut self,
        variable: &'static str,
        value: Option<S>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(value?.as_ref().trim()) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.0.push(SettingsProblem { variable, invalid: Some(problem.to_string()) });
                None
            }
        }
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    // The same rule as for a hub: a name or an address, no scheme, no port.
    match hubward_proto::HubHost::new(text) {
        Ok(host) => Ok(host.to_string()),
        Err(_) => Err(format!("`{text}` is not a host name (no https://, no port)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    fn complete() -> Vec<(&'static str, &'static str)> {
        vec![
            ("PROVISIONING_HOST", "dps.example"),
            ("PROVISIONING_IDSCOPE", "0ne1"),
            ("PROVISIONING_REGISTRATION_ID", "dev-1"),
            ("PROVISIONING_SYMMETRIC_KEY", KEY),
        ]
    }

    #[test]
    fn names_every_missing_variable_at_once() {
        let error = read(&[("PROVISIONING_IDSCOPE", "0ne1"), ("PROVISIONING_HOST", "")]).expect_err("incomplete");
        assert_eq!(
            error.to_string(),
            "not set: PROVISIONING_HOST, PROVISIONING_REGISTRATION_ID, PROVISIONING_SYMMETRIC_KEY"
        );
    }

    #[test]
    fn names_invalid_and_missing_variables_and_never_the_key() {
        let error = read(&[
            ("PROVISIONING_HOST", "https://dps.example"),
            ("PROVISIONING_IDSCOPE", "0ne 1"),
            ("PROVISIONING_SYMMETRIC_KEY", "hush"),
            ("HUBWARD_TRANSPORT", "amqp"),
        ])
        .expect_err("wrong");
        let text = error.to_string();
        assert!(text.starts_with("not set: PROVISIONING_REGISTRATION_ID; PROVISIONING_HOST: `https://"), "{text}");
        assert!(text.contains("PROVISIONING_SYMMETRIC_KEY: the symmetric key has 3 bytes"), "{text}");
        assert!(text.contains("HUBWARD_TRANSPORT: `amqp` is not a supported transport"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn reads_the_optional_variables() {
        let plain = read(&complete()).expect("settings");
        assert_eq!((plain.transport, plain.ca_file.clone()), (TransportKind::Mqtt, None));
        let mut variables = complete();
        variables.extend([
            ("HUBWARD_TRANSPORT", "mqtt-ws"),
            ("HUBWARD_CA_FILE", "ca.pem"),
            ("HUBWARD_CONNECT_TO", ":443:127.0.0.1:8443, :8883:127.0.0.1:18883"),
        ]);
        let settings = read(&variables).expect("settings");
        assert_eq!(settings.transport, TransportKind::MqttWs);
        assert_eq!(settings.ca_file, Some("ca.pem".into()));
        assert_eq!(settings.connect_to.len(), 2);
        assert!(!format!("{settings:?}").contains("AAEC"));
    }

    #[test]
    fn the_transport_to_the_hub_is_the_one_of_dps_or_mqtt() {
        let settings = || read(&complete()).expect("settings");
        for (dps, chosen, expected) in [
            (TransportKind::Https, None, TransportKind::Mqtt),
            (TransportKind::Mqtt, None, TransportKind::Mqtt),
            (TransportKind::MqttWs, None, TransportKind::MqttWs),
            (TransportKind::Https, Some(TransportKind::MqttWs), TransportKind::MqttWs),
            (TransportKind::Mqtt, Some(TransportKind::Https), TransportKind::Https),
        ] {
            let mut settings = settings().transport(dps);
            settings.hub_transport = chosen;
            assert_eq!(settings.effective_hub_transport(), expected);
        }
    }
}
