//! Handles publishes from a device. Passes telemetry to the hub, and dispatches twin requests and method responses.

use hubward_proto::hub::{Message, TelemetryTopic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::login::RETAIN;
use super::session::HubSession;
use super::twin;
use crate::doors::mqtt::codec::Publish;
use crate::doors::mqtt::{Closed, Connection};
use crate::services::hub::Published;
use crate::state::fault::{Fault, Point};

impl HubSession<'_> {
    /// Handles a publish from the client.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md: in the cases in which AMQP returns an error, MQTT ends the
    /// connection.
    pub(super) async fn publish<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: Publish,
    ) -> Result<(), Closed> {
        if publish.qos > 1 {
            return Err(Closed::Violation("a publish with quality of service 2"));
        }
        if let Some(request) = twin::Request::parse(&publish.topic) {
            return self.twin(connection, &publish, request?);
        }
        if self.is_certificate_request(&publish.topic) {
            return self.certificate_request(connection, &publish).await;
        }
        if publish.topic.starts_with("$iothub/methods/res/") {
            return self.method_answered(connection, &publish);
        }
        let topic = TelemetryTopic::parse(&self.device.login().identity, &publish.topic)
            .map_err(|_| Closed::Violation("a publish to a topic that a hub does not have for this device"))?;
        let mut message = Message::from_wire(publish.body.clone(), &topic.bag);
        message.check().map_err(|_| Closed::Violation("a message that breaks a limit"))?;
        if publish.retain {
            message = message.property(RETAIN, "true");
        }
        let (mut acknowledgements, mut hold) = (1, None);
        match self.take_fault(Point::HubPublish)? {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::HoldPuback) => acknowledgements = 0,
            Some(Fault::HoldPubackFor(time)) => hold = Some(time),
            Some(Fault::Duplicate) => acknowledgements = 2,
            Some(Fault::Delay(time)) => sleep(time).await,
            Some(Fault::CutAfter(bytes)) => connection.cut_after(bytes),
            _ => {}
        }
        let published = Published { qos: publish.qos, is_duplicate: publish.duplicate };
        if !self.device.telemetry(message, published) {
            // The connection must end. The main loop receives the reason as its next event.
            return Ok(());
        }
        for _ in 0..acknowledgements {
            self.acknowledge(connection, &publish, hold);
        }
        Ok(())
    }
}
