//! The MQTT topics of DPS. A device publishes registrations and polls, and subscribes to the answers.

use crate::{OperationId, ProtoError};

/// The topic filter that a device subscribes to before it publishes.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
pub const RESPONSE_FILTER: &str = "$dps/registrations/res/#";

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const OPERATION: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
const RESPONSE: &str = "$dps/registrations/res/";

/// The topic to which a device publishes its registration.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterTopic {
    /// The id that the client chose. The answer repeats it.
    pub request_id: String,
}

impl RegisterTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{REGISTER}{}", self.request_id)
    }

    /// Parses the topic of a publish to DPS.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` is another topic or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected $dps/registrations/PUT/iotdps-register/?$rid={id}");
        let rest = topic.strip_prefix(REGISTER).ok_or_else(wrong)?;
        let request_id = rest.split('&').next().unwrap_or_default();
        if request_id.is_empty() {
            return Err(wrong());
        }
        Ok(Self { request_id: request_id.to_owned() })
    }
}

/// The topic to which a device publishes a poll: the request for the status of an operation.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationTopic {
    /// The id that the client chose. The answer repeats it.
    pub request_id: String,
    /// The id of the operation.
    pub operation_id: OperationId,
}

impl OperationTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{OPERATION}{}&operationId={}", self.request_id, self.operation_id)
    }

    /// Parses the topic of a publish to DPS.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, or lacks one of the ids.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || {
            ProtoError::topic(
                topic,
                "expected $dps/registrations/GET/iotdps-get-operationstatus/?$rid={id}&operationId={id}",
            )
        };
        let mut parameters = topic.strip_prefix(OPERATION).ok_or_else(wrong)?.split('&');
        let request_id = parameters.next().filter(|it| !it.is_empty()).ok_or_else(wrong)?;
        let operation_id = parameters.find_map(|it| it.strip_prefix("operationId=")).ok_or_else(wrong)?;
        Ok(Self { request_id: request_id.to_owned(), operation_id: OperationId::new(operation_id)? })
    }
}

/// The topic to which DPS publishes its answers.
///
/// The encoder writes `$rid` before the other parameters, because one SDK requires this order and another SDK ignores
/// all parameters before `$rid`.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; `[sdk]` csharp, python; vectors
/// `dps-response-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseTopic {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The id of the request that this message answers.
    pub request_id: String,
    /// The value of `retry-after`, unparsed; see [`retry_after::parse`](crate::retry_after::parse).
    pub retry_after: Option<String>,
}

impl ResponseTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut topic = format!("{RESPONSE}{}/?$rid={}", self.status, self.request_id);
        if let Some(wait) = &self.retry_after {
            topic.push_str("&retry-after=");
            topic.push_str(wait);
        }
        topic
    }

    /// Parses the topic of an answer. The parameters may have any order; unknown ones are ignored.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, or if the status or the request id is missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected $dps/registrations/res/{status}/?$rid={id}");
        let (status, parameters) = topic.strip_prefix(RESPONSE).and_then(|it| it.split_once("/?")).ok_or_else(wrong)?;
        let parameter = |wanted: &str| {
            parameters
                .split('&')
                .filter_map(|it| it.split_once('='))
                .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.to_owned()))
        };
        Ok(Self {
            status: status.parse().ok().filter(|it| (100..1000).contains(it)).ok_or_else(wrong)?,
            request_id: parameter("$rid").filter(|it| !it.is_empty()).ok_or_else(wrong)?,
            retry_after: parameter("retry-after"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_have_any_order() {
        let expected = ResponseTopic { status: 429, request_id: "7".into(), retry_after: Some("3".into()) };
        for topic in [
            "$dps/registrations/res/429/?$rid=7&retry-after=3",
            "$dps/registrations/res/429/?retry-after=3&$rid=7",
            "$dps/registrations/res/429/?$rid=7&x=y&Retry-After=3&z",
        ] {
            assert_eq!(ResponseTopic::parse(topic).as_ref(), Ok(&expected), "{topic}");
        }
        assert_eq!(ResponseTopic::parse(&expected.encode()), Ok(expected));
    }

    #[test]
    fn refuses_other_topics() {
        for topic in [
            "",
            "$dps/registrations/res/",
            "$dps/registrations/res/200",
            "$dps/registrations/res/200/?",
            "$dps/registrations/res/200/?$rid=",
            "$dps/registrations/res/99/?$rid=1",
            "$dps/registrations/res/70000/?$rid=1",
            "$iothub/twin/res/200/?$rid=1",
        ] {
            assert!(ResponseTopic::parse(topic).is_err(), "{topic}");
        }
        assert!(RegisterTopic::parse("$dps/registrations/PUT/iotdps-register/?$rid=").is_err());
        assert!(OperationTopic::parse("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1").is_err());
        assert!(
            OperationTopic::parse("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=").is_err()
        );
    }
}
