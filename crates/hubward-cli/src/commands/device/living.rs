//! One living device: it reads its twin, reports, follows what the cloud wants, answers methods,
//! receives messages, sends telemetry. Knows nothing of arguments and output, so that many can live in
//! one program.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hubward::{
    CloseReason, CloudMessage, CloudMessages, HubClient, Message, MethodCall, MethodError, MethodResponse, Receipt,
    ReceiveError, SendError, TryEnqueueError, TwinError, Unsupported,
};
use serde_json::{Map, Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::input::with_id;
use crate::output::Happening;
use crate::tally::wind_speed;

/// What a device does.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// What it reports at first.
    pub(crate) report: Option<Map<String, Value>>,
    /// The methods it answers, each with a status and a body. The others it answers with 404.
    pub(crate) methods: BTreeMap<String, (i32, Option<Value>)>,
    /// How often it sends telemetry.
    pub(crate) interval: Option<Duration>,
    /// What each message is a copy of, but for its id; a wind speed unless given.
    pub(crate) message: Option<Message>,
}

/// Who hears what happens to a device. Called from several tasks.
pub(crate) trait Audience: Send + Sync {
    /// Tells what happened; completes when there is room for more.
    fn tell(&self, happening: &Happening<'_>) -> BoxFuture<'static, ()>;

    /// Completes when all that was told before is shown, or can never be.
    fn shown(&self) -> BoxFuture<'_, Result<(), Failure>>;
}

/// A device that lives, or is about to.
#[derive(Clone)]
pub(crate) struct Living {
    script: Arc<Script>,
    audience: Arc<dyn Audience>,
    counts: Arc<Counts>,
}

/// What it has done so far.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    desired: AtomicU64,
    received: AtomicU64,
    completed: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// The same, to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) calls: u64,
    pub(crate) desired: u64,
    pub(crate) received: u64,
    pub(crate) completed: u64,
    pub(crate) messages: u64,
    pub(crate) acknowledged: u64,
}

/// Why a device does not live on.
#[derive(Debug)]
pub(crate) enum Death {
    /// Its client ended.
    Closed(CloseReason),
    /// It cannot read its twin, or report.
    Twin(TwinError),
    /// It cannot receive.
    Receive(ReceiveError),
    /// What it receives cannot be shown.
    Output(Failure),
}

impl Living {
    pub(crate) fn new(script: Script, audience: Arc<dyn Audience>) -> Self {
        Self { script: Arc::new(script), audience, counts: Arc::default() }
    }

    /// Answers methods from now on; before the login, since a hub may call at once.
    pub(crate) fn serve(&self, hub: &HubClient) -> Result<(), Unsupported> {
        let living = self.clone();
        hub.serve_methods(move |call| {
            let living = living.clone();
            async move { living.answer(&call).await }
        })
    }

    /// Lives until `end`, then says good-bye within `flush`. What it still sent then counts too.
    pub(crate) async fn live(
        &self,
        hub: &HubClient,
        end: impl Future<Output = ()>,
        flush: Duration,
    ) -> Result<(), Death> {
        let is_module = hub.login().identity.module.is_some();
        let inbox = if is_module { hub.inputs() } else { hub.cloud_messages() }.map_err(Death::Receive)?;
        let mut unanswered = FuturesUnordered::new();
        let lived = tokio::select! {
            biased;
            () = end => Ok(()),
            death = self.until_death(hub, inbox, &mut unanswered) => Err(death),
        };
        let closed = hub.close(flush).await;
        tracing::debug!(?closed, "a living device has ended");
        // Every receipt is resolved by now.
        while let Some((number, outcome)) = unanswered.next().await {
            self.judge(number, outcome).await;
        }
        lived
    }

    pub(crate) fn done(&self) -> Done {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Done {
            calls: of(&self.counts.calls),
            desired: of(&self.counts.desired),
            received: of(&self.counts.received),
            completed: of(&self.counts.completed),
            messages: of(&self.counts.sent),
            acknowledged: of(&self.counts.acknowledged),
        }
    }

