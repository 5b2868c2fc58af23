//! The MQTT topics of a hub: what a device publishes to, what it may subscribe to.

use crate::hub::{HubIdentity, Message, PropertyBag};
use crate::{ProtoError, limits};

/// Where a device or module publishes telemetry:
/// `devices/{id}[/modules/{id}]/messages/events/{bag}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `telemetry-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryTopic {
    /// The properties; empty if there are none.
    pub bag: PropertyBag,
}

impl TelemetryTopic {
    /// How the topic begins, up to the bag. The same for every message of an identity.
    #[must_use]
    pub fn prefix(identity: &HubIdentity) -> String {
        format!("{}/messages/events/", identity.topic_base())
    }

    /// The topic of one message.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`] if the properties make it longer than MQTT allows;
    /// [`ProtoError::Topic`] if the device id holds `#` or `+`, which are legal there and illegal in
    /// a topic.
    pub fn encode(prefix: &str, message: &Message) -> Result<String, ProtoError> {
        // Once per message, so without an early end: the compiler compares many bytes at a time.
        if prefix.bytes().fold(false, |found, it| found | (it == b'#') | (it == b'+')) {
            return Err(ProtoError::topic(prefix, "a device or module id with # or + cannot be used over MQTT"));
        }
        // Without the machinery of `format!`, for the same reason.
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

    /// Reads the topic of a publish by `identity`; the last `/` may be missing.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one or another device's, [`ProtoError::PropertyBag`] if
    /// the bag cannot be read.
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

/// The topic filters a hub lets a device subscribe to.
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
    /// Answers about the twin: `$iothub/twin/res/#`.
    TwinResponses,
    /// Changes of desired properties: `$iothub/twin/PATCH/properties/desired/#`.
    DesiredProperties,
}

impl TopicFilter {
    /// The filter as `identity` subscribes to it. [`TopicFilter::CloudToDevice`] makes sense for a
    /// device only, [`TopicFilter::ModuleInputs`] for a module only.
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
        }
    }

    /// Reads the filter of a SUBSCRIBE by `identity`.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is none of the documented ones, or another device's.
    pub fn parse(identity: &HubIdentity, filter: &str) -> Result<Self, ProtoError> {
        if filter.starts_with("$iothub/methods/POST/") {
            return Ok(Self::Methods);
        }
        if filter == "$iothub/twin/res/#" {
            return Ok(Self::TwinResponses);
        }
        if filter.starts_with("$iothub/twin/PATCH/properties/desired/") {
            return Ok(Self::DesiredProperties);
        }
        let known = match (filter.strip_prefix(&identity.topic_base()), &identity.module) {
            (Some("/messages/devicebound/#"), None) => Some(Self::CloudToDevice),
            (Some("/#" | "/inputs/#"), Some(_)) => Some(Self::ModuleInputs),
            // The embedded C SDK does not name its device here.
            _ if filter == "devices/+/messages/devicebound/#" && identity.module.is_none() => Some(Self::CloudToDevice),
            _ => None,
        };
        known.ok_or_else(|| ProtoError::topic(filter, "not a filter that a hub documents"))
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
    fn reads_telemetry_of_this_device_only() {
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
    fn knows_the_documented_filters() {
        let module = identity().module(ModuleId::new("m").expect("id"));
        for (identity, filter, expected) in [
            (&identity(), "devices/d1/messages/devicebound/#", Some(TopicFilter::CloudToDevice)),
            (&identity(), "devices/+/messages/devicebound/#", Some(TopicFilter::CloudToDevice)),
            (&identity(), "$iothub/methods/POST/#", Some(TopicFilter::Methods)),
            (&identity(), "$iothub/twin/res/#", Some(TopicFilter::TwinResponses)),
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
