//! What Microsoft's SDKs send if the device has a certificate: the TLS handshake, the login without a password, the
//! topics and the bodies.

use hubward_emulator::fuzzing as emulator;
use hubward_proto::dps::http::{DpsHttpRequest, DpsOperation};
use hubward_proto::dps::{DeviceRegistration, DpsUsername, OperationTopic, RESPONSE_FILTER, RegisterTopic};
use hubward_proto::hub::{HubIdentity, HubUsername, TelemetryTopic};
use hubward_proto::{IdScope, OperationId, RegistrationId};
use hubward_sas::{SasToken, SharedKey};
use hubward_x509::Certificate;
use serde_json::{Value, json};

use super::Sides;

const ID_SCOPE: &str = "0ne00TEST01";

/// Checks one recorded connection. `by_thumbprint` finds the certificate with a SHA-256 thumbprint.
pub(super) fn check(case: &str, example: &Value, by_thumbprint: &dyn Fn(&str) -> Certificate) -> Sides {
    let events = example["events"].as_array().expect("events");
    let mut leaf = None;
    let mut sides = Sides { client: true, emulator: true };
    for event in events {
        let name = format!("{case}: {event}");
        match event["ev"].as_str().expect("an event") {
            "TLS" => leaf = event["sha256"].as_str().map(by_thumbprint),
            "UPGRADE" => upgrade(event, &name),
            "CONNECT" => connect(event, leaf.as_ref().expect("a certificate"), &name),
            "SUBSCRIBE" => assert_eq!(event["filter"], RESPONSE_FILTER, "{name}"),
            "PUBLISH" => publish(event, leaf.as_ref().expect("a certificate"), &name),
            "REQUEST" => sides = request(event, leaf.as_ref(), &name),
            // `PKT` with type 10 is an UNSUBSCRIBE too. These packets have no content to compare; the failed TLS
            // handshakes belong to connections that the SDK only tries.
            "UNSUBSCRIBE" | "DISCONNECT" | "PKT" | "TLSFAIL" => {}
            other => panic!("{name}: unknown event {other}"),
        }
    }
    sides
}

fn text<'a>(event: &'a Value, member: &str) -> &'a str {
    event[member].as_str().unwrap_or_else(|| panic!("no text {member} in {event}"))
}

/// WebSocket: the path and the subprotocol.
fn upgrade(event: &Value, name: &str) {
    assert_eq!(event["request"], "GET /$iothub/websocket HTTP/1.1", "{name}");
    assert_eq!(event["headers"]["sec-websocket-protocol"], "mqtt", "{name}");
    assert_eq!(event["headers"]["authorization"], Value::Null, "{name}");
}

/// The login has no password, and the common name is the client id.
fn connect(event: &Value, leaf: &Certificate, name: &str) {
    assert_eq!(event["password"], Value::Null, "{name}");
    let (client_id, username) = (text(event, "client_id"), text(event, "username"));
    assert_eq!(leaf.common_name(), Some(client_id), "{name}: the common name is the id");
    let flags = u8::from_str_radix(text(event, "flags").trim_start_matches("0x"), 16).expect("flags");
    assert_eq!(flags & 0xc0, 0x80, "{name}: a user name, and no password");
    let packet = |flags: u8| {
        let keep_alive = u16::try_from(event["keepalive"].as_u64().expect("seconds")).expect("a small number");
        connect_packet(flags, keep_alive, client_id, username)
    };
    let bytes = packet(flags);
    let read = emulator::read(&bytes, 1024).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(read.expect("a whole packet").taken, bytes.len(), "{name}");
    assert!(emulator::read(&packet(flags | 0x40), 1024).is_err(), "{name}: a password that is missing");

    if let Some((_, agent)) = username.split_once("ClientVersion=") {
        assert!(DpsUsername::is_dps_username(username), "{name}");
        let read = DpsUsername::parse(username).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((read.id_scope.as_str(), read.registration_id.as_str()), (ID_SCOPE, client_id), "{name}");
        assert_eq!(read.api_version, "2019-03-31", "{name}");
        assert!(agent.starts_with("azure-iot-"), "{name}");
        assert_eq!(read.encode(), username, "{name}: the client writes the same");
    } else {
        assert!(!DpsUsername::is_dps_username(username), "{name}");
        let read = HubUsername::parse(username).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.identity.client_id(), client_id, "{name}");
        assert_eq!(read.identity.host.as_str(), "localhost", "{name}");
        // Node does not encode spaces and parentheses in the same way; the client writes the text of Python.
        let encoded = read.encode().replace("%20%28", "%20(").replace("PLATFORM%29", "PLATFORM)");
        assert!(read.encode() == username || encoded == username, "{name}: {encoded}");
    }
}

