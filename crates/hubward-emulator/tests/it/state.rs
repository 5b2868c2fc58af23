//! State on disk, and its export, import and reset.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hubward_emulator::{Ack, CloudToDevice, Emulator, EventKind, Fault, Point, Seed, StartError, StateError};
use hubward_sas::SharedKey;
use serde_json::{Value, json};
#[cfg(feature = "admin")]
use tokio::net::TcpStream;

use crate::client::{
    Login, QOS1, Tls, connect, dps_token, http, hub_connect, publish, read_publish, receive, send, subscribe, tls,
    token,
};
use crate::lab;

pub(crate) const HUB: &str = "localhost";
const INBOX: &str = "devices/pump/messages/devicebound/#";

pub(crate) async fn start(directory: &Path) -> Emulator {
    Emulator::builder().data_dir(directory).start().await.expect("started")
}

/// All observable state.
pub(crate) fn seen(emulator: &Emulator) -> Value {
    let log = emulator.telemetry(HUB).expect("the hub");
    let telemetry: Vec<_> = log
        .all()
        .iter()
        .map(|it| {
            let bag = it.message.property_bag();
            json!([
                it.offset,
                it.device_id,
                it.module_id,
                it.enqueued_time,
                bag,
                it.body(),
                it.stamps(),
                it.qos,
                it.duplicate
            ])
        })
        .collect();
    let devices: Vec<_> = emulator
        .devices()
        .into_iter()
        .map(|it| {
            let modules = emulator.modules(&it.hub, &it.device_id);
            let ids = modules.iter().map(|module| format!("{}/{}", it.device_id, module.module_id));
            let twins: Vec<_> = ids.chain([it.device_id.clone()]).map(|id| emulator.twin(&it.hub, &id)).collect();
            json!([it, twins, emulator.cloud_messages(&it.hub, &it.device_id), modules])
        })
        .collect();
    let policies: Vec<_> = emulator.policies().iter().map(|it| it.connection_string()).collect();
    json!({
        "export": emulator.export(),
        "devices": devices,
        "feedback": emulator.feedback(HUB),
        "authorities": emulator.authorities(),
        "total": log.total(),
        "telemetry": telemetry,
        "policies": policies,
        "dev-1": emulator.registration("dev-1"),
        "payload": emulator.received_payload("dev-1"),
    })
}

/// Connects as device `pump` with a persistent session. Checks that the session-present flag in the CONNACK equals
/// `present`.
pub(crate) async fn pump(emulator: &Emulator, key: &SharedKey, present: u8) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "pump", key, false).await, Some(vec![0x20, 2, present, 0]));
    stream
}

