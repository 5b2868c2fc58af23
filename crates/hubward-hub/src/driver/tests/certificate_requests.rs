//! Certificate requests with the hub in memory: the order of subscription and request, reconnects, and every end.

use hubward_transport::{
    Abilities, CertificateOutcome, CertificateResponse, Csr, Downstream, Fault, Feature, Refusal, RefusedBy, Stage,
};

use super::cancel::poll_times;
use super::*;
use crate::{IssuanceError, IssuanceRequest};

fn request(id: &str) -> IssuanceRequest {
    IssuanceRequest::new(Csr::new("AAAA").expect("base64")).id(id.parse().expect("an id"))
}

/// A client whose login allows certificate requests, logged in.
async fn connected(hub: &FakeHub) -> HubClient {
    let login = login().certificate_requests(true);
    let client = HubClient::spawn(hub.boxed(), login, credential(), options());
    client.connected().await.expect("a login");
    client
}

impl FakeHub {
    fn answers(&self, id: &str, outcome: CertificateOutcome) {
        self.send_event(Downstream::Certificate(Box::new(CertificateResponse { id: id.to_owned(), outcome })));
    }

    fn requested(&self) -> Vec<(usize, String)> {
        self.lock().certificate_requests.clone()
    }

    /// The connections on which the client subscribed to certificates.
    fn subscribed(&self) -> Vec<usize> {
        let watched = &self.lock().watched;
        watched.iter().filter(|(_, it)| *it == Feature::Certificates).map(|(connection, _)| *connection).collect()
    }
}

fn accepted() -> CertificateOutcome {
    CertificateOutcome::Accepted(hubward_proto::hub::CertificateAccepted::default())
}

fn issued() -> CertificateOutcome {
    CertificateOutcome::Issued(vec!["MIIB".to_owned(), "MIIC".to_owned()])
}

fn refused(status: u16, code: u32, other: Option<&str>) -> CertificateOutcome {
    let mut refusal = Refusal::new(ENDPOINT.into(), Stage::Exchange, RefusedBy::Status(status));
    (refusal.error_code, refusal.message) = (Some(code), Some("m".to_owned()));
    (refusal.tracking_id, refusal.retry_after) = (Some("t-1".to_owned()), Some(seconds(5)));
    CertificateOutcome::Refused { refusal: Box::new(refusal), other: other.map(str::to_owned) }
}

