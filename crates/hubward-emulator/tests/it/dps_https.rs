//! DPS over HTTPS, with hand-written requests.

use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::SharedKey;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Reply, Tls, dps_token, http, patient, tls, token};

fn put(emulator: &Emulator, id: &str, authorization: &str, body: &str) -> String {
    format!(
        "PUT /{}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {authorization}\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        emulator.id_scope(),
        body.len()
    )
}

fn get(emulator: &Emulator, id: &str, authorization: &str, operation: &str) -> String {
    format!(
        "GET /{}/registrations/{id}/operations/{operation}?api-version=2019-03-31 HTTP/1.1\r\n\
         Host: localhost\r\nAuthorization: {authorization}\r\n\r\n",
        emulator.id_scope()
    )
}

async fn ask(stream: &mut Tls, request: &str) -> Reply {
    http(stream, request).await.expect("an answer")
}

#[tokio::test]
async fn registers_polls_and_looks_up_on_one_connection() {
    let emulator = Emulator::builder().retry_after(Some(Duration::from_secs(3))).start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let authorization = dps_token(&emulator, device.primary_key(), "dev-1");
    let mut stream = tls(&emulator, emulator.https_addr()).await;

    let reply = ask(&mut stream, &put(&emulator, "dev-1", &authorization, r#"{"registrationId":"dev-1"}"#)).await;
    assert_eq!(reply.status, 202);
    let location =
        format!("https://localhost/{}/registrations/dev-1/register?api-version=2021-06-01", emulator.id_scope());
    for (name, expected) in [
        ("content-type", "application/json; charset=utf-8"),
        ("retry-after", "3"),
        ("location", &location),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ] {
        assert_eq!(reply.header(name), Some(expected), "{name}");
    }
    assert_eq!(reply.header("x-ms-request-id").map(str::len), Some(36));
    let operation = reply.json()["operationId"].as_str().expect("an id").to_owned();
    assert_eq!(reply.json(), json!({"operationId": operation, "status": "assigning"}));

    let reply = ask(&mut stream, &get(&emulator, "dev-1", &authorization, &operation)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (202, Some("3")));
    let reply = ask(&mut stream, &get(&emulator, "dev-1", &authorization, &operation)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (200, None));
    let state = reply.json()["registrationState"].clone();
    assert_eq!((&state["assignedHub"], &state["deviceId"]), (&json!("localhost"), &json!("dev-1")));

    let lookup = format!(
        "POST /{}/registrations/dev-1?api-version=2019-03-31 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {authorization}\r\nContent-Type: application/json\r\n\
         Content-Length: 26\r\n\r\n{{\"registrationId\":\"dev-1\"}}",
        emulator.id_scope()
    );
    assert_eq!(ask(&mut stream, &lookup).await.json(), state);
    let view = emulator.device("localhost", "dev-1").expect("in the registry");
    assert_eq!(view.status.to_string(), "enabled");
    assert_eq!(emulator.registration("DEV-1").expect("a record").assigned_hub.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn refuses_with_status_code_and_tracking_id() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let good = dps_token(&emulator, device.primary_key(), "dev-1");
    let wrong_key = SharedKey::generate().expect("a key");
    let put = |authorization: &str, body: &str| put(&emulator, "dev-1", authorization, body);
    let elsewhere = token(device.primary_key(), "0neFFFFFFFF/registrations/dev-1");
    let huge = format!("{{\"payload\":\"{}\"}}", "x".repeat(96 * 1024));
    for (request, status, code) in [
        (put(&dps_token(&emulator, &wrong_key, "dev-1"), "{}"), 401, 401_002),
        (put("", "{}"), 401, 401_002),
        (put("Bearer x", "{}"), 401, 401_002),
        (put(&elsewhere, "{}"), 401, 401_002),
        (put(&elsewhere, "{}").replace(emulator.id_scope(), "0neFFFFFFFF"), 404, 404_201),
        (put(&good, "{}").replace("dev-1/register", "dev-2/register"), 401, 401_002),
        (put(&good, "{"), 400, 400_000),
        (put(&good, r#"{"registrationId":"dev-2"}"#), 400, 400_000),
        (put(&good, "{}").replace("?api-version=2021-06-01", ""), 400, 400_000),
        (put(&good, "{}").replace("dev-1/register", "dev%201/register"), 400, 400_000),
        (put(&good, "{}").replace("/register?", "/elsewhere?"), 404, 404_000),
        (put(&good, "{}").replacen("PUT", "GET", 1), 405, 405_000),
        (put(&good, "{}").replace("application/json; charset=utf-8", "text/plain"), 415, 415_000),
        (put(&good, &huge), 413, 413_000),
        (get(&emulator, "dev-1", &good, "4.0.x"), 404, 404_201),
        ("GET /certificates?api-version=2019-03-31 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501, 501_000),
    ] {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        let reply = ask(&mut stream, &request).await;
        let first = request.lines().next().unwrap_or_default();
        assert_eq!(reply.status, status, "{first}: {}", reply.body);
        assert_eq!(reply.header("x-ms-error-code"), Some(code.to_string().as_str()), "{first}");
        let body = reply.json();
        assert_eq!(body["errorCode"], code, "{first}");
        assert_eq!(body["trackingId"].as_str(), reply.header("x-ms-request-id"), "{first}");
        assert_eq!(reply.header("allow"), (status == 405).then_some("PUT"));
    }
    assert!(emulator.registration("dev-1").is_none());
}

#[tokio::test]
async fn tokens_expire_by_the_emulators_clock() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let authorization = dps_token(&emulator, device.primary_key(), "dev-1");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    // The token is valid for one hour. DPS still accepts the token in the five minutes after its expiry time.
    for (minutes, status) in [(0, 202), (64, 202), (66, 401), (0, 202)] {
        emulator.clock_ahead(Duration::from_secs(60 * minutes));
        let reply = ask(&mut stream, &put(&emulator, "dev-1", &authorization, "{}")).await;
        assert_eq!(reply.status, status, "{minutes} minutes later");
    }
}

#[tokio::test]
async fn groups_disabled_enrollments_and_development_keys() {
    let emulator = Emulator::builder().dev_keys(true).polls_before_assigned(0).start().await.expect("started");
    let group = emulator.enroll_group("line").expect("a group");
    let dev = SharedKey::from_base64(hubward_emulator::DEV_GROUP_KEY).expect("a key");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    for key in [group.device_key("sn-1"), dev.derive("sn-1")] {
        let authorization = dps_token(&emulator, &key, "sn-1");
        assert_eq!(ask(&mut stream, &put(&emulator, "sn-1", &authorization, "{}")).await.status, 202);
    }
    emulator.disable_group("line").expect("there");
    let authorization = dps_token(&emulator, &group.device_key("sn-1"), "sn-1");
    let reply = ask(&mut stream, &put(&emulator, "sn-1", &authorization, "{}")).await;
    let state = json!({"registrationId": "sn-1", "status": "disabled"});
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"operationId": "", "status": "disabled", "registrationState": state}));
    emulator.delete_group("line").expect("there");
    assert_eq!(ask(&mut stream, &put(&emulator, "sn-1", &authorization, "{}")).await.status, 401);
    assert!(emulator.device("localhost", "sn-1").is_some(), "the hub's identity stays");
    assert!(emulator.delete_group("line").is_err());
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_request_does_no_harm() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("dev-1").expect("enrolled");
    let authorization = dps_token(&emulator, device.primary_key(), "dev-1");
    let request = put(&emulator, "dev-1", &authorization, r#"{"registrationId":"dev-1"}"#);
    for length in [1, 20, request.len() - 1] {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        patient(stream.write_all(&request.as_bytes()[..length])).await.expect("sent");
        patient(stream.shutdown()).await.expect("closed");
        let mut rest = Vec::new();
        // The emulator must end the connection. It may close or reset the connection, so ignore an error of the read.
        let _ = patient(stream.read_to_end(&mut rest)).await;
        assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 2"), "{length}");
    }
    assert!(emulator.registration("dev-1").is_none());
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    assert_eq!(ask(&mut stream, &request).await.status, 202);
}
