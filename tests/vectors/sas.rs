//! Keys, tokens, connection strings.

use hubward_proto::dps::{SAS_POLICY, sas_resource};
use hubward_proto::hub::HubIdentity;
use hubward_proto::{DeviceId, HubHost, IdScope, ModuleId, RegistrationId};
use hubward_sas::{ConnectionString, SasToken, SharedKey, UnixSeconds};
use serde_json::Value;

use super::{Sides, Vector};

/// A token with which a device or module logs in to its hub. The client signs the same token as Python. The parser
/// reads the tokens of all SDKs, and their signatures are valid.
pub(super) fn hub_device(vector: &Vector) -> Sides {
    let resource = vector.text("resource_uri");
    match DeviceId::new(vector.text("device_id")) {
        Ok(device) => {
            let mut identity = HubIdentity::new(HubHost::new(vector.text("host")).expect("a host"), device);
            identity.module = vector.optional("module_id").map(|it| ModuleId::new(it).expect("a module id"));
            assert_eq!(identity.sas_resource(), resource, "{}", vector.id);
        }
        // The SDKs accept this device ID, but a hub and hubward refuse it. The token of this vector is still a useful
        // example, because it shows how a client must encode `~`.
        Err(error) => assert_eq!(vector.id, "sas-hub-tilde", "{error}"),
    }
    let token = SasToken::sign(&key(vector), resource, expiry(vector), None);
    assert_eq!(token.expose(), python_token(vector), "{}", vector.id);
    Sides { client: true, emulator: verifies_every_token(vector, None) }
}

/// A token with which a device logs in to DPS. The documented form has an encoded `sr` and contains `skn`.
///
/// No SDK writes this form. Python's token lacks only `skn`, so the test expects Python's token, followed by
/// `&skn=registration`.
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

/// A token with which an operator logs in to a service. Python does not encode `/` in `sig`. The test encodes each `/`
/// in Python's token and then compares the tokens.
pub(super) fn service(vector: &Vector) -> Sides {
    let policy = vector.text("policy");
    let token = SasToken::sign(&key(vector), vector.text("resource_uri"), expiry(vector), Some(policy));
    let python = python_token(vector);
    assert_eq!(token.expose(), python.replace("/", "%2F"), "{}", vector.id);
    Sides { client: true, emulator: verifies_every_token(vector, Some(policy)) }
}

/// A token for any resource. One vector has only a token of Node, in which nothing is percent-encoded. Our client
/// always encodes, so it cannot write this token; the test only parses it.
pub(super) fn raw_uri(vector: &Vector) -> Sides {
    let client = vector.python().is_some();
    if client {
        let token = SasToken::sign(&key(vector), vector.text("resource_uri"), expiry(vector), None);
        assert_eq!(token.expose(), python_token(vector), "{}", vector.id);
    }
    Sides { client, emulator: verifies_every_token(vector, None) }
}

/// A token for any resource, in form encoding (a space is `+`). Of the SDKs, only the Python service package writes
/// form encoding. Our parser must read such a token, but our client never writes one.
pub(super) fn service_raw_uri(vector: &Vector) -> Sides {
    Sides { client: false, emulator: verifies_every_token(vector, Some(vector.text("policy"))) }
}

/// Tokens that an application supplies. Our parser accepts the tokens that Python accepts, and refuses the others. The
/// client and the emulator use the same parser.
pub(super) fn parse(vector: &Vector) -> Sides {
    let parsed = SasToken::parse(vector.text("token"));
    let python = vector.python().expect("Python's result");
    match python.get("ok") {
        Some(expected) => {
            let token = parsed.unwrap_or_else(|error| panic!("{}: {error}", vector.id));
            assert_eq!(token.resource(), expected["resource_uri"], "{}", vector.id);
            assert_eq!(token.expiry().0, expected["expiry_time"], "{}", vector.id);
        }
        None => {
            assert!(python["error"].is_string(), "{}: Python gives neither a token nor an error", vector.id);
            assert!(parsed.is_err(), "{}: Python refuses the token", vector.id);
        }
    }
    Sides { client: true, emulator: true }
}

