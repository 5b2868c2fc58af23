//! One MQTT connection to a hub, from CONNECT to its end.

use std::sync::Arc;
use std::time::SystemTime;

use hubward_proto::hub::{HubUsername, TopicFilter};
use hubward_proto::limits::SUBSCRIPTIONS_MAX;
use hubward_sas::EXPIRY_GRACE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::delayed::Delayed;
use super::login::{Login, check};
use super::method::Calls;
use super::outgoing::{CALLS, NOTICES};
use super::push::{Outbox, Push};
use super::telemetry::Telemetry;
use crate::admission::ConnectionEntry;
use crate::clock::{Clock, timestamp};
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::mqtt::codec::{Connect, Incoming, Outgoing};
use crate::mqtt::{
    Bounds, Closed, Connection, End, FILTER_REFUSED, NOT_AUTHORIZED, PACKET_MAX, Session, apply_connect_fault, end_of,
    refuse, run,
};
use crate::shared::Shared;
use crate::store::{self, Activity, ConnectionChannels, Key, Why};

/// Serves a connection whose user name is not one for DPS.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: &Arc<Shared>,
    connection: &mut Connection<S>,
    connect: Connect,
    entry: &Arc<ConnectionEntry>,
) -> End {
    let checked = shared.store.read(|state| check(state, &connect, shared.clock.unix()));
    if let Some(end) = apply_connect_fault(shared, connection, Point::HubConnect, &connect, checked.is_ok()).await {
        return end;
    }
    let login = match checked {
        Ok(login) => login,
        Err(why) => return reject_connect(shared, connection, &connect, why),
    };
    // Only a device that may connect acquires a slot. Its own older connection may hold the last one.
    shared.store.take_over(&Key::Hub(login.hub, login.identity.client_id()));
    let Some(_slot) = entry.acquire_slot().await else { return End::Abruptly };
    let (mut presence, started) = match begin(shared, &connect) {
        Ok(started) => started,
        Err(why) => return reject_connect(shared, connection, &connect, why),
    };
    let will = presence.login.will.take();
    let login = &presence.login;
    let session_present = started.kept.is_some();
    tracing::info!(device = %login.identity, session_present, "a device is connected");
    if !login.has_version {
        tracing::warn!(device = %login.identity, "the user name has no api-version: only telemetry works");
    }
    shared.journal.note(note(EventKind::Connected, login));
    connection.allow(PACKET_MAX);
    connection.queue(&Outgoing::Connack { session_present, code: 0 });
    let expired = shared.clock.after(login.expiry.saturating_add(EXPIRY_GRACE));
    let bounds = Bounds { keep_alive: connect.keep_alive, ended: started.ended, expired };
    let mut session = HubSession {
        shared,
        login,
        key: &presence.key,
        number: presence.number,
        persistent: !connect.clean_session,
        filters: started.kept.unwrap_or_default(),
        pushes: started.pushes,
        look: started.look,
        activity: Arc::clone(&presence.activity),
        release: None,
        outbox: Outbox::default(),
        delayed: Delayed::default(),
        calls: Calls::default(),
    };
    // Messages may be queued for the filters of the kept session.
    session.look.notify_one();
    let why = run(connection, &mut session, bounds).await;
    drop(session);

    tracing::info!(device = %login.identity, %why, "a device is disconnected");
    shared.journal.note(note(EventKind::Disconnected, login).message(why.to_string()));
    let (hub, client_id) = (login.hub.clone(), login.identity.client_id());
    let origin = Arc::clone(&login.origin);
    drop(presence);
    if let Some((message, qos)) = will.filter(|_| !matches!(why, Closed::Disconnected))
        && let Some(log) = shared.logs.get(&hub)
    {
        let telemetry = Telemetry { qos, ..Telemetry::new(&origin, timestamp(shared.clock.now()), message) };
        // Under the lock, so that no message is logged for a device that is being deleted at the same time.
        shared.store.read(|state| {
            if state.device(&hub, &client_id).is_some_and(|it| it.generation_id == origin.generation_id) {
                log.append(telemetry);
            }
        });
    }
    end_of(&why)
}

/// Lists the connection of a device in the store until this is dropped.
struct Presence<'a> {
    shared: &'a Shared,
    login: Login,
    key: Key,
    number: u64,
    activity: Arc<Activity>,
}

/// The session and the channels of a new connection.
struct Started {
    /// The session that an earlier connection left.
    kept: Option<store::Session>,
    ended: oneshot::Receiver<Why>,
    pushes: mpsc::Receiver<Push>,
    look: Arc<Notify>,
}

