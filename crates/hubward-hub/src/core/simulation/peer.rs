//! Simulates the hub, the network, and the driver that connects them with the client. The random generator decides what
//! the hub and the network do. Assertions check that the client keeps its guarantees.

use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::time::Duration;

use hubward_transport::{
    CredentialError, Downstream, Feature, ProtoError, Refusal, RefusedBy, Stage, Tag, TlsFault, TransportError,
    Upstream,
};
use tokio::time::Instant;

use super::coverage::{At, Kind};
use super::model::{Connection, Failure, Happening, Request};
use super::world::World;
use crate::core::{Link, TokenKind, TokenLife};
use crate::features::{Outgoing, is_request};
use crate::{ConnectionState, DisconnectCause};

const ENDPOINT: &str = "hub.example:8883";

/// After this time the client may repeat an unanswered request.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

impl World<'_> {
    pub(super) fn happen(&mut self, happening: Happening, late: bool) {
        let cuts = matches!(happening, Happening::Fails(Failure::Cut(_) | Failure::Silence));
        if self.connection.dead && !cuts {
            return;
        }
        if late && self.is_waited_for(happening) {
            self.note(Kind::Late);
        }
        match happening {
            Happening::Opened => {
                self.connection.open = true;
                let life = self.fresh();
                self.core.on_opened(self.now, life);
            }
            Happening::Ready => {
                // The hub may have kept the client's session since the last connection, or lost it. The core does not
                // know which, and sends unacknowledged messages again in both cases.
                if self.hub.was_connected && self.rng.bool() {
                    self.note(Kind::SessionLost);
                }
                self.hub.was_connected = true;
                self.core.on_ready(self.now);
                assert!(matches!(self.core.state, ConnectionState::Connected));
            }
            Happening::Fails(failure) => self.fail(failure),
            Happening::Arrives(message, tag) => {
                self.connection.on_the_way -= 1;
                if !std::mem::replace(&mut self.records[message].taken, true) {
                    assert!(self.last_taken < Some(message), "out of order: {}", self.about());
                    self.last_taken = Some(message);
                }
                if !self.connection.mute {
                    self.later(0.0, 1.0, Happening::Acknowledged(tag));
                }
            }
            Happening::Acknowledged(tag) => self.acknowledge(tag),
            Happening::Response(tag, request) => self.respond(tag, request),
            Happening::Desired(version) => {
                let body = format!("{{\"n\":{version},\"$version\":{version}}}");
                self.features.on_event(self.now, Downstream::Desired(body.into()));
            }
            Happening::Disconnected => self.core.on_disconnected(self.now),
            Happening::Decided(decision) => self.decide(decision),
            Happening::Renewed => {
                self.connection.renewing = false;
                if let Some(life) = self.fresh() {
                    self.core.on_renewed(self.now, life);
                }
            }
        }
    }

    /// A new token, if the credential can sign one.
    fn fresh(&self) -> Option<TokenLife> {
        let setup = &self.core.setup;
        (setup.target.token == TokenKind::Renewable)
            .then_some(TokenLife { span: setup.options.token_lifetime, age: Duration::ZERO })
    }

    /// Whether the client waits for exactly this event.
    fn is_waited_for(&self, happening: Happening) -> bool {
        match happening {
            Happening::Opened => matches!(self.at(), At::Opening | At::Reopening),
            Happening::Ready => matches!(self.at(), At::Login | At::Relogin),
            Happening::Acknowledged(_) => !self.connection.disconnecting,
            Happening::Disconnected => matches!(self.at(), At::Disconnecting | At::FinalDisconnect),
            Happening::Renewed => self.at() == At::Renewing,
            _ => false,
        }
    }

    fn fail(&mut self, failure: Failure) {
        let at = self.at();
        let is_exchange = matches!(at, At::Up | At::Renewing | At::Draining);
        // Ignore two failures that cannot happen in this state:
        //
        // * A transport reports a silent peer only between the login and the disconnect.
        // * During the last disconnect, and while a move waits for acknowledgements, the client waits for no token, so
        //   signing cannot fail.
        let signs_nothing = matches!(at, At::FinalDisconnect | At::Draining);
        if !is_exchange && failure == Failure::Silence || signs_nothing && failure == Failure::NoToken {
            return;
        }
        let stage = match at {
            At::Opening | At::Reopening => Stage::Connect,
            At::Login | At::Relogin => Stage::Login,
            _ => Stage::Exchange,
        };
        let endpoint = ENDPOINT.to_owned();
        let refused = |by| Refusal::new(ENDPOINT.to_owned(), stage, by);
        let (kind, error) = match failure {
            Failure::Unreachable => {
                (Kind::Unreachable, TransportError::Connect { endpoint, source: ErrorKind::ConnectionRefused.into() })
            }
            Failure::Tls => {
                let source = ErrorKind::InvalidData.into();
                (Kind::Tls, TransportError::Tls { endpoint, fault: TlsFault::Untrusted, source })
            }
            Failure::Upgrade => {
                let mut refusal = refused(RefusedBy::UpgradeStatus(503));
                refusal.retry_after = Some(Duration::from_secs(1));
                (Kind::Upgrade, TransportError::Refused(Box::new(refusal)))
            }
            Failure::NoToken => (Kind::NoToken, TransportError::Credential(CredentialError::Signer("busy".into()))),
            Failure::Connack(code) => {
                let kind = if code == 5 { Kind::RefusedPermanently } else { Kind::RefusedTemporarily };
                (kind, TransportError::Refused(Box::new(refused(RefusedBy::Connack(code)))))
            }
            Failure::Cut(source) => {
                (Kind::Cut, TransportError::Closed { endpoint, stage, source: source.map(Into::into) })
            }
            Failure::Silence => {
                (Kind::Silence, TransportError::Timeout { endpoint, stage, after: Duration::from_secs(20) })
            }
        };
        self.note(kind);
        self.hub.cuts += u32::from(kind == Kind::Cut && is_exchange);
        let (is_first, is_fixed) = (!self.hub.was_connected, self.core.setup.target.token == TokenKind::Fixed);
        let gives_up = match kind {
            // The provider decides.
            _ if self.core.setup.is_supervised => false,
            Kind::Tls => is_first,
            Kind::NoToken | Kind::RefusedPermanently => is_first || is_fixed,
            _ => false,
        };
        let was_ending = self.core.is_ending();
        self.core.on_lost(self.now, error);
        self.connection.number = 0;
        assert_eq!(self.core.is_ending(), gives_up || was_ending, "{}", self.about());
        self.judge(kind, at);
    }

    /// Checks the failure that the program sees.
    fn judge(&mut self, kind: Kind, at: At) {
        let (cuts, now) = (self.hub.cuts, self.now);
        let ConnectionState::Disconnected { cause, next_try, .. } = &self.core.state else { return };
        match cause {
            DisconnectCause::DuplicateIdentity { takeovers, .. } => {
                let wait = *next_try - now;
                assert!(kind == Kind::Cut && (5..=cuts).contains(takeovers), "{takeovers}: {}", self.about());
                assert!(wait >= self.core.setup.options.duplicate_wait, "only {wait:?}: {}", self.about());
                self.note_at(Kind::Duplicate, at);
            }
            DisconnectCause::Transport(error) => {
                let is_cut = matches!(**error, TransportError::Closed { stage: Stage::Exchange, .. });
                assert!(!is_cut || cuts < 5, "not recognised after {cuts}: {}", self.about());
            }
            DisconnectCause::AckOverdue { .. } => panic!("{cause}: {}", self.about()),
        }
    }

    fn acknowledge(&mut self, tag: Tag) {
        if self.connection.disconnecting {
            return;
        }
        let stray = Tag(NonZeroU16::MIN.saturating_add(self.rng.u16(..10)));
        if !self.connection.unacknowledged.contains_key(&stray) {
            self.note(Kind::AckOfNothing);
            self.core.on_done(self.now, stray);
        }
        let first = self.connection.unacknowledged.values().min().copied();
        let message = self.connection.unacknowledged.remove(&tag).expect("one answer for each arrival");
        if Some(message) != first {
            self.note(Kind::AckOutOfOrder);
        }
        self.core.on_done(self.now, tag);
        if self.rng.u8(..20) == 0 && matches!(self.at(), At::Up | At::Renewing | At::Draining) {
            self.note(Kind::AckRepeated);
            self.core.on_done(self.now, tag);
        }
    }

    fn respond(&mut self, tag: Tag, request: Request) {
        if self.connection.disconnecting || self.connection.mute {
            return;
        }
        let event = match request {
            Request::Subscribe(feature, granted) => {
                self.connection.requested.remove(&tag);
                if granted {
                    self.connection.granted.insert(feature);
                    Downstream::Done(tag)
                } else {
                    self.note(Kind::SubscriptionRefused);
                    let refusal = Refusal::new(ENDPOINT.into(), Stage::Subscribe, RefusedBy::Suback);
                    Downstream::Refused(tag, Box::new(refusal))
                }
            }
            Request::Twin => {
                let version = self.hub.desired;
                let body = format!(
                    "{{\"desired\":{{\"n\":{version},\"$version\":{version}}},\"reported\":{{\"$version\":1}}}}"
                );
                Downstream::Twin(tag, body.into())
            }
        };
        self.features.on_event(self.now, event);
    }

    /// The cloud changes the desired properties; a subscribed client is informed.
    pub(super) fn change_desired(&mut self) {
        for _ in 0..self.rng.usize(1..=3) {
            self.hub.desired += 1;
            let announced = self.connection.granted.contains(&Feature::Desired) && self.core.up().is_some();
            // A notice has QoS 0 and may be lost.
            if announced && self.rng.f64() > 0.2 * self.rough {
                let happening = Happening::Desired(self.hub.desired);
                self.send_in_order(happening);
            }
        }
    }

    /// Plans an event from the hub. It arrives after all events that the hub sent earlier.
    fn send_in_order(&mut self, happening: Happening) {
        let at = self.connection.last_event.unwrap_or(self.now).max(self.now + self.delay(0.3));
        self.connection.last_event = Some(at);
        self.at_time(at, happening);
    }

    /// Does what a driver does after every event.
    pub(super) fn drive(&mut self) {
        loop {
            self.follow_move();
            let link = self.core.link();
            self.features.on_connection(self.now, self.core.up());
            match link {
                Link::Nothing | Link::Ended => self.connection = Connection::default(),
                Link::Opening(number) if self.connection.number != number => self.begin(number),
                Link::Opening(_) => {}
                Link::Open(number) | Link::OpenRenewing(number) => {
                    assert!(self.connection.open && self.connection.number == number, "{}", self.about());
                    if matches!(link, Link::OpenRenewing(_)) && !self.connection.renewing {
                        self.connection.renewing = true;
                        self.renew();
                    }
                    self.send_requests();
                    self.send_messages();
                }
                // The connection broke at the same moment.
                Link::Disconnecting(number) if self.connection.number != number => self.core.on_disconnected(self.now),
                Link::Disconnecting(_) => self.disconnect(),
            }
            self.receive();
            self.ask();
            if self.core.link() == link && self.core.moves() == self.moves {
                break;
            }
        }
        self.check();
    }

    fn renew(&mut self) {
        if self.rng.f64() >= 0.5 * self.rough {
            return self.later(0.0, 1.0, Happening::Renewed);
        }
        if self.rng.bool() {
            self.later(0.0, 0.5, Happening::Fails(Failure::NoToken));
        }
    }

    fn disconnect(&mut self) {
        if std::mem::replace(&mut self.connection.disconnecting, true) {
            return;
        }
        match self.rng.u8(..8) {
            0 => self.later(0.0, 0.5, Happening::Fails(Failure::Cut(None))),
            1 => {}
            _ => self.later(0.0, 0.5, Happening::Disconnected),
        }
    }

    /// Begins an attempt, and draws its outcome.
    fn begin(&mut self, number: u64) {
        self.connection = Connection { number, ..Connection::default() };
        let is_rough = |world: &mut Self, times| world.rng.f64() < times * world.rough;
        if is_rough(self, 0.3) {
            let failure = match self.rng.u8(..16) {
                0..4 => return,
                4..8 => Failure::Unreachable,
                8..11 => Failure::Cut(None),
                11..13 => Failure::Upgrade,
                13 => Failure::Tls,
                14 => Failure::NoToken,
                _ => Failure::Cut(Some(ErrorKind::ConnectionReset)),
            };
            return self.later(0.0, 1.0, Happening::Fails(failure));
        }
        self.later(0.0, 0.3, Happening::Opened);
        if is_rough(self, 0.3) {
            let failure = match self.rng.u8(..8) {
                0..2 => return,
                2..4 => Failure::Cut(None),
                4 => Failure::Connack(5),
                _ => Failure::Connack(3),
            };
            return self.later(0.3, 0.5, Happening::Fails(failure));
        }
        self.later(0.3, 0.3, Happening::Ready);
        self.connection.mute = is_rough(self, 0.2);
        if self.fought || is_rough(self, 1.0) {
            let source = [None, Some(ErrorKind::ConnectionReset), Some(ErrorKind::UnexpectedEof)][self.rng.usize(..3)];
            let most = if self.fought || self.rng.bool() { 4.0 } else { 25.0 };
            let at = self.now + Duration::from_secs(1) + self.delay(most);
            self.at_time(at, Happening::Fails(Failure::Cut(source)));
        }
    }

    /// Gives the features' requests to the connection.
    fn send_requests(&mut self) {
        while let Some(out) = self.features.next(self.now, self.core.may_request(self.now)) {
            let Outgoing::Request(tag, what) = out else { panic!("a reply without a call or message: {out:?}") };
            assert!(is_request(tag), "{tag:?} is a message's: {}", self.about());
            let request = match what {
                Upstream::Subscribe(feature) => {
                    let (requested, now) = (&mut self.connection.requested, self.now);
                    let waits = |it: &(Feature, Instant)| it.0 == feature && now < it.1 + REPEAT_INTERVAL;
                    let twice = requested.values().any(waits) || requested.insert(tag, (feature, now)).is_some();
                    let twice = twice || self.connection.granted.contains(&feature);
                    assert!(!twice, "{feature} is requested twice: {}", self.about());
                    self.hub.subscribed.insert(feature);
                    Request::Subscribe(feature, self.rng.f64() > 0.2 * self.rough)
                }
                Upstream::TwinGet => {
                    assert!(self.connection.granted.contains(&Feature::TwinResponses), "{}", self.about());
                    Request::Twin
                }
                other => panic!("{other:?}: {}", self.about()),
            };
            self.send_in_order(Happening::Response(tag, request));
        }
    }

    /// Gives messages to the connection, as many as it accepts.
    fn send_messages(&mut self) {
        let buffer = 1 + self.rng.usize(..10);
        while self.connection.on_the_way < buffer {
            let next = self.core.next_send(self.now);
            self.receive();
            let Some((tag, again)) = next else { break };
            let message = *self.core.message(tag).expect("a message under the tag");
            let record = &self.records[message];
            assert_eq!(again, record.tag.is_some(), "DUP is set exactly on repetitions: {}", self.about());
            assert!(record.outcome.is_none(), "message {message} was resolved already, and is sent: {}", self.about());
            assert!(record.tag.is_none_or(|it| it == tag), "a message keeps its id: {}", self.about());
            if record.is_sent {
                self.note(Kind::SentAgain);
                assert!(!self.connection.sent_new, "repetitions come first: {}", self.about());
                assert!(self.connection.last_again < Some(message), "repetitions in order: {}", self.about());
                self.connection.last_again = Some(message);
            } else {
                self.connection.sent_new = true;
                assert!(self.last_new < Some(message), "first transmissions in order: {}", self.about());
                self.last_new = Some(message);
                for earlier in self.open.range(..message) {
                    let sent = self.connection.unacknowledged.values().any(|it| it == earlier);
                    assert!(sent, "{earlier} is not sent again before {message}: {}", self.about());
                }
            }
            if self.records[message].unsendable {
                self.note(Kind::Unsendable);
                self.core.on_unsendable(self.now, tag, again, ProtoError::Missing("a reason"));
                continue;
            }
            (self.records[message].tag, self.records[message].is_sent) = (Some(tag), true);
            let reused = self.connection.unacknowledged.insert(tag, message);
            assert!(reused.is_none(), "{tag:?} is not answered yet: {}", self.about());
            assert!(self.connection.unacknowledged.len() <= self.window, "{}", self.about());
            self.connection.on_the_way += 1;
            let at = self.connection.last_arrival.unwrap_or(self.now).max(self.now + self.delay(0.1));
            self.connection.last_arrival = Some(at);
            self.at_time(at, Happening::Arrives(message, tag));
            if !self.connection.dead && self.rng.f64() < 0.02 * self.rough {
                self.connection.dead = true;
                self.at_time(self.now + Duration::from_secs(2), Happening::Fails(Failure::Silence));
            }
        }
    }
}
