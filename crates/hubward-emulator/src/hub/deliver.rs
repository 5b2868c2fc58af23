//! Delivery of messages to a device or module over its connection.

use std::time::SystemTime;

use hubward_proto::hub::TopicFilter;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::HubSession;
use super::login::Login;
use crate::mqtt::codec::{Outgoing, Publish};
use crate::mqtt::{Closed, Connection};
use crate::store::{Acknowledged, Delivery, PACKET_ID_MAX, Queue, Rules};

impl HubSession<'_> {
    /// Publishes queued messages, up to the maximum number of unacknowledged ones. Does nothing until the client has
    /// subscribed.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Receiving cloud-to-device messages". That
    /// messages from before the first SUBSCRIBE are delivered too is a `[guess]`.
    pub(super) async fn deliver<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<(), Closed> {
        // Set again below. Otherwise a lock that has ended would trigger this function over and over.
        self.release = None;
        let Some(qos) = self.messages_qos() else { return Ok(()) };
        loop {
            let (number, now) = (self.number, self.shared.clock.now());
            let delivery = self.queue(now, |queue, rules| queue.take(number, qos, now, rules));
            let Some(Delivery { post, packet_id, duplicate }) = delivery else { break };
            connection.queue(&Outgoing::Publish(Publish {
                topic: post.topic.clone(),
                body: post.body.clone(),
                qos,
                packet_id: if qos == 0 { 0 } else { packet_id },
                retain: false,
                duplicate: qos > 0 && duplicate,
            }));
            if connection.is_full() {
                connection.flush().await?;
            }
        }
        self.release = self.shared.store.read(|state| {
            let Login { hub, identity, .. } = self.login;
            state.device(hub, &identity.client_id())?.queue.next_release()
        });
        Ok(())
    }

    /// Handles a PUBACK. Returns whether its packet id is one of cloud-to-device messages. More messages may be sent
    /// afterwards.
    ///
    /// A PUBACK that comes before that of an earlier message is ignored.
    ///
    /// Source: MQTT 3.1.1, section 4.6 (4.6.0-2); `[sdk]` Azure/azure-iot-protocol-gateway,
    /// RequestAckPairProcessor.cs.
    pub(super) fn message_acknowledged(&self, packet_id: u16) -> bool {
        if packet_id > PACKET_ID_MAX {
            return false;
        }
        let (number, now) = (self.number, self.shared.clock.now());
        let done = self.queue(now, |queue, _| Some(queue.acknowledge(number, packet_id, now)));
        let device = &self.login.identity;
        match done {
            Some(Acknowledged::Completed) => self.look.notify_one(),
            Some(Acknowledged::OutOfOrder) => {
                tracing::warn!(%device, packet_id, "a PUBACK is ignored: an earlier message needs one first");
            }
            Some(Acknowledged::Unknown) | None => {
                tracing::debug!(%device, packet_id, "a PUBACK is ignored: no message in flight has its packet id");
            }
        }
        true
    }

    /// Runs `act` on the client's message queue. If `act` returns something, the store counts it as a change.
    fn queue<R>(&self, now: SystemTime, act: impl FnOnce(&mut Queue, &Rules) -> Option<R>) -> Option<R> {
        let Login { hub, identity, .. } = self.login;
        self.shared.store.change_some(|state| state.hub_mut(hub)?.queue(&identity.client_id(), now, act)?)
    }

    /// The highest QoS of the client's subscriptions to messages; `None` if it has none.
    fn messages_qos(&self) -> Option<u8> {
        let identity = &self.login.identity;
        // These characters are allowed in an id but not in a topic.
        if identity.client_id().contains(['#', '+']) {
            return None;
        }
        let wanted = if identity.module.is_some() { TopicFilter::ModuleInputs } else { TopicFilter::CloudToDevice };
        let filters = self.filters.filters.iter();
        filters.filter(|(it, _)| TopicFilter::parse(identity, it) == Ok(wanted)).map(|(_, qos)| *qos).max()
    }
}
