use serde_json::json;

use super::*;
use crate::services::api::page::WRONG_CONTINUATION;

/// The documentation's example of a twin, with additions.
///
/// Source: `[doc]` iot-hub/query-twins.md.
fn twin() -> Value {
    json!({
        "deviceId": "myDeviceId", "etag": "AAAAAAAAAAc=", "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00", "connectionState": "Disconnected",
        "lastActivityTime": "2021-05-07T00:50:38.0543092Z", "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas", "version": 2, "capabilities": { "iotEdge": true },
        "tags": {
            "location": { "region": "US", "plant": "Redmond43" }, "group": { "name": "some_value" },
            "my-tag": 1, "none": null, "on": true, "big": 9_007_199_254_740_993_i64, "list": [1],
            "role": "temperature&humidity"
        },
        "properties": {
            "desired": {
                "telemetryConfig": { "configId": "db00ebf5", "sendFrequencyInSecs": 300 }, "$version": 4
            },
            "reported": {
                "connectivity": "wifi", "battery": "42.5",
                "telemetryConfig": { "configId": "db00ebf5", "sendFrequencyInSecs": 300, "status": "Success" },
                "$iotin:deviceinfo": { "manufacturer": { "value": "Contoso" } }, "$version": 7
            }
        }
    })
}

fn shown(query: &str) -> Result<Option<Value>, QueryError> {
    Ok(Query::parse(query)?.shows(&twin()))
}

#[test]
fn conditions_from_documentation_and_samples_are_evaluated() {
    for (condition, fits) in [
        // iot-hub/query-twins.md
        ("tags.location.region = 'US'", true),
        ("tags.location.region = 'US' AND properties.reported.telemetryConfig.sendFrequencyInSecs >= 60", true),
        ("properties.reported.connectivity IN ['wired', 'wifi']", true),
        ("properties.reported.connectivity NIN ['wired', 'wifi']", false),
        ("is_defined(properties.reported.connectivity)", true),
        ("status = 'enabled' AND connectionState = 'Disconnected'", true),
        ("properties.desired.telemetryConfig.configId = properties.reported.telemetryConfig.configId", true),
        ("properties.reported.status = 'scanning' AND deviceId IN ['device1', 'device2']", false),
        // iot-hub/iot-hub-devguide-query-language.md
        ("tags.[[group]].name = 'some_value'", true),
        // Samples
        ("STARTSWITH(deviceId, 'my')", true),
        ("startsWith(devices.deviceId, 'my')", true),
        ("STARTSWITH(id, 'my')", true),
        ("tags.role = 'temperature&humidity'", true),
        ("devices.capabilities.iotEdge = true", true),
        ("lastActivityTime >= '2021-05-07T00:00:00Z'", true),
        ("properties.reported.[[$iotin:deviceinfo]].manufacturer.value = 'Contoso'", true),
        ("NOT IS_DEFINED(tags.notSeenSince)", true),
        // The letter case matters in all names except those that the service defines.
        ("DeviceID = 'myDeviceId' and Properties.Reported.connectivity = 'wifi'", true),
        ("tags.Location.region = 'US'", false),
        ("tags.location.region = 'us'", false),
        // Types
        ("tags.on", true),
        ("tags.on = 'true'", false),
        ("tags.on != 'true'", true),
        ("deviceId", false),
        ("tags.none = null", true),
        ("tags.location.region != null", true),
        ("tags.nothing = null", false),
        ("tags.nothing != 'x'", false),
        ("NOT (tags.nothing = 'x')", false),
        ("tags.nothing = undefined", false),
        ("tags.location = tags.location", false),
        ("tags.list IN [1]", false),
        ("version > 'a' OR version <= 'a'", false),
        ("tags.big = 9007199254740993", true),
        ("tags.big > 9007199254740992", true),
        ("version = 2.0", true),
        ("properties.desired.$version = 4", true),
        // Operator precedence
        ("false AND false OR true", true),
        ("NOT false AND false", false),
        ("true OR tags.nothing", true),
        ("tags.nothing AND true", false),
        ("1 + 2 * 3 = 7 AND (1 + 2) * 3 = 9 AND 7 - 2 - 1 = 4", true),
        ("7 / 2 = 3.5 AND 8 / 2 = 4 AND 7 % 4 = 3 AND -2 + 0x10 = 14", true),
        ("1 / 0 = 1 OR 1 % 0 = 1", false),
        ("version NOT IN (1, 3)", true),
        ("version IN (1, 1 + 1)", true),
        ("NOT version IN [2]", false),
        // Functions
        ("is_null(tags.none) AND is_bool(tags.on) AND is_number(version) AND is_string(deviceId)", true),
        ("is_object(tags) AND is_array(tags.list) AND is_primitive(tags.none) AND NOT is_primitive(tags)", true),
        ("is_primitive(tags.nothing)", false),
        ("as_number(properties.reported.battery) > 42 AND as_number(version) = 2", true),
        ("is_defined(tags.none) AND NOT is_number(as_number(deviceId))", true),
        ("ENDSWITH(deviceId, 'Id') AND CONTAINS(deviceId, 'Device')", true),
        ("CONCAT(status, '-', connectionState) = 'enabled-Disconnected'", true),
        ("LENGTH(deviceId) = 10 AND LOWER(deviceId) = 'mydeviceid' AND UPPER(status) = 'ENABLED'", true),
        ("SUBSTRING(deviceId, 2) = 'DeviceId' AND SUBSTRING(deviceId, 2, 6) = 'Device'", true),
        ("INDEX_OF(deviceId, 'Device') = 2 AND INDEX_OF(deviceId, 'x') = -1", true),
        ("ABS(-3) = 3 AND POWER(2, 3) = 8 AND SQUARE(3) = 9 AND SQRT(9) = 3 AND EXP(0) = 1", true),
        ("CEILING(1.2) = 2 AND FLOOR(-1.2) = -2 AND SIGN(-7) = -1 AND SIGN(0) = 0", true),
        ("SQRT(-1) = 0 OR ABS('x') = 1 OR STARTSWITH(version, '2')", false),
    ] {
        let answer = shown(&format!("SELECT * FROM devices WHERE {condition}"));
        assert_eq!(answer.map(|it| it.is_some()), Ok(fits), "{condition}");
    }
}

