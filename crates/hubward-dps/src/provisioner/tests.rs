use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hubward_proto::dps::DpsBody;
use hubward_transport::{
    ClientCertificate, Fault, IdScope, Refusal, RefusedBy, RegistrationId, SasToken, SharedKey, TransportKind,
};
use serde_json::json;

use super::*;

/// How the scripted service treats a request.
enum Act {
    Answer(serde_json::Value, Option<u64>),
    Fail(TransportError),
    Hang,
}

/// Follows a script, and records each request and its time.
#[derive(Clone)]
struct Service {
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<(u64, String)>>>,
    /// Whether the device has a certificate, and so no token.
    with_certificate: bool,
    started: Instant,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    fn new(script: Vec<Act>) -> Self {
        let script = Arc::new(Mutex::new(script.into()));
        Self { script, seen: Arc::default(), with_certificate: false, started: Instant::now() }
    }

    fn note(&self, what: String) {
        self.seen.lock().expect("seen").push((self.started.elapsed().as_secs(), what));
    }

    async fn play(&self, what: String, token: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        if self.with_certificate {
            assert!(token.is_none(), "TLS presents the certificate");
        } else {
            let token = token.expect("a token");
            assert!(token.is_for("0ne1/registrations/dev-1"));
            assert_eq!(token.policy(), Some("registration"));
        }
        self.note(what);
        let act = self.script.lock().expect("script").pop_front().expect("a request that the script expects");
        match act {
            Act::Answer(body, retry_after) => {
                let operation = serde_json::from_value(body).expect("an operation");
                Ok(DpsReply::new(DpsBody::Operation(Box::new(operation)), retry_after.map(Duration::from_secs)))
            }
            Act::Fail(error) => Err(error),
            Act::Hang => pending().await,
        }
    }

    fn seen(&self) -> Vec<(u64, String)> {
        self.seen.lock().expect("seen").clone()
    }
}

#[async_trait]
impl DpsTransport for Service {
    fn kind(&self) -> TransportKind {
        TransportKind::Https
    }

    fn endpoint(&self) -> String {
        "dps.example:443".into()
    }

    async fn register(&mut self, _: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        self.play("register".into(), token).await
    }

    async fn operation_status(
        &mut self,
        _: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.play(format!("poll {operation}"), token).await
    }

    async fn close(&mut self) {
        self.note("close".into());
        pending::<()>().await;
    }
}

fn provisioner(service: &Service) -> Provisioner {
    let request = Register::new(IdScope::new("0ne1").expect("scope"), RegistrationId::new("dev-1").expect("id"));
    let key = SharedKey::generate().expect("a key");
    Provisioner::new(Box::new(service.clone()), request, Credential::SharedKey(key))
}

/// A provisioner of a device with a certificate.
fn provisioner_with_certificate(service: &mut Service) -> Provisioner {
    service.with_certificate = true;
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["dev-1".to_owned()]).expect("a name");
    let chain = params.self_signed(&key).expect("a certificate").pem();
    let certificate = ClientCertificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None);
    let mut provisioner = provisioner(service);
    provisioner.credential = certificate.expect("a pair").into();
    provisioner
}

fn assigning() -> Act {
    Act::Answer(json!({"operationId": "4.op", "status": "assigning"}), Some(3))
}

fn assigned() -> Act {
    let state = json!({"assignedHub": "hub.example", "deviceId": "dev-1", "status": "assigned"});
    Act::Answer(json!({"operationId": "4.op", "status": "assigned", "registrationState": state}), None)
}

fn refused(status: u16, retry_after: Option<u64>) -> Act {
    let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(status));
    refusal.retry_after = retry_after.map(Duration::from_secs);
    Act::Fail(TransportError::Refused(Box::new(refusal)))
}

fn cut() -> Act {
    let source = Some(io::ErrorKind::ConnectionReset.into());
    Act::Fail(TransportError::Closed { endpoint: "dps.example:443".into(), stage: Stage::Poll, source })
}

fn asked(service: &Service) -> Vec<String> {
    service.seen().into_iter().map(|(_, what)| what).collect()
}

