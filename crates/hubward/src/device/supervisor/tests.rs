//! Drives a supervisor as the client of a hub does, and checks each request on the wire, and its time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;

use hubward_dps::{AssignmentStatus, ProvisionError};
use hubward_hub::HubTarget;
use hubward_proto::OperationId;
use hubward_proto::dps::{DpsBody, DpsReply, Register};
use hubward_sas::SIGNATURE_LEN;
use hubward_transport::{
    Credential, CredentialError, DpsTransport, HubConnection, HubLogin, HubTransport, IdScope, Refusal, RefusedBy,
    RegistrationId, SasToken, Signer, Stage, TransportError, UnixSeconds,
};
use serde_json::{Value, json};

use super::requests::AFTER_METHOD;
use super::*;
use crate::device::NamedCredential;
use crate::device::cache::{CacheError, SetAside};
use crate::device::control::{CredentialChangeError, RegisterRequest};
use crate::device::event_stream::DeviceEvents;
use crate::error::SetupError;

/// The answer of the scripted DPS to a request.
enum Act {
    Answer(Value),
    Fail(TransportError),
    Hang,
}

/// What the supervisor did, each with the second in which it happened.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<Mutex<Vec<(u64, String)>>>);

impl Wire {
    fn note(&self, started: Instant, what: String) {
        self.0.lock().expect("wire").push((started.elapsed().as_secs(), what));
    }

    /// Returns the notes, and forgets them.
    fn take(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut *self.0.lock().expect("wire"))
    }

    /// Returns the notes without times, and forgets them.
    fn taken(&self) -> Vec<String> {
        self.take().into_iter().map(|(_, what)| what).collect()
    }
}

