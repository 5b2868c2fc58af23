//! Compares our encoders and parsers with examples of certificate issuance: the bodies of DPS, and the topics and
//! bodies of a hub.
//!
//! We typed the examples by hand. The certificate requests are those in `x509.json`.
//!
//! Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md` (a live run of
//! 2026-01-30), unless a comment names another one.

use std::time::Duration;

use hubward_proto::dps::http::{DpsHttpRequest, DpsOperation, target};
use hubward_proto::dps::{self, DeviceRegistration, DpsUsername, Register, RegistrationOperation};
use hubward_proto::hub::{
    self, CertificateAccepted, CertificateRefusal, CredentialResponseTopic, HubIdentity, HubUsername, IssueCertificate,
    IssueCertificateTopic, IssuedCertificates, Replace, TopicFilter,
};
use hubward_proto::{CertificateRequestId, Csr};
use serde_json::{Value, json};

const DEVICE: &str = "x509-dev-01";

/// The certificate request with a P-256 key.
fn csr() -> Csr {
    let file: Value = serde_json::from_str(include_str!("x509.json")).expect("x509.json is JSON");
    let text = file["csrs"]["p256"]["base64_der"].as_str().expect("a text");
    Csr::new(text).expect("base64 of at most 8192 characters")
}

fn register() -> Register {
    Register::new("0ne00TEST01".parse().expect("an id scope"), DEVICE.parse().expect("an id"))
}

/// The user name and the target of a registration with a certificate request: `[doc]` azure-rest-api-specs,
/// 2025-07-01-preview.
#[test]
fn a_registration_with_a_csr_uses_the_preview_version() {
    let with_csr = register().csr(csr());
    let username = "0ne00TEST01/registrations/x509-dev-01/api-version=2025-07-01-preview";
    assert_eq!(with_csr.username().encode(), username);
    assert_eq!(DpsUsername::parse(username).map(|it| it.api_version).as_deref(), Ok("2025-07-01-preview"));
    assert_eq!(
        register().username().encode(),
        "0ne00TEST01/registrations/x509-dev-01/api-version=2021-06-01",
        "the stable version without a request"
    );

    let path = "/0ne00TEST01/registrations/x509-dev-01/register";
    let (scope, id) = (&with_csr.id_scope, &with_csr.registration_id);
    let written = target(scope, id, &DpsOperation::Register, with_csr.api_version());
    assert_eq!(written, format!("{path}?api-version=2025-07-01-preview"));
    let read = DpsHttpRequest::parse("PUT", path, Some("api-version=2025-07-01-preview")).expect("a request");
    assert_eq!(read.api_version, dps::API_VERSION_WITH_CSR);
}