#[tokio::test(start_paused = true)]
async fn the_client_subscribes_then_requests_and_returns_the_chain() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    until_idle().await;
    assert_eq!(hub.subscribed(), [0; 0], "a client that requests no certificate does not subscribe");
    let task = tokio::spawn({
        let client = client.clone();
        async move { client.request_certificate(request("one1")).await }
    });
    until_idle().await;
    assert_eq!((hub.subscribed(), hub.requested()), (vec![1], vec![(1, "one1".to_owned())]));
    hub.answers("one1", accepted());
    hub.answers("one1", issued());
    assert_eq!(task.await.expect("no panic").expect("a chain"), ["MIIB", "MIIC"]);

    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    client.connected().await.expect("a login");
    until_idle().await;
    assert_eq!(hub.subscribed(), [1], "no request is pending, so the client does not subscribe again");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_all_details() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    let (result, ()) = tokio::join!(client.request_certificate(request("one1")), async {
        until_idle().await;
        hub.answers("one1", refused(429, 429_002, None));
    });
    let error = result.expect_err("refused");
    assert_eq!(
        (error.status(), error.retry_after(), error.fault()),
        (Some(429), Some(seconds(5)), Some(Fault::Throttled))
    );
    let refusal = error.refusal().expect("a refusal");
    assert_eq!((refusal.error_code, refusal.tracking_id.as_deref()), (Some(429_002), Some("t-1")));
    assert_eq!(error.to_string(), "hub.example:8883 refused (exchange) with status 429, code 429002: m");
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_sends_the_same_request_again_and_replaces_the_pending_copy() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    let task = tokio::spawn({
        let client = client.clone();
        async move { client.request_certificate(request("one1")).await }
    });
    until_idle().await;
    hub.answers("one1", accepted());
    until_idle().await;
    hub.cut();
    until_state(&client, |it| !it.is_connected()).await;
    client.connected().await.expect("a login");
    until_idle().await;
    hub.answers("one1", refused(409, 409_004, Some("one1")));
    until_idle().await;
    hub.answers("one1", issued());
    task.await.expect("no panic").expect("a chain");
    let sent = [(1, "one1"), (2, "one1"), (2, "one1 replaces one1")].map(|(at, text)| (at, text.to_owned()));
    assert_eq!((hub.subscribed(), hub.requested()), (vec![1, 2], sent.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_hub_without_an_answer_ends_the_request_after_two_minutes_or_at_the_deadline() {
    for (deadline, accepts, expected) in [
        (None, 0, 120),
        (None, 2, 320),
        (Some(seconds(60)), 0, 60),
        (Some(seconds(150)), 2, 150),
        (Some(seconds(600)), 0, 120),
    ] {
        let hub = FakeHub::new([]);
        let client = connected(&hub).await;
        let start = tokio::time::Instant::now();
        let waiting = async {
            let result = client.request_certificate(request("one1").deadline(deadline)).await;
            (result, start.elapsed())
        };
        let ((result, waited), ()) = tokio::join!(waiting, async {
            for _ in 0..accepts {
                tokio::time::sleep(seconds(100)).await;
                hub.answers("one1", accepted());
            }
        });
        let error = result.expect_err("silence");
        assert!(matches!(error, IssuanceError::Unknown { .. }), "{error:?}");
        assert_eq!(error.fault(), Some(Fault::Deadline));
        assert_eq!(waited, seconds(expected), "{deadline:?} {accepts}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_the_deadline_ends_a_request_that_was_not_sent() {
    let hub = FakeHub::new([AttemptOutcome::HangOpening; 9]);
    let client = HubClient::spawn(hub.boxed(), login().certificate_requests(true), credential(), options());
    let start = tokio::time::Instant::now();
    let error = client.request_certificate(request("one1").deadline(Some(seconds(20)))).await.expect_err("no hub");
    assert!(matches!(error, IssuanceError::NotSent { .. }) && error.is_certainly_not_sent(), "{error:?}");
    assert_eq!(start.elapsed(), seconds(20));
    assert_eq!(hub.requested(), []);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_is_busy_until_the_first_one_is_dropped() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.request_certificate(request("one1")).await }
    });
    until_idle().await;
    let busy = client.request_certificate(request("two2")).await;
    assert!(matches!(busy, Err(IssuanceError::Busy)), "{busy:?}");
    first.abort();
    assert!(first.await.expect_err("aborted").is_cancelled());
    let (result, ()) = tokio::join!(client.request_certificate(request("two2")), async {
        until_idle().await;
        hub.answers("two2", refused(409, 409_004, Some("one1")));
        until_idle().await;
        hub.answers("one1", issued());
        hub.answers("two2", accepted());
        hub.answers("two2", issued());
    });
    result.expect("a chain");
    let sent = ["one1", "two2", "two2 replaces one1"].map(|it| (1, it.to_owned()));
    assert_eq!(hub.requested(), sent);
}

/// Drops the future after each number of polls. The client still works afterwards.
#[tokio::test(start_paused = true)]
async fn a_future_can_be_dropped_at_any_moment() {
    for times in 0..12 {
        let hub = FakeHub::new([]);
        let client = connected(&hub).await;
        assert!(poll_times(times, client.request_certificate(request("one1"))).await.is_none(), "no answer yet");
        until_idle().await;
        let (result, ()) = tokio::join!(client.request_certificate(request("two2")), async {
            until_idle().await;
            hub.answers("two2", issued());
        });
        result.unwrap_or_else(|error| panic!("{times}: {error}"));
        let sent: Vec<String> = hub.requested().into_iter().map(|(_, it)| it).collect();
        assert_eq!(sent.last().map(String::as_str), Some("two2"), "{times}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_ends_the_request() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    let (result, closed) = tokio::join!(client.request_certificate(request("one1")), async {
        until_idle().await;
        client.close(seconds(5)).await
    });
    let error = result.expect_err("closed");
    assert!(matches!(error, IssuanceError::Unknown { reason: UnconfirmedReason::Closed(_) }), "{error:?}");
    closed.expect("a certificate request does not delay the close");
    let error = client.request_certificate(request("two2")).await.expect_err("closed");
    assert!(matches!(error, IssuanceError::NotSent { reason: UnconfirmedReason::Closed(_) }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_if_the_login_the_protocol_or_the_identity_does_not_allow_it() {
    let module = || {
        let identity = login().identity.module("mod-1".parse().expect("an id"));
        HubLogin::new(identity).certificate_requests(true)
    };
    let device = || login().certificate_requests(true);
    for (login, abilities, fault, expected) in [
        (
            login(),
            None,
            Fault::Request,
            "the login does not allow certificate requests (HubLogin::certificate_requests)",
        ),
        (device(), Some(Abilities::default()), Fault::Unsupported, "certificate requests are not possible over mqtt"),
        (module(), None, Fault::Request, "certificate requests are not possible for a module, only for a device"),
    ] {
        let hub = FakeHub::new([]);
        if let Some(abilities) = abilities {
            hub.lock().abilities = abilities;
        }
        let client = HubClient::spawn(hub.boxed(), login, credential(), options());
        let error = client.request_certificate(request("one1")).await.expect_err("not possible");
        assert_eq!((error.to_string().as_str(), error.fault()), (expected, Some(fault)));
        assert!(error.is_certainly_not_sent(), "{expected}");
        until_idle().await;
        assert_eq!((hub.requested(), hub.subscribed()), (vec![], vec![]), "{expected}");
    }
}

#[test]
fn a_random_id_is_valid_and_unique() {
    let csr = || Csr::new("AAAA").expect("base64");
    assert_ne!(IssuanceRequest::new(csr()).id, IssuanceRequest::new(csr()).id);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_weak_handle_does_not_keep_the_client_alive() {
    let hub = FakeHub::new([]);
    let client = connected(&hub).await;
    let weak = client.downgrade();
    let task = tokio::spawn({
        let weak = weak.clone();
        async move { weak.request_certificate(request("weak-1")).await }
    });
    until_idle().await;
    assert_eq!(hub.requested(), [(1, "weak-1".to_owned())]);
    drop(client);
    let error = task.await.expect("no panic").expect_err("the client ends");
    assert!(matches!(&error, IssuanceError::Unknown { .. }), "{error:?}");
    let error = weak.request_certificate(request("weak-2")).await.expect_err("the client has ended");
    assert!(error.is_certainly_not_sent(), "{error:?}");
}