/// Makes a change of every kind.
pub(crate) async fn change_everything(emulator: &Emulator) -> (SharedKey, String) {
    let individual = emulator.enrollment("dev-1").payload(json!({"from": "us"})).create().expect("enrolled");
    emulator.enroll_group("line").expect("enrolled");
    let (root, leaf) = (lab::root("root").certificate, lab::self_signed("dev-x").certificate);
    emulator.add_authority("Root-1", &root.to_pem(), true).expect("added");
    emulator.add_authority("gone", &root.to_pem(), true).expect("added");
    assert!(emulator.delete_authority("gone"));
    emulator.enrollment("dev-x").create_with_certificates(&leaf.to_pem(), None).expect("enrolled");
    emulator.enrollment_group("by-name").create_with_authorities("root-1", None).expect("enrolled");
    emulator.enrollment_group("signed").create_with_certificates(&root.to_pem(), None).expect("enrolled");
    emulator.add_self_signed_device(HUB, "x-thumb", &leaf.sha1_thumbprint(), None).expect("a device");
    emulator.add_ca_signed_device(HUB, "x-ca").expect("a device");
    emulator.enroll("off").expect("enrolled");
    emulator.disable("off").expect("there");
    emulator.enroll("gone").expect("enrolled");
    emulator.delete("gone").expect("there");
    let key = emulator.add_device(HUB, "pump").expect("a device");
    emulator.add_module(HUB, "pump", "valve").expect("a module");
    emulator.add_device(HUB, "gone").expect("a device");
    emulator.send_to_device(HUB, "gone", CloudToDevice::new("lost").ack(Ack::Full)).expect("sent");
    emulator.delete_device(HUB, "gone");
    emulator.patch_tags(HUB, "pump", json!({"site": "north", "old": 1})).expect("fine");
    emulator.patch_tags(HUB, "pump", json!({"old": null})).expect("fine");
    emulator.patch_desired(HUB, "pump", json!({"interval": 30, "deep": {"a": [1, 2.5, "ü"]}})).expect("fine");
    emulator.patch_desired(HUB, "pump/valve", json!({"open": true})).expect("fine");

    // Start a registration over HTTPS. The registration is not complete when the emulator ends.
    let mut stream = tls(emulator, emulator.https_addr()).await;
    let authorization = dps_token(emulator, individual.primary_key(), "dev-1");
    let body = r#"{"registrationId":"dev-1","payload":{"model":7}}"#;
    let request = format!(
        "PUT /{}/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        emulator.id_scope(),
        body.len()
    );
    let reply = http(&mut stream, &request).await.expect("an answer");
    let operation = reply.json()["operationId"].as_str().expect("an id").to_owned();

    // Connect a device that sends telemetry and a report. It acknowledges one message, and leaves three without an
    // acknowledgement.
    let mut stream = pump(emulator, &key, 0).await;
    send(&mut stream, &subscribe(1, &[(INBOX, 1)])).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x90, 3, 0, 1, 1]));
    let topic = "devices/pump/messages/events/%24.mid=m%201&a=%C3%BC&flag";
    send(&mut stream, &publish(QOS1, topic, 1, b"\x00\xffone")).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, 1]));
    let reported = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    send(&mut stream, &publish(QOS1, reported, 2, br#"{"fan":{"speed":1},"on":true}"#)).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, 2]));
    let message = |body: &'static str| CloudToDevice::new(body).property("k", "v").ack(Ack::Full);
    emulator.send_to_device(HUB, "pump", message("taken")).expect("sent");
    let (_, body, puback) = read_publish(&receive(&mut stream).await.expect("a message"));
    assert_eq!(body, "taken");
    send(&mut stream, &puback.expect("QoS 1")).await;
    emulator.wait_until(|it| (it.feedback(HUB).len() == 1).then_some(())).await;
    for body in ["first", "second", "third"] {
        emulator.send_to_device(HUB, "pump", message(body).expires_after(Duration::from_secs(3600))).expect("sent");
    }
    for _ in 0..3 {
        receive(&mut stream).await.expect("a message that is not acknowledged");
    }
    send(&mut stream, b"\xe0\x00").await;
    assert_eq!(receive(&mut stream).await, None);
    let connected = |it: &Emulator| it.device(HUB, "pump").expect("there").connection_state;
    emulator.wait_until(|it| (connected(it) == hubward_emulator::ConnectionState::Disconnected).then_some(())).await;
    (key, operation)
}

#[tokio::test]
async fn all_state_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    let (key, operation) = change_everything(&emulator).await;
    let before = seen(&emulator);
    emulator.flush().await.expect("written");
    emulator.shutdown().await;

    let emulator = start(folder.path()).await;
    assert_eq!(seen(&emulator), before);
    // Restart a second time without a change.
    emulator.shutdown().await;
    let emulator = start(folder.path()).await;
    assert_eq!(seen(&emulator), before);

    // After a restart, the registration and the session with its messages continue. New offsets and versions follow the
    // old offsets and versions.
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let enrolled = &before["export"]["enrollments"][0]["attestation"]["symmetricKey"]["primaryKey"];
    let enrolled = SharedKey::from_base64(enrolled.as_str().expect("a key")).expect("a key");
    let request = format!(
        "GET /{}/registrations/dev-1/operations/{operation}?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {}\r\n\r\n",
        emulator.id_scope(),
        dps_token(&emulator, &enrolled, "dev-1")
    );
    assert_eq!(http(&mut stream, &request).await.expect("an answer").status, 202, "one poll");
    let result = http(&mut stream, &request).await.expect("an answer").json();
    assert_eq!((&result["status"], &result["registrationState"]["deviceId"]), (&json!("assigned"), &json!("dev-1")));

    let mut stream = pump(&emulator, &key, 1).await;
    for body in ["first", "second", "third"] {
        let packet = receive(&mut stream).await.expect("a message");
        assert_eq!(packet[0] & 0x08, 0x08, "it was delivered before");
        let (topic, got, puback) = read_publish(&packet);
        assert!(got == body && topic.contains("k=v"), "{topic} {got}");
        send(&mut stream, &puback.expect("QoS 1")).await;
    }
    emulator.wait_until(|it| (it.feedback(HUB).len() == 4).then_some(())).await;
    send(&mut stream, &publish(QOS1, "devices/pump/messages/events/", 3, b"two")).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, 3]));
    let log = emulator.telemetry(HUB).expect("the hub").all();
    assert_eq!(log.iter().map(|it| (it.offset, it.body())).collect::<Vec<_>>(), [(0, &b"\0\xffone"[..]), (1, b"two")]);
    assert_eq!(emulator.patch_desired(HUB, "pump", json!({"interval": 31})).expect("fine"), 3);
}

