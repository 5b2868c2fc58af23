//! Tests that repeat published observations of real hubs, on the device side. The bytes are copied from traces. The
//! comments contain the repositories and the issue numbers, such as `Azure/azure-iot-sdks 999`.

use hubward_emulator::{CloudToDevice, Emulator, Invocation};
use hubward_sas::SharedKey;
use serde_json::{Value, json};

use crate::client::{
    Login, QOS1, Tls, before_pong, connect, dps_connect, dps_token, listening, publish, read_publish, receive, send,
    subscribe, tls, token,
};
use crate::service_hub::Operator;

const HUB: &str = "localhost";
const ANSWERS: (&str, u8) = ("$iothub/twin/res/#", 0);
const CALLS: (&str, u8) = ("$iothub/methods/POST/#", 0);
const MESSAGES: (&str, u8) = ("devices/d1/messages/devicebound/#", 1);
const NOTICES: (&str, u8) = ("$iothub/twin/PATCH/properties/desired/#", 0);
const REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?$rid=2";

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "d1").expect("a device");
    (emulator, key)
}

/// Connects as device `d1` with this user name and a token for this resource. Returns the CONNACK.
async fn connack(stream: &mut Tls, username: &str, key: &SharedKey, resource: &str) -> Option<Vec<u8>> {
    let password = token(key, resource);
    let login = Login { client_id: "d1", username, password: &password, clean: true, keep_alive: 60, will: None };
    send(stream, &connect(&login)).await;
    receive(stream).await
}

/// Azure/azure-iot-sdks 999, Azure/azure-iot-sdk-c 616, MicrosoftDocs/azure-docs 102263 and others, from 2016 to 2024,
/// show method calls with the request ids `1`, `4`, `9` and `a`.
#[tokio::test]
async fn calls_are_numbered_from_one_in_hexadecimal_on_each_connection() {
    let (emulator, key) = emulator().await;
    for last in [11, 1] {
        let mut stream = listening(&emulator, &key, &[CALLS]).await;
        let mut topics = Vec::new();
        for _ in 0..last {
            let device = async {
                let (topic, _, _) = read_publish(&receive(&mut stream).await.expect("a call"));
                let id = topic.rsplit_once('=').expect("a request id").1.to_owned();
                send(&mut stream, &publish(0, &format!("$iothub/methods/res/200/?$rid={id}"), 0, b"")).await;
                topics.push(topic);
            };
            let (answer, ()) = tokio::join!(emulator.invoke_method(HUB, "d1", Invocation::new("m")), device);
            assert_eq!(answer.expect("an answer").status, 200);
        }
        assert_eq!(topics[0], "$iothub/methods/POST/m/?$rid=1");
        if last > 1 {
            assert_eq!(topics[9..], ["$iothub/methods/POST/m/?$rid=a", "$iothub/methods/POST/m/?$rid=b"]);
        }
    }
}

