//! Keys, tokens, connection strings.

use hubward_proto::dps::{SAS_POLICY, sas_resource};
use hubward_proto::hub::HubIdentity;
use hubward_proto::{DeviceId, HubHost, IdScope, ModuleId, RegistrationId};
use hubward_sas::{ConnectionString, SasToken, SharedKey, UnixSeconds};
use serde_json::Value;

use super::{Sides, Vector};

/// A device or module at its hub: our token is Python's to the letter; every SDK's verifies.
pub(super) fn hub_device(vector: &Vector) -> Sides {
    let resource = vector.text("resource_uri");
    match DeviceId::new(vector.text("device_id")) {
        Ok(device) => {
            let mut identity = HubIdentity::new(HubHost::new(vector.text("host")).expect("a host"), device);
            identity.module = vector.optional("module_id").map(|it| ModuleId::new(it).expect("a module id"));
            assert_eq!(identity.sas_resource(), resource, "{}", vector.id);
        }
        // A hub has no device of this name, and the SDKs do not look; the encoding is still right.
        Err(error) => assert_eq!(vector.id, "sas-hub-tilde", "{error}"),
    }
    let token = SasToken::sign(&key(vector), resource, expiry(vector), None);
    assert_eq!(token.expose(), python_token(vector), "{}", vector.id);
    Sides { client: true, emulator: verifies_every_token(vector, None) }
}

/// A device at DPS. No SDK produces the documented form (encoded `sr` *and* `skn`), so its parts are
/// compared: `sr`, `sig` and `se` are Python's, `skn` is Node's.
pub(super) fn dps_device(vector: &Vector) -> Sides {
    let resource = sas_resource(
        &IdScope::new(vector.text("id_scope")).expect("an id scope"),
        &RegistrationId::new(vector.text("registration_id")).expect("a registration id"),
    );
    assert_eq!(resource, vector.text("resource_uri"), "{}", vector.id);
    let token = SasToken::sign(&key(vector), &resource, expiry(vector), Some(SAS_POLICY));
    assert_eq!(token.expose(), format!("{}&skn=registration", python_token(vector)), "{}", vector.id);
    Sides { client: true, emulator: verifies_every_token(vector, Some("registration")) }
}

/// An operator at a service. Python leaves `/` in `sig` as it is, so what we sign is compared field
/// by field after decoding.
pub(super) fn service(vector: &Vector) -> Sides {
    let policy = vector.text("policy");
    let token = SasToken::sign(&key(vector), vector.text("resource_uri"), expiry(vector), Some(policy));
    let python = python_token(vector);
    assert_eq!(token.expose(), python.replace("/", "%2F"), "{}", vector.id);
    Sides { client: true, emulator: verifies_every_token(vector, Some(policy)) }
}

/// Any resource. The one token that only Node makes (nothing encoded) is not one we would make.
pub(super) fn raw_uri(vector: &Vector) -> Sides {
    let client = vector.python().is_some();
    if client {
        let token = SasToken::sign(&key(vector), vector.text("resource_uri"), expiry(vector), None);
        assert_eq!(token.expose(), python_token(vector), "{}", vector.id);
    }
    Sides { client, emulator: verifies_every_token(vector, None) }
}

/// Any resource, as the Python service package writes it: form encoding, which we only read.
pub(super) fn service_raw_uri(vector: &Vector) -> Sides {
    Sides { client: false, emulator: verifies_every_token(vector, Some(vector.text("policy"))) }
}

/// Tokens that an application supplies: read and refused like Python does. Both sides read tokens,
/// with the same function.
pub(super) fn parse(vector: &Vector) -> Sides {
    let verdict = SasToken::parse(vector.text("token"));
    let python = vector.python().expect("Python's verdict");
    match python.get("ok") {
        Some(expected) => {
            let token = verdict.unwrap_or_else(|error| panic!("{}: {error}", vector.id));
            assert_eq!(token.resource(), expected["resource_uri"], "{}", vector.id);
            assert_eq!(token.expiry().0, expected["expiry_time"], "{}", vector.id);
        }
        None => {
            assert!(python["error"].is_string(), "{}: a verdict", vector.id);
            assert!(verdict.is_err(), "{}: Python refuses it", vector.id);
        }
    }
    Sides { client: true, emulator: true }
}

/// The key of a device of a group. DPS derives it the same way to check a token.
pub(super) fn derived_key(vector: &Vector) -> Sides {
    let group = SharedKey::from_base64(vector.text("group_key")).expect("a key");
    let derived = group.derive(vector.text("registration_id"));
    assert!(!vector.results.is_empty());
    for result in &vector.results {
        assert_eq!(result.output, derived.expose_base64().as_str(), "{} {}", vector.id, result.sdk);
    }
    Sides { client: true, emulator: true }
}

