//! Settings of a device that registers at DPS.

use hubward_dps::Assignment;
use hubward_proto::{IdScope, RegistrationId};
use hubward_transport::{Credential, Register, SharedKey, TransportKind};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::certificate_vars::{self, CertificateVars};
use crate::error::SettingsError;
use crate::settings_error::Problems;
use crate::vars::{self, non_blank};
use crate::{ConnectOptions, HubSettings};

/// The settings of a device that gets its hub from DPS. [`Settings::connect`] registers and connects the device.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::{Settings, SharedKey, TransportKind};
///
/// let host = "global.azure-devices-provisioning.net";
/// let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
/// let settings = Settings::new(host, "0ne00123ABC".parse()?, "dev-1".parse()?, key);
/// let hub = settings.transport(TransportKind::MqttWs).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct Settings {
    /// Host name of DPS, without a port. It has no default, because the device sends its credentials to this host.
    pub dps_host: String,
    /// The id scope, which identifies the DPS instance.
    pub id_scope: IdScope,
    /// The registration id of the device.
    pub registration_id: RegistrationId,
    /// The key, token, signer or certificate that proves the identity to DPS and to the hub.
    pub credential: Credential,
    /// Transport to DPS; MQTT by default.
    pub transport: TransportKind,
    /// Transport to the hub. With `None`, the client uses the transport to DPS, or MQTT if DPS uses HTTPS.
    pub hub_transport: Option<TransportKind>,
    /// Payload that DPS passes to the custom allocation webhook of the enrollment.
    pub payload: Option<Value>,
    /// Certificate authorities, timeout, user agent, options of the hub client.
    pub options: ConnectOptions,
}

impl Settings {
    /// Creates the settings of a device with a symmetric key of its own ([`SharedKey`]), with a certificate
    /// ([`ClientCertificate`](crate::ClientCertificate)), or with another [`Credential`]. Uses MQTT and default
    /// options.
    pub fn new(
        dps_host: impl Into<String>,
        id_scope: IdScope,
        registration_id: RegistrationId,
        credential: impl Into<Credential>,
    ) -> Self {
        Self {
            dps_host: dps_host.into(),
            id_scope,
            registration_id,
            credential: credential.into(),
            transport: TransportKind::Mqtt,
            hub_transport: None,
            payload: None,
            options: ConnectOptions::new(),
        }
    }