#[tokio::test]
async fn one_emulator_at_a_time_uses_a_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(folder.path()).await;
    let second = Emulator::builder().data_dir(folder.path()).start().await;
    let error = second.expect_err("it is in use");
    assert!(matches!(error, StartError::State(StateError::InUse { .. })), "{error:?}");
    first.shutdown().await;
    start(folder.path()).await.shutdown().await;
}

#[tokio::test]
async fn telemetry_on_disk_is_bounded_and_offsets_continue() {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = |most| Emulator::builder().data_dir(folder.path()).telemetry_retention(most);
    let emulator = builder(3).start().await.expect("started");
    let key = emulator.add_device(HUB, "pump").expect("a device");
    let mut stream = pump(&emulator, &key, 0).await;
    for number in 1..=5 {
        send(&mut stream, &publish(QOS1, "devices/pump/messages/events/", number, b"x")).await;
        assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, number as u8]));
    }
    let offsets = |it: &Emulator| {
        let log = it.telemetry(HUB).expect("the hub");
        (log.total(), log.all().iter().map(|it| it.offset).collect::<Vec<_>>())
    };
    assert_eq!(offsets(&emulator), (5, vec![2, 3, 4]));
    emulator.shutdown().await;
    // A changed limit applies after the next start.
    for (most, expected) in [(10, vec![2, 3, 4]), (2, vec![3, 4]), (10, vec![3, 4])] {
        let emulator = builder(most).start().await.expect("started");
        assert_eq!(offsets(&emulator), (5, expected));
        emulator.shutdown().await;
    }
}

#[tokio::test]
async fn a_seed_is_applied_at_each_start_and_changes_nothing_the_second_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = Seed::from_json(
        r#"{"enrollments": [{"registrationId": "dev-1"}],
            "devices": [{"deviceId": "pump", "status": "disabled", "tags": {"site": "north"},
                         "properties": {"desired": {"interval": 1}, "reported": {"on": true}}}]}"#,
    )
    .expect("a seed");
    let start = async || {
        let builder = Emulator::builder().data_dir(folder.path()).dev_keys(true);
        builder.seed(seed.clone()).start().await.expect("started")
    };
    let emulator = start().await;
    let before = seen(&emulator);
    assert_eq!(before["devices"][0][0]["status"], "disabled");
    let twin = emulator.twin(HUB, "pump").expect("there");
    assert_eq!((twin.tags["site"].as_str(), twin.desired.version, twin.reported.version), (Some("north"), 1, 1));
    emulator.shutdown().await;
    let emulator = start().await;
    assert_eq!(seen(&emulator), before);
    // The seed does not undo later changes.
    emulator.patch_tags(HUB, "pump", json!({"site": "south"})).expect("fine");
    emulator.set_device_enabled(HUB, "pump", true);
    let changed = seen(&emulator);
    emulator.shutdown().await;
    let emulator = start().await;
    assert_eq!(seen(&emulator), changed);
    emulator.shutdown().await;
    // This start does not request the development keys, so the emulator removes the group that an earlier start created
    // for them.
    let emulator = Emulator::builder().data_dir(folder.path()).start().await.expect("started");
    assert!(emulator.delete_group(hubward_emulator::DEV_GROUP).is_err());
}

