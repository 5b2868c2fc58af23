//! Modules of a device over MQTT, with hand-written packets.

use hubward_emulator::{CloudToDevice, ConnectionState, Emulator, EnrollError, Invocation, Seed};
use hubward_sas::{SasToken, SharedKey};
use serde_json::json;

use crate::client::{
    Login, QOS1, Tls, before_pong, connect, hub_connect, listening, publish, read_publish, receive, send, subscribe,
    tls, token,
};

const HUB: &str = "localhost";
const INPUTS: &str = "devices/d1/modules/m1/inputs/#";

/// A device `d1` and its module `m1`, with their keys.
async fn emulator() -> (Emulator, SharedKey, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.add_device(HUB, "d1").expect("a device");
    let module = emulator.add_module(HUB, "d1", "m1").expect("a module");
    (emulator, device, module)
}

/// Connects `d1/m1`. Returns the connection and the CONNACK.
async fn connected(emulator: &Emulator, key: &SharedKey, clean: bool) -> (Tls, Option<Vec<u8>>) {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    let login = Login {
        client_id: "d1/m1",
        username: "localhost/d1/m1/?api-version=2021-04-12&model-id=dtmi%3Acom%3Aexample%3AModule%3B1",
        password: &token(key, "localhost/devices/d1/modules/m1"),
        clean,
        keep_alive: 60,
        will: None,
    };
    send(&mut stream, &connect(&login)).await;
    let connack = receive(&mut stream).await;
    (stream, connack)
}

async fn accepted(emulator: &Emulator, key: &SharedKey, clean: bool) -> Tls {
    let (stream, connack) = connected(emulator, key, clean).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    stream
}

fn state(emulator: &Emulator) -> ConnectionState {
    emulator.module(HUB, "d1", "m1").expect("the module").connection_state
}

#[tokio::test]
async fn a_module_is_connected_beside_its_device_and_its_telemetry_names_it() {
    let (emulator, device_key, key) = emulator().await;
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut device, "d1", &device_key, true).await.expect("a CONNACK");
    let mut module = accepted(&emulator, &key, true).await;
    assert_eq!(state(&emulator), ConnectionState::Connected);
    send(&mut module, &publish(QOS1, "devices/d1/modules/m1/messages/events/%24.on=out%201&k=v", 1, b"one")).await;
    assert_eq!(receive(&mut module).await.as_deref(), Some(&b"\x40\x02\x00\x01"[..]));
    send(&mut device, &publish(QOS1, "devices/d1/messages/events/", 2, b"two")).await;
    assert_eq!(receive(&mut device).await.as_deref(), Some(&b"\x40\x02\x00\x02"[..]));
    let log = emulator.telemetry(HUB).expect("the hub").all();
    let senders: Vec<_> = log.iter().map(|it| (it.device_id.as_str(), it.module_id.as_deref())).collect();
    assert_eq!(senders, [("d1", Some("m1")), ("d1", None)]);
    assert_eq!(log[0].message.system_properties().collect::<Vec<_>>(), [("$.on", "out 1")]);
    let view = emulator.module(HUB, "d1", "m1").expect("the module");
    let stamps = log[0].stamps();
    for (name, value) in [
        ("iothub-connection-device-id", "d1"),
        ("iothub-connection-module-id", "m1"),
        ("iothub-connection-auth-method", r#"{"scope":"module","type":"sas","issuer":"iothub"}"#),
        ("iothub-connection-auth-generation-id", &view.generation_id),
        ("iothub-enqueuedtime", &log[0].enqueued_time),
        ("iothub-message-source", "Telemetry"),
        ("dt-dataschema", "dtmi:com:example:Module;1"),
    ] {
        assert!(stamps.contains(&(name, value.to_owned())), "{name}: {stamps:?}");
    }
    assert!(log[1].stamps().iter().all(|(name, _)| !matches!(*name, "dt-dataschema" | "iothub-connection-module-id")));
    // If a module publishes to the topic of another module, the hub ends the connection.
    send(&mut module, &publish(QOS1, "devices/d1/messages/events/", 3, b"not mine")).await;
    assert_eq!(receive(&mut module).await, None);
}

