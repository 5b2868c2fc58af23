//! An MQTT session on one byte stream: combines [`Link`] and [`Core`]. The caller polls the session; the session spawns
//! no task.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hubward_dial::{Opened, TlsFault as DialFault};
use hubward_proto::ProtoError;
use hubward_transport::{Lock, Refusal, RefusedBy, SasToken, Stage, Tag, TlsFault, TransportError, WarningLimit};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::SessionOptions;
use crate::ack_queue::Arrival;
use crate::core::{Core, Step};
use crate::link::Link;
use crate::login::Login;
use crate::packet::{self, Incoming, Message, QoS};
use crate::twin_requests::TwinRequestKind;

/// The deadline of the timer until the core sets one. Also the upper limit of `silence`.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Number of bytes that one poll reads before it lets other tasks run.
///
/// The number also limits the memory of one poll. A poll keeps all its events in memory, and they need more memory
/// than the bytes that were read.
const READ_AT_ONCE: usize = 256 * 1024;

/// An event of a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The login was accepted.
    Accepted { session_present: bool },
    /// The server acknowledged the message.
    Acked(Tag),
    /// The server answered the subscription under this tag.
    Subscribed { tag: Tag, granted: bool },
    /// A message arrived.
    Message(Message, AckNeed),
}

/// Whether a received message still needs an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckNeed {
    /// The message needs no settlement: its QoS is 0, or the session acknowledges the message without the caller.
    None,
    /// The session acknowledges the message when the caller settles it.
    OnSettlement(Lock),
    /// The message needs an acknowledgement, but this connection sends none; see [`Arrival::QueueFull`].
    QueueFull,
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
    /// The stage that errors name after the login.
    stage_after_login: Stage,
    link: Link,
    core: Core,
    /// Fires at the core's deadline or earlier. Most changes move the deadline to a later time, so the session does not
    /// reset the timer for each change.
    timer: Pin<Box<Sleep>>,
    max_packet: usize,
    acknowledge: Acknowledge,
    /// The time of the peer's clock when the stream was opened.
    server_time: Option<SystemTime>,
    /// Whether the client presents a certificate.
    has_certificate: bool,
    accepted: bool,
    /// Whether the caller has started to close the session.
    closing: bool,
    failed: bool,
    /// The error that ended the session, until a poll returns it.
    deferred_error: Option<TransportError>,
    blocked_acks: WarningLimit,
}

impl Session {
    /// Creates a session that logs in when the caller polls it. The session has no time limit for the login:
    /// the caller sets one.
    pub(crate) fn new(
        opened: Opened,
        endpoint: String,
        login: &Login,
        token: Option<&SasToken>,
        options: SessionOptions,
        (acknowledge, stage_after_login): (Acknowledge, Stage),
    ) -> Result<Self, TransportError> {
        let packet = login.encode(token).map_err(TransportError::Request)?;
        let now = Instant::now();
        Ok(Self {
            endpoint,
            stage: Stage::Login,
            stage_after_login,
            link: Link::new(opened.stream, packet),
            core: Core::new(login.keep_alive(), options.silence.min(FAR), now),
            timer: Box::pin(sleep_until(now + FAR)),
            max_packet: options.max_packet,
            acknowledge,
            server_time: opened.server_time,
            has_certificate: opened.has_certificate,
            accepted: false,
            closing: false,
            failed: false,
            deferred_error: None,
            blocked_acks: WarningLimit::new("acknowledgements wait behind a dropped message"),
        })
    }

    /// Sets the stage that later errors name.
    pub(crate) const fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Returns whether the login was accepted and the caller may queue another message.
    pub(crate) fn has_room(&self) -> bool {
        self.accepted && self.link.has_room()
    }