fn connect_packet(flags: u8, keep_alive: u16, client_id: &str, username: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04".to_vec();
    body.push(flags);
    body.extend(keep_alive.to_be_bytes());
    for text in [client_id, username] {
        body.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10];
    let mut length = body.len();
    while length > 127 {
        packet.push(u8::try_from(length % 128).expect("seven bits") | 0x80);
        length /= 128;
    }
    packet.push(u8::try_from(length).expect("seven bits"));
    packet.extend(body);
    packet
}

/// A registration, a poll or a telemetry message.
fn publish(event: &Value, leaf: &Certificate, name: &str) {
    assert_eq!(event["qos"], 1, "{name}");
    let (topic, body) = (text(event, "topic"), text(event, "body"));
    let common_name = leaf.common_name().expect("a common name");
    if let Ok(register) = RegisterTopic::parse(topic) {
        assert_eq!(register.encode(), topic, "{name}");
        registration(body, common_name, name);
    } else if let Ok(operation) = OperationTopic::parse(topic) {
        assert_eq!(operation.encode(), topic, "{name}");
        assert_eq!((operation.operation_id.as_str(), body), ("4.op", " "), "{name}");
    } else {
        let identity = identity(common_name);
        let read = TelemetryTopic::parse(&identity, topic).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((read.bag.iter().count(), body), (0, "hi"), "{name}");
        assert_eq!(TelemetryTopic::prefix(&identity), topic, "{name}");
    }
}

/// Python always writes `payload`; the client omits a null payload, as Node does.
fn registration(body: &str, registration_id: &str, name: &str) {
    let ours = DeviceRegistration::new(&RegistrationId::new(registration_id).expect("an id"), None);
    assert_eq!(DeviceRegistration::parse(body.as_bytes()).as_ref(), Ok(&ours), "{name}");
    let mut theirs: Value = serde_json::from_str(body).expect("JSON");
    theirs.as_object_mut().expect("an object").retain(|_, it| !it.is_null());
    let ours: Value = serde_json::from_slice(&ours.encode()).expect("JSON");
    assert_eq!(ours, theirs, "{name}");
}

fn identity(common_name: &str) -> HubIdentity {
    let (device, module) = common_name.split_once('/').map_or((common_name, None), |(d, m)| (d, Some(m)));
    let device = HubIdentity::new("localhost".parse().expect("a host"), device.parse().expect("an id"));
    match module {
        Some(module) => device.module(module.parse().expect("an id")),
        None => device,
    }
}

/// A request over HTTPS. A device with a certificate sends no `Authorization`; one with a TPM sends it after the
/// challenge.
fn request(event: &Value, leaf: Option<&Certificate>, name: &str) -> Sides {
    let parts: Vec<&str> = text(event, "request").split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { panic!("{name}") };
    let (path, query) = target.split_once('?').expect("a query");
    let authorization = event["headers"]["authorization"].as_str();
    if path.starts_with("/devices/") {
        // The client has no HTTPS transport for a hub, and the emulator has no such endpoint.
        assert_eq!(authorization, None, "{name}");
        return Sides::default();
    }
    let read = DpsHttpRequest::parse(method, path, Some(query)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(read.id_scope, IdScope::new(ID_SCOPE).expect("an id scope"), "{name}");
    let id = leaf.map_or("tpm-dev-01", |it| it.common_name().expect("a common name"));
    assert_eq!(read.registration_id.as_str(), id, "{name}");
    match &read.operation {
        DpsOperation::Register if leaf.is_some() => registration(text(event, "body"), id, name),
        DpsOperation::Register => {
            let body: Value = serde_json::from_str(text(event, "body")).expect("JSON");
            let tpm = json!({"endorsementKey": "RUtQVUI=", "storageRootKey": "U1JLUFVC"});
            assert_eq!(body, json!({"registrationId": id, "tpm": tpm}), "{name}");
            assert!(DeviceRegistration::parse(text(event, "body").as_bytes()).is_ok(), "{name}");
        }
        DpsOperation::Status(operation) => {
            assert_eq!(operation, &OperationId::new("4.op").expect("an id"), "{name}");
            assert_eq!(event["body"], "{}", "{name}: Node polls with a body");
        }
        DpsOperation::Lookup => panic!("{name}: no SDK looks up"),
    }
    if leaf.is_some() {
        assert_eq!(authorization, None, "{name}");
        return Sides { client: true, emulator: true };
    }
    if let Some(token) = authorization {
        let key = SharedKey::from_bytes(b"0123456789abcdef0123456789abcdef").expect("a key");
        assert!(SasToken::parse(token).expect("a token").is_signed_by(&key), "{name}");
    }
    Sides { client: false, emulator: true }
}
