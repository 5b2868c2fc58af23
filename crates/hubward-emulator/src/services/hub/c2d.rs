//! Messages to a device or module: the properties that a sender sets, the checks of the hub, and the encoding.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hubward_proto::hub::{CloudToDeviceTopic, HubIdentity, ModuleInputTopic, PropertyBag};
use hubward_proto::limits::{CLOUD_TO_DEVICE_MAX, CLOUD_TO_DEVICE_QUEUE, MESSAGE_ID_MAX, TOPIC_MAX};

use super::code::Code;
use crate::state::choices::{fnv_1a, rng};
use crate::state::clock::timestamp;
use crate::state::model::{Ack, Post, Rules, later};
use crate::state::wire_id;

/// The maximum time to live of a message.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message time to live".
const EXPIRY_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// A message for [`Emulator::send_to_device`](crate::Emulator::send_to_device) or
/// [`Emulator::send_to_input`](crate::Emulator::send_to_input).
///
/// ```
/// use hubward_emulator::{Ack, CloudToDevice};
///
/// let message = CloudToDevice::new("reboot").message_id("m1").property("k", "v").ack(Ack::Full);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct CloudToDevice {
    /// The payload.
    pub body: Bytes,
    /// Application properties in the order in which they were added. The value `None` means a property without a
    /// value.
    pub properties: Vec<(String, Option<String>)>,
    /// The message id that the sender sets, at most 128 bytes. If this is `None`, the device gets a message
    /// without an id.
    pub message_id: Option<String>,
    /// The correlation id: the id of a related message.
    pub correlation_id: Option<String>,
    /// The id of the user that created the message.
    pub user_id: Option<String>,
    /// The body's media type.
    pub content_type: Option<String>,
    /// The body's encoding.
    pub content_encoding: Option<String>,
    /// The feedback that the sender requests. With `None`, the message does not have this property, and the sender
    /// gets no feedback.
    pub ack: Option<Ack>,
    /// The time at which the message expires. With `None`, the hub's default time to live applies.
    pub expiry: Option<Expiry>,
    /// The sender of the message: a device, or a module of a device. With `None`, the sender is the device of the
    /// receiving module.
    ///
    /// Used only if the message goes to the input of a module.
    pub sender: Option<(String, Option<String>)>,
}

/// The expiry of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The message expires at this time of the emulator's clock.
    At(SystemTime),
    /// The message expires after this time.
    After(Duration),
}

impl CloudToDevice {
    /// A message without properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Sets the message id, at most 128 bytes.
    pub fn message_id(mut self, value: impl Into<String>) -> Self {
        self.message_id = Some(value.into());
        self
    }

    /// Sets the correlation id: the id of a related message.
    pub fn correlation_id(mut self, value: impl Into<String>) -> Self {
        self.correlation_id = Some(value.into());
        self
    }

    /// Sets the id of the user that created the message.
    pub fn user_id(mut self, value: impl Into<String>) -> Self {
        self.user_id = Some(value.into());
        self
    }

    /// Sets the body's media type, such as `application/json`.
    pub fn content_type(mut self, value: impl Into<String>) -> Self {
        self.content_type = Some(value.into());
        self
    }

    /// Sets the body's encoding, such as `utf-8`.
    pub fn content_encoding(mut self, value: impl Into<String>) -> Self {
        self.content_encoding = Some(value.into());
        self
    }

    /// Requests feedback.
    pub const fn ack(mut self, ack: Ack) -> Self {
        self.ack = Some(ack);
        self
    }

    /// Sets how long the message is valid, at most two days.
    pub const fn expires_after(mut self, time: Duration) -> Self {
        self.expiry = Some(Expiry::After(time));
        self
    }

    /// Sets the time at which the message expires, at most two days from now. If `moment` is in the past, the message
    /// expires immediately.
    pub const fn expires_at(mut self, moment: SystemTime) -> Self {
        self.expiry = Some(Expiry::At(moment));
        self
    }

