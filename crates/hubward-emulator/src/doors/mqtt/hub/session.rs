//! One MQTT connection to a hub, from CONNECT to its end.

use std::sync::Arc;
use std::time::SystemTime;

use hubward_proto::hub::{HubUsername, TopicFilter};
use hubward_proto::limits::SUBSCRIPTIONS_MAX;
use hubward_sas::EXPIRY_GRACE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::calls::Calls;
use super::delayed::Delayed;
use super::filters::{CALLS, CREDENTIALS, NOTICES};
use super::login::{self, Checked};
use super::outbox::Outbox;
use crate::doors::admission::ConnectionEntry;
use crate::doors::mqtt::codec::{Connect, Incoming, Outgoing};
use crate::doors::mqtt::{
    Bounds, Closed, Connection, End, FILTER_REFUSED, NOT_AUTHORIZED, PACKET_MAX, apply_connect_fault, end_of, refuse,
    run, session,
};
use crate::services::cloud::Cloud;
use crate::services::faults;
use crate::services::hub::{DeviceConnection, Login};
use crate::services::presented::PresentedChain;
use crate::state::clock::Clock;
use crate::state::fault::{Fault, Point};
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Key, Push, Session, Subscriptions};

/// Serves a connection to a hub. Every user name that does not select DPS selects a hub.
pub(in crate::doors::mqtt) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    cloud: &Arc<Cloud>,
    connection: &mut Connection<S>,
    connect: Connect,
    certificates: Option<PresentedChain>,
    entry: &Arc<ConnectionEntry>,
) -> End {
    let now = cloud.clock.unix();
    let check = |state: &_| login::check(state, &cloud.authority, &connect, certificates.as_ref(), now);
    let checked = cloud.store.read(check);
    if let Some(end) = apply_connect_fault(cloud, connection, Point::HubConnect, &connect, checked.is_ok()).await {
        return end;
    }
    let Checked { request, login, will } = match checked {
        Ok(checked) => checked,
        Err(why) => return reject_connect(cloud, connection, &connect, why),
    };
    // A device acquires a slot only after the hub has checked that the device may connect. Before that, end an older
    // connection of the same device: the older connection may hold the last slot.
    cloud.store.take_over(&Key::Hub(login.hub, login.identity.client_id()));
    let Some(_slot) = entry.acquire_slot().await else { return End::Abruptly };
    let (device, started) = match DeviceConnection::begin(cloud, &request, !connect.clean_session, resume) {
        Ok(started) => started,
        Err(why) => return reject_connect(cloud, connection, &connect, why),
    };
    drop(request);
    // An open connection does not need the certificates and the CONNECT any more. The password of the CONNECT keeps the
    // whole buffer into which it was read, so dropping the CONNECT saves several KiB.
    let keep_alive = connect.keep_alive;
    drop((certificates, connect));
    let identity = &device.login().identity;
    let session_present = started.kept.is_some();
    tracing::info!(device = %identity, session_present, "a device is connected");
    if !device.login().has_version {
        tracing::warn!(
            device = %identity,
            "the user name has no api-version: the hub refuses reported properties and sends no method calls"
        );
    }
    device.note(EventKind::Connected, None);
    connection.allow(PACKET_MAX);
    connection.queue(&Outgoing::Connack { session_present, code: 0 });
    let expiry = device.login().expiry;
    let expired = async {
        match expiry {
            Some(expiry) => cloud.clock.after(expiry.saturating_add(EXPIRY_GRACE)).await,
            None => std::future::pending().await,
        }
    };
    let bounds = Bounds { keep_alive, ended: started.ended, expired };
    let mut session = HubSession {
        cloud,
        device: &device,
        filters: started.kept.unwrap_or_default(),
        pushes: started.pushes,
        queue_changed: started.queue_changed,
        release: None,
        certificate_ready: None,
        certificate_sent: None,
        outbox: Outbox::default(),
        delayed: Delayed::default(),
        calls: Calls::default(),
    };
    // Wake the main loop once. The device's queue may already contain messages, and the session that an earlier
    // connection kept may already be subscribed to them.
    session.queue_changed.notify_one();
    let why = run(connection, &mut session, bounds).await;
    drop(session);

    tracing::info!(device = %identity, %why, "a device is disconnected");
    device.note(EventKind::Disconnected, Some(why.to_string()));
    match will.filter(|_| !matches!(why, Closed::Disconnected)) {
        Some((message, qos)) => device.end_with_will(message, qos),
        None => drop(device),
    }
    end_of(&why)
}

