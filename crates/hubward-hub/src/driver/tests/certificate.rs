//! A device with a certificate: it sends no token, and has nothing to renew.

use hubward_transport::ClientCertificate;
use tokio::time::sleep;

use super::*;

fn certificate() -> Credential {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["dev-1".to_owned()]).expect("a name");
    let chain = params.self_signed(&key).expect("a certificate").pem();
    ClientCertificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None).expect("a pair").into()
}

fn spawn_with_certificate(hub: &FakeHub) -> HubClient {
    hub.lock().with_certificate = true;
    HubClient::spawn(hub.boxed(), login(), certificate(), options().token_lifetime(seconds(600)))
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_token_is_never_renewed() {
    for in_place in [false, true] {
        let hub = FakeHub::new([]);
        hub.lock().renew_in_place = in_place;
        let client = spawn_with_certificate(&hub);
        client.connected().await.expect("a login");
        sleep(seconds(7 * 24 * 3600)).await;
        client.send(Message::new("m")).await.expect("an acknowledgement");
        assert_eq!((hub.opened(), hub.lock().renewed), (1, 0));
        hub.cut();
        until_idle().await;
        client.connected().await.expect("a second login");
        client.send(Message::new("m")).await.expect("an acknowledgement");
        assert_eq!((hub.opened(), hub.lock().expiries.len()), (2, 0), "no login had a token");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_ends_the_client_and_names_the_certificate() {
    let hub = FakeHub::new([AttemptOutcome::Refuse(5)]);
    let error = spawn_with_certificate(&hub).connected().await.expect_err("refused");
    let refusal = error.transport_error().and_then(|it| it.refusal()).expect("a refusal");
    assert!(refusal.with_certificate, "{refusal:?}");
    assert_eq!(hub.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_first_login_a_refused_certificate_is_presented_again() {
    let hub = FakeHub::new([AttemptOutcome::Accept, AttemptOutcome::Refuse(5), AttemptOutcome::Refuse(5)]);
    let client = spawn_with_certificate(&hub);
    client.connected().await.expect("a login");
    hub.cut();
    client.send(Message::new("m")).await.expect("an operator has enabled the device again");
    assert_eq!(hub.opened(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_not_taken_for_a_certificate() {
    let hub = FakeHub::new([AttemptOutcome::Refuse(5)]);
    let error = spawn(&hub, options()).connected().await.expect_err("refused");
    assert!(error.transport_error().and_then(|it| it.refusal()).is_some_and(|it| !it.with_certificate));
}
