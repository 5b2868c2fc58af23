//! Queries of twins over the service API of a hub. The tests write the requests by hand.

use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::{ConnectionString, SasToken, SharedKey};
use serde_json::json;

use crate::client::{Reply, Tls, http, hub_connect, now, tls};

async fn emulator() -> Emulator {
    let emulator = Emulator::start().await.expect("started");
    for (id, site) in [("d1", "a"), ("d2", "b"), ("d3", "a")] {
        emulator.add_device("localhost", id).expect("a device");
        emulator.patch_tags("localhost", id, json!({ "site": site })).expect("tags");
    }
    emulator.add_module("localhost", "d2", "camera").expect("a module");
    emulator.patch_tags("localhost", "d2/camera", json!({ "site": "m" })).expect("tags");
    emulator
}

fn authorization(emulator: &Emulator) -> String {
    let text = emulator.hub_connection_string("localhost").expect("the hub");
    let login = ConnectionString::parse(&text).expect("a connection string");
    let key = SharedKey::from_base64(login.expose_shared_access_key().expect("a key")).expect("a key");
    let expiry = now().saturating_add(Duration::from_secs(3600));
    SasToken::sign(&key, login.host_name(), expiry, login.shared_access_key_name()).expose().to_owned()
}

/// Each header in `headers` ends with CR LF.
async fn ask(stream: &mut Tls, authorization: &str, headers: &str, body: &str) -> Reply {
    let request = format!(
        "POST /devices/query?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json; charset=utf-8\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http(stream, &request).await.expect("an answer")
}

async fn query(stream: &mut Tls, authorization: &str, headers: &str, text: &str) -> Reply {
    ask(stream, authorization, headers, &json!({ "query": text }).to_string()).await
}

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let rows = reply.json();
    let rows = rows.as_array().expect("an array").iter();
    rows.map(|it| format!("{}{}", it["deviceId"].as_str().expect("an id"), it["moduleId"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test]
async fn twins_are_found_by_tags_properties_and_state() {
    let emulator = emulator().await;
    let authorization = authorization(&emulator);
    emulator.patch_desired("localhost", "d3", json!({ "interval": 30 })).expect("desired");
    emulator.set_device_enabled("localhost", "d1", false);
    let key = emulator.add_device("localhost", "d2").expect("the same device");
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut device, "d2", &key, true).await.expect("a CONNACK");

    let mut stream = tls(&emulator, emulator.https_addr()).await;
    for (text, expected) in [
        ("SELECT * FROM devices", &["d1", "d2", "d3"][..]),
        ("SELECT * FROM devices.modules", &["d2camera"]),
        ("SELECT * FROM devices WHERE tags.site = 'a'", &["d1", "d3"]),
        ("SELECT * FROM devices WHERE properties.desired.interval >= 30", &["d3"]),
        ("SELECT * FROM devices WHERE status = 'disabled'", &["d1"]),
        ("SELECT * FROM devices WHERE connectionState = 'Connected'", &["d2"]),
        ("SELECT * FROM devices WHERE capabilities.iotEdge = false AND deviceId != 'd2'", &["d1", "d3"]),
        ("SELECT deviceId FROM devices WHERE lastActivityTime > '2000-01-01T00:00:00Z'", &["d2"]),
    ] {
        assert_eq!(ids(&query(&mut stream, &authorization, "", text).await), expected, "{text}");
    }
    let reply = query(&mut stream, &authorization, "", "SELECT * FROM devices WHERE deviceId = 'd3'").await;
    assert_eq!((reply.header("x-ms-item-type"), reply.header("x-ms-continuation")), (Some("Twin"), None));
    let shown = serde_json::to_value(emulator.twin("localhost", "d3").expect("a twin")).expect("JSON");
    assert_eq!(reply.json(), json!([shown]), "the twin as GET shows it");

    let text = "SELECT tags.site, COUNT() AS devices FROM devices GROUP BY tags.site";
    let reply = query(&mut stream, &authorization, "", text).await;
    assert_eq!(reply.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(reply.json(), json!([{ "site": "a", "devices": 2 }, { "site": "b", "devices": 1 }]));
}

#[tokio::test]
async fn a_page_starts_where_the_previous_one_ended() {
    let emulator = emulator().await;
    let authorization = authorization(&emulator);
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let (mut seen, mut headers) = (Vec::new(), "x-ms-max-item-count: 1\r\n".to_owned());
    loop {
        let reply = query(&mut stream, &authorization, &headers, "SELECT * FROM devices").await;
        seen.extend(ids(&reply));
        let Some(mark) = reply.header("x-ms-continuation") else { break };
        headers = format!("x-ms-max-item-count: 1\r\nx-ms-continuation: {mark}\r\n");
        emulator.delete_device("localhost", "d2");
        emulator.add_device("localhost", "d0").expect("a device");
    }
    assert_eq!(seen, ["d1", "d3"]);
}

#[tokio::test]
async fn refused_queries_have_the_error_format_of_the_service() {
    let emulator = emulator().await;
    let authorization = authorization(&emulator);
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let text = |it: &str| json!({ "query": it }).to_string();
    for (headers, body, status, name, message) in [
        (
            "",
            text("SELECT * FROM machines"),
            400,
            "ArgumentInvalid",
            "The query is invalid at character 15: expected devices",
        ),
        (
            "",
            text("SELECT * FROM devices.jobs"),
            501,
            "GenericNotImplemented",
            "The emulator does not emulate devices.jobs",
        ),
        ("x-ms-max-item-count: 0\r\n", text("SELECT * FROM devices"), 400, "ArgumentInvalid", "x-ms-max-item-count"),
        ("x-ms-continuation: eA\r\n", text("SELECT * FROM devices"), 400, "ArgumentInvalid", "x-ms-continuation"),
        ("", "{}".into(), 400, "IotHubFormatError", "The body does not have the expected structure"),
        ("", "[".into(), 400, "IotHubFormatError", "The body must be a JSON object"),
        ("", format!("{{\"query\":\"{}\"}}", "x".repeat(600_000)), 413, "MessageTooLarge", ""),
    ] {
        let reply = ask(&mut stream, &authorization, headers, &body).await;
        assert_eq!(reply.status, status, "{body:.60}");
        let said = reply.json();
        let said = said["Message"].as_str().expect("text");
        assert!(said.starts_with(&format!("ErrorCode:{name};{message}")), "{said}");
        if status == 413 {
            // Open a new connection. The emulator has not read the whole body, so it cannot read another request on the
            // old connection.
            stream = tls(&emulator, emulator.https_addr()).await;
        }
    }
    let reply = query(&mut stream, "", "", "SELECT * FROM devices").await;
    assert_eq!(reply.status, 401);
}
