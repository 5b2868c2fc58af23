//! Devices with certificates, from DPS to their hub.

use std::time::Duration;

use hubward_emulator::{Emulator, EventKind};
use hubward_x509::Certificate;
use serde_json::{Value, json};

use crate::client::{QOS1, Tls, before_pong, http, publish, read_publish, receive, send, subscribe, tls};
use crate::lab::{self, Leaf};
use crate::service_hub::Operator;
use crate::websocket::{receive_frame, send_frame, upgrade};
use crate::x509_client::{ACCEPTED, NOT_AUTHORIZED, at_hub, connect, dps_username, hub_connect, tls_as};

const FILTER: &str = "$dps/registrations/res/#";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";
const HUB: &str = "localhost";

/// More than the validity of the certificates of the lab.
const FORTY_YEARS: Duration = Duration::from_secs(40 * 366 * 24 * 3600);

/// Sends one request over HTTPS with a certificate and without a token.
async fn over_https(stream: &mut Tls, line: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{line}?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = http(stream, &request).await.expect("an answer");
    (reply.status, reply.json())
}

/// Registers over HTTPS and polls until there is a result.
async fn register(emulator: &Emulator, id: &str, leaf: &Leaf, issuers: &[&Certificate]) -> Value {
    let mut stream = tls_as(emulator, emulator.https_addr(), leaf, issuers).await;
    let path = format!("/{}/registrations/{id}", emulator.id_scope());
    let (_, mut answer) = over_https(&mut stream, &format!("PUT {path}/register"), "{}").await;
    while answer["status"] == "assigning" {
        let operation = answer["operationId"].as_str().expect("an id").to_owned();
        answer = over_https(&mut stream, &format!("GET {path}/operations/{operation}"), "{}").await.1;
    }
    answer
}