    /// Sets the device and module that send the message. Only for messages to the input of a module.
    pub fn sender(mut self, device_id: impl Into<String>, module_id: Option<&str>) -> Self {
        self.sender = Some((device_id.into(), module_id.map(str::to_owned)));
        self
    }

    /// Adds an application property.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), Some(value.into())));
        self
    }

    /// Adds an application property that has a name and no value.
    pub fn flag(mut self, name: impl Into<String>) -> Self {
        self.properties.push((name.into(), None));
        self
    }

    /// The publish for this message, and when the message expires.
    ///
    /// Source: for the order of the properties, the test vectors `decode-c2d-full` and `decode-input`. For the limits,
    /// `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md.
    ///
    /// A message without an id has no `$.mid`: `[seen]` Azure/azure-iot-explorer, issue 530, and traces of four other
    /// projects.
    pub(crate) fn prepare(
        self,
        identity: &HubIdentity,
        input: Option<&str>,
        now: SystemTime,
        rules: &Rules,
    ) -> Result<(Post, SystemTime), SendProblem> {
        let expires = self.expires(now, rules)?;
        self.check(input)?;
        let mut bag = self.bag(identity, input.is_some());
        if let Some(seed) = rules.shuffle {
            bag = shuffled(&bag, seed);
        }
        // If the sender sets no id, the emulator generates one. The message to the device does not contain this id, but
        // the emulator's own API and the feedback do.
        //
        // No source says which id a hub uses in feedback.
        let message_id = self.message_id.clone().unwrap_or_else(wire_id::guid);
        let topic = match input {
            Some(input) => ModuleInputTopic { input: input.to_owned(), bag }.encode(identity),
            None => CloudToDeviceTopic { bag }.encode(&identity.device),
        };
        at_most("the MQTT topic with the message's properties", topic.len(), TOPIC_MAX)?;
        let input = input.map(str::to_owned);
        Ok((Post { topic, body: self.body, message_id, ack: self.ack, input }, expires))
    }

    fn expires(&self, now: SystemTime, rules: &Rules) -> Result<SystemTime, SendProblem> {
        let expires = match self.expiry {
            None => return Ok(later(now, rules.ttl)),
            Some(Expiry::At(moment)) => moment,
            Some(Expiry::After(time)) => later(now, time),
        };
        if expires > later(now, EXPIRY_MAX) {
            return Err(SendProblem::Argument("the expiry must be within two days"));
        }
        // A timestamp cannot represent a time before 1970. Use 1970 instead: the message has expired in both cases.
        Ok(expires.max(SystemTime::UNIX_EPOCH))
    }

    fn check(&self, input: Option<&str>) -> Result<(), SendProblem> {
        if input == Some("") {
            return Err(SendProblem::Argument("the name of the input is empty"));
        }
        if input.is_none() && self.sender.is_some() {
            return Err(SendProblem::Argument("only a message to a module's input may have a sender"));
        }
        for id in [&self.message_id, &self.correlation_id].into_iter().flatten() {
            at_most("the message or correlation id", id.len(), MESSAGE_ID_MAX)?;
        }
        let names = self.properties.iter().map(|(name, _)| name.as_str());
        for name in names {
            if name.is_empty() {
                return Err(SendProblem::Argument("the name of a property is empty"));
            }
            if name.starts_with("$.") || name.starts_with("iothub-") {
                return Err(SendProblem::Argument("property names that begin with `$.` or `iothub-` are reserved"));
            }
        }
        at_most("the message (body and properties)", self.size(), CLOUD_TO_DEVICE_MAX)
    }

    /// The size in bytes, as the service counts it.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md, "Message size".
    fn size(&self) -> usize {
        let system: usize = self.system().filter_map(|(_, value)| value).map(String::len).sum();
        let application: usize =
            self.properties.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len)).sum();
        self.body.len() + system + application
    }

    fn system(&self) -> impl Iterator<Item = (&'static str, Option<&String>)> {
        [
            ("$.mid", self.message_id.as_ref()),
            ("$.cid", self.correlation_id.as_ref()),
            ("$.uid", self.user_id.as_ref()),
            ("$.ct", self.content_type.as_ref()),
            ("$.ce", self.content_encoding.as_ref()),
        ]
        .into_iter()
    }

    fn bag(&self, identity: &HubIdentity, to_input: bool) -> PropertyBag {
        let mut bag = PropertyBag::default();
        if let Some(message_id) = &self.message_id {
            bag.set("$.mid", Some(message_id.clone()));
        }
        if !to_input {
            bag.set("$.to", Some(format!("/devices/{}/messages/deviceBound", identity.device)));
        }
        for (name, value) in self.system().skip(1) {
            if let Some(value) = value {
                bag.set(name, Some(value.clone()));
            }
        }
        if let Some(Expiry::At(moment)) = self.expiry {
            bag.set("$.exp", Some(timestamp(moment)));
        }
        if to_input {
            let (device, module) = match &self.sender {
                Some((device, module)) => (device.as_str(), module.as_ref()),
                None => (identity.device.as_str(), None),
            };
            bag.set("$.cdid", Some(device.to_owned()));
            if let Some(module) = module {
                bag.set("$.cmid", Some(module.clone()));
            }
        }
        if let Some(ack) = self.ack {
            bag.set("iothub-ack", Some(ack.as_str().to_owned()));
        }
        for (name, value) in &self.properties {
            bag.set(name.clone(), value.clone());
        }
        bag
    }
}

