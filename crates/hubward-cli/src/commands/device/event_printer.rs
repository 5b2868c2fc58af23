//! Prints the events of a device that keeps itself connected, from its start on and in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hubward::{ConnectionState, DeviceEvent, DeviceSettings, HubClient};
use tokio::sync::{mpsc, oneshot, watch};

use crate::output::{self, AssignmentFacts, LifecycleEvent, LifecycleFacts, Output};
use crate::spinner::Spinner;

/// Number of events that wait for a slow reader of stdout. More events are counted and dropped, because the device must
/// not wait for a terminal.
const QUEUE: usize = 256;

/// The progress of the device.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Milestones {
    /// The newest assignment; `None` if the device has not registered.
    pub(super) assignment: Option<AssignmentFacts>,
    /// Whether the hub has accepted the device at least once.
    pub(super) is_connected: bool,
}

/// A handle of the task that prints.
#[derive(Debug)]
pub(super) struct EventPrinter {
    queue: mpsc::Sender<Item>,
    milestones: watch::Receiver<Milestones>,
    fresh_connections: watch::Receiver<u64>,
}

enum Item {
    Event(Box<DeviceEvent>),
    Follow(watch::Receiver<ConnectionState>),
    /// All events before this item are printed.
    Printed(oneshot::Sender<()>),
}

impl EventPrinter {
    /// Starts the task, and connects it to the device that `settings` are for.
    pub(super) fn start(settings: DeviceSettings, output: &Output) -> (Self, DeviceSettings) {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (reached, milestones) = watch::channel(Milestones::default());
        let (fresh, fresh_connections) = watch::channel(0);
        let missed = Arc::new(AtomicU64::new(0));
        let provisioning = &settings.settings;
        let device = LifecycleFacts {
            registration_id: provisioning.registration_id.to_string(),
            dps: format!("{}:{}", provisioning.dps_host, provisioning.transport.default_port()),
            dps_transport: provisioning.transport,
            hub_transport: provisioning.effective_hub_transport(),
            device_id: None,
        };
        let task = Task {
            output: output.clone(),
            device,
            missed: Arc::clone(&missed),
            reached,
            fresh,
            is_registered: false,
            spinner: None,
            hint: None,
            state: None,
        };
        tokio::spawn(task.run(queued));
        let events = queue.clone();
        let settings = settings.on_event(move |event| {
            if events.try_send(Item::Event(Box::new(event.clone()))).is_err() {
                missed.fetch_add(1, Ordering::Relaxed);
            }
        });
        (Self { queue, milestones, fresh_connections }, settings)
    }

    /// Also prints the states of the connection from now on.
    pub(super) async fn follow(&self, state: watch::Receiver<ConnectionState>) {
        // The task ends only with this handle.
        let _ = self.queue.send(Item::Follow(state)).await;
    }

    /// Waits until all events up to now are printed.
    pub(super) async fn printed(&self) {
        let (done, printed) = oneshot::channel();
        if self.queue.send(Item::Printed(done)).await.is_ok() {
            let _ = printed.await;
        }
    }

    /// Waits until it is printed that the hub has accepted the device. The client reports this a moment later than its
    /// state.
    pub(super) async fn connected(&self, hub: &HubClient) {
        let mut milestones = self.milestones();
        tokio::select! {
            _ = milestones.wait_for(|it| it.is_connected) => {}
            _ = hub.closed() => {}
        }
    }

    /// The progress of the device, according to the printed events.
    pub(super) fn milestones(&self) -> watch::Receiver<Milestones> {
        self.milestones.clone()
    }

    /// The number of connections, without the first one, that followed a registration. After such a connection, the hub
    /// may have no reported properties of the device.
    pub(super) fn fresh_connections(&self) -> watch::Receiver<u64> {
        self.fresh_connections.clone()
    }
}

