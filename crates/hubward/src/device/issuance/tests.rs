//! The keeper and the renewer, with a hub in memory and a paused clock. The files are real.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fastrand::Rng;
use hubward_hub::{HubTarget, IssuanceError, IssuanceRequest, UnconfirmedReason};
use hubward_proto::hub::HubIdentity;
use hubward_transport::{
    Abilities, Credential, DpsTransport, IdScope, Refusal, RefusedBy, RegistrationId, Stage, TransportKind,
};
use hubward_x509::{CertificateRequest, KeyAlgorithm};
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::cache::Binding;
use super::super::certificate_issuance::CertificateIssuance;
use super::super::control::{CertificateNews, Control};
use super::super::event_stream::DeviceEvents;
use super::super::network::Network;
use super::renewal::CertificateHub;
use super::*;
use crate::Settings;
use crate::error::SetupError;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const DEVICE: &str = "dev-1";

/// A wall clock that runs like the clock of the test, and can jump.
#[derive(Clone)]
struct World {
    started: Instant,
    /// How far the wall clock is ahead of its normal time, in seconds.
    ahead: Arc<AtomicU64>,
    rng: Arc<Mutex<Rng>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
        Self { started: Instant::now(), ahead: Arc::default(), rng }
    }

    fn jump(&self, time: Duration) {
        self.ahead.store(time.as_secs(), Ordering::SeqCst);
    }

    /// The time of the services, which never jumps: a time in 2026.
    fn service_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_700 + self.started.elapsed()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[async_trait]
impl Network for World {
    fn abilities(&self, _: TransportKind) -> Abilities {
        Abilities::default()
    }

    async fn dps(&self, _: &Settings, _: &Credential) -> Result<Box<dyn DpsTransport>, SetupError> {
        Err(SetupError::NoCertificate)
    }

    async fn hub(&self, _: &Settings, _: HubIdentity, _: &Credential) -> Result<HubTarget, SetupError> {
        Err(SetupError::NoCertificate)
    }

    fn wall(&self) -> SystemTime {
        self.service_time() + Duration::from_secs(self.ahead.load(Ordering::SeqCst))
    }

    fn random(&self) -> f64 {
        self.rng.lock().expect("randomness").f64()
    }
}

/// An authority that issues certificates for 7 days.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

/// The key of a certificate request.
struct PublicKey(CertificateRequest);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key_bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.0.key_algorithm() {
            Some(KeyAlgorithm::EcP256) => &rcgen::PKCS_ECDSA_P256_SHA256,
            _ => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { params, key, pem }
    }

    /// Issues a certificate for a request, in the texts of a service.
    fn issue(&self, csr: &str, now: SystemTime) -> Vec<String> {
        let armoured = format!("-----BEGIN CERTIFICATE REQUEST-----\n{csr}\n-----END CERTIFICATE REQUEST-----\n");
        let request = CertificateRequest::from_pem(armoured.as_bytes()).expect("a request");
        assert_eq!(request.common_name(), Some(DEVICE));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, DEVICE);
        (params.not_before, params.not_after) = ((now - MINUTE * 5).into(), (now + DAY * 7).into());
        let issuer = Issuer::from_params(&self.params, &self.key);
        let leaf = params.signed_by(&PublicKey(request), &issuer).expect("a certificate");
        vec![leaf.pem(), self.pem.clone()]
    }
}

/// The answer of the hub to a request.
enum Act {
    Issue,
    Fail(IssuanceError),
    /// A chain that cannot be used.
    Garbage,
    Hang,
}

/// A request that reached the hub.
#[derive(Debug, Clone)]
struct Seen {
    after: Duration,
    id: String,
    csr: String,
    replaces: bool,
}

/// A hub in memory. If the script is empty, it issues certificates.
#[derive(Clone)]
struct FakeHub(Arc<HubState>);

struct HubState {
    world: World,
    authority: Authority,
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
    running: AtomicU64,
}

/// Counts a running request.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "one request at a time");
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeHub {
    fn expect(&self, acts: impl IntoIterator<Item = Act>) {
        self.0.script.lock().expect("script").extend(acts);
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().expect("requests").clone()
    }
}

#[async_trait]
impl CertificateHub for FakeHub {
    fn device_id(&self) -> Option<String> {
        Some(DEVICE.to_owned())
    }

