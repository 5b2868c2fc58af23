//! Interprets the parts of a device's connection string. The crate `hubward-sas` splits the text into these parts.

use std::path::PathBuf;

use hubward_proto::hub::HubIdentity;
use hubward_proto::{DeviceId, HubHost, ModuleId, ProtoError};
use hubward_sas::{ConnectionString, ConnectionStringError, SasToken, SharedKey};
use hubward_transport::{Credential, Fault};

/// Why a text is not a connection string of a device or module. The error names the invalid part, but never contains
/// the value of this part.
///
/// The value may contain the key, for example if the `;` between an id and the key is missing.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceStringError {
    /// The text is not a connection string, or contains a part twice.
    #[error(transparent)]
    Grammar(#[from] ConnectionStringError),
    /// A part that a device needs is absent or empty.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
    /// A part is invalid.
    #[error("`{part}` in the connection string is not valid: {rule}")]
    Invalid {
        /// Name of the part.
        part: &'static str,
        /// The rule that it violates.
        rule: String,
    },
    /// hubward does not support this part.
    #[error("`{part}` in the connection string: {why}")]
    Unsupported {
        /// Name of the part.
        part: &'static str,
        /// Why it is not supported, and what to use instead.
        why: &'static str,
    },
    /// The file with the connection string cannot be read.
    #[error("the file {} cannot be read: {problem}", file.display())]
    File {
        /// Path of the file.
        file: PathBuf,
        /// Why it cannot be read.
        problem: String,
    },
}

hubward_proto::debug_as_error_report!(DeviceStringError);

impl DeviceStringError {
    /// The party that has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unsupported { .. } => Fault::Unsupported,
            _ => Fault::Request,
        }
    }
}

/// Returns the identity and the credential of the device or module.
///
/// Source: `[sdk]` azure-iot-sdk-python, connection_string.py and sastoken.py; for a signature instead of a key, and
/// for `x509=true`, azure-iot-common (Node); vectors `cs-*`.
pub(crate) fn interpret(text: &ConnectionString) -> Result<(HubIdentity, Credential), DeviceStringError> {
    if text.gateway_host_name().is_some() {
        return unsupported("GatewayHostName", "gateways are not supported yet");
    }
    if text.shared_access_key_name().is_some() {
        return unsupported(
            "SharedAccessKeyName",
            "this is the connection string of a service's policy, not of a device; use the device's own",
        );
    }
    let host = HubHost::new(text.host_name()).map_err(|error| invalid("HostName", &error))?;
    let device = filled(text.device_id()).ok_or(DeviceStringError::Missing("DeviceId"))?;
    let mut identity = HubIdentity::new(host, DeviceId::new(device).map_err(|error| invalid("DeviceId", &error))?);
    if let Some(module) = filled(text.module_id()) {
        identity = identity.module(ModuleId::new(module).map_err(|error| invalid("ModuleId", &error))?);
    }
    for name in text.unknown_names() {
        // The name is safe to log: the parser accepts only letters and digits.
        tracing::warn!("hubward ignores the part `{name}` of the connection string");
    }
    let credential = credential(text, &identity)?;
    Ok((identity, credential))
}

fn credential(text: &ConnectionString, identity: &HubIdentity) -> Result<Credential, DeviceStringError> {
    let broken = |part, rule: String| DeviceStringError::Invalid { part, rule };
    match (filled(text.expose_shared_access_key()), filled(text.expose_shared_access_signature())) {
        (None, None) if text.is_x509() => Ok(Credential::MissingCertificate),
        (Some(_), _) if text.is_x509() => {
            Err(broken("x509", "there is also a SharedAccessKey; remove one of the two".into()))
        }
        (None, Some(_)) if text.is_x509() => {
            Err(broken("x509", "there is also a SharedAccessSignature; remove one of the two".into()))
        }
        (Some(key), None) => match SharedKey::from_base64(key) {
            Ok(key) => Ok(Credential::SharedKey(key)),
            Err(error) => Err(broken("SharedAccessKey", error.to_string())),
        },
        (None, Some(token)) => {
            let token = SasToken::parse(token).map_err(|error| broken("SharedAccessSignature", error.to_string()))?;
            let resource = identity.sas_resource();
            if !token.covers(&resource) {
                return Err(broken("SharedAccessSignature", format!("it is not for `{resource}`")));
            }
            Ok(Credential::Token(token))
        }
        (Some(_), Some(_)) => {
            Err(broken("SharedAccessSignature", "there is also a SharedAccessKey; remove one of the two".into()))
        }
        (None, None) => Err(DeviceStringError::Missing("SharedAccessKey")),
    }
}

fn filled(value: Option<&str>) -> Option<&str> {
    value.filter(|it| !it.is_empty())
}

