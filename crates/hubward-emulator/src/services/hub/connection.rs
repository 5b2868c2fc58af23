//! A connection of a device or module to its hub, and the hub operations that a door calls for the device.

use std::sync::Arc;
use std::time::SystemTime;

use hubward_proto::hub::Message;
use tokio::sync::{Notify, mpsc, oneshot};

use super::login::{Login, LoginRequest, check};
use crate::services::cloud::Cloud;
use crate::state::clock::timestamp;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{
    Acknowledged, Activity, ConnectionChannels, Delivery, EndReason, Key, Push, Queue, Rules, Session, State,
    Subscriptions,
};
use crate::state::telemetry::Telemetry;

/// A connection of a device or module to its hub. The store lists the connection until this value is dropped.
pub(crate) struct DeviceConnection<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) login: Login,
    key: Key,
    /// The number of this connection. An older connection of the same identity has another number.
    number: u64,
    activity: Arc<Activity>,
    /// Whether the session outlives the connection.
    is_persistent: bool,
}

/// Values for a new connection.
pub(crate) struct Started {
    /// The session that an earlier connection kept.
    pub(crate) kept: Option<Session>,
    /// Receives the reason when the connection has to end.
    pub(crate) ended: oneshot::Receiver<EndReason>,
    pub(crate) pushes: mpsc::Receiver<Push>,
    /// Notified when the message queue may have changed.
    pub(crate) queue_changed: Arc<Notify>,
}

/// How a telemetry message was published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) qos: u8,
    /// The client may have sent the message before.
    pub(crate) is_duplicate: bool,
}

