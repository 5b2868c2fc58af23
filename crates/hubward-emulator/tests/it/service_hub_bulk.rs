//! Bulk requests of a hub's service API over HTTPS. The tests write the requests by hand.

use hubward_emulator::Emulator;
use serde_json::{Value, json};

use crate::service_hub::{Operator, PRIMARY, SECONDARY, device, no};

#[tokio::test]
async fn a_bulk_request_changes_many_identities() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let done = json!({ "isSuccessful": true, "errors": [], "warnings": [] });
    let create = json!([
        { "id": "d1", "importMode": "create", "status": "enabled",
          "authentication": { "type": "sas", "symmetricKey": { "primaryKey": PRIMARY, "secondaryKey": SECONDARY } },
          "tags": { "site": "a" }, "properties": { "desired": { "interval": 30 } } },
        { "id": "d1", "moduleId": "m1", "importMode": "create" },
        { "id": "d2", "importMode": "createOrUpdate", "status": "disabled" },
    ]);
    assert_eq!(operator.ok("POST /devices", "", &create).await, done);
    let shown = operator.ok("GET /devices/d1", "", &Value::Null).await;
    assert_eq!(shown["authentication"]["symmetricKey"]["primaryKey"], PRIMARY);
    let twin = emulator.twin("localhost", "d1").expect("a twin");
    assert_eq!((&twin.tags["site"], &twin.desired.values["interval"]), (&json!("a"), &json!(30)));
    assert!(emulator.module("localhost", "d1", "m1").is_some());

    // If an item is refused, the other items are still processed.
    let etag = shown["etag"].as_str().expect("an etag");
    let mixed = json!([
        { "id": "d1", "importMode": "create" },
        { "id": "d2", "importMode": "updateIfMatchETag", "eTag": "c3RhbGU=", "status": "enabled" },
        { "id": "d3", "importMode": "update" },
        { "id": "d4", "importMode": "create" },
        { "id": "d5", "importMode": "createOrUpdateIfMatchETag" },
        { "id": "d6", "importMode": "deleteIfMatchETag" },
        { "id": "d7", "importMode": "upsert" },
        { "id": "d 8", "importMode": "create" },
        { "id": "d9", "importMode": "create", "authentication": { "type": "selfSigned" } },
        { "id": "d10", "importMode": "updateTwin", "tags": {} },
        { "id": "d2", "moduleId": "m", "importMode": "updateTwinIfMatchETag", "tags": {} },
    ]);
    let reply = operator.ask("POST /devices", "", &mixed.to_string()).await;
    assert_eq!((reply.status, reply.header("iothub-errorcode")), (400, Some("BulkRegistryOperationFailure")));
    let result = reply.json();
    assert_eq!(result["isSuccessful"], false);
    let errors: Vec<(String, u64)> = result["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["deviceId"].as_str().expect("an id").to_owned(), it["errorCode"].as_u64().expect("a number")))
        .collect();
    let expected = [
        ("d1", 409_001),
        ("d2", 412_001),
        ("d3", 404_001),
        ("d6", 400_004),
        ("d7", 400_004),
        ("d 8", 400_004),
        ("d9", 400_004),
        ("d10", 404_001),
        ("d2", 400_004),
    ];
    assert_eq!(errors, expected.map(|(id, code)| (id.to_owned(), code)));
    assert_eq!(result["errors"][0]["operation"], "create");
    assert!(result["errors"].as_array().expect("a list").iter().all(|it| it["errorStatus"].is_string()));
    assert!(emulator.device("localhost", "d4").is_some() && emulator.device("localhost", "d5").is_some());

    let twin = operator.ok("GET /twins/d1", "", &Value::Null).await;
    let rest = json!([
        // The form that Microsoft's Node SDK sends.
        { "id": "d1", "importMode": "UpdateIfMatchETag", "etag": etag, "status": "disabled" },
        { "id": "d1", "moduleId": "m1", "importMode": "updateTwin", "properties": { "desired": { "a": 1 } } },
        { "id": "d2", "importMode": "update", "status": "enabled" },
        { "id": "d4", "importMode": "Delete" },
        { "id": "d5", "importMode": "deleteIfMatchETag", "eTag": "*" },
    ]);
    assert_eq!(operator.ok("POST /devices", "", &rest).await, done);
    let tags = json!([
        {
            "id": "d1", "importMode": "updateTwinIfMatchETag", "twinETag": twin["etag"],
            "tags": { "site": null, "b": 2 },
        },
    ]);
    assert_eq!(operator.ok("POST /devices", "", &tags).await, done);
    let statuses: Vec<String> = emulator.devices().iter().map(|it| format!("{} {}", it.device_id, it.status)).collect();
    assert_eq!(statuses, ["d1 disabled", "d2 enabled"]);
    assert_eq!(json!(emulator.twin("localhost", "d1").expect("a twin").tags), json!({ "b": 2 }));
    assert_eq!(json!(emulator.twin("localhost", "d1/m1").expect("a twin").desired.values), json!({ "a": 1 }));

    let events: Vec<String> = emulator.events().all().iter().map(ToString::to_string).collect();
    for line in ["the service API of a hub updated d1 at localhost", "the service API of a hub updated the twin of d1"]
    {
        assert!(events.iter().any(|it| it.starts_with(line)), "{line}: {events:#?}");
    }

    let many = |count: usize| -> Value {
        (0..count).map(|it| json!({ "id": format!("n{it}"), "importMode": "create" })).collect()
    };
    assert_eq!(operator.refused("POST /devices", "", &many(101).to_string()).await, no(413, "TooManyDevices"));
    // If a request contains an id twice, the hub refuses the whole request. Two modules of one device are two
    // identities.
    let twice = json!([
        { "id": "e1", "importMode": "create" },
        { "id": "e2", "importMode": "create" },
        { "id": "e1", "importMode": "delete" },
    ]);
    let refusal = operator.refused("POST /devices", "", &twice.to_string()).await;
    assert_eq!(refusal, no(400, "DeviceDefinedMultipleTimes"));
    let same = json!([
        { "id": "d1", "moduleId": "m2", "importMode": "create" },
        { "id": "d1", "moduleId": "m2", "importMode": "create" },
    ]);
    let refusal = operator.refused("POST /devices", "", &same.to_string()).await;
    assert_eq!(refusal, no(400, "DeviceDefinedMultipleTimes"));
    assert!(emulator.device("localhost", "e1").is_none() && emulator.module("localhost", "d1", "m2").is_none());
    let both = json!([
        { "id": "d1", "moduleId": "m2", "importMode": "create" },
        { "id": "d1", "moduleId": "m3", "importMode": "create" },
    ]);
    assert_eq!(operator.ok("POST /devices", "", &both).await, done);
    assert_eq!(operator.refused("POST /devices", "", "[]").await, no(400, "ArgumentInvalid"));
    assert_eq!(operator.refused("POST /devices", "", "{}").await, no(400, "IotHubFormatError"));
    assert_eq!(operator.ok("POST /devices", "", &many(100)).await, done);
    assert_eq!(emulator.devices().len(), 102);
}

