//! A device that follows a script. The device reads its twin, reports properties, follows the desired properties,
//! answers methods, receives messages and sends telemetry.
//!
//! The code reads no command line and writes nothing to stdout, so that one process can run many devices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hubward::error::{CloseReason, ReceiveError, TryEnqueueError, TwinError, Unsupported};
use hubward::{
    CloudMessage, CloudMessages, HubClient, Message, MethodCall, MethodError, MethodResponse, Receipt, SendError,
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::failure::Failure;
use crate::input::with_id;
use crate::output::DeviceEvent;
use crate::tally::wind_speed;

/// The wait after a failed twin request.
const TWIN_AGAIN: Duration = Duration::from_secs(60);

/// The behaviour of a device.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The reported properties that the device sends after connecting.
    pub(crate) report: Option<Map<String, Value>>,
    /// The methods that the device answers, each with a status and a body. The status of all other methods is 404.
    pub(crate) methods: BTreeMap<String, (i32, Option<Value>)>,
    /// The interval between two telemetry messages.
    pub(crate) interval: Option<Duration>,
    /// The telemetry messages. The device adds an ID to each message.
    pub(crate) telemetry: Telemetry,
}

/// The source of the telemetry messages.
#[derive(Debug)]
pub(crate) enum Telemetry {
    /// Copies of one message.
    Copies(Message),
    /// The function gets the number of the message, counted from 1.
    Made(fn(u64) -> Message),
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::Made(|number| wind_speed(usize::try_from(number).unwrap_or(usize::MAX)))
    }
}

/// The end of a device.
#[derive(Debug, Clone)]
pub(crate) enum Lifetime {
    /// The device ends when its client ends, or when it cannot read its twin at the start.
    OfClient,
    /// The device goes on. It reads its twin and reports its properties again each time this number changes, because
    /// its hub may not have the reported properties.
    Endless(watch::Receiver<u64>),
}

/// Receives the events of a device. Called from several tasks.
pub(crate) trait Observer: Send + Sync {
    /// Queues an event. If the queue is full, the future waits for room.
    fn tell(&self, event: &DeviceEvent<'_>) -> BoxFuture<'static, ()>;

    /// Waits until all queued events are written. Returns an error if they cannot be written.
    fn written(&self) -> BoxFuture<'_, Result<(), Failure>>;
}

/// A device that follows a script. Clones share one device.
#[derive(Clone)]
pub(crate) struct ScriptedDevice {
    script: Arc<Script>,
    observer: Arc<dyn Observer>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    desired: AtomicU64,
    received: AtomicU64,
    completed: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// The counts of a device's actions so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) desired: u64,
    pub(crate) received: u64,
    pub(crate) completed: u64,
    pub(crate) messages: u64,
    pub(crate) acknowledged: u64,
}

/// Why a device stopped early.
#[derive(Debug)]
pub(crate) enum DeviceError {
    /// The client closed.
    Closed(CloseReason),
    /// The device cannot read its twin or report properties.
    Twin(TwinError),
    /// The device cannot receive messages.
    Receive(ReceiveError),
    /// The events cannot be written.
    Output(Failure),
}

impl ScriptedDevice {
    pub(crate) fn new(script: Script, observer: Arc<dyn Observer>) -> Self {
        Self { script: Arc::new(script), observer, counters: Arc::default() }
    }

    /// Registers the method handler. Call this before the login: a hub may call a method right after the login.
    pub(crate) fn serve_methods(&self, hub: &HubClient) -> Result<(), Unsupported> {
        let device = self.clone();
        hub.serve_methods(move |call| {
            let device = device.clone();
            async move { device.answer(&call).await }
        })
    }

