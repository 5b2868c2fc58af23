//! Tests of two kinds of faults. The first kind cuts a response short. The second kind disables, deletes or moves the
//! device, or expires its token.

use hubward_emulator::{Ack, CloudToDevice, DeviceStatus, Emulator, EventKind, Fault, FaultScript, Point};
use hubward_sas::{SasToken, SharedKey};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::client::{
    QOS1, Tls, before_pong, dps_token, http, hub_connect, listening, now, patient, publish, read_head, receive, send,
    tls,
};

const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";
const REFUSED: &[u8] = b"\x20\x02\x00\x05";

fn register(emulator: &Emulator, id: &str, key: &SharedKey) -> String {
    let body = format!(r#"{{"registrationId":"{id}"}}"#);
    format!(
        "PUT /{}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
        emulator.id_scope(),
        dps_token(emulator, key, id),
        body.len()
    )
}

/// Reads the remaining bytes.
async fn rest(stream: &mut Tls) -> Vec<u8> {
    let mut rest = Vec::new();
    // The fault ends the connection without a TLS close_notify. An error while reading is expected.
    let _ = patient(stream.read_to_end(&mut rest)).await;
    rest
}

#[tokio::test]
async fn cut_after_ends_a_response_after_its_number_of_bytes() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("d1").expect("enrolled");
    for bytes in [0, 1, 20] {
        emulator.fault(Point::DpsRegister, Fault::CutAfter(bytes)).expect("fits");
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        send(&mut stream, register(&emulator, "d1", device.primary_key()).as_bytes()).await;
        let head = patient(read_head(&mut stream)).await.expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 202") && head.contains("content-length: "), "{head}");
        assert_eq!(rest(&mut stream).await.len(), bytes);
    }
    for point in [Point::MqttAccept, Point::HttpsAccept] {
        emulator.fault(point, Fault::CutAfter(100)).expect("fits");
        let address = if point == Point::MqttAccept { emulator.mqtt_addr() } else { emulator.https_addr() };
        let mut tcp = TcpStream::connect(address).await.expect("connected");
        let config = crate::client::tls_config(emulator.ca_pem(), rustls::DEFAULT_VERSIONS);
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let mut hello = Vec::new();
        rustls::ClientConnection::new(config, name).expect("a client").write_tls(&mut hello).expect("a hello");
        tokio::io::AsyncWriteExt::write_all(&mut tcp, &hello).await.expect("sent");
        let mut got = Vec::new();
        let _ = patient(tcp.read_to_end(&mut got)).await;
        assert_eq!(got.len(), 100, "{point:?}");
    }
    let key = emulator.add_device("localhost", "d1").expect("a device");
    emulator.fault(Point::HubConnect, Fault::CutAfter(3)).expect("fits");
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", &key, true).await, None, "three bytes are no CONNACK");
    let mut stream = listening(&emulator, &key, &[]).await;
    emulator.fault(Point::HubPublish, Fault::CutAfter(1)).expect("fits");
    send(&mut stream, &publish(QOS1, "devices/d1/messages/events/", 1, b"x")).await;
    assert_eq!(rest(&mut stream).await, [0x40]);
}