    /// Reads the environment:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `PROVISIONING_HOST` | host name of DPS, such as `global.azure-devices-provisioning.net` |
    /// | `PROVISIONING_IDSCOPE` | the id scope |
    /// | `PROVISIONING_REGISTRATION_ID` | the registration id of the device |
    /// | `PROVISIONING_SYMMETRIC_KEY` | the device's key, base64; in a group, the key derived from the group's key |
    /// | `X509_CERT_FILE` | a PEM file: the device's certificate, followed by the certificates of its issuers |
    /// | `X509_KEY_FILE` | a PEM file with the private key of the device's certificate |
    /// | `X509_PASS_PHRASE` | the passphrase that decrypts the private key |
    /// | `HUBWARD_TRANSPORT` | `https`, `mqtt` (default) or `mqtt-ws` |
    /// | `HUBWARD_CA_FILE` | a PEM file of certificate authorities to trust instead of the system's |
    /// | `HUBWARD_CONNECT_TO` | dial overrides: `HOST:PORT:ADDR:PORT`, separated by commas |
    ///
    /// The first three variables are required, and either the symmetric key or the two files of a certificate. These
    /// variables have the same names as in Microsoft's samples.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_vars(vars::read)
    }

    /// Like [`Settings::from_env`], but reads each variable with the given function.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let variable = |name: &str| non_blank(variable(name));
        let host = problems.required(vars::HOST, variable(vars::HOST), parse_host);
        let scope = problems.required(vars::ID_SCOPE, variable(vars::ID_SCOPE), |it| IdScope::new(it));
        let id =
            problems.required(vars::REGISTRATION_ID, variable(vars::REGISTRATION_ID), |it| RegistrationId::new(it));
        let credential = read_credential(&mut problems, variable);
        let transport = problems.optional(vars::TRANSPORT, variable(vars::TRANSPORT), str::parse);
        let mut options = ConnectOptions::new();
        options.read(&mut problems, variable);
        let all = (|| Some(Self::new(host?, scope?, id?, credential?)))();
        let mut settings = problems.into_result(all)?;
        settings.transport = transport.unwrap_or(settings.transport);
        settings.options = options;
        Ok(settings)
    }

    /// Sets [`Settings::transport`].
    pub const fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = transport;
        self
    }

    /// Sets [`Settings::hub_transport`].
    pub const fn hub_transport(mut self, hub_transport: TransportKind) -> Self {
        self.hub_transport = Some(hub_transport);
        self
    }

    /// Sets [`Settings::credential`].
    pub fn credential(mut self, credential: impl Into<Credential>) -> Self {
        self.credential = credential.into();
        self
    }

    /// Sets [`Settings::payload`].
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Changes [`Settings::options`]. `change` gets the current options, including those from the environment.
    pub fn options(mut self, change: impl FnOnce(ConnectOptions) -> ConnectOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// Returns [`Settings::hub_transport`] if it is set. Otherwise, returns the transport to DPS. If the transport to
    /// DPS is HTTPS, returns MQTT instead, because hubward does not support the hub's HTTPS API for devices yet.
    #[must_use]
    pub fn effective_hub_transport(&self) -> TransportKind {
        match (self.hub_transport, self.transport) {
            (Some(chosen), _) => chosen,
            (None, TransportKind::Https) => TransportKind::Mqtt,
            (None, same) => same,
        }
    }

    /// Returns the settings for the assigned hub and device. Copies the credential, the hub transport and the options.
    pub fn hub_settings(&self, assignment: &Assignment) -> HubSettings {
        let mut settings = HubSettings::new(assignment.identity(), self.credential.clone());
        settings.transport = self.effective_hub_transport();
        settings.options = self.options.clone();
        settings
    }

    /// Returns the registration request for these settings.
    pub fn registration_request(&self) -> Register {
        let request = Register::new(self.id_scope.clone(), self.registration_id.clone())
            .client_version(self.options.user_agent.clone());
        match &self.payload {
            Some(payload) => request.payload(payload.clone()),
            None => request,
        }
    }
}

/// Reads the symmetric key or the certificate. A device has one of the two.
fn read_credential(problems: &mut Problems, variable: impl Fn(&str) -> Option<String>) -> Option<Credential> {
    let key = variable(vars::SYMMETRIC_KEY).map(Zeroizing::new);
    if key.is_some() && certificate_vars::is_set(&variable) {
        let both = format!("{} is also set; a device has either a key or a certificate", vars::SYMMETRIC_KEY);
        problems.invalid(vars::CERT_FILE, both);
        return None;
    }
    match certificate_vars::read(problems, variable) {
        CertificateVars::Read(certificate) => Some(certificate.into()),
        CertificateVars::Broken => None,
        CertificateVars::Absent => {
            problems.required(vars::SYMMETRIC_KEY, key, SharedKey::from_base64).map(Credential::SharedKey)
        }
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    // The host name of DPS must follow the same rule as the host name of a hub: a name or an address, without scheme
    // and port.
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
            "not set: PROVISIONING_HOST, PROVISIONING_REGISTRATION_ID, PROVISIONING_SYMMETRIC_KEY (or X509_CERT_FILE \
             and X509_KEY_FILE)"
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
        assert_eq!((plain.transport, plain.options.ca_file.clone()), (TransportKind::Mqtt, None));
        let mut variables = complete();
        variables.extend([
            ("HUBWARD_TRANSPORT", "mqtt-ws"),
            ("HUBWARD_CA_FILE", "ca.pem"),
            ("HUBWARD_CONNECT_TO", ":443:127.0.0.1:8443, :8883:127.0.0.1:18883"),
        ]);
        let settings = read(&variables).expect("settings");
        assert_eq!(settings.transport, TransportKind::MqttWs);
        assert_eq!(settings.options.ca_file, Some("ca.pem".into()));
        assert_eq!(settings.options.dial_overrides.len(), 2);
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