#[test]
fn columns_are_named_by_alias_or_by_the_last_part() {
    for (query, row) in [
        (
            "SELECT DeviceId, LastActivityTime FROM devices",
            json!({ "deviceId": "myDeviceId", "lastActivityTime": "2021-05-07T00:50:38.0543092Z" }),
        ),
        (
            "select deviceId as id, tags.location.plant as Plant from Devices",
            json!({ "id": "myDeviceId", "Plant": "Redmond43" }),
        ),
        ("SELECT tags.location.region, tags.nothing FROM devices", json!({ "region": "US" })),
        (
            "SELECT d.tags.location FROM devices AS d WHERE d.status = 'enabled'",
            json!({ "location": { "region": "US", "plant": "Redmond43" } }),
        ),
        ("SELECT d.version FROM devices d", json!({ "version": 2 })),
        ("SELECT devices.tags.from FROM devices", json!({})),
        ("SELECT tags.[[my-tag]] AS [[a b]] FROM devices", json!({ "a b": 1 })),
        ("SELECT COUNT() AS totalNumberOfDevices FROM devices", json!({ "totalNumberOfDevices": 1 })),
        ("SELECT count() FROM devices", json!({ "$1": 1 })),
        (
            "SELECT properties.reported.telemetryConfig.status AS status,\n COUNT() AS numberOfDevices\n \
             FROM devices\n GROUP BY properties.reported.telemetryConfig.status",
            json!({ "status": "Success", "numberOfDevices": 1 }),
        ),
        (
            "SELECT SUM(version), AVG(version) AS mean, MIN(deviceId) AS least, MAX(tags.big) AS most, \
             MAX(tags.nothing) AS none FROM devices",
            json!({ "$1": 2, "mean": 2, "least": "myDeviceId", "most": 9_007_199_254_740_993_i64 }),
        ),
    ] {
        assert_eq!(shown(query), Ok(Some(row)), "{query}");
    }
    assert_eq!(shown("SELECT * FROM devices"), Ok(Some(twin())));
    assert_eq!(shown("SELECT TOP 5 * FROM devices.modules WHERE devices.modules.moduleId = 'm'"), Ok(None));
}

