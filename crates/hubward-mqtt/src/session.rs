//! An MQTT session on one byte stream: link and core together. Polled, without a task of its own.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hubward_dial::Opened;
use hubward_proto::ProtoError;
use hubward_transport::{Lock, Refusal, RefusedBy, SasToken, Stage, Tag, TransportError, WarningLimit};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::SessionOptions;
use crate::ack_line::Arrival;
use crate::core::{Core, Step};
use crate::link::Link;
use crate::login::Login;
use crate::packet::{self, Incoming, Message, QoS};
use crate::questions::About;

/// What a session tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The login was accepted.
    Accepted { session_present: bool },
    /// The server has taken the message.
    Acked(Tag),
    /// The server has answered the subscription under this tag.
    Subscribed { tag: Tag, granted: bool },
    /// A message has come.
    Message(Message, Wanted),
}

/// Whether a message is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is not, or that is done.
    Nothing,
    /// When it is settled.
    Settling(Lock),
    /// It should be and will not, see [`Arrival::Left`].
    Left,
}

/// When to acknowledge messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledge {
    /// As soon as they are read.
    AtOnce,
    /// When they are settled.
    WhenSettled,
}

/// One connection, from CONNECT to its end.
pub(crate) struct Session {
    endpoint: String,
    stage: Stage,
    /// The stage after the login.
    then: Stage,
    link: Link,
    core: Core,
    /// Fires at the core's deadline or earlier: deadlines mostly move away, the timer follows late.
    timer: Pin<Box<Sleep>>,
    max_packet: usize,
    acknowledge: Acknowledge,
    /// The peer's clock when the stream was opened.
    server_time: Option<SystemTime>,
    accepted: bool,
    /// Somebody has asked for the end.
    closing: bool,
    /// It has failed.
    over: bool,
    /// Why it is over, where nobody was told yet.
    untold: Option<TransportError>,
    waiting_acks: WarningLimit,
}

impl Session {
    /// A session that will log in when it is polled; `then` is its stage after that. Before the login is accepted there is no
    /// time limit: how long that may take is the caller's business.
    pub(crate) fn new(
        opened: Opened,
        endpoint: String,
        login: &Login,
        token: Option<&SasToken>,
        options: SessionOptions,
        (acknowledge, then): (Acknowledge, Stage),
    ) -> Result<Self, TransportError> {
        let packet = login.encode(token).map_err(TransportError::Request)?;
        let now = Instant::now();
        Ok(Self {
            endpoint,
            stage: Stage::Login,
            then,
            link: Link::new(opened.stream, packet),
            core: Core::new(login.keep_alive(), options.silence.min(FAR), now),
            timer: Box::pin(sleep_until(now + FAR)),
            max_packet: options.max_packet,
            acknowledge,
            server_time: opened.server_time,
            accepted: false,
            closing: false,
            over: false,
            untold: None,
            waiting_acks: WarningLimit::new("acknowledgements wait for an earlier message that was dropped"),
        })
    }

