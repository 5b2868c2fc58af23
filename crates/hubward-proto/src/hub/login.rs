//! The identity of a device at its hub: the MQTT client id, the user name and the resource of its token.

use std::fmt;

use crate::percent::{decode, encode};
use crate::{DeviceId, HubHost, ModuleId, ProtoError};

/// The `api-version` that hubward sends.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; `[sdk]` azure-iot-sdk-node.
pub const API_VERSION: &str = "2021-04-12";

/// The `api-version` of a login after which the device may request certificates; a preview of the service.
///
/// Source: `[doc]` Azure/azure-iot-sdk; `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
/// `csr-scenarions.md`.
pub const API_VERSION_WITH_CERTIFICATES: &str = "2025-08-01-preview";

/// The identity of a device, or of a module of a device, at a hub. Topics, user names and token resources contain this
/// identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use]
pub struct HubIdentity {
    /// The hub.
    pub host: HubHost,
    /// The device.
    pub device: DeviceId,
    /// The module; `None` for a device.
    pub module: Option<ModuleId>,
}

impl HubIdentity {
    /// Creates the identity of a device.
    pub const fn new(host: HubHost, device: DeviceId) -> Self {
        Self { host, device, module: None }
    }

    /// Sets [`HubIdentity::module`].
    pub fn module(mut self, module: ModuleId) -> Self {
        self.module = Some(module);
        self
    }

    /// Returns the MQTT client id: `{device}` or `{device}/{module}`, not encoded.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-connect-*`.
    #[must_use]
    pub fn client_id(&self) -> String {
        match &self.module {
            None => self.device.to_string(),
            Some(module) => format!("{}/{module}", self.device),
        }
    }

    /// Returns the resource that a token for this identity must cover, without percent-encoding. In the text to sign,
    /// the resource is percent-encoded.
    ///
    /// Source: `[doc]` iot-hub/authenticate-authorize-sas.md.
    #[must_use]
    pub fn sas_resource(&self) -> String {
        let Self { host, device, module } = self;
        match module {
            None => format!("{host}/devices/{device}"),
            Some(module) => format!("{host}/devices/{device}/modules/{module}"),
        }
    }

    /// Returns the prefix of the topics of this device or module: `devices/{device}` or
    /// `devices/{device}/modules/{module}`.
    pub(crate) fn topic_base(&self) -> String {
        match &self.module {
            None => format!("devices/{}", self.device),
            Some(module) => format!("devices/{}/modules/{module}", self.device),
        }
    }
}

impl fmt::Display for HubIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.client_id(), self.host)
    }
}

/// The MQTT user name of a device or module:
/// `{host}/{clientId}/?api-version={v}[&DeviceClientType={encoded}][&model-id={encoded}]`. Host and ids are
/// not encoded.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; `[sdk]` Azure/iotedge, MqttUsernameParser.cs;
/// vectors `hub-connect-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct HubUsername {
    /// The device or module.
    pub identity: HubIdentity,
    /// `api-version`; `None` only in a parsed user name without parameters.
    pub api_version: Option<String>,
    /// `DeviceClientType`: name and version of the program, decoded.
    pub user_agent: Option<String>,
    /// `model-id`: the PnP model, decoded.
    pub model_id: Option<String>,
}

impl HubUsername {
    /// Creates a user name with [`API_VERSION`].
    pub fn new(identity: HubIdentity) -> Self {
        Self { identity, api_version: Some(API_VERSION.to_owned()), user_agent: None, model_id: None }
    }

    /// Sets [`HubUsername::api_version`].
    pub fn api_version(mut self, api_version: impl Into<String>) -> Self {
        self.api_version = Some(api_version.into());
        self
    }

    /// Sets [`HubUsername::user_agent`], such as `acme-pump/2.1`.
    pub fn user_agent(mut self, user_agent: Option<String>) -> Self {
        self.user_agent = user_agent;
        self
    }

    /// Sets [`HubUsername::model_id`], such as `dtmi:com:example:Thermostat;1`.
    pub fn model_id(mut self, model_id: Option<String>) -> Self {
        self.model_id = model_id;
        self
    }