#[test]
fn errors_have_the_position_and_the_cause() {
    for (query, message) in [
        ("", "character 1: expected SELECT, found the end"),
        ("DELETE FROM devices", "character 1: expected SELECT, found `DELETE`"),
        ("SELECT *", "character 9: expected FROM, found the end"),
        ("SELECT * FROM machines", "character 15: expected devices or devices.modules after FROM, found `machines`"),
        ("SELECT * FROM devices.things", "character 23: expected modules or jobs after `devices.`, found `things`"),
        ("SELECT * FROM devices WHERE", "character 28: expected a property, a value or a function, found the end"),
        (
            "SELECT * FROM devices WHERE tags.site == 'a'",
            "character 40: expected a property, a value or a function, found `=`",
        ),
        (
            "SELECT * FROM devices WHERE tags.my-tag = 1 tags",
            "character 45: expected an operator, WHERE, GROUP BY or the end, found `tags`",
        ),
        (
            "SELECT * FROM devices WHERE tags.group.name = 'x'",
            "character 34: `group` is a keyword; write `[[group]]` for a property with this name",
        ),
        (
            "SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'a')",
            "character 29: the function `STARTS_WITH` is unknown here; use STARTSWITH in twin queries",
        ),
        (
            "SELECT * FROM devices WHERE COUNT() > 1",
            "character 29: the function `COUNT` is unknown here; it is allowed after SELECT only",
        ),
        ("SELECT * FROM devices WHERE LENGTH(a, b) = 1", "character 29: `LENGTH` takes 1 argument"),
        ("SELECT * FROM devices WHERE SUBSTRING(a) = 'x'", "character 29: `SUBSTRING` takes 2 to 3 arguments"),
        (
            "SELECT * FROM devices WHERE is_defined('a')",
            "character 29: the argument of IS_DEFINED must be the path of a property, such as tags.site",
        ),
        (
            "SELECT * FROM devices WHERE tags.a = ['x']",
            "character 38: a list is allowed after IN and NIN only, because only primitive values can be compared",
        ),
        (
            "SELECT * FROM devices WHERE tags.a IN 'x'",
            "character 39: expected a list such as `['a', 'b']` after IN, found a string",
        ),
        ("SELECT * FROM devices WHERE tags.a IN ['x'", "character 43: expected `,` or `]`, found the end"),
        ("SELECT * FROM devices WHERE (tags.a = 1", "character 40: expected `)`, found the end"),
        (
            "SELECT * FROM devices WHERE tags. = 1",
            "character 35: expected a name after `.` (write a name with other characters as `[[my-name]]`), found `=`",
        ),
        ("SELECT * FROM devices ORDER BY deviceId", "character 23: the query language of IoT Hub has no ORDER"),
        ("SELECT * FROM devices GROUP deviceId", "character 29: expected BY after GROUP, found `deviceId`"),
        ("SELECT status FROM devices GROUP BY status, version", "character 43: GROUP BY takes one property"),
        ("SELECT status, COUNT() FROM devices", "character 8: `status` beside an aggregate needs GROUP BY"),
        (
            "SELECT status, COUNT() FROM devices GROUP BY version",
            "character 8: `status` is not the property after GROUP BY",
        ),
        ("SELECT COUNT(*) FROM devices", "character 14: COUNT takes no arguments; write COUNT()"),
        (
            "SELECT UPPER(status) FROM devices",
            "character 8: only COUNT, SUM, AVG, MIN and MAX are allowed after SELECT",
        ),
        (
            "SELECT tags.a, properties.desired.a FROM devices",
            "character 16: there are two columns `a`; rename one with AS",
        ),
        ("SELECT tags.a tags.b FROM devices", "character 15: expected `,` or FROM, found `tags`"),
        ("SELECT deviceId, FROM devices", "character 18: expected a property, a value or a function, found `FROM`"),
        ("SELECT TOP 0 * FROM devices", "character 12: expected a whole number above 0 after TOP, found `0`"),
        ("SELECT * FROM devices WHERE a = 'x", "character 33: a string has no closing quote"),
        ("SELECT * FROM devices; DROP", "character 22: this character is not allowed in a query"),
    ] {
        let problem = Query::parse(query).expect_err(query).to_string();
        assert_eq!(problem, format!("The query is invalid at {message}."), "{query}");
    }
}