/// Returns an error with only the rule that the value violates. The text of `error` also quotes the value, which may be
/// a secret.
fn invalid(part: &'static str, error: &ProtoError) -> DeviceStringError {
    let rule = match error {
        ProtoError::Id { rule, .. } => (*rule).to_owned(),
        _ => "it is not a valid id".to_owned(),
    };
    DeviceStringError::Invalid { part, rule }
}

const fn unsupported<T>(part: &'static str, why: &'static str) -> Result<T, DeviceStringError> {
    Err(DeviceStringError::Unsupported { part, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(text: &str) -> Result<(HubIdentity, Credential), DeviceStringError> {
        interpret(&ConnectionString::parse(text)?)
    }

    /// The texts are those of the vectors `cs-device` and `cs-module`.
    #[test]
    fn reads_devices_and_modules() {
        let device = format!("HostName=contoso.azure-devices.net;DeviceId=device1;SharedAccessKey={KEY}");
        let (identity, credential) = read(&device).expect("a device");
        assert_eq!(identity.sas_resource(), "contoso.azure-devices.net/devices/device1");
        assert!(matches!(credential, Credential::SharedKey(key) if key.expose_base64().as_str() == KEY));
        let (identity, _) = read(&format!("{device};ModuleId=mod1")).expect("a module");
        assert_eq!(identity.client_id(), "device1/mod1");
    }

    /// The first text is that of the vector `cs-x509`.
    #[test]
    fn a_device_with_a_certificate_has_no_key() {
        for (text, client_id) in [
            ("HostName=contoso.azure-devices.net;DeviceId=device1;x509=true", "device1"),
            ("HostName=contoso.azure-devices.net;DeviceId=device1;ModuleId=mod1;x509=True", "device1/mod1"),
        ] {
            let (identity, credential) = read(text).expect(text);
            assert_eq!(identity.client_id(), client_id);
            assert!(matches!(credential, Credential::MissingCertificate), "{text}: {credential:?}");
        }
    }

    #[test]
    fn accepts_only_a_token_for_this_device() {
        let base = "HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature ";
        let (_, credential) = read(&format!("{base}sr=h%2Fdevices%2Fd&sig=c2ln&se=4102444800")).expect("a device");
        assert!(matches!(credential, Credential::Token(_)));
        let error = read(&format!("{base}sr=h%2Fdevices%2Fother&sig=c2ln&se=4102444800")).expect_err("for another");
        assert_eq!(
            error.to_string(),
            "`SharedAccessSignature` in the connection string is not valid: it is not for `h/devices/d`"
        );
    }

    #[test]
    fn an_error_names_the_invalid_part_and_never_a_value() {
        for (text, part, fault) in [
            ("hush", "Name=Value", Fault::Request),
            ("HostName=h;DeviceId=d", "no `SharedAccessKey`", Fault::Request),
            ("HostName=h;SharedAccessKey=hush", "no `DeviceId`", Fault::Request),
            ("HostName=h;DeviceId=;SharedAccessKey=hush", "no `DeviceId`", Fault::Request),
            ("HostName=h;DeviceId=d SharedAccessKey=hush", "`DeviceId` in", Fault::Request),
            ("HostName=h;DeviceId=d;ModuleId=a b hush;SharedAccessKey=x", "`ModuleId` in", Fault::Request),
            ("HostName=https://hush;DeviceId=d;SharedAccessKey=x", "`HostName` in", Fault::Request),
            ("HostName=h;DeviceId=d;SharedAccessKey=hush", "`SharedAccessKey` in", Fault::Request),
            ("HostName=h;DeviceId=d;SharedAccessSignature=hush", "`SharedAccessSignature` in", Fault::Request),
            (
                "HostName=h;DeviceId=d;SharedAccessKey=hush;SharedAccessSignature=hush",
                "`SharedAccessSignature` in",
                Fault::Request,
            ),
            (
                "HostName=h;DeviceId=d;SharedAccessKey=hush;GatewayHostName=e",
                "`GatewayHostName` in",
                Fault::Unsupported,
            ),
            ("HostName=h;DeviceId=d;SharedAccessKey=hush;x509=true", "`x509` in", Fault::Request),
            ("HostName=h;DeviceId=d;SharedAccessSignature=hush;x509=true", "`x509` in", Fault::Request),
            ("HostName=h;x509=true", "no `DeviceId`", Fault::Request),
            ("HostName=h;DeviceId=d;x509=false", "no `SharedAccessKey`", Fault::Request),
            (
                "HostName=h;SharedAccessKeyName=hush;SharedAccessKey=hush",
                "`SharedAccessKeyName` in",
                Fault::Unsupported,
            ),
        ] {
            let error = read(text).expect_err(text);
            let said = error.to_string();
            assert!(said.contains(part), "{text}: {said}");
            assert!(!said.contains("hush"), "{said}");
            assert_eq!(error.fault(), fault, "{text}");
        }
    }
}