/// Returns the session that an earlier connection kept, and its subscriptions. First removes the filters that require
/// another api-version than that of the user name.
fn resume(kept: Option<Session>, login: &Login) -> (Option<Session>, Subscriptions) {
    let mut kept = kept;
    if let Some(session) = &mut kept {
        session.filters.retain(|(filter, _)| is_available(filter, login));
    }
    let subscriptions = kept.as_ref().map(subscriptions).unwrap_or_default();
    (kept, subscriptions)
}

/// Returns whether the filters of a session subscribe to changes of desired properties, and whether they subscribe to
/// method calls.
fn subscriptions(session: &Session) -> Subscriptions {
    Subscriptions { desired: session.highest_qos(NOTICES).is_some(), methods: session.highest_qos(CALLS).is_some() }
}

/// Refuses a CONNECT with CONNACK 5 and records the reason. The client does not get the reason.
fn reject_connect<S: AsyncRead + AsyncWrite + Unpin>(
    cloud: &Cloud,
    connection: &mut Connection<S>,
    connect: &Connect,
    why: &str,
) -> End {
    tracing::info!(client_id = connect.client_id, why, "a hub refuses a device (CONNACK 5)");
    cloud.journal.note(refused(connect, why));
    refuse(connection, NOT_AUTHORIZED)
}

/// Creates the event of a refused CONNECT. The event contains the identity that the CONNECT claims.
fn refused(connect: &Connect, why: &str) -> Note {
    let note = Note::new(EventKind::Refused, EventSource::Hub).code(NOT_AUTHORIZED.into()).message(why);
    match connect.username.as_deref().and_then(|it| HubUsername::parse(it).ok()) {
        Some(HubUsername { identity, .. }) => note.hub(identity.host.as_str()).id(&identity.client_id()),
        None => note.id(&connect.client_id),
    }
}

pub(super) struct HubSession<'a> {
    pub(super) cloud: &'a Cloud,
    pub(super) device: &'a DeviceConnection<'a>,
    pub(super) filters: Session,
    pushes: mpsc::Receiver<Push>,
    pub(super) queue_changed: Arc<Notify>,
    /// The earliest time at which the lock of a message ends. The hub then publishes this message again.
    pub(super) release: Option<SystemTime>,
    /// When the result of the pending certificate request is ready.
    pub(super) certificate_ready: Option<SystemTime>,
    /// The certificate request whose result was last published in this connection: the hub's id.
    pub(super) certificate_sent: Option<String>,
    pub(super) outbox: Outbox,
    pub(super) delayed: Delayed,
    pub(super) calls: Calls,
}

/// Returns whether the api-version of the user name includes a filter. The filters of direct methods and of desired
/// properties require an api-version. The filter of certificate requests requires a version that has them.
///
/// Source: `[seen]` MicrosoftDocs/azure-docs, issue 16306; andriyadi/AzureIoTHubMQTTClient, pull request 5;
/// wolfSSL/wolfMQTT, issue 38. For changes of desired properties this is a `[guess]`.
fn is_available(filter: &str, login: &Login) -> bool {
    if filter.starts_with(CREDENTIALS) {
        return login.has_certificate_requests;
    }
    login.has_version || !(filter.starts_with(CALLS) || filter.starts_with(NOTICES))
}