/// Returns the same properties in another order. The names of the properties and the seed decide the order.
///
/// Source: `[seen]` Azure/azure-iot-explorer, issue 530, and others: real hubs send the properties in different
/// orders.
fn shuffled(bag: &PropertyBag, seed: u64) -> PropertyBag {
    let hash = fnv_1a(bag.iter().flat_map(|(name, _)| name.bytes()));
    let mut entries: Vec<_> = bag.iter().collect();
    rng(seed, hash).shuffle(&mut entries);
    let mut result = PropertyBag::default();
    entries.into_iter().for_each(|(name, value)| result.set(name, value.map(str::to_owned)));
    result
}

/// Why a message to a device or module is refused.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md and the REST page of common error codes.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendProblem {
    /// The hub does not exist.
    #[error("the hub `{hub}` does not exist")]
    UnknownHub {
        /// The name of the hub.
        hub: String,
    },
    /// The device does not exist at the hub.
    #[error("the hub does not know the device `{device_id}`")]
    UnknownDevice {
        /// The device id.
        device_id: String,
    },
    /// The device has no such module.
    #[error("the device `{device_id}` has no module `{module_id}`")]
    UnknownModule {
        /// The device id.
        device_id: String,
        /// The module id.
        module_id: String,
    },
    /// The queue of the device or module is full.
    #[error("the queue is full: {CLOUD_TO_DEVICE_QUEUE} messages wait already")]
    QueueFull,
    /// A part of the message is too large.
    #[error("{what} has {size} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// The part that is too large.
        what: &'static str,
        /// The size of this part in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A part of the message is not valid.
    #[error("the message is not valid: {0}")]
    Argument(&'static str),
}

hubward_proto::debug_as_error_report!(SendProblem);

impl SendProblem {
    /// Returns the error code of the service. Its first three digits are the HTTP status.
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.as_code().number()
    }

    pub(crate) const fn as_code(&self) -> Code {
        match self {
            Self::UnknownHub { .. } => Code::IotHubNotFound,
            Self::UnknownDevice { .. } => Code::DeviceNotFound,
            Self::UnknownModule { .. } => Code::ModuleNotFound,
            Self::QueueFull => Code::DeviceMaximumQueueDepthExceeded,
            Self::TooLarge { .. } => Code::MessageTooLarge,
            Self::Argument(_) => Code::ArgumentInvalid,
        }
    }
}