/// The key of a device that belongs to a group. DPS derives the same key when it checks a token.
pub(super) fn derived_key(vector: &Vector) -> Sides {
    let group = SharedKey::from_base64(vector.text("group_key")).expect("a key");
    let derived = group.derive(vector.text("registration_id"));
    assert!(!vector.results.is_empty());
    for result in &vector.results {
        assert_eq!(result.output, derived.expose_base64().as_str(), "{} {}", vector.id, result.sdk);
    }
    Sides { client: true, emulator: true }
}

/// Connection strings. For some of them, the two SDKs give different results. If a name occurs twice, the parser
/// refuses the string, as Python does. It accepts every other string that Python or Node accepts.
pub(super) fn connection_string(vector: &Vector) -> Sides {
    let follow = match vector.id.as_str() {
        "cs-policy-no-device" | "cs-duplicate-key" => Some("python"),
        "cs-sas-only" | "cs-trailing-semicolon" | "cs-unknown-key" => Some("node"),
        _ => None,
    };
    let parsed = ConnectionString::parse(vector.text("text"));
    let mut followed = 0;
    for result in vector.results.iter().filter(|it| follow.is_none_or(|sdk| it.sdk.starts_with(sdk))) {
        followed += 1;
        let name = format!("{} {}", vector.id, result.sdk);
        let Some(Value::Object(expected)) = result.output.get("ok") else {
            assert!(parsed.is_err(), "{name}: the parser must refuse the string");
            continue;
        };
        let read = parsed.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
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
        assert_eq!(unknown.next(), None, "{name}: another name is unknown");
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
    if let Ok(read) = &parsed {
        device_of(vector, read);
    }
    Sides { client: true, emulator: false }
}

/// Compares the device or module of a connection string with the settings that hubward reads from it.
///
/// hubward refuses three kinds of connection strings, and the error names the refused part:
///
/// * a string with a policy, because such a string is for a service;
/// * a string with parts that hubward does not support;
/// * the vector with a `SharedAccessSignature`, because this token is for another resource.
fn device_of(vector: &Vector, read: &ConnectionString) {
    let refused = match vector.id.as_str() {
        "cs-gateway" => Some("`GatewayHostName`"),
        "cs-policy-no-device" => Some("`SharedAccessKeyName`"),
        "cs-sas-only" => Some("`SharedAccessSignature`"),
        _ => None,
    };
    match (hubward::HubSettings::try_from(read), refused) {
        (Ok(settings), None) => {
            let module = settings.identity.module.as_ref().map(ModuleId::as_str);
            let facts = (settings.identity.host.as_str(), Some(settings.identity.device.as_str()), module);
            assert_eq!(facts, (read.host_name(), read.device_id(), read.module_id()), "{}", vector.id);
            match &settings.credential {
                hubward::Credential::SharedKey(key) => {
                    assert_eq!(Some(key.expose_base64().as_str()), read.expose_shared_access_key(), "{}", vector.id);
                }
                // The program sets the certificate later.
                hubward::Credential::MissingCertificate => assert!(read.is_x509(), "{}", vector.id),
                other => panic!("{}: {other:?}", vector.id),
            }
        }
        (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{}: {error}", vector.id),
        (result, _) => panic!("{}: {result:?}", vector.id),
    }
}

/// Checks each token of the vector: its signature, its expiry, its resource and its policy. Returns `false` if the
/// vector has no tokens.
fn verifies_every_token(vector: &Vector, policy: Option<&str>) -> bool {
    let key = key(vector);
    let other_key = SharedKey::from_bytes(&[7; 32]).expect("a key");
    let resource = vector.text("resource_uri");
    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let text = result.output["token"].as_str().expect("a token");
        let token = SasToken::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(token.is_signed_by(&key), "{name}");
        assert!(!token.is_signed_by(&other_key), "{name}");
        assert_eq!(token.expiry(), expiry(vector), "{name}");
        assert!(!token.is_expired(UnixSeconds(vector.number("now"))), "{name}");
        assert!(token.is_for(resource), "{name}");
        // Only the Python service package uses form encoding. In form encoding, `+` is a space.
        let form = result.sdk.starts_with("python azure-iot-hub");
        let read = if form { token.resource().replace('+', " ") } else { token.resource() };
        let expected = if form { resource.replace('+', " ") } else { resource.to_owned() };
        assert_eq!(read, expected, "{name}");
        if let Some(found) = token.policy() {
            assert_eq!(Some(found), policy, "{name}");
        }
        // The SDK signs the encoded resource, exactly as the token contains it.
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
