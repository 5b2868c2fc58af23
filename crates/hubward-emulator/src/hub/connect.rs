//! One MQTT connection to a hub, from its CONNECT to its end.

use std::sync::Arc;
use std::time::SystemTime;

use hubward_proto::hub::{HubUsername, TopicFilter};
use hubward_proto::limits::SUBSCRIPTIONS_MAX;
use hubward_sas::EXPIRY_GRACE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::later::Later;
use super::login::{Login, check};
use super::method::Calls;
use super::outgoing::{CALLS, NOTICES};
use super::push::{Outbox, Push};
use super::telemetry::Telemetry;
use crate::clock::{Clock, timestamp};
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::lobby::Place;
use crate::mqtt::codec::{Connect, Incoming, Outgoing};
use crate::mqtt::{
    Bounds, Closed, Connection, End, FILTER_REFUSED, NOT_AUTHORIZED, PACKET_MOST, Session, end_of, misbehave, refuse,
    run,
};
use crate::shared::Shared;
use crate::store::{self, Activity, ConnectionChannels, Key, Why};

/// Serves a connection whose user name is not one for DPS.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: &Arc<Shared>,
    connection: &mut Connection<S>,
    connect: Connect,
    place: &Arc<Place>,
) -> End {
    let checked = shared.store.read(|state| check(state, &connect, shared.clock.unix()));
    if let Some(end) = misbehave(shared, connection, Point::HubConnect, &connect, checked.is_ok()).await {
        return end;
    }
    let login = match checked {
        Ok(login) => login,
        Err(why) => return turn_away(shared, connection, &connect, why),
    };
    // Only who may connect gets a seat. The last one may be that of its own older connection.
    shared.store.take_over(&Key::Hub(login.hub, login.identity.client_id()));
    let Some(_seat) = place.sit().await else { return End::Abruptly };
    let (mut presence, arrived) = match arrive(shared, &connect) {
        Ok(arrived) => arrived,
        Err(why) => return turn_away(shared, connection, &connect, why),
    };
    let will = presence.login.will.take();
    let login = &presence.login;
    let session_present = arrived.kept.is_some();
    tracing::info!(device = %login.identity, session_present, "a device is connected");
    if !login.has_version {
        tracing::warn!(device = %login.identity, "the user name has no api-version: it is good for telemetry only");
    }
    shared.journal.note(told(EventKind::Connected, login));
    connection.allow(PACKET_MOST);
    connection.queue(&Outgoing::Connack { session_present, code: 0 });
    let expired = shared.clock.after(login.expiry.saturating_add(EXPIRY_GRACE));
    let bounds = Bounds { keep_alive: connect.keep_alive, ended: arrived.ended, expired };
    let mut session = HubSession {
        shared,
        login,
        key: &presence.key,
        number: presence.number,
        persistent: !connect.clean_session,
        filters: arrived.kept.unwrap_or_default(),
        pushes: arrived.pushes,
        look: arrived.look,
        activity: Arc::clone(&presence.activity),
        release: None,
        outbox: Outbox::default(),
        later: Later::default(),
        calls: Calls::default(),
    };
    // Messages may wait for filters that have been kept.
    session.look.notify_one();
    let why = run(connection, &mut session, bounds).await;
    drop(session);

    tracing::info!(device = %login.identity, %why, "a device is disconnected");
    shared.journal.note(told(EventKind::Disconnected, login).message(why.to_string()));
    let (hub, client_id) = (login.hub.clone(), login.identity.client_id());
    let origin = Arc::clone(&login.origin);
    drop(presence);
    if let Some((message, qos)) = will.filter(|_| !matches!(why, Closed::Disconnected))
        && let Some(log) = shared.logs.get(&hub)
    {
        let telemetry = Telemetry { qos, ..Telemetry::new(&origin, timestamp(shared.clock.now()), message) };
        // Under the lock, so that a device which is just being forgotten leaves nothing behind.
        shared.store.read(|state| {
            if state.device(&hub, &client_id).is_some_and(|it| it.generation_id == origin.generation_id) {
                log.append(telemetry);
            }
        });
    }
    end_of(&why)
}

/// A device that the store knows to be connected, until this is dropped: whatever ends it.
struct Presence<'a> {
    shared: &'a Shared,
    login: Login,
    key: Key,
    number: u64,
    activity: Arc<Activity>,
}