#[tokio::test]
async fn messages_to_inputs_reach_their_module_only() {
    let (emulator, device_key, key) = emulator().await;
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut device, "d1", &device_key, true).await.expect("a CONNACK");
    send(&mut device, &subscribe(1, &[("devices/d1/messages/devicebound/#", 1), (INPUTS, 1)])).await;
    assert_eq!(receive(&mut device).await.as_deref(), Some(&b"\x90\x04\x00\x01\x01\x80"[..]));
    let message = |id: &str| CloudToDevice::new("body").message_id(id).property("k", "v");
    let to_input = |input: &str, message| emulator.send_to_input(HUB, "d1", "m1", input, message);
    to_input("in 1", message("1").sender("device2", Some("modX"))).expect("room");
    for (filter, code) in [
        ("devices/d1/messages/devicebound/#", 0x80),
        ("devices/d1/modules/m2/inputs/#", 0x80),
        (INPUTS, 1),
        ("devices/d1/modules/m1/#", 0),
    ] {
        let mut module = accepted(&emulator, &key, true).await;
        send(&mut module, &subscribe(1, &[(filter, code & 1)])).await;
        assert_eq!(receive(&mut module).await, Some(vec![0x90, 3, 0, 1, code]), "{filter}");
        if code == 0x80 {
            send(&mut module, b"\xc0\x00").await;
            assert_eq!(receive(&mut module).await.as_deref(), Some(&b"\xd0\x00"[..]));
            continue;
        }
        let (topic, body, puback) = read_publish(&receive(&mut module).await.expect("a message"));
        let expected = "devices/d1/modules/m1/inputs/in%201/%24.mid=1&%24.cdid=device2&%24.cmid=modX&k=v";
        assert_eq!((topic.as_str(), body.as_str(), puback.is_some()), (expected, "body", code == 1));
    }
    // The last delivery had QoS 0, so the hub removes the message from the queue without an acknowledgement.
    emulator.wait_until(|it| it.cloud_messages(HUB, "d1/m1").is_empty().then_some(())).await;
    for (device, module, input, code) in
        [("d1", "m2", "in", 404_010), ("d2", "m1", "in", 404_001), ("d1", "m1", "", 400_004)]
    {
        let refused = emulator.send_to_input(HUB, device, module, input, message("2")).expect_err("refused");
        assert_eq!(refused.code(), code, "{device} {module} {input}");
    }
    send(&mut device, b"\xc0\x00").await;
    assert_eq!(receive(&mut device).await.as_deref(), Some(&b"\xd0\x00"[..]), "nothing is for the device");
}

#[tokio::test]
async fn a_module_has_a_session_of_its_own() {
    let (emulator, device_key, key) = emulator().await;
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut device, "d1", &device_key, false).await.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    let mut module = accepted(&emulator, &key, false).await;
    send(&mut module, &subscribe(1, &[(INPUTS, 1)])).await;
    receive(&mut module).await.expect("a SUBACK");
    let (mut module, connack) = connected(&emulator, &key, false).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x01\x00"[..]));
    emulator.send_to_input(HUB, "d1", "m1", "in", CloudToDevice::new("kept").message_id("1")).expect("room");
    let (topic, body, _) = read_publish(&receive(&mut module).await.expect("a message"));
    assert_eq!((topic.as_str(), body.as_str()), ("devices/d1/modules/m1/inputs/in/%24.mid=1&%24.cdid=d1", "kept"));
    assert_eq!(emulator.device(HUB, "d1").expect("the device").connection_state, ConnectionState::Connected);
}

#[tokio::test]
async fn a_modules_connection_ends_with_its_device() {
    let (emulator, device_key, key) = emulator().await;
    let (_, connack) = connected(&emulator, &device_key, true).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x05"[..]), "the device's key is not the module's");
    let mut module = accepted(&emulator, &key, true).await;
    assert!(emulator.set_device_enabled(HUB, "d1", false));
    assert_eq!(receive(&mut module).await, None);
    let (_, connack) = connected(&emulator, &key, true).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x05"[..]), "the device is disabled");
    assert!(emulator.set_device_enabled(HUB, "d1", true));
    let mut module = accepted(&emulator, &key, true).await;
    assert!(emulator.delete_device(HUB, "d1"));
    assert_eq!(receive(&mut module).await, None);
    assert_eq!((emulator.modules(HUB, "d1"), emulator.devices()), (vec![], vec![]));
}

#[tokio::test]
async fn the_registry_distinguishes_modules_from_devices() {
    let (emulator, _, key) = emulator().await;
    assert_eq!(emulator.add_module(HUB, "d1", "m1"), Ok(key.clone()), "it stays as it is");
    emulator.add_module(HUB, "d1", "a").expect("a module");
    emulator.add_device(HUB, "d1-2").expect("a device");
    emulator.add_device(HUB, "d").expect("a device");
    let devices: Vec<_> = emulator.devices().into_iter().map(|it| it.device_id).collect();
    assert_eq!(devices, ["d", "d1", "d1-2"]);
    let modules: Vec<_> = emulator.modules(HUB, "d1").into_iter().map(|it| (it.device_id, it.module_id)).collect();
    assert_eq!(modules, [("d1".to_owned(), "a".to_owned()), ("d1".to_owned(), "m1".to_owned())]);
    assert_eq!((emulator.modules(HUB, "d").len(), emulator.modules("elsewhere", "d1").len()), (0, 0));
    assert_eq!(emulator.device(HUB, "d1/m1"), None);
    assert!(!emulator.set_device_enabled(HUB, "d1/m1", false) && !emulator.delete_device(HUB, "d1/m1"));
    assert!(matches!(emulator.add_module(HUB, "d2", "m1"), Err(EnrollError::UnknownDevice { .. })));
    assert!(matches!(emulator.add_module(HUB, "d1/m1", "m2"), Err(EnrollError::UnknownDevice { .. })));
    assert!(matches!(emulator.add_module(HUB, "d1", "m/2"), Err(EnrollError::Id(_))));
    assert!(matches!(emulator.add_module("elsewhere", "d1", "m2"), Err(EnrollError::UnknownHub { .. })));
    let mut module = accepted(&emulator, &key, true).await;
    assert!(emulator.delete_module(HUB, "d1", "m1") && !emulator.delete_module(HUB, "d1", "m1"));
    assert_eq!(receive(&mut module).await, None);
    assert_eq!(emulator.module(HUB, "d1", "m1"), None);
}

