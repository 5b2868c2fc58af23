//! Certificates that DPS issues at a registration.

use hubward_emulator::{Emulator, Seed};
use serde_json::{Value, json};

use crate::client::{Login, QOS1, Tls, connect, publish, read_publish, receive, send, subscribe, tls, token};
use crate::issuance::{HUB, at_dps, last_refusal, onboard, register, renew, request};
use crate::lab;
use crate::service_dps::{Operator, enrollment};
use crate::websocket::{receive_frame, send_frame, upgraded};
use crate::x509_client::{ACCEPTED, NOT_AUTHORIZED, at_hub, tls_as};

const PREVIEW: &str = "2025-07-01-preview";

/// An emulator whose DPS assigns a hub at the first poll.
async fn start() -> Emulator {
    Emulator::builder().polls_before_assigned(0).start().await.expect("started")
}

fn body(id: &str, csr: &str) -> String {
    json!({ "registrationId": id, "csr": csr }).to_string()
}

#[tokio::test]
async fn the_chain_is_in_the_assigned_state() {
    let emulator = start().await;
    emulator.put_credential_policy("Week", 7).expect("valid");
    let device = emulator.enrollment("d1").credential_policy("WEEK").create().expect("valid");
    let key = device.primary_key();
    let new = request("d1");
    let (_, accepted) = at_dps(&emulator, "PUT /register", PREVIEW, "d1", key, &body("d1", &new.csr)).await;
    assert_eq!(accepted.get("registrationState"), None, "{accepted}");
    let poll = format!("GET /operations/{}", accepted["operationId"].as_str().expect("an id"));
    // The same answer again, if the device polls again.
    for _ in 0..2 {
        let (status, reply) = at_dps(&emulator, &poll, PREVIEW, "d1", key, "").await;
        assert_eq!((status, &reply["status"]), (200, &json!("assigned")));
        let state = &reply["registrationState"];
        let issued = new.issued(&state["issuedCertificateChain"]);
        assert_eq!((issued.leaf.certificate.common_name(), issued.days()), (Some("d1"), 7));
        let uris = issued.leaf.certificate.alternative_uris();
        assert!(matches!(&uris[..], [it] if it.starts_with("urn:uuid:")), "{uris:?}");
        assert_eq!(emulator.device(HUB, "d1").expect("the device").authentication_type, "certificateAuthority");
    }
    // An older version does not know the member, and a status look-up never returns the chain.
    let (_, reply) = at_dps(&emulator, &poll, "2021-06-01", "d1", key, "").await;
    assert_eq!(reply["registrationState"].get("issuedCertificateChain"), None, "{reply}");
    for version in [PREVIEW, "2021-06-01"] {
        let (status, state) = at_dps(&emulator, "POST ", version, "d1", key, r#"{"registrationId":"d1"}"#).await;
        assert_eq!((status, &state["status"], state.get("issuedCertificateChain")), (200, &json!("assigned"), None));
    }
    let (status, refusal) = at_dps(&emulator, "POST ", PREVIEW, "d1", key, &body("d1", &new.csr)).await;
    assert_eq!((status, &refusal["errorCode"]), (400, &json!(400_000)), "{refusal}");
    // The record in the service API has no chain either.
    let record = emulator.export().registrations.remove(0);
    assert_eq!(record.state.issued_certificate_chain, None);
}

/// Reads the PUBACK of a request, and returns the body of the answer. Both may be in one frame.
async fn published_in_frame(stream: &mut Tls) -> String {
    let mut bytes = Vec::new();
    while bytes.len() <= 4 {
        bytes.extend(receive_frame(stream).await.1);
    }
    assert_eq!(bytes[..2], [0x40, 2], "a PUBACK");
    read_publish(&bytes[4..]).1
}

#[tokio::test]
async fn every_transport_issues_certificates() {
    let emulator = start().await;
    let group = emulator.enrollment_group("g").credential_policy("default").create().expect("valid");
    let username = format!("{}/registrations/m1/api-version={PREVIEW}&ClientVersion=t", emulator.id_scope());
    let password = token(&group.device_key("m1"), &format!("{}/registrations/m1", emulator.id_scope()));
    let login =
        Login { client_id: "m1", username: &username, password: &password, clean: true, keep_alive: 60, will: None };
    let new = request("m1");
    let packets = |operation: Option<&str>| match operation {
        None => publish(
            QOS1,
            "$dps/registrations/PUT/iotdps-register/?$rid=1",
            2,
            json!({ "csr": new.csr }).to_string().as_bytes(),
        ),
        Some(id) => {
            let topic = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={id}");
            publish(QOS1, &topic, 3, b" ")
        }
    };
    let operation = |body: &str| {
        let reply: Value = serde_json::from_str(body).expect("JSON");
        reply["operationId"].as_str().expect("an id").to_owned()
    };
    let chain = |body: &str| {
        let reply: Value = serde_json::from_str(body).expect("JSON");
        let issued = new.issued(&reply["registrationState"]["issuedCertificateChain"]);
        assert_eq!((issued.leaf.certificate.common_name(), issued.days()), (Some("m1"), 30));
    };
    let filter = subscribe(1, &[("$dps/registrations/res/#", 1)]);

    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    for packet in [connect(&login), filter.clone(), packets(None)] {
        send(&mut stream, &packet).await;
        receive(&mut stream).await.expect("an answer");
    }
    let (_, body, _) = read_publish(&receive(&mut stream).await.expect("an answer"));
    send(&mut stream, &packets(Some(&operation(&body)))).await;
    receive(&mut stream).await.expect("a PUBACK");
    chain(&read_publish(&receive(&mut stream).await.expect("an answer")).1);

    let mut stream = upgraded(&emulator, "/$iothub/websocket").await;
    for packet in [connect(&login), filter] {
        send_frame(&mut stream, &packet).await;
        receive_frame(&mut stream).await;
    }
    send_frame(&mut stream, &packets(None)).await;
    let body = published_in_frame(&mut stream).await;
    send_frame(&mut stream, &packets(Some(&operation(&body)))).await;
    chain(&published_in_frame(&mut stream).await);

    onboard(&emulator, "h1", &group.device_key("h1")).await;
}

#[tokio::test]
async fn every_accepted_kind_of_key_gets_a_certificate() {
    let emulator = start().await;
    let device = emulator.enrollment("dev-1").credential_policy("default").create().expect("valid");
    for (name, pem, accepted) in [
        ("P-256", include_str!("csr/p256.csr"), true),
        ("P-384", include_str!("csr/p384.csr"), true),
        ("RSA-2048", include_str!("csr/rsa2048.csr"), true),
        ("RSA-1024", include_str!("csr/rsa1024.csr"), false),
        ("P-521", include_str!("csr/p521.csr"), false),
        ("Ed25519", include_str!("csr/ed25519.csr"), false),
    ] {
        let csr: String = pem.lines().filter(|it| !it.starts_with("-----")).collect();
        let key = device.primary_key();
        let (status, reply) = at_dps(&emulator, "PUT /register", PREVIEW, "dev-1", key, &body("dev-1", &csr)).await;
        if !accepted {
            assert_eq!((status, &reply["errorCode"]), (400, &json!(400_004)), "{name}: {reply}");
            continue;
        }
        let reply = register(&emulator, PREVIEW, "dev-1", key, &body("dev-1", &csr)).await;
        let leaf = reply["registrationState"]["issuedCertificateChain"][0].as_str().expect(name);
        let leaf = hubward_x509::Certificate::from_service_text(leaf).expect(name);
        let request = hubward_x509::CertificateRequest::from_pem(pem.as_bytes()).expect(name);
        assert_eq!(leaf.public_key(), request.public_key(), "{name}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_used_is_refused() {
    let emulator = start().await;
    let device = emulator.enrollment("d1").credential_policy("default").create().expect("valid");
    let key = device.primary_key();
    let (long, other, upper) = ("A".repeat(8196), request("d2").csr, request("D1").csr);
    for (csr, why) in [
        ("", "base64"),
        ("-----BEGIN CERTIFICATE REQUEST-----", "base64"),
        (&long, "8192"),
        ("AAAA", "cannot be read"),
        (&other, "for the common name `d2` instead of `d1`"),
        (&upper, "for the common name `D1` instead of `d1`"),
    ] {
        let (status, refusal) = at_dps(&emulator, "PUT /register", PREVIEW, "d1", key, &body("d1", csr)).await;
        assert_eq!((status, &refusal["errorCode"]), (400, &json!(400_004)), "{csr:.40}: {refusal}");
        let logged = last_refusal(&emulator);
        assert!(logged.contains(why) && logged.ends_with(", 400004"), "{logged}");
        // An older version does not know the member.
        let (status, _) = at_dps(&emulator, "PUT /register", "2021-06-01", "d1", key, &body("d1", csr)).await;
        assert_eq!(status, 202, "{csr:.40}");
    }
    assert!(emulator.events().all().iter().all(|it| !it.to_string().contains("issued")));
}

#[tokio::test]
async fn without_a_policy_the_device_continues_with_its_key() {
    let emulator = start().await;
    let device = emulator.enrollment("d1").create().expect("valid");
    let reply = register(&emulator, PREVIEW, "d1", device.primary_key(), &body("d1", &request("d1").csr)).await;
    assert_eq!(reply["registrationState"].get("issuedCertificateChain"), None, "{reply}");
    assert_eq!(emulator.device(HUB, "d1").expect("the device").authentication_type, "sas");

    // With a policy, but without a certificate request: the hub takes the key of the enrollment again.
    let key = device.primary_key().clone();
    emulator.enrollment("d1").credential_policy("default").create().expect("valid");
    let first = onboard(&emulator, "d1", &key).await;
    assert_eq!(emulator.device(HUB, "d1").expect("the device").authentication_type, "certificateAuthority");
    register(&emulator, PREVIEW, "d1", &key, "{}").await;
    assert_eq!(emulator.device(HUB, "d1").expect("the device").authentication_type, "sas");
    assert_eq!(first.at_hub(&emulator, "d1", true).await.1, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_device_with_a_certificate_can_get_another_one() {
    let emulator = start().await;
    let bootstrap = lab::self_signed("d1");
    let enrollment = emulator.enrollment("d1").credential_policy("default");
    enrollment.create_with_certificates(&bootstrap.certificate.to_pem(), None).expect("valid");
    let mut certificates = Vec::new();
    // The bootstrap certificate stays valid at DPS.
    for _ in 0..2 {
        let mut stream = tls_as(&emulator, emulator.https_addr(), &bootstrap, &[]).await;
        let new = request("d1");
        let mut ask = async |line: &str, body: &str| {
            let request = format!(
                "{line}?api-version={PREVIEW} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            crate::client::http(&mut stream, &request).await.expect("an answer").json()
        };
        let path = format!("/{}/registrations/d1", emulator.id_scope());
        let reply = ask(&format!("PUT {path}/register"), &body("d1", &new.csr)).await;
        let operation = reply["operationId"].as_str().expect("an id").to_owned();
        let reply = ask(&format!("GET {path}/operations/{operation}"), "").await;
        let state = &reply["registrationState"];
        assert_eq!(state["x509"], json!({}), "{reply}");
        certificates.push(new.issued(&state["issuedCertificateChain"]));
    }
    assert_eq!(at_hub(&emulator, "d1", &bootstrap, &[]).await.1, NOT_AUTHORIZED);
    for certificate in &certificates {
        assert_eq!(certificate.at_hub(&emulator, "d1", true).await.1, ACCEPTED);
        // The hub knows the issuers, so the leaf alone is enough.
        assert_eq!(at_hub(&emulator, "d1", &certificate.leaf, &[]).await.1, ACCEPTED);
    }
}

#[tokio::test]
async fn a_deleted_device_cannot_use_its_certificate_again() {
    let emulator = start().await;
    let device = emulator.enrollment("d1").credential_policy("default").create().expect("valid");
    let first = onboard(&emulator, "d1", device.primary_key()).await;
    assert!(emulator.delete_device(HUB, "d1"));
    let second = onboard(&emulator, "d1", device.primary_key()).await;
    assert_eq!(first.at_hub(&emulator, "d1", true).await.1, NOT_AUTHORIZED);
    assert!(last_refusal(&emulator).contains("an earlier device with the same id"), "{}", last_refusal(&emulator));
    assert_eq!(second.at_hub(&emulator, "d1", true).await.1, ACCEPTED);
    // The certificate of another device does not help.
    let other = emulator.enrollment("d2").credential_policy("default").create().expect("valid");
    let other = onboard(&emulator, "d2", other.primary_key()).await;
    assert_eq!(other.at_hub(&emulator, "d1", true).await.1, NOT_AUTHORIZED);
}

#[tokio::test]
async fn an_enrollment_names_an_existing_policy() {
    let emulator = start().await;
    let mut operator = Operator::new(&emulator).await;
    let in_namespace =
        json!({ "namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": "default" });
    for (number, (members, status)) in [
        (json!({ "credentialPolicyName": "default" }), 200),
        (json!({ "credentialPolicyName": "unknown" }), 400),
        (json!({ "credentialPolicyName": 7 }), 400),
        (in_namespace.clone(), 200),
        (json!({ "namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": "unknown" }), 400),
        (json!({ "namespaceName": "n", "certificatePolicyName": "default" }), 400),
        (json!({ "clientCertificateIssuancePolicy": { "certificateAuthorityName": "a" } }), 501),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("d{number}");
        let mut model = enrollment(&id);
        model.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let reply = operator.ask(&format!("PUT /enrollments/{id}"), "", &model.to_string()).await;
        assert_eq!(reply.status, status, "{members}: {}", reply.body);
        if status == 200 {
            let shown = reply.json();
            for (name, value) in members.as_object().expect("an object") {
                assert_eq!(shown[name], *value, "{members}");
            }
        }
    }
    // The policy in a namespace works like the other one. The key of the enrollment stays.
    let device = emulator.enrollment("d3").create().expect("without a policy");
    let mut model = enrollment("d3");
    model.as_object_mut().expect("an object").extend(in_namespace.as_object().expect("an object").clone());
    assert_eq!(operator.ask("PUT /enrollments/d3", "If-Match: *\r\n", &model.to_string()).await.status, 200);
    onboard(&emulator, "d3", device.primary_key()).await;
}

#[tokio::test]
async fn an_export_contains_policies_and_issuance_but_no_key_of_the_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = Emulator::builder().data_dir(folder.path()).start().await.expect("started");
    emulator.put_credential_policy("week", 7).expect("valid");
    let device = emulator.enrollment("d1").credential_policy("week").create().expect("valid");
    let issued = onboard(&emulator, "d1", device.primary_key()).await;
    let text = serde_json::to_string(&emulator.export()).expect("JSON");
    let key = std::fs::read_to_string(folder.path().join("issuer-key.pem")).expect("the file");
    let line = key.lines().nth(1).expect("base64");
    assert!(!text.contains(line) && !text.contains("PRIVATE KEY"));

    // After a reset, the same emulator can import its devices, and their certificates stay valid.
    emulator.reset().expect("done");
    assert_eq!(issued.at_hub(&emulator, "d1", true).await.1, NOT_AUTHORIZED);
    assert_eq!(emulator.credential_policies().len(), 1, "the default policy");
    emulator.import(&Seed::from_json(&text).expect("a seed")).expect("imported");
    assert_eq!(serde_json::to_string(&emulator.export()).expect("JSON"), text);
    let mut stream = issued.subscribed(&emulator, "d1").await;
    assert_eq!(renew(&mut stream, "d1", "a1b2").await.days(), 7);

    // Another emulator imports the device, but it has another authority.
    let other = start().await;
    other.import(&Seed::from_json(&text).expect("a seed")).expect("imported");
    assert_eq!(issued.at_hub(&other, "d1", true).await.1, NOT_AUTHORIZED);
    let wrong = text.replace(r#""validityPeriodInDays":7"#, r#""validityPeriodInDays":6"#);
    assert!(other.import(&Seed::from_json(&wrong).expect("a seed")).is_err());
}
