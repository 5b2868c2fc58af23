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
#[must_use]
pub struct Message {
    /// The body.
    pub body: Bytes,
    /// The system properties, sorted by their position in the topic. Most messages have one or two system properties.
    system: Vec<(System, String)>,
    /// The application properties, in the order in which they were set.
    application: Vec<(String, Option<String>)>,
}

impl Message {
    /// Creates a message without properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Creates a message with `value` as JSON, content type `application/json` and encoding `utf-8`. A hub needs this
    /// content type and this encoding to route a message by the fields of its body.
    ///
    /// # Errors
    /// The error of the JSON encoder. For example, JSON cannot represent a map with keys that are not strings.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-routing-query-syntax.md, "Query based on message body".
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(Self::new(body).content_type("application/json").content_encoding("utf-8"))
    }

    /// Sets the message id, at most 128 bytes (`$.mid`).
    pub fn message_id(self, value: impl Into<String>) -> Self {
        self.system(System::MessageId, value)
    }

    /// Sets the correlation id: the id of a related message (`$.cid`).
    pub fn correlation_id(self, value: impl Into<String>) -> Self {
        self.system(System::CorrelationId, value)
    }

    /// Sets the user id of the message (`$.uid`).
    pub fn user_id(self, value: impl Into<String>) -> Self {
        self.system(System::UserId, value)
    }

    /// Sets the media type of the body, such as `application/json` (`$.ct`).
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.system(System::ContentType, value)
    }

    /// Sets the encoding of the body, such as `utf-8` (`$.ce`).
    pub fn content_encoding(self, value: impl Into<String>) -> Self {
        self.system(System::ContentEncoding, value)
    }

    /// Sets when the message expires, as ISO 8601 in UTC (`$.exp`).
    pub fn expiry(self, value: impl Into<String>) -> Self {
        self.system(System::Expiry, value)
    }

    /// Sets when the message was created, as ISO 8601 in UTC (`$.ctime`).
    ///
    /// Source: `[sdk]` Azure/iotedge, Hub.Core `SystemProperties.cs`.
    pub fn creation_time(self, value: impl Into<String>) -> Self {
        self.system(System::CreationTime, value)
    }

    /// Sets the output of the module that sends the message (`$.on`).
    pub fn output(self, value: impl Into<String>) -> Self {
        self.system(System::Output, value)
    }

    /// Sets the PnP component of the message (`$.sub`).
    pub fn component(self, value: impl Into<String>) -> Self {
        self.system(System::Component, value)
    }

    /// Marks the message as a security message, as Microsoft's security agents do (`$.ifid`).
    pub fn interface(self, value: impl Into<String>) -> Self {
        self.system(System::Interface, value)
    }

    /// Sets an application property. If the name already has a value, the new value replaces it.
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_property(name.into(), Some(value.into()))
    }

    /// Sets an application property that has a name and no value.
    pub fn flag(self, name: impl Into<String>) -> Self {
        self.set_property(name.into(), None)
    }

    /// Returns the message id, if the message has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.system.iter().find(|(it, _)| *it == System::MessageId).map(|(_, value)| value.as_str())
    }

    /// Encodes the properties for the topic. The system properties come first, in the order of Microsoft's SDKs. The
    /// application properties follow, in the order in which they were set.
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

    /// Returns the size in bytes as the service counts it. The service counts the body, the values of system
    /// properties, and the names and values of application properties.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md, "Message size".
    #[must_use]
    pub fn size(&self) -> usize {
        let system: usize = self.system.iter().map(|(_, value)| value.len()).sum();
        let application: usize =
            self.application.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len)).sum();
        self.body.len() + system + application
    }

    /// Checks the size of the message, the length of its ids, and that no property name is empty. The service refuses a
    /// message that fails a check.
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

    /// Creates a message from a received publish: from its body and the property bag of its topic.
    pub fn from_wire(body: Bytes, bag: &PropertyBag) -> Self {
        let mut message = Self::new(body);
        for (name, value) in bag.iter() {
            let known = System::ALL.into_iter().find(|it| it.name() == name);
            match (known, value) {
                (Some(known), Some(value)) => message = message.system(known, value),
                // No check for duplicates: the names in a bag are unique.
                _ => message.application.push((name.to_owned(), value.map(str::to_owned))),
            }
        }
        message
    }

    /// Returns the system properties with their wire names, in wire order.
    pub fn system_properties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.ordered_system()
    }

    /// Returns the application properties in the order in which they were set.
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

/// The system properties that a device may set, in the order of the topic.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Sending device-to-cloud messages"; for the order, vectors
/// `telemetry-all-system`, `telemetry-output`; for `$.sub`, `[sdk]` azure-iot-sdk-node.
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
    fn parses_its_own_encoding() {
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
    fn counts_bytes_as_the_service_does() {
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
    fn a_json_message_has_content_type_and_encoding() {
        let message = Message::json(&serde_json::json!({"windSpeed": 12.5})).expect("JSON");
        assert_eq!(message.property_bag(), "%24.ct=application%2Fjson&%24.ce=utf-8");
        assert_eq!(&message.body[..], br#"{"windSpeed":12.5}"#);
    }
}
