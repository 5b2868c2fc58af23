//! The MQTT topics to which a device publishes twin requests and responses to direct methods.
//!
//! Each topic contains a request id. The client chooses the id of a twin request. The hub chooses the id of a method
//! call, and the response repeats this id.

use crate::ProtoError;

const TWIN_GET: &str = "$iothub/twin/GET/?$rid=";
const TWIN_REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";
const METHOD_RESPONSE: &str = "$iothub/methods/res/";

/// The topic to which a device publishes a request for its twin: `$iothub/twin/GET/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinGetTopic {
    /// The id that the client chose. The response repeats it.
    pub request_id: String,
}

impl TwinGetTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{TWIN_GET}{}", self.request_id)
    }

    /// Parses the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` is another topic or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let request_id = request_id(topic.strip_prefix(TWIN_GET));
        request_id
            .map(|request_id| Self { request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/twin/GET/?$rid={id}"))
    }
}

/// The topic to which a device publishes a change of its reported properties:
/// `$iothub/twin/PATCH/properties/reported/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinReportedTopic {
    /// The id that the client chose. The response repeats it.
    pub request_id: String,
}

impl TwinReportedTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{TWIN_REPORTED}{}", self.request_id)
    }

    /// Parses the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` is another topic or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let request_id = request_id(topic.strip_prefix(TWIN_REPORTED));
        request_id
            .map(|request_id| Self { request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/twin/PATCH/properties/reported/?$rid={id}"))
    }
}

/// The topic to which a device publishes the response to a direct method:
/// `$iothub/methods/res/{status}/?$rid={id}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponseTopic {
    /// The status that the method returns; any number.
    pub status: i32,
    /// The id that the hub chose in the topic of the call. The response repeats it unchanged.
    pub request_id: String,
}

impl MethodResponseTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{METHOD_RESPONSE}{}/?$rid={}", self.status, self.request_id)
    }

    /// Parses the topic of a publish to a hub.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, or if the status or the request id is missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let parts = topic.strip_prefix(METHOD_RESPONSE).and_then(|it| it.split_once("/?$rid="));
        let read = parts.and_then(|(status, rest)| Some((status.parse().ok()?, request_id(Some(rest))?)));
        read.map(|(status, request_id)| Self { status, request_id })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/methods/res/{status}/?$rid={id}"))
    }
}

/// Returns the id at the beginning of `rest`, up to the next parameter.
fn request_id(rest: Option<&str>) -> Option<String> {
    let id = rest?.split('&').next().filter(|it| !it.is_empty())?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parser_accepts_only_its_topic() {
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
