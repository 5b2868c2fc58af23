//! Tests of logins that the service accepts or refuses, and of the errors that the client returns.

use std::time::Duration;

use hubward_sas::{SasToken, UnixSeconds};
use hubward_service::{Fault, HubService, Method, ServiceError, ServiceLogin, ServiceOptions, TlsFault, TlsSettings};
use hubward_tests::cloud::{Cloud, HUB};
use serde_json::Value;

use super::{admin, options};

/// A moment in the year 2100.
const IN_2100: u64 = 4_102_444_800;

/// A key that does not belong to any policy.
const WRONG: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn owner(cloud: &Cloud) -> ServiceLogin {
    let text = cloud.emulator.hub_connection_string(HUB).expect("the hub that every emulator has");
    ServiceLogin::from_connection_string(&text).expect("a login")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_refused_login_does_not_contain_its_secret() {
    let cloud = Cloud::start().await;
    let key = owner(&cloud).policy_key().expect("a key").clone();
    let token = |seconds: u64| SasToken::sign(&key, HUB, UnixSeconds(seconds), Some("iothubowner"));
    let wrong = format!("HostName={HUB};SharedAccessKeyName=iothubowner;SharedAccessKey={WRONG}");
    let policies = cloud.emulator.policies();
    let device = policies.iter().find(|it| it.name == "device").expect("the policy of devices").connection_string();
    for (what, login, secret) in [
        ("another key", ServiceLogin::from_connection_string(&wrong), WRONG),
        ("a policy that may only connect", ServiceLogin::from_connection_string(&device), "sig="),
        ("a token that has expired", ServiceLogin::token(HUB, token(1)), "sig="),
        ("a bearer token", ServiceLogin::bearer(HUB, "eyJ0.c2VjcmV0"), "c2VjcmV0"),
    ] {
        let hub = HubService::new(login.expect(what), &options(&cloud)).expect("a CA file");
        let error = hub.device("dev-1").await.expect_err(what);
        assert_eq!(error.fault(), Fault::Credential, "{what}: {error}");
        let shown = format!("{error:?} {error} {:?} {hub:?}", error.advice());
        assert!(!shown.contains(secret), "{what}: {shown}");
    }
    let good = ServiceLogin::token(HUB, token(IN_2100)).expect("a login");
    let hub = HubService::new(good, &options(&cloud)).expect("a CA file");
    assert!(hub.device("dev-1").await.expect_err("the device does not exist").is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advice_names_a_wrong_clock() {
    let cloud = Cloud::start().await;
    cloud.emulator.clock_ahead(Duration::from_secs(3 * 3600));
    let hub = HubService::new(owner(&cloud), &options(&cloud)).expect("a CA file");
    let error = hub.device("dev-1").await.expect_err("the token has expired at the service");
    let advice = error.advice().unwrap_or_default();
    assert!(error.fault() == Fault::Credential && advice.contains("behind the service's"), "{error}: {advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_and_a_missing_ca_file_are_different_errors() {
    let cloud = Cloud::start().await;
    let other = Cloud::start().await;
    let untrusted = options(&cloud).tls(TlsSettings::new().ca_file(other.emulator.ca_file()));
    let hub = HubService::new(owner(&cloud), &untrusted).expect("a CA file");
    let error = hub.device("dev-1").await.expect_err("another CA");
    assert!(matches!(error, ServiceError::Tls { fault: TlsFault::Untrusted, .. }), "{error:?}");

    let missing = ServiceOptions::new().tls(TlsSettings::new().ca_file("no-such-file.pem"));
    assert!(HubService::new(owner(&cloud), &missing).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_streams_telemetry() {
    let cloud = Cloud::start().await;
    let port = admin(&cloud);
    let health: Value = port.call(Method::GET, "/health").await.expect("it exists");
    assert_eq!(health["status"], "ok");
    let device = cloud.hub_device("dev-1", hubward::TransportKind::Mqtt);
    let client = device.connect().await.expect("connected");
    let mut events = port.events(format!("/api/telemetry/{HUB}"), "from=0&device=dev-1", None).await.expect("a stream");
    for number in 0..3 {
        client.send(hubward::Message::new(format!("reading {number}"))).await.expect("acknowledged");
        let event = events.next().await.expect("no failure").expect("an event");
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!((event.id, &data["body"]), (Some(number.to_string()), &Value::from(format!("reading {number}"))));
    }
    let mut again = port.events(format!("/api/telemetry/{HUB}"), "from=0", Some("1")).await.expect("a stream");
    let event = again.next().await.expect("no failure").expect("an event");
    assert_eq!(event.id.as_deref(), Some("2"));
    client.close(Duration::from_secs(10)).await.expect("closed");
}