/// The hub forwards the body of a method response unchanged to the caller, even if the body is not valid JSON.
///
/// Source: `[seen]` Azure/azure-iot-sdk-node 736 (single quotes), Azure/azure-iot-sdk-c 1641 (a NUL at the end), and
/// Azure/azure-iot-sdk-python 781.
#[tokio::test]
async fn a_response_that_is_not_json_is_passed_on_and_the_connection_stays() {
    let (emulator, key) = emulator().await;
    let mut operator = Operator::new(&emulator).await;
    let mut stream = listening(&emulator, &key, &[CALLS]).await;
    for (answer, pasted) in [
        ("{'ok': true}", r#"{"status":200,"payload":{'ok': true}}"#),
        ("{\"ok\":true}\0", "{\"status\":200,\"payload\":{\"ok\":true}\0}"),
        ("Executed direct method", r#"{"status":200,"payload":Executed direct method}"#),
        (" {\"n\":1.0} ", "{\"status\":200,\"payload\": {\"n\":1.0} }"),
        ("", r#"{"status":200,"payload":null}"#),
    ] {
        let device = async {
            let (topic, _, _) = read_publish(&receive(&mut stream).await.expect("a call"));
            let id = topic.rsplit_once('=').expect("a request id").1.to_owned();
            let topic = format!("$iothub/methods/res/200/?$rid={id}");
            send(&mut stream, &publish(QOS1, &topic, 5, answer.as_bytes())).await;
            assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x05"[..]));
        };
        let call = operator.ask("POST /twins/d1/methods", "", r#"{"methodName":"m"}"#);
        let (reply, ()) = tokio::join!(call, device);
        assert_eq!((reply.status, reply.body.as_str()), (200, pasted));
    }
    assert_eq!(before_pong(&mut stream).await, []);
}

/// Azure/iotedge 7035 shows the error for a report that is too large. Azure/iotedge 1560 shows the status 403 in the
/// topic.
#[tokio::test]
async fn a_section_that_is_too_large_is_forbidden() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
    let nine: serde_json::Map<_, _> = (0..9).map(|it| (it.to_string(), Value::from("x".repeat(4000)))).collect();
    send(&mut stream, &publish(0, REPORTED, 0, json!(nine).to_string().as_bytes())).await;
    let (topic, body, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
    assert_eq!(topic, "$iothub/twin/res/403/?$rid=2");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["errorCode"], 403_100);
    assert_eq!(body["message"], "'Properties.Reported' size should be less than 32768 bytes.");
    // Azure/iotedge 1694, over REST.
    let mut operator = Operator::new(&emulator).await;
    let desired = json!({ "properties": { "desired": nine } }).to_string();
    let reply = operator.ask("PATCH /twins/d1", "", &desired).await;
    let said = "ErrorCode:DeviceModelMaxPropertiesExceeded;'Properties.Desired' size should be less than 32768 bytes.";
    assert_eq!((reply.status, reply.json()["Message"].as_str()), (403, Some(said)));
    assert_eq!(reply.header("iothub-errorcode"), Some("DeviceModelMaxPropertiesExceeded"));
}

/// Azure/iot-central-firmware 107 shows the error code 400004. In Azure/azure-iot-sdk-java 243 and
/// CGI-FR/IoT-Hub-Portal 631, a hub refuses names with `#`.
#[tokio::test]
async fn a_report_that_is_not_an_object_or_is_invalid_is_400004() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[ANSWERS]).await;
    for body in ["{'a':1}", "", "[1]", "null", r##"{"a#b":1}"##, r##"{"a":{"#":1}}"##] {
        send(&mut stream, &publish(0, REPORTED, 0, body.as_bytes())).await;
        let (topic, answer, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=2", "{body}");
        assert_eq!(serde_json::from_str::<Value>(&answer).expect("JSON")["errorCode"], 400_004, "{body}");
    }
    let mut operator = Operator::new(&emulator).await;
    for body in [r##"{"tags":{"a#b":1}}"##, r##"{"properties":{"desired":{"a#b":1}}}"##] {
        let refusal = operator.refused("PATCH /twins/d1", "", body).await;
        assert_eq!(refusal, (400, "ArgumentInvalid".to_owned()), "{body}");
    }
}

/// Azure/azure-iot-explorer 530: a message that was sent in the Azure portal has no `$.mid`.
#[tokio::test]
async fn a_message_without_an_id_has_none() {
    let (emulator, key) = emulator().await;
    let mut stream = listening(&emulator, &key, &[MESSAGES]).await;
    let message = CloudToDevice::new("x").content_type("text/plain; charset=UTF-8").content_encoding("utf-8");
    let message = message.property("bbb", "bbbb").property("aaa", "aaaa");
    emulator.send_to_device(HUB, "d1", message).expect("sent");
    let (topic, _, _) = read_publish(&receive(&mut stream).await.expect("a message"));
    let seen = "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                &%24.ct=text%2Fplain%3B%20charset%3DUTF-8&%24.ce=utf-8&bbb=bbbb&aaa=aaaa";
    assert_eq!(topic, seen);
}

/// Source: the end-to-end test "can null out all desired properties" of Azure/azure-iot-sdk-node, by Microsoft. No
/// source says which notification the hub sends to the device. The emulator sends a notification with `null` for each
/// name.
#[tokio::test]
async fn null_for_the_desired_properties_removes_them_all() {
    let (emulator, key) = emulator().await;
    let mut operator = Operator::new(&emulator).await;
    let full = json!({ "tags": { "site": "a" }, "properties": { "desired": { "a": 1, "b": { "c": 2 } } } });
    operator.ok("PATCH /twins/d1", "", &full).await;
    let mut stream = listening(&emulator, &key, &[NOTICES, ANSWERS]).await;
    let empty = json!({ "tags": null, "properties": { "desired": null } });
    let twin = operator.ok("PATCH /twins/d1", "If-Match: *\r\n", &empty).await;
    assert_eq!((&twin["tags"], &twin["version"]), (&json!({ "site": "a" }), &json!(4)));
    let desired = twin["properties"]["desired"].as_object().expect("an object");
    assert_eq!(desired.keys().collect::<Vec<_>>(), ["$metadata", "$version"]);
    assert_eq!(desired["$version"], 3);
    let notices = before_pong(&mut stream).await;
    let notice = "$iothub/twin/PATCH/properties/desired/?$version=3".to_owned();
    assert_eq!(notices, [(notice, r#"{"$version":3,"a":null,"b":null}"#.to_owned())]);
    send(&mut stream, &publish(0, "$iothub/twin/GET/?$rid=1", 0, b"")).await;
    let (_, body, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
    assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON")["desired"], json!({ "$version": 3 }));
}

/// Azure/azure-iot-sdk-python 670, where a Microsoft engineer names the code.
#[tokio::test]
async fn a_foreign_id_scope_is_refused_with_connack_3() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("r").expect("enrolled");
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    let password = dps_token(&emulator, device.primary_key(), "r");
    let connack = dps_connect(&mut stream, "0ne00FFFFFF", "r", &password).await;
    assert_eq!(connack, Some(vec![0x20, 2, 0, 3]));
    assert_eq!(receive(&mut stream).await, None);
}

/// Microsoft's page about MQTT shows a token with `sr={hub}%2Fdevices%2FMyDevice01%2Fapi-version%3D2016-11-14`. Old
/// tools created such tokens.
#[tokio::test]
async fn a_token_of_an_old_tool_is_accepted() {
    let (emulator, key) = emulator().await;
    let username = "localhost/d1/?api-version=2021-04-12";
    for (resource, code) in [
        ("localhost/devices/d1/api-version=2016-11-14", 0),
        ("localhost/devices/d2/api-version=2016-11-14", 5),
        ("localhost/devices/d1/x/api-version=2016-11-14", 5),
        ("localhost/devices/d1/api-version=", 5),
        ("localhost/devices/d1/messages", 5),
    ] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        assert_eq!(connack(&mut stream, username, &key, resource).await, Some(vec![0x20, 2, 0, code]), "{resource}");
    }
}

/// Without an api-version, telemetry works (MicrosoftDocs/azure-docs 16306). Reports get 400
/// (andriyadi/AzureIoTHubMQTTClient, pull request 5). Method calls never arrive (wolfSSL/wolfMQTT 38).
#[tokio::test]
async fn a_user_name_without_an_api_version_allows_telemetry_only() {
    let (emulator, key) = emulator().await;
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    let connack = connack(&mut stream, "localhost/d1", &key, "localhost/devices/d1").await;
    assert_eq!(connack, Some(vec![0x20, 2, 0, 0]));
    send(&mut stream, &publish(QOS1, "devices/d1/messages/events/", 7, b"hi")).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, 7]));
    send(&mut stream, &subscribe(1, &[ANSWERS, CALLS, NOTICES])).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x90, 5, 0, 1, 0, 0, 0]));
    send(&mut stream, &publish(0, REPORTED, 0, br#"{"a":1}"#)).await;
    let (topic, _, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
    assert_eq!(topic, "$iothub/twin/res/400/?$rid=2");
    assert_eq!(emulator.twin(HUB, "d1").expect("a twin").reported.version, 1);
    let call = emulator.invoke_method(HUB, "d1", Invocation::new("m")).await;
    assert_eq!(call.expect_err("it gets no calls").code(), 404_103);
    assert_eq!(before_pong(&mut stream).await, []);
}

/// Microsoft engineers say that a hub and DPS end the connection after a refused filter:
/// Azure/azure-iot-middleware-freertos 65 and 89. No public trace shows this, so the emulator ends the connection only
/// if `close_on_refused_filter` is set.
#[tokio::test]
async fn a_refused_filter_can_be_set_to_end_the_connection() {
    for (close, refused) in [(false, Some(vec![0x90, 3, 0, 1, 0x80])), (true, None)] {
        let emulator = Emulator::builder().close_on_refused_filter(close).start().await.expect("started");
        let key = emulator.add_device(HUB, "d1").expect("a device");
        let mut stream = listening(&emulator, &key, &[CALLS]).await;
        send(&mut stream, &subscribe(1, &[("foo/#", 0)])).await;
        assert_eq!(receive(&mut stream).await, refused, "hub, {close}");
        let device = emulator.enroll("r").expect("enrolled");
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let password = dps_token(&emulator, device.primary_key(), "r");
        let connack = dps_connect(&mut stream, emulator.id_scope(), "r", &password).await;
        assert_eq!(connack, Some(vec![0x20, 2, 0, 0]));
        send(&mut stream, &subscribe(1, &[("foo/#", 0)])).await;
        assert_eq!(receive(&mut stream).await, refused, "DPS, {close}");
    }
}

/// The order of properties in topics of real hubs differs. Azure/azure-iot-explorer 530 alone shows two orders.
#[tokio::test]
async fn the_order_of_properties_can_be_shuffled() {
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let emulator = Emulator::builder().shuffle(seed).start().await.expect("started");
        let key = emulator.add_device(HUB, "d1").expect("a device");
        let mut stream = listening(&emulator, &key, &[MESSAGES]).await;
        let message = CloudToDevice::new("x").message_id("m").correlation_id("c").content_type("t").property("k", "v");
        emulator.send_to_device(HUB, "d1", message).expect("sent");
        let (topic, _, _) = read_publish(&receive(&mut stream).await.expect("a message"));
        let bag = topic.strip_prefix("devices/d1/messages/devicebound/").expect("a message").to_owned();
        seen.push(bag.split('&').map(str::to_owned).collect::<Vec<_>>());
    }
    let fixed = ["%24.mid=m", "%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound", "%24.cid=c", "%24.ct=t", "k=v"]
        .map(str::to_owned);
    assert_eq!(seen[0], seen[1], "the same seed");
    assert!(seen[0] != seen[2] && seen[0] != fixed, "{seen:?}");
    for mut bag in seen {
        bag.sort();
        let mut fixed = fixed.clone();
        fixed.sort();
        assert_eq!(bag, fixed);
    }
}
