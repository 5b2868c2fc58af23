//! The MQTT topics, besides telemetry, that a device publishes to: questions and patches of its
//! twin, answers to direct methods. Each carries an id: ours for a twin, the hub's for a method.

use crate::ProtoError;

/// Where a device asks for its twin: `$iothub/twin/GET/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinGetTopic {
    /// Chosen by the client, repeated in the answer.
    pub request_id: String,
}

impl TwinGetTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{TWIN_GET}{}", self.request_id)
    }

    /// Reads the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let request_id = request_id(topic.strip_prefix(TWIN_GET));
        request_id
            .map(|request_id| Self { request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/twin/GET/?$rid={id}"))
    }
}

/// Where a device changes its reported properties:
/// `$iothub/twin/PATCH/properties/reported/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinReportedTopic {
    /// Chosen by the client, repeated in the answer.
    pub request_id: String,
}

impl TwinReportedTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{TWIN_REPORTED}{}", self.request_id)
    }

    /// Reads the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let request_id = request_id(topic.strip_prefix(TWIN_REPORTED));
        request_id
            .map(|request_id| Self { request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/twin/PATCH/properties/reported/?$rid={id}"))
    }
}

/// Where a device answers a direct method: `$iothub/methods/res/{status}/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponseTopic {
    /// The method's own verdict; any number.
    pub status: i32,
    /// Chosen by the hub, in the topic of the call; repeated unchanged.
    pub request_id: String,
}

impl MethodResponseTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{METHOD_RESPONSE}{}/?$rid={}", self.status, self.request_id)
    }

    /// Reads the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one, or status or request id are missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let parts = topic.strip_prefix(METHOD_RESPONSE).and_then(|it| it.split_once("/?$rid="));
        let read = parts.and_then(|(status, rest)| Some((status.parse().ok()?, request_id(Some(rest))?)));
        read.map(|(status, request_id)| Self { status, request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/methods/res/{status}/?$rid={id}"))
    }
}

/// The id at the beginning of the rest of a topic, up to the next parameter.
fn request_id(rest: Option<&str>) -> Option<String> {
    let id = rest?.split('&').next().filter(|it| !it.is_empty())?;
    Some(id.to_owned())
}

const TWIN_GET: &str = "$iothub/twin/GET/?$rid=";
const TWIN_REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";
const METHOD_RESPONSE: &str = "$iothub/methods/res/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_topic_and_no_other() {
        for (topic, get, reported, method) in [
            ("$iothub/twin/GET/?$rid=1", true, false, false),
            ("$iothub/twin/GET/?$rid=1&x=y", true, false, false),
            ("$iothub/twin/GET/?$rid=", false, false, false),
            ("$iothub/twin/GET/", false, false, false),
            ("$iothub/twin/PATCH/properties/reported/?$rid=1", false, true, false),
            ("$iothub/twin/PATCH/properties/desired/?$rid=1", false, false, false),
            ("$iothub/methods/res/200/?$rid=1", false, false, true),
            ("$iothub/methods/res/-1/?$rid=a", false, false, true),
            ("$iothub/methods/res/ok/?$rid=1", false, false, false),
            ("$iothub/methods/res/200/?$rid=", false, false, false),
            ("$iothub/methods/POST/reboot/?$rid=1", false, false, false),
        ] {
            assert_eq!(TwinGetTopic::parse(topic).is_ok(), get, "{topic}");
            assert_eq!(TwinReportedTopic::parse(topic).is_ok(), reported, "{topic}");
            assert_eq!(MethodResponseTopic::parse(topic).is_ok(), method, "{topic}");
        }
    }
}