    /// Number of bytes written to the stream so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.link.sent()
    }

    /// Returns whether the message under `tag` waits for its PUBACK.
    pub(crate) fn is_unanswered(&self, tag: Tag) -> bool {
        self.core.is_unanswered(tag)
    }

    /// Queues a message at QoS 1. The topic must be at most 65,535 bytes long.
    pub(crate) fn publish(&mut self, tag: Tag, topic: String, body: Bytes, again: bool) -> Result<(), ProtoError> {
        self.core.on_publish(tag)?;
        packet::publish(self.link.out(), tag.0, topic, body, again).inspect_err(|_| self.core.on_publish_not_sent(tag))
    }

    /// Queues a message at QoS 0. The topic must be at most 65,535 bytes long.
    pub(crate) fn publish_qos0(&mut self, topic: String, body: Bytes) -> Result<(), ProtoError> {
        packet::publish_qos0(self.link.out(), topic, body)
    }

    /// Queues a twin request. `topic` makes the topic from the request id.
    pub(crate) fn request_twin(
        &mut self,
        (tag, kind): (Tag, TwinRequestKind),
        topic: impl FnOnce(String) -> String,
        body: Bytes,
    ) -> Result<(), ProtoError> {
        let topic = topic(self.core.on_twin_request(tag, kind, Instant::now())?);
        self.publish_qos0(topic, body).inspect_err(|_| self.core.on_twin_request_not_sent(tag))
    }

    /// Queues a subscription.
    pub(crate) fn subscribe(&mut self, tag: Tag, filter: &str, qos: QoS) -> Result<(), ProtoError> {
        let id = self.core.on_subscribe(tag, Instant::now())?;
        packet::subscribe(self.link.out(), id, filter, qos).inspect_err(|_| self.core.on_subscribe_not_sent(tag))
    }

    /// Settles a message. Queues its acknowledgement, and the acknowledgements that waited for this message.
    pub(crate) fn settle(&mut self, lock: Lock) -> Result<(), ProtoError> {
        if !self.core.settle(lock) {
            return Err(ProtoError::Unexpected(format!("message {} was settled before or never arrived", lock.0)));
        }
        self.warn_if_blocked();
        self.queue_acks()
    }

    /// Marks a message as dropped without settlement. If the hub redelivers the message on this connection, the session
    /// returns the message to the caller again.
    pub(crate) fn on_dropped(&mut self, lock: Lock) -> Result<(), ProtoError> {
        if !self.core.on_dropped(lock) {
            return Err(ProtoError::Unexpected(format!(
                "message {} was settled or dropped before, or never arrived",
                lock.0
            )));
        }
        self.warn_if_blocked();
        Ok(())
    }

    /// Returns the number of settled messages whose PUBACK waits for an earlier message.
    pub(crate) fn held_back(&self) -> usize {
        self.core.held_back()
    }

    fn warn_if_blocked(&mut self) {
        if self.core.starts_to_block() {
            self.blocked_acks.log(|| {
                tracing::warn!(
                    endpoint = %self.endpoint,
                    "acknowledgements wait behind a dropped message until the hub redelivers it and the program \
                     completes it"
                );
            });
        }
    }

    /// Returns the time of the peer's clock when the connection was opened. `None` if the peer did not send it.
    pub(crate) const fn server_time(&self) -> Option<SystemTime> {
        self.server_time
    }

    /// Writes queued bytes, reads available bytes, and calls `on_event` for each event. `on_event` also gets the core,
    /// with which it can settle messages.
    ///
    /// Returns `Ready` after an event, or when [`Session::has_room`] becomes true.
    ///
    /// # Errors
    /// [`TransportError`] if the session has ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        on_event: &mut dyn FnMut(Event, &mut Core),
    ) -> Poll<Result<(), TransportError>> {
        if self.failed || self.closing {
            let why = self.deferred_error.take();
            return Poll::Ready(Err(why.unwrap_or_else(|| self.closed(None))));
        }
        let had_room = self.has_room();
        match self.exchange(cx, on_event) {
            Err(error) => {
                self.failed = true;
                tracing::debug!(endpoint = %self.endpoint, error = %error.chain(), "MQTT session ended");
                Poll::Ready(Err(error))
            }
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) if !had_room && self.has_room() => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
        }
    }

    /// Polls the session until `find` returns a value for an event. Returns this value.
    ///
    /// # Cancel safety
    /// Dropping the future loses at most the events of one poll; the session stays usable.
    pub(crate) async fn wait_for<T>(&mut self, mut find: impl FnMut(Event) -> Option<T>) -> Result<T, TransportError> {
        let mut found = None;
        poll_fn(|cx| {
            loop {
                let polled = self.poll(cx, &mut |event, _| {
                    if found.is_none() {
                        found = find(event);
                    }
                });
                // If `find` returned a value before an error, return this value now. The next poll returns the error.
                if let Some(found) = found.take() {
                    if let Poll::Ready(Err(error)) = polled {
                        self.deferred_error = Some(error);
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

    /// Polls once and returns whether the session is still usable. Discards the events of this poll.
    pub(crate) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            let polled = self.poll(cx, &mut |event, _| tracing::debug!(?event, "discarded a late event"));
            Poll::Ready(!matches!(polled, Poll::Ready(Err(_))))
        })
        .await
    }

    /// Sends DISCONNECT if the login was accepted, and then closes the stream as [`Link::poll_close`] does.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.failed {
            return Poll::Ready(());
        }
        if !self.closing && self.accepted {
            // Encoding a DISCONNECT cannot fail. The session ignores the result, because it closes in any case.
            let _ = packet::disconnect(self.link.out());
        }
        self.closing = true;
        self.link.poll_close(cx, self.accepted)
    }

    /// Writes, reads, and sends a ping if one is due. Returns whether `on_event` was called.
    fn exchange(
        &mut self,
        cx: &mut Context<'_>,
        on_event: &mut dyn FnMut(Event, &mut Core),
    ) -> Result<bool, TransportError> {
        let mut now = Instant::now();
        // If a write fails, the peer may have closed the connection and sent a reason before, such as a refusal of the
        // login. So read the received bytes first, then return the write error.
        let written = self.write(cx, now);
        let (mut handed_over, mut read) = (false, 0);
        loop {
            // Stop reading in two cases:
            //
            // * A peer that sends without pause must not occupy the task for ever.
            // * A peer that does not read must not make the queue of replies grow without limit.
            if read >= READ_AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
            if self.link.is_backlogged() {
                break;
            }
            match self.link.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(self.closed(written.err())),
                Poll::Ready(Err(error)) => return Err(self.closed(Some(error))),
                Poll::Ready(Ok(bytes)) => {
                    read += bytes;
                    self.core.on_received(now);
                    handed_over |= self.decode(now, on_event)?;
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
        Ok(handed_over)
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

    /// Decodes every complete packet. Returns whether `on_event` was called.
    fn decode(&mut self, now: Instant, on_event: &mut dyn FnMut(Event, &mut Core)) -> Result<bool, TransportError> {
        let mut handed_over = false;
        loop {
            let packet = packet::decode(self.link.input(), self.max_packet, !self.accepted);
            let Some(packet) = packet.map_err(|source| self.broken(source))? else { break };
            let event = match packet {
                Incoming::PubAck(id) => match self.core.on_puback(id) {
                    Some(tag) => Event::Acked(tag),
                    None => {
                        tracing::debug!(id, "ignored a PUBACK with an unknown packet id");
                        continue;
                    }
                },
                Incoming::PingResp => continue,
                Incoming::Publish(message) => {
                    let Some(ack) = self.on_publish_received(&message) else { continue };
                    Event::Message(message, ack)
                }
                Incoming::SubAck { id, granted } => match self.core.on_suback(id) {
                    Some(tag) => Event::Subscribed { tag, granted },
                    None => {
                        tracing::debug!(id, "ignored a SUBACK with an unknown packet id");
                        continue;
                    }
                },
                Incoming::ConnAck { .. } if self.accepted => {
                    return Err(self.broken(ProtoError::Unexpected("a second CONNACK".into())));
                }
                Incoming::ConnAck { session_present, code: 0 } => {
                    self.accepted = true;
                    self.stage = self.stage_after_login;
                    // Count the keep-alive from the login.
                    self.core.on_sent(now);
                    tracing::debug!(endpoint = %self.endpoint, session_present, "MQTT login accepted");
                    Event::Accepted { session_present }
                }
                Incoming::ConnAck { code, .. } => return Err(self.refused(RefusedBy::Connack(code))),
            };
            handed_over = true;
            on_event(event, &mut self.core);
        }
        self.queue_acks().map_err(|source| self.broken(source))?;
        Ok(handed_over)
    }

    /// Adds a received message to the acknowledgement queue, if it has QoS 1. Returns `None` for a duplicate.
    fn on_publish_received(&mut self, message: &Message) -> Option<AckNeed> {
        let Some(id) = message.id else { return Some(AckNeed::None) };
        match self.core.on_arrival(id, message.dup) {
            Arrival::New(lock) if self.acknowledge == Acknowledge::AtOnce => {
                self.core.consume(lock);
                Some(AckNeed::None)
            }
            Arrival::New(lock) => Some(AckNeed::OnSettlement(lock)),
            Arrival::Duplicate => {
                tracing::debug!(id, "ignored a message that was redelivered before its acknowledgement");
                None
            }
            Arrival::QueueFull => Some(AckNeed::QueueFull),
        }
    }

    /// Queues every PUBACK that may be sent now.
    fn queue_acks(&mut self) -> Result<(), ProtoError> {
        while let Some(id) = self.core.next_ack() {
            packet::puback(self.link.out(), id)?;
        }
        Ok(())
    }

    /// Arms the timer. Returns `false` if `until` has already passed.
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

    /// Returns a refusal in the current stage.
    pub(crate) fn refused(&self, by: RefusedBy) -> TransportError {
        let mut refusal = Refusal::new(self.endpoint.clone(), self.stage, by);
        // The server sent its time when the connection was opened. A refusal after the login does not contain this
        // time, because it is then too old for comparing clocks.
        refusal.server_time = self.server_time.filter(|_| !self.accepted);
        TransportError::Refused(Box::new(refusal))
    }

    /// Returns a protocol error in the current stage.
    pub(crate) fn broken(&self, source: ProtoError) -> TransportError {
        TransportError::Protocol { endpoint: self.endpoint.clone(), stage: self.stage, source }
    }

    fn closed(&self, source: Option<std::io::Error>) -> TransportError {
        // With TLS 1.3, the server can refuse the client's certificate after the client has finished the handshake. The
        // session reads this refusal.
        let source = match source {
            Some(source) if DialFault::find(&source, self.has_certificate) == Some(DialFault::ClientCertificate) => {
                let (endpoint, fault) = (self.endpoint.clone(), TlsFault::ClientCertificate);
                return TransportError::Tls { endpoint, fault, source };
            }
            // `Closed` already says that the connection ended early.
            source => source.filter(|it| it.kind() != std::io::ErrorKind::UnexpectedEof),
        };
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
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
