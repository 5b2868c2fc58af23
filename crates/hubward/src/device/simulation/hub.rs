//! Hubs in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use hubward_transport::{
    Abilities, Downstream, HubConnection, HubLogin, HubTransport, Refusal, RefusedBy, Reply, SasToken, Stage, Tag,
    TlsFault, TransportError, TransportKind, Upstream,
};
use tokio::time::{Instant, Sleep, sleep};

use super::world::{HubMode, Line, World};

const ENDPOINT: &str = "hub.example:8883";

/// A transport to one hub with one credential.
#[derive(Debug)]
pub(super) struct SimHub {
    pub(super) world: World,
    pub(super) hub: usize,
    pub(super) key: String,
}

/// An attempt or a connection. If it ends without a verdict, the client has given it up.
#[derive(Debug)]
struct Open {
    world: World,
    hub: usize,
    number: u64,
    is_accepted: bool,
    is_over: bool,
}

impl Open {
    /// The attempt has failed, or the hub has ended the connection.
    fn fail(&mut self, retry_after: Duration) {
        self.is_over = true;
        self.world.lock().model.on_failed(Instant::now(), self.hub, retry_after);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        world.lines.remove(&self.number);
        world.log(|| format!("hub {}: closed", self.hub));
        if self.is_accepted {
            world.model.on_closed(Instant::now());
        } else if !self.is_over {
            world.model.on_failed(Instant::now(), self.hub, Duration::ZERO);
        }
    }
}

#[async_trait]
impl HubTransport for SimHub {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn endpoint(&self, _: &HubLogin) -> String {
        ENDPOINT.to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn open(&self, _: &HubLogin, _: Option<&SasToken>) -> Result<Box<dyn HubConnection>, TransportError> {
        let (mut open, latency) = {
            let mut world = self.world.lock();
            world.log(|| format!("hub {}: open with {}", self.hub, self.key));
            let dps_is_open = world.dps_open > 0;
            let promise = world.model.on_open(Instant::now(), self.hub, &self.key, dps_is_open);
            world.check(promise);
            world.next_line += 1;
            let number = world.next_line;
            world.lines.insert(number, Line { hub: self.hub, is_cut: false, waker: None });
            let open = Open { world: self.world.clone(), hub: self.hub, number, is_accepted: false, is_over: false };
            (open, world.between(0.0, 1.0))
        };
        sleep(latency).await;
        let mode = self.world.lock().hubs[self.hub];
        let refused = |status, retry_after: Option<Duration>| {
            let mut refusal = Refusal::new(ENDPOINT.into(), Stage::Upgrade, RefusedBy::UpgradeStatus(status));
            refusal.retry_after = retry_after;
            TransportError::Refused(Box::new(refusal))
        };
        let (error, kind, retry_after) = match mode {
            HubMode::Hangs => {
                self.world.lock().seen.note("hub: hangs");
                std::future::pending().await
            }
            HubMode::Unreachable => {
                let source = io::Error::other("no route");
                (TransportError::Connect { endpoint: ENDPOINT.into(), source }, "hub: unreachable", None)
            }
            HubMode::Untrusted => {
                let (fault, source) = (TlsFault::Untrusted, io::Error::other("handshake"));
                (TransportError::Tls { endpoint: ENDPOINT.into(), fault, source }, "hub: untrusted", None)
            }
            HubMode::Unavailable(wait) => (refused(503, wait), "hub: unavailable", wait),
            HubMode::Throttles(None) => (refused(429, None), "hub: throttles", None),
            HubMode::Throttles(wait) => (refused(429, wait), "hub: throttles with Retry-After", wait),
            HubMode::Healthy | HubMode::Drops(_) | HubMode::Late(_) => {
                let key = self.key.clone();
                return Ok(Box::new(Connection { open, key, mode, acks: VecDeque::new(), end: None, timer: None }));
            }
        };
        self.world.lock().seen.note(kind);
        open.fail(retry_after.unwrap_or_default());
        Err(error)
    }
}

#[derive(Debug)]
struct Connection {
    open: Open,
    key: String,
    mode: HubMode,
    /// The messages to acknowledge, and when.
    acks: VecDeque<(Tag, u64, Instant)>,
    /// When the hub ends the connection.
    end: Option<Pin<Box<Sleep>>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Answers the login.
    fn login(&mut self) -> Result<Downstream, TransportError> {
        let all = self.open.world.clone();
        let mut world = all.lock();
        let (hub, now) = (self.open.hub, Instant::now());
        let code = if !world.knows[hub] {
            world.seen.note("hub: does not know the device");
            5
        } else if !world.valid.contains(&self.key) {
            world.seen.note("hub: refuses the credential");
            4
        } else {
            world.seen.note("hub: accepts");
            world.model.on_accepted(now, &self.key);
            drop(world);
            self.open.is_accepted = true;
            if let HubMode::Drops(after) = self.mode {
                self.end = Some(Box::pin(sleep(after)));
            }
            return Ok(Downstream::Ready { session_present: false, server_time: None });
        };
        world.model.on_refused(now, hub, &self.key);
        self.open.is_over = true;
        let refusal = Refusal::new(ENDPOINT.into(), Stage::Login, RefusedBy::Connack(code));
        Err(TransportError::Refused(Box::new(refusal)))
    }