/// What else a connection has from its begin on.
struct Arrived {
    /// The session that was kept.
    kept: Option<store::Session>,
    ended: oneshot::Receiver<Why>,
    pushes: mpsc::Receiver<Push>,
    look: Arc<Notify>,
}

/// Checks a CONNECT and notes the connection in one step, so that a device cannot be deleted in between.
fn arrive<'a>(shared: &'a Shared, connect: &Connect) -> Result<(Presence<'a>, Arrived), &'static str> {
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
        Ok((Presence { shared, login, key, number, activity }, Arrived { kept, ended, pushes, look }))
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

/// Refuses a CONNECT; the client hears nothing of the reason.
fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    connection: &mut Connection<S>,
    connect: &Connect,
    why: &str,
) -> End {
    tracing::info!(client_id = connect.client_id, why, "a hub refuses a device (CONNACK 5)");
    shared.journal.note(refused(connect, why));
    refuse(connection, NOT_AUTHORIZED)
}

/// What the journal says of a device that may connect.
fn told(kind: EventKind, login: &Login) -> Note {
    Note::new(kind, EventSource::Hub).hub(login.identity.host.as_str()).id(&login.identity.client_id())
}

/// What it says of one that may not, as far as that one said who it is.
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
    /// Of this connection.
    pub(super) number: u64,
    /// CleanSession 0: filters are kept beyond the connection.
    persistent: bool,
    pub(super) filters: store::Session,
    pushes: mpsc::Receiver<Push>,
    pub(super) look: Arc<Notify>,
    pub(super) activity: Arc<Activity>,
    /// When the next lock of a message ends, which is then published again.
    pub(super) release: Option<SystemTime>,
    pub(super) outbox: Outbox,
    pub(super) later: Later,
    pub(super) calls: Calls,
}

/// Whether a filter is for what needs an api-version in the user name: calls of methods and notices.
///
/// Source: `[seen]` MicrosoftDocs/azure-docs, issue 16306; andriyadi/AzureIoTHubMQTTClient, pull request 5;
/// wolfSSL/wolfMQTT, issue 38. For notices it is a `[guess]`.
fn is_for_versions(filter: &str) -> bool {
    filter.starts_with(CALLS) || filter.starts_with(NOTICES)
}

/// When the clock shows a moment; never, if there is none.
async fn at(clock: &Clock, moment: Option<SystemTime>) {
    match moment {
        Some(moment) => clock.at(moment).await,
        None => std::future::pending().await,
    }
}

/// At a moment; never, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What happens to a hub's connection without its client.
pub(super) enum Event {
    /// Somebody wants something published.
    Push(Push),
    /// It is time for something.
    Due,
    /// A queue of the store may hold something.
    Look,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> for HubSession<'_> {
    type Event = Event;

    async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            // The other end goes when the connection has to end, which another wire tells.
            Some(push) = self.pushes.recv() => Event::Push(push),
            () = self.look.notified() => Event::Look,
            () = until(self.later.due()) => Event::Due,
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
                    return Err(Closed::Violation("a filter that no hub takes, or a sixth one"));
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
            // Nothing of ours is sent again within a connection.
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
    /// What is to go wrong with the event that happens now. What happens to the device itself ends the
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

    /// The granted QoS, or a refusal.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: only the documented filters, at most five,
    /// QoS 2 granted as 1. That a refusal is 0x80 rather than the end is a `[guess]`; see
    /// [`Builder::close_on_refused_filter`](crate::Builder::close_on_refused_filter).
    fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        if TopicFilter::parse(&self.login.identity, filter).is_err() {
            tracing::info!(device = %self.login.identity, filter, "a filter is refused: no hub documents it");
            return FILTER_REFUSED;
        }
        if self.filters.granted(filter).is_none() && self.filters.filters.len() >= SUBSCRIPTIONS_MAX {
            tracing::info!(device = %self.login.identity, filter, "a filter is refused: more than five");
            return FILTER_REFUSED;
        }
        let granted = qos.min(1);
        if self.login.has_version || !is_for_versions(filter) {
            self.filters.set(filter, granted);
        }
        granted
    }

    /// Notes the filters where others see them, unless the connection has to end: then they are nobody's,
    /// and the client must not believe in them.
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
