//! A device-to-cloud message: body, system properties, application properties.

use bytes::Bytes;

use crate::hub::PropertyBag;
use crate::hub::property_bag::push_entry;
use crate::{ProtoError, limits};

/// A telemetry message.
///
/// ```
/// use hubward_proto::hub::Message;
///
/// let message = Message::new("test wind speed 1").message_id("m-1").property("alert", "true");
/// assert_eq!(message.property_bag(), "%24.mid=m-1&alert=true");
/// assert_eq!(message.size(), 17 + 3 + 5 + 4);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// What it carries.
    pub body: Bytes,
    /// Sorted by place in the topic; most messages have one or two.
    system: Vec<(System, String)>,
    /// In the order they were set.
    application: Vec<(String, Option<String>)>,
}

impl Message {
    /// A message without properties.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// A message with `value` as JSON, content type `application/json` and encoding `utf-8`, which is
    /// what lets a hub route by the body's fields.
    ///
    /// # Errors
    /// If `value` cannot be written as JSON (a map with keys that are no strings, say).
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-routing-query-syntax.md, "Query based on message body".
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(Self::new(body).content_type("application/json").content_encoding("utf-8"))
    }

    /// An id of the sender's choice, up to 128 characters (`$.mid`).
    #[must_use]
    pub fn message_id(self, value: impl Into<String>) -> Self {
        self.system(System::MessageId, value)
    }

    /// The id of the message this one belongs to (`$.cid`).
    #[must_use]
    pub fn correlation_id(self, value: impl Into<String>) -> Self {
        self.system(System::CorrelationId, value)
    }

    /// Who made the message (`$.uid`).
    #[must_use]
    pub fn user_id(self, value: impl Into<String>) -> Self {
        self.system(System::UserId, value)
    }

    /// The body's media type, such as `application/json` (`$.ct`).
    #[must_use]
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.system(System::ContentType, value)
    }

    /// The body's encoding, such as `utf-8` (`$.ce`).
    #[must_use]
    pub fn content_encoding(self, value: impl Into<String>) -> Self {
        self.system(System::ContentEncoding, value)
    }

    /// When the message stops being of use, as ISO 8601 in UTC (`$.exp`).
    #[must_use]
    pub fn expiry(self, value: impl Into<String>) -> Self {
        self.system(System::Expiry, value)
    }

    /// When the message was made, as ISO 8601 in UTC (`$.ctime`).
    ///
    /// Source: `[sdk]` Azure/iotedge, Hub.Core `SystemProperties.cs`.
    #[must_use]
    pub fn creation_time(self, value: impl Into<String>) -> Self {
        self.system(System::CreationTime, value)
    }

    /// The output of a module it leaves through (`$.on`).
    #[must_use]
    pub fn output(self, value: impl Into<String>) -> Self {
        self.system(System::Output, value)
    }

    /// The PnP component it belongs to (`$.sub`).
    #[must_use]
    pub fn component(self, value: impl Into<String>) -> Self {
        self.system(System::Component, value)
    }

    /// Marks it as a security message of the kind Microsoft's agents send (`$.ifid`).
    #[must_use]
    pub fn interface(self, value: impl Into<String>) -> Self {
        self.system(System::Interface, value)
    }

    /// An application property. A second value for a name replaces the first.
    #[must_use]
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_property(name.into(), Some(value.into()))
    }

    /// An application property that has a name and no value.
    #[must_use]
    pub fn flag(self, name: impl Into<String>) -> Self {
        self.set_property(name.into(), None)
    }

    /// The message id, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.system.iter().find(|(it, _)| *it == System::MessageId).map(|(_, value)| value.as_str())
    }

    /// The properties as they stand in the topic: system ones in the order of Microsoft's SDKs, then
    /// the application's in the order they were set.
    ///
    /// Source: vectors `telemetry-*`.
    #[must_use]
    pub fn property_bag(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.ordered_system() {
            push_entry(&mut text, name, Some(value));
        }
        for (name, value) in &self.application {
            push_entry(&mut text, name, value.as_deref());
        }
        text
    }

    /// Bytes as the service counts them: body, values of system properties, names and values of
    /// application properties.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md, "Message size".
    #[must_use]
    pub fn size(&self) -> usize {
        let system: usize = self.system.iter().map(|(_, value)| value.len()).sum();
        let application: usize =
            self.application.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len)).sum();
        self.body.len() + system + application
    }

    /// Whether the service would take it: size, length of ids, names that are not empty.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`] with size and limit, [`ProtoError::PropertyBag`] with the rule.
    pub fn check(&self) -> Result<(), ProtoError> {
        let too_large = |what, size, limit| Err(ProtoError::TooLarge { what, size, limit });
        if self.size() > limits::TELEMETRY_MAX {
            return too_large("the message (body and properties)", self.size(), limits::TELEMETRY_MAX);
        }
        for (name, value) in &self.system {
            if matches!(name, System::MessageId | System::CorrelationId) && value.len() > limits::MESSAGE_ID_MAX {
                return too_large("the message or correlation id", value.len(), limits::MESSAGE_ID_MAX);
            }
        }
        if self.application.iter().any(|(name, _)| name.is_empty()) {
            return Err(ProtoError::PropertyBag { rule: "a property has an empty name" });
        }
        Ok(())
    }

    /// A message as a server reads it: the body of a publish and the bag of its topic.
    #[must_use]
    pub fn from_wire(body: Bytes, bag: &PropertyBag) -> Self {
        let mut message = Self::new(body);
        for (name, value) in bag.iter() {
            let known = System::ALL.into_iter().find(|it| it.name() == name);
            match (known, value) {
                (Some(known), Some(value)) => message = message.system(known, value),
                // Names in a bag are different.
                _ => message.application.push((name.to_owned(), value.map(str::to_owned))),
            }
        }
        message
    }

    /// System properties with their wire names, in wire order.
    pub fn system_properties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.ordered_system()
    }

    /// Application properties in the order they were set.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.application.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn ordered_system(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.system.iter().map(|(name, value)| (name.name(), value.as_str()))
    }

    fn system(mut self, name: System, value: impl Into<String>) -> Self {
        let value = value.into();
        match self.system.binary_search_by_key(&name, |(it, _)| *it) {
            Ok(at) => self.system[at].1 = value,
            Err(at) => self.system.insert(at, (name, value)),
        }
        self
    }

    fn set_property(mut self, name: String, value: Option<String>) -> Self {
        match self.application.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = value,
            None => self.application.push((name, value)),
        }
        self
    }
}