    /// Whether the connection ends now.
    fn ends(&mut self, cx: &mut Context<'_>) -> bool {
        let all = self.open.world.clone();
        let mut world = all.lock();
        if self.end.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
            world.seen.note("hub: accepts and drops");
            return true;
        }
        let Some(line) = world.lines.get_mut(&self.open.number) else { return true };
        line.waker = Some(cx.waker().clone());
        let is_cut = line.is_cut;
        if is_cut {
            world.seen.note("hub: cut");
        }
        is_cut
    }
}

impl HubConnection for Connection {
    fn has_room(&self) -> bool {
        self.open.is_accepted
    }

    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError> {
        let Upstream::Telemetry(message) = what else { return Err(TransportError::Unsupported("only telemetry")) };
        let number: u64 = std::str::from_utf8(&message.body).ok().and_then(|it| it.parse().ok()).expect("a number");
        let mut world = self.open.world.lock();
        let hub = self.open.hub;
        let seen_by = world.messages.entry(number).or_default();
        let is_first = seen_by.insert(hub);
        let hubs = seen_by.len();
        if again && is_first {
            world.check(Err(format!("message {number} is marked as sent again, but the hub has not seen it")));
        }
        if is_first {
            if hubs == 2 {
                world.seen.note("message: sent to two hubs");
            }
            if world.newest[hub].is_some_and(|it| it > number) {
                world.check(Err(format!("the order of messages: {number} is late")));
            }
            world.newest[hub] = Some(number);
        } else {
            world.seen.note("message: sent again to its hub");
        }
        let wait = match self.mode {
            HubMode::Late(wait) => {
                world.seen.note("hub: acknowledges late");
                wait
            }
            _ => Duration::ZERO,
        };
        self.acks.push_back((tag, number, Instant::now() + wait));
        Ok(())
    }

    fn start_reply(&mut self, _: &Reply) -> Result<(), TransportError> {
        Err(TransportError::Unsupported("nothing to reply to"))
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Downstream>,
    ) -> Poll<Result<(), TransportError>> {
        if self.ends(cx) {
            if !self.open.is_over {
                self.open.is_accepted = false;
                self.open.fail(Duration::ZERO);
            }
            let error = TransportError::Closed { endpoint: ENDPOINT.into(), stage: Stage::Exchange, source: None };
            return Poll::Ready(Err(error));
        }
        if !self.open.is_accepted {
            return Poll::Ready(self.login().map(|it| events.push(it)));
        }
        let (now, before) = (Instant::now(), events.len());
        while let Some((tag, number, _)) = self.acks.front().copied().filter(|it| it.2 <= now) {
            self.acks.pop_front();
            self.open.world.lock().acknowledged.insert(number);
            events.push(Downstream::Done(tag));
        }
        if events.len() > before {
            return Poll::Ready(Ok(()));
        }
        self.timer = self.acks.front().map(|it| Box::pin(tokio::time::sleep_until(it.2)));
        match self.timer.as_mut().map(|it| it.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }

    fn poll_renew(&mut self, _: &mut Context<'_>, _: &SasToken) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Err(TransportError::Unsupported("no renewal in place")))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