#[tokio::test]
async fn an_export_creates_the_same_state_in_another_emulator() {
    let emulator = Emulator::start().await.expect("started");
    change_everything(&emulator).await;
    emulator.set_device_enabled(HUB, "pump", false);
    let exported = emulator.export();
    let text = serde_json::to_string(&exported).expect("JSON");
    let seed = Seed::from_json(&text).expect("an export is a seed");
    assert_eq!(seed, exported);

    let other = Emulator::start().await.expect("started");
    let report = other.import(&seed).expect("it fits");
    // The 13 objects are three enrollments, three groups, a CA certificate, four devices, a module and a record.
    assert_eq!((report.created, report.updated, report.unchanged), (13, 0, 0));
    assert_eq!(other.export(), exported);
    let twins = |it: &Emulator| it.twin(HUB, "pump").map(|it| (it.tags, it.desired.values, it.reported.values));
    assert_eq!(twins(&other), twins(&emulator));
    assert_eq!(other.registration("dev-1"), emulator.registration("dev-1"));
    let report = other.import(&seed).expect("it fits");
    assert_eq!((report.created, report.updated, report.unchanged), (0, 0, 13));

    // An import sets the objects that the seed contains, and changes no other object. The next lines change three of
    // these objects: they change the device `pump` and the enrollment `off`, and delete a registration record. The
    // import then restores all three.
    other.patch_tags(HUB, "pump", json!({"site": "south"})).expect("fine");
    other.set_device_enabled(HUB, "pump", true);
    other.enable("off").expect("there");
    other.delete_registration("dev-1");
    other.add_device(HUB, "more").expect("a device");
    let report = other.import(&seed).expect("it fits");
    assert_eq!((report.created, report.updated, report.unchanged), (1, 2, 10));
    assert!(other.delete_device(HUB, "more"), "it is still there");
    assert_eq!(other.export(), exported);

    // An import applies the whole seed or nothing. This import applies nothing, because this emulator does not have the
    // hub of the seed.
    let foreign = Emulator::builder().hubs(["elsewhere"]).start().await.expect("started");
    let empty = foreign.export();
    let error = foreign.import(&seed).expect_err("the hub is not known");
    assert_eq!(error.to_string(), "the seed is not valid");
    assert_eq!(foreign.export(), empty);
}

#[tokio::test]
async fn a_reset_removes_everything_but_the_keys_of_policies() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    let fresh = seen(&emulator);
    let (key, _) = change_everything(&emulator).await;
    let mut stream = pump(&emulator, &key, 1).await;
    emulator.reset().expect("done");
    // The connection must end, after any number of packets.
    while receive(&mut stream).await.is_some() {}
    let without_total = |mut it: Value| {
        it["total"] = Value::Null;
        it
    };
    assert_eq!(without_total(seen(&emulator)), without_total(fresh.clone()));
    emulator.shutdown().await;
    let emulator = start(folder.path()).await;
    assert_eq!(without_total(seen(&emulator)), without_total(fresh));
    let key = emulator.add_device(HUB, "pump").expect("a device");
    let mut stream = pump(&emulator, &key, 0).await;
    send(&mut stream, &publish(QOS1, "devices/pump/messages/events/", 3, b"two")).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x40, 2, 0, 3]));
    assert_eq!(emulator.telemetry(HUB).expect("the hub").all()[0].offset, 1, "offsets continue");
}

