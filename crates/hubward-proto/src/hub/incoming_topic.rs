//! The MQTT topics to which a hub publishes messages for a device or module.

use crate::hub::{HubIdentity, PropertyBag};
use crate::percent::{decode, encode};
use crate::{DeviceId, ProtoError};

const DEVICE_BOUND: &str = "/messages/devicebound/";
const INPUTS: &str = "/inputs/";

/// The topic of a cloud-to-device message: `devices/{id}/messages/devicebound/{bag}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `decode-c2d-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudToDeviceTopic {
    /// The system properties and the application properties. A property is a system property if its name begins with
    /// `$.`, or is `iothub-ack` or `iothub-operation`.
    pub bag: PropertyBag,
}

impl CloudToDeviceTopic {
    /// Encodes the topic for a device.
    #[must_use]
    pub fn encode(&self, device: &DeviceId) -> String {
        format!("devices/{device}{DEVICE_BOUND}{}", self.bag.encode())
    }

    /// Parses the topic of a publish to `identity`.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form or belongs to another device.
    /// [`ProtoError::PropertyBag`] if the bag is not valid.
    pub fn parse(identity: &HubIdentity, topic: &str) -> Result<Self, ProtoError> {
        let bag = topic
            .strip_prefix("devices/")
            .and_then(|it| it.strip_prefix(identity.device.as_str())?.strip_prefix(DEVICE_BOUND))
            .ok_or_else(|| {
                ProtoError::topic(topic, "expected devices/{this device}/messages/devicebound/{properties}")
            })?;
        Ok(Self { bag: PropertyBag::parse(bag)? })
    }
}

/// The topic of a message from another module: `devices/{id}/modules/{id}/inputs/{input}/{bag}`. The input is
/// percent-encoded.
///
/// Source: `[sdk]` Azure/iotedge; vector `decode-input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInputTopic {
    /// The input's name, decoded.
    pub input: String,
    /// The properties; `$.cdid` and `$.cmid` name the sender.
    pub bag: PropertyBag,
}

impl ModuleInputTopic {
    /// Encodes the topic for a module.
    #[must_use]
    pub fn encode(&self, identity: &HubIdentity) -> String {
        format!("{}{INPUTS}{}/{}", identity.topic_base(), encode(&self.input), self.bag.encode())
    }

    /// Parses the topic of a publish to `identity`.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form or belongs to another module.
    /// [`ProtoError::PropertyBag`] if the bag is not valid.
    pub fn parse(identity: &HubIdentity, topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected devices/{id}/modules/{this module}/inputs/{input}/…");
        let rest = topic.strip_prefix(&identity.topic_base()).and_then(|it| it.strip_prefix(INPUTS));
        let rest = rest.filter(|_| identity.module.is_some()).ok_or_else(wrong)?;
        let (input, bag) = rest.split_once('/').unwrap_or((rest, ""));
        let input = decode(input).filter(|it| !it.is_empty()).ok_or_else(wrong)?;
        Ok(Self { input, bag: PropertyBag::parse(bag)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HubHost, ModuleId};

    fn device() -> HubIdentity {
        HubIdentity::new(HubHost::new("hub.example").expect("host"), DeviceId::new("d1").expect("id"))
    }

    #[test]
    fn parses_messages_to_this_device_only() {
        for (topic, valid) in [
            ("devices/d1/messages/devicebound/", true),
            ("devices/d1/messages/devicebound/%24.mid=1&flag", true),
            ("devices/d1/messages/devicebound", false),
            ("devices/d2/messages/devicebound/", false),
            ("devices/d12/messages/devicebound/", false),
            ("devices/d1/messages/devicebound/=v", false),
            ("devices/d1/messages/events/", false),
        ] {
            assert_eq!(CloudToDeviceTopic::parse(&device(), topic).is_ok(), valid, "{topic}");
        }
    }

    #[test]
    fn parses_inputs_of_this_module_only() {
        let module = device().module(ModuleId::new("m").expect("id"));
        for (topic, valid) in [
            ("devices/d1/modules/m/inputs/in%201/", true),
            ("devices/d1/modules/m/inputs/in", true),
            ("devices/d1/modules/m/inputs/", false),
            ("devices/d1/modules/m/inputs/%FF/", false),
            ("devices/d1/modules/m2/inputs/in/", false),
            ("devices/d1/inputs/in/", false),
        ] {
            assert_eq!(ModuleInputTopic::parse(&module, topic).is_ok(), valid, "{topic}");
        }
        assert!(ModuleInputTopic::parse(&device(), "devices/d1/inputs/in/").is_err(), "a device has no inputs");
        let mut bag = PropertyBag::default();
        bag.set("$.cdid", Some("d2".into()));
        let topic = ModuleInputTopic { input: "a/b".into(), bag };
        assert_eq!(ModuleInputTopic::parse(&module, &topic.encode(&module)), Ok(topic));
    }
}
