//! The journal: events for tests and operators.

use hubward_emulator::{Emulator, EventKind, EventSource};
use hubward_sas::SharedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{dps_token, http, hub_connect, tls};

/// Registers over HTTPS with this key.
async fn register(emulator: &Emulator, id: &str, key: &SharedKey) -> u16 {
    let mut stream = tls(emulator, emulator.https_addr()).await;
    let body = format!(r#"{{"registrationId":"{id}"}}"#);
    let request = format!(
        "PUT /{}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
        emulator.id_scope(),
        dps_token(emulator, key, id),
        body.len()
    );
    http(&mut stream, &request).await.expect("an answer").status
}

#[tokio::test]
async fn a_refusal_names_the_reason_that_the_service_does_not_disclose() {
    let emulator = Emulator::start().await.expect("started");
    let enrollment = emulator.enroll("dev-1").expect("enrolled");
    let wrong_key = SharedKey::generate().expect("a key");
    assert_eq!(register(&emulator, "dev-1", &wrong_key).await, 401);
    let refused = emulator.events().wait_for(|it| it.kind == EventKind::Refused).await;
    assert_eq!(refused.to_string(), "dps refused dev-1: bad signature for its individual enrollment, 401002");
    assert_eq!((refused.source, refused.code), (EventSource::Dps, Some(401_002)));

    emulator.disable("dev-1").expect("it is there");
    assert_eq!(register(&emulator, "dev-1", enrollment.primary_key()).await, 200);
    emulator.events().wait_for(|it| it.to_string() == "dps refused dev-1: the enrollment is disabled").await;
    assert_eq!(register(&emulator, "dev-2", &wrong_key).await, 401);
    let unknown = emulator.events().wait_for(|it| it.id.as_deref() == Some("dev-2")).await;
    assert!(unknown.message.starts_with("no individual enrollment"), "{unknown}");
    let all = format!("{:?}", emulator.events().all());
    for key in [enrollment.primary_key(), &wrong_key] {
        assert!(!all.contains(key.expose_base64().as_str()), "{all}");
    }
}

#[tokio::test]
async fn events_cover_a_device_from_its_enrollment_to_its_deletion() {
    let emulator = Emulator::start().await.expect("started");
    let enrollment = emulator.enroll("Dev-1").expect("enrolled");
    assert_eq!(register(&emulator, "Dev-1", enrollment.primary_key()).await, 202);
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut device, "Dev-1", enrollment.primary_key(), true).await.expect("a CONNACK");
    emulator.disconnect_device("localhost", "Dev-1");
    emulator.events().wait_for(|it| it.kind == EventKind::Disconnected).await;
    let mut device = tls(&emulator, emulator.mqtt_addr()).await;
    hub_connect(&mut device, "Dev-1", &SharedKey::generate().expect("a key"), true).await.expect("a CONNACK");
    emulator.delete_device("localhost", "Dev-1");
    emulator.delete("Dev-1").expect("it is there");
    emulator.delete_registration("Dev-1");
    let events: Vec<String> = emulator.events().all().iter().map(ToString::to_string).collect();
    assert_eq!(
        events,
        [
            "dps created the enrollment Dev-1",
            "hub created Dev-1 at localhost",
            "dps registered Dev-1 at localhost: initialAssignment",
            "hub connected Dev-1 at localhost",
            "hub disconnected Dev-1 at localhost: a scripted fault ended the connection",
            "hub refused Dev-1 at localhost: bad signature, CONNACK 5",
            "hub deleted Dev-1 at localhost",
            "dps deleted the enrollment dev-1",
            "dps deleted the registration of dev-1",
        ]
    );
}

#[tokio::test]
async fn refused_service_requests_and_failed_handshakes_are_events() {
    let emulator = Emulator::start().await.expect("started");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    let request = "GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\n\
                   Authorization: SharedAccessSignature sr=x\r\n\r\n";
    assert_eq!(http(&mut stream, request).await.expect("an answer").status, 401);
    let refused = emulator.events().wait_for(|it| it.source == EventSource::DpsService).await;
    assert_eq!(
        refused.to_string(),
        "the service API of dps refused: GET /enrollments/d1: the SAS token cannot be read, 401002"
    );

    let other = Emulator::start().await.expect("started");
    let config = crate::client::tls_config(other.ca_pem(), rustls::DEFAULT_VERSIONS);
    crate::client::tls_with(config, emulator.mqtt_addr(), "localhost").await.expect_err("another CA");
    let failed = emulator.events().wait_for(|it| it.kind == EventKind::HandshakeFailed).await;
    assert!(failed.message.starts_with("the client asked for `localhost`: "), "{failed}");
    assert!(failed.message.contains("UnknownCA"), "{failed}");
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_an_event_that_contains_all_names() {
    let emulator = Emulator::builder().hubs(["hub.example"]).start().await.expect("started");
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        for address in [emulator.mqtt_addr(), emulator.https_addr()] {
            let config = crate::client::tls_config(emulator.ca_pem(), versions);
            let refused = crate::client::tls_with(config, address, "hub.exmaple").await.expect_err("a typing error");
            assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
        }
    }
    let failed = emulator.events().wait_for(|it| it.kind == EventKind::HandshakeFailed).await;
    assert_eq!(
        failed.to_string(),
        "the emulator had a TLS handshake fail: the client asked for `hub.exmaple`, but the emulator has certificates \
         only for 127.0.0.1, ::1, global.azure-devices-provisioning.net, hub.example, localhost"
    );
}

#[tokio::test]
async fn a_client_that_sends_nothing_causes_no_event() {
    let emulator = Emulator::start().await.expect("started");
    let mut tcp = TcpStream::connect(emulator.mqtt_addr()).await.expect("connected");
    tcp.shutdown().await.expect("the end of the client's bytes");
    // The emulator closes the connection after it has handled the end.
    assert_eq!(tcp.read(&mut [0; 16]).await.expect("the end of the emulator's bytes"), 0);
    tcp = TcpStream::connect(emulator.mqtt_addr()).await.expect("connected");
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let failed = emulator.events().wait_for(|it| it.kind == EventKind::HandshakeFailed).await;
    assert!(failed.message.contains("corrupt message"), "{failed}");
}