    async fn request_certificate(&self, request: IssuanceRequest) -> Result<Vec<String>, IssuanceError> {
        let _running = Running::new(&self.0.running);
        self.0.seen.lock().expect("requests").push(Seen {
            after: self.0.world.started.elapsed(),
            id: request.id.as_str().to_owned(),
            csr: request.csr.as_str().to_owned(),
            replaces: request.replace_pending,
        });
        let act = self.0.script.lock().expect("script").pop_front().unwrap_or(Act::Issue);
        sleep(Duration::from_secs(20)).await;
        match act {
            Act::Issue => Ok(self.0.authority.issue(request.csr.as_str(), self.0.world.service_time())),
            Act::Fail(error) => Err(error),
            Act::Garbage => Ok(vec![self.0.authority.pem.clone()]),
            Act::Hang => std::future::pending().await,
        }
    }

    fn ask_provider(&self) {}
}

/// A device with a keeper and a renewer. The test is its supervisor.
struct Bench {
    world: World,
    hub: FakeHub,
    keeper: Arc<Keeper>,
    control: Arc<Control>,
    events: DeviceEvents,
    renewer: JoinHandle<()>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("certificates");
        let world = World::new(seed);
        let keeper = Arc::new(keeper(&world, &file));
        assert_eq!(keeper.open().await.0, Readiness::Lacking);
        let control = Arc::new(Control::new(RegistrationId::new(DEVICE).expect("an id"), None));
        let events = control.events().subscribe();
        let state = HubState {
            world: world.clone(),
            authority: Authority::new(),
            script: Mutex::default(),
            seen: Mutex::default(),
            running: AtomicU64::new(0),
        };
        let hub = FakeHub(Arc::new(state));
        let renewer = Renewer::new(Arc::clone(&keeper), Arc::clone(&control), hub.clone());
        let renewer = tokio::spawn(renewer.run());
        Self { world, hub, keeper, control, events, renewer, file, _folder: folder }
    }

    /// A device that DPS has issued a certificate to, and that is connected.
    async fn connected(seed: u64) -> Self {
        let bench = Self::new(seed).await;
        bench.register().await;
        bench
    }

    async fn register(&self) {
        let csr = self.keeper.order(DEVICE).await.expect("a request");
        let chain = self.hub.0.authority.issue(csr.as_str(), self.world.service_time());
        self.keeper.on_assigned(Some(&chain)).await.expect("a certificate");
        assert!(self.keeper.on_accepted().await.is_none(), "the first certificate is not on trial");
    }

    /// Waits for news of the renewer.
    async fn news(&self) -> CertificateNews {
        self.control.requested().await;
        self.control.take_requests().certificate.expect("news of the certificate")
    }

    /// Waits for the next event, and returns its text.
    async fn event(&mut self) -> String {
        self.events.next().await.expect("the device has not ended").to_string()
    }

    fn elapsed(&self) -> Duration {
        self.world.started.elapsed()
    }

    /// What the next start finds in the file.
    async fn after_crash(&self) -> (Readiness, Keeper) {
        let next = keeper(&self.world, &self.file);
        let (readiness, set_aside) = next.open().await;
        assert_eq!(set_aside, None);
        (readiness, next)
    }
}

fn keeper(world: &World, file: &Path) -> Keeper {
    let settings = CertificateIssuance::new(file).key_algorithm(KeyAlgorithm::EcP256);
    let (scope, id) = (IdScope::new("0ne1").expect("a scope"), RegistrationId::new(DEVICE).expect("an id"));
    let binding = Binding::new("dps.example", &scope, &id, [&Credential::MissingCertificate]);
    Keeper::new(&settings, binding, Arc::new(world.clone()))
}

fn refused(status: u16, code: u32, retry_after: Option<Duration>) -> Act {
    let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
    (refusal.error_code, refusal.retry_after) = (Some(code), retry_after);
    Act::Fail(IssuanceError::Refused(Box::new(refusal)))
}

fn silence() -> Act {
    let reason = UnconfirmedReason::Deadline { after: MINUTE * 2, cause: None };
    Act::Fail(IssuanceError::Unknown { reason })
}

