//! A hub in memory that the test controls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::twin::Document;
use async_trait::async_trait;
use hubward_transport::{
    Abilities, Downstream, Feature, HubConnection, HubLogin, HubTransport, Lock, ProtoError, Refusal, RefusedBy,
    Replace, Reply, SasToken, Stage, Tag, TransportError, TransportKind, Upstream,
};

pub(super) const ENDPOINT: &str = "hub.example:8883";

/// The outcome of one attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    Accept,
    Unreachable,
    Refuse(u8),
    /// The hub asks for a wait of this many seconds.
    Throttle(u64),
    HangOpening,
    HangLogin,
    PanicAfterLogin,
}

/// How the hub acknowledges messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckMode {
    AtOnce,
    Manual,
}

/// A message that the hub has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) connection: usize,
    pub(super) tag: u16,
    pub(super) again: bool,
    pub(super) body: String,
}

#[derive(Debug, Clone)]
pub(super) struct FakeHub(Arc<Mutex<Hub>>);

#[derive(Debug)]
pub(super) struct Hub {
    /// The outcomes of the next attempts; all later ones are accepted.
    pub(super) outcomes: VecDeque<AttemptOutcome>,
    pub(super) ack_mode: AckMode,
    pub(super) renew_in_place: bool,
    /// Whether the device has a certificate, and so no token.
    pub(super) with_certificate: bool,
    /// The abilities of the transport; by default, those of MQTT.
    pub(super) abilities: Abilities,
    /// Number of messages that a connection buffers.
    pub(super) buffer: usize,
    pub(super) opened: usize,
    pub(super) renewed: usize,
    /// The expiry times of the tokens: one for each login, and one for each renewal in place.
    pub(super) expiries: Vec<u64>,
    pub(super) disconnects: usize,
    /// Number of existing connections and attempts.
    pub(super) alive: usize,
    pub(super) taken: Vec<Taken>,
    /// The number of messages in each write.
    pub(super) writes: Vec<usize>,
    /// The subscriptions, with their connection.
    pub(super) watched: Vec<(usize, Feature)>,
    /// The replies that connections accepted, written or not.
    pub(super) given: Vec<(usize, Reply)>,
    /// The replies that were written, with their connection.
    pub(super) replies: Vec<(usize, Reply)>,
    /// The twin document that answers requests.
    pub(super) document: Document,
    /// The certificate requests, with their connection: the id, and the request that it replaces.
    pub(super) certificate_requests: Vec<(usize, String)>,
    /// The next events for the client, with their connection.
    outgoing: VecDeque<(usize, Downstream)>,
    unacknowledged: VecDeque<(usize, Tag)>,
    acknowledged: VecDeque<(usize, Tag)>,
    cut: BTreeSet<usize>,
    wakers: Vec<Waker>,
}

impl FakeHub {
    pub(super) fn new(outcomes: impl IntoIterator<Item = AttemptOutcome>) -> Self {
        Self(Arc::new(Mutex::new(Hub {
            outcomes: outcomes.into_iter().collect(),
            ack_mode: AckMode::AtOnce,
            renew_in_place: false,
            with_certificate: false,
            abilities: mqtt(),
            buffer: usize::MAX,
            opened: 0,
            renewed: 0,
            expiries: Vec::new(),
            disconnects: 0,
            alive: 0,
            taken: Vec::new(),
            writes: Vec::new(),
            watched: Vec::new(),
            given: Vec::new(),
            replies: Vec::new(),
            document: Document::default(),
            certificate_requests: Vec::new(),
            outgoing: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            acknowledged: VecDeque::new(),
            cut: BTreeSet::new(),
            wakers: Vec::new(),
        })))
    }

    pub(super) fn acknowledging(self, answers: AckMode) -> Self {
        self.lock().ack_mode = answers;
        self
    }