fn at_most(what: &'static str, size: usize, limit: usize) -> Result<(), SendProblem> {
    if size > limit { Err(SendProblem::TooLarge { what, size, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use hubward_proto::{DeviceId, HubHost, ModuleId};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn device() -> HubIdentity {
        HubIdentity::new(HubHost::new("hub.example").expect("host"), DeviceId::new("d1").expect("id"))
    }

    fn topic(message: CloudToDevice, input: Option<&str>) -> String {
        let identity = match input {
            Some(_) => device().module(ModuleId::new("mod1").expect("id")),
            None => device(),
        };
        message.prepare(&identity, input, NOW, &Rules::default()).expect("a message").0.topic
    }

    /// The expected topics were copied by hand from the protocol notes and from the test vectors `decode-c2d-full` and
    /// `decode-input`.
    #[test]
    fn messages_are_published_as_the_service_publishes_them() {
        let example = CloudToDevice::new("").message_id("m1").ack(Ack::Full).property("k", "v");
        let expected = "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                        &iothub-ack=full&k=v";
        assert_eq!(topic(example, None), expected);
        let full = CloudToDevice::new("")
            .property("k 1", "v/1")
            .flag("flag")
            .property("empty", "")
            .ack(Ack::Full)
            .expires_at(NOW + Duration::from_secs(1))
            .content_encoding("utf-8")
            .content_type("application/json")
            .user_id("u1")
            .correlation_id("c1")
            .message_id("m 1");
        let expected = "devices/d1/messages/devicebound/%24.mid=m%201&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                        &%24.cid=c1&%24.uid=u1&%24.ct=application%2Fjson&%24.ce=utf-8\
                        &%24.exp=1970-01-01T00%3A00%3A01.0000000Z&iothub-ack=full&k%201=v%2F1&flag&empty=";
        assert_eq!(topic(full, None), expected);
        let input = CloudToDevice::new("").message_id("m").property("k", "v").sender("device2", Some("modX"));
        let expected = "devices/d1/modules/mod1/inputs/in%201/%24.mid=m&%24.cdid=device2&%24.cmid=modX&k=v";
        assert_eq!(topic(input, Some("in 1")), expected);
        let input = CloudToDevice::new("").message_id("m");
        assert_eq!(topic(input, Some("in")), "devices/d1/modules/mod1/inputs/in/%24.mid=m&%24.cdid=d1");
    }

    #[test]
    fn invalid_messages_are_refused() {
        let day = Duration::from_secs(24 * 3600);
        let message = || CloudToDevice::new("");
        let sized = |size| CloudToDevice::new(vec![0; size]).message_id("m1").property("k", "vv");
        for (message, code) in [
            (sized(65_536 - 5), 0),
            (sized(65_536 - 4), 413_001),
            (message().message_id("m".repeat(129)), 413_001),
            (message().correlation_id("m".repeat(129)), 413_001),
            (message().property("k", "/".repeat(30_000)), 413_001),
            (message().property("", "v"), 400_004),
            (message().property("$.mid", "v"), 400_004),
            (message().property("iothub-ack", "full"), 400_004),
            (message().sender("d2", None), 400_004),
            (message().expires_after(2 * day), 0),
            (message().expires_after(2 * day + Duration::from_secs(1)), 400_004),
            (message().expires_after(Duration::MAX), 400_004),
            (message().expires_at(NOW + 3 * day), 400_004),
            (message().expires_at(NOW - day), 0),
        ] {
            let result = message.clone().prepare(&device(), None, NOW, &Rules::default());
            assert_eq!(result.map_or_else(|it| it.code(), |_| 0), code, "{message:?}");
        }
        let nameless = message().prepare(&device(), Some(""), NOW, &Rules::default());
        assert_eq!(nameless.expect_err("no name").code(), 400_004);
    }

    #[test]
    fn a_message_without_an_id_gets_one_that_only_the_emulator_shows() {
        let post = || CloudToDevice::new("").prepare(&device(), None, NOW, &Rules::default()).expect("a message").0;
        let (first, second) = (post(), post());
        let bare = "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound";
        assert_eq!((first.topic.as_str(), second.topic.as_str()), (bare, bare));
        assert!(!first.message_id.is_empty() && first.message_id != second.message_id, "{first:?}");
    }
}
