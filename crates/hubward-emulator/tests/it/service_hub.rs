//! The service API of a hub over HTTPS: access rights and identities. The tests write the requests by hand.

use std::time::Duration;

use hubward_emulator::{Emulator, Policy};
use hubward_sas::{ConnectionString, SasToken, SharedKey, UnixSeconds};
use serde_json::{Value, json};

use crate::client::{Reply, Tls, http, now, tls};

pub(crate) const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODw==";
pub(crate) const SECONDARY: &str = "EBESExQVFhcYGRobHB0eHw==";

/// A client with the key of a policy.
pub(crate) struct Operator {
    stream: Tls,
    authorization: String,
}

impl Operator {
    pub(crate) async fn new(emulator: &Emulator) -> Self {
        let text = emulator.hub_connection_string("localhost").expect("the hub");
        let login = ConnectionString::parse(&text).expect("a connection string");
        assert_eq!(login.shared_access_key_name(), Some("iothubowner"));
        let key = SharedKey::from_base64(login.expose_shared_access_key().expect("a key")).expect("a key");
        Self::with(emulator, &signed(&key, login.host_name(), "iothubowner")).await
    }

    async fn with(emulator: &Emulator, authorization: &str) -> Self {
        Self { stream: tls(emulator, emulator.https_addr()).await, authorization: authorization.to_owned() }
    }

