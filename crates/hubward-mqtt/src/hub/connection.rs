//! One connection to a hub: what goes out. What comes in is sorted in [`Inbox`].

use std::task::{Context, Poll};

use bytes::Bytes;
use hubward_proto::hub::{
    HubIdentity, Message, MethodResponseTopic, TelemetryTopic, TopicFilter, TwinGetTopic, TwinReportedTopic,
};
use hubward_proto::{ProtoError, limits};
use hubward_transport::{
    CallId, Downstream, Feature, HubConnection, Lock, Reply, SasToken, Tag, TransportError, Upstream, Verdict,
};

use super::incoming::Inbox;
use crate::packet::QoS;
use crate::questions::About;
use crate::session::{Event, Session};

#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    /// How every telemetry topic of this device begins.
    telemetry: String,
    inbox: Inbox,
}

impl Connection {
    pub(super) fn new(session: Session, endpoint: String, identity: HubIdentity) -> Self {
        Self { telemetry: TelemetryTopic::prefix(&identity), inbox: Inbox::new(identity, endpoint), session }
    }

    fn send_telemetry(&mut self, tag: Tag, message: &Message, again: bool) -> Result<(), ProtoError> {
        message.check()?;
        let topic = TelemetryTopic::encode(&self.telemetry, message)?;
        self.session.publish(tag, topic, message.body.clone(), again)
    }

    fn subscribe(&mut self, tag: Tag, feature: Feature) -> Result<(), TransportError> {
        let identity = self.inbox.identity();
        // QoS as azure-iot-sdk-node and azure-iot-sdk-c ask for it.
        let (filter, qos) = match (feature, identity.module.is_some()) {
            (Feature::TwinAnswers, _) => (TopicFilter::TwinResponses, QoS::AtMostOnce),
            (Feature::Desired, _) => (TopicFilter::DesiredProperties, QoS::AtMostOnce),
            (Feature::Methods, _) => (TopicFilter::Methods, QoS::AtMostOnce),
            (Feature::CloudToDevice, false) => (TopicFilter::CloudToDevice, QoS::AtLeastOnce),
            (Feature::Inputs, true) => (TopicFilter::ModuleInputs, QoS::AtLeastOnce),
            (Feature::CloudToDevice, true) => {
                return Err(TransportError::Unsupported("a module gets no cloud-to-device messages, only its inputs"));
            }
            (Feature::Inputs, false) => {
                return Err(TransportError::Unsupported("a device has no inputs: only its modules do"));
            }
            _ => return Err(TransportError::Unsupported("this version does not know how to watch that over MQTT")),
        };
        let filter = filter.encode(identity);
        // The one wildcard is the last character.
        legal(filter.strip_suffix('#').unwrap_or(&filter)).map_err(TransportError::Request)?;
        self.session.subscribe(tag, &filter, qos).map_err(TransportError::Request)
    }

    fn patch_reported(&mut self, tag: Tag, patch: &Bytes) -> Result<(), ProtoError> {
        fits("the patch of reported properties", patch, limits::TELEMETRY_MAX)?;
        let topic = |request_id| TwinReportedTopic { request_id }.encode();
        self.session.ask((tag, About::Reported), topic, patch.clone())
    }

    fn answer_method(&mut self, call: &CallId, status: i32, body: &Bytes) -> Result<(), ProtoError> {
        fits("the answer to a direct method", body, limits::METHOD_PAYLOAD_MAX)?;
        let topic = MethodResponseTopic { status, request_id: call.0.clone() }.encode();
        legal(&topic)?;
        self.session.publish_unanswered(topic, body.clone())
    }

    fn settle(&mut self, lock: Lock, verdict: Verdict) -> Result<(), TransportError> {
        match verdict {
            Verdict::Complete => self.session.settle(lock).map_err(TransportError::Request),
            Verdict::Abandon => Err(TransportError::Unsupported("MQTT cannot abandon a message, only complete it")),
            Verdict::Reject => Err(TransportError::Unsupported("MQTT cannot reject a message, only complete it")),
            _ => Err(TransportError::Unsupported("this version cannot say that of a message over MQTT")),
        }
    }
}

impl HubConnection for Connection {
    fn has_room(&self) -> bool {
        self.session.has_room()
    }

    fn start_send(&mut self, tag: Tag, what: &Upstream, again: bool) -> Result<(), TransportError> {
        match what {
            Upstream::Telemetry(message) => self.send_telemetry(tag, message, again).map_err(TransportError::Request),
            Upstream::Watch(feature) => self.subscribe(tag, *feature),
            Upstream::TwinGet => {
                let topic = |request_id| TwinGetTopic { request_id }.encode();
                self.session.ask((tag, About::Twin), topic, Bytes::new()).map_err(TransportError::Request)
            }
            Upstream::ReportedPatch(patch) => self.patch_reported(tag, patch).map_err(TransportError::Request),
            _ => Err(TransportError::Unsupported("this version cannot send that over MQTT")),
        }
    }

    fn start_reply(&mut self, reply: &Reply) -> Result<(), TransportError> {
        match reply {
            Reply::Method { call, status, body } => {
                self.answer_method(call, *status, body).map_err(TransportError::Request)
            }
            Reply::Settle { lock, verdict } => self.settle(*lock, *verdict),
            Reply::Leave { lock } => self.session.leave(*lock).map_err(TransportError::Request),
            _ => Err(TransportError::Unsupported("this version cannot reply that over MQTT")),
        }
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Downstream>,
    ) -> Poll<Result<(), TransportError>> {
        let (before, had_room, server_time) = (events.len(), self.has_room(), self.session.server_time());
        let Self { session, inbox, .. } = self;
        loop {
            let polled = session.poll(cx, &mut |event, core| match event {
                // The one that comes as often as we send.
                Event::Acked(tag) => events.push(Downstream::Done(tag)),
                event => events.extend(inbox.sort(event, core, server_time)),
            });
            // What nobody asked for is no news.
            match polled {
                Poll::Ready(Ok(())) if events.len() == before && (had_room || !session.has_room()) => {}
                polled => return polled,
            }
        }
    }

    fn poll_renew(&mut self, _: &mut Context<'_>, _: &SasToken) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Err(TransportError::Unsupported("MQTT 3.1.1 cannot renew a token in place: connect again")))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_close(cx)
    }
}

/// Whether MQTT can carry this as the name of a topic.
///
/// Source: MQTT 3.1.1, sections 1.5.3 and 4.7.
fn legal(topic: &str) -> Result<(), ProtoError> {
    if topic.len() > limits::TOPIC_MAX {
        return Err(ProtoError::TooLarge { what: "the MQTT topic", size: topic.len(), limit: limits::TOPIC_MAX });
    }
    if topic.contains(['#', '+', '\0']) {
        return Err(ProtoError::Unexpected("an MQTT topic cannot hold #, + or the character 0".into()));
    }
    Ok(())
}

fn fits(what: &'static str, body: &Bytes, limit: usize) -> Result<(), ProtoError> {
    match body.len() {
        size if size > limit => Err(ProtoError::TooLarge { what, size, limit }),
        _ => Ok(()),
    }
}
