use hubward_proto::service::TwinProperties;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

fn merge(value: Value) -> Change {
    Change::Merge(map(value))
}

fn seen_by_device(twin: &Twin) -> Value {
    serde_json::from_slice(&twin.for_device()).expect("JSON")
}

#[test]
fn begins_with_the_initial_twin_and_version_1() {
    let desired = map(json!({"interval": 30, "gone": null, "$metadata": {}}));
    let initial = InitialTwin {
        tags: map(json!({"site": "a"})),
        properties: TwinProperties { desired, ..TwinProperties::default() },
    };
    let twin = Twin::new(Some(&initial), "t1");
    assert_eq!(seen_by_device(&twin), json!({"desired": {"interval": 30, "$version": 1}, "reported": {"$version": 1}}));
    assert_eq!((twin.tags(), twin.etag().as_str()), (&map(json!({"site": "a"})), "AAAAAAAAAAE="));
    assert_eq!(seen_by_device(&Twin::new(None, "t1"))["desired"], json!({"$version": 1}));
}

#[test]
fn a_patch_is_merged_and_sent_to_the_device() {
    let mut twin = Twin::new(None, "t1");
    let notice =
        twin.update(None, Some(&merge(json!({"a": 1, "b": {"c": 2}}))), "t2").expect("fine").expect("a notice");
    assert_eq!((notice.version, &notice.body[..]), (2, &br#"{"$version":2,"a":1,"b":{"c":2}}"#[..]));
    let notice = twin.update(None, Some(&merge(json!({"a": null}))), "t3").expect("fine").expect("a notice");
    assert_eq!((notice.version, &notice.body[..]), (3, &br#"{"$version":3,"a":null}"#[..]));
    assert_eq!(seen_by_device(&twin)["desired"], json!({"b": {"c": 2}, "$version": 3}));
    assert_eq!((twin.version(), twin.etag().as_str()), (4, "AAAAAAAAAAM="));
}

#[test]
fn a_replacement_sends_null_for_removed_properties() {
    let mut twin = Twin::new(None, "t1");
    twin.update(None, Some(&merge(json!({"a": 1, "b": {"c": 1, "e": {}}, "f": {"g": 1}}))), "t2").expect("fine");
    let before = twin.desired().values.clone();
    let all = Change::Replace(map(json!({"b": {"d": 1, "e": 2}, "f": 3})));
    let notice = twin.update(None, Some(&all), "t3").expect("fine").expect("a notice");
    let patch = map(json!({"$version": 3, "a": null, "b": {"c": null, "d": 1, "e": 2}, "f": 3}));
    assert_eq!(serde_json::from_slice::<Value>(&notice.body).expect("JSON"), Value::Object(patch.clone()));
    assert_eq!(seen_by_device(&twin)["desired"], json!({"b": {"d": 1, "e": 2}, "f": 3, "$version": 3}));
    // A device that merges the patch into its earlier properties must get the same properties as the hub.
    let mut merged = before;
    twin::merge(&mut merged, &patch);
    merged.remove("$version");
    assert_eq!(merged, twin.desired().values);
}

#[test]
fn a_replacement_may_not_contain_null() {
    let mut twin = Twin::new(None, "t1");
    for all in [json!({"a": null}), json!({"a": {"b": null}})] {
        let error = twin.update(None, Some(&Change::Replace(map(all))), "t2").expect_err("null");
        assert!(error.to_string().contains("a replacement may not contain null"), "{error}");
    }
    assert_eq!(twin.desired().version, 1);
}

#[test]
fn a_change_of_tags_is_not_sent_to_the_device() {
    let mut twin = Twin::new(None, "t1");
    assert_eq!(twin.update(Some(&merge(json!({"site": "a"}))), None, "t2"), Ok(None));
    assert_eq!((twin.desired().version, twin.version()), (1, 3));
    assert_eq!(twin.tags(), &map(json!({"site": "a"})));
}

#[test]
fn a_refused_change_has_no_effect() {
    let mut twin = Twin::new(None, "t1");
    let big = json!({"k": "x".repeat(4096)});
    let nine = json!((0..9).map(|it| (it.to_string(), big["k"].clone())).collect::<Map<_, _>>());
    for (tags, desired) in [
        (json!({}), json!({"a.b": 1})),
        (json!({"$a": 1}), json!({})),
        (json!({}), nine.clone()),
        (json!({"a": big["k"], "b": big["k"]}), json!({"fine": 1})),
    ] {
        assert!(twin.update(Some(&merge(tags)), Some(&merge(desired)), "t2").is_err());
    }
    assert!(twin.report(&map(nine), "t2").is_err());
    let fresh = Twin::new(None, "t1");
    assert_eq!((twin.properties(), twin.tags(), twin.etag()), (fresh.properties(), fresh.tags(), fresh.etag()));
}

#[test]
fn the_size_limit_applies_to_the_whole_section() {
    let mut twin = Twin::new(None, "t1");
    let text = "x".repeat(4095);
    for (name, version) in [("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6), ("f", 7), ("g", 8), ("h", 9)] {
        assert_eq!(twin.report(&map(json!({ name: text })), "t2"), Ok(version));
    }
    let error = twin.report(&map(json!({"i": ""})), "t2").expect_err("32 KB and a byte");
    assert_eq!(error.to_string(), "Properties.Reported has 32769 bytes, but at most 32768 are allowed");
    assert_eq!(twin.report(&map(json!({"a": null, "i": ""})), "t2"), Ok(10));
}

#[test]
fn metadata_record_the_time_of_each_change() {
    let mut twin = Twin::new(None, "t1");
    twin.update(None, Some(&merge(json!({"a": {"b": 1, "c": [1]}, "d": 1}))), "t2").expect("fine");
    twin.update(None, Some(&merge(json!({"a": {"c": [2]}, "d": null}))), "t3").expect("fine");
    twin.report(&map(json!({"r": true})), "t4").expect("fine");
    let (old, new) = (
        json!({"$lastUpdated": "t2", "$lastUpdatedVersion": 2}),
        json!({"$lastUpdated": "t3", "$lastUpdatedVersion": 3}),
    );
    assert_eq!(
        twin.properties(),
        json!({
            "desired": {
                "a": {"b": 1, "c": [2]},
                "$version": 3,
                "$metadata": {
                    "$lastUpdated": "t3", "$lastUpdatedVersion": 3,
                    "a": {"$lastUpdated": "t3", "$lastUpdatedVersion": 3, "b": old, "c": new},
                },
            },
            "reported": {
                "r": true,
                "$version": 2,
                "$metadata": {"$lastUpdated": "t4", "r": {"$lastUpdated": "t4"}},
            },
        })
    );
}