    /// Runs the device until `end` completes, or its `lifetime` ends. Then closes the client, which takes at most
    /// `flush`.
    ///
    /// If the hub acknowledges messages during the close, the counts of the device include them.
    pub(crate) async fn run(
        &self,
        hub: &HubClient,
        lifetime: Lifetime,
        end: impl Future<Output = ()>,
        flush: Duration,
    ) -> Result<(), DeviceError> {
        let is_module = hub.login().is_some_and(|it| it.identity.module.is_some());
        let inbox = if is_module { hub.inputs() } else { hub.cloud_messages() }.map_err(DeviceError::Receive)?;
        let mut unanswered = FuturesUnordered::new();
        let result = tokio::select! {
            biased;
            () = end => Ok(()),
            error = self.run_until_error(hub, lifetime, inbox, &mut unanswered) => Err(error),
        };
        let closed = hub.close(flush).await;
        tracing::debug!(?closed, "the device has ended");
        // `close` has resolved every receipt.
        while let Some((number, outcome)) = unanswered.next().await {
            self.tell_outcome(number, outcome).await;
        }
        result
    }

    pub(crate) fn counts(&self) -> Counts {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Counts {
            calls: of(&self.counters.calls),
            desired: of(&self.counters.desired),
            received: of(&self.counters.received),
            completed: of(&self.counters.completed),
            messages: of(&self.counters.sent),
            acknowledged: of(&self.counters.acknowledged),
        }
    }

    async fn run_until_error(
        &self,
        hub: &HubClient,
        mut lifetime: Lifetime,
        mut inbox: CloudMessages,
        unanswered: &mut Unanswered,
    ) -> DeviceError {
        let mut desired = match hub.desired() {
            Ok(desired) => desired,
            Err(unsupported) => return DeviceError::Twin(unsupported.into()),
        };
        let mut state = hub.state();
        // The caller has already printed that the device is connected.
        state.borrow_and_update();
        let is_endless = matches!(lifetime, Lifetime::Endless(_));
        let start = self.start(hub, is_endless);
        tokio::pin!(start);
        let mut started = false;
        let mut ticks = self.script.interval.map(ticks);
        loop {
            tokio::select! {
                reason = hub.closed() => return DeviceError::Closed(reason),
                result = &mut start, if !started => match result {
                    Ok(()) => started = true,
                    Err(error) => return DeviceError::Twin(error),
                },
                // Handle changes only after `start` has ended, because the observer must get the whole twin before any
                // change.
                changed = desired.changed(), if started => match changed {
                    Ok(properties) => {
                        count(&self.counters.desired);
                        self.observer.tell(&DeviceEvent::Desired(&properties)).await;
                    }
                    Err(reason) => return DeviceError::Closed(reason),
                },
                () = lifetime.starts_over(), if started => {
                    start.set(self.start(hub, is_endless));
                    started = false;
                }
                message = inbox.next() => match message {
                    Ok(message) => {
                        if let Err(failure) = self.receive(message).await {
                            return DeviceError::Output(failure);
                        }
                    }
                    Err(reason) => return DeviceError::Closed(reason),
                },
                Ok(()) = state.changed() => {
                    let state = state.borrow_and_update().clone();
                    // The events of a device without an end say more.
                    if !is_endless && !state.is_closed() {
                        self.observer.tell(&DeviceEvent::State(&state)).await;
                    }
                }
                () = tick(&mut ticks) => self.send(hub, unanswered).await,
                Some((number, outcome)) = unanswered.next(), if !unanswered.is_empty() => {
                    self.tell_outcome(number, outcome).await;
                }
            }
        }
    }