    /// Says what the next failure interrupts.
    pub(crate) const fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Whether the login was accepted and another message may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.accepted && self.link.has_room()
    }

    /// How many bytes the stream has taken so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.link.sent()
    }

    /// Whether a message under `tag` is unanswered.
    pub(crate) fn is_unanswered(&self, tag: Tag) -> bool {
        self.core.is_unanswered(tag)
    }

    /// Queues a message at QoS 1; the topic must be at most 65,535 bytes long.
    pub(crate) fn publish(&mut self, tag: Tag, topic: String, body: Bytes, again: bool) -> Result<(), ProtoError> {
        self.core.on_publish(tag)?;
        packet::publish(self.link.out(), tag.0, topic, body, again).inspect_err(|_| self.core.on_not_sent(tag))
    }

    /// Queues a message at QoS 0; the topic must be at most 65,535 bytes long.
    pub(crate) fn publish_unanswered(&mut self, topic: String, body: Bytes) -> Result<(), ProtoError> {
        packet::publish_unanswered(self.link.out(), topic, body)
    }

    /// Queues a question about the twin, with a topic made from its request id.
    pub(crate) fn ask(
        &mut self,
        (tag, about): (Tag, About),
        topic: impl FnOnce(String) -> String,
        body: Bytes,
    ) -> Result<(), ProtoError> {
        let topic = topic(self.core.on_question(tag, about, Instant::now())?);
        self.publish_unanswered(topic, body).inspect_err(|_| self.core.on_not_asked(tag))
    }

    /// Queues a subscription.
    pub(crate) fn subscribe(&mut self, tag: Tag, filter: &str, qos: QoS) -> Result<(), ProtoError> {
        let id = self.core.on_subscribe(tag, Instant::now())?;
        packet::subscribe(self.link.out(), id, filter, qos).inspect_err(|_| self.core.on_not_subscribed(tag))
    }

    /// Queues the acknowledgement of a message, and of those behind it that waited for it.
    pub(crate) fn settle(&mut self, lock: Lock) -> Result<(), ProtoError> {
        if !self.core.settle(lock) {
            return Err(ProtoError::Unexpected(format!("message {} was settled before, or never came", lock.0)));
        }
        self.tell_waiting();
        self.queue_acks()
    }

    /// Nobody has a message any more, and it is not settled: it is told again if it comes again.
    pub(crate) fn leave(&mut self, lock: Lock) -> Result<(), ProtoError> {
        if !self.core.leave(lock) {
            return Err(ProtoError::Unexpected(format!(
                "message {} was settled or left before, or never came",
                lock.0
            )));
        }
        self.tell_waiting();
        Ok(())
    }

    fn tell_waiting(&mut self) {
        if self.core.begins_to_wait() {
            self.waiting_acks.log(|| {
                tracing::warn!(
                    endpoint = %self.endpoint,
                    "acknowledgements wait for an earlier message that was dropped, until the hub delivers it again \
                     and it is completed"
                );
            });
        }
    }

    /// The peer's clock when the connection was made, where it showed it.
    pub(crate) const fn server_time(&self) -> Option<SystemTime> {
        self.server_time
    }

    /// Writes what is queued, reads what is there, hands over what happened, with the core to settle
    /// it. Ready when something was handed over or room appeared.
    ///
    /// # Errors
    /// The session is over.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        on_event: &mut dyn FnMut(Event, &mut Core),
    ) -> Poll<Result<(), TransportError>> {
        if self.over || self.closing {
            let why = self.untold.take();
            return Poll::Ready(Err(why.unwrap_or_else(|| self.closed(None))));
        }
        let had_room = self.has_room();
        match self.exchange(cx, on_event) {
            Err(error) => {
                self.over = true;
                tracing::debug!(endpoint = %self.endpoint, error = %error.chain(), "MQTT session over");
                Poll::Ready(Err(error))
            }
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) if !had_room && self.has_room() => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
        }
    }

    /// Polls until `wanted` finds what it looks for.
    ///
    /// # Cancel safety
    /// Dropping the future loses at most the events of one poll; the session goes on.
    pub(crate) async fn wait_for<T>(
        &mut self,
        mut wanted: impl FnMut(Event) -> Option<T>,
    ) -> Result<T, TransportError> {
        let mut found = None;
        poll_fn(|cx| {
            loop {
                let polled = self.poll(cx, &mut |event, _| {
                    if found.is_none() {
                        found = wanted(event);
                    }
                });
                // What came before an error counts; the error comes next time.
                if let Some(found) = found.take() {
                    if let Poll::Ready(Err(error)) = polled {
                        self.untold = Some(error);
                    }
                    return Poll::Ready(Ok(found));
                }
                match polled {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {}
                }
            }
        })
        .await
    }

    /// Looks once whether the session still lives, discarding what has come.
    pub(crate) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            let polled = self.poll(cx, &mut |event, _| tracing::debug!(?event, "late, discarded"));
            Poll::Ready(!matches!(polled, Poll::Ready(Err(_))))
        })
        .await
    }

    /// Says good-bye and closes. Ready when the bytes are out or cannot be.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over {
            // There is nobody to say good-bye to.
            return Poll::Ready(());
        }
        if !self.closing && self.accepted {
            // It always encodes; and if it did not, closing would still be right.
            let _ = packet::disconnect(self.link.out());
        }
        self.closing = true;
        self.link.poll_close(cx, self.accepted)
    }

    /// Whether anything was handed over.
    fn exchange(
        &mut self,
        cx: &mut Context<'_>,
        on_event: &mut dyn FnMut(Event, &mut Core),
    ) -> Result<bool, TransportError> {
        let mut now = Instant::now();
        // The peer's last words may say why it does not listen any more: read before failing.
        let written = self.write(cx, now);
        let (mut news, mut read) = (false, 0);
        loop {
            // A peer that never pauses must not keep the task, nor our answers pile up: what a peer
            // does not take bounds what it may ask for.
            if read >= READ_AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
            if self.link.is_swamped() {
                break;
            }
            match self.link.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(self.closed(written.err())),
                Poll::Ready(Err(error)) => return Err(self.closed(Some(error))),
                Poll::Ready(Ok(bytes)) => {
                    read += bytes;
                    self.core.on_heard(now);
                    news |= self.decode(now, on_event)?;
                }
            }
        }
        written.map_err(|error| self.closed(Some(error)))?;
        if self.accepted {
            loop {
                match self.core.step(now) {
                    Step::Ping => {
                        packet::pingreq(self.link.out()).map_err(|source| self.broken(source))?;
                    }
                    Step::Dead { after } => return Err(self.timeout(after)),
                    Step::Wait(until) => {
                        if self.wake_at(cx, until) {
                            break;
                        }
                        now = Instant::now();
                    }
                }
            }
        }
        if !self.link.out().is_empty() {
            self.write(cx, now).map_err(|error| self.closed(Some(error)))?;
        }
        Ok(news)
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), std::io::Error> {
        let before = self.link.sent();
        let written = self.link.poll_write(cx);
        if self.link.sent() != before {
            self.core.on_sent(now);
        }
        match written {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Takes every complete packet; whether anything was handed over.
    fn decode(&mut self, now: Instant, on_event: &mut dyn FnMut(Event, &mut Core)) -> Result<bool, TransportError> {
        let mut news = false;
        loop {
            let packet = packet::decode(self.link.input(), self.max_packet, !self.accepted);
            let Some(packet) = packet.map_err(|source| self.broken(source))? else { break };
            let event = match packet {
                Incoming::PubAck(id) => match self.core.on_puback(id) {
                    Some(tag) => Event::Acked(tag),
                    None => {
                        tracing::debug!(id, "PUBACK for nothing that is unanswered here, ignored");
                        continue;
                    }
                },
                Incoming::PingResp => continue,
                Incoming::Publish(message) => {
                    let Some(wanted) = self.arrived(&message) else { continue };
                    Event::Message(message, wanted)
                }
                Incoming::SubAck { id, granted } => match self.core.on_suback(id) {
                    Some(tag) => Event::Subscribed { tag, granted },
                    None => {
                        tracing::debug!(id, "SUBACK for nothing that was asked, ignored");
                        continue;
                    }
                },
                Incoming::ConnAck { .. } if self.accepted => {
                    return Err(self.broken(ProtoError::Unexpected("a second CONNACK".into())));
                }
                Incoming::ConnAck { session_present, code: 0 } => {
                    self.accepted = true;
                    self.stage = self.then;
                    // The time before belongs to the login.
                    self.core.on_sent(now);
                    tracing::debug!(endpoint = %self.endpoint, session_present, "MQTT login accepted");
                    Event::Accepted { session_present }
                }
                Incoming::ConnAck { code, .. } => return Err(self.refused(RefusedBy::Connack(code))),
            };
            news = true;
            on_event(event, &mut self.core);
        }
        self.queue_acks().map_err(|source| self.broken(source))?;
        Ok(news)
    }

    /// Gives a message its place in the line; `None` for one that stands there already.
    fn arrived(&mut self, message: &Message) -> Option<Wanted> {
        let Some(id) = message.id else { return Some(Wanted::Nothing) };
        match self.core.on_arrival(id, message.dup) {
            Arrival::New(lock) if self.acknowledge == Acknowledge::AtOnce => {
                self.core.settle(lock);
                Some(Wanted::Nothing)
            }
            Arrival::New(lock) => Some(Wanted::Settling(lock)),
            Arrival::Again => {
                tracing::debug!(id, "sent again before it was acknowledged, ignored");
                None
            }
            Arrival::Left => Some(Wanted::Left),
        }
    }

    /// Queues every PUBACK that may leave.
    fn queue_acks(&mut self) -> Result<(), ProtoError> {
        while let Some(id) = self.core.next_ack() {
            packet::puback(self.link.out(), id)?;
        }
        Ok(())
    }

    /// Arms the timer; `false` if that moment has passed meanwhile.
    fn wake_at(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        if until < self.timer.deadline() {
            self.timer.as_mut().reset(until);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.timer.as_mut().reset(until);
        self.timer.as_mut().poll(cx).is_pending()
    }

    /// A refusal in the present stage.
    pub(crate) fn refused(&self, by: RefusedBy) -> TransportError {
        let mut refusal = Refusal::new(self.endpoint.clone(), self.stage, by);
        // Later it would be the time of long ago.
        refusal.server_time = self.server_time.filter(|_| !self.accepted);
        TransportError::Refused(Box::new(refusal))
    }

    /// A broken protocol in the present stage.
    pub(crate) fn broken(&self, source: ProtoError) -> TransportError {
        TransportError::Protocol { endpoint: self.endpoint.clone(), stage: self.stage, source }
    }

    fn closed(&self, source: Option<std::io::Error>) -> TransportError {
        TransportError::Closed { endpoint: self.endpoint.clone(), stage: self.stage, source }
    }

    fn timeout(&self, after: Duration) -> TransportError {
        TransportError::Timeout { endpoint: self.endpoint.clone(), stage: self.stage, after }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .field("stage", &self.stage)
            .field("link", &self.link)
            .field("accepted", &self.accepted)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// Where the timer stands before it is first needed; no patience is longer.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How many bytes one poll reads before it lets other tasks run. All their events are in memory at once,
/// and are larger than the bytes.
const READ_AT_ONCE: usize = 256 * 1024;