struct Task {
    output: Output,
    device: LifecycleFacts,
    missed: Arc<AtomicU64>,
    reached: watch::Sender<Milestones>,
    fresh: watch::Sender<u64>,
    /// Whether the device has registered since the last connection.
    is_registered: bool,
    spinner: Option<Spinner>,
    /// The last hint in the text. A device that tries again and again repeats no hint.
    hint: Option<String>,
    state: Option<watch::Receiver<ConnectionState>>,
}

impl Task {
    /// Prints until every sender of the queue is dropped.
    async fn run(mut self, mut queued: mpsc::Receiver<Item>) {
        loop {
            tokio::select! {
                biased;
                item = queued.recv() => match item {
                    Some(Item::Event(event)) => self.print(&event).await,
                    Some(Item::Follow(state)) => self.state = Some(state),
                    Some(Item::Printed(done)) => {
                        self.print_missed().await;
                        let _ = done.send(());
                    }
                    None => return,
                },
                state = next_state(&mut self.state) => match state {
                    // The command prints its result after the end of the client.
                    Some(state) if state.is_closed() => self.state = None,
                    Some(state) => self.output.tell_device_event(&output::DeviceEvent::LifecycleState(&state)).await,
                    None => self.state = None,
                },
            }
        }
    }

    async fn print_missed(&mut self) {
        let count = self.missed.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.tell(&DeviceEvent::Missed { count }).await;
        }
    }

    async fn print(&mut self, event: &DeviceEvent) {
        self.print_missed().await;
        self.spinner = None;
        if let DeviceEvent::CacheUsed { device_id, .. } | DeviceEvent::Assigned { device_id, .. } = event {
            self.device.device_id = Some(device_id.to_string());
        }
        // The error of the command says more than an event with which the device gives up.
        if event.next_step().is_none_or(|it| it.name() != "end") {
            self.tell(event).await;
        }
        if let Some(assignment) = output::assignment(event, &self.device) {
            self.is_registered = true;
            self.reached.send_modify(|it| it.assignment = Some(assignment));
        }
        if matches!(event, DeviceEvent::Connected { .. }) {
            self.on_connected();
        }
        if !self.reached.borrow().is_connected {
            self.spinner = waits_for(event).map(|it| Spinner::start(&self.output, it));
        }
    }

    fn on_connected(&mut self) {
        let is_fresh = std::mem::take(&mut self.is_registered);
        if is_fresh && self.reached.borrow().is_connected {
            self.fresh.send_modify(|it| *it += 1);
        }
        self.reached.send_modify(|it| it.is_connected = true);
    }

    fn tell(&mut self, event: &DeviceEvent) -> impl Future<Output = ()> + use<> {
        let hint = output::hint(event).filter(|_| event.is_trouble());
        let shows_hint = hint.is_some() && hint != self.hint;
        if hint.is_some() || matches!(event, DeviceEvent::Connected { .. }) {
            self.hint = hint;
        }
        let event = LifecycleEvent { event, device: &self.device, shows_hint };
        self.output.tell_device_event(&output::DeviceEvent::Lifecycle(&event))
    }
}

/// The text of the spinner after this event, for a device that is not connected yet.
const fn waits_for(event: &DeviceEvent) -> Option<&'static str> {
    match event {
        DeviceEvent::Registering { .. } => Some("registering"),
        DeviceEvent::CacheUsed { .. } | DeviceEvent::Assigned { .. } => Some("connecting to the hub"),
        DeviceEvent::RegistrationFailed { .. } | DeviceEvent::HubFailed { .. } => Some("waiting"),
        _ => None,
    }
}

/// Waits for the next state. Returns `None` if the client has ended, and nothing without a receiver.
async fn next_state(state: &mut Option<watch::Receiver<ConnectionState>>) -> Option<ConnectionState> {
    let Some(state) = state else { return std::future::pending().await };
    state.changed().await.ok()?;
    Some(state.borrow_and_update().clone())
}
