//! What a device publishes: telemetry, and what is not emulated.

use hubward_proto::hub::{Message, TelemetryTopic};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::connect::HubSession;
use super::login::RETAIN;
use super::telemetry::Telemetry;
use crate::clock::timestamp;
use crate::fault::{Fault, Point};
use crate::mqtt::codec::{Outgoing, Publish};
use crate::mqtt::{Closed, Connection, REQUEST_ID_MAX};
use crate::wire_id;

impl HubSession<'_> {
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: where AMQP would answer with an error, MQTT
    /// ends the connection.
    pub(super) async fn publish<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: Publish,
    ) -> Result<(), Closed> {
        if publish.qos > 1 {
            return Err(Closed::Violation("a publish with quality of service 2"));
        }
        if publish.topic.starts_with("$iothub/") {
            return self.not_emulated(connection, &publish);
        }
        let topic = TelemetryTopic::parse(&self.login.identity, &publish.topic)
            .map_err(|_| Closed::Violation("a publish to a topic that is not this device's telemetry"))?;
        let mut message = Message::from_wire(publish.body, &topic.bag);
        message.check().map_err(|_| Closed::Violation("a message that breaks a limit"))?;
        if publish.retain {
            message = message.property(RETAIN, "true");
        }
        let mut acknowledgements = 1;
        match self.shared.take_fault(Point::HubPublish) {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::HoldPuback) => acknowledgements = 0,
            Some(Fault::Duplicate) => acknowledgements = 2,
            Some(Fault::Delay(time)) => sleep(time).await,
            _ => {}
        }
        if let Some(log) = self.shared.logs.get(&self.login.hub) {
            let enqueued_time = timestamp(self.shared.clock.now());
            let telemetry = Telemetry::new(&self.login.origin, enqueued_time, message);
            log.append(Telemetry { duplicate: publish.duplicate, qos: publish.qos, ..telemetry });
        }
        for _ in 0..acknowledgements {
            acknowledge(connection, publish.qos, publish.packet_id);
        }
        Ok(())
    }

    /// Twins are answered with 501, which no hub sends: better than silence. Answers to methods that
    /// nobody called are dropped, as a hub drops late ones. All else ends the connection.
    fn not_emulated<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S>,
        publish: &Publish,
    ) -> Result<(), Closed> {
        let twin = ["$iothub/twin/GET/?", "$iothub/twin/PATCH/properties/reported/?"]
            .iter()
            .find_map(|prefix| publish.topic.strip_prefix(prefix));
        let Some(parameters) = twin else {
            if publish.topic.starts_with("$iothub/methods/res/") {
                acknowledge(connection, publish.qos, publish.packet_id);
                return Ok(());
            }
            return Err(Closed::Violation("a publish to a topic that a hub does not document"));
        };
        let request_id = parameters.split('&').find_map(|it| it.strip_prefix("$rid="));
        let request_id = request_id
            .filter(|it| (1..=REQUEST_ID_MAX).contains(&it.len()))
            .ok_or(Closed::Violation("a request about the twin without a request id"))?;
        acknowledge(connection, publish.qos, publish.packet_id);
        if self.filters.granted("$iothub/twin/res/#").is_some() {
            let body = json!({
                "errorCode": 501_000,
                "trackingId": wire_id::guid(),
                "message": "Twins are not emulated.",
                "timestampUtc": timestamp(self.shared.clock.now()),
            });
            connection.queue(&Outgoing::Publish(Publish {
                topic: format!("$iothub/twin/res/501/?$rid={request_id}"),
                body: body.to_string().into(),
                qos: 0,
                packet_id: 0,
                retain: false,
                duplicate: false,
            }));
        }
        Ok(())
    }
}

fn acknowledge<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, qos: u8, packet_id: u16) {
    if qos > 0 {
        connection.queue(&Outgoing::Puback(packet_id));
    }
}