    /// Reads the twin and reports the properties. A device without an end waits for its hub, and tries again after a
    /// failure that passes.
    async fn start(&self, hub: &HubClient, is_endless: bool) -> Result<(), TwinError> {
        loop {
            if is_endless && hub.connected().await.is_err() {
                // The client has ended, and the caller notices this too.
                return std::future::pending().await;
            }
            match self.read_twin_and_report(hub).await {
                Err(error) if is_endless && passes(&error) => {
                    let reason = hubward::text::error_messages(&error).join(": ");
                    self.observer.tell(&DeviceEvent::TwinFailed { reason: &reason }).await;
                    sleep(TWIN_AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn read_twin_and_report(&self, hub: &HubClient) -> Result<(), TwinError> {
        let twin = hub.twin().await?;
        self.observer.tell(&DeviceEvent::Twin(&twin)).await;
        if let Some(report) = &self.script.report {
            let reported = hub.report(report).await?;
            self.observer.tell(&DeviceEvent::Reported(reported.version)).await;
        }
        Ok(())
    }

    /// Tells the observer about the message. Completes the message after the event is written.
    async fn receive(&self, message: CloudMessage) -> Result<(), Failure> {
        let number = count(&self.counters.received);
        self.observer.tell(&DeviceEvent::Received { number, message: message.message() }).await;
        self.observer.written().await?;
        match message.complete().await {
            Ok(()) => {
                count(&self.counters.completed);
                self.observer.tell(&DeviceEvent::Completed { number }).await;
            }
            Err(error) => self.observer.tell(&DeviceEvent::Left { number, reason: &error.to_string() }).await,
        }
        Ok(())
    }

    async fn answer(&self, call: &MethodCall) -> Result<MethodResponse, MethodError> {
        let number = count(&self.counters.calls);
        let (method, payload) = (call.name(), call.payload());
        self.observer.tell(&DeviceEvent::Call { number, method, payload }).await;
        let (status, body) = match self.script.methods.get(method) {
            Some((status, body)) => (*status, body.clone()),
            None => (404, Some(json!({ "error": "there is no such method" }))),
        };
        let payload = body.map(|it| it.to_string().into_bytes()).unwrap_or_default();
        self.observer.tell(&DeviceEvent::Answer { number, method, status, payload: &payload, problem: None }).await;
        Ok(MethodResponse::raw(status, payload))
    }

    /// Sends a telemetry message if the client has room. Otherwise tells the observer that the message was not sent.
    ///
    /// Never waits for the hub, because the device must answer methods and messages at all times.
    async fn send(&self, hub: &HubClient, unanswered: &mut Unanswered) {
        let number = count(&self.counters.sent);
        let message = match &self.script.telemetry {
            Telemetry::Copies(message) => message.clone(),
            Telemetry::Made(make) => make(number),
        };
        match hub.try_enqueue(with_id(message)) {
            Ok(receipt) => {
                self.observer.tell(&DeviceEvent::Sending { number }).await;
                unanswered.push(Numbered { number, receipt });
            }
            Err(error @ TryEnqueueError::Full(_)) => {
                self.observer.tell(&DeviceEvent::Unsent { number, reason: &error.to_string() }).await;
            }
            Err(error) => self.observer.tell(&DeviceEvent::Unsent { number, reason: &error.to_string() }).await,
        }
    }

    async fn tell_outcome(&self, number: u64, outcome: Result<(), SendError>) {
        match outcome {
            Ok(()) => {
                count(&self.counters.acknowledged);
                self.observer.tell(&DeviceEvent::Sent { number }).await;
            }
            Err(error) => self.observer.tell(&DeviceEvent::Unsent { number, reason: &error.to_string() }).await,
        }
    }
}

/// Receipts of messages that the hub has not acknowledged yet. The window and the queue of the client limit their
/// number.
type Unanswered = FuturesUnordered<Numbered>;

struct Numbered {
    number: u64,
    receipt: Receipt,
}

impl Future for Numbered {
    type Output = (u64, Result<(), SendError>);

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let number = self.number;
        std::pin::Pin::new(&mut self.receipt).poll(cx).map(|it| (number, it))
    }
}

impl Lifetime {
    /// Waits until the device has to read its twin and report its properties again.
    async fn starts_over(&mut self) {
        if let Self::Endless(number) = self
            && number.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Whether a later request may succeed.
fn passes(error: &TwinError) -> bool {
    match error {
        TwinError::NotSent { .. } | TwinError::Unknown { .. } | TwinError::Unreadable(_) => true,
        error => error.status().is_some_and(|it| it == 429 || it >= 500),
    }
}

/// Increments the counter and returns the new value.
fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}