#[tokio::test]
async fn a_twin_that_was_read_can_be_sent_back_in_every_mode() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /devices/d1", "", &device("d1")).await;
    let patch = json!({ "tags": { "site": "a" }, "properties": { "desired": { "x": { "y": 1 } } } });
    operator.ok("PATCH /twins/d1", "", &patch).await;
    for mode in ["updateTwin", "updateTwinIfMatchETag", "update", "createOrUpdate"] {
        let read = operator.ok("GET /twins/d1", "", &Value::Null).await;
        let item = json!({
            "id": "d1", "importMode": mode, "twinETag": read["etag"],
            "tags": read["tags"], "properties": read["properties"],
        });
        let done = operator.ok("POST /devices", "", &json!([item])).await;
        assert_eq!(done["isSuccessful"], true, "{mode}: {done}");
        let after = operator.ok("GET /twins/d1", "", &Value::Null).await;
        assert_eq!(after["properties"]["desired"]["x"], json!({ "y": 1 }), "{mode}");
        assert_ne!(after["etag"], read["etag"], "{mode}");
    }
}

#[tokio::test]
async fn keys_are_regenerated() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /devices/d1", "", &device("d1")).await;
    let ask = |ids: &[&str], key: &str| {
        let devices: Vec<Value> = ids.iter().map(|it| json!({ "id": it })).collect();
        json!({ "policyKey": key, "devices": devices })
    };
    let line = "POST /devices/keys/regenerate?api-version=2024-03-31";
    let done = operator.ok(line, "", &ask(&["d1"], "primaryKey")).await;
    assert_eq!((&done["policyKey"], &done["errors"]), (&json!("primaryKey"), &json!([])));
    let keys = operator.ok("GET /devices/d1", "", &Value::Null).await["authentication"]["symmetricKey"].clone();
    assert_eq!(done["rotatedKeys"][0]["primaryKey"], keys["primaryKey"]);
    assert_ne!(keys["primaryKey"], PRIMARY);
    assert_eq!(keys["secondaryKey"], SECONDARY);
    let partly = operator.ask(line, "", &ask(&["d1", "d2"], "secondaryKey").to_string()).await;
    assert_eq!((partly.status, &partly.json()["errors"][0]["errorCode"]), (207, &json!(404_001)));
    assert_eq!(operator.ask(line, "", &ask(&["d2"], "primaryKey").to_string()).await.status, 400);
    let wrong = ask(&["d1"], "third").to_string();
    assert_eq!(operator.refused(line, "", &wrong).await, no(400, "ArgumentInvalid"));
}