/// Waits until the emulator's clock shows `moment`. If `moment` is `None`, never returns.
async fn at(clock: &Clock, moment: Option<SystemTime>) {
    match moment {
        Some(moment) => clock.at(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until `moment`. If `moment` is `None`, never returns.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// An event on a connection to a hub that does not come from the client.
pub(super) enum Event {
    /// A publish for the client.
    Push(Push),
    /// A delayed packet is due.
    Due,
    /// The device's message queue in the store may have changed, or the result of a certificate request may be ready.
    QueueChanged,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> session::Session<S> for HubSession<'_> {
    type Event = Event;

    async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            // When the store ends the connection, it drops the sender of `pushes`, which disables this branch. The main
            // loop gets the reason from `Bounds::ended`.
            Some(push) = self.pushes.recv() => Event::Push(push),
            () = self.queue_changed.notified() => Event::QueueChanged,
            () = until(self.delayed.due()) => Event::Due,
            () = at(&self.cloud.clock, self.release.into_iter().chain(self.certificate_ready).min()) => {
                Event::QueueChanged
            }
        }
    }

    async fn event(&mut self, connection: &mut Connection<S>, event: Event) -> Result<(), Closed> {
        match event {
            Event::Push(Push::Desired { version, body }) => self.desired(connection, version, body),
            Event::Push(Push::Method(call)) => self.call(connection, call),
            Event::Due => self.send_due(connection).await,
            Event::QueueChanged => {
                self.deliver(connection).await?;
                self.deliver_certificate(connection)
            }
        }
    }

    async fn handle(&mut self, connection: &mut Connection<S>, packet: Incoming) -> Result<(), Closed> {
        match packet {
            Incoming::Publish(publish) => {
                self.device.note_activity();
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
                if self.cloud.choices.close_on_refused_filter && !refused && codes.contains(&FILTER_REFUSED) {
                    return Err(Closed::Violation("an unsupported filter, or more than five filters"));
                }
                if self.keep() {
                    connection.queue(&Outgoing::Suback(id, codes));
                    self.queue_changed.notify_one();
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
                if !self.message_acknowledged(id)
                    && let Some(Some(correlation_id)) = self.outbox.acknowledged(connection, id)
                {
                    self.device.end_certificate_request(&correlation_id);
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
    /// Returns the fault that is scripted for the current event, and counts the fault as used.
    ///
    /// Returns an error, which ends the connection, if the fault changes the device or lets its token expire.
    pub(super) fn take_fault(&self, point: Point) -> Result<Option<Fault>, Closed> {
        let Login { hub, identity, .. } = self.device.login();
        let client_id = identity.client_id();
        match faults::take_of(self.cloud, point, &client_id, true) {
            Some(Fault::TokenExpired) => Err(Closed::Expired),
            Some(fault @ (Fault::DeviceDisabled | Fault::DeviceDeleted | Fault::HubMoved)) => {
                faults::apply_to_device(self.cloud, &fault, hub, &client_id);
                Err(Closed::NotAllowed)
            }
            fault => Ok(fault),
        }
    }

    /// Subscribes to a filter. Returns the granted QoS or a refusal.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: only the documented filters, at most five; QoS 1 if the
    /// client requests QoS 2.
    ///
    /// `[guess]`: a version without certificate requests does not have their filter.
    ///
    /// `[guess]`: the hub refuses a filter with 0x80 and keeps the connection; see
    /// [`Builder::close_on_refused_filter`](crate::Builder::close_on_refused_filter).
    fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let identity = &self.device.login().identity;
        if TopicFilter::parse(identity, filter).is_err() {
            tracing::info!(device = %identity, filter, "a filter is refused: hubs do not support it");
            return FILTER_REFUSED;
        }
        if self.filters.granted(filter).is_none() && self.filters.filters.len() >= SUBSCRIPTIONS_MAX {
            tracing::info!(device = %identity, filter, "a filter is refused: at most five are allowed");
            return FILTER_REFUSED;
        }
        let is_available = is_available(filter, self.device.login());
        if filter.starts_with(CREDENTIALS) && !is_available {
            let why = "its api-version has no certificate requests";
            tracing::info!(device = %identity, filter, why, "a filter is refused");
            return FILTER_REFUSED;
        }
        let granted = qos.min(1);
        if is_available {
            self.filters.set(filter, granted);
        }
        granted
    }

    /// Stores the filters of the session. Returns false if the connection must end. In this case, the caller must not
    /// acknowledge the client's SUBSCRIBE or UNSUBSCRIBE.
    fn keep(&self) -> bool {
        self.device.subscribed(subscriptions(&self.filters), &self.filters)
    }
}