    /// Each header in `headers` ends with CR LF.
    pub(crate) async fn ask(&mut self, line: &str, headers: &str, body: &str) -> Reply {
        let query = match line.split_once('?') {
            None => "?api-version=2021-04-12",
            Some((_, query)) if query.contains("api-version") => "",
            Some(_) => "&api-version=2021-04-12",
        };
        let authorization = match self.authorization.as_str() {
            "" => String::new(),
            text => format!("Authorization: {text}\r\n"),
        };
        let request = format!(
            "{line}{query} HTTP/1.1\r\nHost: localhost\r\n{authorization}\
             Content-Type: application/json; charset=utf-8\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        http(&mut self.stream, &request).await.expect("an answer")
    }

    pub(crate) async fn ok(&mut self, line: &str, headers: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.ask(line, headers, &body).await;
        assert_eq!(reply.status, 200, "{line}: {}", reply.body);
        assert!(reply.header("x-ms-request-id").is_some(), "{line}");
        reply.json()
    }

    /// Sends a request that the hub refuses. Returns the status and the name of the error. The body of the response
    /// must have one of the two formats of the service.
    pub(crate) async fn refused(&mut self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let reply = self.ask(line, headers, body).await;
        let name = reply.header("iothub-errorcode").unwrap_or_else(|| panic!("{line}: {}", reply.body)).to_owned();
        let json = reply.json();
        let message = json["Message"].as_str().expect("a text");
        if line.ends_with("/methods") {
            let inner: Value = serde_json::from_str(message).expect("JSON inside of a text");
            assert_eq!(inner["errorCode"].as_u64().expect("a number") / 1000, u64::from(reply.status), "{line}");
            assert_eq!(json["ExceptionMessage"], "", "{line}");
        } else {
            assert!(message.starts_with(&format!("ErrorCode:{name};")), "{line}: {message}");
            assert!(json["ExceptionMessage"].as_str().expect("a text").starts_with("Tracking ID:"), "{line}");
        }
        (reply.status, name)
    }
}

pub(crate) fn signed(key: &SharedKey, resource: &str, policy: &str) -> String {
    SasToken::sign(key, resource, now().saturating_add(Duration::from_secs(3600)), Some(policy)).expose().to_owned()
}

pub(crate) fn if_match(etag: &str) -> String {
    format!("If-Match: {etag}\r\n")
}

pub(crate) fn no(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

/// A device in the form that the service's SDKs send.
pub(crate) fn device(id: &str) -> Value {
    json!({
        "deviceId": id,
        "status": "enabled",
        "authentication": {
            "type": "sas",
            "symmetricKey": { "primaryKey": PRIMARY, "secondaryKey": SECONDARY },
        },
        "capabilities": { "iotEdge": false },
    })
}

#[tokio::test]
async fn policies_allow_exactly_their_rights() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device("localhost", "d1").expect("a device");
    let policies = emulator.policies();
    assert_eq!(policies.len(), 6, "five of the hub, one of DPS");
    // Each policy has four values. They say whether the policy may read the registry, write the registry, change a
    // twin, and read statistics.
    for (policy, may) in [
        (Policy::IotHubOwner, [true, true, true, true]),
        (Policy::Service, [false, false, true, false]),
        (Policy::Device, [false, false, false, false]),
        (Policy::RegistryRead, [true, false, false, true]),
        (Policy::RegistryReadWrite, [true, true, false, true]),
    ] {
        let view = policies.iter().find(|it| it.name == policy.name()).expect("the policy");
        let login = format!("HostName=localhost;SharedAccessKeyName={};SharedAccessKey=", policy.name());
        assert!(view.connection_string().starts_with(&login), "{view:?}");
        let key = view.primary_key.expose_base64();
        assert!(!format!("{view:?}").contains(key.as_str()), "a key is never shown");
        for key in [&view.primary_key, &view.secondary_key] {
            let mut operator = Operator::with(&emulator, &signed(key, "localhost", policy.name())).await;
            for ((line, body), may) in [
                ("GET /devices/d1", String::new()),
                ("PUT /devices/d1", device("d1").to_string()),
                ("PATCH /twins/d1", "{}".to_owned()),
                ("GET /statistics/devices", String::new()),
            ]
            .into_iter()
            .zip(may)
            {
                if may {
                    let reply = operator.ask(line, &if_match("*"), &body).await;
                    assert_eq!(reply.status, 200, "{policy:?} {line}: {}", reply.body);
                } else {
                    let refusal = operator.refused(line, &if_match("*"), &body).await;
                    assert_eq!(refusal, no(401, "IotHubUnauthorized"), "{policy:?} {line}");
                }
            }
        }
    }
}

#[tokio::test]
async fn requests_without_a_valid_token_are_refused() {
    let key = SharedKey::from_base64(PRIMARY).expect("a key");
    let second = SharedKey::from_base64(SECONDARY).expect("a key");
    let builder = Emulator::builder().policy_keys(Policy::Service, key.clone(), second.clone());
    let emulator = builder.policy_key(key.clone()).start().await.expect("started");
    emulator.add_device("localhost", "d1").expect("a device");
    let wrong_key = SharedKey::generate().expect("a key");
    let old = SasToken::sign(&key, "localhost", UnixSeconds(1_700_000_000), Some("iothubowner")).expose().to_owned();
    let good = signed(&key, "localhost", "iothubowner");
    let port = emulator.https_addr().port();
    for (authorization, expected) in [
        (good.clone(), None),
        (signed(&second, "localhost", "service"), None),
        (signed(&key, &format!("localhost:{port}"), "iothubowner"), Some("IotHubUnauthorizedAccess")),
        (signed(&key, "LOCALHOST", "iothubowner"), None),
        (signed(&key, "localhost/twins", "service"), None),
        (signed(&key, "localhost/twins/d1", "service"), None),
        // Some SDKs percent-encode the resource, others do not.
        (good.replacen("sr=localhost", "sr=%6cocalhost", 1), Some("IotHubUnauthorizedAccess")),
        (signed(&key, "localhost/devices", "service"), Some("IotHubUnauthorizedAccess")),
        (signed(&key, "localhost", "nobody"), Some("IotHubUnauthorizedAccess")),
        (signed(&key, "elsewhere", "iothubowner"), Some("IotHubUnauthorizedAccess")),
        (signed(&wrong_key, "localhost", "iothubowner"), Some("IotHubUnauthorizedAccess")),
        (old, Some("IotHubUnauthorizedAccess")),
        ("Bearer x".to_owned(), Some("IotHubUnauthorizedAccess")),
        ("x".to_owned(), Some("IotHubUnauthorizedAccess")),
        (String::new(), Some("IotHubUnauthorized")),
        (emulator_dps(&emulator), Some("IotHubUnauthorizedAccess")),
    ] {
        let mut operator = Operator::with(&emulator, &authorization).await;
        match expected {
            None => drop(operator.ok("GET /twins/d1", "", &Value::Null).await),
            Some(name) => assert_eq!(operator.refused("GET /twins/d1", "", "").await, no(401, name), "{authorization}"),
        }
    }
    // If the header `Host` of the request contains a port, the resource of the token may contain the same port.
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let authorization = signed(&key, &format!("localhost:{port}"), "iothubowner");
    for (host, status) in [(format!("localhost:{port}"), 200), ("global.azure-devices-provisioning.net".into(), 421)] {
        let line = "GET /devices/d1?api-version=2021-04-12 HTTP/1.1";
        let request = format!("{line}\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\r\n");
        assert_eq!(http(&mut stream, &request).await.expect("an answer").status, status, "{host}");
    }
}

fn emulator_dps(emulator: &Emulator) -> String {
    let policies = emulator.policies();
    let dps = policies.iter().find(|it| it.is_dps).expect("the policy of DPS");
    signed(&dps.primary_key, "localhost", &dps.name)
}

#[tokio::test]
async fn invalid_requests_get_the_matching_error() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    for (line, expected) in [
        ("GET /devices/d1?api-version=2031-01-01", no(400, "InvalidProtocolVersion")),
        ("GET /devices/d1?api-version=", no(400, "InvalidProtocolVersion")),
        ("GET /devices/d1", no(404, "DeviceNotFound")),
        ("GET /devices/d1/modules/m1", no(404, "DeviceNotFound")),
        ("GET /devices/d1/modules", no(404, "DeviceNotFound")),
        ("GET /twins/d1", no(404, "DeviceNotFound")),
        ("GET /devices/a%2Fb", no(404, "GenericNotFound")),
        ("GET /statistics/elsewhere", no(404, "GenericNotFound")),
        ("PATCH /devices/d1", no(405, "GenericMethodNotAllowed")),
        ("GET /devices?top=0", no(400, "ArgumentInvalid")),
        ("GET /devices?top=1001", no(400, "ArgumentInvalid")),
        ("GET /devices?top=many", no(400, "ArgumentInvalid")),
        ("GET /jobs/v2/query", no(501, "GenericNotImplemented")),
        ("GET /configurations/c1", no(501, "GenericNotImplemented")),
        ("GET /digitaltwins/d1", no(501, "GenericNotImplemented")),
        ("POST /devices/d1/applyConfigurationContent", no(501, "GenericNotImplemented")),
        ("POST /devices/d1/messages/devicebound", no(404, "DeviceNotFound")),
        ("GET /devices/d1/messages/devicebound", no(501, "GenericNotImplemented")),
        ("POST /messages/devicebound", no(501, "GenericNotImplemented")),
        ("GET /messages/serviceBound/filenotifications", no(501, "GenericNotImplemented")),
    ] {
        assert_eq!(operator.refused(line, "", "").await, expected, "{line}");
    }
    let reply = operator.ask("PATCH /devices/d1", "", "").await;
    assert_eq!(reply.header("allow"), Some("GET, PUT, DELETE"));
    let door = operator.ask("POST /messages/devicebound", "", "").await;
    assert!(door.body.contains("POST /messages/{hub}/{device}"), "{}", door.body);
    // For a path of the device API, the response is 501, even if the request has no token.
    let mut stranger = Operator::with(&emulator, "").await;
    let refusal = stranger.refused("POST /devices/d1/messages/events", "", "").await;
    assert_eq!(refusal, no(501, "GenericNotImplemented"));
    assert_eq!(stranger.refused("GET /jobs/v2/query", "", "").await, no(401, "IotHubUnauthorized"));