/// Checks a CONNECT and lists the connection in one step, so that the device cannot be deleted in between.
fn begin<'a>(shared: &'a Shared, connect: &Connect) -> Result<(Presence<'a>, Started), &'static str> {
    let (now, time) = (shared.clock.unix(), shared.clock.now());
    shared.store.change(|state| {
        let login = check(state, connect, now)?;
        let client_id = login.identity.client_id();
        let kept = state.device_mut(&login.hub, &client_id).and_then(|device| {
            let mut kept = if connect.clean_session { None } else { device.session.take() };
            if let Some(session) = kept.as_mut().filter(|_| !login.has_version) {
                session.filters.retain(|(filter, _)| !is_for_versions(filter));
            }
            device.session = (!connect.clean_session).then(|| kept.clone().unwrap_or_default());
            (device.connection_updated, device.last_activity) = (timestamp(time), timestamp(time));
            if login.origin.model_id.is_some() {
                device.model_id.clone_from(&login.origin.model_id);
            }
            kept
        });
        let key = Key::Hub(login.hub.clone(), client_id.clone());
        let wires = state.live.begin(key.clone(), kept.clone().unwrap_or_default());
        let ConnectionChannels { number, ended, pushes, look, activity } = wires;
        activity.note(time);
        if let Some(hub) = state.hub_mut(&login.hub) {
            hub.queue(&client_id, time, |queue, _| queue.begin(number));
        }
        Ok((Presence { shared, login, key, number, activity }, Started { kept, ended, pushes, look }))
    })
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let Self { shared, login, key, number, activity } = self;
        let time = shared.clock.now();
        shared.store.change(|state| {
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

/// Refuses a CONNECT and records the reason. The client does not get the reason.
fn reject_connect<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    connection: &mut Connection<S>,
    connect: &Connect,
    why: &str,
) -> End {
    tracing::info!(client_id = connect.client_id, why, "a hub refuses a device (CONNACK 5)");
    shared.journal.note(refused(connect, why));
    refuse(connection, NOT_AUTHORIZED)
}

/// An event of a connected device, for the journal.
fn note(kind: EventKind, login: &Login) -> Note {
    Note::new(kind, EventSource::Hub).hub(login.identity.host.as_str()).id(&login.identity.client_id())
}

/// The event of a refused CONNECT, with the identity that it claims.
fn refused(connect: &Connect, why: &str) -> Note {
    let note = Note::new(EventKind::Refused, EventSource::Hub).code(NOT_AUTHORIZED.into()).message(why);
    match connect.username.as_deref().and_then(|it| HubUsername::parse(it).ok()) {
        Some(HubUsername { identity, .. }) => note.hub(identity.host.as_str()).id(&identity.client_id()),
        None => note.id(&connect.client_id),
    }
}

pub(super) struct HubSession<'a> {
    pub(super) shared: &'a Shared,
    pub(super) login: &'a Login,
    pub(super) key: &'a Key,
    /// The number of this connection.
    pub(super) number: u64,
    /// The client has set CleanSession to 0: the filters are kept after the connection ends.
    persistent: bool,
    pub(super) filters: store::Session,
    pushes: mpsc::Receiver<Push>,
    pub(super) look: Arc<Notify>,
    pub(super) activity: Arc<Activity>,
    /// When the next lock of a message ends. The message is published again then.
    pub(super) release: Option<SystemTime>,
    pub(super) outbox: Outbox,
    pub(super) delayed: Delayed,
    pub(super) calls: Calls,
}

/// Whether a filter needs an api-version in the user name: the filters of direct methods and of desired properties.
///
/// Source: `[seen]` MicrosoftDocs/azure-docs, issue 16306; andriyadi/AzureIoTHubMQTTClient, pull request 5;
/// wolfSSL/wolfMQTT, issue 38. For notices it is a `[guess]`.
fn is_for_versions(filter: &str) -> bool {
    filter.starts_with(CALLS) || filter.starts_with(NOTICES)
}

/// Waits until the emulator's clock shows a time; forever without one.
async fn at(clock: &Clock, moment: Option<SystemTime>) {
    match moment {
        Some(moment) => clock.at(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until an instant; forever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// An event of a hub's connection that its client does not cause.
pub(super) enum Event {
    /// A publish for the client.
    Push(Push),
    /// A delayed packet is due.
    Due,
    /// The device's message queue in the store may have changed.
    Look,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> for HubSession<'_> {
    type Event = Event;

    async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            // The sender is dropped when the connection has to end; `ended` reports that.
            Some(push) = self.pushes.recv() => Event::Push(push),
            () = self.look.notified() => Event::Look,
            () = until(self.delayed.due()) => Event::Due,
            () = at(&self.shared.clock, self.release) => Event::Look,
        }
    }

    async fn event(&mut self, connection: &mut Connection<S>, event: Event) -> Result<(), Closed> {
        match event {
            Event::Push(Push::Desired { version, body }) => self.desired(connection, version, body),
            Event::Push(Push::Method(call)) => self.call(connection, call),
            Event::Due => self.send_due(connection).await,
            Event::Look => self.deliver(connection).await,
        }
    }

    async fn handle(&mut self, connection: &mut Connection<S>, packet: Incoming) -> Result<(), Closed> {
        match packet {
            Incoming::Publish(publish) => {
                self.activity.note(self.shared.clock.now());
                return self.publish(connection, publish).await;
            }
            Incoming::Subscribe(id, filters) => {
                let refused = match self.take_fault(Point::HubSubscribe)? {
                    Some(Fault::Suback128) => true,
                    Some(Fault::Cut) => return Err(Closed::Fault),
                    Some(Fault::Never) => return Ok(()),
                    Some(Fault::Delay(time)) => {
                        sleep(time).await;
                        false
                    }
                    _ => false,
                };
                let grant = |it: &(String, u8)| if refused { FILTER_REFUSED } else { self.subscribe(&it.0, it.1) };
                let codes: Vec<u8> = filters.iter().map(grant).collect();
                if self.shared.choices.close_on_refused_filter && !refused && codes.contains(&FILTER_REFUSED) {
                    return Err(Closed::Violation("an unsupported filter, or more than five filters"));
                }
                if self.keep() {
                    connection.queue(&Outgoing::Suback(id, codes));
                    self.look.notify_one();
                }
            }
            Incoming::Unsubscribe(id, filters) => {
                for filter in filters {
                    self.filters.remove(&filter);
                }
                if self.keep() {
                    connection.queue(&Outgoing::Unsuback(id));
                }
            }
            Incoming::Pingreq => connection.queue(&Outgoing::Pingresp),
            // Within a connection, the hub never sends a publish again.
            Incoming::Puback(id) => {
                if !self.message_acknowledged(id) {
                    self.outbox.acknowledged(connection, id);
                }
            }
            Incoming::QoS2 => return Err(Closed::Violation("quality of service 2")),
            Incoming::Connect(_) => return Err(Closed::Violation("a second CONNECT")),
            Incoming::Disconnect => return Err(Closed::Disconnected),
        }
        Ok(())
    }
}

impl HubSession<'_> {
    /// Takes the fault that is scripted for the current event. A fault that changes the device itself ends the
    /// connection.
    pub(super) fn take_fault(&self, point: Point) -> Result<Option<Fault>, Closed> {
        let client_id = self.login.identity.client_id();
        match self.shared.take_fault_of(point, &client_id, true) {
            Some(Fault::TokenExpired) => Err(Closed::Expired),
            Some(fault @ (Fault::DeviceDisabled | Fault::DeviceDeleted | Fault::HubMoved)) => {
                self.shared.apply_fault_to_device(&fault, &self.login.hub, &client_id);
                Err(Closed::NotAllowed)
            }
            fault => Ok(fault),
        }
    }

    /// Subscribes to a filter. Returns the granted QoS or a refusal.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: only the documented filters, at most five,
    /// QoS 2 granted as 1. That a refusal is 0x80 rather than the end is a `[guess]`; see
    /// [`Builder::close_on_refused_filter`](crate::Builder::close_on_refused_filter).
    fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        if TopicFilter::parse(&self.login.identity, filter).is_err() {
            tracing::info!(device = %self.login.identity, filter, "a filter is refused: hubs do not support it");
            return FILTER_REFUSED;
        }
        if self.filters.granted(filter).is_none() && self.filters.filters.len() >= SUBSCRIPTIONS_MAX {
            tracing::info!(device = %self.login.identity, filter, "a filter is refused: at most five are allowed");
            return FILTER_REFUSED;
        }
        let granted = qos.min(1);
        if self.login.has_version || !is_for_versions(filter) {
            self.filters.set(filter, granted);
        }
        granted
    }

    /// Stores the filters for other parts of the emulator. Returns false if the connection has to end: then the filters
    /// have no effect, and the client must not get an acknowledgement.
    fn keep(&self) -> bool {
        self.shared.store.change(|state| {
            if self.activity.is_over() {
                return false;
            }
            state.live.subscribed(self.key, self.number, &self.filters);
            let Login { hub, identity, .. } = self.login;
            if self.persistent
                && let Some(device) = state.device_mut(hub, &identity.client_id())
            {
                device.session = Some(self.filters.clone());
            }
            true
        })
    }
}
