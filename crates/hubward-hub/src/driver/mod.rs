//! The task of a client. It owns the connection and the timer, and carries out the decisions of the core.
//!
//! The task is one `poll` function instead of a `select!`. In each round, it gives all queued messages to the
//! connection and then polls the connection. So one write contains many messages.

mod handler;
mod login;
mod supervision;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use hubward_proto::error_messages;
use hubward_transport::{
    Downstream, Feature, HubConnection, ProtoError, Stage, TransportError, Upstream, clock, one_line,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) use self::login::WallClock;
use self::login::{Age, Attempt, Renewal};
pub(crate) use self::supervision::HubSource;
use self::supervision::Supervisor;
use crate::core::{Core, Link, Setup};
use crate::features::{CallResponse, Features, Outgoing, is_request};
use crate::outcome::{SendFailure, SendOutcome};
use crate::receipt::PendingMessage;
use crate::shared::{Command, Shared};
use crate::{CloseReason, Closed, ConnectionState, HubOptions, HubTarget};

/// Maximum number of commands taken at once.
const BATCH: usize = 256;

/// Number of rounds before the task yields to other tasks.
const ROUNDS: usize = 32;

/// Maximum time between two readings of the wall clock while the task has a renewable token. No event tells the task
/// that the machine has slept, so it must read the clock repeatedly.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) struct Driver {
    /// `None` before the provider has chosen a hub.
    target: Option<HubTarget>,
    /// The provider, if there is one.
    supervisor: Option<Box<Supervisor>>,
    options: HubOptions,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    subscriptions: mpsc::Receiver<Feature>,
    task_wakes: mpsc::Receiver<()>,
    /// Receives the responses from the tasks of method handlers. The channel has room for one response of each task.
    responses: mpsc::Receiver<Box<CallResponse>>,
    response_sender: mpsc::Sender<Box<CallResponse>>,
    /// Whether commands can still come.
    commands_open: bool,
    batch: Vec<Command>,
    core: Core<PendingMessage>,
    features: Features,
    /// The number of the attempt that `current` belongs to.
    attempt: u64,
    current: CurrentLink,
    renewal: Option<Renewal>,
    wall: WallClock,
    /// The age of the current token; `None` if the token cannot be renewed.
    age: Option<Age>,
    timer: Option<Pin<Box<Sleep>>>,
    events: Vec<Downstream>,
    /// The unacknowledged messages, and why the client ended.
    unacknowledged: Option<Closed>,
}

/// The receiving ends of the channels from the handles to the task.
pub(crate) struct Channels {
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Receives the features to subscribe to. This channel is separate from the commands, so that a full command queue
    /// does not delay a subscription.
    pub(crate) features: mpsc::Receiver<Feature>,
    /// Wakes the task when [`Shared::incoming`] has work for the task.
    pub(crate) task_wakes: mpsc::Receiver<()>,
}