    let huge = "x".repeat(2 * 1024 * 1024);
    for (body, expected) in [
        ("no JSON", no(400, "IotHubFormatError")),
        ("[]", no(400, "IotHubFormatError")),
        (r#"{"deviceId":"d2"}"#, no(400, "ArgumentInvalid")),
        (r#"{"deviceId":"d1","status":"sleepy"}"#, no(400, "ArgumentInvalid")),
        (r#"{"deviceId":"d1","authentication":{"type":"psk"}}"#, no(400, "ArgumentInvalid")),
        (r#"{"deviceId":"d1","authentication":{"symmetricKey":{"primaryKey":"AAEC"}}}"#, no(400, "ArgumentInvalid")),
        (
            r#"{"deviceId":"d1","authentication":{"type":"sas","x509Thumbprint":{"primaryThumbprint":"00"}}}"#,
            no(400, "ArgumentInvalid"),
        ),
        (r#"{"deviceId":"d1","authentication":{"type":"selfSigned"}}"#, no(400, "ArgumentInvalid")),
        (r#"{"deviceId":"d1","authentication":{"type":"none"}}"#, no(501, "GenericNotImplemented")),
        (r#"{"deviceId":"d1","capabilities":{"iotEdge":true}}"#, no(501, "GenericNotImplemented")),
        (r#"{"deviceId":"d1","deviceScope":"ms-azure-iot-edge://e-1"}"#, no(501, "GenericNotImplemented")),
        (&huge, no(413, "MessageTooLarge")),
    ] {
        assert_eq!(operator.refused("PUT /devices/d1", "", body).await, expected, "{body:.80}");
    }
    let long = "x".repeat(129);
    for id in ["a b", "ü", long.as_str()] {
        let path = percent(id);
        let refusal = operator.refused(&format!("PUT /devices/{path}"), "", &device(id).to_string()).await;
        assert_eq!(refusal, no(400, "ArgumentInvalid"), "{id}");
    }
    let reason = json!({ "deviceId": "d1", "statusReason": long }).to_string();
    assert_eq!(operator.refused("PUT /devices/d1", "", &reason).await, no(400, "ArgumentInvalid"));
    assert!(emulator.devices().is_empty());
    let plain = "PUT /devices/d1?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
    let request = format!("{plain}Authorization: {}\r\nContent-Length: 2\r\n\r\n{{}}", operator.authorization);
    assert_eq!(http(&mut operator.stream, &request).await.expect("an answer").status, 415);
}

fn percent(text: &str) -> String {
    text.bytes().map(|it| format!("%{it:02x}")).collect()
}

#[tokio::test]
async fn a_device_is_created_shown_changed_and_deleted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let id = "a:b.%_#*?!(),=@$'+-";
    let path = format!("/devices/{}", percent(id));
    let put = operator.ask(&format!("PUT {path}"), "", &device(id).to_string()).await;
    assert_eq!(put.status, 200, "{}", put.body);
    let made = put.json();
    // The whole body of the documentation's example.
    let expected = json!({
        "deviceId": id,
        "generationId": made["generationId"],
        "etag": made["etag"],
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": null,
        "connectionStateUpdatedTime": "0001-01-01T00:00:00Z",
        "statusUpdatedTime": "0001-01-01T00:00:00Z",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "type": "sas",
            "symmetricKey": { "primaryKey": PRIMARY, "secondaryKey": SECONDARY },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        },
        "capabilities": { "iotEdge": false },
    });
    assert_eq!(made, expected);
    let etag = made["etag"].as_str().expect("an etag").to_owned();
    assert_eq!(put.header("etag"), Some(format!("\"{etag}\"").as_str()));
    assert_eq!(operator.ok(&format!("GET {path}"), "", &Value::Null).await, made);

    // Without If-Match, a PUT creates.
    let again = operator.refused(&format!("PUT {path}"), "", &device(id).to_string()).await;
    assert_eq!(again, no(409, "DeviceAlreadyExists"));
    let stale = operator.refused(&format!("PUT {path}"), &if_match("\"c3RhbGU=\""), &device(id).to_string()).await;
    assert_eq!(stale, no(412, "PreconditionFailed"));
    // An etag, or the star, may be quoted or not.
    let mut known = etag.clone();
    for spelling in [format!("\"{etag}\""), "BARE".to_owned(), "*".to_owned(), "\"*\"".to_owned()] {
        let header = if_match(&spelling.replace("BARE", &known));
        let keys = &expected["authentication"];
        let body = json!({ "deviceId": id, "status": "disabled", "statusReason": "tired", "authentication": keys });
        let changed = operator.ok(&format!("PUT {path}"), &header, &body).await;
        assert_eq!(changed["authentication"], expected["authentication"], "{spelling}");
        assert_eq!((&changed["status"], &changed["statusReason"]), (&json!("disabled"), &json!("tired")));
        assert_ne!(changed["statusUpdatedTime"], "0001-01-01T00:00:00Z");
        assert_eq!(changed["generationId"], made["generationId"]);
        assert_ne!(changed["etag"], known.as_str(), "{spelling}");
        known = changed["etag"].as_str().expect("an etag").to_owned();
    }
    // A PUT replaces the whole identity. If the request has no keys, the hub generates both keys. The hub refuses a
    // request with only one key.
    let etag = if_match(&format!("\"{known}\""));
    let bare = operator.ok(&format!("PUT {path}"), &etag, &json!({ "deviceId": id })).await;
    known = bare["etag"].as_str().expect("an etag").to_owned();
    assert_made(&bare);
    for one in ["primaryKey", "secondaryKey"] {
        let keys = json!({ "type": "sas", "symmetricKey": { (one): PRIMARY } });
        let body = json!({ "deviceId": id, "authentication": keys }).to_string();
        let line = format!("PUT {path}");
        assert_eq!(operator.refused(&line, &if_match("*"), &body).await, no(400, "ArgumentInvalid"), "{one}");
    }
    let absent = operator.refused("PUT /devices/d2", &if_match("*"), &device("d2").to_string()).await;
    assert_eq!(absent, no(404, "DeviceNotFound"));

    let delete = format!("DELETE {path}");
    assert_eq!(operator.refused(&delete, &if_match("\"c3RhbGU=\""), "").await, no(412, "PreconditionFailed"));
    assert_eq!(operator.refused(&delete, "", "").await, no(412, "PreconditionFailed"), "it insists on If-Match");
    let gone = operator.ask(&delete, &if_match(&format!("\"{known}\"")), "").await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    assert_eq!(operator.refused(&delete, &if_match("*"), "").await, no(404, "DeviceNotFound"));
    // A device that is deleted and created again is a new device. If the request has no keys, the hub generates both
    // keys.
    let body = json!({ "deviceId": id, "authentication": { "type": "sas", "symmetricKey": { "primaryKey": null } } });
    let second = operator.ok(&format!("PUT {path}"), "", &body).await;
    assert_ne!(second["generationId"], made["generationId"]);
    assert_made(&second);
}

/// Checks that an identity has two generated keys.
fn assert_made(identity: &Value) {
    let keys = &identity["authentication"]["symmetricKey"];
    for key in [&keys["primaryKey"], &keys["secondaryKey"]] {
        let key = SharedKey::from_base64(key.as_str().expect("a key")).expect("a key");
        assert!(![PRIMARY, SECONDARY].contains(&key.expose_base64().as_str()), "{identity}");
    }
}

#[tokio::test]
async fn modules_are_separate_identities() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /devices/d1", "", &device("d1")).await;
    let module = json!({ "deviceId": "d1", "moduleId": "m1", "managedBy": "me" });
    let made = operator.ok("PUT /devices/d1/modules/m1", "", &module).await;
    assert_eq!((&made["deviceId"], &made["moduleId"], &made["managedBy"]), (&json!("d1"), &json!("m1"), &json!("me")));
    assert_eq!((&made["connectionState"], &made["status"]), (&json!("Disconnected"), &Value::Null));
    let body = module.to_string();
    let system = json!({ "deviceId": "d1", "moduleId": "$edgeAgent" }).to_string();
    let line = "PUT /devices/d1/modules/$edgeAgent";
    assert_eq!(operator.refused(line, "", &system).await, no(400, "ArgumentInvalid"), "the hub makes those itself");
    for (line, headers, expected) in [
        ("PUT /devices/d1/modules/m1", String::new(), no(409, "ModuleAlreadyExistsOnDevice")),
        ("PUT /devices/d1/modules/m1", if_match("x"), no(412, "PreconditionFailed")),
        ("PUT /devices/d1/modules/m2", String::new(), no(400, "ArgumentInvalid")),
    ] {
        assert_eq!(operator.refused(line, &headers, &body).await, expected, "{line} {headers}");
    }
    let stray = json!({ "deviceId": "d2", "moduleId": "m1" }).to_string();
    assert_eq!(operator.refused("PUT /devices/d2/modules/m1", "", &stray).await, no(404, "DeviceNotFound"));
    assert_eq!(operator.refused("GET /devices/d1/modules/m2", "", "").await, no(404, "ModuleNotFound"));
    let updated = operator.ok("PUT /devices/d1/modules/m1", &if_match("*"), &module).await;
    assert_ne!(updated["authentication"], made["authentication"], "it gets new keys");
    let again = operator.ok("PUT /devices/d1/modules/m1", &if_match("*"), &updated).await;
    assert_eq!(again["authentication"], updated["authentication"]);
    for number in 2..=50 {
        let body = json!({ "deviceId": "d1", "moduleId": format!("m{number}") });
        operator.ok(&format!("PUT /devices/d1/modules/m{number}"), "", &body).await;
    }
    let more = json!({ "deviceId": "d1", "moduleId": "m51" }).to_string();
    assert_eq!(operator.refused("PUT /devices/d1/modules/m51", "", &more).await, no(413, "TooManyModulesOnDevice"));
    let listed = operator.ok("GET /devices/d1/modules", "", &Value::Null).await;
    assert_eq!(listed.as_array().expect("a list").len(), 50);
    // The list of devices does not contain modules. If a device is deleted, its modules are deleted too.
    let devices = operator.ok("GET /devices", "", &Value::Null).await;
    assert_eq!(devices.as_array().expect("a list").len(), 1);
    let delete = "DELETE /devices/d1/modules/m1";
    assert_eq!(operator.refused(delete, "", "").await, no(412, "PreconditionFailed"));
    assert_eq!(operator.ask(delete, &if_match("*"), "").await.status, 204);
    assert_eq!(operator.ask("DELETE /devices/d1", &if_match("*"), "").await.status, 204);
    assert_eq!(operator.refused("GET /devices/d1/modules/m2", "", "").await, no(404, "DeviceNotFound"));
}

#[tokio::test]
async fn devices_are_listed_and_counted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    for id in ["d1", "d2", "d3"] {
        operator.ok(&format!("PUT /devices/{id}"), "", &device(id)).await;
    }
    let off = json!({ "deviceId": "d2", "status": "disabled" });
    operator.ok("PUT /devices/d2", &if_match("*"), &off).await;
    let listed = operator.ok("GET /devices?top=2", "", &Value::Null).await;
    let ids: Vec<&Value> = listed.as_array().expect("a list").iter().map(|it| &it["deviceId"]).collect();
    assert_eq!(ids, ["d1", "d2"]);
    assert_eq!(
        operator.ok("GET /statistics/devices", "", &Value::Null).await,
        json!({ "totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1 })
    );
    let key = SharedKey::from_base64(PRIMARY).expect("a key");
    let _connected = crate::client::listening(&emulator, &key, &[]).await;
    assert_eq!(operator.ok("GET /statistics/service", "", &Value::Null).await, json!({ "connectedDeviceCount": 1 }));
    let shown = operator.ok("GET /devices/d1", "", &Value::Null).await;
    assert_eq!(shown["connectionState"], "Connected");
    for time in ["connectionStateUpdatedTime", "lastActivityTime"] {
        assert_ne!(shown[time], "0001-01-01T00:00:00Z", "{time}");
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = || Emulator::builder().data_dir(folder.path()).start();
    let emulator = start().await.expect("started");
    let login = emulator.hub_connection_string("localhost");
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /devices/d1", "", &device("d1")).await;
    let off = json!({ "deviceId": "d1", "status": "disabled", "statusReason": "tired" });
    let shown = operator.ok("PUT /devices/d1", &if_match("*"), &off).await;
    let module = json!({ "deviceId": "d1", "moduleId": "m1", "managedBy": "me" });
    let module = operator.ok("PUT /devices/d1/modules/m1", "", &module).await;
    let patch = json!({ "tags": { "a": 1 }, "properties": { "desired": { "b": 2 } } });
    let twin = operator.ok("PATCH /twins/d1", "", &patch).await;
    drop(operator);
    emulator.shutdown().await;

    let emulator = start().await.expect("started again");
    assert_eq!(emulator.hub_connection_string("localhost"), login, "the keys of policies stay");
    let mut operator = Operator::new(&emulator).await;
    for (line, expected) in
        [("GET /devices/d1", shown), ("GET /devices/d1/modules/m1", module), ("GET /twins/d1", twin)]
    {
        assert_eq!(operator.ok(line, "", &Value::Null).await, expected, "{line}");
    }
}
