//! Tests of the client with a peer that sends scripted answers over plain HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubward_proto::service::{CloudMessage, DeliveryAck, Device, IndividualEnrollment, MethodRequest};
use hubward_service::{AdminPort, Fault, Method, ServiceError, ServiceOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A peer that answers each request with the next text of a script. If this text is empty, the peer closes the
/// connection. The peer records the requests.
struct Peer {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    async fn start<T: Into<String>>(script: impl IntoIterator<Item = T>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let script: Vec<String> = script.into_iter().map(Into::into).collect();
        tokio::spawn(serve(listener, script, Arc::clone(&asked)));
        Self { address, asked }
    }

    fn port(&self, options: ServiceOptions) -> AdminPort {
        AdminPort::new(&self.address, &options).expect("a URL")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|it| it.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

async fn serve(listener: TcpListener, script: Vec<String>, asked: Arc<Mutex<Vec<String>>>) {
    let mut script = script.into_iter();
    'connections: while let Ok((mut stream, _)) = listener.accept().await {
        while let Some(request) = read_request(&mut stream).await {
            asked.lock().expect("not poisoned").push(request);
            match script.next() {
                Some(answer) if !answer.is_empty() => {
                    stream.write_all(answer.as_bytes()).await.expect("written");
                }
                Some(_) => continue 'connections,
                // The script is over: send no answer.
                None => std::future::pending().await,
            }
        }
    }
}

/// Reads the head and the body of a request. Returns `None` if the connection has ended.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|it| it.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_match_the_service_apis() {
    let device = r#"{"deviceId":"d 1","etag":"MQ=="}"#;
    let enrollment = r#"{"registrationId":"d1","etag":"\"e1\""}"#;
    let script = [
        answer("200 OK", "", device),
        answer("200 OK", "", device),
        answer("204 No Content", "", ""),
        answer("200 OK", "", enrollment),
        answer("200 OK", "", r#"{"type":"symmetricKey"}"#),
        answer("200 OK", "", r#"{"status":200,"payload":null}"#),
    ];
    let peer = Peer::start(script).await;
    let port = peer.port(ServiceOptions::new());
    let (hub, dps) = (port.hub("localhost"), port.dps());
    let device = hub.create_device(&Device::new("d 1")).await.expect("made");
    hub.update_device(&device).await.expect("updated");
    hub.delete_device("d 1").if_match("MQ==").await.expect("deleted");
    let mut enrollment = IndividualEnrollment::new("d1");
    enrollment.settings.etag = Some("\"e1\"".to_owned());
    dps.update_enrollment(&enrollment).await.expect("updated");
    dps.enrollment_attestation("d1").await.expect("shown");
    hub.invoke(("d 1", "m"), &MethodRequest::new("reboot")).await.expect("called");

    let asked = peer.asked();
    let expected = [
        (
            "PUT /hubs/localhost/devices/d%201?api-version=2021-04-12 HTTP/1.1",
            None,
            Some(r#"{"deviceId":"d 1","status":"enabled","statusReason":null,"authentication":{"type":"sas"}}"#),
        ),
        (
            "PUT /hubs/localhost/devices/d%201?api-version=2021-04-12 HTTP/1.1",
            Some("\"MQ==\""),
            Some(r#"{"deviceId":"d 1","etag":"MQ==","statusReason":null}"#),
        ),
        ("DELETE /hubs/localhost/devices/d%201?api-version=2021-04-12 HTTP/1.1", Some("\"MQ==\""), None),
        (
            "PUT /dps/enrollments/d1?api-version=2021-10-01 HTTP/1.1",
            Some("\"e1\""),
            Some(r#"{"registrationId":"d1","attestation":{"type":"symmetricKey"},"etag":"\"e1\""}"#),
        ),
        ("POST /dps/enrollments/d1/attestationmechanism?api-version=2021-10-01 HTTP/1.1", None, None),
        (
            "POST /hubs/localhost/twins/d%201/modules/m/methods?api-version=2021-04-12 HTTP/1.1",
            None,
            Some(r#"{"methodName":"reboot"}"#),
        ),
    ];
    assert_eq!(asked.len(), expected.len());
    for (request, (line, if_match, body)) in asked.iter().zip(expected) {
        let (head, text) = request.split_once("\r\n\r\n").expect("a head");
        let header = |name: &str| {
            head.lines()
                .find_map(|it| it.split_once(": ").filter(|(it, _)| it.eq_ignore_ascii_case(name)))
                .map(|it| it.1)
        };
        assert_eq!(head.lines().next(), Some(line));
        assert_eq!(header("if-match"), if_match, "{head}");
        assert_eq!(text, body.unwrap_or_default(), "{head}");
        assert_eq!(header("content-type"), body.map(|_| "application/json; charset=utf-8"), "{head}");
        assert_eq!(header("authorization"), None, "{head}");
        assert_eq!(header("x-ms-client-request-id").map(str::len), Some(36), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_retried_and_a_change_is_not() {
    let busy = || answer("503 Service Unavailable", "", r#"{"errorCode":503001,"message":"busy"}"#);
    let throttled = || answer("429 Too Many Requests", "retry-after: 2\r\n", "");
    let good = || answer("200 OK", "", r#"{"deviceId":"d1"}"#);

    let peer = Peer::start([busy(), throttled(), String::new(), good()]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    assert_eq!(hub.device("d1").await.expect("the fourth attempt").device_id, "d1");
    assert_eq!(peer.lines().len(), 4);

    let peer = Peer::start([throttled(), busy(), good()]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let error = hub.create_device(&Device::new("d1")).await.expect_err("503 without a time");
    assert_eq!((error.fault(), peer.lines().len()), (Fault::Service, 2));
    assert_eq!(error.refused().and_then(|it| it.code), Some(503_001), "{error}");

    let peer = Peer::start([String::new(), good()]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let error = hub.create_device(&Device::new("d1")).await.expect_err("the answer is lost");
    assert!(matches!(error, ServiceError::Closed { .. }), "{error}");
    assert_eq!(peer.lines().len(), 1);

    let peer = Peer::start(std::iter::repeat_with(throttled).take(9)).await;
    let hub = peer.port(ServiceOptions::new().attempts(3)).hub("localhost");
    let error = hub.device("d1").await.expect_err("three attempts");
    assert_eq!((error.fault(), peer.lines().len()), (Fault::Throttled, 3));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_deadline_fails_immediately_and_a_missing_answer_times_out() {
    let later = answer("429 Too Many Requests", "retry-after: 3600\r\n", "");
    let peer = Peer::start([later]).await;
    let port = peer.port(ServiceOptions::new().deadline(Duration::from_secs(10)));
    let error = port.hub("localhost").device("d1").await.expect_err("an hour is too long");
    assert_eq!(error.refused().and_then(|it| it.retry_after), Some(Duration::from_secs(3600)));
    // The script is over, so the peer does not answer.
    let error = port.hub("localhost").device("d1").await.expect_err("no answer");
    assert!(matches!(error, ServiceError::Timeout { after, .. } if after == Duration::from_secs(10)), "{error}");
    // The timeouts of a method extend the deadline.
    let mut call = MethodRequest::new("slow");
    call.response_timeout_in_seconds = Some(100);
    let error = port.hub("localhost").invoke("d1", &call).await.expect_err("no answer");
    assert!(matches!(error, ServiceError::Timeout { after, .. } if after == Duration::from_secs(110)), "{error}");
}

#[tokio::test]
async fn pages_are_requested_until_the_last_one() {
    let page = |next: &str, body: &str| {
        let next = if next.is_empty() { String::new() } else { format!("x-ms-continuation: {next}\r\n") };
        answer("200 OK", &format!("{next}x-ms-item-type: Raw\r\n"), body)
    };
    let peer = Peer::start([page("a b", r#"[{"n":1}]"#), page("c", "[]"), page("", r#"[{"n":2}, {"n":3}]"#)]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let mut pager = hub.query("SELECT n FROM devices").page_size(1);
    let first = pager.next_page().await.expect("a page").expect("the first");
    assert_eq!(
        (first.items.len(), first.item_type.as_deref(), first.continuation.as_deref()),
        (1, Some("Raw"), Some("a b"))
    );
    assert_eq!(pager.all().await.expect("the others").len(), 2);
    let asked = peer.asked();
    assert!(asked[0].ends_with("\r\n\r\n{\"query\":\"SELECT n FROM devices\"}"), "{}", asked[0]);
    for (request, continuation) in asked.iter().zip([None, Some("a b"), Some("c")]) {
        let text = request.to_ascii_lowercase();
        assert!(text.contains("x-ms-max-item-count: 1\r\n"), "{request}");
        let found = text.lines().find_map(|it| it.strip_prefix("x-ms-continuation: "));
        assert_eq!(found, continuation, "{request}");
    }

    let peer = Peer::start([page("a", "[1, 2]"), page("b", "[3, 4]")]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    assert_eq!(hub.query("q").limit(3).all().await.expect("three").len(), 3);
    let peer = Peer::start([page("a", "[]"), page("a", "[]")]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let error = hub.query("q").all().await.expect_err("it never ends");
    assert_eq!(error.fault(), Fault::Peer, "{error}");
}

#[tokio::test]
async fn refusals_are_parsed_in_every_form_and_bulk_results_are_answers() {
    let named = r#"{"Message":"ErrorCode:DeviceNotFound;d1","ExceptionMessage":"Tracking ID:aeec-G:0"}"#;
    let dps = r#"{"errorCode":404201,"trackingId":"t-1","message":"no such\nenrollment","timestampUtc":"2024"}"#;
    let bulk = concat!(
        r#"{"isSuccessful":false,"errors":[{"deviceId":"d1","errorCode":409001,"errorStatus":"exists"}],"#,
        r#""warnings":[]}"#
    );
    let script = [
        answer("404 Not Found", "iothub-errorcode: DeviceNotFound\r\ndate: Tue, 24 Nov 2026 02:00:00 GMT\r\n", named),
        answer("404 Not Found", "", dps),
        answer("502 Bad Gateway", "x-ms-request-id: r-1\r\n", "<html>\u{7}bad</html>"),
        answer("400 Bad Request", "", bulk),
        answer("400 Bad Request", "", r#"{"Message":"ErrorCode:ArgumentInvalid;no array"}"#),
        answer("200 OK", "", r#"{"deviceId":"#),
    ];
    let peer = Peer::start(script).await;
    let port = peer.port(ServiceOptions::new().attempts(1));
    let (hub, dps) = (port.hub("localhost"), port.dps());

    let error = hub.device("d1").await.expect_err("unknown");
    let refused = error.refused().expect("a refusal");
    assert_eq!((refused.name.as_deref(), refused.code), (Some("DeviceNotFound"), Some(404_001)));
    assert_eq!((refused.message.as_deref(), refused.tracking_id.as_deref()), (Some("d1"), Some("aeec-G:0")));
    assert!(refused.server_time.is_some() && error.is_not_found());

    let error = dps.enrollment("d1").await.expect_err("unknown");
    let refused = error.refused().expect("a refusal");
    assert_eq!((refused.name.as_deref(), refused.code), (None, Some(404_201)));
    assert_eq!((refused.message.as_deref(), refused.tracking_id.as_deref()), (Some("no such enrollment"), Some("t-1")));

    let error = hub.statistics().await.expect_err("a gateway");
    let refused = error.refused().expect("a refusal");
    assert_eq!((refused.message.as_deref(), refused.tracking_id.as_deref()), (Some("<html> bad</html>"), Some("r-1")));

    let result = hub.bulk_devices(&[]).await.expect("a result, though with 400");
    assert_eq!((result.is_successful, result.errors.len()), (false, 1));
    let error = hub.bulk_devices(&[]).await.expect_err("a refusal of all");
    assert_eq!(error.refused().and_then(|it| it.name.as_deref()), Some("ArgumentInvalid"));

    let error = hub.device("d1").await.expect_err("half an answer");
    assert_eq!(error.fault(), Fault::Peer, "{error}");
}

/// A hub forwards the response of a device without checking it. If the response is not JSON, the error must name the
/// device.
///
/// Source: Azure/azure-iot-sdk-node 736 and Azure/azure-iot-sdk-c 1641.
#[tokio::test]
async fn a_device_answer_that_is_not_json_is_the_devices_fault() {
    let script = ["{'ok': true}", "{\"ok\":true}\0", "", "{\"ok\":"];
    let pasted = script.map(|it| answer("200 OK", "", &format!(r#"{{"status":200,"payload":{it}}}"#)));
    let peer = Peer::start(pasted).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let method = MethodRequest::new("reboot");
    for error in [
        hub.invoke("d1", &method).await.expect_err("single quotes"),
        hub.invoke("d1", &method).raw().await.expect_err("a NUL"),
        hub.invoke("d1", &method).verbatim().await.expect_err("nothing"),
    ] {
        assert_eq!(error.fault(), Fault::Service, "{error}");
        assert!(error.to_string().starts_with("`d1` answered the method with text that is not JSON"), "{error}");
        assert!(error.advice().is_some_and(|it| it.contains("device's program")), "{error}");
    }
    let error = hub.invoke(("d1", "m"), &method).await.expect_err("half an object");
    assert!(matches!(&error, ServiceError::DeviceResponse { device, .. } if device == "d1/m"), "{error}");
}

/// The headers match those that azure-iot-explorer and azure-iot-device-http send.
#[tokio::test]
async fn a_message_is_sent_to_a_device() {
    let peer = Peer::start([answer("204 No Content", "", "")]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    let message = CloudMessage::new("hello").message_id("m1").ack(DeliveryAck::Full).property("k", "v 1");
    hub.send_message("d 1", &message).await.expect("sent");
    let upper = CloudMessage::new("").property("Kind", "order");
    let error = hub.send_message("d1", &upper).await.expect_err("HTTP would change the name");
    assert_eq!((error.fault(), peer.lines().len()), (Fault::Request, 1), "{error}");
    let asked = &peer.asked()[0];
    let line = "POST /hubs/localhost/devices/d%201/messages/deviceBound?api-version=2020-09-30 HTTP/1.1\r\n";
    assert!(asked.starts_with(line) && asked.ends_with("\r\n\r\nhello"), "{asked}");
    for header in [
        "iothub-messageid: m1",
        "iothub-ack: full",
        "iothub-app-k: v 1",
        "content-type: application/octet-stream",
        "content-length: 5",
    ] {
        assert!(asked.contains(&format!("\r\n{header}\r\n")), "{header}: {asked}");
    }
}

#[tokio::test]
async fn raw_is_the_services_own_json() {
    let body = "{ \"deviceId\": \"d1\", \"news\": 1.0 }";
    let peer =
        Peer::start([answer("200 OK", "", body), answer("200 OK", "", body), answer("204 No Content", "", "")]).await;
    let hub = peer.port(ServiceOptions::new()).hub("localhost");
    assert_eq!(hub.device("d1").verbatim().await.expect("JSON").get(), body);
    assert_eq!(hub.device("d1").raw().await.expect("JSON")["news"], 1.0);
    assert_eq!(hub.delete_device("d1").verbatim().await.expect("nothing").get(), "null");
    let error = hub.delete_device("d1").if_match("a\nb").await.expect_err("no header");
    assert_eq!((error.fault(), peer.lines().len()), (Fault::Request, 3), "{error}");
}

#[tokio::test]
async fn events_are_parsed_from_a_stream() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let script = [
        format!("{head}{}{}0\r\n\r\n", chunk("id: 7\nda"), chunk("ta: {\"a\":1}\n\nid: 8\ndata: x\n\n")),
        answer("404 Not Found", "", "no such hub"),
    ];
    let peer = Peer::start(script).await;
    let port = peer.port(ServiceOptions::new());
    let mut events = port.events("/api/telemetry/localhost", "from=7", Some("6")).await.expect("a stream");
    let event = events.next().await.expect("no failure").expect("an event");
    assert_eq!((event.id.as_deref(), event.data.as_str()), (Some("7"), r#"{"a":1}"#));
    assert_eq!(events.next().await.expect("no failure").and_then(|it| it.id).as_deref(), Some("8"));
    assert_eq!(events.next().await.expect("no failure"), None);
    let error = port.events("/api/telemetry/x", "", None).await.expect_err("unknown");
    assert!(error.is_not_found(), "{error}");
    let asked = peer.asked();
    assert!(asked[0].starts_with("GET /api/telemetry/localhost?from=7 HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].to_ascii_lowercase().contains("last-event-id: 6\r\n"), "{}", asked[0]);
    assert!(asked[1].starts_with("GET /api/telemetry/x HTTP/1.1\r\n"), "{}", asked[1]);
}

#[tokio::test]
async fn a_refused_connection_is_a_network_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let port = AdminPort::new(&address, &ServiceOptions::new()).expect("a URL");
    let error = port.call::<serde_json::Value>(Method::GET, "/health").await.expect_err("no program listens");
    assert!(matches!(error, ServiceError::Connect { .. }) && error.fault() == Fault::Network, "{error}");
    assert_eq!(error.endpoint(), Some(address.as_str()));
    assert!(error.advice().is_some());
}