/// Connection strings. Where the SDKs differ we are as strict as Python about what is ambiguous (a
/// name twice) and as lenient as Node about what is not.
pub(super) fn connection_string(vector: &Vector) -> Sides {
    let follow = match vector.id.as_str() {
        "cs-policy-no-device" | "cs-duplicate-key" => Some("python"),
        "cs-sas-only" | "cs-trailing-semicolon" | "cs-unknown-key" => Some("node"),
        _ => None,
    };
    let verdict = ConnectionString::parse(vector.text("text"));
    let mut followed = 0;
    for result in vector.results.iter().filter(|it| follow.is_none_or(|sdk| it.sdk.starts_with(sdk))) {
        followed += 1;
        let name = format!("{} {}", vector.id, result.sdk);
        let Some(Value::Object(expected)) = result.output.get("ok") else {
            assert!(verdict.is_err(), "{name}: it is refused");
            continue;
        };
        let read = verdict.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut unknown = read.unknown_names();
        for (field, value) in expected {
            let found = match field.as_str() {
                "HostName" => Some(read.host_name()),
                "DeviceId" => read.device_id(),
                "ModuleId" => read.module_id(),
                "GatewayHostName" => read.gateway_host_name(),
                "SharedAccessKeyName" => read.shared_access_key_name(),
                "SharedAccessKey" => read.expose_shared_access_key(),
                "SharedAccessSignature" => read.expose_shared_access_signature(),
                "x509" => read.is_x509().then_some("true"),
                other => {
                    assert_eq!(unknown.next(), Some(other), "{name}");
                    continue;
                }
            };
            assert_eq!(found, value.as_str(), "{name}: {field}");
        }
        assert_eq!(unknown.next(), None, "{name}: nothing else is unknown");
        let absent = [
            ("DeviceId", read.device_id()),
            ("ModuleId", read.module_id()),
            ("GatewayHostName", read.gateway_host_name()),
            ("SharedAccessKeyName", read.shared_access_key_name()),
            ("SharedAccessKey", read.expose_shared_access_key()),
            ("SharedAccessSignature", read.expose_shared_access_signature()),
            ("x509", read.is_x509().then_some("true")),
        ];
        for (field, found) in absent.into_iter().filter(|(it, _)| !expected.contains_key(*it)) {
            assert_eq!(found, None, "{name}: {field}");
        }
    }
    assert_eq!(followed, if follow.is_some() { 1 } else { 2 }, "{}", vector.id);
    if let Ok(read) = &verdict {
        device_of(vector, read);
    }
    Sides { client: true, emulator: false }
}

/// Which device or module it is. What hubward cannot do yet, and what is a service's, is refused by
/// name; so is the token of the vector, which is for something else.
fn device_of(vector: &Vector, read: &ConnectionString) {
    let refused = match vector.id.as_str() {
        "cs-gateway" => Some("`GatewayHostName`"),
        "cs-x509" => Some("`x509`"),
        "cs-policy-no-device" => Some("`SharedAccessKeyName`"),
        "cs-sas-only" => Some("`SharedAccessSignature`"),
        _ => None,
    };
    match (hubward::HubSettings::try_from(read), refused) {
        (Ok(settings), None) => {
            let module = settings.identity.module.as_ref().map(ModuleId::as_str);
            let facts = (settings.identity.host.as_str(), Some(settings.identity.device.as_str()), module);
            assert_eq!(facts, (read.host_name(), read.device_id(), read.module_id()), "{}", vector.id);
            let hubward::Credential::SharedKey(key) = &settings.credential else { panic!("{}: a key", vector.id) };
            assert_eq!(Some(key.expose_base64().as_str()), read.expose_shared_access_key(), "{}", vector.id);
        }
        (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{}: {error}", vector.id),
        (verdict, _) => panic!("{}: {verdict:?}", vector.id),
    }
}

/// Whether there are tokens, each of which reads, verifies and is for what it should be for.
fn verifies_every_token(vector: &Vector, policy: Option<&str>) -> bool {
    let key = key(vector);
    let stranger = SharedKey::from_bytes(&[7; 32]).expect("a key");
    let resource = vector.text("resource_uri");
    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let text = result.output["token"].as_str().expect("a token");
        let token = SasToken::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(token.is_signed_by(&key), "{name}");
        assert!(!token.is_signed_by(&stranger), "{name}");
        assert_eq!(token.expiry(), expiry(vector), "{name}");
        assert!(!token.is_expired(UnixSeconds(vector.number("now"))), "{name}");
        assert!(token.is_for(resource), "{name}");
        // A raw `+` is a space in form encoding, which only the Python service package uses.
        let form = result.sdk.starts_with("python azure-iot-hub");
        let read = if form { token.resource().replace('+', " ") } else { token.resource() };
        let expected = if form { resource.replace('+', " ") } else { resource.to_owned() };
        assert_eq!(read, expected, "{name}");
        if let Some(found) = token.policy() {
            assert_eq!(Some(found), policy, "{name}");
        }
        // The signature covers the text as it stands in the token.
        let to_sign = result.output["string_to_sign"].as_str().expect("a string to sign");
        assert!(text.contains(to_sign.split('\n').next().expect("sr")), "{name}");
    }
    !vector.results.is_empty()
}

fn key(vector: &Vector) -> SharedKey {
    SharedKey::from_base64(vector.text("key")).expect("a key")
}

fn expiry(vector: &Vector) -> UnixSeconds {
    UnixSeconds(vector.number("now") + vector.number("ttl"))
}

fn python_token(vector: &Vector) -> &str {
    vector.python().and_then(|it| it["token"].as_str()).expect("Python's token")
}