#[tokio::test(start_paused = true)]
async fn registers_waits_as_requested_and_is_assigned() {
    let service = Service::new(vec![assigning(), assigning(), assigned()]);
    let assignment = provisioner(&service).run().await.expect("assigned");
    assert_eq!(assignment.identity().to_string(), "dev-1 at hub.example");
    let seen = service.seen();
    assert_eq!(asked(&service), ["register", "poll 4.op", "poll 4.op", "close"]);
    assert_eq!(seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3, 6, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_while_assigning_does_not_register_again() {
    let service = Service::new(vec![assigning(), cut(), cut(), assigned()]);
    provisioner(&service).run().await.expect("assigned");
    assert_eq!(asked(&service), ["register", "poll 4.op", "poll 4.op", "poll 4.op", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_ends_the_registration_with_everything_the_service_said() {
    let service = Service::new(vec![refused(401, None)]);
    let error = provisioner(&service).run().await.expect_err("refused");
    assert_eq!(error.fault(), Fault::Credential);
    assert_eq!(error.endpoint(), Some("dps.example:443"));
    assert_eq!(error.to_string(), "dps.example:443 refused (register) with status 401");
    assert_eq!(asked(&service), ["register", "close"]);
}

#[tokio::test(start_paused = true)]
async fn throttled_requests_are_retried_after_the_requested_wait() {
    let service = Service::new(vec![refused(429, Some(7)), refused(503, None), assigned()]);
    provisioner(&service).run().await.expect("assigned");
    let at: Vec<u64> = service.seen().into_iter().map(|(at, _)| at).collect();
    assert!(at[1] >= 7 && at[2] >= at[1] + 5, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_ends_at_the_deadline() {
    let service = Service::new(vec![Act::Hang, Act::Hang, Act::Hang]);
    let run = provisioner(&service).attempt_timeout(Duration::from_secs(10)).deadline(Duration::from_secs(25)).run();
    let error = run.await.expect_err("no answer");
    assert_eq!(error.fault(), Fault::Deadline);
    assert!(matches!(error, ProvisionError::Transport { out_of_time: true, .. }), "{error:?}");
    // The orderly close also hangs. It ends at the deadline.
    assert_eq!(service.started.elapsed(), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn an_endless_assignment_ends_at_the_deadline() {
    let service = Service::new((0..20).map(|_| assigning()).collect());
    let error = provisioner(&service).deadline(Duration::from_secs(20)).run().await.expect_err("endless");
    assert_eq!(error.to_string(), "dps.example:443 assigned no hub within 20s");
    assert_eq!(error.fault(), Fault::Deadline);
}

#[tokio::test(start_paused = true)]
async fn the_error_says_that_no_time_was_left_to_try_again() {
    let service = Service::new(vec![refused(429, Some(60))]);
    let error = provisioner(&service).deadline(Duration::from_secs(20)).run().await.expect_err("throttled");
    assert_eq!(error.fault(), Fault::Throttled);
    assert_eq!(error.to_string(), "dps.example:443 refused (register) with status 429 (no time left to try again)");
    assert!(service.started.elapsed() < Duration::from_secs(1), "the provisioner does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_failed_assignment_contains_code_and_message() {
    let state = json!({"status": "failed", "errorCode": 400_207, "errorMessage": "Custom allocation failed"});
    let service = Service::new(vec![Act::Answer(
        json!({"operationId": "4.op", "status": "failed", "registrationState": state}),
        None,
    )]);
    let error = provisioner(&service).run().await.expect_err("failed");
    assert_eq!(error.to_string(), "the service answered `failed`, code 400207: Custom allocation failed");
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_hub_with_another_connection_profile_is_refused_by_name() {
    let state = json!({"status": "assigned", "assignedHub": "h", "deviceId": "dev-1", "connectionProfile": "mqttV5"});
    let service = Service::new(vec![Act::Answer(
        json!({"operationId": "4.op", "status": "assigned", "registrationState": state}),
        None,
    )]);
    let error = provisioner(&service).run().await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "dps.example:443 assigned a hub with the connection profile `mqttV5`; hubward supports only `classic`"
    );
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Unsupported, false));
    assert_eq!(error.endpoint(), Some("dps.example:443"));
    assert_eq!(asked(&service), ["register", "close"], "the provisioner does not try again");
}

#[tokio::test(start_paused = true)]
async fn resuming_does_not_register() {
    let service = Service::new(vec![assigned()]);
    let operation = OperationId::new("4.old").expect("id");
    provisioner(&service).resume(operation).run().await.expect("assigned");
    assert_eq!(asked(&service), ["poll 4.old", "close"]);
}

#[tokio::test(start_paused = true)]
async fn the_watcher_gets_each_step() {
    let service = Service::new(vec![assigning(), cut(), assigned()]);
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&heard);
    let watched = provisioner(&service).on_progress(move |progress| {
        let text = match progress {
            Progress::Registering => "registering".to_owned(),
            Progress::Assigning { wait } => format!("assigning {wait:?}"),
            Progress::Polling { operation } => format!("polling {operation}"),
            Progress::Retrying { error, .. } => format!("retrying after {error}"),
        };
        notes.lock().expect("notes").push(text);
    });
    watched.run().await.expect("assigned");
    assert_eq!(
        *heard.lock().expect("heard"),
        [
            "registering",
            "assigning 3s",
            "polling 4.op",
            "retrying after dps.example:443 closed the connection (poll)",
            "polling 4.op"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn limits_beyond_the_range_of_a_clock_do_not_apply() {
    let service = Service::new(vec![assigning(), cut(), assigned()]);
    let patient = RetryPolicy::default().first_wait(Duration::MAX).max_wait(Duration::MAX);
    let registered = provisioner(&service)
        .deadline(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .token_lifetime(Duration::MAX)
        .retry(patient)
        .run()
        .await;
    registered.expect("assigned");
}

#[tokio::test(start_paused = true)]
async fn a_device_with_a_certificate_sends_no_token_with_any_request() {
    let mut service = Service::new(vec![assigning(), refused(429, Some(2)), assigned()]);
    let assignment = provisioner_with_certificate(&mut service).run().await.expect("an assignment");
    assert_eq!(assignment.hub.as_str(), "hub.example");
    let requests: Vec<String> = service.seen().into_iter().map(|(_, what)| what).collect();
    assert_eq!(requests, ["register", "poll 4.op", "poll 4.op", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_whether_the_device_has_a_certificate() {
    for with_certificate in [false, true] {
        let mut service = Service::new(vec![refused(401, None)]);
        let provisioner =
            if with_certificate { provisioner_with_certificate(&mut service) } else { provisioner(&service) };
        let error = provisioner.run().await.expect_err("refused");
        let ProvisionError::Transport { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.refusal().map(|it| it.with_certificate), Some(with_certificate));
        assert_eq!(error.fault(), Fault::Credential);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_certificate_nothing_is_sent() {
    let service = Service::new(Vec::new());
    let mut provisioner = provisioner(&service);
    provisioner.credential = Credential::MissingCertificate;
    let error = provisioner.run().await.expect_err("no certificate");
    assert!(matches!(error, ProvisionError::Credential(_)), "{error}");
    assert_eq!(service.seen(), [(0, "close".to_owned())]);
}
