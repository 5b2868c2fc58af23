//! One connection to a hub. This module sends to the hub; [`IncomingRouter`] translates the events from the hub.

use std::task::{Context, Poll};

use bytes::Bytes;
use hubward_proto::hub::{
    IssueCertificate, IssueCertificateTopic, Message, MethodResponseTopic, TelemetryTopic, TopicFilter, TwinGetTopic,
    TwinReportedTopic,
};
use hubward_proto::{ProtoError, limits};
use hubward_transport::{
    CallId, Disposition, Downstream, Feature, HubConnection, HubLogin, Lock, Reply, SasToken, Tag, TransportError,
    Upstream,
};

use super::incoming::IncomingRouter;
use crate::packet::QoS;
use crate::session::{Event, Session};
use crate::twin_requests::TwinRequestKind;

#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    /// The prefix of every telemetry topic of this device.
    telemetry: String,
    router: IncomingRouter,
    /// Whether the login allows certificate requests.
    allows_certificates: bool,
}

impl Connection {
    pub(super) fn new(session: Session, endpoint: String, login: &HubLogin) -> Self {
        let identity = login.identity.clone();
        Self {
            telemetry: TelemetryTopic::prefix(&identity),
            router: IncomingRouter::new(identity, endpoint),
            allows_certificates: login.certificate_requests,
            session,
        }
    }

    fn send_telemetry(&mut self, tag: Tag, message: &Message, again: bool) -> Result<(), ProtoError> {
        message.check()?;
        let topic = TelemetryTopic::encode(&self.telemetry, message)?;
        self.session.publish(tag, topic, message.body.clone(), again)
    }

    fn subscribe(&mut self, tag: Tag, feature: Feature) -> Result<(), TransportError> {
        let identity = self.router.identity();
        // azure-iot-sdk-node and azure-iot-sdk-c use the same QoS.
        let (filter, qos) = match (feature, identity.module.is_some()) {
            (Feature::TwinResponses, _) => (TopicFilter::TwinResponses, QoS::AtMostOnce),
            (Feature::Desired, _) => (TopicFilter::DesiredProperties, QoS::AtMostOnce),
            (Feature::Methods, _) => (TopicFilter::Methods, QoS::AtMostOnce),
            (Feature::CloudToDevice, false) => (TopicFilter::CloudToDevice, QoS::AtLeastOnce),
            (Feature::Inputs, true) => (TopicFilter::ModuleInputs, QoS::AtLeastOnce),
            (Feature::Certificates, false) if self.allows_certificates => (TopicFilter::Credentials, QoS::AtMostOnce),
            (Feature::Certificates, false) => {
                return Err(TransportError::Unsupported("the login does not allow certificate requests"));
            }
            (Feature::Certificates, true) => {
                return Err(TransportError::Unsupported("a module cannot request certificates; its device can"));
            }
            (Feature::CloudToDevice, true) => {
                return Err(TransportError::Unsupported(
                    "a module does not receive cloud-to-device messages; subscribe to its inputs",
                ));
            }
            (Feature::Inputs, false) => {
                return Err(TransportError::Unsupported("a device has no inputs; only its modules have inputs"));
            }
            _ => return Err(TransportError::Unsupported("this version does not support this feature over MQTT")),
        };
        let filter = filter.encode(identity);
        // The only wildcard of these filters is the last character.
        check_topic(filter.strip_suffix('#').unwrap_or(&filter)).map_err(TransportError::Request)?;
        self.session.subscribe(tag, &filter, qos).map_err(TransportError::Request)
    }

    fn patch_reported(&mut self, tag: Tag, patch: &Bytes) -> Result<(), ProtoError> {
        check_size("the patch of reported properties", patch, limits::TELEMETRY_MAX)?;
        let topic = |request_id| TwinReportedTopic { request_id }.encode();
        self.session.request_twin((tag, TwinRequestKind::PatchReported), topic, patch.clone())
    }