/// The attempt or the connection that the task owns.
enum CurrentLink {
    Nothing,
    Attempt(Attempt),
    Connection(Box<dyn HubConnection>),
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            let now = Instant::now();
            this.take_commands(cx, now);
            this.check_wall_clock(now);
            this.features.on_time(now);
            this.hold();
            this.core.on_time(now);
            let mut moved = this.drive_link(cx, now);
            moved |= this.drive_provider(cx, now);
            this.features.on_connection(now, this.core.up());
            this.publish();
            if this.core.link() == Link::Ended {
                // Close the command channel, so that it accepts no more commands. Then answer the commands that the
                // channel still contains.
                this.commands.close();
                while this.commands_open {
                    ready!(this.poll_commands(cx, now));
                }
                this.publish();
                this.publish_end();
                return Poll::Ready(());
            }
            if !moved && this.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Driver {
    pub(crate) fn new(
        source: HubSource,
        options: HubOptions,
        shared: Arc<Shared>,
        channels: Channels,
        wall: WallClock,
        now: Instant,
    ) -> Self {
        let is_supervised = matches!(source, HubSource::Provider(_));
        let target = supervision::setup(&source, &shared.target());
        let setup = Setup { options: options.clone(), target, is_supervised };
        let (target, supervisor) = match source {
            HubSource::Target(target) => (Some(*target), None),
            HubSource::Provider(provider) => (None, Some(Box::new(Supervisor::new(provider)))),
        };
        let (response_sender, responses) = mpsc::channel(options.method_calls);
        let features = Features::new(&options, shared.incoming.clone());
        Self {
            target,
            supervisor,
            options,
            shared,
            commands: channels.commands,
            subscriptions: channels.features,
            task_wakes: channels.task_wakes,
            responses,
            response_sender,
            commands_open: true,
            batch: Vec::new(),
            core: Core::new(setup, now),
            features,
            attempt: 0,
            current: CurrentLink::Nothing,
            renewal: None,
            wall,
            age: None,
            timer: None,
            events: Vec::new(),
            unacknowledged: None,
        }
    }

    /// Takes every available command. Each message needs a permit of `room`, so the number of messages is limited.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Poll::Ready(Some(feature)) = self.subscriptions.poll_recv(cx) {
            self.features.subscribe(feature);
        }
        // The task takes responses before commands. So if a handler responds before the program closes the client, the
        // client sends the response before it ends.
        self.take_responses(cx);
        while let Poll::Ready(Some(())) = self.task_wakes.poll_recv(cx) {}
        while self.commands_open && self.poll_commands(cx, now).is_ready() {}
    }

    /// Takes a batch of commands. Returns `Ready` if there was a command, or if the channel is closed.
    fn poll_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if ready!(self.commands.poll_recv_many(cx, &mut self.batch, BATCH)) == 0 {
            self.commands_open = false;
            self.core.close(now, now, CloseReason::Dropped);
        }
        for command in self.batch.drain(..) {
            match command {
                Command::Send(pending) => {
                    let deadline = pending.deadline(now);
                    self.core.enqueue(pending, deadline);
                }
                Command::Twin(request) => self.features.on_twin_request(*request),
                Command::Certificate(call) => self.features.on_certificate_request(*call),
                Command::Close(until) => {
                    self.core.hold(!self.features.is_idle(), !self.features.is_flushed());
                    self.core.close(now, *until, CloseReason::Requested);
                }
            }
        }
        Poll::Ready(())
    }

    fn take_responses(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(response)) = self.responses.poll_recv(cx) {
            self.features.on_response(*response);
        }
    }

    /// Tells the core whether features have unfinished work.
    fn hold(&mut self) {
        self.core.hold(!self.features.is_idle(), !self.features.is_flushed());
    }

    /// Updates the age of the token from the wall clock. Timers stop while the machine sleeps, but the token continues
    /// to age.
    fn check_wall_clock(&mut self, now: Instant) {
        if self.age.as_mut().is_some_and(|it| it.update(now, (self.wall)())) {
            self.core.on_token_old(now);
        }
    }

    /// Brings the connection into the state that the core requires, and exchanges data with the hub. Returns `true` if
    /// anything changed.
    fn drive_link(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let before = self.core.link();
        let moved = match before {
            Link::Nothing | Link::Ended => {
                self.drop_link();
                false
            }
            Link::Opening(attempt) => self.drive_attempt(cx, now, attempt),
            Link::Open(attempt) | Link::OpenRenewing(attempt) => {
                let renewed = matches!(before, Link::OpenRenewing(_)) && self.drive_renewal(cx, now);
                self.drive_connection(cx, now, attempt) || renewed
            }
            Link::Disconnecting(attempt) => self.drive_disconnect(cx, now, attempt),
        };
        if !matches!(self.core.link(), Link::OpenRenewing(_)) {
            self.renewal = None;
        }
        moved || self.core.link() != before
    }

    fn drive_attempt(&mut self, cx: &mut Context<'_>, now: Instant, number: u64) -> bool {
        if self.attempt != number {
            self.drop_link();
            self.attempt = number;
            self.follow_move(now);
            // The core makes no attempt without a target.
            let Some(target) = self.target.clone() else { return false };
            let life = self.options.token_lifetime;
            self.age = target.credential.is_renewable().then(|| Age::new(life, now, (self.wall)()));
            let (transport, endpoint) = (target.transport.kind().as_str(), self.endpoint());
            tracing::debug!(transport, endpoint, attempt = number, "connecting to the hub");
            self.current = CurrentLink::Attempt(login::attempt(target, life, self.wall.clone()));
        }
        let CurrentLink::Attempt(attempt) = &mut self.current else { return false };
        match attempt.as_mut().poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(connection)) => {
                self.current = CurrentLink::Connection(connection);
                self.core.on_opened(now, self.age.as_ref().map(Age::life));
            }
            Poll::Ready(Err(error)) => self.on_lost(now, error),
        }
        true
    }

    fn drive_connection(&mut self, cx: &mut Context<'_>, now: Instant, number: u64) -> bool {
        let mut moved = false;
        for _ in 0..ROUNDS {
            let CurrentLink::Connection(connection) = &mut self.current else { return moved };
            if self.attempt != number {
                return moved;
            }
            self.features.on_connection(now, self.core.up());
            // Give the replies to the connection first, because a close or a renewal may be waiting until a reply is
            // sent.
            moved |= put_requests(&mut self.features, &self.core, connection.as_mut(), now);
            put_messages(&mut self.core, connection.as_mut(), now);
            let polled = connection.poll_exchange(cx, &mut self.events);
            // The core must not act until all events of this poll are handled.
            //
            // For example, one poll may return the last acknowledgement and a method call. If the core acted after the
            // acknowledgement, it could end the connection, and the call would get no response.
            self.core.hold(true, true);
            for event in self.events.drain(..) {
                match event {
                    Downstream::Ready { server_time, .. } => {
                        compare_clocks(&self.shared.target().endpoint, server_time, &self.wall);
                        self.core.on_ready(now);
                        self.features.on_connection(now, self.core.up());
                    }
                    Downstream::Done(tag) if !is_request(tag) => self.core.on_done(now, tag),
                    other => self.features.on_event(now, other),
                }
            }
            self.hold();
            self.core.advance(now);
            for job in self.features.jobs().drain(..) {
                let (deadline, incoming) = (self.options.method_deadline, self.shared.incoming.clone());
                handler::start(job, deadline, self.response_sender.clone(), incoming);
            }
            if let Some(source) = self.features.broken() {
                let (endpoint, stage) = (self.endpoint(), Stage::Exchange);
                self.on_lost(now, TransportError::Protocol { endpoint, stage, source });
                return true;
            }
            match polled {
                Poll::Pending => return moved,
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(error)) => {
                    self.on_lost(now, error);
                    return true;
                }
            }
            if !matches!(self.core.link(), Link::Open(_) | Link::OpenRenewing(_)) {
                return true;
            }
        }
        moved
    }

    /// Drops the attempt or the connection. Counts the settlements that the connection held back.
    fn drop_link(&mut self) {
        let link = std::mem::replace(&mut self.current, CurrentLink::Nothing);
        if let CurrentLink::Connection(connection) = link {
            let held_back = connection.held_back() as u64;
            self.shared.incoming.counters.add(|it| it.messages_held_back += held_back);
        }
    }

    /// Handles a failed attempt, or the end of the connection.
    fn on_lost(&mut self, now: Instant, error: TransportError) {
        self.drop_link();
        let certificate = self.target.as_ref().and_then(|it| it.credential.certificate());
        let error = if certificate.is_some() { error.with_certificate() } else { error };
        compare_clocks(&self.endpoint(), error.refusal().and_then(|it| it.server_time), &self.wall);
        self.core.on_lost(now, error);
    }

    fn drive_renewal(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let (CurrentLink::Connection(connection), Some(target)) = (&mut self.current, &self.target) else {
            return false;
        };
        let mut renewal = self
            .renewal
            .take()
            .unwrap_or_else(|| Renewal::new(target.clone(), self.options.token_lifetime, self.wall.clone(), now));
        match renewal.poll(cx, connection.as_mut()) {
            Poll::Pending => {
                self.renewal = Some(renewal);
                return false;
            }
            Poll::Ready(Ok(())) => {
                let mut age = renewal.into_age();
                // If the renewal took long, the new token may be old already. So the client tells the core the age of
                // the new token, and the core soon renews the token again.
                age.update(now, (self.wall)());
                self.core.on_renewed(now, age.life());
                self.age = Some(age);
            }
            Poll::Ready(Err(error)) => self.on_lost(now, error),
        }
        true
    }

    fn drive_disconnect(&mut self, cx: &mut Context<'_>, now: Instant, number: u64) -> bool {
        if self.attempt == number
            && let CurrentLink::Connection(connection) = &mut self.current
            && connection.poll_close(cx).is_pending()
        {
            return false;
        }
        self.drop_link();
        self.core.on_disconnected(now);
        true
    }

    /// Host and port of the hub, for messages.
    fn endpoint(&self) -> String {
        self.shared.target().endpoint.to_string()
    }

    /// Resolves receipts, returns permits and publishes the state.
    fn publish(&mut self) {
        let ending = self.core.end_reason();
        let mut bytes = 0;
        for (pending, outcome) in self.core.resolved().drain(..) {
            bytes += pending.message().size();
            if let Some(reason) = &ending {
                let closed = self.unacknowledged.get_or_insert_with(|| Closed::new(reason.clone()));
                match &outcome {
                    SendOutcome::NotSent(SendFailure::Closed(_)) => closed.not_sent.push(pending.label()),
                    SendOutcome::Unknown(SendFailure::Closed(_)) => closed.unknown.push(pending.label()),
                    _ => {}
                }
            }
            pending.resolve(outcome);
        }
        if bytes > 0 {
            self.shared.byte_room.add_permits(bytes);
        }
        let freed = self.core.freed();
        if freed > 0 {
            self.shared.room.add_permits(freed);
        }
        if self.core.is_closing() {
            self.shared.room.close();
            self.shared.byte_room.close();
            self.shared.twin_room.close();
            self.shared.certificate_room.close();
        }
        if self.features.has_changed() {
            // Wakes the receivers. They read the new state from `incoming`.
            self.shared.desired.send_modify(|_ended| ());
        }
        if let Some(state) = self.core.changed_state() {
            self.log_state(&state);
            self.shared.set_last_cause(self.core.last_cause().cloned());
            // `publish_end` publishes the closed state later, when everything is resolved.
            if !state.is_closed() {
                self.shared.state.send_replace(state);
            }
        }
    }

    /// Logs the new state: the outcome of an attempt to connect, or how a connection ended.
    fn log_state(&self, state: &ConnectionState) {
        let (transport, endpoint, attempt) = (self.shared.target().kind.as_str(), self.endpoint(), self.attempt);
        let reason = self.core.last_cause().map(|it| error_messages(it).join(": "));
        match state {
            ConnectionState::Disconnected { attempt: failures, next_try, .. } => {
                let next_wait = next_try.saturating_duration_since(Instant::now());
                tracing::info!(transport, endpoint, attempt, failures, ?next_wait, reason, "not connected to the hub");
            }
            ConnectionState::Closed { .. } if reason.is_some() => {
                tracing::info!(transport, endpoint, attempt, reason, "the hub client has ended");
            }
            state => tracing::debug!(transport, endpoint, attempt, state = state.name(), "the state of the hub client"),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock_check =
            self.age.as_ref().filter(|_| self.core.up().is_some()).map(|it| it.updated() + CLOCK_INTERVAL);
        let deadlines = [self.core.next_deadline(), self.features.next_deadline(), clock_check];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    fn publish_end(&mut self) {
        let reason = self.core.end_reason().unwrap_or(CloseReason::Aborted);
        // After the channel is closed, the task of a handler cannot send its response. The task then counts the call as
        // unanswered.
        self.responses.close();
        while let Ok(response) = self.responses.try_recv() {
            self.features.on_response(*response);
        }
        self.features.end(&reason);
        let closed = self.unacknowledged.take().unwrap_or_else(|| Closed::new(reason.clone()));
        if self.shared.closed.set(closed).is_ok() {
            self.shared.is_closed.store(true, Ordering::SeqCst);
            self.shared.desired.send_replace(true);
            self.shared.state.send_replace(ConnectionState::Closed { reason });
        }
    }
}

impl Drop for Driver {
    /// Handles the abort of the task: resolves all receipts and publishes the end. Does nothing if the client has
    /// already ended.
    fn drop(&mut self) {
        if self.shared.closed.get().is_some() {
            return;
        }
        // The task no longer uses a transport that panicked.
        if !std::thread::panicking() {
            self.drop_link();
        }
        let now = Instant::now();
        self.core.abort(now);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Send(pending) = command {
                self.core.enqueue(pending, None);
            }
        }
        self.publish();
        self.publish_end();
    }
}