#[tokio::test]
async fn a_policys_token_connects_device_and_module() {
    let policy_key = SharedKey::generate().expect("a key");
    let emulator = Emulator::builder().policy_key(policy_key.clone()).start().await.expect("started");
    emulator.add_device(HUB, "d1").expect("a device");
    emulator.add_module(HUB, "d1", "m1").expect("a module");
    let expiry = crate::client::now().saturating_add(std::time::Duration::from_secs(3600));
    for (client_id, resource, policy, code) in [
        ("d1", "localhost/devices/d1", "device", 0),
        ("d1/m1", "localhost", "iothubowner", 0),
        ("d1", "localhost/devices/d1", "service", 5),
    ] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let password = SasToken::sign(&policy_key, resource, expiry, Some(policy));
        let username = format!("localhost/{client_id}/?api-version=2021-04-12");
        let login = Login {
            client_id,
            username: &username,
            password: password.expose(),
            clean: true,
            keep_alive: 60,
            will: None,
        };
        send(&mut stream, &connect(&login)).await;
        assert_eq!(receive(&mut stream).await, Some(vec![0x20, 2, 0, code]), "{client_id} {policy}");
        if code == 0 {
            let topic = if client_id == "d1" { "devices/d1" } else { "devices/d1/modules/m1" };
            send(&mut stream, &publish(QOS1, &format!("{topic}/messages/events/"), 1, b"hi")).await;
            receive(&mut stream).await.expect("a PUBACK");
        }
    }
    let log = emulator.telemetry(HUB).expect("the hub").all();
    let methods: Vec<_> = log.iter().flat_map(|it| it.stamps()).filter(|it| it.0.ends_with("auth-method")).collect();
    let expected = r#"{"scope":"hub","type":"sas","issuer":"iothub"}"#;
    assert_eq!(methods.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), [expected, expected]);
}

#[tokio::test]
async fn a_module_has_a_twin_and_methods_of_its_own() {
    let (emulator, device_key, key) = emulator().await;
    let filters =
        [("$iothub/twin/res/#", 0), ("$iothub/twin/PATCH/properties/desired/#", 0), ("$iothub/methods/POST/#", 0)];
    let mut device = listening(&emulator, &device_key, &filters).await;
    let mut module = accepted(&emulator, &key, true).await;
    send(&mut module, &subscribe(1, &filters)).await;
    receive(&mut module).await.expect("a SUBACK");
    emulator.patch_desired(HUB, "d1/m1", json!({"a": 1})).expect("fine");
    send(&mut module, &publish(0, "$iothub/twin/PATCH/properties/reported/?$rid=1", 0, br#"{"r":1}"#)).await;
    let topics: Vec<_> = before_pong(&mut module).await.into_iter().map(|it| it.0).collect();
    assert_eq!(
        topics,
        ["$iothub/twin/PATCH/properties/desired/?$version=2", "$iothub/twin/res/204/?$rid=1&$version=2"]
    );
    let answering = async {
        let (topic, ..) = read_publish(&receive(&mut module).await.expect("a call"));
        let id = topic.strip_prefix("$iothub/methods/POST/m/?$rid=").expect("a call");
        send(&mut module, &publish(0, &format!("$iothub/methods/res/7/?$rid={id}"), 0, b"")).await;
    };
    let (answered, ()) = tokio::join!(emulator.invoke_method(HUB, "d1/m1", Invocation::new("m")), answering);
    assert_eq!(answered.expect("an answer").status, 7);
    assert_eq!(before_pong(&mut device).await, [], "nothing of it is for the device");
    let (twin, devices) = (emulator.twin(HUB, "d1/m1").expect("a twin"), emulator.twin(HUB, "d1").expect("a twin"));
    assert_eq!((twin.device_id.as_str(), twin.module_id.as_deref()), ("d1", Some("m1")));
    assert_eq!((twin.reported.version, devices.version, devices.module_id), (2, 2, None));
}

#[tokio::test]
async fn an_import_that_disables_a_device_ends_its_connections_and_those_of_its_modules() {
    let (emulator, _, key) = emulator().await;
    let mut module = accepted(&emulator, &key, true).await;
    let seed = Seed::from_json(r#"{"devices": [{"deviceId": "d1", "status": "disabled"}]}"#).expect("a seed");
    emulator.import(&seed).expect("it fits");
    assert_eq!(receive(&mut module).await, None);
    assert_eq!(state(&emulator), ConnectionState::Disconnected);
}
