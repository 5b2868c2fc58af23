//! The service API of a hub over HTTPS: twins, methods and messages. Some tests also check that a connection ends when
//! an operator disables or deletes the device.

use hubward_emulator::{Ack, CloudToDevice, ConnectionState, Emulator};
use serde_json::{Value, json};

use crate::client::{
    Login, QOS1, before_pong, connect, hub_connect, listening, publish, read_publish, receive, send, subscribe, tls,
    token,
};
use crate::service_hub::{Operator, if_match};
use crate::websocket::{receive_frame, send_frame, upgraded};

const HUB: &str = "localhost";

#[tokio::test]
async fn a_twin_is_shown_patched_and_replaced() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    let mut operator = Operator::new(&emulator).await;
    let mut device = listening(&emulator, &key, &[("$iothub/twin/PATCH/properties/desired/#", 0)]).await;
    let first = operator.ask("GET /twins/d1", "", "").await;
    assert_eq!((first.status, first.header("etag")), (200, None));
    let first = first.json();
    let identity = operator.ok("GET /devices/d1", "", &Value::Null).await;
    let stamp = &first["properties"]["desired"]["$metadata"]["$lastUpdated"];
    // The members of the documented example.
    let expected = json!({
        "deviceId": "d1",
        "etag": "AAAAAAAAAAE=",
        "deviceEtag": identity["etag"],
        "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z",
        "connectionState": "Connected",
        "lastActivityTime": first["lastActivityTime"],
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        "modelId": "",
        "version": 2,
        "properties": {
            "desired": { "$metadata": { "$lastUpdated": stamp, "$lastUpdatedVersion": 1 }, "$version": 1 },
            "reported": { "$metadata": { "$lastUpdated": stamp }, "$version": 1 },
        },
        "capabilities": { "iotEdge": false },
    });
    assert_eq!(first, expected);

    let patch =
        json!({ "tags": { "site": "a", "gone": 1 }, "properties": { "desired": { "interval": 30, "x": { "y": 1 } } } });
    let patched = operator.ok("PATCH /twins/d1", &if_match("\"AAAAAAAAAAE=\""), &patch).await;
    assert_eq!((&patched["etag"], &patched["version"]), (&json!("AAAAAAAAAAI="), &json!(3)));
    assert_eq!(patched["properties"]["desired"]["$version"], 2);
    assert_eq!(patched["properties"]["desired"]["$metadata"]["x"]["y"]["$lastUpdatedVersion"], 2);
    let notices = before_pong(&mut device).await;
    assert_eq!(notices[0].0, "$iothub/twin/PATCH/properties/desired/?$version=2");
    assert_eq!(
        serde_json::from_str::<Value>(&notices[0].1).expect("JSON"),
        json!({ "interval": 30, "x": { "y": 1 }, "$version": 2 })
    );

    let stale = operator.refused("PATCH /twins/d1", &if_match("AAAAAAAAAAE="), "{}").await;
    assert_eq!(stale, (412, "PreconditionFailed".to_owned()));
    // `null` removes a name. The service side cannot change reported properties.
    let patch = json!({ "tags": { "gone": null }, "properties": { "reported": { "r": 1 } } });
    let patched = operator.ok("PATCH /twins/d1", &if_match("\"*\""), &patch).await;
    assert_eq!(patched["tags"], json!({ "site": "a" }));
    assert_eq!(patched["properties"]["reported"]["$version"], 1);
    assert_eq!(before_pong(&mut device).await, [], "no notice without a change of desired properties");

    // A client can send back a twin that it has read.
    let same = operator.ok("PUT /twins/d1", &if_match("*"), &patched).await;
    assert_eq!((&same["tags"], &same["properties"]["desired"]["interval"]), (&json!({ "site": "a" }), &json!(30)));
    let replaced = operator.ok("PUT /twins/d1", "", &json!({ "properties": { "desired": { "z": 1 } } })).await;
    assert_eq!((replaced.get("tags"), replaced["properties"]["desired"].get("interval")), (None, None));
    let notices = before_pong(&mut device).await;
    let last: Value = serde_json::from_str(&notices.last().expect("a notice").1).expect("JSON");
    assert_eq!(last, json!({ "z": 1, "interval": null, "x": null, "$version": 4 }));

    let large = json!({ "tags": { "t": "x".repeat(4000), "u": "x".repeat(4000), "v": "x".repeat(4000) } }).to_string();
    for (body, expected) in [
        (r#"{"tags":1}"#, (400, "IotHubFormatError")),
        (r#"{"properties":{"desired":[]}}"#, (400, "IotHubFormatError")),
        (r#"{"tags":{"a b":1}}"#, (400, "ArgumentInvalid")),
        (&large, (413, "MessageTooLarge")),
        ("[]", (400, "IotHubFormatError")),
    ] {
        let refusal = operator.refused("PATCH /twins/d1", "", body).await;
        assert_eq!(refusal, (expected.0, expected.1.to_owned()), "{body:.60}");
    }
    for desired in [r#"{"a":null}"#, r#"{"a":{"b":null}}"#, r#"{"a":[1,null]}"#, r#"{"a":[{"b":null}]}"#] {
        let body = format!(r#"{{"properties":{{"desired":{desired}}}}}"#);
        let refusal = operator.refused("PUT /twins/d1", "", &body).await;
        assert_eq!(refusal, (400, "ArgumentInvalid".to_owned()), "{desired}: a replacement has nothing to remove");
    }

    emulator.add_module(HUB, "d1", "m1").expect("a module");
    let module =
        operator.ok("PATCH /twins/d1/modules/m1", "", &json!({ "properties": { "desired": { "a": 1 } } })).await;
    assert_eq!((&module["moduleId"], &module["capabilities"]), (&json!("m1"), &Value::Null));
    for line in ["GET /twins/d1/modules/m2", "PATCH /twins/d1/modules/m2", "PUT /twins/d1/modules/m2"] {
        assert_eq!(operator.refused(line, "", "{}").await, (404, "DeviceNotFound".to_owned()), "{line}");
    }
    assert_eq!(operator.refused("GET /twins/d2/modules/m2", "", "").await, (404, "DeviceNotFound".to_owned()));
}

#[tokio::test]
async fn a_method_is_called() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    emulator.add_device(HUB, "off").expect("a device");
    emulator.set_device_enabled(HUB, "off", false);
    let mut operator = Operator::new(&emulator).await;
    let call = |rest: &str| format!(r#"{{"methodName":"reboot"{rest}}}"#);
    let large = call(&format!(r#","payload":"{}""#, "x".repeat(131_072)));
    for (line, body, expected) in [
        ("POST /twins/d1/methods", call(""), (404, "DeviceNotOnline")),
        ("POST /twins/d2/methods", call(""), (404, "DeviceNotFound")),
        ("POST /twins/off/methods", call(""), (404, "DeviceNotFound")),
        ("POST /twins/d1/modules/m1/methods", call(""), (404, "ModuleNotFound")),
        ("POST /twins/d1/methods", call(r#","responseTimeoutInSeconds":4"#), (400, "ArgumentInvalid")),
        ("POST /twins/d1/methods", call(r#","responseTimeoutInSeconds":301"#), (400, "ArgumentInvalid")),
        ("POST /twins/d1/methods", call(r#","connectTimeoutInSeconds":301"#), (400, "ArgumentInvalid")),
        ("POST /twins/d1/methods", call(r#","connectTimeoutInSeconds":31"#), (400, "ArgumentInvalid")),
        (
            "POST /twins/d1/methods",
            call(r#","connectTimeoutInSeconds":61,"responseTimeoutInSeconds":60"#),
            (400, "ArgumentInvalid"),
        ),
        ("POST /twins/d1/methods", "{}".to_owned(), (400, "ArgumentInvalid")),
        ("POST /twins/d1/methods", large, (413, "MessageTooLarge")),
    ] {
        assert_eq!(operator.refused(line, "", &body).await, (expected.0, expected.1.to_owned()), "{line} {body:.60}");
    }
    let mut device = listening(&emulator, &key, &[("$iothub/methods/POST/#", 0)]).await;
    // The form that Microsoft's Node SDK sends.
    let body = json!({
        "methodName": "reboot", "payload": null, "responseTimeoutInSeconds": 30, "connectTimeoutInSeconds": 0,
    });
    let answering = async {
        let (topic, body, _) = read_publish(&receive(&mut device).await.expect("a call"));
        assert_eq!(body, "null");
        let id = topic.strip_prefix("$iothub/methods/POST/reboot/?$rid=").expect("a call").to_owned();
        send(&mut device, &publish(0, &format!("$iothub/methods/res/500/?$rid={id}"), 0, br#"{"ok":false}"#)).await;
    };
    let (answer, ()) = tokio::join!(operator.ok("POST /twins/d1/methods", "", &body), answering);
    assert_eq!(answer, json!({ "status": 500, "payload": { "ok": false } }), "200, whatever the device says");
}

#[tokio::test]
async fn messages_are_purged_and_feedback_is_received() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device(HUB, "d1").expect("a device");
    let mut operator = Operator::new(&emulator).await;
    let feedback = "/messages/serviceBound/feedback";
    assert_eq!(operator.ask(&format!("GET {feedback}"), "", "").await.status, 204);
    for id in ["m1", "m2"] {
        emulator.send_to_device(HUB, "d1", CloudToDevice::new("x").message_id(id).ack(Ack::Full)).expect("sent");
    }
    assert_eq!(operator.ok("GET /devices/d1", "", &Value::Null).await["cloudToDeviceMessageCount"], 2);
    let purged = operator.ok("DELETE /devices/d1/commands", "", &Value::Null).await;
    assert_eq!(purged, json!({ "totalMessagesPurged": 2, "deviceId": "d1", "moduleId": null }));
    assert_eq!(operator.refused("DELETE /devices/d2/commands", "", "").await, (404, "DeviceNotFound".to_owned()));

    let reply = operator.ask(&format!("GET {feedback}"), "", "").await;
    assert_eq!(reply.status, 200);
    let records = reply.json();
    assert_eq!((&records[0]["originalMessageId"], &records[1]["statusCode"]), (&json!("m1"), &json!("Purged")));
    let lock = reply.header("etag").expect("a lock token").trim_matches('"').to_owned();
    assert_eq!(operator.ask(&format!("GET {feedback}"), "", "").await.status, 204, "they are locked");
    let abandon = operator.ask(&format!("POST {feedback}/{lock}/abandon"), "", "").await;
    assert_eq!(abandon.status, 204);
    let lost = operator.refused(&format!("DELETE {feedback}/{lock}"), "", "").await;
    assert_eq!(lost, (412, "DeviceMessageLockLost".to_owned()));
    let reply = operator.ask(&format!("GET {feedback}"), "", "").await;
    assert_eq!(reply.json(), records, "once more");
    let lock = reply.header("etag").expect("a lock token").trim_matches('"').to_owned();
    assert_eq!(operator.ask(&format!("DELETE {feedback}/{lock}"), "", "").await.status, 204);
    assert_eq!(operator.ask(&format!("GET {feedback}"), "", "").await.status, 204, "all of them are done");
}

/// Connects a device and its module, and sends a service request that disables or deletes the device.
///
/// Checks that both connections end, and that the next CONNECT of the device gets the return code 5.
async fn lifecycle(line: &str, headers: &str, body: &str) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    let module_key = emulator.add_module(HUB, "d1", "m1").expect("a module");
    let other = emulator.add_device(HUB, "d2").expect("a device");
    let mut operator = Operator::new(&emulator).await;
    let mut device = listening(&emulator, &key, &[("$iothub/methods/POST/#", 0)]).await;
    let mut bystander = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut bystander, "d2", &other, true).await, Some(vec![0x20, 2, 0, 0]));
    // The module is connected over WebSocket.
    let mut module = upgraded(&emulator, "/$iothub/websocket").await;
    let password = token(&module_key, "localhost/devices/d1/modules/m1");
    let username = "localhost/d1/m1/?api-version=2021-04-12";
    let login = Login { client_id: "d1/m1", username, password: &password, clean: true, keep_alive: 60, will: None };
    send_frame(&mut module, &connect(&login)).await;
    assert_eq!(receive_frame(&mut module).await, (0x82, vec![0x20, 2, 0, 0]));

    let reply = operator.ask(line, headers, body).await;
    assert!(reply.status < 300, "{line}: {}", reply.body);
    assert_eq!(receive(&mut device).await, None, "{line}: the device's connection has ended");
    let (kind, _) = receive_frame(&mut module).await;
    assert_eq!(kind, 0x88, "{line}: the module's WebSocket is closed");
    assert_eq!(before_pong(&mut bystander).await, [], "others stay");
    let mut again = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut again, "d1", &key, true).await, Some(vec![0x20, 2, 0, 5]), "{line}");
    let call = operator.refused("POST /twins/d1/methods", "", r#"{"methodName":"m"}"#).await;
    assert_eq!(call, (404, "DeviceNotFound".to_owned()), "{line}");
}

#[tokio::test]
async fn disabling_a_connected_device_ends_its_connections() {
    let body = r#"{"deviceId":"d1","status":"disabled","statusReason":"stolen"}"#;
    lifecycle("PUT /devices/d1", &if_match("*"), body).await;
}

#[tokio::test]
async fn disabling_a_connected_device_by_a_bulk_request_ends_its_connections() {
    lifecycle("POST /devices", "", r#"[{"id":"d1","importMode":"update","status":"disabled"}]"#).await;
}

#[tokio::test]
async fn deleting_a_connected_device_ends_its_connections() {
    lifecycle("DELETE /devices/d1", &if_match("*"), "").await;
}

#[tokio::test]
async fn the_registry_shows_when_a_device_reconnects() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    let mut operator = Operator::new(&emulator).await;
    let mut identity = operator.ok("GET /devices/d1", "", &Value::Null).await;
    identity["status"] = json!("disabled");
    let mut identity = operator.ok("PUT /devices/d1", &if_match("*"), &identity).await;
    identity["status"] = json!("enabled");
    let shown = operator.ok("PUT /devices/d1", &if_match("*"), &identity).await;
    assert_eq!((&shown["status"], &shown["statusReason"]), (&json!("enabled"), &Value::Null));
    let mut device = listening(&emulator, &key, &[]).await;
    send(&mut device, &subscribe(2, &[("devices/d1/messages/devicebound/#", 1)])).await;
    assert_eq!(receive(&mut device).await.expect("a SUBACK")[0], 0x90);
    send(&mut device, &publish(QOS1, "devices/d1/messages/events/", 1, b"hi")).await;
    assert_eq!(receive(&mut device).await, Some(vec![0x40, 2, 0, 1]));
    let busy = operator.ok("GET /devices/d1", "", &Value::Null).await;
    send(&mut device, b"\xe0\x00").await;
    assert_eq!(receive(&mut device).await, None);
    let away = emulator.wait_until(|it| {
        let view = it.device(HUB, "d1")?;
        (view.connection_state == ConnectionState::Disconnected).then_some(())
    });
    away.await;
    let shown = operator.ok("GET /devices/d1", "", &Value::Null).await;
    assert_eq!((&busy["connectionState"], &shown["connectionState"]), (&json!("Connected"), &json!("Disconnected")));
    assert_eq!(busy["lastActivityTime"], shown["lastActivityTime"], "a disconnect does not count as activity");
    assert!(shown["connectionStateUpdatedTime"].as_str() > busy["connectionStateUpdatedTime"].as_str());
}

#[cfg(feature = "admin")]
#[tokio::test]
async fn the_admin_port_has_the_same_api_without_a_token() {
    let emulator = Emulator::builder().hubs(["hub-1.example", "hub-2.example"]).start().await.expect("started");
    let mut stream = tokio::net::TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    for (line, body, status) in [
        ("PUT /hubs/hub-1.example/devices/d1", r#"{"deviceId":"d1"}"#, 200),
        ("PUT /hubs/HUB-1.example/devices/d1", r#"{"deviceId":"d1"}"#, 409),
        ("GET /hubs/hub-2.example/devices/d1", "", 404),
        ("PATCH /hubs/hub-1.example/twins/d1", r#"{"tags":{"a":1}}"#, 200),
        ("GET /hubs/hub-3.example/devices", "", 401),
        ("POST /hubs/hub-1.example/jobs/create", "{}", 501),
    ] {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let reply = crate::client::http(&mut stream, &request).await.expect("an answer");
        assert_eq!(reply.status, status, "{line}: {}", reply.body);
    }
    let devices: Vec<_> = emulator.devices().into_iter().map(|it| (it.hub, it.device_id)).collect();
    assert_eq!(devices, [("hub-1.example".to_owned(), "d1".to_owned())]);
    // A page of another origin is refused.
    let request = "GET /hubs/hub-1.example/devices HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(crate::client::http(&mut stream, request).await.expect("an answer").status, 403);
}
