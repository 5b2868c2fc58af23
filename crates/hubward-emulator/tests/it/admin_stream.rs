//! Streams at the admin port: server-sent events and JSON lines.

use std::time::Duration;

use hubward_emulator::{Emulator, EventKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{QOS1, Tls, http, listening, patient, publish, read_head, receive, send};

/// A body that arrives in chunks.
struct Chunked {
    stream: TcpStream,
    text: String,
    head: String,
}

impl Chunked {
    async fn open(emulator: &Emulator, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        send(&mut stream, request.as_bytes()).await;
        let head = patient(read_head(&mut stream)).await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Self { stream, text: String::new(), head }
    }

    /// Reads the next chunk; returns `false` at the end.
    async fn chunk(&mut self) -> bool {
        patient(async {
            let mut length = String::new();
            while !length.ends_with("\r\n") {
                length.push(char::from(self.stream.read_u8().await.expect("a length")));
            }
            let length = usize::from_str_radix(length.trim(), 16).expect("a number");
            let mut bytes = vec![0; length + 2];
            self.stream.read_exact(&mut bytes).await.expect("a chunk");
            self.text.push_str(std::str::from_utf8(&bytes[..length]).expect("UTF-8"));
            length > 0
        })
        .await
    }

    /// Reads until the text contains `wanted`.
    async fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            assert!(self.chunk().await, "{wanted} in {}", self.text);
        }
    }

    async fn rest(mut self) -> String {
        while self.chunk().await {}
        self.text
    }

    /// The `data` of all events so far.
    fn data(&self) -> Vec<Value> {
        let lines = self.text.lines().filter_map(|it| it.strip_prefix("data: "));
        lines.map(|it| serde_json::from_str(it).expect("JSON")).collect()
    }
}

async fn telemetry(device: &mut Tls, body: &[u8]) {
    send(device, &publish(QOS1, "devices/d1/messages/events/line=7", 1, body)).await;
    assert_eq!(receive(device).await.expect("a PUBACK")[0], 0x40);
}

