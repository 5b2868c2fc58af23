//! Translates the messages of a hub into [`Downstream`] events, by topic. Every message becomes an event or an entry in
//! the log.

use std::time::SystemTime;

use bytes::Bytes;
use hubward_proto::hub::{
    CertificateAccepted, CertificateRefusal, CloudToDeviceTopic, CredentialResponseTopic, DesiredTopic, ErrorBody,
    HubIdentity, IncomingMessage, IssuedCertificates, MethodRequestTopic, ModuleInputTopic, PropertyBag, TopicFilter,
    TwinResponseTopic,
};
use hubward_transport::{
    Call, CallId, CertificateOutcome, CertificateResponse, Delivery, Downstream, Excerpt, Refusal, RefusedBy, Stage,
    Tag, WarningLimit, one_line,
};

use crate::core::Core;
use crate::packet::Message;
use crate::session::{AckNeed, Event};
use crate::twin_requests::TwinRequestKind;

/// Translates the events of one connection.
#[derive(Debug)]
pub(super) struct IncomingRouter {
    identity: HubIdentity,
    endpoint: String,
    /// The prefix of the topic of every message to this device or module, without the last `/`.
    base: String,
    /// Whether the warning about a full acknowledgement queue was logged.
    warned_queue_full: bool,
    unknown_topics: WarningLimit,
    invalid_properties: WarningLimit,
}

impl IncomingRouter {
    pub(super) fn new(identity: HubIdentity, endpoint: String) -> Self {
        let filter = if identity.module.is_some() { TopicFilter::ModuleInputs } else { TopicFilter::CloudToDevice };
        let base = filter.encode(&identity).trim_end_matches("/#").to_owned();
        Self {
            identity,
            endpoint,
            base,
            warned_queue_full: false,
            unknown_topics: WarningLimit::new("the hub sent a message on a topic that this device does not use"),
            invalid_properties: WarningLimit::new("the properties of a message are not valid"),
        }
    }

    /// The device or module of this connection.
    pub(super) const fn identity(&self) -> &HubIdentity {
        &self.identity
    }

    /// Translates an event of the session into an event for the program. If the event is a message that the program
    /// does not settle, such as a twin response, this function marks the message as handled.
    pub(super) fn route(
        &mut self,
        event: Event,
        core: &mut Core,
        server_time: Option<SystemTime>,
    ) -> Option<Downstream> {
        match event {
            Event::Acked(tag) => Some(Downstream::Done(tag)),
            Event::Accepted { session_present } => Some(Downstream::Ready { session_present, server_time }),
            Event::Subscribed { tag, granted: true } => Some(Downstream::Done(tag)),
            Event::Subscribed { tag, granted: false } => {
                let refusal = Refusal::new(self.endpoint.clone(), Stage::Subscribe, RefusedBy::Suback);
                Some(Downstream::Refused(tag, Box::new(refusal)))
            }
            Event::Message(message, ack) => self.route_message(message, ack, core),
        }
    }

    fn route_message(&mut self, message: Message, ack: AckNeed, core: &mut Core) -> Option<Downstream> {
        if let Some(rest) = rest_below(&self.base, &message.topic) {
            let lock = match ack {
                AckNeed::None => None,
                AckNeed::OnSettlement(lock) => Some(lock),
                AckNeed::QueueFull => {
                    self.warn_queue_full();
                    return Some(Downstream::MessageOverLimit);
                }
            };
            let (input, bag) = self.read(&message.topic, rest);
            // Copy the body: a slice would keep the whole read buffer in memory.
            let mut incoming = IncomingMessage::new(Bytes::copy_from_slice(&message.body), bag);
            incoming.input = input;
            return Some(Downstream::Message(Box::new(Delivery { lock, message: incoming })));
        }
        // The program settles only messages that the code above returns. Mark every other message as handled. Its
        // PUBACK still waits for the PUBACKs of earlier messages.
        if let AckNeed::OnSettlement(lock) = ack {
            core.consume(lock);
        }
        let Message { topic, body, .. } = message;
        if let Ok(topic) = TwinResponseTopic::parse(&topic) {
            return self.twin_response(&topic, body, core);
        }
        if let Ok(MethodRequestTopic { name, request_id }) = MethodRequestTopic::parse(&topic) {
            return Some(Downstream::Method(Box::new(Call { id: CallId(request_id), name, body })));
        }
        if let Ok(topic) = CredentialResponseTopic::parse(&topic) {
            return Some(Downstream::Certificate(Box::new(self.certificate_response(topic, &body))));
        }
        if DesiredTopic::parse(&topic).is_ok() {
            return Some(Downstream::Desired(body));
        }
        self.unknown_topics.log(|| {
            tracing::warn!(
                endpoint = self.endpoint,
                topic = %Excerpt(&beginning(&topic)),
                bytes = body.len(),
                "discarded a message that the hub sent on a topic that this device does not use"
            );
        });
        // The message may be a method call with an unreadable name. Its caller waits for an answer. So return the id of
        // the call, with which the client can refuse the call.
        let call = MethodRequestTopic::request_id(&topic).map(|it| CallId(it.to_owned()));
        Some(Downstream::Unreadable(call))
    }