    pub(super) fn boxed(&self) -> Box<dyn HubTransport> {
        Box::new(self.clone())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Acknowledges at most `count` messages, the oldest first.
    pub(super) fn acknowledge(&self, count: usize) {
        let mut hub = self.lock();
        let count = count.min(hub.unacknowledged.len());
        let tags: Vec<_> = hub.unacknowledged.drain(..count).collect();
        hub.acknowledged.extend(tags);
        hub.wake();
    }

    /// Sends an event over the newest connection.
    pub(super) fn send_event(&self, what: Downstream) {
        self.send_event_by(|_| what);
    }

    /// Sends an event over the newest connection. `what` makes the event from the number of this connection.
    pub(super) fn send_event_by(&self, what: impl FnOnce(usize) -> Downstream) {
        let mut hub = self.lock();
        let last = hub.opened;
        hub.outgoing.push_back((last, what(last)));
        hub.wake();
    }

    /// Ends the newest connection.
    pub(super) fn cut(&self) {
        let mut hub = self.lock();
        let last = hub.opened;
        hub.cut.insert(last);
        hub.wake();
    }

    pub(super) fn alive(&self) -> usize {
        self.lock().alive
    }

    pub(super) fn opened(&self) -> usize {
        self.lock().opened
    }

    pub(super) fn disconnects(&self) -> usize {
        self.lock().disconnects
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.lock().taken.iter().map(|it| it.body.clone()).collect()
    }
}

/// The abilities of MQTT.
fn mqtt() -> Abilities {
    let mut abilities = Abilities::default();
    (abilities.twin, abilities.methods, abilities.receive, abilities.certificates) = (true, true, true, true);
    abilities
}

impl Hub {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

#[async_trait]
impl HubTransport for FakeHub {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn endpoint(&self, _: &HubLogin) -> String {
        ENDPOINT.to_owned()
    }

    fn abilities(&self) -> Abilities {
        let hub = self.lock();
        let mut abilities = hub.abilities;
        abilities.renew_in_place = hub.renew_in_place;
        abilities
    }

    async fn open(&self, login: &HubLogin, token: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError> {
        if self.lock().with_certificate {
            assert!(token.is_none(), "TLS presents the certificate");
        } else {
            assert!(token.is_some_and(|it| it.covers(&login.identity.sas_resource())), "a token for this device");
        }
        let (number, outcome) = {
            let mut hub = self.lock();
            hub.opened += 1;
            hub.expiries.extend(token.map(|it| it.expiry().0));
            hub.unacknowledged.clear();
            (hub.opened, hub.outcomes.pop_front().unwrap_or(AttemptOutcome::Accept))
        };
        let alive = Alive::new(self);
        // Yields several times, so that other tasks can see that an attempt is running.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        match outcome {
            AttemptOutcome::Unreachable => {
                let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
                Err(TransportError::Connect { endpoint: ENDPOINT.into(), source })
            }
            AttemptOutcome::Throttle(wait) => {
                let mut refusal = Refusal::new(ENDPOINT.into(), Stage::Upgrade, RefusedBy::UpgradeStatus(429));
                refusal.retry_after = Some(std::time::Duration::from_secs(wait));
                Err(TransportError::Refused(Box::new(refusal)))
            }
            AttemptOutcome::HangOpening => std::future::pending().await,
            outcome => Ok(Box::new(Connection {
                number,
                outcome,
                ready: false,
                written: Vec::new(),
                watching: Vec::new(),
                allows_certificates: login.certificate_requests,
                asking: Vec::new(),
                replying: Vec::new(),
                ack_order: BTreeMap::new(),
                alive,
            })),
        }
    }
}

/// Counts attempts and connections that still exist.
#[derive(Debug)]
struct Alive(FakeHub);

impl Alive {
    fn new(hub: &FakeHub) -> Self {
        hub.lock().alive += 1;
        Self(hub.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().alive -= 1;
    }
}

#[derive(Debug)]
struct Connection {
    number: usize,
    outcome: AttemptOutcome,
    ready: bool,
    written: Vec<(Tag, Taken)>,
    watching: Vec<(Tag, Feature)>,
    allows_certificates: bool,
    asking: Vec<(Tag, Upstream)>,
    replying: Vec<Reply>,
    /// The unacknowledged messages, oldest first. The value says whether the program has settled the message.
    ack_order: BTreeMap<Lock, bool>,
    alive: Alive,
}

impl Connection {
    fn write_replies(&mut self, hub: &mut Hub) {
        hub.replies.extend(self.replying.drain(..).map(|it| (self.number, it)));
    }
}

impl HubConnection for Connection {
    fn has_room(&self) -> bool {
        self.ready && self.written.len() < self.alive.0.lock().buffer
    }

    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError> {
        assert!(self.has_room());
        let message = match what {
            Upstream::Telemetry(message) => message,
            Upstream::Subscribe(Feature::Certificates) if !self.allows_certificates => {
                return Err(TransportError::Unsupported("the login does not allow certificate requests"));
            }
            Upstream::Subscribe(feature) => {
                self.watching.push((tag, *feature));
                return Ok(());
            }
            question => {
                self.asking.push((tag, question.clone()));
                return Ok(());
            }
        };
        let body = String::from_utf8(message.body.to_vec()).expect("text");
        if body == "impossible" {
            return Err(TransportError::Request(ProtoError::Missing("a topic that fits")));
        }
        self.written.push((tag, Taken { connection: self.number, tag: tag.0.get(), again, body }));
        Ok(())
    }

