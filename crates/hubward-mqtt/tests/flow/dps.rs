//! DPS: the bytes of a whole registration, refusals, and answers to a login.

use std::io;
use std::time::Duration;

use hubward_dial::{DialError, Endpoint, TlsFault};
use hubward_mqtt::MqttDps;
use hubward_proto::dps::{
    AssignmentStatus, DpsBody, DpsReply, Registration, RegistrationEnd, RegistrationOperation, RetryPolicy, Step,
};
use hubward_proto::{Csr, IdScope, OperationId, ProtoError, RegistrationId};
use hubward_transport::{DpsTransport, Fault, RefusedBy, Register, SasToken, Stage, TransportError, TransportKind};
use tokio::join;

use crate::peer::{CONNACK, Listener, PINGRESP, TestDialer, network, publish};

pub(crate) const TOKEN: &str =
    "SharedAccessSignature sr=0ne00000001%2Fregistrations%2Fdev-1&sig=c2VjcmV0&se=1700003600&skn=registration";

pub(crate) const SUBSCRIBE: &[u8] = b"\x82\x1d\xff\x00\x00\x18$dps/registrations/res/#\x01";
pub(crate) const SUBACK: &[u8] = b"\x90\x03\xff\x00\x01";

pub(crate) const ASSIGNING: &[u8] = br#"{"operationId":"4.op","status":"assigning"}"#;
pub(crate) const ASSIGNED: &[u8] =
    br#"{"operationId":"4.op","status":"assigned","registrationState":{"assignedHub":"h.example","deviceId":"dev-1"}}"#;

pub(crate) fn token() -> SasToken {
    SasToken::parse(TOKEN).expect("a token")
}

pub(crate) fn registration(registration_id: &str) -> Register {
    let scope = IdScope::new("0ne00000001").expect("a scope");
    Register::new(scope, RegistrationId::new(registration_id).expect("an id"))
}

pub(crate) fn operation_id() -> OperationId {
    OperationId::new("4.op").expect("an id")
}

pub(crate) fn client() -> (MqttDps, std::sync::Arc<TestDialer>, Listener) {
    client_of(TransportKind::Mqtt)
}

fn client_of(kind: TransportKind) -> (MqttDps, std::sync::Arc<TestDialer>, Listener) {
    let (dialer, listener) = network(64 * 1024);
    let dps = MqttDps::new(kind, Endpoint::new("dps.example", 8883), dialer.clone());
    (dps, dialer, listener)
}

pub(crate) fn operation(reply: DpsReply) -> RegistrationOperation {
    match reply.body {
        DpsBody::Operation(operation) => *operation,
        other => panic!("an operation, not {other:?}"),
    }
}

/// Registers against a server that sends `answer` in place of CONNACK.
async fn login_answered_with(answer: &'static [u8]) -> TransportError {
    let (mut dps, _dialer, mut listener) = client();
    let (registration, token) = (registration("dev-1"), token());
    let (result, _peer) = join!(dps.register(&registration, Some(&token)), async {
        let mut peer = listener.accept().await;
        peer.packet().await;
        peer.send(answer).await;
        peer
    });
    result.expect_err("no login")
}

