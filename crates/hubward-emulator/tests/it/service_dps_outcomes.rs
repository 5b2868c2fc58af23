//! Tests that change settings at DPS as an operator, and then check how devices register and what their records
//! contain.

use hubward_emulator::Emulator;
use hubward_sas::SharedKey;
use serde_json::{Value, json};

use crate::client::{dps_token, http, tls};
use crate::service_dps::{Operator, enrollment, group, if_match};

/// Registers a device over HTTPS and polls until there is a result. Returns the status and the body of the last
/// response.
async fn register(emulator: &Emulator, id: &str, key: &SharedKey) -> (u16, Value) {
    let mut stream = tls(emulator, emulator.https_addr()).await;
    let authorization = dps_token(emulator, key, id);
    let scope = emulator.id_scope();
    let put = format!(
        "PUT /{scope}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\nAuthorization: \
         {authorization}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let mut reply = http(&mut stream, &put).await.expect("an answer");
    while reply.status == 202 {
        let operation = reply.json()["operationId"].as_str().expect("an operation").to_owned();
        let poll = format!(
            "GET /{scope}/registrations/{id}/operations/{operation}?api-version=2021-06-01 HTTP/1.1\r\n\
             Host: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        );
        reply = http(&mut stream, &poll).await.expect("an answer");
    }
    (reply.status, reply.json())
}

fn key(shown: &Value, which: &str) -> SharedKey {
    SharedKey::from_base64(shown["attestation"]["symmetricKey"][which].as_str().expect("a key")).expect("a key")
}

#[tokio::test]
async fn every_policy_is_stored_and_those_that_are_not_emulated_fail_the_registration() {
    let emulator = Emulator::builder().hubs(["localhost", "127.0.0.1"]).start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let webhook = json!({"webhookUrl": "https://example.invalid/allocate", "apiVersion": "2021-10-01"});
    let both = json!(["127.0.0.1", "localhost"]);
    for (id, members, outcome) in [
        ("static", json!({"allocationPolicy": "static", "iotHubs": both}), Ok("127.0.0.1")),
        ("one", json!({"allocationPolicy": "hashed", "iotHubs": ["localhost"]}), Ok("localhost")),
        ("legacy", json!({"iotHubHostName": "127.0.0.1"}), Ok("127.0.0.1")),
        ("near", json!({"allocationPolicy": "geoLatency", "iotHubs": both}), Err(400_208)),
        ("asked", json!({"allocationPolicy": "custom", "customAllocationDefinition": webhook}), Err(400_207)),
    ] {
        let mut body = enrollment(id);
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let put = operator.ok(&format!("PUT /enrollments/{id}"), "", &body).await;
        let shown = operator.ok(&format!("GET /enrollments/{id}"), "", &Value::Null).await;
        for (name, value) in members.as_object().expect("an object") {
            assert_eq!((&put[name], &shown[name]), (value, value), "{id} {name}");
        }
        let (status, answer) = register(&emulator, id, &key(&put, "primaryKey")).await;
        let state = &answer["registrationState"];
        assert_eq!(status, 200, "{id}");
        match outcome {
            Ok(hub) => {
                assert_eq!((&answer["status"], &state["assignedHub"]), (&json!("assigned"), &json!(hub)), "{id}")
            }
            Err(code) => {
                assert_eq!((&answer["status"], &state["errorCode"]), (&json!("failed"), &json!(code)), "{id}");
                let message = state["errorMessage"].as_str().expect("a message");
                assert!(message.contains("emulator does not emulate"), "{message}");
            }
        }
        // The record shows the operator the same result.
        let record = operator.ok(&format!("GET /registrations/{id}"), "", &Value::Null).await;
        assert_eq!(&record, state, "{id}");
        let shown = operator.ok(&format!("GET /enrollments/{id}"), "", &Value::Null).await;
        assert_eq!(&shown["registrationState"], state, "{id}");
    }
    let queried = operator.ok("POST /enrollments/query", "", &json!({"query": "SELECT *"})).await;
    let states = queried.as_array().expect("a list").iter().filter(|it| it.get("registrationState").is_some()).count();
    assert_eq!((queried.as_array().map(Vec::len), states), (Some(5), 0), "a query shows no registrations");
}

#[tokio::test]
async fn a_new_reprovision_policy_applies_to_the_next_registration() {
    let emulator = Emulator::builder().hubs(["localhost", "127.0.0.1"]).start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let at = |hub: &str, update: bool, migrate: bool, site: &str| {
        let mut body = enrollment("d1");
        body["allocationPolicy"] = json!("static");
        body["iotHubs"] = json!([hub]);
        body["reprovisionPolicy"] = json!({"updateHubAssignment": update, "migrateDeviceData": migrate});
        body["initialTwin"] = json!({"tags": {"site": site}, "properties": {"desired": {"site": site}}});
        body
    };
    let put = operator.ok("PUT /enrollments/d1", "", &at("localhost", true, true, "a")).await;
    let secret = key(&put, "primaryKey");
    assert_eq!(register(&emulator, "d1", &secret).await.1["registrationState"]["substatus"], "initialAssignment");
    for (body, hub, substatus, site) in [
        (at("127.0.0.1", false, false, "b"), "localhost", "reprovisionedToInitialAssignment", "a"),
        (at("127.0.0.1", false, true, "b"), "localhost", "reprovisionedToInitialAssignment", "a"),
        (at("127.0.0.1", true, true, "b"), "127.0.0.1", "deviceDataMigrated", "a"),
        (at("localhost", true, false, "c"), "localhost", "deviceDataReset", "c"),
        (at("localhost", true, false, "d"), "localhost", "reprovisionedToInitialAssignment", "c"),
    ] {
        operator.ok("PUT /enrollments/d1", &if_match("*"), &body).await;
        let (_, answer) = register(&emulator, "d1", &secret).await;
        let state = &answer["registrationState"];
        assert_eq!((&state["assignedHub"], &state["substatus"]), (&json!(hub), &json!(substatus)), "{body}");
        assert_eq!(emulator.devices().len(), 1, "at one hub only");
        let twin = serde_json::to_value(emulator.twin(hub, "d1").expect("the device")).expect("JSON");
        assert_eq!((&twin["tags"]["site"], &twin["properties"]["desired"]["site"]), (&json!(site), &json!(site)));
    }
}

#[tokio::test]
async fn keys_are_changed_one_at_a_time() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let put = operator.ok("PUT /enrollments/d1", "", &enrollment("d1")).await;
    let (first, second) = (key(&put, "primaryKey"), key(&put, "secondaryKey"));
    assert_eq!(register(&emulator, "d1", &first).await.0, 200);
    // The operator sends an empty primary key and the existing secondary key. DPS generates a new primary key, and the
    // secondary key stays valid.
    let mut body = put.clone();
    body["attestation"]["symmetricKey"]["primaryKey"] = json!("");
    let changed = operator.ok("PUT /enrollments/d1", &if_match("*"), &body).await;
    let third = key(&changed, "primaryKey");
    assert_eq!(key(&changed, "secondaryKey"), second);
    assert_ne!(third, first);
    for (name, secret, status) in [("old", &first, 401), ("kept", &second, 200), ("new", &third, 200)] {
        assert_eq!(register(&emulator, "d1", secret).await.0, status, "the {name} key");
    }
    let mechanism = operator.ok("POST /enrollments/d1/attestationmechanism", "", &Value::Null).await;
    assert_eq!(mechanism, changed["attestation"]);
}

#[tokio::test]
async fn deleting_or_disabling_an_enrollment_keeps_devices_and_records() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let single = operator.ok("PUT /enrollments/single", "", &enrollment("single")).await;
    let line = operator.ok("PUT /enrollmentGroups/line", "", &group("line")).await;
    let secrets = [("single", key(&single, "primaryKey")), ("sn-1", key(&line, "secondaryKey").derive("sn-1"))];
    for (id, secret) in &secrets {
        assert_eq!(register(&emulator, id, secret).await.1["status"], "assigned", "{id}");
    }
    let group_of = emulator.registration("sn-1").expect("a record").symmetric_key;
    assert_eq!(group_of, Some(json!({"enrollmentGroupId": "line"})));
    for (path, body) in [("/enrollments/single", single), ("/enrollmentGroups/line", line)] {
        let mut body = body.clone();
        body["provisioningStatus"] = json!("disabled");
        operator.ok(&format!("PUT {path}"), &if_match("*"), &body).await;
    }
    for (id, secret) in &secrets {
        let (status, answer) = register(&emulator, id, secret).await;
        let expected = json!({"operationId": "", "status": "disabled",
            "registrationState": {"registrationId": id, "status": "disabled"}});
        assert_eq!((status, answer), (200, expected), "{id}");
        let record = operator.ok(&format!("GET /registrations/{id}"), "", &Value::Null).await;
        assert_eq!(record["status"], "assigned", "{id}: the record is of the last registration");
    }
    for path in ["/enrollments/single", "/enrollmentGroups/line"] {
        assert_eq!(operator.ask(&format!("DELETE {path}"), "", "").await.status, 204, "{path}");
    }
    for (id, secret) in &secrets {
        assert_eq!(register(&emulator, id, secret).await.0, 401, "{id}");
        assert!(emulator.device("localhost", id).is_some(), "{id}: its hub keeps it");
        operator.ok(&format!("GET /registrations/{id}"), "", &Value::Null).await;
    }
    // After a group is deleted, its records can still be listed, and a group with the same id can be created.
    let listed = operator.ask("POST /registrations/line/query", "", "").await;
    assert_eq!((listed.status, listed.json().as_array().map(Vec::len)), (200, Some(1)));
    operator.ok("PUT /enrollmentGroups/line", "", &group("line")).await;
}

