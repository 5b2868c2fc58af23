//! The MQTT topic for telemetry, and the topic filters that a device may subscribe to.

use crate::hub::{HubIdentity, Message, PropertyBag};
use crate::{ProtoError, limits};

const CREDENTIALS: &str = "$iothub/credentials/res/#";

/// The topic to which a device or module publishes telemetry:
/// `devices/{id}[/modules/{id}]/messages/events/{bag}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `telemetry-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryTopic {
    /// The properties of the message; may be empty.
    pub bag: PropertyBag,
}

impl TelemetryTopic {
    /// Returns the topic up to the property bag. All telemetry messages of an identity have this prefix.
    #[must_use]
    pub fn prefix(identity: &HubIdentity) -> String {
        format!("{}/messages/events/", identity.topic_base())
    }

    /// Encodes the topic of one message.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`] if the properties make the topic longer than MQTT allows.
    ///
    /// [`ProtoError::Topic`] if the device or module id contains `#` or `+`. The services allow these characters in
    /// ids, but MQTT does not allow them in the topic of a message.
    pub fn encode(prefix: &str, message: &Message) -> Result<String, ProtoError> {
        // This check runs for each message, so it must be fast. The loop does not stop at the first match. For this
        // reason, the compiler can generate code that compares many bytes at a time.
        if prefix.bytes().fold(false, |found, it| found | (it == b'#') | (it == b'+')) {
            return Err(ProtoError::topic(prefix, "a device or module id with # or + cannot be used over MQTT"));
        }
        // `format!` would be slower.
        let bag = message.property_bag();
        let mut topic = String::with_capacity(prefix.len() + bag.len());
        topic.push_str(prefix);
        topic.push_str(&bag);
        if topic.len() > limits::TOPIC_MAX {
            let what = "the MQTT topic with the message's properties";
            return Err(ProtoError::TooLarge { what, size: topic.len(), limit: limits::TOPIC_MAX });
        }
        Ok(topic)
    }

    /// Parses the topic of a publish by `identity`. A topic without properties may also end without the last `/`.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form or belongs to another device.
    /// [`ProtoError::PropertyBag`] if the bag is not valid.
    pub fn parse(identity: &HubIdentity, topic: &str) -> Result<Self, ProtoError> {
        let rest = topic
            .strip_prefix(&identity.topic_base())
            .and_then(|it| it.strip_prefix("/messages/events"))
            .ok_or_else(|| ProtoError::topic(topic, "expected devices/{this device}/messages/events/{properties}"))?;
        match rest.strip_prefix('/') {
            Some(bag) => Ok(Self { bag: PropertyBag::parse(bag)? }),
            None if rest.is_empty() => Ok(Self { bag: PropertyBag::default() }),
            None => Err(ProtoError::topic(topic, "expected a / after messages/events")),
        }
    }
}

/// The topic filters that a device may subscribe to.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; `[sdk]` Azure/iotedge, SessionStateParser.cs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicFilter {
    /// Cloud-to-device messages: `devices/{id}/messages/devicebound/#`.
    CloudToDevice,
    /// Messages to a module: `devices/{id}/modules/{id}/#` or `…/inputs/#`.
    ModuleInputs,
    /// Direct methods: `$iothub/methods/POST/#`.
    Methods,
    /// Twin responses: `$iothub/twin/res/#`.
    TwinResponses,
    /// Changes of desired properties: `$iothub/twin/PATCH/properties/desired/#`.
    DesiredProperties,
    /// Answers to certificate requests: `$iothub/credentials/res/#`. A page of the documentation has
    /// `$iothub/credential/#`; the SDKs do not use this filter.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk; `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
    /// `csr-scenarions.md`.
    Credentials,
}

impl TopicFilter {
    /// Encodes the filter for `identity`. Use [`TopicFilter::CloudToDevice`] only for a device and
    /// [`TopicFilter::ModuleInputs`] only for a module.
    ///
    /// Source: vectors `hub-subscriptions-*`.
    #[must_use]
    pub fn encode(self, identity: &HubIdentity) -> String {
        match self {
            Self::CloudToDevice => format!("{}/messages/devicebound/#", identity.topic_base()),
            Self::ModuleInputs => format!("{}/inputs/#", identity.topic_base()),
            Self::Methods => "$iothub/methods/POST/#".to_owned(),
            Self::TwinResponses => "$iothub/twin/res/#".to_owned(),
            Self::DesiredProperties => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
            Self::Credentials => CREDENTIALS.to_owned(),
        }
    }