/// The login names the `api-version` of the preview, the registration contains the certificate request, and the poll
/// over the same connection returns the chain.
#[tokio::test(start_paused = true)]
async fn a_certificate_request_uses_the_preview_version() {
    for kind in [TransportKind::Mqtt, TransportKind::MqttWs] {
        let (mut dps, _dialer, mut listener) = client_of(kind);
        let registration = registration("dev-1").csr(Csr::new("AAAA").expect("base64"));
        let server = async {
            let mut peer = listener.accept().await;
            let connect = peer.packet().await;
            let username = b"0ne00000001/registrations/dev-1/api-version=2025-07-01-preview";
            assert!(connect.ends_with(username), "{}", connect.escape_ascii());
            peer.send(CONNACK).await;
            peer.expect(SUBSCRIBE).await;
            peer.send(SUBACK).await;
            let register = peer.packet().await;
            let body = br#"{"registrationId":"dev-1","csr":"AAAA"}"#;
            assert!(register.ends_with(body), "{}", register.escape_ascii());
            peer.send(&publish(None, "$dps/registrations/res/202/?$rid=1&retry-after=3", ASSIGNING)).await;
            peer.packet().await;
            let answer = br#"{"operationId":"4.op","status":"assigned","registrationState":{"assignedHub":"h.example",
                "deviceId":"dev-1","issuedCertificateChain":["MIIB","MIIC"]}}"#;
            peer.send(&publish(None, "$dps/registrations/res/200/?$rid=2", answer)).await;
            peer
        };
        let requests = async {
            dps.register(&registration, None).await.expect("202");
            dps.operation_status(&registration, &operation_id(), None).await.expect("200")
        };
        let (reply, _peer) = join!(requests, server);
        let state = operation(reply).registration_state.expect("a state");
        assert_eq!(state.issued_certificate_chain, Some(vec!["MIIB".to_owned(), "MIIC".to_owned()]), "{kind}");
    }
}

/// The connection of a registration without a certificate request has the stable `api-version`, so a registration with
/// one opens another connection.
#[tokio::test(start_paused = true)]
async fn a_certificate_request_does_not_use_the_connection_of_another_version() {
    let (mut dps, _dialer, mut listener) = client();
    let (plain, with_csr) = (registration("dev-1"), registration("dev-1").csr(Csr::new("AAAA").expect("base64")));
    let answer = |id: &str| publish(None, &format!("$dps/registrations/res/200/?$rid={id}"), ASSIGNED);
    let server = async {
        let mut first = listener.accept_subscribed().await;
        first.packet().await;
        first.send(&answer("1")).await;
        let mut second = listener.accept_subscribed().await;
        second.packet().await;
        second.send(&answer("2")).await;
        (first, second)
    };
    let requests = async {
        dps.register(&plain, None).await.expect("200");
        dps.register(&with_csr, None).await.expect("200");
    };
    let ((), _peers) = join!(requests, server);
}