/// Registers over MQTT without a password. Returns the status of the topic and the body.
async fn register_over_mqtt(stream: &mut Tls, emulator: &Emulator, id: &str) -> (String, Value) {
    send(stream, &connect(id, &dps_username(emulator, id))).await;
    assert_eq!(receive(stream).await.as_deref(), Some(ACCEPTED), "DPS judges the certificate at the registration");
    send(stream, &subscribe(1, &[(FILTER, 1)])).await;
    receive(stream).await.expect("a SUBACK");
    send(stream, &publish(QOS1, REGISTER, 2, b"")).await;
    receive(stream).await.expect("a PUBACK");
    let (topic, body, _) = read_publish(&receive(stream).await.expect("an answer"));
    let status = topic.trim_start_matches("$dps/registrations/res/").split('/').next().expect("a status").to_owned();
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn last_refusal(emulator: &Emulator) -> String {
    let events = emulator.events().all();
    let refused = events.iter().rev().find(|it| it.kind == EventKind::Refused);
    refused.map(|it| it.message.clone()).expect("a refusal with its reason")
}

#[tokio::test]
async fn an_individual_device_registers_and_connects() {
    let emulator = Emulator::start().await.expect("started");
    let (first, second) = (lab::self_signed("dev-1"), lab::self_signed("dev-1"));
    let enrollment = emulator.enrollment("dev-1").payload(json!({"from": "us"}));
    enrollment
        .create_with_certificates(&first.certificate.to_pem(), Some(&second.certificate.to_pem()))
        .expect("valid");

    let answer = register(&emulator, "DEV-1", &first, &[]).await;
    let state = &answer["registrationState"];
    assert_eq!((&answer["status"], &state["assignedHub"]), (&json!("assigned"), &json!(HUB)));
    assert_eq!((&state["x509"], state.get("symmetricKey")), (&json!({}), None));
    assert_eq!((&state["payload"], &state["deviceId"]), (&json!({"from": "us"}), &json!("DEV-1")));

    let thumbprint = first.certificate.sha256_thumbprint();
    let mut operator = Operator::new(&emulator).await;
    let shown = operator.ok("GET /devices/DEV-1", "", &Value::Null).await;
    assert_eq!(
        shown["authentication"],
        json!({
            "type": "selfSigned",
            "symmetricKey": { "primaryKey": null, "secondaryKey": null },
            "x509Thumbprint": { "primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint },
        })
    );

    let (mut stream, connack) = at_hub(&emulator, "DEV-1", &first, &[]).await;
    assert_eq!(connack, ACCEPTED);
    send(&mut stream, &publish(QOS1, "devices/DEV-1/messages/events/", 1, b"hi")).await;
    receive(&mut stream).await.expect("a PUBACK");
    let messages = emulator.telemetry(HUB).expect("the hub").wait_for(1).await;
    let stamp = ("iothub-connection-auth-method", r#"{"scope":"device","type":"x509","issuer":"iothub"}"#.to_owned());
    assert!(messages[0].stamps().contains(&stamp), "{:?}", messages[0].stamps());

    // The secondary certificate replaces the thumbprints. The open connection continues.
    assert_eq!(at_hub(&emulator, "DEV-1", &second, &[]).await.1, NOT_AUTHORIZED);
    assert_eq!(last_refusal(&emulator), "the certificate has none of the thumbprints of the identity");
    let answer = register(&emulator, "DEV-1", &second, &[]).await;
    assert_eq!(answer["registrationState"]["substatus"], "reprovisionedToInitialAssignment");
    let device = emulator.device(HUB, "DEV-1").expect("the device");
    assert_eq!(device.x509_thumbprint.primary_thumbprint, Some(second.certificate.sha256_thumbprint()));
    assert!(before_pong(&mut stream).await.is_empty(), "it is still connected");
    assert_eq!(at_hub(&emulator, "DEV-1", &first, &[]).await.1, NOT_AUTHORIZED);
    assert!(before_pong(&mut stream).await.is_empty(), "a refused device does not take over the connection");

    // A certificate that expires does not end the connection, but the device cannot connect again.
    let (mut stream, connack) = at_hub(&emulator, "DEV-1", &second, &[]).await;
    assert_eq!(connack, ACCEPTED);
    emulator.clock_ahead(FORTY_YEARS);
    assert!(before_pong(&mut stream).await.is_empty(), "it is still connected");
    assert_eq!(at_hub(&emulator, "DEV-1", &second, &[]).await.1, NOT_AUTHORIZED);
    assert_eq!(last_refusal(&emulator), "a certificate of the chain has expired");
}

#[tokio::test]
async fn a_device_of_a_group_registers_over_every_protocol() {
    let emulator = Emulator::start().await.expect("started");
    let root = lab::root("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.device("sn-1");
    let issuers = [&intermediate.certificate];
    emulator.add_authority("root-1", &root.certificate.to_pem(), true).expect("added");
    emulator.enrollment_group("Line-7").create_with_authorities("Root-1", None).expect("valid");
    let x509 = json!({ "enrollmentGroupId": "Line-7" });

    assert_eq!(register(&emulator, "sn-1", &leaf, &issuers).await["registrationState"]["x509"], x509);
    assert!(emulator.delete_registration("sn-1"));
    let mut stream = tls_as(&emulator, emulator.mqtt_addr(), &leaf, &issuers).await;
    assert_eq!(register_over_mqtt(&mut stream, &emulator, "sn-1").await.0, "202");
    assert_eq!(emulator.registration("sn-1").expect("registered").x509, Some(x509.clone()));

    assert!(emulator.delete_registration("sn-1"));
    let mut stream = tls_as(&emulator, emulator.https_addr(), &leaf, &issuers).await;
    upgrade(&mut stream, "/$iothub/websocket").await;
    send_frame(&mut stream, &connect("sn-1", &dps_username(&emulator, "sn-1"))).await;
    assert_eq!(receive_frame(&mut stream).await.1, ACCEPTED);
    send_frame(&mut stream, &publish(QOS1, REGISTER, 2, b"")).await;
    assert_eq!(receive_frame(&mut stream).await.1, b"\x40\x02\x00\x02");
    assert_eq!(emulator.registration("sn-1").expect("registered").x509, Some(x509));

    // The hub knows the device by its thumbprint, also over WebSocket.
    let mut stream = tls_as(&emulator, emulator.https_addr(), &leaf, &[]).await;
    upgrade(&mut stream, "/$iothub/websocket").await;
    send_frame(&mut stream, &connect("sn-1", "localhost/sn-1/?api-version=2021-04-12")).await;
    assert_eq!(receive_frame(&mut stream).await.1, ACCEPTED);

    // After the certificate of the authority is deleted, the device cannot register again.
    assert!(emulator.delete_authority("ROOT-1"));
    let answer = register(&emulator, "sn-1", &leaf, &issuers).await;
    assert_eq!((&answer["errorCode"], &answer["message"]), (&json!(401_002), &json!("CA certificate not found.")));
}

#[tokio::test]
async fn refusals_say_what_the_service_says_and_the_log_says_why() {
    let emulator = Emulator::start().await.expect("started");
    let root = lab::root("root");
    let (leaf, stranger) = (root.device("dev-1"), lab::self_signed("dev-1"));
    let expired = root.device_of(Some("dev-1"), (2020, 2021));
    emulator.enrollment_group("g").create_with_certificates(&root.certificate.to_pem(), None).expect("valid");
    let (old_ca, no_ca) = (root.intermediate_of("old", (2020, 2021)), root.not_an_authority("no CA"));
    let (of_old_ca, of_no_ca) = (old_ca.device("dev-1"), no_ca.device("dev-1"));
    let not_found = "CA certificate not found.";
    for (name, id, device, issuers, message, why) in [
        ("an unknown CA", "dev-1", &stranger, vec![], not_found, "no group has a certificate that issued"),
        ("expired", "dev-1", &expired, vec![], "Unauthorized", "the certificate `CN=dev-1` expired at 2021-01-01"),
        ("another name", "dev-2", &leaf, vec![], "Unauthorized", "the common name of the certificate is `dev-1`"),
        ("an old CA", "dev-1", &of_old_ca, vec![&old_ca.certificate], "Unauthorized", "`CN=old` expired at 2021-01-01"),
        ("no CA", "dev-1", &of_no_ca, vec![&no_ca.certificate], not_found, "is not a CA certificate"),
    ] {
        let answer = register(&emulator, id, device, &issuers).await;
        assert_eq!((&answer["errorCode"], &answer["message"]), (&json!(401_002), &json!(message)), "{name}");
        assert!(last_refusal(&emulator).contains(why), "{name}: {}", last_refusal(&emulator));
        let mut stream = tls_as(&emulator, emulator.mqtt_addr(), device, &issuers).await;
        let (status, answer) = register_over_mqtt(&mut stream, &emulator, id).await;
        assert_eq!(status, "401", "{name}");
        assert_eq!((&answer["errorCode"], &answer["message"]), (&json!(401_002), &json!(message)), "{name}");
        assert!(last_refusal(&emulator).contains(why), "{name}: {}", last_refusal(&emulator));
    }
    emulator.disable_group("g").expect("there");
    assert_eq!(register(&emulator, "dev-1", &leaf, &[]).await["status"], "disabled");

    // A token that cannot be read is refused, although the certificate is valid.
    emulator.enable_group("g").expect("there");
    let mut stream = tls_as(&emulator, emulator.https_addr(), &leaf, &[]).await;
    let request = format!(
        "PUT /{}/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: nonsense\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope()
    );
    assert_eq!(http(&mut stream, &request).await.expect("an answer").status, 401);
    // Without a certificate and without a password, DPS and the hub refuse the CONNECT.
    for (client_id, username) in
        [("dev-1", dps_username(&emulator, "dev-1")), ("dev-1", "localhost/dev-1/?api-version=2021-04-12".into())]
    {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        send(&mut stream, &connect(client_id, &username)).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(NOT_AUTHORIZED), "{username}");
        assert_eq!(last_refusal(&emulator), "neither a SAS token nor a client certificate");
    }
}

#[tokio::test]
async fn a_hub_accepts_devices_and_modules_of_a_verified_authority() {
    let emulator = Emulator::start().await.expect("started");
    let root = lab::root("root");
    let (device, module) = (root.device("d1"), root.device("d1/m1"));
    emulator.add_ca_signed_device(HUB, "d1").expect("a device");
    emulator.add_ca_signed_module(HUB, "d1", "m1").expect("a module");
    emulator.add_authority("root-1", &root.certificate.to_pem(), false).expect("added");
    assert_eq!(at_hub(&emulator, "d1", &device, &[]).await.1, NOT_AUTHORIZED);
    assert_eq!(last_refusal(&emulator), "the CA certificate is not verified");
    emulator.add_authority("root-1", &root.certificate.to_pem(), true).expect("replaced");
    assert_eq!(at_hub(&emulator, "d1", &device, &[]).await.1, ACCEPTED);
    assert_eq!(at_hub(&emulator, "d1/m1", &module, &[&root.certificate]).await.1, ACCEPTED);
    assert_eq!(at_hub(&emulator, "d1/m1", &device, &[]).await.1, NOT_AUTHORIZED, "the name of the device");
    let by_thumbprint = lab::self_signed("anything");
    let thumbprint = by_thumbprint.certificate.sha1_thumbprint();
    emulator.add_self_signed_module(HUB, "d1", "m1", &thumbprint, None).expect("replaced");
    let mut stream = tls_as(&emulator, emulator.mqtt_addr(), &by_thumbprint, &[]).await;
    assert_eq!(hub_connect(&mut stream, "d1/m1").await, ACCEPTED);
}

#[tokio::test]
async fn a_device_with_a_certificate_moves_with_its_twin() {
    let emulator = Emulator::builder().hubs(["localhost", "hub-b.example"]).start().await.expect("started");
    let leaf = lab::self_signed("dev-1");
    let pem = leaf.certificate.to_pem();
    emulator.enrollment("dev-1").hubs([HUB]).create_with_certificates(&pem, None).expect("valid");
    register(&emulator, "dev-1", &leaf, &[]).await;
    emulator.patch_tags(HUB, "dev-1", json!({"site": "north"})).expect("a twin");
    emulator.enrollment("dev-1").hubs(["hub-b.example"]).create_with_certificates(&pem, None).expect("valid");
    let answer = register(&emulator, "dev-1", &leaf, &[]).await;
    let state = &answer["registrationState"];
    assert_eq!((&state["substatus"], &state["x509"]), (&json!("deviceDataMigrated"), &json!({})));
    let device = emulator.device("hub-b.example", "dev-1").expect("moved");
    assert_eq!(device.authentication_type, "selfSigned");
    assert_eq!(device.x509_thumbprint.secondary_thumbprint, Some(leaf.certificate.sha256_thumbprint()));
    assert_eq!(emulator.twin("hub-b.example", "dev-1").expect("a twin").tags["site"], "north");
    assert!(emulator.device(HUB, "dev-1").is_none());
}