#[cfg(feature = "admin")]
#[tokio::test]
async fn the_admin_port_exports_imports_and_resets() {
    let emulator = Emulator::start().await.expect("started");
    change_everything(&emulator).await;
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let mut ask = async |line: &str, headers: &str, body: &str| {
        let length = body.len();
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        http(&mut stream, &request).await.expect("an answer")
    };
    const JSON: &str = "Content-Type: application/json\r\n";
    let exported = ask("GET /api/export", "", "").await;
    assert_eq!((exported.status, exported.json()), (200, serde_json::to_value(emulator.export()).expect("JSON")));
    let reset = ask("POST /api/reset", "", "").await;
    assert_eq!((reset.status, reset.json()), (200, json!({"status": "ok"})));
    assert!(emulator.export() == Seed::default() && emulator.devices().is_empty());
    let imported = ask("POST /api/import", JSON, &exported.body).await;
    assert_eq!((imported.status, imported.json()), (200, json!({"created": 13, "updated": 0, "unchanged": 0})));
    assert_eq!(ask("GET /api/export", "", "").await.body, exported.body);
    for (line, headers, body, status, message) in [
        ("GET /api/reset", "", "", 405, "does not have this method"),
        ("POST /api/export", JSON, "{}", 405, "does not have this method"),
        ("POST /api/import", "", "", 415, "application/json"),
        ("POST /api/import", JSON, "{", 400, "line 1, column 1"),
        ("POST /api/import", JSON, r#"{"devices": [{"deviceId": "d 1"}]}"#, 400, "not valid"),
        ("POST /api/import", JSON, r#"{"devices": [{"deviceId": "d", "tags": {"a": null}}]}"#, 400, "the twin of `d`"),
        (
            "POST /api/import",
            JSON,
            r#"{"enrollments": [{"registrationId": "d", "provisioningStatus": "disbled"}]}"#,
            400,
            "unknown provisioningStatus `disbled`",
        ),
        (
            "POST /api/import",
            JSON,
            r#"{"enrollmentGroups": [{"enrollmentGroupId": "g", "capabilities": {"iotEdge": true}}]}"#,
            400,
            "not emulated",
        ),
        ("POST /api/import", JSON, r#"{"registrations": [{"registrationId": "d", "assignedHub": "x"}]}"#, 400, "`x`"),
    ] {
        let reply = ask(line, headers, body).await;
        let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(reply.status == status && text.contains(message), "{line} {body}: {} {text}", reply.status);
    }
    assert_eq!(ask("GET /api/export", "", "").await.body, exported.body);
}

#[cfg(feature = "admin")]
#[tokio::test]
async fn a_slow_import_does_not_delay_others() {
    let emulator = Emulator::start().await.expect("started");
    let request = |length: usize| {
        format!(
            "POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{{}}"
        )
    };
    let import = async || {
        let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
        http(&mut stream, &request(2)).await.expect("an answer").status
    };
    let mut slow = Vec::new();
    for expected in [200, 200, 200, 200, 503] {
        assert_eq!(import().await, expected, "beside {} slow ones", slow.len());
        let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
        // `100 Continue` shows that the emulator is receiving the body.
        let head = request(1000).replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
        send(&mut stream, head.as_bytes()).await;
        assert!(crate::client::read_head(&mut stream).await.expect("an answer").starts_with("HTTP/1.1 100"));
        slow.push(stream);
    }
    drop(slow);
    while import().await == 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_that_expired_long_ago_is_written_to_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    emulator.add_device(HUB, "pump").expect("a device");
    let old = SystemTime::UNIX_EPOCH - Duration::from_secs(3_600);
    let message = CloudToDevice::new("x").ack(Ack::Full).expires_at(old);
    emulator.send_to_device(HUB, "pump", message).expect("taken");
    emulator.patch_tags(HUB, "pump", json!({"a": 1})).expect("fine");
    emulator.flush().await.expect("written");
    emulator.shutdown().await;
    let emulator = start(folder.path()).await;
    assert!(emulator.cloud_messages(HUB, "pump").is_empty());
    assert_eq!(emulator.twin(HUB, "pump").expect("a twin").tags["a"], 1);
}

#[tokio::test]
async fn importing_the_same_state_again_changes_nothing() {
    let emulator = Emulator::start().await.expect("started");
    emulator.enroll("d1").expect("enrolled");
    emulator.enroll_group("g").expect("enrolled");
    let (exported, before) = (emulator.export(), emulator.events().total());
    emulator.import(&exported).expect("it fits");
    let kinds: Vec<_> = emulator.events().from(before).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [EventKind::Imported]);
}

#[tokio::test]
async fn telemetry_of_earlier_devices_is_not_logged_after_a_reset() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device(HUB, "pump").expect("a device");
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    let password = token(&key, "localhost/devices/pump");
    let login = Login {
        client_id: "pump",
        username: "localhost/pump/?api-version=2021-04-12",
        password: &password,
        clean: true,
        keep_alive: 60,
        will: Some(("devices/pump/messages/events/", "gone")),
    };
    send(&mut stream, &connect(&login)).await;
    assert_eq!(receive(&mut stream).await, Some(vec![0x20, 2, 0, 0]));
    // The fault delays the first message. The reset happens during this delay, while the second message waits. The log
    // must contain neither of them, and not the will either.
    emulator.fault(Point::HubPublish, Fault::Delay(Duration::from_millis(50))).expect("fits");
    let mut both = publish(QOS1, "devices/pump/messages/events/", 1, b"one");
    both.extend(publish(QOS1, "devices/pump/messages/events/", 2, b"two"));
    send(&mut stream, &both).await;
    emulator.wait_until(|it| (it.faults_left(Point::HubPublish) == 0).then_some(())).await;
    emulator.reset().expect("done");
    assert_eq!(receive(&mut stream).await, None, "nothing is acknowledged");
    let bodies: Vec<_> = emulator.telemetry(HUB).expect("the hub").all().iter().map(|it| it.body_text()).collect();
    assert_eq!(bodies, Vec::<String>::new());
}
