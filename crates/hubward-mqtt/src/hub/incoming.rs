//! What comes in from a hub, sorted by its topic: whatever the bytes, something is made of them or
//! they are named in the log.

use std::time::SystemTime;

use bytes::Bytes;
use hubward_proto::hub::{
    CloudToDeviceTopic, DesiredTopic, ErrorBody, HubIdentity, IncomingMessage, MethodRequestTopic, ModuleInputTopic,
    PropertyBag, TopicFilter, TwinResponseTopic,
};
use hubward_transport::{
    Call, CallId, Delivery, Downstream, Excerpt, Refusal, RefusedBy, Stage, Tag, WarningLimit, one_line,
};

use crate::core::Core;
use crate::packet::Message;
use crate::questions::About;
use crate::session::{Event, Wanted};

/// Sorts what comes in over one connection.
#[derive(Debug)]
pub(super) struct Inbox {
    identity: HubIdentity,
    endpoint: String,
    /// How the topic of every message to this device or module begins, without the last `/`.
    base: String,
    /// Whether the log knows already that messages are left with the hub.
    told_left: bool,
    odd_topics: WarningLimit,
    odd_properties: WarningLimit,
}

impl Inbox {
    pub(super) fn new(identity: HubIdentity, endpoint: String) -> Self {
        let filter = if identity.module.is_some() { TopicFilter::ModuleInputs } else { TopicFilter::CloudToDevice };
        let base = filter.encode(&identity).trim_end_matches("/#").to_owned();
        Self {
            identity,
            endpoint,
            base,
            told_left: false,
            odd_topics: WarningLimit::new("the hub sent a message on a topic that is nothing of this device's"),
            odd_properties: WarningLimit::new("a message has properties that break the rules"),
        }
    }

    /// Whose it is.
    pub(super) const fn identity(&self) -> &HubIdentity {
        &self.identity
    }

    /// What to tell of an event, if anything. What is nobody's to settle is settled here.
    pub(super) fn sort(
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
            Event::Message(message, wanted) => self.sort_message(message, wanted, core),
        }
    }

    fn sort_message(&mut self, message: Message, wanted: Wanted, core: &mut Core) -> Option<Downstream> {
        if let Some(rest) = rest_below(&self.base, &message.topic) {
            let lock = match wanted {
                Wanted::Nothing => None,
                Wanted::Settling(lock) => Some(lock),
                Wanted::Left => {
                    self.tell_left();
                    return Some(Downstream::Left);
                }
            };
            let (input, bag) = self.read(&message.topic, rest);
            // A copy: a slice would keep the whole read buffer in memory.
            let mut incoming = IncomingMessage::new(Bytes::copy_from_slice(&message.body), bag);
            incoming.input = input;
            return Some(Downstream::Message(Box::new(Delivery { lock, message: incoming })));
        }
        // Nothing else is a program's to settle. Its PUBACK keeps its place in the line all the same.
        if let Wanted::Settling(lock) = wanted {
            core.settle(lock);
        }
        let Message { topic, body, .. } = message;
        if let Ok(topic) = TwinResponseTopic::parse(&topic) {
            return self.answer(&topic, body, core);
        }
        if let Ok(MethodRequestTopic { name, request_id }) = MethodRequestTopic::parse(&topic) {
            return Some(Downstream::Method(Box::new(Call { id: CallId(request_id), name, body })));
        }
        if DesiredTopic::parse(&topic).is_ok() {
            return Some(Downstream::Desired(body));
        }
        self.odd_topics.log(|| {
            tracing::warn!(
                endpoint = self.endpoint,
                topic = %Excerpt(&beginning(&topic)),
                bytes = body.len(),
                "the hub sent a message on a topic that is nothing of this device's: discarded"
            );
        });
        // Whoever called a method waits for an answer.
        let call = MethodRequestTopic::request_id(&topic).map(|it| CallId(it.to_owned()));
        Some(Downstream::Unreadable(call))
    }

    fn answer(&self, topic: &TwinResponseTopic, body: Bytes, core: &mut Core) -> Option<Downstream> {
        let Some((tag, about)) = core.on_answer(&topic.request_id) else {
            let (status, id) = (topic.status, Excerpt(&topic.request_id));
            tracing::debug!(status, %id, "a late answer about the twin, or to nobody's question: ignored");
            return None;
        };
        Some(match (about, topic.status) {
            (About::Twin, 200) => Downstream::Twin(tag, body),
            // 204 today; older documents say 200.
            (About::Reported, 200..300) => Downstream::Reported(tag, topic.version),
            (_, status) => self.refused(tag, status, &body),
        })
    }

    fn refused(&self, tag: Tag, status: u16, body: &[u8]) -> Downstream {
        let words = |text: Option<String>| text.map(|it| one_line(&it)).filter(|it| !it.is_empty());
        let said = ErrorBody::parse(body);
        let mut refusal = Refusal::new(self.endpoint.clone(), Stage::Exchange, RefusedBy::Status(status));
        refusal.error_code = said.error_code;
        refusal.message = words(said.message);
        refusal.tracking_id = words(said.tracking_id);
        Downstream::Refused(tag, Box::new(refusal))
    }

    /// Input and properties of a message to this device or module. Where they break the rules, what can
    /// be read of them: the program decides about its message, not we about a comma.
    fn read(&self, topic: &str, rest: &str) -> (Option<String>, PropertyBag) {
        let of_module = self.identity.module.is_some();
        let read = if of_module {
            ModuleInputTopic::parse(&self.identity, topic).map(|it| (Some(it.input), it.bag))
        } else {
            CloudToDeviceTopic::parse(&self.identity, topic).map(|it| (None, it.bag))
        };
        read.unwrap_or_else(|_| {
            self.odd_properties.log(|| {
                tracing::warn!(
                    endpoint = self.endpoint,
                    "a message has properties that break the rules: it is handed over with those that can be read"
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

    fn tell_left(&mut self) {
        if !self.told_left {
            self.told_left = true;
            tracing::warn!(
                endpoint = self.endpoint,
                "too many messages wait for their acknowledgement: the next ones are left with the hub until this \
                 device connects again"
            );
        }
    }
}

/// What follows `base` and a `/`; nothing for `base` alone.
fn rest_below<'a>(base: &str, topic: &'a str) -> Option<&'a str> {
    let rest = topic.strip_prefix(base)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The properties of a bag that can be read one by one.
fn readable(bag: &str) -> PropertyBag {
    let mut read = PropertyBag::default();
    let entries = bag.split('/').next().unwrap_or_default().split('&');
    for one in entries.filter_map(|it| PropertyBag::parse(it).ok()) {
        one.iter().for_each(|(name, value)| read.set(name, value.map(str::to_owned)));
    }
    read
}

/// The first levels of a topic, for a log: what follows may be the user's.
fn beginning(topic: &str) -> String {
    topic.splitn(5, '/').take(4).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