#[tokio::test]
async fn a_new_device_id_takes_effect_after_the_record_is_deleted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let put = operator.ok("PUT /enrollments/d1", "", &enrollment("d1")).await;
    let secret = key(&put, "primaryKey");
    register(&emulator, "d1", &secret).await;
    let mut renamed = put.clone();
    renamed["deviceId"] = json!("pump");
    operator.ok("PUT /enrollments/d1", &if_match("*"), &renamed).await;
    for (device, deleted) in [("d1", false), ("pump", true)] {
        if deleted {
            assert_eq!(operator.ask("DELETE /registrations/d1", &if_match("*"), "").await.status, 204);
            let shown = operator.ok("GET /enrollments/d1", "", &Value::Null).await;
            assert!(shown.get("registrationState").is_none(), "{shown}");
        }
        let (_, answer) = register(&emulator, "d1", &secret).await;
        assert_eq!(answer["registrationState"]["deviceId"], device);
        assert_eq!(answer["registrationState"]["substatus"] == "initialAssignment", deleted);
    }
    assert!(emulator.device("localhost", "d1").is_some(), "the old identity stays");
}

#[tokio::test]
async fn records_of_a_group_are_returned_in_pages() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let line = operator.ok("PUT /enrollmentGroups/line", "", &group("line")).await;
    for number in 0..5 {
        let id = format!("sn-{number}");
        register(&emulator, &id, &key(&line, "primaryKey").derive(&id)).await;
    }
    let (mut found, mut headers) = (Vec::new(), "x-ms-max-item-count: 2\r\n".to_owned());
    loop {
        let page = operator.ask("POST /registrations/line/query", &headers, "").await;
        assert_eq!(page.header("x-ms-item-type"), Some("deviceRegistration"));
        let items = page.json().as_array().expect("a list").clone();
        assert!(items.len() <= 2, "{items:?}");
        found.extend(items.iter().map(|it| it["registrationId"].as_str().expect("an id").to_owned()));
        let Some(more) = page.header("x-ms-continuation") else { break };
        headers = format!("x-ms-max-item-count: 2\r\nx-ms-continuation: {more}\r\n");
    }
    assert_eq!(found, ["sn-0", "sn-1", "sn-2", "sn-3", "sn-4"]);
}

#[tokio::test]
async fn an_id_is_limited_and_cannot_change() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let (longest, too_long) = ("d".repeat(128), "d".repeat(129));
    operator.ok(&format!("PUT /enrollments/{longest}"), "", &enrollment(&longest)).await;
    operator.ok(&format!("PUT /enrollmentGroups/{longest}"), "", &group(&longest)).await;
    for (path, body) in [("enrollments", enrollment(&too_long)), ("enrollmentGroups", group(&too_long))] {
        let refused = operator.refused(&format!("PUT /{path}/{too_long}"), "", &body.to_string()).await;
        assert_eq!(refused, (400, json!(400_000)), "{path}");
    }
    // Another id in the body does not rename the enrollment.
    operator.ok("PUT /enrollments/d1", "", &enrollment("d1")).await;
    let renamed = operator.refused("PUT /enrollments/d1", &if_match("*"), &enrollment("d2").to_string()).await;
    assert_eq!(renamed, (400, json!(400_000)));
    assert_eq!(operator.refused("GET /enrollments/d2", "", "").await, (404, json!(404_201)));
}
