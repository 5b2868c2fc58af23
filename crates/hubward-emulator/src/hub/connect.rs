//! One MQTT connection to a hub, from its CONNECT to its end.

use std::sync::Arc;

use hubward_proto::hub::TopicFilter;
use hubward_proto::limits::SUBSCRIPTIONS_MAX;
use hubward_sas::EXPIRY_GRACE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::login::{Login, check};
use super::telemetry::Telemetry;
use crate::clock::timestamp;
use crate::fault::{Fault, Point};
use crate::mqtt::codec::{Connect, Incoming, Outgoing};
use crate::mqtt::{
    Bounds, Closed, Connection, End, FILTER_REFUSED, NOT_AUTHORIZED, PACKET_MOST, Session, end_of, refuse, run,
};
use crate::shared::Shared;
use crate::store::{self, Key};

/// Serves a connection whose user name is not one for DPS.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: &Arc<Shared>,
    connection: &mut Connection<S>,
    connect: Connect,
) -> End {
    let now = shared.clock.unix();
    // One step, so that a device cannot be deleted between check and connection.
    let accepted = shared.store.change(|state| {
        let login = check(state, &connect, now)?;
        let key = Key::Hub(login.hub.clone(), login.identity.device.to_string());
        let (number, ended) = state.live.begin(key.clone());
        let device = state.device_mut(&login.hub, login.identity.device.as_str());
        let kept = device.and_then(|device| {
            let kept = if connect.clean_session { None } else { device.session.take() };
            device.session = (!connect.clean_session).then(|| kept.clone().unwrap_or_default());
            kept
        });
        Ok((login, key, number, ended, kept))
    });
    let (login, key, number, ended, kept) = match accepted {
        Ok(accepted) => accepted,
        Err(why) => {
            let why: &str = why;
            tracing::info!(client_id = connect.client_id, why, "a hub refuses a device (CONNACK 5)");
            return refuse(connection, NOT_AUTHORIZED);
        }
    };
    let session_present = kept.is_some();
    tracing::info!(device = %login.identity, session_present, "a device is connected");
    connection.allow(PACKET_MOST);
    connection.queue(&Outgoing::Connack { session_present, code: 0 });
    let expired = shared.clock.after(login.expiry.saturating_add(EXPIRY_GRACE));
    let bounds = Bounds { keep_alive: connect.keep_alive, ended, expired };
    let mut session =
        HubSession { shared, login: &login, persistent: !connect.clean_session, filters: kept.unwrap_or_default() };
    let why = run(connection, &mut session, bounds).await;

    tracing::info!(device = %login.identity, %why, "a device is disconnected");
    shared.store.change(|state| state.live.end(&key, number));
    if let Some((message, qos)) = login.will.filter(|_| !matches!(why, Closed::Disconnected))
        && let Some(log) = shared.logs.get(&login.hub)
    {
        let device_id = login.identity.device.to_string();
        let enqueued_time = timestamp(shared.clock.now());
        log.append(Telemetry { offset: 0, device_id, enqueued_time, message, duplicate: false, qos });
    }
    end_of(&why)
}

pub(super) struct HubSession<'a> {
    pub(super) shared: &'a Shared,
    pub(super) login: &'a Login,
    /// CleanSession 0: filters are kept beyond the connection.
    persistent: bool,
    pub(super) filters: store::Session,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> for HubSession<'_> {
    async fn handle(&mut self, connection: &mut Connection<S>, packet: Incoming) -> Result<(), Closed> {
        match packet {
            Incoming::Publish(publish) => return self.publish(connection, publish).await,
            Incoming::Subscribe(id, filters) => {
                let refused = match self.shared.take_fault(Point::HubSubscribe) {
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
                let codes = filters.iter().map(grant).collect();
                self.keep();
                connection.queue(&Outgoing::Suback(id, codes));
            }
            Incoming::Unsubscribe(id, filters) => {
                for filter in filters {
                    self.filters.remove(&filter);
                }
                self.keep();
                connection.queue(&Outgoing::Unsuback(id));
            }
            Incoming::Pingreq => connection.queue(&Outgoing::Pingresp),
            // Of an answer of ours; nothing is sent again within a connection.
            Incoming::Puback(_) => {}
            Incoming::QoS2 => return Err(Closed::Violation("quality of service 2")),
            Incoming::Connect(_) => return Err(Closed::Violation("a second CONNECT")),
            Incoming::Disconnect => return Err(Closed::Disconnected),
        }
        Ok(())
    }
}

impl HubSession<'_> {
    /// The granted QoS, or a refusal.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: only the documented filters, at most five,
    /// QoS 2 granted as 1. That a refusal is 0x80 rather than the end is a `[guess]`.
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
        self.filters.set(filter, granted);
        granted
    }

    fn keep(&self) {
        if self.persistent {
            let Login { hub, identity, .. } = self.login;
            self.shared.store.change(|state| {
                if let Some(device) = state.device_mut(hub, identity.device.as_str()) {
                    device.session = Some(self.filters.clone());
                }
            });
        }
    }
}
