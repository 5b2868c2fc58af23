//! Calls of direct methods to a device, and its responses.

use std::collections::HashMap;

use hubward_proto::hub::{MethodRequestTopic, MethodResponseTopic};
use hubward_proto::limits::METHOD_PAYLOAD_MAX;
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, AsyncWrite};

use super::delayed::{Draft, PublishKind};
use super::session::HubSession;
use crate::doors::mqtt::codec::Publish;
use crate::doors::mqtt::{Closed, Connection};
use crate::state::fault::{Fault, Point};
use crate::state::model::{MethodCall, MethodOutcome, MethodOutcomeSender};

/// Maximum number of calls that wait for responses of one device.
///
/// Source: `[guess]`; the service has such a limit (403800) and does not document it.
const CALLS_MAX: usize = 256;

/// The published calls of a connection that wait for a response.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_id: HashMap<String, MethodOutcomeSender>,
    /// The number of the newest request id.
    number: u64,
}

impl Calls {
    /// Adds a call and returns its request id. Returns the sender if there are too many calls.
    fn begin(&mut self, outcome: MethodOutcomeSender) -> Result<String, MethodOutcomeSender> {
        // Removes calls whose callers no longer wait.
        self.by_id.retain(|_, it| !it.is_closed());
        if self.by_id.len() >= CALLS_MAX {
            return Err(outcome);
        }
        let id = self.next_id();
        self.by_id.insert(id.clone(), outcome);
        Ok(id)
    }

    /// The next request id: each connection counts from 1, in hexadecimal.
    ///
    /// Source: `[seen]` Azure/azure-iot-sdks, issue 999; Azure/azure-iot-sdk-c, issue 616;
    /// MicrosoftDocs/azure-docs, issue 102263, and traces of four other projects, from 2016 to 2024.
    fn next_id(&mut self) -> String {
        self.number += 1;
        format!("{:x}", self.number)
    }
}

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

    /// Passes a device's response to the caller. A late or duplicate response is dropped. A response that is not JSON
    /// is passed on unchanged.
    ///
    /// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Responding to a direct method". That a response
    /// larger than 128 KB ends the connection is a `[guess]`.
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
        if !publish.body.is_empty() && serde_json::from_slice::<IgnoredAny>(&publish.body).is_err() {
            tracing::warn!(device = %self.device.login().identity, request_id, "a method response is not JSON");
        }
        self.acknowledge(connection, publish, None);
        let outcome = MethodOutcome::Response { status, body: publish.body.clone() };
        let delivered = self.calls.by_id.remove(&request_id).is_some_and(|it| it.send(outcome).is_ok());
        if !delivered {
            tracing::info!(device = %self.device.login().identity, request_id, "a method response is dropped: no call waits");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn calls_are_bounded_and_removed_when_their_callers_stop_waiting() {
        let mut calls = Calls::default();
        let mut waiting = Vec::new();
        for _ in 0..CALLS_MAX {
            let (answer, answered) = oneshot::channel();
            calls.begin(answer).expect("room");
            waiting.push(answered);
        }
        assert!(calls.begin(oneshot::channel().0).is_err());
        waiting.pop();
        let first = calls.begin(oneshot::channel().0).expect("room again");
        let second = calls.begin(oneshot::channel().0).expect("the caller of the first has stopped waiting");
        assert_ne!(first, second);
    }
}
