//! The identity of a device at DPS: the MQTT user name and the resource of its token.

use crate::percent::{decode, encode};
use crate::{IdScope, ProtoError, RegistrationId};

/// The host of all DPS instances. The id scope selects the instance.
///
/// Source: `[doc]` iot-dps/about-iot-dps.md.
pub const GLOBAL_HOST: &str = "global.azure-devices-provisioning.net";

/// The `api-version` that hubward sends over HTTPS and MQTT.
///
/// Source: `[sdk]` azure-iot-sdk-c (sends it over both); stable since 2021.
pub const API_VERSION: &str = "2021-06-01";

/// The `api-version` of a registration with a certificate request, and of its polls. DPS returns the issued chain only
/// to a version that knows it.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices, 2025-07-01-preview. The stable version 2026-11-01
/// has the same members, but was not deployed on 2026-09-30.
pub const API_VERSION_WITH_CSR: &str = "2025-07-01-preview";

/// The policy name (`skn`) of a device's token for DPS.
///
/// Source: `[doc]` iot-dps/concepts-symmetric-key-attestation.md.
pub const SAS_POLICY: &str = "registration";

/// Returns the resource of a device's token for DPS, without percent-encoding. In the text to sign, the resource is
/// percent-encoded.
///
/// Source: `[doc]` iot-dps/concepts-symmetric-key-attestation.md, "Detailed attestation process".
#[must_use]
pub fn sas_resource(id_scope: &IdScope, registration_id: &RegistrationId) -> String {
    format!("{id_scope}/registrations/{registration_id}")
}

/// The MQTT user name of a device at DPS. The client id is the registration id.
///
/// The form is `{idScope}/registrations/{registrationId}/api-version={v}[&ClientVersion={percent-encoded}]`, without a
/// `?`. The ids are not encoded.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpsUsername {
    /// The id scope of the DPS instance.
    pub id_scope: IdScope,
    /// The registration id of the device.
    pub registration_id: RegistrationId,
    /// `api-version`; not empty. The parser accepts any value, because only the service decides which versions it
    /// supports.
    pub api_version: String,
    /// `ClientVersion`: name and version of the program, decoded.
    pub client_version: Option<String>,
}

impl DpsUsername {
    /// Creates a user name with [`API_VERSION`].
    #[must_use]
    pub fn new(id_scope: IdScope, registration_id: RegistrationId, client_version: Option<String>) -> Self {
        Self { id_scope, registration_id, api_version: API_VERSION.to_owned(), client_version }
    }

    /// Returns whether `text` is a user name for DPS, not for a hub. A server that serves DPS and hubs on one port
    /// needs this distinction.
    #[must_use]
    pub fn is_dps_username(text: &str) -> bool {
        text.split('/').nth(1) == Some("registrations")
    }

    /// Encodes the user name for CONNECT.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { id_scope, registration_id, api_version, client_version } = self;
        let version = encode(api_version);
        let mut text = format!("{id_scope}/registrations/{registration_id}/api-version={version}");
        if let Some(version) = client_version {
            text.push_str("&ClientVersion=");
            text.extend(encode(version));
        }
        text
    }

    /// Parses the user name of a CONNECT. Ignores unknown parameters. If a parameter occurs twice, uses the first
    /// value. Accepts a `?` before the parameters.
    ///
    /// # Errors
    /// [`ProtoError::Username`] or [`ProtoError::Id`], with the rule that the user name breaks.
    pub fn parse(text: &str) -> Result<Self, ProtoError> {
        let rule = |rule| ProtoError::Username { rule };
        let mut parts = text.splitn(4, '/');
        let (Some(scope), Some("registrations"), Some(id), Some(parameters)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(rule("expected {idScope}/registrations/{registrationId}/api-version=…"));
        };
        let (mut api_version, mut client_version) = (None, None);
        for parameter in parameters.strip_prefix('?').unwrap_or(parameters).split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let slot = match name {
                "api-version" => &mut api_version,
                "ClientVersion" => &mut client_version,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(decode(value).ok_or_else(|| rule("a parameter is not UTF-8"))?);
            }
        }
        Ok(Self {
            id_scope: IdScope::new(scope)?,
            registration_id: RegistrationId::new(id)?,
            api_version: api_version
                .filter(|it| !it.trim().is_empty())
                .ok_or_else(|| rule("api-version is missing"))?,
            client_version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_encoding() {
        let scope = IdScope::new("0ne00000000").expect("scope");
        let id = RegistrationId::new("device1").expect("id");
        let name = DpsUsername::new(scope, id, Some("hubward/0.1.0 (linux)".into()));
        assert_eq!(
            name.encode(),
            "0ne00000000/registrations/device1/api-version=2021-06-01&ClientVersion=hubward%2F0.1.0%20%28linux%29"
        );
        assert_eq!(DpsUsername::parse(&name.encode()), Ok(name));
    }

    #[test]
    fn an_unusual_version_is_encoded_as_it_was_parsed() {
        let text = "0ne1/registrations/d1/api-version=a%26ClientVersion%3Db";
        let name = DpsUsername::parse(text).expect("a user name");
        assert_eq!((name.api_version.as_str(), &name.client_version), ("a&ClientVersion=b", &None));
        assert_eq!(name.encode(), text);
    }

    #[test]
    fn refuses_user_names_that_the_service_refuses() {
        for text in [
            "",
            "0ne1/registrations/d1",
            "0ne1/registrations/d1/",
            "0ne1/registrations/d1/api-version=",
            "0ne1/registrations/d1/ClientVersion=a",
            "0ne1/registrations//api-version=2019-03-31",
            "0ne1/registrations/d 1/api-version=2019-03-31",
            "hub/d1/?api-version=2021-04-12",
        ] {
            assert!(DpsUsername::parse(text).is_err(), "{text}");
        }
        assert!(DpsUsername::is_dps_username("0ne1/registrations/d1/api-version=x"));
        assert!(!DpsUsername::is_dps_username("hub/d1/?api-version=x"));
    }
}