/// The bodies of a registration: `[sdk]` Azure/azure-iot-sdk, c/tests. That SDK omits `registrationId`.
#[test]
fn the_bodies_of_registrations() {
    let csr = csr();
    for (body, payload, has_csr) in [
        (String::new(), None, false),
        (r#"{"payload":{"a":1}}"#.to_owned(), Some(json!({"a": 1})), false),
        (format!(r#"{{"csr":"{csr}"}}"#), None, true),
        (format!(r#"{{"csr":"{csr}","payload":{{"a":1}}}}"#), Some(json!({"a": 1})), true),
    ] {
        let read = DeviceRegistration::parse(body.as_bytes()).expect("a body");
        let mut expected = DeviceRegistration { payload, ..DeviceRegistration::default() };
        expected.csr = has_csr.then(|| csr.to_string());
        assert_eq!(read, expected, "{body:.60}");
    }
    let ours: Value = serde_json::from_slice(&register().csr(csr.clone()).body().encode()).expect("JSON");
    assert_eq!(ours, json!({"registrationId": DEVICE, "csr": csr.as_str()}));
}

/// The answer of DPS: `[doc]` azure-rest-api-specs, 2025-07-01-preview; the connection profile: `[sdk]`
/// Azure/azure-iot-sdk, c/docs/dps-integration.md.
#[test]
fn the_issued_chain_of_a_registration() {
    let answer = json!({
        "operationId": "5.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d",
        "status": "assigned",
        "registrationState": {
            "registrationId": DEVICE,
            "assignedHub": "contoso.azure-devices.net",
            "deviceId": DEVICE,
            "status": "assigned",
            "issuedCertificateChain": ["MIIB", "MIIC"],
            "connectionProfile": "classic",
        },
    });
    let read: RegistrationOperation = serde_json::from_value(answer.clone()).expect("an answer");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), answer, "the emulator writes the same");
    let state = read.registration_state.expect("a state");
    assert_eq!(state.issued_certificate_chain, Some(vec!["MIIB".to_owned(), "MIIC".to_owned()]));
    assert_eq!(state.connection_profile.as_deref(), Some("classic"));
}

#[test]
fn the_topics_of_a_hub() {
    let identity = HubIdentity::new("contoso.azure-devices.net".parse().expect("a host"), DEVICE.parse().expect("id"));
    let username = "contoso.azure-devices.net/x509-dev-01/?api-version=2025-08-01-preview";
    let ours = HubUsername::new(identity.clone()).api_version(hub::API_VERSION_WITH_CERTIFICATES);
    assert_eq!(ours.encode(), username);
    assert_eq!(HubUsername::parse(username), Ok(ours));

    let filter = "$iothub/credentials/res/#";
    assert_eq!(TopicFilter::Credentials.encode(&identity), filter);
    assert_eq!(TopicFilter::parse(&identity, filter), Ok(TopicFilter::Credentials));

    let id = CertificateRequestId::new("5ecd03d5-4c78-479e-8be7-61d5e55dac0d").expect("an id");
    let request = IssueCertificateTopic { request_id: id.to_string() };
    let topic = "$iothub/credentials/POST/issueCertificate/?$rid=5ecd03d5-4c78-479e-8be7-61d5e55dac0d";
    assert_eq!(request.encode(), topic);
    assert_eq!(IssueCertificateTopic::parse(topic), Ok(request));

    for (status, topic) in [
        (202, "$iothub/credentials/res/202/?$rid=5ecd03d5-4c78-479e-8be7-61d5e55dac0d"),
        (200, "$iothub/credentials/res/200/?$rid=5ecd03d5-4c78-479e-8be7-61d5e55dac0d"),
        (409, "$iothub/credentials/res/409/?$rid=5ecd03d5-4c78-479e-8be7-61d5e55dac0d"),
    ] {
        let answer = CredentialResponseTopic { status, request_id: id.to_string() };
        assert_eq!(answer.encode(), topic);
        assert_eq!(CredentialResponseTopic::parse(topic), Ok(answer));
    }
}

#[test]
fn the_bodies_of_requests_at_a_hub() {
    let csr = csr();
    let pending = CertificateRequestId::new("5ecd03d5-4c78").expect("an id");
    for (body, replace) in [
        (format!(r#"{{"id":"x509-dev-01","csr":"{csr}"}}"#), None),
        (format!(r#"{{"id":"x509-dev-01","csr":"{csr}","replace":"*"}}"#), Some(Replace::Any)),
        (format!(r#"{{"id":"x509-dev-01","csr":"{csr}","replace":"5ecd03d5-4c78"}}"#), Some(Replace::Request(pending))),
    ] {
        let request = IssueCertificate::new(DEVICE, csr.clone()).replace(replace);
        assert_eq!(String::from_utf8(request.encode()).as_deref(), Ok(body.as_str()));
        assert_eq!(IssueCertificate::parse(body.as_bytes()), Ok(request));
    }
}

#[test]
fn the_bodies_of_answers_of_a_hub() {
    let accepted = r#"{"correlationId":"5ecd03d5","operationExpires":"2026-01-31T12:52:20.565000000Z"}"#;
    let read = CertificateAccepted::parse(accepted.as_bytes());
    assert_eq!(read.operation_expires.as_deref(), Some("2026-01-31T12:52:20.565000000Z"));
    assert_eq!(String::from_utf8(read.encode()).as_deref(), Ok(accepted));

    let issued = r#"{"correlationId":"5ecd03d5","certificates":["MIIB","MIIC","MIID"]}"#;
    let read = IssuedCertificates::parse(issued.as_bytes()).expect("certificates");
    assert_eq!(read.certificates, ["MIIB", "MIIC", "MIID"]);
    assert_eq!(String::from_utf8(read.encode()).as_deref(), Ok(issued));

    for (body, code, pending, wait) in [
        (
            concat!(
                r#"{"errorCode":400004,"message":"m","trackingId":"t","#,
                r#""timestampUtc":"2026-01-31T00:49:39.467401528Z","#,
                r#""info":null,"retryAfter":5}"#
            ),
            400_004,
            None,
            Some(5),
        ),
        (
            concat!(
                r#"{"errorCode":400037,"message":"m","trackingId":"t","#,
                r#""timestampUtc":"2026-01-31T00:49:39.467401528Z","#,
                r#""info":{"credentialError":"400000","credentialMessage":"CSR did not pass verification"}}"#
            ),
            400_037,
            None,
            None,
        ),
        (
            concat!(
                r#"{"errorCode":409004,"message":"m","trackingId":"t","#,
                r#""timestampUtc":"2026-01-31T00:49:39.467401528Z","#,
                r#""info":{"requestId":"5ecd03d5","operationExpires":"2026-01-31T12:52:20.565000000Z","#,
                r#""correlationId":"c"}}"#
            ),
            409_004,
            Some("5ecd03d5"),
            None,
        ),
        (
            concat!(
                r#"{"errorCode":412001,"message":"m","trackingId":"t","#,
                r#""timestampUtc":"2026-01-31T00:49:39.467401528Z","#,
                r#""info":{"requestId":"5ecd03d5"}}"#
            ),
            412_001,
            Some("5ecd03d5"),
            None,
        ),
    ] {
        let read = CertificateRefusal::parse(body.as_bytes());
        assert_eq!((read.error_code, read.pending_request()), (Some(code), pending), "{code}");
        assert_eq!(read.wait(), wait.map(Duration::from_secs), "{code}");
        assert!(hub::credential_code::meaning(code).is_some(), "{code}");
        let (ours, theirs): (Value, Value) =
            (serde_json::from_slice(&read.encode()).expect("JSON"), serde_json::from_str(body).expect("JSON"));
        assert_eq!(ours, theirs, "the emulator writes the same members");
    }
}