/// A credential whose `Debug` is its name.
struct Key(&'static str);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[async_trait]
impl Signer for Key {
    async fn sign(&self, _: &[u8]) -> Result<[u8; SIGNATURE_LEN], CredentialError> {
        Ok([7; SIGNATURE_LEN])
    }
}

fn key(name: &'static str) -> NamedCredential {
    NamedCredential::new(name, Credential::Signer(Arc::new(Key(name))))
}

fn name_of(credential: &Credential) -> String {
    match credential {
        Credential::Signer(key) => format!("{key:?}"),
        credential => format!("{credential:?}"),
    }
}

/// A network of one scripted DPS, and of hubs that no test connects to.
#[derive(Clone)]
struct World {
    script: Arc<Mutex<VecDeque<Act>>>,
    wire: Wire,
    started: Instant,
    /// The credential with which no transport can be built.
    unusable: Option<&'static str>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl World {
    async fn play(&self, what: String) -> Result<DpsReply, TransportError> {
        self.wire.note(self.started, what);
        let act = self.script.lock().expect("script").pop_front().expect("a request that the script expects");
        match act {
            Act::Answer(body) => {
                let operation = serde_json::from_value(body).expect("an operation");
                Ok(DpsReply::new(DpsBody::Operation(Box::new(operation)), None))
            }
            Act::Fail(error) => Err(error),
            Act::Hang => pending().await,
        }
    }

    fn check(&self, credential: &Credential) -> Result<(), SetupError> {
        match self.unusable {
            Some(name) if name == name_of(credential) => Err(SetupError::NoCertificate),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Network for World {
    fn abilities(&self, _: TransportKind) -> Abilities {
        Abilities::default()
    }

    async fn dps(&self, _: &Settings, credential: &Credential) -> Result<Box<dyn DpsTransport>, SetupError> {
        self.check(credential)?;
        Ok(Box::new(Dps { world: self.clone(), key: name_of(credential) }))
    }

    async fn hub(&self, _: &Settings, identity: HubIdentity, key: &Credential) -> Result<HubTarget, SetupError> {
        self.check(key)?;
        self.wire.note(self.started, format!("connect to {} with {}", identity.host, name_of(key)));
        let transport: Arc<dyn HubTransport> = Arc::new(NoHub);
        Ok(HubTarget::new(transport, HubLogin::new(identity), key.clone()))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn random(&self) -> f64 {
        0.5
    }
}

#[derive(Debug)]
struct Dps {
    world: World,
    key: String,
}

#[async_trait]
impl DpsTransport for Dps {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn endpoint(&self) -> String {
        "dps.example:8883".into()
    }

    async fn register(&mut self, _: &Register, _: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        self.world.play(format!("register with {}", self.key)).await
    }

    async fn operation_status(
        &mut self,
        _: &Register,
        operation: &OperationId,
        _: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        self.world.play(format!("poll {operation}")).await
    }
}

#[derive(Debug)]
struct NoHub;

#[async_trait]
impl HubTransport for NoHub {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn endpoint(&self, login: &HubLogin) -> String {
        format!("{}:8883", login.identity.host)
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn open(&self, _: &HubLogin, _: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError> {
        Err(TransportError::Unsupported("no hub"))
    }
}

/// A cache in memory.
#[derive(Debug, Clone)]
struct Memory {
    wire: Wire,
    started: Instant,
    content: Arc<Mutex<Option<CachedAssignment>>>,
    is_full: bool,
}

#[async_trait]
impl Storage for Memory {
    async fn open(&mut self, _: Binding) -> (Option<CachedAssignment>, Option<SetAside>) {
        (self.content.lock().expect("content").clone(), None)
    }

    async fn store(&mut self, _: Binding, assignment: CachedAssignment) -> Result<(), CacheError> {
        if self.is_full {
            let (what, file) = ("assignment cache", "a.cache".into());
            return Err(CacheError { what, file, problem: "no space left on device".into() });
        }
        self.wire.note(self.started, format!("store {} credential {:?}", assignment.hub, assignment.credential));
        *self.content.lock().expect("content") = Some(assignment);
        Ok(())
    }
}

/// A supervisor, and everything around it.
struct Bench {
    supervisor: Supervisor,
    control: Arc<Control>,
    wire: Wire,
    script: Arc<Mutex<VecDeque<Act>>>,
    events: DeviceEvents,
    started: Instant,
}

/// How a test starts.
struct Start {
    keys: Vec<NamedCredential>,
    cached: Option<(&'static str, Option<usize>)>,
    is_full: bool,
    unusable: Option<&'static str>,
    until: Option<u64>,
}

impl Default for Start {
    fn default() -> Self {
        Self { keys: vec![key("first")], cached: None, is_full: false, unusable: None, until: None }
    }
}

impl Start {
    fn bench(self, script: impl IntoIterator<Item = Act>) -> Bench {
        let (wire, started) = (Wire::default(), Instant::now());
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (scope, id) = (IdScope::new("0ne1").expect("a scope"), RegistrationId::new("dev-1").expect("an id"));
        let mut keys = self.keys.into_iter();
        let first = keys.next().expect("a credential");
        let settings = Settings::new("dps.example", scope, id.clone(), first.credential().clone());
        let mut settings = settings.device().cache("a.cache").credential_name("first");
        settings.fallbacks = keys.collect();
        let content = Arc::new(Mutex::new(self.cached.map(|(hub, credential)| cached(hub, credential))));
        let storage = Memory { wire: wire.clone(), started, content, is_full: self.is_full };
        let world = World { script: script.clone(), wire: wire.clone(), started, unusable: self.unusable };
        let control = Arc::new(Control::new(id, None));
        let events = control.events().subscribe();
        let until = self.until.map(|it| started + Duration::from_secs(it));
        let (network, storage) = (Box::new(world), Box::new(storage));
        let supervisor = Supervisor::new(settings, Arc::clone(&control), network, storage, until);
        Bench { supervisor, control, wire, script, events, started }
    }
}

impl Bench {
    async fn decide(&mut self, event: HubEvent) -> HubDecision {
        self.supervisor.decide(event).await
    }

    /// Starts, and lets the hub accept the device.
    async fn login(&mut self) {
        let decision = self.decide(HubEvent::Started).await;
        assert!(matches!(decision, HubDecision::Connect { .. }), "{decision:?}");
        self.decide(HubEvent::Accepted).await;
        self.wire.take();
        self.events();
    }

    async fn refused(&mut self) -> HubDecision {
        self.decide(failed(hub_refusal(), 1)).await
    }

    fn expect(&self, acts: impl IntoIterator<Item = Act>) {
        self.script.lock().expect("script").extend(acts);
    }

    /// The texts of the events since the last call.
    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.events.try_next()).map(|it| it.to_string()).collect()
    }

    fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

fn cached(hub: &str, credential: Option<usize>) -> CachedAssignment {
    let assignment = assigned(hub);
    let operation = serde_json::from_value(assignment).expect("an operation");
    let mut flow = hubward_proto::dps::Registration::new(hubward_dps::RetryPolicy::default(), None);
    let now = Instant::now().into_std();
    let _register = flow.step(now);
    flow.on_reply(now, 0.5, Ok(&DpsReply::new(DpsBody::Operation(Box::new(operation)), None)));
    match flow.step(now) {
        hubward_proto::dps::Step::End(hubward_proto::dps::RegistrationEnd::Assigned(assignment)) => {
            CachedAssignment::new(&assignment, UnixSeconds(0), credential)
        }
        step => panic!("{step:?}"),
    }
}

fn assigned(hub: &str) -> Value {
    let state = json!({"assignedHub": hub, "deviceId": "dev-1", "status": "assigned"});
    json!({"operationId": "4.op", "status": "assigned", "registrationState": state})
}

fn assign(hub: &str) -> Act {
    Act::Answer(assigned(hub))
}

fn assigning() -> Act {
    Act::Answer(json!({"operationId": "4.op", "status": "assigning"}))
}

fn refuse(status: u16, retry_after: Option<u64>) -> Act {
    let mut refusal = Refusal::new("dps.example:8883".into(), Stage::Register, RefusedBy::Status(status));
    refusal.retry_after = retry_after.map(Duration::from_secs);
    Act::Fail(TransportError::Refused(Box::new(refusal)))
}

fn cut() -> Act {
    Act::Fail(TransportError::Closed { endpoint: "dps.example:8883".into(), stage: Stage::Poll, source: None })
}

fn hub_refusal() -> TransportError {
    TransportError::Refused(Box::new(Refusal::new("hub-1:8883".into(), Stage::Login, RefusedBy::Connack(5))))
}

fn lost() -> TransportError {
    TransportError::Closed { endpoint: "hub-1:8883".into(), stage: Stage::Exchange, source: None }
}

fn failed(error: TransportError, failures: u32) -> HubEvent {
    let cause = DisconnectCause::Transport(Arc::new(error));
    HubEvent::Failed(HubFailure::new(cause, failures, Duration::ZERO, None))
}

fn waits(decision: &HubDecision) -> u64 {
    match decision {
        HubDecision::Stay { at_least } | HubDecision::Connect { at_least, .. } => at_least.as_secs(),
        decision => panic!("{decision:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_cached_assignment_a_start_connects_without_dps() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([]);
    it.decide(HubEvent::Started).await;
    it.decide(HubEvent::Accepted).await;
    assert_eq!(it.wire.taken(), ["connect to hub-1 with first"]);
    assert_eq!(
        it.events(),
        [
            "the device uses the hub hub-1 and the device id dev-1 from the cache `a.cache`",
            "the hub hub-1 accepted the device with the first"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_begins_with_the_credential_that_the_hub_accepted_last() {
    let keys = vec![key("first"), key("second")];
    let mut it = Start { keys, cached: Some(("hub-1", Some(1))), ..Start::default() }.bench([]);
    it.decide(HubEvent::Started).await;
    it.decide(HubEvent::Accepted).await;
    assert_eq!(it.wire.taken(), ["connect to hub-1 with second"]);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_is_stored_before_the_device_connects() {
    let mut it = Start::default().bench([assigning(), assign("hub-1")]);
    it.decide(HubEvent::Started).await;
    it.decide(HubEvent::Accepted).await;
    assert_eq!(
        it.wire.taken(),
        ["register with first", "poll 4.op", "store hub-1 credential Some(0)", "connect to hub-1 with first"]
    );
    assert_eq!(
        it.events(),
        [
            "the device registers at dps.example with the first: the device has no hub yet",
            "DPS assigned the device to hub-1 as dev-1",
            "the hub hub-1 accepted the device with the first"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_cannot_be_written_stops_nothing() {
    let mut it = Start { is_full: true, ..Start::default() }.bench([assign("hub-1")]);
    let decision = it.decide(HubEvent::Started).await;
    assert!(matches!(decision, HubDecision::Connect { .. }), "{decision:?}");
    let warning = "the assignment cache `a.cache` cannot be written: no space left on device; the device works, but \
                   its next start uses the older file, or registers";
    assert!(it.events().contains(&warning.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_device_tries_each_credential_then_registers_once_then_slowly() {
    let keys = vec![key("first"), key("second")];
    let mut it = Start { keys, cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([]);
    it.login().await;
    it.refused().await;
    assert_eq!(it.wire.take(), [(0, "connect to hub-1 with second".to_owned())], "the other credential, no DPS");
    assert_eq!(
        it.events(),
        ["the hub hub-1 refused the device with the first: hub-1:8883 refused the login: not authorized (CONNACK 5); \
          connecting with the second now, because the hub may accept another credential"]
    );
    it.expect([assign("hub-1")]);
    it.refused().await;
    assert_eq!(it.wire.taken()[0], "register with first", "one registration at once");
    // The new assignment does not help: both credentials are still refused.
    it.refused().await;
    it.wire.take();
    let before = it.seconds();
    it.expect([assign("hub-1")]);
    it.refused().await;
    let (at, what) = it.wire.take().remove(0);
    assert_eq!(what, "register with first");
    assert!((225..=375).contains(&(at - before)), "the first slow wait is 5 min ± 25 %: {} s", at - before);
}

#[tokio::test(start_paused = true)]
async fn a_move_asks_the_program_to_report_anew() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([assign("hub-2")]);
    it.login().await;
    it.refused().await;
    it.decide(HubEvent::Accepted).await;
    assert_eq!(
        it.wire.taken(),
        ["register with first", "store hub-2 credential Some(0)", "connect to hub-2 with first"]
    );
    let events = it.events();
    assert_eq!(events[2], "DPS moved the device from hub-1 to hub-2 as dev-1");
    assert_eq!(
        events[3],
        "the hub hub-2 accepted the device with the first; it was at hub-1 before, so the program should report all \
         properties again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_ran_out_of_time_is_continued_and_not_paid_again() {
    let mut it = Start::default().bench([assigning(), Act::Hang]);
    let asking = it.supervisor.lifecycle.policy().registration_timeout.as_secs();
    // The attempt to poll takes 30 s each, until the time of the registration is over.
    it.expect((0..100).map(|_| Act::Hang));
    let script = Arc::clone(&it.script);
    let wire = it.wire.clone();
    let running = tokio::spawn(async move {
        let decision = it.decide(HubEvent::Started).await;
        (it, decision)
    });
    sleep(Duration::from_secs(asking - 1)).await;
    *script.lock().expect("script") = VecDeque::from([assign("hub-1")]);
    let (_it, decision) = running.await.expect("it decides");
    assert!(matches!(decision, HubDecision::Connect { .. }), "{decision:?}");
    let registrations = wire.taken().iter().filter(|it| it.starts_with("register")).count();
    assert_eq!(registrations, 1);
}

#[tokio::test(start_paused = true)]
async fn each_failure_of_dps_has_its_wait() {
    for (act, least, most) in [
        (refuse(429, Some(700)), 700, 740),
        (refuse(503, None), 5, 15),
        (refuse(429, None), 5, 15),
        (cut(), 1, 15),
        (refuse(401, None), 225, 375),
        (refuse(404, None), 225, 375),
        (Act::Answer(json!({"status": "disabled", "registrationState": {"status": "disabled"}})), 225, 375),
    ] {
        let mut it = Start::default().bench([act, assign("hub-1")]);
        it.decide(HubEvent::Started).await;
        let events = it.events();
        let at: Vec<u64> = it.wire.take().iter().map(|(at, _)| *at).collect();
        assert!((least..=most).contains(&at[1]), "{} s after: {}", at[1], events[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_connection_profile_is_refused_by_its_name_and_slowly() {
    let mut answer = assigned("hub-1");
    answer["registrationState"]["connectionProfile"] = json!("mqttV5");
    let mut it = Start::default().bench([Act::Answer(answer), assign("hub-1")]);
    it.decide(HubEvent::Started).await;
    let events = it.events();
    assert!(events[1].contains("mqttV5"), "{}", events[1]);
    let at = it.wire.take()[1].0;
    assert!((225..=375).contains(&at), "the slow schedule, after {at} s: {}", events[1]);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_a_slow_wait() {
    let mut it = Start::default().bench([refuse(401, None), assign("hub-1")]);
    let control = Arc::clone(&it.control);
    let asked = tokio::spawn(async move {
        sleep(Duration::from_secs(20)).await;
        control.request_registration(RegisterRequest::Program);
    });
    it.decide(HubEvent::Started).await;
    asked.await.expect("asked");
    let wire = it.wire.take();
    assert_eq!(wire[1], (20, "register with first".to_owned()));
    assert!(it.events().contains(&"the program asked the device to register again".to_owned()));
    // The client also passes on the request. It has been carried out.
    assert!(matches!(it.decide(HubEvent::Requested).await, HubDecision::Stay { .. }));
    assert_eq!(it.wire.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_method_call_is_answered_before_the_device_registers() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([assign("hub-1")]);
    it.login().await;
    it.control.request_registration(RegisterRequest::Method("reprovision".into()));
    it.decide(HubEvent::Requested).await;
    assert_eq!(it.wire.take()[0], (AFTER_METHOD.as_secs(), "register with first".to_owned()));
    assert_eq!(it.events()[0], "an operator called the method `reprovision`: the device registers again");
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_kept_when_the_hub_has_accepted_them() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([]);
    it.login().await;
    let change = it.control.request_change(Credentials::new([key("new")]));
    it.decide(HubEvent::Requested).await;
    assert_eq!(it.wire.taken(), ["connect to hub-1 with new"]);
    it.decide(HubEvent::Accepted).await;
    assert!(change.await.is_ok());
    assert_eq!(it.wire.taken(), ["store hub-1 credential Some(0)"], "the cache belongs to the new credentials now");
    assert_eq!(
        it.events(),
        [
            "the device tries new credentials (new): connecting with the new now, because the program changed the \
             credentials",
            "the hub hub-1 accepted the device with the new",
            "the hub accepted the new new: the device keeps the new credentials"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn refused_new_credentials_are_rolled_back() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([refuse(401, None)]);
    it.login().await;
    let change = it.control.request_change(Credentials::new([key("new")]));
    it.decide(HubEvent::Requested).await;
    it.refused().await;
    let error = change.await.expect_err("rolled back");
    assert!(matches!(error, CredentialChangeError::RolledBack { .. }), "{error}");
    assert!(error.to_string().contains("401"), "the reason names the refusal: {error}");
    let wire = it.wire.taken();
    assert_eq!(wire.last().map(String::as_str), Some("connect to hub-1 with first"), "{wire:?}");
    assert!(it.events().iter().any(|it| it.starts_with("the new credentials do not work")));
}

#[tokio::test(start_paused = true)]
async fn the_future_of_a_change_always_resolves() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([]);
    it.login().await;
    let empty = it.control.request_change(Credentials::new([]));
    assert!(matches!(empty.await, Err(CredentialChangeError::Empty)));
    let replaced_in_the_mailbox = it.control.request_change(Credentials::new([key("a")]));
    let replaced_on_trial = it.control.request_change(Credentials::new([key("b")]));
    assert!(matches!(replaced_in_the_mailbox.await, Err(CredentialChangeError::Superseded)));
    it.decide(HubEvent::Requested).await;
    let ended = it.control.request_change(Credentials::new([key("c")]));
    it.decide(HubEvent::Requested).await;
    assert!(matches!(replaced_on_trial.await, Err(CredentialChangeError::Superseded)));
    let waiting = it.control.request_change(Credentials::new([key("d")]));
    drop(it.supervisor);
    assert!(matches!(ended.await, Err(CredentialChangeError::Ended)));
    assert!(matches!(waiting.await, Err(CredentialChangeError::Ended)));
    let late = it.control.request_change(Credentials::new([key("e")]));
    assert!(matches!(late.await, Err(CredentialChangeError::Ended)));
    while it.events.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_cannot_be_used_is_named_and_the_next_one_is_used() {
    let keys = || vec![key("first"), key("second")];
    let mut it = Start { keys: keys(), unusable: Some("first"), ..Start::default() }.bench([assign("hub-1")]);
    it.decide(HubEvent::Started).await;
    assert_eq!(it.wire.taken()[0], "register with second");
    let events = it.events();
    assert!(events[1].starts_with("the first cannot be used: "), "{}", events[1]);
    let cached = Some(("hub-1", Some(0)));
    let mut it = Start { keys: keys(), unusable: Some("first"), cached, ..Start::default() }.bench([]);
    it.decide(HubEvent::Started).await;
    assert_eq!(it.wire.taken(), ["connect to hub-1 with second"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_only_credential_cannot_be_used_waits_between_its_attempts_and_takes_requests() {
    let cached = Some(("hub-1", Some(0)));
    let mut it = Start { unusable: Some("first"), cached, ..Start::default() }.bench([]);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, it.decide(HubEvent::Started)).await.is_err(), "nothing can change this");
    let attempts = it.events().iter().filter(|it| it.starts_with("the first cannot be used: ")).count();
    assert!((2..=8).contains(&attempts), "5 minutes, 10 minutes, and so on: {attempts} attempts");

    let mut it = Start { unusable: Some("first"), cached, ..Start::default() }.bench([]);
    let change = it.control.request_change(Credentials::new([key("other")]));
    let decision = it.decide(HubEvent::Started).await;
    assert!(matches!(decision, HubDecision::Connect { .. }), "{decision:?}");
    assert_eq!(it.wire.taken(), ["connect to hub-1 with other"]);
    drop(change);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_stays_with_the_hub() {
    let mut it = Start { cached: Some(("hub-1", Some(0))), ..Start::default() }.bench([]);
    it.login().await;
    for failures in 1..=9 {
        let decision = it.decide(failed(lost(), failures)).await;
        assert!(matches!(decision, HubDecision::Stay { .. }), "{decision:?}");
    }
    assert_eq!(it.wire.take(), [], "no registration");
}

#[tokio::test(start_paused = true)]
async fn an_impatient_device_ends_with_the_error_that_no_retry_can_change() {
    type Case = (&'static str, Start, Vec<Act>, fn(&ConnectError) -> bool);
    let cases: [Case; 4] = [
        ("DPS refuses", Start::default(), vec![refuse(401, None)], |it| {
            matches!(it, ConnectError::Provision(ProvisionError::Transport { .. }))
        }),
        (
            "the enrollment is disabled",
            Start::default(),
            vec![Act::Answer(json!({"status": "disabled", "registrationState": {"status": "disabled"}}))],
            |it| {
                matches!(
                    it,
                    ConnectError::Provision(ProvisionError::Rejected { status: AssignmentStatus::Disabled, .. })
                )
            },
        ),
        ("no certificate", Start { unusable: Some("first"), ..Start::default() }, vec![], |it| {
            matches!(it, ConnectError::Setup(SetupError::NoCertificate))
        }),
        ("DPS asks to wait for longer", Start::default(), vec![refuse(429, Some(60))], |it| {
            matches!(it, ConnectError::Provision(ProvisionError::Transport { out_of_time: true, .. }))
        }),
    ];
    for (case, start, acts, is_expected) in cases {
        let mut it = Start { until: Some(30), ..start }.bench(acts);
        let decision = it.decide(HubEvent::Started).await;
        assert!(matches!(decision, HubDecision::End(_)), "{case}: {decision:?}");
        let error = it.control.take_verdict().expect(case);
        assert!(is_expected(&error), "{case}: {error}");
        assert_eq!(it.seconds(), 0, "{case}: at once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impatient_device_whose_new_hub_refuses_it_ends() {
    let mut it = Start { until: Some(30), ..Start::default() }.bench([assign("hub-1")]);
    it.decide(HubEvent::Started).await;
    let decision = it.refused().await;
    assert!(matches!(decision, HubDecision::End(_)), "{decision:?}");
    let error = it.control.take_verdict().expect("a reason");
    assert!(matches!(error, ConnectError::Hub(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_was_connected_never_gives_up() {
    let mut it = Start { until: Some(30), ..Start::default() }.bench([assign("hub-1")]);
    it.login().await;
    it.expect([refuse(401, None), refuse(401, None)]);
    for failures in 1..=2 {
        let decision = it.decide(failed(hub_refusal(), failures)).await;
        assert!(!matches!(decision, HubDecision::End(_)), "{decision:?}");
        waits(&decision);
    }
}
