//! Calls of direct methods to a device, and its responses.

use hubward_proto::hub::{MethodRequestTopic, MethodResponseTopic};
use hubward_proto::limits::METHOD_PAYLOAD_MAX;
use tokio::io::{AsyncRead, AsyncWrite};

use super::delayed::{Draft, PublishKind};
use super::session::HubSession;
use crate::doors::mqtt::codec::Publish;
use crate::doors::mqtt::{Closed, Connection};
use crate::state::fault::{Fault, Point};
use crate::state::model::{MethodCall, MethodOutcome};

impl HubSession<'_> {
    /// Publishes a call.
    pub(super) fn call<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        call: MethodCall,
    ) -> Result<(), Closed> {
        let MethodCall { name, payload, outcome } = call;
        if self.qos(PublishKind::Call).is_none() {
            // The device has unsubscribed since the call was queued.
            let _ = outcome.send(MethodOutcome::NotSubscribed);
            return Ok(());
        }
        let id = match self.calls.begin(outcome) {
            Ok(id) => id,
            Err(outcome) => {
                // The caller may no longer wait.
                let _ = outcome.send(MethodOutcome::TooMany);
                return Ok(());
            }
        };
        let draft = |request_id: String| {
            let topic = MethodRequestTopic { name: name.clone(), request_id };
            Draft { kind: PublishKind::Call, topic: topic.encode(), body: payload.clone() }
        };
        let own = draft(id);
        match self.take_fault(Point::HubMethod)? {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::Delay(time)) => {
                self.delayed.delay(own, time);
                return Ok(());
            }
            Some(Fault::Duplicate) => self.send(connection, own.clone())?,
            Some(Fault::Stray) => {
                let stray = draft(self.calls.next_id());
                self.send(connection, stray)?;
            }
            _ => {}
        }
        self.send(connection, own)
    }

    /// Passes a device's response to the caller of the method. Does not check that the response is JSON. Drops the
    /// response if no caller is waiting for it.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Responding to a direct method". `[guess]`: the hub ends the
    /// connection after a response larger than 128 KB.
    pub(super) fn method_answered<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
    ) -> Result<(), Closed> {
        let MethodResponseTopic { status, request_id } = MethodResponseTopic::parse(&publish.topic)
            .map_err(|_| Closed::Violation("a method response without a status or a request id"))?;
        if publish.body.len() > METHOD_PAYLOAD_MAX {
            return Err(Closed::Violation("a method response larger than 128 KB"));
        }
        self.acknowledge(connection, publish, None);
        let outcome = MethodOutcome::Response { status, body: publish.body.clone() };
        let delivered = self.calls.by_id.remove(&request_id).is_some_and(|it| it.send(outcome).is_ok());
        if !delivered {
            let device = &self.device.login().identity;
            tracing::info!(%device, request_id, "a method response is dropped: no call waits");
        }
        Ok(())
    }
}