impl<'a> DeviceConnection<'a> {
    /// Logs in and adds the connection to the list in the store. Ends an older connection of the same identity.
    ///
    /// The login and the addition are one step: the device cannot be deleted between them.
    ///
    /// Calls `resume` with the session that an earlier connection kept. The argument is `None` if no session was kept,
    /// or if the client asks for a new session.
    ///
    /// `resume` returns the session of the new connection and its subscriptions.
    ///
    /// `resume` runs under the lock of the store, so it must not do I/O and must not call the store.
    pub(crate) fn begin(
        cloud: &'a Cloud,
        request: &LoginRequest<'_>,
        is_persistent: bool,
        resume: impl FnOnce(Option<Session>, &Login) -> (Option<Session>, Subscriptions),
    ) -> Result<(Self, Started), &'static str> {
        let (now, time) = (cloud.clock.unix(), cloud.clock.now());
        cloud.store.change(|state| {
            let login = check(state, &cloud.authority, request, now)?;
            let client_id = login.identity.client_id();
            let device = state.device_mut(&login.hub, &client_id);
            let old = device.and_then(|it| it.session.take()).filter(|_| is_persistent);
            let (kept, subscriptions) = resume(old, &login);
            if let Some(device) = state.device_mut(&login.hub, &client_id) {
                device.session = is_persistent.then(|| kept.clone().unwrap_or_default());
                (device.connection_updated, device.last_activity) = (timestamp(time), timestamp(time));
                if login.origin.model_id.is_some() {
                    device.model_id.clone_from(&login.origin.model_id);
                }
            }
            let key = Key::Hub(login.hub.clone(), client_id.clone());
            let channels = state.live.begin(key.clone(), subscriptions);
            let ConnectionChannels { number, ended, pushes, queue_changed, activity } = channels;
            activity.note(time);
            cloud.traffic.opened();
            if let Some(hub) = state.hub_mut(&login.hub) {
                hub.queue(&client_id, time, |queue, _| queue.begin(number));
            }
            Ok((
                Self { cloud, login, key, number, activity, is_persistent },
                Started { kept, ended, pushes, queue_changed },
            ))
        })
    }

    pub(crate) const fn login(&self) -> &Login {
        &self.login
    }

    /// Records an event of this device in the journal.
    pub(crate) fn note(&self, kind: EventKind, message: Option<String>) {
        let identity = &self.login.identity;
        let note = Note::new(kind, EventSource::Hub).hub(identity.host.as_str()).id(&identity.client_id());
        self.cloud.journal.note(match message {
            Some(message) => note.message(message),
            None => note,
        });
    }

    /// Records that the client was active.
    pub(crate) fn note_activity(&self) {
        self.activity.note(self.cloud.clock.now());
    }

    /// Appends a message to the telemetry log. If the connection must end, returns `false` and does not append the
    /// message.
    pub(crate) fn telemetry(&self, message: Message, published: Published) -> bool {
        let Some(log) = self.cloud.logs.get(&self.login.hub) else { return true };
        let appended = log.append_if(self.stamped(message, published), || !self.activity.is_over());
        if appended {
            self.cloud.traffic.message();
        }
        appended
    }

    /// Ends the connection, then appends the client's will to the telemetry log.
    pub(crate) fn end_with_will(self, message: Message, qos: u8) {
        let (cloud, login) = (self.cloud, &self.login);
        let (hub, client_id, origin) = (login.hub.clone(), login.identity.client_id(), Arc::clone(&login.origin));
        drop(self);
        let Some(log) = cloud.logs.get(&hub) else { return };
        let telemetry = Telemetry { qos, ..Telemetry::new(&origin, timestamp(cloud.clock.now()), message) };
        // Hold the lock of the store while appending. Otherwise, a device could be deleted before its message is
        // logged.
        cloud.store.read(|state| {
            if state.device(&hub, &client_id).is_some_and(|it| it.generation_id == origin.generation_id) {
                log.append(telemetry);
                cloud.traffic.message();
            }
        });
    }

    fn stamped(&self, message: Message, Published { qos, is_duplicate }: Published) -> Telemetry {
        let telemetry = Telemetry::new(&self.login.origin, timestamp(self.cloud.clock.now()), message);
        Telemetry { duplicate: is_duplicate, qos, ..telemetry }
    }

    /// Stores the subscriptions and the session. If the connection must end, stores nothing and returns `false`. The
    /// door (the MQTT front end) must then not acknowledge the SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn subscribed(&self, subscriptions: Subscriptions, session: &Session) -> bool {
        self.cloud.store.change(|state| {
            if self.activity.is_over() {
                return false;
            }
            state.live.subscribed(&self.key, self.number, subscriptions);
            if self.is_persistent
                && let Some(device) = self.device_mut(state)
            {
                device.session = Some(session.clone());
            }
            true
        })
    }

    /// Takes the next message for the client from the queue. `qos` is the QoS with which the door (the MQTT front end)
    /// delivers the message. Returns `None` if no message can be delivered now.
    pub(crate) fn next_message(&self, qos: u8) -> Option<Delivery> {
        let now = self.cloud.clock.now();
        self.queue(now, |queue, rules| queue.take(self.number, qos, now, rules))
    }

    /// Returns the earliest time at which the lock of a message ends. Returns `None` if no message is locked.
    ///
    /// At that time, the hub delivers the message again. If the message has expired or has no deliveries left, the hub
    /// removes it instead.
    pub(crate) fn next_release(&self) -> Option<SystemTime> {
        self.cloud
            .store
            .read(|state| state.device(&self.login.hub, &self.login.identity.client_id())?.queue.next_release())
    }

    /// Processes the acknowledgement of a message. Returns `None` if the identity no longer exists.
    pub(crate) fn complete_message(&self, packet_id: u16) -> Option<Acknowledged> {
        let now = self.cloud.clock.now();
        self.queue(now, |queue, _| Some(queue.acknowledge(self.number, packet_id, now)))
    }

    /// Calls `act` with the message queue of the client. If `act` returns `Some`, the store reports a change.
    fn queue<R>(&self, now: SystemTime, act: impl FnOnce(&mut Queue, &Rules) -> Option<R>) -> Option<R> {
        let client_id = self.login.identity.client_id();
        self.cloud.store.change_some(|state| state.hub_mut(&self.login.hub)?.queue(&client_id, now, act)?)
    }

    /// Returns the identity of the client in the registry. Returns `None` if the connection must end.
    pub(super) fn live_device_mut<'s>(&self, state: &'s mut State) -> Option<&'s mut crate::state::model::Device> {
        self.device_mut(state).filter(|_| !self.activity.is_over())
    }

    fn device_mut<'s>(&self, state: &'s mut State) -> Option<&'s mut crate::state::model::Device> {
        state.device_mut(&self.login.hub, &self.login.identity.client_id())
    }
}

impl Drop for DeviceConnection<'_> {
    fn drop(&mut self) {
        let Self { cloud, login, key, number, activity, .. } = self;
        let time = cloud.clock.now();
        cloud.traffic.closed();
        cloud.store.change(|state| {
            state.live.end(key, *number);
            let client_id = login.identity.client_id();
            if !state.live.is_live(key)
                && let Some(device) = state.device_mut(&login.hub, &client_id)
                && device.generation_id == login.origin.generation_id
            {
                device.connection_updated = timestamp(time);
                device.last_activity = activity.shown().unwrap_or_else(|| timestamp(time));
            }
            if let Some(hub) = state.hub_mut(&login.hub) {
                hub.queue(&client_id, time, |queue, _| queue.end(*number));
            }
        });
    }
}
