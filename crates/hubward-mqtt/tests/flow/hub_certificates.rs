//! A hub: certificate requests. The topics and bodies are copied by hand from azure-iot-sdk-csharp, branch
//! feature/iot-csr-preview, `csr-scenarions.md`.

use std::time::Duration;

use hubward_proto::hub::CertificateAccepted;
use hubward_transport::{
    CertificateOutcome, CertificateRequestId, CertificateResponse, Csr, Downstream, Feature, ModuleId, ProtoError,
    Refusal, RefusedBy, Replace, Stage, TransportError, Upstream,
};
use tokio::join;

use crate::hub::{exchange, login, open, ready, ready_with, tag};
use crate::peer::{CONNACK, publish};

const SUBSCRIBE: &[u8] = b"\x82\x1e\xff\x00\x00\x19$iothub/credentials/res/#\x00";
const PUBLISHED: &[u8] = b"\x32\x5e\x00\x34$iothub/credentials/POST/issueCertificate/?$rid=a1b2\x9c\x40\
    {\"id\":\"d1\",\"csr\":\"AAAA\",\"replace\":\"*\"}";

fn request(replace: Option<Replace>) -> Upstream {
    let id = CertificateRequestId::new("a1b2").expect("an id");
    Upstream::IssueCertificate { id, csr: Csr::new("AAAA").expect("base64"), replace }
}

#[tokio::test(start_paused = true)]
async fn only_a_login_that_allows_it_names_the_version_of_the_preview() {
    for (allowed, version) in [(false, "2021-04-12"), (true, "2025-08-01-preview")] {
        let (mut connection, mut peer) = open(&login("d1").certificate_requests(allowed), 64 * 1024).await;
        let (events, connect) = join!(exchange(&mut *connection), async {
            let connect = peer.packet().await;
            peer.send(CONNACK).await;
            connect
        });
        events.expect("a login");
        let expected = format!("hub.example/d1/?api-version={version}\0");
        assert!(connect.windows(expected.len()).any(|it| it == expected.as_bytes()), "{}", connect.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_answers_have_the_expected_bytes() {
    let (mut connection, mut peer) = ready_with(&login("d1").certificate_requests(true)).await;
    connection.start_send(tag(50_000), &Upstream::Subscribe(Feature::Certificates), false).expect("room");
    connection.start_send(tag(40_000), &request(Some(Replace::Any)), false).expect("room");
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.expect(SUBSCRIBE).await;
        peer.expect(PUBLISHED).await;
        peer.send(b"\x90\x03\xff\x00\x00\x40\x02\x9c\x40").await;
    });
    assert_eq!(events.expect("answers"), [Downstream::Done(tag(50_000)), Downstream::Done(tag(40_000))]);

    let refusal = |status, code, retry_after: Option<u64>| {
        let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
        (refusal.error_code, refusal.message, refusal.tracking_id) = (code, Some("m".into()), Some("t".into()));
        refusal.retry_after = retry_after.map(Duration::from_secs);
        Box::new(refusal)
    };
    let accepted = CertificateAccepted {
        correlation_id: Some("5ecd03d5".into()),
        operation_expires: Some("2026-01-31T12:52:20.565000000Z".into()),
    };
    for (status, body, expected) in [
        (
            202,
            r#"{"correlationId":"5ecd03d5","operationExpires":"2026-01-31T12:52:20.565000000Z"}"#,
            CertificateOutcome::Accepted(accepted),
        ),
        (202, "<html>", CertificateOutcome::Accepted(CertificateAccepted::default())),
        (
            200,
            r#"{"correlationId":"5ecd03d5","certificates":["MIIB","MIIC"]}"#,
            CertificateOutcome::Issued(vec!["MIIB".into(), "MIIC".into()]),
        ),
        (200, "{}", CertificateOutcome::Unreadable(ProtoError::Missing("certificates"))),
        (
            400,
            r#"{"errorCode":400004,"message":"m","trackingId":"t","timestampUtc":"2026","info":null,"retryAfter":5}"#,
            CertificateOutcome::Refused { refusal: refusal(400, Some(400_004), Some(5)), other: None },
        ),
        (
            409,
            r#"{"errorCode":409004,"message":"m","trackingId":"t","timestampUtc":"2026","info":{"requestId":"c3d4"}}"#,
            CertificateOutcome::Refused { refusal: refusal(409, Some(409_004), None), other: Some("c3d4".into()) },
        ),
    ] {
        let topic = format!("$iothub/credentials/res/{status}/?$rid=a1b2");
        peer.send(&publish(None, &topic, body.as_bytes())).await;
        let response = CertificateResponse { id: "a1b2".into(), outcome: expected };
        let events = exchange(&mut *connection).await.expect("an answer");
        assert_eq!(events, [Downstream::Certificate(Box::new(response))], "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_connection_and_one_without_details_are_kept() {
    let (mut connection, mut peer) = ready().await;
    peer.send(&publish(Some(7), "$iothub/credentials/res/503/?$rid=other", b"")).await;
    let events = exchange(&mut *connection).await.expect("an answer");
    let refusal = Box::new(Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(503)));
    let outcome = CertificateOutcome::Refused { refusal, other: None };
    let response = CertificateResponse { id: "other".into(), outcome };
    assert_eq!(events, [Downstream::Certificate(Box::new(response))]);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_does_not_allow_it_and_a_module_cannot_subscribe() {
    let (mut connection, _peer) = ready().await;
    let refused = connection.start_send(tag(9), &Upstream::Subscribe(Feature::Certificates), false);
    assert!(matches!(refused, Err(TransportError::Unsupported(_))), "{refused:?}");

    let mut module = login("d1").certificate_requests(true);
    module.identity = module.identity.clone().module(ModuleId::new("m1").expect("an id"));
    let (mut connection, _peer) = ready_with(&module).await;
    let refused = connection.start_send(tag(9), &Upstream::Subscribe(Feature::Certificates), false);
    assert!(matches!(refused, Err(TransportError::Unsupported(_))), "{refused:?}");
}