    /// Parses the filter of a SUBSCRIBE by `identity`. For methods and desired properties, accepts any text in place of
    /// the `#` at the end of the documented filter.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `filter` is not a documented filter, or belongs to another device.
    pub fn parse(identity: &HubIdentity, filter: &str) -> Result<Self, ProtoError> {
        if filter.starts_with("$iothub/methods/POST/") {
            return Ok(Self::Methods);
        }
        if filter == "$iothub/twin/res/#" {
            return Ok(Self::TwinResponses);
        }
        if filter == CREDENTIALS {
            return Ok(Self::Credentials);
        }
        if filter.starts_with("$iothub/twin/PATCH/properties/desired/") {
            return Ok(Self::DesiredProperties);
        }
        let known = match (filter.strip_prefix(&identity.topic_base()), &identity.module) {
            (Some("/messages/devicebound/#"), None) => Some(Self::CloudToDevice),
            (Some("/#" | "/inputs/#"), Some(_)) => Some(Self::ModuleInputs),
            // The embedded C SDK sends `+` instead of the device id.
            _ if filter == "devices/+/messages/devicebound/#" && identity.module.is_none() => Some(Self::CloudToDevice),
            _ => None,
        };
        known.ok_or_else(|| ProtoError::topic(filter, "it is not a documented filter of IoT Hub"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceId, HubHost, ModuleId};

    fn identity() -> HubIdentity {
        HubIdentity::new(HubHost::new("hub.example").expect("host"), DeviceId::new("d1").expect("id"))
    }

    #[test]
    fn parses_telemetry_topics_of_this_device_only() {
        for (topic, valid) in [
            ("devices/d1/messages/events", true),
            ("devices/d1/messages/events/", true),
            ("devices/d1/messages/events/a=b", true),
            ("devices/d1/messages/events/a=b/", true),
            ("devices/d1/messages/eventsX", false),
            ("devices/d1/messages/events/=b", false),
            ("devices/d2/messages/events/", false),
            ("devices/d12/messages/events/", false),
            ("devices/d1/modules/m/messages/events/", false),
            ("$iothub/twin/GET/?$rid=1", false),
        ] {
            assert_eq!(TelemetryTopic::parse(&identity(), topic).is_ok(), valid, "{topic}");
        }
    }

    #[test]
    fn refuses_topics_that_mqtt_cannot_carry() {
        let prefix = TelemetryTopic::prefix(&identity());
        let long = Message::new("").property("k", " ".repeat(limits::TOPIC_MAX / 3));
        assert!(matches!(TelemetryTopic::encode(&prefix, &long), Err(ProtoError::TooLarge { .. })));
        let odd = HubIdentity::new(HubHost::new("h").expect("host"), DeviceId::new("a#").expect("id"));
        assert!(matches!(
            TelemetryTopic::encode(&TelemetryTopic::prefix(&odd), &Message::default()),
            Err(ProtoError::Topic { .. })
        ));
    }

    #[test]
    fn parses_the_documented_filters_only() {
        let module = identity().module(ModuleId::new("m").expect("id"));
        for (identity, filter, expected) in [
            (&identity(), "devices/d1/messages/devicebound/#", Some(TopicFilter::CloudToDevice)),
            (&identity(), "devices/+/messages/devicebound/#", Some(TopicFilter::CloudToDevice)),
            (&identity(), "$iothub/methods/POST/#", Some(TopicFilter::Methods)),
            (&identity(), "$iothub/twin/res/#", Some(TopicFilter::TwinResponses)),
            (&identity(), "$iothub/credentials/res/#", Some(TopicFilter::Credentials)),
            (&identity(), "$iothub/credential/#", None),
            (&identity(), "$iothub/twin/PATCH/properties/desired/#", Some(TopicFilter::DesiredProperties)),
            (&module, "devices/d1/modules/m/inputs/#", Some(TopicFilter::ModuleInputs)),
            (&module, "devices/d1/modules/m/#", Some(TopicFilter::ModuleInputs)),
            (&module, "devices/d1/messages/devicebound/#", None),
            (&identity(), "devices/d2/messages/devicebound/#", None),
            (&identity(), "#", None),
            (&identity(), "$SYS/#", None),
        ] {
            assert_eq!(TopicFilter::parse(identity, filter).ok(), expected, "{filter}");
        }
    }
}