    /// Encodes the user name for CONNECT.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{}/{}/", self.identity.host, self.identity.client_id());
        let parameters = [
            ("?api-version=", &self.api_version),
            ("&DeviceClientType=", &self.user_agent),
            ("&model-id=", &self.model_id),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                text.push_str(name);
                text.extend(encode(value));
            }
        }
        text
    }

    /// Parses the user name of a CONNECT. Ignores unknown parameters. If a parameter occurs twice, uses the first
    /// value. Accepts a user name without parameters (`{host}/{device}`), because the documentation shows this form.
    ///
    /// # Errors
    /// [`ProtoError::Username`] or [`ProtoError::Id`], with the rule that the user name breaks.
    ///
    /// Source: `[sdk]` Azure/iotedge, MqttUsernameParser.cs and its tests; for the form without parameters, `[doc]`
    /// iot-hub/authenticate-authorize-sas.md.
    pub fn parse(text: &str) -> Result<Self, ProtoError> {
        let rule = |rule| ProtoError::Username { rule };
        let mut parts: Vec<&str> = text.split('/').collect();
        let parameters = parts.pop_if(|it| it.starts_with('?') || it.contains("api-version="));
        if parameters.is_none() {
            // `{host}/{device}/` means the same as `{host}/{device}`.
            parts.pop_if(|it| it.is_empty());
        }
        let (host, device, module) = match parts.as_slice() {
            [host, device] => (*host, *device, None),
            [host, device, module] => (*host, *device, Some(*module)),
            _ => return Err(rule("expected {host}/{device}[/{module}]/?api-version=…")),
        };
        let mut identity = HubIdentity::new(HubHost::new(host)?, DeviceId::new(device)?);
        identity.module = module.map(ModuleId::new).transpose()?;
        let mut name = Self { identity, api_version: None, user_agent: None, model_id: None };
        let Some(parameters) = parameters else { return Ok(name) };
        for parameter in parameters.strip_prefix('?').unwrap_or(parameters).split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let slot = match key {
                "api-version" => &mut name.api_version,
                "DeviceClientType" => &mut name.user_agent,
                "model-id" => &mut name.model_id,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(decode(value).ok_or_else(|| rule("a parameter is not UTF-8"))?);
            }
        }
        if name.api_version.as_deref().is_none_or(|it| it.trim().is_empty()) {
            return Err(rule("api-version is missing"));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(module: Option<&str>) -> HubIdentity {
        let mut identity = HubIdentity::new(
            HubHost::new("contoso.azure-devices.net").expect("host"),
            DeviceId::new("device1").expect("id"),
        );
        identity.module = module.map(|it| ModuleId::new(it).expect("id"));
        identity
    }

    #[test]
    fn parses_its_own_encoding() {
        for (module, model) in [(None, None), (Some("mod1"), None), (None, Some("dtmi:com:example:T;1"))] {
            let name = HubUsername::new(identity(module))
                .user_agent(Some("hubward/0.1.0 (a; b)".into()))
                .model_id(model.map(str::to_owned));
            assert_eq!(HubUsername::parse(&name.encode()), Ok(name));
        }
    }

    #[test]
    fn accepts_the_old_forms() {
        for text in [
            "contoso.azure-devices.net/device1/api-version=2016-11-14",
            "contoso.azure-devices.net/device1/?api-version=2016-11-14&x=y&api-version=",
            "contoso.azure-devices.net/device1",
            "contoso.azure-devices.net/device1/",
        ] {
            let name = HubUsername::parse(text).expect(text);
            assert_eq!(name.identity, identity(None), "{text}");
        }
    }

    #[test]
    fn refuses_user_names_that_microsofts_parser_refuses() {
        for text in [
            "",
            "contoso.azure-devices.net",
            "contoso.azure-devices.net/?api-version=2016-11-14",
            "contoso.azure-devices.net/device1/?api-version=",
            "contoso.azure-devices.net/device1/?DeviceClientType=x",
            "contoso.azure-devices.net/device1/mod1/more/?api-version=2016-11-14",
            "contoso.azure-devices.net//?api-version=2016-11-14",
            "contoso.azure-devices.net/device1/?api-version=%ff",
        ] {
            assert!(HubUsername::parse(text).is_err(), "{text}");
        }
    }
}