    fn start_reply(&mut self, reply: &Reply) -> Result<(), TransportError> {
        assert!(self.ready, "there is nothing to reply to before the login");
        self.alive.0.lock().given.push((self.number, reply.clone()));
        self.replying.push(reply.clone());
        if let Reply::Settle { lock, .. } = reply {
            self.ack_order.insert(*lock, true);
            while self.ack_order.first_entry().is_some_and(|it| *it.get()) {
                self.ack_order.pop_first();
            }
        }
        Ok(())
    }

    fn held_back(&self) -> usize {
        self.ack_order.values().filter(|it| **it).count()
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Downstream>,
    ) -> Poll<Result<(), TransportError>> {
        let all = self.alive.0.clone();
        let mut hub = all.lock();
        if hub.cut.contains(&self.number) {
            let error = TransportError::Closed { endpoint: ENDPOINT.into(), stage: Stage::Exchange, source: None };
            return Poll::Ready(Err(error));
        }
        let before = events.len();
        match self.outcome {
            AttemptOutcome::Refuse(code) => {
                let refusal = Refusal::new(ENDPOINT.into(), Stage::Login, RefusedBy::Connack(code));
                return Poll::Ready(Err(TransportError::Refused(Box::new(refusal))));
            }
            AttemptOutcome::PanicAfterLogin if self.ready => panic!("a bug in a transport"),
            AttemptOutcome::HangLogin => {}
            _ if !self.ready => {
                self.ready = true;
                events.push(Downstream::Ready { session_present: false, server_time: None });
            }
            _ => {}
        }
        let full = self.written.len() >= hub.buffer;
        if !self.written.is_empty() {
            hub.writes.push(self.written.len());
        }
        self.write_replies(&mut hub);
        for (tag, feature) in self.watching.drain(..) {
            hub.watched.push((self.number, feature));
            events.push(Downstream::Done(tag));
        }
        for (tag, what) in self.asking.drain(..) {
            if let Upstream::IssueCertificate { id, replace, .. } = &what {
                let text = match replace {
                    None => id.to_string(),
                    Some(Replace::Any) => format!("{id} replaces *"),
                    Some(Replace::Request(other)) => format!("{id} replaces {other}"),
                };
                hub.certificate_requests.push((self.number, text));
                events.push(Downstream::Done(tag));
                continue;
            }
            let (answer, cut) = hub.document.ask(self.number, tag, &what);
            events.extend(answer);
            if cut {
                hub.cut.insert(self.number);
                cx.waker().wake_by_ref();
            }
        }
        while self.ready
            && let Some((number, what)) = hub.outgoing.pop_front()
        {
            if number == self.number {
                if let Downstream::Message(delivery) = &what {
                    self.ack_order.extend(delivery.lock.map(|it| (it, false)));
                }
                events.push(what);
            }
        }
        for (tag, taken) in self.written.drain(..) {
            hub.taken.push(taken);
            match hub.ack_mode {
                AckMode::AtOnce => events.push(Downstream::Done(tag)),
                AckMode::Manual => hub.unacknowledged.push_back((self.number, tag)),
            }
        }
        while let Some((number, tag)) = hub.acknowledged.pop_front() {
            if number == self.number {
                events.push(Downstream::Done(tag));
            }
        }
        if events.len() > before || full {
            return Poll::Ready(Ok(()));
        }
        hub.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_renew(&mut self, cx: &mut Context<'_>, token: &SasToken) -> Poll<Result<(), TransportError>> {
        let mut hub = self.alive.0.lock();
        hub.renewed += 1;
        if hub.renewed % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        hub.expiries.push(token.expiry().0);
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let all = self.alive.0.clone();
        let mut hub = all.lock();
        self.write_replies(&mut hub);
        hub.disconnects += 1;
        Poll::Ready(())
    }
}