/// The system properties a device may set, in the order they stand in a topic.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Sending device-to-cloud messages"; order:
/// vectors `telemetry-all-system`, `telemetry-output`; `$.sub` `[sdk]` azure-iot-sdk-node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum System {
    Output,
    MessageId,
    CorrelationId,
    UserId,
    ContentType,
    ContentEncoding,
    Interface,
    Expiry,
    CreationTime,
    Component,
}

impl System {
    const ALL: [Self; 10] = [
        Self::Output,
        Self::MessageId,
        Self::CorrelationId,
        Self::UserId,
        Self::ContentType,
        Self::ContentEncoding,
        Self::Interface,
        Self::Expiry,
        Self::CreationTime,
        Self::Component,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Output => "$.on",
            Self::MessageId => "$.mid",
            Self::CorrelationId => "$.cid",
            Self::UserId => "$.uid",
            Self::ContentType => "$.ct",
            Self::ContentEncoding => "$.ce",
            Self::Interface => "$.ifid",
            Self::Expiry => "$.exp",
            Self::CreationTime => "$.ctime",
            Self::Component => "$.sub",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let message = Message::new("body")
            .property("b", "2")
            .component("thermostat1")
            .message_id("m 1")
            .flag("a")
            .property("b", "3")
            .message_id("m 2");
        let bag = PropertyBag::parse(&message.property_bag()).expect("our own bag");
        assert_eq!(Message::from_wire("body".into(), &bag), message);
        assert_eq!(message.property_bag(), "%24.mid=m%202&%24.sub=thermostat1&b=3&a");
        assert_eq!(message.id(), Some("m 2"));
    }

    #[test]
    fn counts_as_the_service_counts() {
        let full = |len: usize| Message::new(vec![0; len]).message_id("mid").property("name", "value");
        let rest = 3 + 4 + 5;
        assert_eq!(full(100).size(), 100 + rest);
        assert!(full(limits::TELEMETRY_MAX - rest).check().is_ok());
        let error = full(limits::TELEMETRY_MAX - rest + 1).check().expect_err("one too many");
        assert_eq!(
            error.to_string(),
            "the message (body and properties) has 262145 bytes, but at most 262144 are allowed"
        );
        assert!(Message::new("").message_id("m".repeat(129)).check().is_err());
        assert!(Message::new("").property("", "v").check().is_err());
    }

    #[test]
    fn json_says_what_it_is() {
        let message = Message::json(&serde_json::json!({"windSpeed": 12.5})).expect("JSON");
        assert_eq!(message.property_bag(), "%24.ct=application%2Fjson&%24.ce=utf-8");
        assert_eq!(&message.body[..], br#"{"windSpeed":12.5}"#);
    }
}