    fn certificate_response(&self, topic: CredentialResponseTopic, body: &[u8]) -> CertificateResponse {
        let outcome = match topic.status {
            CredentialResponseTopic::ACCEPTED => CertificateOutcome::Accepted(CertificateAccepted::parse(body)),
            200..300 => match IssuedCertificates::parse(body) {
                Ok(issued) => CertificateOutcome::Issued(issued.certificates),
                Err(problem) => CertificateOutcome::Unreadable(problem),
            },
            status => {
                let read = CertificateRefusal::parse(body);
                let other = read.pending_request().map(str::to_owned);
                let mut refusal = self.refusal(status, body);
                refusal.retry_after = read.wait();
                CertificateOutcome::Refused { refusal: Box::new(refusal), other }
            }
        };
        CertificateResponse { id: topic.request_id, outcome }
    }

    fn twin_response(&self, topic: &TwinResponseTopic, body: Bytes, core: &mut Core) -> Option<Downstream> {
        let Some((tag, kind)) = core.on_twin_response(&topic.request_id) else {
            let (status, id) = (topic.status, Excerpt(&topic.request_id));
            tracing::debug!(status, %id, "ignored a twin response that is late or answers no request");
            return None;
        };
        Some(match (kind, topic.status) {
            (TwinRequestKind::Get, 200) => Downstream::Twin(tag, body),
            // Hubs send 204 today; older documents say 200.
            (TwinRequestKind::PatchReported, 200..300) => Downstream::Reported(tag, topic.version),
            (_, status) => self.refused(tag, status, &body),
        })
    }

    fn refused(&self, tag: Tag, status: u16, body: &[u8]) -> Downstream {
        Downstream::Refused(tag, Box::new(self.refusal(status, body)))
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        let clean = |text: Option<String>| text.map(|it| one_line(&it)).filter(|it| !it.is_empty());
        let error_body = ErrorBody::parse(body);
        let mut refusal = Refusal::new(self.endpoint.clone(), Stage::Exchange, RefusedBy::Status(status));
        refusal.error_code = error_body.error_code;
        refusal.message = clean(error_body.message);
        refusal.tracking_id = clean(error_body.tracking_id);
        refusal
    }

    /// Reads the input and the properties of a message to this device or module. If some properties are not valid,
    /// returns the other properties. The program decides how to handle a message with missing properties.
    fn read(&self, topic: &str, rest: &str) -> (Option<String>, PropertyBag) {
        let of_module = self.identity.module.is_some();
        let read = if of_module {
            ModuleInputTopic::parse(&self.identity, topic).map(|it| (Some(it.input), it.bag))
        } else {
            CloudToDeviceTopic::parse(&self.identity, topic).map(|it| (None, it.bag))
        };
        read.unwrap_or_else(|_| {
            self.invalid_properties.log(|| {
                tracing::warn!(
                    endpoint = self.endpoint,
                    "some properties of a message are not valid; the program gets the message with the others"
                );
            });
            if !of_module {
                return (None, readable(rest));
            }
            let (input, bag) = rest.split_once('/').unwrap_or((rest, ""));
            let alone = ModuleInputTopic::parse(&self.identity, &topic[..topic.len() - bag.len()]);
            (Some(alone.map_or_else(|_| input.to_owned(), |it| it.input)), readable(bag))
        })
    }

    fn warn_queue_full(&mut self) {
        if !self.warned_queue_full {
            self.warned_queue_full = true;
            tracing::warn!(
                endpoint = self.endpoint,
                "too many messages wait for their acknowledgement: later messages stay with the hub until this \
                 device connects again"
            );
        }
    }
}

/// Returns the part of `topic` after `base` and a `/`; an empty text if `topic` is `base`.
fn rest_below<'a>(base: &str, topic: &'a str) -> Option<&'a str> {
    let rest = topic.strip_prefix(base)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Reads each property of a bag on its own and skips the invalid ones.
fn readable(bag: &str) -> PropertyBag {
    let mut read = PropertyBag::default();
    let entries = bag.split('/').next().unwrap_or_default().split('&');
    for one in entries.filter_map(|it| PropertyBag::parse(it).ok()) {
        one.iter().for_each(|(name, value)| read.set(name, value.map(str::to_owned)));
    }
    read
}

/// Returns the first levels of a topic for a log. The rest can contain private user data.
fn beginning(topic: &str) -> String {
    topic.splitn(5, '/').take(4).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