    fn answer_method(&mut self, call: &CallId, status: i32, body: &Bytes) -> Result<(), ProtoError> {
        check_size("the answer to a direct method", body, limits::METHOD_PAYLOAD_MAX)?;
        let topic = MethodResponseTopic { status, request_id: call.0.clone() }.encode();
        check_topic(&topic)?;
        self.session.publish_qos0(topic, body.clone())
    }

    fn settle(&mut self, lock: Lock, disposition: Disposition) -> Result<(), TransportError> {
        match disposition {
            Disposition::Complete => self.session.settle(lock).map_err(TransportError::Request),
            Disposition::Abandon => {
                Err(TransportError::Unsupported("MQTT cannot abandon a message; complete it or drop it"))
            }
            Disposition::Reject => Err(TransportError::Unsupported("MQTT cannot reject a message; complete it")),
            _ => Err(TransportError::Unsupported("this version does not support this disposition over MQTT")),
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
            Upstream::Subscribe(feature) => self.subscribe(tag, *feature),
            Upstream::TwinGet => {
                let topic = |request_id| TwinGetTopic { request_id }.encode();
                self.session
                    .request_twin((tag, TwinRequestKind::Get), topic, Bytes::new())
                    .map_err(TransportError::Request)
            }
            Upstream::IssueCertificate { id, csr, replace } => {
                let device = self.router.identity().device.as_str();
                let body = IssueCertificate::new(device, csr.clone()).replace(replace.clone()).encode();
                let topic = IssueCertificateTopic { request_id: id.to_string() }.encode();
                self.session.publish(tag, topic, body.into(), again).map_err(TransportError::Request)
            }
            Upstream::ReportedPatch(patch) => self.patch_reported(tag, patch).map_err(TransportError::Request),
            _ => Err(TransportError::Unsupported("this version does not support sending this over MQTT")),
        }
    }

    fn start_reply(&mut self, reply: &Reply) -> Result<(), TransportError> {
        match reply {
            Reply::Method { call, status, body } => {
                self.answer_method(call, *status, body).map_err(TransportError::Request)
            }
            Reply::Settle { lock, disposition } => self.settle(*lock, *disposition),
            Reply::Release { lock } => self.session.on_dropped(*lock).map_err(TransportError::Request),
            _ => Err(TransportError::Unsupported("this version does not support this reply over MQTT")),
        }
    }

    fn held_back(&self) -> usize {
        self.session.held_back()
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Downstream>,
    ) -> Poll<Result<(), TransportError>> {
        let (before, had_room, server_time) = (events.len(), self.has_room(), self.session.server_time());
        let Self { session, router, .. } = self;
        loop {
            let polled = session.poll(cx, &mut |event, core| match event {
                // Fast path: the hub acknowledges every message that the device sends.
                Event::Acked(tag) => events.push(Downstream::Done(tag)),
                event => events.extend(router.route(event, core, server_time)),
            });
            // If every event was discarded, poll again: this function must return only if the caller has something to
            // do.
            match polled {
                Poll::Ready(Ok(())) if events.len() == before && (had_room || !session.has_room()) => {}
                polled => return polled,
            }
        }
    }

    fn poll_renew(&mut self, _: &mut Context<'_>, _: &SasToken) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Err(TransportError::Unsupported("MQTT 3.1.1 cannot renew a token in place; connect again")))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_close(cx)
    }
}

/// Checks that MQTT allows this topic name.
///
/// Source: MQTT 3.1.1, sections 1.5.3 and 4.7.
fn check_topic(topic: &str) -> Result<(), ProtoError> {
    if topic.len() > limits::TOPIC_MAX {
        return Err(ProtoError::TooLarge { what: "the MQTT topic", size: topic.len(), limit: limits::TOPIC_MAX });
    }
    if topic.contains(['#', '+', '\0']) {
        return Err(ProtoError::Unexpected("an MQTT topic cannot contain #, + or the null character".into()));
    }
    Ok(())
}

fn check_size(what: &'static str, body: &Bytes, limit: usize) -> Result<(), ProtoError> {
    match body.len() {
        size if size > limit => Err(ProtoError::TooLarge { what, size, limit }),
        _ => Ok(()),
    }
}