    async fn until_death(&self, hub: &HubClient, mut inbox: CloudMessages, unanswered: &mut Unanswered) -> Death {
        let mut desired = match hub.desired() {
            Ok(desired) => desired,
            Err(unsupported) => return Death::Twin(unsupported.into()),
        };
        let mut state = hub.state();
        // That it is connected was told already.
        state.borrow_and_update();
        let begin = self.begin(hub);
        tokio::pin!(begin);
        let mut begun = false;
        let mut ticks = self.script.interval.map(ticks);
        loop {
            tokio::select! {
                reason = hub.closed() => return Death::Closed(reason),
                result = &mut begin, if !begun => match result {
                    Ok(()) => begun = true,
                    Err(error) => return Death::Twin(error),
                },
                // The first word is the twin as a whole.
                changed = desired.changed(), if begun => match changed {
                    Ok(properties) => {
                        count(&self.counts.desired);
                        self.audience.tell(&Happening::Desired(&properties)).await;
                    }
                    Err(reason) => return Death::Closed(reason),
                },
                message = inbox.next() => match message {
                    Ok(message) => {
                        if let Err(failure) = self.receive(message).await {
                            return Death::Output(failure);
                        }
                    }
                    Err(reason) => return Death::Closed(reason),
                },
                Ok(()) = state.changed() => {
                    let state = state.borrow_and_update().clone();
                    if !state.is_closed() {
                        self.audience.tell(&Happening::State(&state)).await;
                    }
                }
                () = tick(&mut ticks) => self.send(hub, unanswered).await,
                Some((number, outcome)) = unanswered.next(), if !unanswered.is_empty() => self.judge(number, outcome).await,
            }
        }
    }

    async fn begin(&self, hub: &HubClient) -> Result<(), TwinError> {
        let twin = hub.twin().await?;
        self.audience.tell(&Happening::Twin(&twin)).await;
        if let Some(report) = &self.script.report {
            let reported = hub.report(report).await?;
            self.audience.tell(&Happening::Reported(reported.version)).await;
        }
        Ok(())
    }

    /// Completes the message once it is shown.
    async fn receive(&self, message: CloudMessage) -> Result<(), Failure> {
        let number = count(&self.counts.received);
        self.audience.tell(&Happening::Received { number, message: message.message() }).await;
        self.audience.shown().await?;
        match message.complete().await {
            Ok(()) => {
                count(&self.counts.completed);
                self.audience.tell(&Happening::Completed { number }).await;
            }
            Err(error) => self.audience.tell(&Happening::Left { number, reason: &error.to_string() }).await,
        }
        Ok(())
    }

    async fn answer(&self, call: &MethodCall) -> Result<MethodResponse, MethodError> {
        let number = count(&self.counts.calls);
        let (method, payload) = (call.name(), call.payload());
        self.audience.tell(&Happening::Call { number, method, payload }).await;
        let (status, body) = match self.script.methods.get(method) {
            Some((status, body)) => (*status, body.clone()),
            None => (404, Some(json!({ "error": "there is no such method" }))),
        };
        let payload = body.map(|it| it.to_string().into_bytes()).unwrap_or_default();
        self.audience.tell(&Happening::Answer { number, method, status, payload: &payload, problem: None }).await;
        Ok(MethodResponse::raw(status, payload))
    }

    /// Never waits for the hub: a device that cannot send has other things to do meanwhile.
    async fn send(&self, hub: &HubClient, unanswered: &mut Unanswered) {
        let number = count(&self.counts.sent);
        let message =
            self.script.message.clone().unwrap_or_else(|| wind_speed(usize::try_from(number).unwrap_or(usize::MAX)));
        match hub.try_enqueue(with_id(message)) {
            Ok(receipt) => {
                self.audience.tell(&Happening::Sending { number }).await;
                unanswered.push(Numbered { number, receipt });
            }
            Err(error @ TryEnqueueError::Full(_)) => {
                self.audience.tell(&Happening::Unsent { number, reason: &error.to_string() }).await;
            }
            Err(error) => self.audience.tell(&Happening::Unsent { number, reason: &error.to_string() }).await,
        }
    }

    async fn judge(&self, number: u64, outcome: Result<(), SendError>) {
        match outcome {
            Ok(()) => {
                count(&self.counts.acknowledged);
                self.audience.tell(&Happening::Sent { number }).await;
            }
            Err(error) => self.audience.tell(&Happening::Unsent { number, reason: &error.to_string() }).await,
        }
    }
}

/// What was sent and is not answered yet: bounded by the client's window and queue.
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

/// Counts one more, and says how many that are.
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
