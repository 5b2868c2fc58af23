//! Devices, modules, twins, methods, queries.

use hubward::{MethodCall, MethodResponse, TransportKind};
use hubward_proto::service::{
    Device, DeviceOperation, DeviceStatus, ImportMode, MethodRequest, Module, Twin, TwinPatch,
};
use hubward_service::Fault;
use hubward_tests::cloud::{Cloud, HUB};
use serde_json::{Map, Value, json};

use super::hubs;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_created_updated_and_deleted() {
    let cloud = Cloud::start().await;
    for hub in hubs(&cloud) {
        let made = hub.create_device(&Device::new("dev-1")).await.expect("created");
        let keys = made.authentication.as_ref().and_then(|it| it.symmetric_key.as_ref()).expect("keys");
        assert!(!keys.primary_key.is_empty() && keys.primary_key != keys.secondary_key);
        let again = hub.create_device(&Device::new("dev-1")).await.expect_err("it exists");
        let refusal = again.refused().expect("a refusal");
        assert_eq!((refusal.name.as_deref(), refusal.code), (Some("DeviceAlreadyExists"), Some(409_001)), "{again}");

        let mut read = hub.device("dev-1").await.expect("it exists");
        assert_eq!((&read, read.is_enabled()), (&made, true));
        read.status = Some(DeviceStatus::Disabled);
        read.status_reason = Some("lost".to_owned());
        let updated = hub.update_device(&read).await.expect("the ETag matches");
        assert_eq!((updated.is_enabled(), updated.status_reason.as_deref()), (false, Some("lost")));
        let stale = hub.update_device(&read).await.expect_err("a stale ETag");
        let refusal = stale.refused().expect("a refusal");
        assert_eq!((refusal.status, refusal.name.as_deref()), (412, Some("PreconditionFailed")), "{stale}");

        let counts = hub.statistics().await.expect("counts");
        assert_eq!((counts.total_device_count, counts.disabled_device_count), (1, 1));
        assert_eq!(hub.connected().await.expect("a count").connected_device_count, 0);
        let json = hub.device("dev-1").raw().await.expect("JSON");
        assert_eq!((&json["deviceId"], &json["statusReason"]), (&json!("dev-1"), &json!("lost")));

        hub.delete_device("dev-1").await.expect("deleted");
        let gone = hub.device("dev-1").await.expect_err("deleted");
        let refusal = gone.refused().expect("a refusal");
        assert_eq!((refusal.name.as_deref(), refusal.code), (Some("DeviceNotFound"), Some(404_001)));
        assert!(refusal.tracking_id.is_some() && gone.is_not_found(), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_and_bulk_requests_work() {
    let cloud = Cloud::start().await;
    for hub in hubs(&cloud) {
        let operation = |id: &str, mode| DeviceOperation::new(id, mode);
        let all = [operation("a", ImportMode::Create), operation("b", ImportMode::Create)];
        let result = hub.bulk_devices(&all).await.expect("an answer");
        assert!(result.is_successful, "{result:?}");
        let result = hub.bulk_devices(&[operation("a", ImportMode::Create), operation("c", ImportMode::Create)]);
        let result = result.await.expect("a result with status 400");
        assert_eq!((result.is_successful, result.errors.len()), (false, 1), "{result:?}");
        assert_eq!(result.errors[0].error_code.number(), Some(409_001), "{result:?}");

        let made = hub.create_module(&Module::new("a", "valve")).await.expect("created");
        assert_eq!((made.device_id.as_str(), made.module_id.as_str()), ("a", "valve"));
        assert_eq!(hub.module("a", "valve").await.expect("it exists").etag, made.etag);
        assert_eq!(hub.modules("a").await.expect("a list").len(), 1);
        let none = hub.module("b", "valve").await.expect_err("the module belongs to another device");
        assert_eq!(none.refused().and_then(|it| it.code), Some(404_010), "{none}");
        hub.delete_module("a", "valve").await.expect("deleted");

        let ids: Vec<String> = hub.devices(10).await.expect("a list").into_iter().map(|it| it.device_id).collect();
        let gone: Vec<_> = ids.iter().map(|it| operation(it, ImportMode::Delete)).collect();
        assert!(ids.len() >= 2 && hub.bulk_devices(&gone).await.expect("an answer").is_successful);
        assert_eq!(hub.statistics().await.expect("counts").total_device_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_merged_and_replaced() {
    let cloud = Cloud::start().await;
    for hub in hubs(&cloud) {
        hub.create_device(&Device::new("dev-1")).await.expect("created");
        hub.create_module(&Module::new("dev-1", "m")).await.expect("created");
        for target in [("dev-1", None), ("dev-1", Some("m"))] {
            let target = hubward_service::Target { device: target.0, module: target.1 };
            let patch = TwinPatch::new().tags(map(json!({"site": "a"}))).desired(map(json!({"x": 1, "y": {"z": 2}})));
            let merged = hub.update_twin(target, &patch).await.expect("merged");
            let read = hub.twin(target).await.expect("it exists");
            assert_eq!((&merged.etag, &merged.tags), (&read.etag, &Some(map(json!({"site": "a"})))));
            let desired = read.properties.desired_properties().expect("a version");
            assert_eq!(desired.values, map(json!({"x": 1, "y": {"z": 2}})));

            let stale = hub.update_twin(target, &TwinPatch::new()).if_match("AAAAAAAAAH8=").await;
            assert_eq!(stale.expect_err("a stale ETag").refused().map(|it| it.status), Some(412));
            let patch = TwinPatch::new().desired(map(json!({"x": null})));
            let merged = hub.update_twin(target, &patch).if_match(read.etag.as_deref().expect("one")).await;
            let desired = merged.expect("the ETag matches").properties.desired_properties().expect("a version");
            assert_eq!(desired.values, map(json!({"y": {"z": 2}})));
            let whole = TwinPatch::new().tags(Map::new()).desired(map(json!({"only": true})));
            let replaced = hub.replace_twin(target, &whole).await.expect("replaced");
            assert_eq!(replaced.properties.desired_properties().expect("a version").values, map(json!({"only": true})));
            assert_eq!(replaced.tags, None, "a hub omits empty tags");
        }
        hub.delete_device("dev-1").await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_call_returns_an_answer_or_the_reason_for_failure() {
    let cloud = Cloud::start().await;
    let device = cloud.hub_device("dev-1", TransportKind::Mqtt);
    let [hub, admin] = hubs(&cloud);
    let offline = hub.invoke("dev-1", &MethodRequest::new("reboot")).await.expect_err("not connected");
    assert_eq!(offline.refused().and_then(|it| it.code), Some(404_103), "{offline}");
    assert_eq!(offline.fault(), Fault::Service);

    let client = device.connect().await.expect("connected");
    let echo = |call: MethodCall| async move { MethodResponse::json(201, &call.json::<Value>()?) };
    client.serve_method("echo", echo).expect("methods are served over MQTT");
    for hub in [hub, admin] {
        let mut call = MethodRequest::new("echo");
        call.payload = Some(json!({"delay": 3}));
        // The hub may not have read the SUBSCRIBE yet.
        (call.response_timeout_in_seconds, call.connect_timeout_in_seconds) = (Some(60), Some(60));
        let answer = hub.invoke("dev-1", &call).await.expect("an answer");
        assert_eq!((answer.status, answer.payload), (201, json!({"delay": 3})));
        let answer = hub.invoke("dev-1", &MethodRequest::new("nothing")).await.expect("an answer with status 404");
        assert_eq!(answer.status, 404);
    }
    client.close(std::time::Duration::from_secs(10)).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_returns_twins_and_rows_page_by_page() {
    let cloud = Cloud::start().await;
    let [hub, admin] = hubs(&cloud);
    for (id, site) in [("a", "x"), ("b", "x"), ("c", "y")] {
        hub.create_device(&Device::new(id)).await.expect("created");
        hub.update_twin(id, &TwinPatch::new().tags(map(json!({"site": site})))).await.expect("merged");
    }
    for hub in [hub, admin] {
        let twins: Vec<Twin> =
            hub.query_twins("SELECT * FROM devices WHERE tags.site = 'x'").page_size(1).all().await.expect("twins");
        let ids: Vec<Option<&str>> = twins.iter().map(|it| it.device_id.as_deref()).collect();
        assert_eq!(ids, [Some("a"), Some("b")]);
        let mut rows = hub.query("SELECT deviceId AS id FROM devices").page_size(2);
        let first = rows.next_page().await.expect("a page").expect("the first");
        assert_eq!(
            (first.items, first.item_type.as_deref()),
            (vec![json!({"id": "a"}), json!({"id": "b"})], Some("Raw"))
        );
        assert_eq!(rows.all().await.expect("the rest"), [json!({"id": "c"})]);
        assert_eq!(hub.query("SELECT * FROM devices").limit(2).all().await.expect("two").len(), 2);
        let wrong = hub.query("SELECT FROM").all().await.expect_err("no query");
        assert_eq!((wrong.refused().map(|it| it.status), wrong.fault()), (Some(400), Fault::Request), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_messages_are_purged() {
    let cloud = Cloud::start().await;
    for hub in hubs(&cloud) {
        let _device = cloud.hub_device("dev-1", TransportKind::Mqtt);
        for _ in 0..2 {
            cloud.emulator.send_to_device(HUB, "dev-1", hubward_emulator::CloudToDevice::new("x")).expect("sent");
        }
        let purged = hub.purge("dev-1").await.expect("purged");
        assert_eq!((purged.total_messages_purged, purged.device_id.as_str()), (2, "dev-1"));
        assert_eq!(hub.purge("dev-1").await.expect("purged").total_messages_purged, 0);
    }
}