#[test]
fn unsupported_queries_are_reported() {
    for query in [
        "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'myJobId'",
        "SELECT * FROM devices.modules GROUP BY deviceId",
    ] {
        assert!(matches!(Query::parse(query), Err(QueryError::NotEmulated(_))), "{query}");
    }
}

#[test]
fn a_query_is_bounded_in_length_and_depth() {
    let condition = |it: String| format!("SELECT * FROM devices WHERE {it}");
    for (inner, fits) in [
        (format!("{}true{}", "(".repeat(32), ")".repeat(32)), true),
        (format!("{}true{}", "(".repeat(33), ")".repeat(33)), false),
        (format!("{}true", "NOT ".repeat(33)), false),
        (format!("{}1 = 1", "-".repeat(33)), false),
        (format!("{}a{}", "LOWER(".repeat(33), ")".repeat(33)), false),
        (format!("1{} = 0", "+1".repeat(4000)), true),
        (format!("true{}", " AND true".repeat(890)), true),
        (format!("'{}' = 'x'", "x".repeat(8192)), false),
    ] {
        let query = Query::parse(&condition(inner.clone()));
        assert_eq!(query.is_ok(), fits, "{:.60}", inner);
        if let Ok(query) = query {
            query.shows(&twin());
        }
    }
}

/// A hub with this many twins.
fn hub(count: usize) -> Vec<(String, Value)> {
    (0..count)
        .map(|it| (format!("d{it:03}"), json!({ "deviceId": format!("d{it:03}"), "tags": { "kind": it % 3 } })))
        .collect()
}

/// Reads one page of a query over twins, in batches of three. Returns the rows, the item type and the continuation.
async fn page(
    twins: &[(String, Value)],
    text: &str,
    most: usize,
    after: Option<String>,
) -> Result<(Vec<Value>, String, Option<String>), String> {
    let query = Query::parse(text).map_err(|it| it.to_string())?;
    let batch = |after: Option<String>| async move {
        let rest = twins.iter().filter(|(key, _)| after.as_ref().is_none_or(|it| key > it));
        let documents: Vec<(String, Value)> = rest.take(3).cloned().collect();
        let last = documents.last().map(|(key, _)| key.clone());
        Batch { documents, last }
    };
    let wanted = PageRequest { most, after, order: None };
    let (body, headers) = query.run(text, &wanted, batch).await?;
    let header = |name: &str| headers.iter().find(|(it, _)| *it == name).map(|(_, it)| it.clone());
    let mut next = HeaderMap::new();
    let continuation = header("x-ms-continuation").map(|it| {
        next.insert("x-ms-continuation", it.parse().expect("a value"));
        PageRequest::read(&next).expect("our own").after.expect("a mark")
    });
    let rows = serde_json::from_slice(&body).expect("an array");
    Ok((rows, header("x-ms-item-type").expect("a type"), continuation))
}

async fn pages(twins: &[(String, Value)], text: &str, most: usize) -> Vec<usize> {
    let (mut counts, mut after) = (Vec::new(), None);
    loop {
        let (rows, _, next) = page(twins, text, most, after).await.expect(text);
        counts.push(rows.len());
        after = next;
        if after.is_none() {
            return counts;
        }
    }
}