#[tokio::test(start_paused = true)]
async fn another_connection_profile_ends_the_registration() {
    for kind in [TransportKind::Mqtt, TransportKind::MqttWs] {
        for (profile, expected) in [
            ("", None),
            (r#","connectionProfile":null"#, None),
            (r#","connectionProfile":"classic""#, None),
            (r#","connectionProfile":"mqttV5""#, Some("mqttV5")),
            (r#","connectionProfile":"new""#, Some("new")),
        ] {
            let (mut dps, _dialer, mut listener) = client_of(kind);
            let registration = registration("dev-1");
            let body = format!(
                r#"{{"operationId":"4.op","status":"assigned","registrationState":{{"assignedHub":"h.example",
                "deviceId":"dev-1"{profile}}}}}"#
            );
            let (reply, _peer) = join!(dps.register(&registration, None), async {
                let mut peer = listener.accept_subscribed().await;
                peer.packet().await;
                peer.send(&publish(None, "$dps/registrations/res/200/?$rid=1", body.as_bytes())).await;
                peer
            });
            let now = tokio::time::Instant::now().into_std();
            let mut flow = Registration::new(RetryPolicy::default(), None);
            assert_eq!(flow.step(now), Step::Register);
            flow.on_reply(now, 0.5, Ok(&reply.expect("200")));
            let refused = match flow.step(now) {
                Step::End(RegistrationEnd::Assigned(_)) => None,
                Step::End(RegistrationEnd::Broken(ProtoError::ConnectionProfile(name))) => Some(name),
                other => panic!("{kind} {profile}: {other:?}"),
            };
            assert_eq!(refused.as_deref(), expected, "{kind} {profile}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_has_the_expected_bytes() {
    let (mut dps, _dialer, mut listener) = client();
    let (registration, token) = (registration("dev-1"), token());
    let server = async {
        let mut peer = listener.accept().await;
        assert_eq!(peer.endpoint, Endpoint::new("dps.example", 8883));
        // CONNECT: level 4, flags user name + password + clean session, keep-alive 60.
        peer.expect(b"\x10\xb3\x01\x00\x04MQTT\x04\xc2\x00\x3c\x00\x05dev-1").await;
        peer.expect(b"\x00\x360ne00000001/registrations/dev-1/api-version=2021-06-01").await;
        peer.expect(b"\x00\x68").await;
        peer.expect(TOKEN.as_bytes()).await;
        peer.send(CONNACK).await;
        peer.expect(SUBSCRIBE).await;
        peer.send(SUBACK).await;
        peer.expect(b"\x32\x4c\x00\x2e$dps/registrations/PUT/iotdps-register/?$rid=1\x00\x01").await;
        peer.expect(br#"{"registrationId":"dev-1"}"#).await;
        peer.send(b"\x40\x02\x00\x01").await;
        peer.send(&publish(Some(7), "$dps/registrations/res/202/?$rid=1&retry-after=3", ASSIGNING)).await;
        peer.expect(b"\x40\x02\x00\x07").await;
        peer.expect(
            b"\x32\x4e\x00\x4a$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.op\x00\x02",
        )
        .await;
        peer.send(b"\x40\x02\x00\x02").await;
        peer.send(&publish(None, "$dps/registrations/res/200/?$rid=2", ASSIGNED)).await;
        peer.expect(b"\xe0\x00").await;
        assert!(peer.at_end().await);
    };
    let device = async {
        let first = dps.register(&registration, Some(&token)).await.expect("an answer");
        assert_eq!(first.retry_after, Some(Duration::from_secs(3)));
        let first = operation(first);
        assert_eq!((first.operation_id.as_str(), first.status), ("4.op", AssignmentStatus::Assigning));
        let second = dps.operation_status(&registration, &operation_id(), Some(&token)).await.expect("an answer");
        assert_eq!(second.retry_after, None);
        let second = operation(second);
        assert_eq!(second.status, AssignmentStatus::Assigned);
        let state = second.registration_state.expect("a state");
        assert_eq!(state.assigned_hub.as_deref(), Some("h.example"));
        dps.close().await;
    };
    join!(server, device);
}

#[tokio::test(start_paused = true)]
async fn payload_and_client_version_are_sent() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1").payload("hello".into()).client_version("acme-pump/2.1 (x)");
    let server = async {
        let mut peer = listener.accept().await;
        let connect = peer.packet().await;
        let name = b"/api-version=2021-06-01&ClientVersion=acme-pump%2F2.1%20%28x%29";
        assert!(connect.ends_with(name), "{}", connect.escape_ascii());
        assert_eq!(connect[9], 0x82, "no token, no password: {}", connect.escape_ascii());
        peer.send(CONNACK).await;
        peer.expect(SUBSCRIBE).await;
        peer.send(SUBACK).await;
        let register = peer.packet().await;
        assert!(register.ends_with(br#"{"registrationId":"dev-1","payload":"hello"}"#), "{}", register.escape_ascii());
        peer.send(&publish(None, "$dps/registrations/res/202/?$rid=1", ASSIGNING)).await;
    };
    let (reply, ()) = join!(dps.register(&registration, None), server);
    assert_eq!(reply.expect("an answer").retry_after, None, "absent is not zero");
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_keeps_its_code() {
    for (answer, code, fault) in [
        (b"\x20\x02\x00\x01", 1, Fault::Service),
        (b"\x20\x02\x00\x02", 2, Fault::Service),
        (b"\x20\x02\x00\x03", 3, Fault::Service),
        (b"\x20\x02\x00\x04", 4, Fault::Credential),
        (b"\x20\x02\x00\x05", 5, Fault::Credential),
        (b"\x20\x02\x00\x86", 0x86, Fault::Service),
    ] {
        let error = login_answered_with(answer).await;
        let TransportError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!((refusal.by, refusal.stage), (RefusedBy::Connack(code), Stage::Login));
        assert_eq!(refusal.endpoint, "dps.example:8883");
        assert_eq!(error.fault(), fault, "{error}");
        assert_eq!(error.is_retryable(), code == 3, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_answer_to_the_login_is_a_protocol_error() {
    for answer in [
        &b"\x20\x03\x00\x00\x00"[..],
        b"\x20\x01\x00",
        b"\x28\x02\x00\x00",
        b"\x20\xff\xff\xff\xff",
        b"\x20\xff\xff\xff\x7f",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        PINGRESP,
        SUBACK,
        b"\x40\x02\x00\x01",
        b"\x30\x03\x00\x01t",
        b"\x20\x02\x00\x00\x20\x02\x00\x00",
    ] {
        let error = login_answered_with(answer).await;
        assert!(matches!(error, TransportError::Protocol { .. }), "{}: {error}", answer.escape_ascii());
        assert_eq!(error.fault(), Fault::Peer);
        let stage = if answer.len() == 8 { Stage::Subscribe } else { Stage::Login };
        assert_eq!(error.stage(), Some(stage), "{}", answer.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_has_its_own_error() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, _peer) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept_login().await;
        peer.expect(SUBSCRIBE).await;
        peer.send(b"\x90\x03\xff\x00\x80").await;
        peer
    });
    let error = result.expect_err("no subscription");
    let TransportError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!((refusal.by, refusal.stage), (RefusedBy::Suback, Stage::Subscribe));
    assert_eq!(error.fault(), Fault::Service);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_keeps_the_details_of_the_service() {
    let unauthorized: &[u8] =
        br#"{"errorCode":401002,"trackingId":"t-1\u001b","message":" Unauthorized\r\n","info":{"a":"b"}}"#;
    for (topic, body, status, code, wait, fault) in [
        ("401/?$rid=1", unauthorized, 401, Some(401_002), None, Fault::Credential),
        ("429/?$rid=1&retry-after=5", br#"{"errorCode":429001}"#, 429, Some(429_001), Some(5), Fault::Throttled),
        ("503/?retry-after=0&$rid=1", b"<html>", 503, None, Some(0), Fault::Service),
        ("404/?$rid=1&retry-after=soon", b"", 404, None, None, Fault::Service),
        ("307/?$rid=1", b"{}", 307, None, None, Fault::Service),
    ] {
        let (mut dps, _dialer, mut listener) = client();
        let registration = registration("dev-1");
        let (result, _peer) = join!(dps.register(&registration, None), async {
            let mut peer = listener.accept_subscribed().await;
            peer.packet().await;
            peer.send(&publish(None, &format!("$dps/registrations/res/{topic}"), body)).await;
            peer
        });
        let error = result.expect_err("a refusal");
        let TransportError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!((refusal.by, refusal.stage), (RefusedBy::Status(status), Stage::Register), "{topic}");
        assert_eq!((refusal.error_code, error.fault()), (code, fault), "{topic}");
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{topic}");
        if status == 401 {
            assert_eq!(refusal.tracking_id.as_deref(), Some("t-1"));
            assert_eq!(refusal.message.as_deref(), Some("Unauthorized"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_error_keeps_its_stage() {
    let endpoint = || Endpoint::new("dps.example", 8883);
    for (failure, stage) in [
        (DialError::Connect { endpoint: endpoint(), source: io::ErrorKind::ConnectionRefused.into() }, Stage::Connect),
        (
            DialError::Tls { endpoint: endpoint(), fault: TlsFault::Untrusted, source: io::Error::other("x") },
            Stage::Tls,
        ),
        (
            DialError::Upgrade { endpoint: endpoint(), status: 403, retry_after: None, server_time: None },
            Stage::Upgrade,
        ),
    ] {
        let (mut dps, dialer, _listener) = client();
        dialer.fail_next(failure);
        let error = dps.register(&registration("dev-1"), None).await.expect_err("no connection");
        assert_eq!(error.stage(), Some(stage), "{error}");
    }
}