#[tokio::test]
async fn telemetry_streams_from_any_offset() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    for body in [&br#"{"t":1}"#[..], b"\xff\x00", b"three"] {
        telemetry(&mut device, body).await;
    }
    let mut all = Chunked::open(&emulator, "/api/telemetry/LOCALHOST", "").await;
    assert!(all.head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{}", all.head);
    all.until("id: 2\n").await;
    assert!(all.text.starts_with("retry: 1000\n\nid: 0\ndata: {"), "{}", all.text);
    let data = all.data();
    assert_eq!((&data[0]["body"], &data[0]["properties"]), (&json!(r#"{"t":1}"#), &json!({"line": "7"})));
    assert_eq!((&data[1]["bodyBase64"], &data[1]["deviceId"]), (&json!("/wA="), &json!("d1")));
    assert_eq!(data[2]["systemProperties"]["iothub-connection-device-id"], "d1");

    let mut tail = Chunked::open(&emulator, "/api/telemetry/localhost?from=latest", "").await;
    tail.until("retry").await;
    let mut resumed = Chunked::open(&emulator, "/api/telemetry/localhost?from=0", "Last-Event-ID: 1\r\n").await;
    let mut other = Chunked::open(&emulator, "/api/telemetry/localhost?device=d2", "").await;
    let mut stale = Chunked::open(&emulator, "/api/telemetry/localhost", "Last-Event-ID: 77\r\n").await;
    telemetry(&mut device, b"four").await;
    for (stream, offsets) in [(&mut tail, &[3][..]), (&mut resumed, &[2, 3]), (&mut all, &[0, 1, 2, 3])] {
        stream.until("\"four\"").await;
        let seen: Vec<_> = stream.data().iter().filter_map(|it| it["offset"].as_u64()).collect();
        assert_eq!(seen, offsets);
    }
    stale.until("id: 3").await;
    assert!(stale.text.starts_with("retry: 1000\n\nevent: restarted\ndata: {\"next\":0}\n\nid: 0\n"), "{}", stale.text);
    other.until("retry").await;
    assert!(other.data().is_empty());

    // A stream ends cleanly when the emulator shuts down.
    emulator.shutdown().await;
    assert!(all.rest().await.ends_with("\n\n"));
}

#[tokio::test]
async fn telemetry_is_exported_as_lines_of_json() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    let empty = Chunked::open(&emulator, "/api/telemetry/localhost/export", "").await;
    assert_eq!(empty.rest().await, "");
    for number in 0..700 {
        telemetry(&mut device, format!("{{\"number\":{number}}}").as_bytes()).await;
    }
    let export = Chunked::open(&emulator, "/api/telemetry/localhost/export?from=1", "").await;
    let head = export.head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    assert!(head.contains("content-disposition: attachment; filename=\"telemetry-localhost.jsonl\""), "{head}");
    let text = export.rest().await;
    let offsets: Vec<_> =
        text.lines().map(|it| serde_json::from_str::<Value>(it).expect("JSON")["offset"].as_u64()).collect();
    assert_eq!(offsets, (1..700).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_are_streamed_and_returned_in_pages() {
    let emulator = Emulator::start().await.expect("started");
    let mut refusals = Chunked::open(&emulator, "/api/events?kind=deviceCreated,deviceDeleted", "").await;
    emulator.enroll("dev-1").expect("enrolled");
    emulator.add_device("localhost", "d1").expect("a device");
    emulator.delete_device("localhost", "d1");
    refusals.until("deviceDeleted").await;
    let kinds: Vec<_> = refusals.data().iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["deviceCreated", "deviceDeleted"]);
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let page = http(&mut stream, "GET /api/events?format=json&from=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let page = page.expect("an answer").json();
    assert_eq!((page["events"].as_array().map(Vec::len), &page["next"]), (Some(2), &json!(3)));
    assert_eq!(
        (&page["events"][0]["id"], &page["events"][0]["hub"], &page["events"][0]["source"]),
        (&json!("d1"), &json!("localhost"), &json!("hub"))
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_misses_messages_and_delays_no_other_client() {
    let emulator = Emulator::builder().telemetry_retention(10).start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    // This client does not read yet.
    let mut stuck = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    stuck.write_all(b"GET /api/telemetry/localhost HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let body = vec![b'a'; 200_000];
    let mut live = Chunked::open(&emulator, "/api/telemetry/localhost", "").await;
    for number in 0..60 {
        telemetry(&mut device, &body).await;
        live.until(&format!("id: {number}\n")).await;
        live.text.clear();
    }
    // The client starts to read. It gets the buffered messages, then the number of skipped messages, then the ten
    // newest messages, which the log still has (offsets 50 to 59).
    let mut late =
        Chunked { head: patient(read_head(&mut stuck)).await.expect("a head"), stream: stuck, text: String::new() };
    late.until("\"offset\":59").await;
    let gap = late.text.lines().skip_while(|it| *it != "event: skipped").nth(1).expect("a gap");
    let gap: Value = serde_json::from_str(gap.strip_prefix("data: ").expect("data")).expect("JSON");
    assert!(gap["skipped"].as_u64().is_some_and(|it| it > 0) && gap["next"] == 50, "{gap}");
}

#[tokio::test]
async fn streams_do_not_take_every_slot() {
    let emulator = Emulator::start().await.expect("started");
    let mut streams = Vec::new();
    for _ in 0..128 {
        streams.push(Chunked::open(&emulator, "/api/events", "").await);
    }
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let more = "GET /api/telemetry/localhost HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(http(&mut stream, more).await.expect("an answer").status, 503);
    let health = http(&mut stream, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer");
    assert_eq!(health.status, 200, "other requests are still answered");
    // The emulator needs a moment to notice that the clients have closed their streams. Wait with HEAD requests,
    // because a HEAD request does not open a stream.
    streams.clear();
    patient(async { while http(&mut stream, &more.replace("GET", "HEAD")).await.expect("an answer").status == 503 {} })
        .await;
    Chunked::open(&emulator, "/api/events", "").await.until("retry").await;
}

#[tokio::test]
async fn status_clock_and_disconnect_requests_work() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    telemetry(&mut device, b"x").await;
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let status =
        http(&mut stream, "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer").json();
    assert_eq!(
        status["hubs"][0],
        json!({"hub": "localhost", "devices": 1, "modules": 0, "connected": 1, "telemetry": 1})
    );
    assert_eq!((&status["emulator"]["idScope"], &status["dps"]["enrollments"]), (&json!("0ne000DECADE"), &json!(0)));
    let keys = http(&mut stream, "GET /api/keys HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer").json();
    let owner = &keys["policies"][0];
    assert_eq!((&owner["host"], &owner["policy"]), (&json!("localhost"), &json!("iothubowner")));
    assert_eq!(owner["connectionString"], emulator.hub_connection_string("localhost").expect("the hub"));

    for (path, status, disconnected) in [
        ("/api/devices/localhost/d1/disconnect", 200, json!(true)),
        ("/api/devices/localhost/d2/disconnect", 404, Value::Null),
        ("/api/devices/other/d1/disconnect", 404, Value::Null),
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert_eq!((reply.status, &reply.json()["disconnected"]), (status, &disconnected), "{path}");
    }
    emulator.events().wait_for(|it| it.kind == EventKind::Disconnected).await;
    for (line, body, status, allow) in [
        ("GET /api/devices/localhost/d1/disconnect", "", 405, Some("POST")),
        ("DELETE /api/status", "", 405, Some("GET, HEAD")),
        ("GET /api/nothing", "", 404, None),
        ("GET /api/telemetry/other", "", 404, None),
        ("GET /api/telemetry/localhost?from=x", "", 400, None),
        ("GET /api/events?colour=red", "", 400, None),
        ("POST /api/clock", "{\"aheadSeconds\":-1}", 400, None),
        ("POST /api/clock", "{\"aheadSeconds\":99999999999}", 400, None),
        ("POST /api/clock", "{\"ahead\":1}", 400, None),
        ("POST /api/clock", "", 400, None),
    ] {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert_eq!((reply.status, reply.header("allow")), (status, allow), "{request}");
        assert!(!reply.json()["message"].as_str().expect("a sentence").is_empty());
    }
    let day = Duration::from_secs(86_400);
    emulator.clock_ahead(day);
    let clock =
        http(&mut stream, "GET /api/clock HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer").json();
    assert_eq!(clock["aheadSeconds"], 86_400);
}
