//! Delivery of messages to a device or module over its connection.

use hubward_proto::hub::TopicFilter;
use tokio::io::{AsyncRead, AsyncWrite};

use super::session::HubSession;
use crate::doors::mqtt::codec::{Outgoing, Publish};
use crate::doors::mqtt::{Closed, Connection};
use crate::state::model::{Acknowledged, Delivery, PACKET_ID_MAX};

impl HubSession<'_> {
    /// Publishes queued messages until the maximum number of unacknowledged messages is reached. Publishes nothing if
    /// the client has not subscribed.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Receiving cloud-to-device messages". That the hub also
    /// delivers messages from before the first SUBSCRIBE is a `[guess]`.
    pub(super) async fn deliver<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<(), Closed> {
        // Clear `release`, the time when the next message lock ends. This time may be in the past now, and the main
        // loop would then call this function again and again.
        self.release = None;
        let Some(qos) = self.messages_qos() else { return Ok(()) };
        loop {
            let Some(Delivery { post, packet_id, duplicate }) = self.device.next_message(qos) else { break };
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
        self.release = self.device.next_release();
        Ok(())
    }

    /// Handles a PUBACK. Returns whether the packet id belongs to the range for cloud-to-device messages.
    ///
    /// If the PUBACK completes a message, wakes the main loop to deliver the next message.
    ///
    /// Ignores the PUBACK if no message in flight has its packet id, or if an earlier message is not acknowledged yet.
    ///
    /// Source: MQTT 3.1.1, section 4.6 (4.6.0-2); `[sdk]` Azure/azure-iot-protocol-gateway,
    /// RequestAckPairProcessor.cs.
    pub(super) fn message_acknowledged(&self, packet_id: u16) -> bool {
        if packet_id > PACKET_ID_MAX {
            return false;
        }
        let device = &self.device.login().identity;
        match self.device.complete_message(packet_id) {
            Some(Acknowledged::Completed) => self.queue_changed.notify_one(),
            Some(Acknowledged::OutOfOrder) => {
                tracing::warn!(%device, packet_id, "a PUBACK is ignored: an earlier message needs one first");
            }
            Some(Acknowledged::Unknown) | None => {
                tracing::debug!(%device, packet_id, "a PUBACK is ignored: no message in flight has its packet id");
            }
        }
        true
    }

    /// The highest QoS of the client's subscriptions to messages; `None` if the client has not subscribed.
    fn messages_qos(&self) -> Option<u8> {
        let identity = &self.device.login().identity;
        // The id of a device may contain `#` and `+`, but a topic name may not. The hub therefore sends no messages to
        // a device with one of these characters in its id.
        if identity.client_id().contains(['#', '+']) {
            return None;
        }
        let wanted = if identity.module.is_some() { TopicFilter::ModuleInputs } else { TopicFilter::CloudToDevice };
        let filters = self.filters.filters.iter();
        filters.filter(|(it, _)| TopicFilter::parse(identity, it) == Ok(wanted)).map(|(_, qos)| *qos).max()
    }
}