#[tokio::test(start_paused = true)]
async fn a_year_of_certificates_is_renewed_in_time_and_without_a_gap() {
    for seed in 0..3 {
        let bench = Bench::connected(seed).await;
        let (mut last, mut times) = (bench.elapsed(), Vec::new());
        while bench.elapsed() < DAY * 365 {
            assert_eq!(bench.news().await, CertificateNews::Renewed);
            let at = bench.elapsed();
            times.push(at - last);
            last = at;
            assert!(!bench.keeper.is_expired(), "seed {seed}: no gap");
            let (not_after, stored) = bench.keeper.on_accepted().await.expect("a trial");
            stored.expect("stored");
            let left = not_after.duration_since(bench.world.service_time()).expect("valid");
            assert!(left > DAY * 7 - MINUTE, "seed {seed}: {left:?}");
        }
        for time in &times {
            let share = time.as_secs_f64() / (DAY * 7).as_secs_f64();
            assert!((0.745..0.855).contains(&share), "seed {seed}: renewed after {share}");
        }
        assert!((61..=71).contains(&times.len()), "seed {seed}: {} renewals", times.len());
        let seen = bench.hub.seen();
        assert_eq!(seen.len(), times.len(), "seed {seed}: no other requests");
        for of in [|it: &Seen| it.csr.clone(), |it: &Seen| it.id.clone()] {
            let different: std::collections::BTreeSet<_> = seen.iter().map(of).collect();
            assert_eq!(different.len(), seen.len(), "seed {seed}: each request has a key and an id of its own");
        }
        assert!(seen.iter().all(|it| !it.replaces), "seed {seed}");
        let (readiness, next) = bench.after_crash().await;
        assert_eq!((readiness, next.certificate()), (Readiness::Usable, bench.keeper.certificate()), "seed {seed}");
        bench.renewer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_tried_again_and_replaces_a_request_without_an_answer() {
    let mut bench = Bench::connected(1).await;
    let first = bench.keeper.certificate();
    bench.hub.expect([
        refused(400, 400_004, None),
        silence(),
        refused(429, 429_002, Some(HOUR * 3)),
        Act::Garbage,
        Act::Issue,
    ]);
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(bench.event().await);
        assert_eq!(bench.keeper.certificate(), first, "the device keeps its certificate");
    }
    for (text, expected) in texts.iter().zip([
        "could not be renewed: hub.example:8883 refused (exchange) with status 400, code 400004; trying again in ",
        "could not be renewed: the certificate request was sent, but the hub did not send a certificate: ",
        "trying again in 3 h",
        "could not be renewed: the issued certificate cannot be used: ",
    ]) {
        assert!(text.contains(expected), "{text}");
    }
    assert!(bench.event().await.starts_with("the hub issued a certificate to the device"));
    assert_eq!(bench.news().await, CertificateNews::Renewed);
    let seen = bench.hub.seen();
    assert_eq!(seen.iter().map(|it| it.replaces).collect::<Vec<_>>(), [false, false, true, false, false]);
    // The answer takes 20 s. The waits double from 1 minute, and each is between a half and all of it.
    let waits: Vec<f64> = seen.windows(2).map(|it| (it[1].after - it[0].after).as_secs_f64() - 20.0).collect();
    for (wait, range) in waits.iter().zip([30.0..=60.0, 60.0..=120.0, 10_800.0..=10_860.0, 240.0..=480.0]) {
        assert!(range.contains(wait), "{wait} is not in {range:?}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_never_renews_leads_to_dps_when_the_certificate_has_expired() {
    let mut bench = Bench::connected(2).await;
    bench.hub.expect((0..1000).map(|_| refused(500, 500_001, None)));
    assert_eq!(bench.news().await, CertificateNews::Expired);
    let at = bench.elapsed();
    assert!(at >= DAY * 7 && at < DAY * 7 + HOUR, "after {at:?}");
    assert!(bench.keeper.is_expired());
    let tried = bench.hub.seen().len();
    assert!((20..100).contains(&tried), "{tried} requests before");
    // The registration fails. The next one follows later.
    let mut waits = Vec::new();
    for _ in 0..4 {
        let before = bench.elapsed();
        bench.keeper.on_registration_failed();
        assert_eq!(bench.news().await, CertificateNews::Expired);
        waits.push(bench.elapsed() - before);
    }
    assert!(waits.is_sorted() && waits[0] >= MINUTE / 2 && waits[3] >= MINUTE * 4, "{waits:?}");
    bench.register().await;
    assert!(!bench.keeper.is_expired());
    assert_eq!(bench.hub.seen().len(), tried, "no request to the hub after the end");
    while bench.events.try_next().is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_within_10_minutes() {
    let bench = Bench::connected(3).await;
    sleep(HOUR).await;
    bench.world.jump(DAY * 6);
    let before = bench.elapsed();
    assert_eq!(bench.news().await, CertificateNews::Renewed);
    assert!(bench.elapsed() - before <= MINUTE * 11, "{:?}", bench.elapsed() - before);
    bench.keeper.on_accepted().await;
    // The clock is wrong for good: the device does not renew without end.
    sleep(DAY * 5).await;
    assert_eq!(bench.hub.seen().len(), 1);
    // An expired certificate that is valid after all needs no registration.
    bench.world.jump(DAY * 365);
    assert_eq!(bench.news().await, CertificateNews::Expired);
    bench.world.jump(Duration::ZERO);
    assert!(!bench.keeper.is_expired());
    bench.keeper.drop_request();
    assert_eq!(bench.news().await, CertificateNews::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_registration_abandons_a_running_renewal() {
    let mut bench = Bench::connected(4).await;
    bench.hub.expect([Act::Hang]);
    sleep(DAY * 6).await;
    assert_eq!((bench.hub.seen().len(), bench.hub.0.running.load(Ordering::SeqCst)), (1, 1));
    let csr = bench.keeper.order(DEVICE).await.expect("a request");
    tokio::task::yield_now().await;
    assert_eq!(bench.hub.0.running.load(Ordering::SeqCst), 0, "one request at a time");
    sleep(HOUR).await;
    assert_eq!(bench.hub.seen().len(), 1, "no renewal during a registration");
    let chain = bench.hub.0.authority.issue(csr.as_str(), bench.world.service_time());
    bench.keeper.on_assigned(Some(&chain)).await.expect("the key of the registration is still there");
    bench.keeper.on_accepted().await;
    assert!(bench.events.try_next().is_none(), "an abandoned request has no outcome");
    assert_eq!(bench.news().await, CertificateNews::Renewed);
    // A failed registration returns to the renewals at the hub.
    bench.keeper.on_accepted().await;
    bench.hub.expect([Act::Hang]);
    sleep(DAY * 6).await;
    bench.keeper.order(DEVICE).await.expect("a request");
    bench.keeper.on_registration_failed();
    assert!(bench.keeper.last_order().is_some(), "the device may continue the registration");
    assert_eq!(bench.news().await, CertificateNews::Renewed);
    assert_eq!(bench.keeper.last_order(), None, "the key of the registration has been replaced");
    bench.keeper.end();
    bench.renewer.await.expect("the renewer ends with the device");
}

#[tokio::test(start_paused = true)]
async fn a_device_without_a_connection_requests_nothing() {
    let bench = Bench::connected(5).await;
    assert!(matches!(bench.keeper.on_hub_failed(false, 1, 3).await, Verdict::Keep));
    sleep(DAY * 30).await;
    assert_eq!(bench.hub.seen().len(), 0);
    assert!(matches!(bench.keeper.on_hub_failed(false, 2, 3).await, Verdict::Expired));
}

/// The order is key, chain, use. The next start works after each step.
#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_step_the_next_start_knows_what_to_do() {
    let bench = Bench::new(6).await;
    let now = |bench: &Bench| bench.world.service_time();
    let csr = bench.keeper.order(DEVICE).await.expect("a request");
    assert_eq!(bench.after_crash().await.0, Readiness::Lacking, "the key is stored, and there is no chain");
    let chain = bench.hub.0.authority.issue(csr.as_str(), now(&bench));
    bench.keeper.on_assigned(Some(&chain)).await.expect("a certificate");
    let (readiness, next) = bench.after_crash().await;
    assert_eq!((readiness, next.certificate()), (Readiness::Usable, bench.keeper.certificate()));
    let first = bench.keeper.certificate();
    bench.keeper.on_accepted().await;

    // A renewal: the key is stored, then the chain. The certificate before stays until the hub has accepted the new
    // one.
    sleep(DAY * 5).await;
    let csr = bench.keeper.store_key(DEVICE, Some("request-1".to_owned())).await.expect("a request");
    let (readiness, next) = bench.after_crash().await;
    assert_eq!((readiness, next.certificate()), (Readiness::Usable, first.clone()));
    let chain = bench.hub.0.authority.issue(csr.as_str(), now(&bench));
    let issued = bench.keeper.store_chain(&chain).await.expect("stored");
    let (readiness, next) = bench.after_crash().await;
    assert_eq!((readiness, next.certificate()), (Readiness::Usable, Some(issued.certificate.clone())));
    // The next start tries the new certificate. The hub refuses it.
    let Verdict::RolledBack(stored) = next.on_hub_failed(true, 1, 3).await else { panic!("a trial") };
    stored.expect("stored");
    assert_eq!(next.certificate(), first);
    let (readiness, next) = bench.after_crash().await;
    assert_eq!((readiness, next.certificate()), (Readiness::Usable, first.clone()));
    assert!(matches!(next.on_hub_failed(true, 1, 3).await, Verdict::Keep), "there is nothing to return to");

    // DPS assigns without a certificate.
    assert!(matches!(next.on_assigned(None).await, Err(NotIssued::ByDps)));
    assert_eq!(next.certificate(), None);
    let (readiness, next) = bench.after_crash().await;
    assert_eq!((readiness, next.certificate()), (Readiness::Declined, None));
}

#[tokio::test(start_paused = true)]
async fn a_trial_ends_with_a_refusal_or_with_several_failures_while_the_certificate_before_is_valid() {
    for (what, wait, is_refused, failures, expected) in [
        ("a refusal", HOUR, true, 1, "back"),
        ("a failure", HOUR, false, 1, "keep"),
        ("two failures", HOUR, false, 2, "keep"),
        ("three failures", HOUR, false, 3, "back"),
        ("a refusal, too late for the old one", DAY * 2, true, 1, "keep"),
        ("three failures, too late for the old one", DAY * 2, false, 3, "keep"),
        ("both have expired", DAY * 8, true, 1, "expired"),
    ] {
        let bench = Bench::connected(7).await;
        let first = bench.keeper.certificate();
        assert_eq!(bench.news().await, CertificateNews::Renewed, "{what}");
        let second = bench.keeper.certificate();
        assert_ne!(first, second, "{what}");
        // The hub does not answer. The renewer requests nothing during the trial.
        assert!(matches!(bench.keeper.on_hub_failed(false, 0, 3).await, Verdict::Keep), "{what}");
        sleep(wait).await;
        let verdict = match bench.keeper.on_hub_failed(is_refused, failures, 3).await {
            Verdict::Keep => "keep",
            Verdict::Expired => "expired",
            Verdict::RolledBack(stored) => {
                stored.expect("stored");
                "back"
            }
        };
        assert_eq!(verdict, expected, "{what}");
        let in_use = if verdict == "back" { first } else { second };
        assert_eq!(bench.keeper.certificate(), in_use, "{what}");
        assert_eq!(bench.hub.seen().len(), 1, "{what}");
        bench.renewer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_made_or_stored_sends_no_request() {
    let world = World::new(8);
    let folder = tempfile::tempdir().expect("a folder");
    let missing = keeper(&world, &folder.path().join("there/is/no/such/folder"));
    missing.open().await;
    let Err(NotIssued::Request(text)) = missing.order(DEVICE).await else { panic!("no folder") };
    assert!(text.starts_with("the certificate store `") && text.contains("cannot be written"), "{text}");
    let good = keeper(&world, &folder.path().join("certificates"));
    good.open().await;
    let Err(NotIssued::Request(text)) = good.order(&"x".repeat(65)).await else { panic!("a long name") };
    assert!(text.contains("65"), "{text}");
    let rsa = CertificateIssuance::new(folder.path().join("rsa")).key_algorithm(KeyAlgorithm::Rsa);
    let (scope, id) = (IdScope::new("0ne1").expect("a scope"), RegistrationId::new(DEVICE).expect("an id"));
    let binding = Binding::new("dps.example", &scope, &id, [&Credential::MissingCertificate]);
    let rsa = Keeper::new(&rsa, binding, Arc::new(world));
    assert!(matches!(rsa.order(DEVICE).await, Err(NotIssued::Request(_))));
    // A chain that DPS sends without a request is of no use.
    let chain = vec![Authority::new().pem];
    assert!(matches!(rsa.on_assigned(Some(&chain)).await, Err(NotIssued::ByDps)));
}

#[test]
fn debug_shows_the_settings_but_no_clock() {
    let text = format!("{:?}", CertificateIssuance::new("a.certificate").clock(|| SystemTime::UNIX_EPOCH));
    assert!(text.contains("a.certificate") && text.contains("clock: Some(..)"), "{text}");
    assert_eq!(CertificateIssuance::beside("a/b.cache").file, PathBuf::from("a/b.cache.certificate"));
}