/// Gives the connection the replies of the features, such as method responses. While the core allows requests and the
/// connection has room, also gives it the requests of the features, such as subscriptions. Returns `true` if there was
/// a reply or request.
fn put_requests(
    features: &mut Features,
    core: &Core<PendingMessage>,
    connection: &mut dyn HubConnection,
    now: Instant,
) -> bool {
    let mut moved = false;
    while let Some(out) = features.next(now, core.may_request(now) && connection.has_room()) {
        moved = true;
        match out {
            Outgoing::Request(tag, what) => {
                if let Err(error) = connection.start_send(tag, &what, false) {
                    features.on_unsendable(now, tag, problem(error));
                }
            }
            Outgoing::Reply(reply) => {
                let given = connection.start_reply(&reply);
                features.on_reply(&reply, given.is_ok());
                if let Err(error) = given {
                    let unsent = &features.warnings().unsent_reply;
                    unsent.log(|| tracing::warn!(error = one_line(&error.chain()), "could not send a reply"));
                }
            }
        }
    }
    moved
}

/// Gives messages to the connection while it has room for them.
fn put_messages(core: &mut Core<PendingMessage>, connection: &mut dyn HubConnection, now: Instant) {
    while connection.has_room() {
        let Some((tag, again)) = core.next_send(now) else { break };
        let Some(pending) = core.message(tag) else { continue };
        pending.mark_written();
        let what = Upstream::Telemetry(pending.message().clone());
        if let Err(error) = connection.start_send(tag, &what, again) {
            core.on_unsendable(now, tag, again, problem(error));
        }
    }
}

/// Compares the local clock with the hub's clock, and warns if they differ by four minutes or more. If they differ by
/// more than five minutes, the service refuses every token.
fn compare_clocks(endpoint: &str, server_time: Option<SystemTime>, wall: &WallClock) {
    if let Some(skew) = server_time.and_then(|it| clock::skew(it, wall())) {
        tracing::warn!(endpoint, "this machine's clock is {skew}; correct the clock");
    }
}

/// Why a connection did not accept a message.
fn problem(error: TransportError) -> ProtoError {
    match error {
        TransportError::Request(source) | TransportError::Protocol { source, .. } => source,
        other => ProtoError::Unexpected(other.chain()),
    }
}
