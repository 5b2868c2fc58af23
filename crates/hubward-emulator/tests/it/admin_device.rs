//! Tests of twins and methods at the admin port. The format is that of the hub's service API.

use hubward_emulator::Emulator;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{Reply, http, listening, publish, read_publish, receive, send};

/// Sends a request with a JSON body.
async fn ask(stream: &mut TcpStream, request: &str, body: &str) -> Reply {
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    http(stream, &request).await.expect("an answer")
}

/// Returns the numeric code of a failed method call. The code is in the member `Message` of the body, which is a string
/// that contains JSON.
fn nested_code(reply: &Reply) -> Option<u64> {
    assert_eq!(reply.json()["ExceptionMessage"], "");
    let inner: Value = serde_json::from_str(reply.json()["Message"].as_str().expect("text")).expect("JSON");
    inner["errorCode"].as_u64()
}

/// Checks the error of a failed operation that is not a method call. The member `Message` must start with the error
/// name `name`.
fn assert_named(reply: &Reply, name: &str, request: &str) {
    let text = |member: &str| reply.json()[member].as_str().expect("text").to_owned();
    assert!(text("Message").starts_with(&format!("ErrorCode:{name};")), "{request}: {}", reply.body);
    assert!(text("ExceptionMessage").starts_with("Tracking ID:"), "{request}: {}", reply.body);
}

#[tokio::test]
async fn twins_are_shown_and_patched() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device("localhost", "d#1").expect("a device");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let body = r#"{"tags":{"site":"a"},"properties":{"desired":{"interval":30},"reported":{"ignored":1}},"etag":"x"}"#;
    let patched = ask(&mut stream, "PATCH /hubs/LOCALHOST/twins/d%231", body).await;
    assert_eq!((patched.status, patched.header("content-type")), (200, Some("application/json; charset=utf-8")));
    let shown = http(&mut stream, "GET /hubs/localhost/twins/d%231 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let twin = shown.expect("an answer").json();
    assert_eq!(twin, patched.json());
    let stamp = twin["properties"]["desired"]["$metadata"]["$lastUpdated"].clone();
    let changed = json!({ "$lastUpdated": stamp, "$lastUpdatedVersion": 2 });
    let made = twin["properties"]["reported"]["$metadata"]["$lastUpdated"].clone();
    let expected = json!({
        "deviceId": "d#1",
        "etag": "AAAAAAAAAAI=",
        "deviceEtag": twin["deviceEtag"],
        "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z",
        "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        "modelId": "",
        "version": 3,
        "capabilities": { "iotEdge": false },
        "tags": { "site": "a" },
        "properties": {
            "desired": {
                "interval": 30,
                "$metadata": { "$lastUpdated": stamp, "$lastUpdatedVersion": 2, "interval": changed },
                "$version": 2,
            },
            "reported": { "$metadata": { "$lastUpdated": made }, "$version": 1 },
        },
    });
    assert_eq!(twin, expected);
    for body in ["{}", r#"{"properties":{}}"#] {
        let same = ask(&mut stream, "PATCH /hubs/localhost/twins/d%231", body).await;
        assert_eq!(same.json()["properties"], expected["properties"], "{body}");
    }
}

