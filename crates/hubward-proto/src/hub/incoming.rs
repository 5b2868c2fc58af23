//! A message from the cloud or from another module: its body and its properties.

use bytes::Bytes;

use crate::hub::PropertyBag;

/// A message to a device or module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct IncomingMessage {
    /// The body.
    pub body: Bytes,
    /// System and application properties, in the order of the topic.
    pub bag: PropertyBag,
    /// The name of the module's input to which the message was sent. `None` for a message to a device.
    pub input: Option<String>,
}

impl IncomingMessage {
    /// Creates a message with these properties.
    pub fn new(body: impl Into<Bytes>, bag: PropertyBag) -> Self {
        Self { body: body.into(), bag, input: None }
    }

    /// Sets [`IncomingMessage::input`].
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Returns the message id that the sender chose (`$.mid`).
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.system("$.mid")
    }

    /// Returns the correlation id: the id of a related message (`$.cid`).
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.system("$.cid")
    }

    /// Returns the user id of the message (`$.uid`).
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.system("$.uid")
    }

    /// Returns the destination (`$.to`): `/devices/{id}/messages/deviceBound`.
    #[must_use]
    pub fn to(&self) -> Option<&str> {
        self.system("$.to")
    }

    /// Returns the media type of the body (`$.ct`).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.system("$.ct")
    }

    /// Returns the encoding of the body (`$.ce`).
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.system("$.ce")
    }

    /// Returns when the message expires (`$.exp`), as ISO 8601.
    #[must_use]
    pub fn expiry(&self) -> Option<&str> {
        self.system("$.exp")
    }

    /// Returns which feedback the sender requested (`iothub-ack`): `none`, `positive`, `negative` or `full`.
    #[must_use]
    pub fn ack(&self) -> Option<&str> {
        self.system("iothub-ack")
    }

    /// Returns the device that sent the message (`$.cdid`); module inputs only.
    #[must_use]
    pub fn sender_device(&self) -> Option<&str> {
        self.system("$.cdid")
    }

    /// Returns the module that sent the message (`$.cmid`); module inputs only.
    #[must_use]
    pub fn sender_module(&self) -> Option<&str> {
        self.system("$.cmid")
    }

    /// Returns the value of an application property. `None` means that the message does not have the property, and
    /// `Some(None)` means that the property has no value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Option<&str>> {
        self.bag.value(name).filter(|_| !is_system(name))
    }

    /// Returns the application properties, in the order of the topic.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.bag.iter().filter(|(name, _)| !is_system(name))
    }

    /// Returns the system properties with their wire names, in the order of the topic.
    pub fn system_properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.bag.iter().filter(|(name, _)| is_system(name))
    }

    fn system(&self, name: &str) -> Option<&str> {
        self.bag.value(name).flatten()
    }
}

/// Returns whether `name` names a system property. The hub defines the meaning of system properties.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md; `iothub-` names without `$.`:
/// vectors `decode-c2d-*`.
fn is_system(name: &str) -> bool {
    name.starts_with("$.") || matches!(name, "iothub-ack" | "iothub-operation")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: typed from `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
    #[test]
    fn separates_system_properties_from_application_properties() {
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