#[tokio::test]
async fn refused_items_change_nothing() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /devices/d1", "", &device("d1")).await;
    operator.ok("PUT /devices/d1/modules/m1", "", &json!({ "deviceId": "d1", "moduleId": "m1" })).await;
    let before = operator.ok("GET /devices/d1", "", &Value::Null).await;
    let part = "x".repeat(3 * 1024);
    let large = json!({ "a": part, "b": part, "c": part });
    for (item, code) in [
        (json!({ "id": "new", "importMode": "create", "tags": large }), 413_001),
        (json!({ "id": "d1", "importMode": "update", "status": "disabled", "tags": large }), 413_001),
        (json!({ "id": "d1", "importMode": "update", "status": "disabled", "tags": { "a.b": 1 } }), 400_004),
        // The hub must refuse a device id that contains a `/`. Otherwise it could take the device id `d1/m1` for the
        // module `m1` of the device `d1`.
        (json!({ "id": "d1/m1", "importMode": "delete" }), 400_004),
        (json!({ "id": "d1/m2", "importMode": "create" }), 400_004),
        (json!({ "id": "d1", "moduleId": "m1/x", "importMode": "create" }), 400_004),
        // The hub refuses a request that disables a module, because no request could enable the module again.
        (json!({ "id": "d1", "moduleId": "m1", "importMode": "update", "status": "disabled" }), 400_004),
    ] {
        let reply = operator.ask("POST /devices", "", &json!([item]).to_string()).await;
        assert_eq!(
            (reply.status, &reply.json()["errors"][0]["errorCode"]),
            (400, &json!(code)),
            "{:.80}",
            item.to_string()
        );
    }
    let both = json!([{ "id": "d1", "moduleId": "m1", "importMode": "update", "status": "enabled" }]);
    assert_eq!(operator.ok("POST /devices", "", &both).await["isSuccessful"], true, "an export has this form");
    let line = "POST /devices/keys/regenerate?api-version=2024-03-31";
    let slash = json!({ "policyKey": "primaryKey", "devices": [{ "id": "d1/m1" }] }).to_string();
    let reply = operator.ask(line, "", &slash).await;
    assert_eq!((reply.status, &reply.json()["errors"][0]["errorCode"]), (400, &json!(400_004)));
    assert_eq!(operator.ok("GET /devices/d1", "", &Value::Null).await, before);
    assert!(emulator.device("localhost", "new").is_none() && emulator.module("localhost", "d1", "m1").is_some());
}
