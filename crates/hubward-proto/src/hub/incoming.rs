//! A message from the cloud, or from another module: body and properties as they came.

use bytes::Bytes;

use crate::hub::PropertyBag;

/// A message to a device or module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingMessage {
    /// What it carries.
    pub body: Bytes,
    /// System and application properties, in the order of the topic.
    pub bag: PropertyBag,
    /// The input it came through; modules only.
    pub input: Option<String>,
}

impl IncomingMessage {
    /// A message with these properties.
    #[must_use]
    pub fn new(body: impl Into<Bytes>, bag: PropertyBag) -> Self {
        Self { body: body.into(), bag, input: None }
    }

    /// Names the input it came through.
    #[must_use]
    pub fn through(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The sender's id of the message (`$.mid`).
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.system("$.mid")
    }

    /// The id of the message it belongs to (`$.cid`).
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.system("$.cid")
    }

    /// Who made it (`$.uid`).
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.system("$.uid")
    }

    /// Where it was sent to (`$.to`): `/devices/{id}/messages/deviceBound`.
    #[must_use]
    pub fn to(&self) -> Option<&str> {
        self.system("$.to")
    }

    /// The body's media type (`$.ct`).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.system("$.ct")
    }

    /// The body's encoding (`$.ce`).
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.system("$.ce")
    }

    /// When it stops being of use (`$.exp`), as ISO 8601.
    #[must_use]
    pub fn expiry(&self) -> Option<&str> {
        self.system("$.exp")
    }

    /// Which feedback the sender wants (`iothub-ack`): `none`, `positive`, `negative` or `full`.
    #[must_use]
    pub fn ack(&self) -> Option<&str> {
        self.system("iothub-ack")
    }

    /// The device that sent it (`$.cdid`); module inputs only.
    #[must_use]
    pub fn sender_device(&self) -> Option<&str> {
        self.system("$.cdid")
    }

    /// The module that sent it (`$.cmid`); module inputs only.
    #[must_use]
    pub fn sender_module(&self) -> Option<&str> {
        self.system("$.cmid")
    }

    /// An application property; `Some(None)` if it stands there without a value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Option<&str>> {
        self.bag.value(name).filter(|_| !is_system(name))
    }

    /// The application properties, in the order of the topic.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.bag.iter().filter(|(name, _)| !is_system(name))
    }

    /// The system properties by their wire names, in the order of the topic.
    pub fn system_properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.bag.iter().filter(|(name, _)| is_system(name))
    }

    fn system(&self, name: &str) -> Option<&str> {
        self.bag.value(name).flatten()
    }
}

/// Whether a hub, not the sender's application, gave a property its meaning.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md; `iothub-` names without `$.`:
/// vectors `decode-c2d-*`.
fn is_system(name: &str) -> bool {
    name.starts_with("$.") || matches!(name, "iothub-ack" | "iothub-operation")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed from `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
    #[test]
    fn tells_the_systems_properties_from_the_applications() {
        let bag = "%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&iothub-ack=full&k=v&flag&empty=";
        let message = IncomingMessage::new("hello", PropertyBag::parse(bag).expect("a bag"));
        assert_eq!(message.message_id(), Some("m1"));
        assert_eq!(message.to(), Some("/devices/d1/messages/deviceBound"));
        assert_eq!((message.ack(), message.correlation_id()), (Some("full"), None));
        let application: Vec<_> = message.properties().collect();
        assert_eq!(application, [("k", Some("v")), ("flag", None), ("empty", Some(""))]);
        assert_eq!((message.property("k"), message.property("$.mid")), (Some(Some("v")), None));
        assert_eq!(message.system_properties().count(), 3);
    }
}
