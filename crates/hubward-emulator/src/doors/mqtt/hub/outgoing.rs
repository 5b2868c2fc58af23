//! Sends packets to a device. Acknowledgements keep their order. Publishes have the granted QoS.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::delayed::{Draft, PublishKind};
use super::filters::{CALLS, CREDENTIALS, NOTICES};
use super::session::HubSession;
use crate::doors::mqtt::codec::{Outgoing, Publish};
use crate::doors::mqtt::{Closed, Connection};

impl HubSession<'_> {
    /// Acknowledges a publish of the client if its QoS is 1. `hold` is the delay that a scripted fault adds.
    pub(super) fn acknowledge<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
        hold: Option<Duration>,
    ) {
        if publish.qos > 0
            && let Err(packet_id) = self.delayed.hold(publish.packet_id, hold)
        {
            connection.queue(&Outgoing::Puback(packet_id));
        }
    }

    /// Sends a publish if the client has subscribed to its kind.
    pub(super) fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        draft: Draft,
    ) -> Result<(), Closed> {
        let device = &self.device.login().identity;
        let Some(qos) = self.qos(draft.kind) else {
            tracing::info!(%device, topic = draft.topic, "a publish is not sent: the client has not subscribed");
            return Ok(());
        };
        let Draft { kind, topic, body } = draft;
        match kind {
            PublishKind::Answer | PublishKind::Credential => self.outbox.answer(connection, topic, body, qos)?,
            PublishKind::Notice | PublishKind::Call => {
                if !self.outbox.notify(connection, topic, body, qos) {
                    tracing::info!(%device, "a message is not sent: the device acknowledges too slowly");
                }
            }
        }
        Ok(())
    }

    /// The granted QoS for a kind of publish; `None` if the client has not subscribed to this kind.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "MQTT": calls have QoS 0. That other publishes have
    /// the granted QoS is a `[guess]`.
    pub(super) fn qos(&self, kind: PublishKind) -> Option<u8> {
        match kind {
            PublishKind::Answer => self.filters.granted("$iothub/twin/res/#"),
            PublishKind::Notice => self.filters.highest_qos(NOTICES),
            PublishKind::Call => self.filters.highest_qos(CALLS).map(|_| 0),
            PublishKind::Credential => self.filters.highest_qos(CREDENTIALS),
        }
    }

    /// Sends the delayed packets that are due.
    pub(super) async fn send_due<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<(), Closed> {
        while let Some(packet_id) = self.delayed.puback() {
            connection.queue(&Outgoing::Puback(packet_id));
        }
        while let Some(draft) = self.delayed.draft() {
            self.send(connection, draft)?;
            if connection.is_full() {
                connection.flush().await?;
            }
        }
        Ok(())
    }
}