#[tokio::test]
async fn pages_have_the_requested_size_and_the_last_one_has_no_continuation() {
    let twins = hub(20);
    for (query, most, expected) in [
        ("SELECT * FROM devices", 7, &[7, 7, 6][..]),
        ("SELECT * FROM devices", 20, &[20]),
        ("SELECT * FROM devices", 10, &[10, 10]),
        ("SELECT TOP 8 * FROM devices", 5, &[5, 3]),
        ("SELECT TOP 5 deviceId FROM devices", 5, &[5]),
        ("SELECT * FROM devices WHERE tags.kind = 0", 4, &[4, 3]),
        ("SELECT * FROM devices WHERE tags.kind = 9", 4, &[0]),
        ("SELECT COUNT() FROM devices WHERE tags.kind = 9", 4, &[1]),
        ("SELECT tags.kind, COUNT() FROM devices GROUP BY tags.kind", 2, &[2, 1]),
        ("SELECT TOP 1 tags.kind FROM devices GROUP BY tags.kind", 2, &[1]),
    ] {
        assert_eq!(pages(&twins, query, most).await, expected, "{query}");
    }
    let (rows, kind, _) = page(&twins, "SELECT * FROM devices", 1, None).await.expect("a page");
    assert_eq!((rows, kind.as_str()), (vec![twins[0].1.clone()], "Twin"));
    let (rows, kind, _) =
        page(&twins, "SELECT tags.kind, COUNT() AS n FROM devices GROUP BY tags.kind", 9, None).await.expect("a page");
    assert_eq!(rows, [json!({ "kind": 0, "n": 7 }), json!({ "kind": 1, "n": 7 }), json!({ "kind": 2, "n": 6 })]);
    assert_eq!(kind, "Raw");
}

#[tokio::test]
async fn a_page_continues_after_the_previous_one_whatever_has_changed() {
    let text = "SELECT * FROM devices";
    let mut twins = hub(6);
    let (_, _, after) = page(&twins, text, 3, None).await.expect("a page");
    twins.remove(2);
    twins.insert(0, ("c".into(), json!({ "deviceId": "c" })));
    twins.remove(3);
    let (rows, _, after) = page(&twins, text, 3, after).await.expect("a page");
    assert_eq!(rows.iter().map(|it| it["deviceId"].as_str().expect("an id")).collect::<Vec<_>>(), ["d004", "d005"]);
    assert_eq!(after, None);
}

#[tokio::test]
async fn the_value_of_a_group_may_be_longer_than_a_header() {
    let long = |end: &str| json!({ "tags": { "kind": "ä".repeat(2000) + end } });
    let mut twins: Vec<_> =
        ["x", "y", "z", "x"].into_iter().enumerate().map(|(at, end)| (at.to_string(), long(end))).collect();
    twins.push(("5".into(), json!({})));
    let text = "SELECT tags.kind, COUNT() AS n FROM devices GROUP BY tags.kind";
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (more, _, next) = page(&twins, text, 1, after).await.expect("a page");
        rows.extend(more);
        after = next;
        let Some(after) = &after else { break };
        assert!(after.len() < 300, "{after}");
    }
    let count = |end: Option<&str>| {
        let kind = end.map(|it| json!("ä".repeat(2000) + it));
        rows.iter().find(|it| it.get("kind") == kind.as_ref()).map(|it| it["n"].clone())
    };
    assert_eq!(rows.len(), 4);
    let counts = [Some("x"), Some("y"), Some("z"), None].map(count);
    assert_eq!(counts, [Some(json!(2)), Some(json!(1)), Some(json!(1)), Some(json!(1))]);
}

#[tokio::test]
async fn a_continuation_of_another_query_is_refused() {
    let twins = hub(6);
    let (_, _, after) = page(&twins, "SELECT TOP 5 * FROM devices", 2, None).await.expect("a page");
    let after = after.expect("more");
    for text in ["SELECT * FROM devices", "SELECT TOP 4 * FROM devices"] {
        let answer = page(&twins, text, 2, Some(after.clone())).await;
        assert!(answer.is_err_and(|it| it == WRONG_CONTINUATION), "{text}");
    }
    for mark in ["", "x", "x y z", &after.replace(" 3 ", " 6 "), &after.replace(" 3 ", "  ")] {
        let answer = page(&twins, "SELECT TOP 5 * FROM devices", 2, Some(mark.to_owned())).await;
        assert!(answer.is_err_and(|it| it == WRONG_CONTINUATION), "{mark}");
    }
}