#[tokio::test]
async fn scripted_errors_have_their_scripted_headers() {
    let emulator = Emulator::start().await.expect("started");
    let device = emulator.enroll("d1").expect("enrolled");
    let fault = |status: u16| Fault::StatusWith {
        status,
        code: u32::from(status) * 1000 + 1,
        message: "m".into(),
        headers: vec![
            ("Retry-After".into(), "17".into()),
            ("x-odd".into(), "a".into()),
            ("no name".into(), "b".into()),
        ],
    };
    for status in [401, 403, 404, 412, 429, 500, 503] {
        for (point, request) in [
            (Point::DpsRegister, register(&emulator, "d1", device.primary_key())),
            (
                Point::DpsService,
                "GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            ),
            (
                Point::WebSocketUpgrade,
                "GET /$iothub/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n".into(),
            ),
        ] {
            emulator.fault(point, fault(status)).expect("fits");
            let mut stream = tls(&emulator, emulator.https_addr()).await;
            let reply = http(&mut stream, &request).await.expect("an answer");
            assert_eq!(
                (reply.status, reply.header("retry-after"), reply.header("x-odd")),
                (status, Some("17"), Some("a"))
            );
            assert_eq!(reply.json()["errorCode"], u32::from(status) * 1000 + 1, "{point:?}");
        }
    }
}

#[tokio::test]
async fn faults_happen_at_the_service_api_and_not_at_the_admin_port() {
    let emulator = Emulator::start().await.expect("started");
    emulator.enroll("d1").expect("enrolled");
    let login = hubward_sas::ConnectionString::parse(&emulator.dps_connection_string()).expect("a login");
    let key = SharedKey::from_base64(login.expose_shared_access_key().expect("a key")).expect("a key");
    let expiry = now().saturating_add(std::time::Duration::from_secs(60));
    let token = SasToken::sign(&key, login.host_name(), expiry, login.shared_access_key_name());
    let request = format!(
        "GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
        token.expose()
    );
    for (fault, status) in [
        (Fault::TokenExpired, 401),
        (Fault::throttled("3"), 429),
        (Fault::gateway_html(), 502),
        (Fault::Delay(std::time::Duration::from_millis(1)), 200),
    ] {
        emulator.fault(Point::DpsService, fault.clone()).expect("fits");
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        assert_eq!(http(&mut stream, &request).await.expect("an answer").status, status, "{fault:?}");
    }
    for fault in [Fault::Cut, Fault::CutAfter(5)] {
        emulator.fault(Point::DpsService, fault).expect("fits");
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        http(&mut stream, &request).await.map(|it| it.status).expect_err("it ends");
    }
    emulator.fault_always(Point::DpsService, Fault::wrong_json()).expect("fits");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let wrong = http(&mut stream, &request).await.expect("an answer");
    assert!(wrong.status == 200 && serde_json::from_str::<serde_json::Value>(&wrong.body).is_err(), "{}", wrong.body);
    #[cfg(feature = "admin")]
    {
        let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
        let open = http(&mut stream, "GET /dps/enrollments/d1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(open.expect("an answer").json()["registrationId"], "d1");
    }
}

#[tokio::test]
async fn errors_of_a_hub_have_the_format_of_a_hub() {
    let emulator = Emulator::start().await.expect("started");
    emulator.add_device("localhost", "d1").expect("a device");
    let login = emulator.hub_connection_string("localhost").expect("the hub");
    let login = hubward_sas::ConnectionString::parse(&login).expect("a login");
    let key = SharedKey::from_base64(login.expose_shared_access_key().expect("a key")).expect("a key");
    let expiry = now().saturating_add(std::time::Duration::from_secs(60));
    let token = SasToken::sign(&key, login.host_name(), expiry, login.shared_access_key_name());
    let request = |path: &str| {
        let authorization = token.expose();
        format!(
            "GET {path}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        )
    };
    emulator.fault(Point::HubService, Fault::status(412, 412_002, "an old etag")).expect("fits");
    emulator.fault(Point::HubService, Fault::throttled("9")).expect("fits");
    emulator.fault(Point::HubService, Fault::TokenExpired).expect("fits");
    for (path, status, text, retry_after) in [
        ("/devices/d1", 412, "an old etag", None),
        ("/twins/d1", 429, "ErrorCode:ThrottlingException;", Some("9")),
        ("/devices/d1", 401, "ErrorCode:IotHubUnauthorizedAccess;Unauthorized", None),
        ("/devices/d1", 200, "\"deviceId\":\"d1\"", None),
    ] {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        let reply = http(&mut stream, &request(path)).await.expect("an answer");
        assert_eq!((reply.status, reply.header("retry-after")), (status, retry_after), "{path}: {}", reply.body);
        assert!(reply.body.contains(text), "{path}: {}", reply.body);
        assert_eq!(reply.header("iothub-errorcode").is_some(), status != 200, "{path}");
    }
    assert_eq!(emulator.faults_left(Point::HubService), 0);
    // The response does not name the reason; only the journal does.
    let wrong = request("/devices/d1").replace("&sig=", "&sig=x");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    assert_eq!(http(&mut stream, &wrong).await.expect("an answer").status, 401);
    let refused = emulator.events().wait_for(|it| it.kind == EventKind::Refused).await;
    assert!(refused.message.starts_with("GET /devices/d1: "), "{refused}");
}

#[tokio::test]
async fn a_fault_that_changes_the_device_ends_its_connection_and_persists() {
    for (fault, cause, why) in [
        (Fault::TokenExpired, "the token has expired", None),
        (Fault::DeviceDisabled, "the device may not be connected any more", Some("the device is disabled")),
        (Fault::DeviceDeleted, "the device may not be connected any more", Some("no device of this id")),
        // There is only one hub, so the device cannot move.
        (Fault::HubMoved, "the device may not be connected any more", Some("no device of this id")),
    ] {
        let emulator = Emulator::start().await.expect("started");
        let key = emulator.add_device("localhost", "d1").expect("a device");
        let mut device = listening(&emulator, &key, &[]).await;
        emulator.script_fault(FaultScript::new(Point::HubPublish, fault.clone()).device("d2")).expect("fits");
        send(&mut device, &publish(QOS1, "devices/d1/messages/events/", 1, b"x")).await;
        assert_eq!(receive(&mut device).await.expect("a PUBACK")[0], 0x40, "it is for another device");
        emulator.script_fault(FaultScript::new(Point::HubPublish, fault.clone()).device("d1")).expect("fits");
        send(&mut device, &publish(QOS1, "devices/d1/messages/events/", 2, b"y")).await;
        assert_eq!(receive(&mut device).await, None, "{fault:?}");
        let ended = emulator.events().wait_for(|it| it.kind == EventKind::Disconnected).await;
        assert_eq!(ended.message, cause);
        assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 1, "{fault:?}: nothing is logged");

        let mut again = tls(&emulator, emulator.mqtt_addr()).await;
        let expected = if why.is_some() { REFUSED } else { ACCEPTED };
        assert_eq!(hub_connect(&mut again, "d1", &key, true).await.as_deref(), Some(expected), "{fault:?}");
        if let Some(why) = why {
            let refused = emulator.events().wait_for(|it| it.kind == EventKind::Refused).await;
            assert_eq!(refused.message, why);
        }
        assert_eq!(emulator.faults().len(), 1, "the one for d2");
    }
}

#[tokio::test]
async fn a_fault_at_connect_refuses_the_login() {
    for (fault, why) in [
        (Fault::TokenExpired, "the token has expired (a scripted fault)"),
        (Fault::DeviceDisabled, "the device is disabled"),
        (Fault::DeviceDeleted, "no device of this id"),
    ] {
        let emulator = Emulator::start().await.expect("started");
        let key = emulator.add_device("localhost", "d1").expect("a device");
        emulator.fault(Point::HubConnect, fault.clone()).expect("fits");
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        assert_eq!(hub_connect(&mut stream, "d1", &key, true).await.as_deref(), Some(REFUSED), "{fault:?}");
        let refused = emulator.events().wait_for(|it| it.kind == EventKind::Refused).await;
        assert_eq!(refused.message, why);
        if fault == Fault::DeviceDisabled {
            assert_eq!(emulator.device("localhost", "d1").expect("there").status, DeviceStatus::Disabled);
        }
    }
}

#[tokio::test]
async fn a_device_that_was_moved_finds_its_other_hub_through_dps() {
    let emulator = Emulator::builder().hubs(["localhost", "other.example"]).start().await.expect("started");
    let device = emulator.enrollment("d1").hubs(["localhost"]).create().expect("enrolled");
    let key = device.primary_key();
    let registered = async || {
        let mut stream = tls(&emulator, emulator.https_addr()).await;
        let reply = http(&mut stream, &register(&emulator, "d1", key)).await.expect("an answer");
        assert_eq!(reply.status, 202);
        emulator.registration("d1").expect("a record").assigned_hub
    };
    assert_eq!(registered().await.as_deref(), Some("localhost"));
    let mut connection = listening(&emulator, key, &[("$iothub/twin/res/#", 0)]).await;
    send(&mut connection, &publish(0, "$iothub/twin/PATCH/properties/reported/?$rid=1", 0, br#"{"a":1}"#)).await;
    assert_eq!(before_pong(&mut connection).await.len(), 1);

    // The device has not subscribed to messages, so they stay queued.
    emulator.send_to_device("localhost", "d1", CloudToDevice::new("x").message_id("m").ack(Ack::Full)).expect("queued");
    emulator.fault(Point::HubPublish, Fault::HubMoved).expect("fits");
    send(&mut connection, &publish(QOS1, "devices/d1/messages/events/", 1, b"x")).await;
    assert_eq!(receive(&mut connection).await, None);
    let mut again = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut again, "d1", key, true).await.as_deref(), Some(REFUSED), "the device has moved");
    assert_eq!(registered().await.as_deref(), Some("other.example"), "the fault overrides the enrollment");
    let twin = emulator.twin("other.example", "d1").expect("the twin moved with the device");
    assert_eq!(serde_json::json!(twin)["properties"]["reported"]["a"], 1);
    assert!(emulator.device("localhost", "d1").is_none());
    let waiting: Vec<_> = emulator.cloud_messages("other.example", "d1").into_iter().map(|it| it.message_id).collect();
    assert_eq!(waiting, ["m"], "its messages, too");
    let feedback = emulator.feedback("localhost");
    assert!(feedback.is_empty(), "there is no feedback for purged messages: {feedback:?}");

    // This time, the fault happens during a registration. It moves the device back to the first hub.
    emulator.fault(Point::DpsRegister, Fault::HubMoved).expect("fits");
    assert_eq!(registered().await.as_deref(), Some("localhost"));
    assert_eq!(registered().await.as_deref(), Some("localhost"));
    emulator.fault(Point::DpsRegister, Fault::HubMoved).expect("fits");
    assert_eq!(registered().await.as_deref(), Some("other.example"));
    emulator.clear_faults();
    assert_eq!(registered().await.as_deref(), Some("localhost"), "the enrollment counts again");
}

/// A client can claim any device id. If an unauthenticated client causes the event, the fault must not happen: the
/// device must not change, and the fault must wait for a later event.
#[tokio::test]
async fn an_unauthenticated_client_cannot_trigger_faults_that_change_a_device() {
    let emulator = Emulator::start().await.expect("started");
    let wrong_key = SharedKey::generate().expect("a key");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    emulator.fault(Point::HubConnect, Fault::DeviceDeleted).expect("fits");
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", &wrong_key, true).await.as_deref(), Some(REFUSED));
    assert!(emulator.device("localhost", "d1").is_some() && emulator.faults_left(Point::HubConnect) == 1);
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", &key, true).await.as_deref(), Some(REFUSED));
    assert!(emulator.device("localhost", "d1").is_none() && emulator.faults_left(Point::HubConnect) == 0);

    let device = emulator.enroll("d2").expect("enrolled");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    http(&mut stream, &register(&emulator, "d2", device.primary_key())).await.expect("an answer");
    emulator.fault(Point::DpsRegister, Fault::HubMoved).expect("fits");
    let refused = http(&mut stream, &register(&emulator, "d2", &wrong_key)).await.expect("an answer");
    assert_eq!((refused.status, emulator.faults_left(Point::DpsRegister)), (401, 1));
    assert!(emulator.device("localhost", "d2").is_some());
    http(&mut stream, &register(&emulator, "d2", device.primary_key())).await.expect("an answer");
    assert_eq!(emulator.faults_left(Point::DpsRegister), 0);
}