#[tokio::test]
async fn methods_are_called() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[("$iothub/methods/POST/#", 0)]).await;
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    for (body, payload, answer, expected) in [
        (
            r#"{"methodName":"m","payload":{"delay":3},"responseTimeoutInSeconds":300,"connectTimeoutInSeconds":0}"#,
            r#"{"delay":3}"#,
            r#"{"ok":true}"#,
            json!({"status": 200, "payload": {"ok": true}}),
        ),
        (r#"{"methodName":"m","payload":null}"#, "null", "null", json!({"status": 200, "payload": null})),
        (r#"{"methodName":"m"}"#, "", "", json!({"status": 200, "payload": null})),
    ] {
        let answering = async {
            let (topic, body, _) = read_publish(&receive(&mut device).await.expect("a call"));
            assert_eq!(body, payload);
            let id = topic.strip_prefix("$iothub/methods/POST/m/?$rid=").expect("a call");
            let topic = format!("$iothub/methods/res/200/?$rid={id}");
            send(&mut device, &publish(0, &topic, 0, answer.as_bytes())).await;
        };
        let (reply, ()) = tokio::join!(ask(&mut stream, "POST /hubs/localhost/twins/d1/methods", body), answering);
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
}

#[tokio::test]
async fn errors_have_the_format_of_the_hub() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device("localhost", "d1").expect("a device");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let (patch, call) = ("PATCH /hubs/localhost/twins/d1", "POST /hubs/localhost/twins/d1/methods");
    let method = |rest: &str| format!(r#"{{"methodName":"m"{rest}}}"#);
    let large = format!(r#"{{"methodName":"m","payload":"{}"}}"#, "x".repeat(131_072));
    let huge = "x".repeat(512 * 1024 + 1);
    for (request, body, status, name) in [
        (patch, "no JSON", 400, "IotHubFormatError"),
        (patch, "[]", 400, "IotHubFormatError"),
        (patch, r#"{"tags":1}"#, 400, "IotHubFormatError"),
        (patch, r#"{"tags":{"a b":1}}"#, 400, "ArgumentInvalid"),
        (patch, r#"{"properties":{"desired":{"$other":1}}}"#, 400, "ArgumentInvalid"),
        ("PATCH /hubs/localhost/twins/d2", "{}", 404, "DeviceNotFound"),
        ("PATCH /hubs/localhost/twins/d1/modules/m", "{}", 404, "DeviceNotFound"),
        ("GET /hubs/elsewhere/twins/d1", "", 401, "IotHubNotFound"),
        ("DELETE /hubs/localhost/twins/d1", "", 405, "GenericMethodNotAllowed"),
    ] {
        let reply = ask(&mut stream, request, body).await;
        assert_eq!((reply.status, reply.header("iothub-errorcode")), (status, Some(name)), "{request} {body:.80}");
        assert_named(&reply, name, request);
    }
    for (request, body, status, code, name) in [
        (call, method("").as_str(), 404, 404_103, "DeviceNotOnline"),
        ("POST /hubs/localhost/twins/d2/methods", &method(""), 404, 404_001, "DeviceNotFound"),
        (call, "{}", 400, 400_004, "ArgumentInvalid"),
        (call, r#"{"methodName":""}"#, 400, 400_004, "ArgumentInvalid"),
        (call, &method(r#","responseTimeoutInSeconds":4"#), 400, 400_004, "ArgumentInvalid"),
        (call, &method(r#","responseTimeoutInSeconds":301"#), 400, 400_004, "ArgumentInvalid"),
        (call, &method(r#","connectTimeoutInSeconds":301"#), 400, 400_004, "ArgumentInvalid"),
        (call, &large, 413, 413_001, "MessageTooLarge"),
        ("GET /hubs/localhost/twins/d1/methods", "", 405, 405_000, "GenericMethodNotAllowed"),
    ] {
        let reply = ask(&mut stream, request, body).await;
        let seen = (reply.status, nested_code(&reply), reply.header("iothub-errorcode"));
        assert_eq!(seen, (status, Some(code), Some(name)), "{request} {body:.80}");
    }
    // A page of another origin can make a browser send this.
    for (headers, status) in [
        ("Host: localhost\r\nContent-Type: text/plain\r\n", 415),
        ("Host: localhost\r\n", 415),
        ("Host: evil.example\r\nContent-Type: application/json\r\n", 403),
    ] {
        let request = format!("{patch} HTTP/1.1\r\n{headers}Content-Length: 2\r\n\r\n{{}}");
        assert_eq!(http(&mut stream, &request).await.expect("an answer").status, status, "{headers}");
        stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    }
    assert_eq!(ask(&mut stream, patch, &huge).await.status, 413);
    assert_eq!(emulator.twin("localhost", "d1").expect("a twin").version, 2, "nothing has changed");
}
