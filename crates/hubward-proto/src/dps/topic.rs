//! The MQTT topics of DPS: two a device publishes to, one it hears on.

use crate::{OperationId, ProtoError};

/// The filter a device subscribes to before it publishes.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
pub const RESPONSE_FILTER: &str = "$dps/registrations/res/#";

/// Where a device publishes its registration.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterTopic {
    /// Chosen by the client, repeated in the answer.
    pub request_id: String,
}

impl RegisterTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{REGISTER}{}", self.request_id)
    }

    /// Reads the topic of a publish to DPS.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one or lacks the request id.
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

/// Where a device publishes its question how an operation is doing.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; vectors `dps-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationTopic {
    /// Chosen by the client, repeated in the answer.
    pub request_id: String,
    /// Which operation.
    pub operation_id: OperationId,
}

impl OperationTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{OPERATION}{}&operationId={}", self.request_id, self.operation_id)
    }

    /// Reads the topic of a publish to DPS.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another one or lacks one of the ids.
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

/// Where DPS answers.
///
/// `$rid` comes first when we write it: one SDK looks for it there, and another loses whatever
/// stands before it.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md; `[sdk]` csharp, python; vectors
/// `dps-response-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseTopic {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The id of the request it answers.
    pub request_id: String,
    /// The value of `retry-after` as it stands; see [`retry_after::parse`](crate::retry_after::parse).
    pub retry_after: Option<String>,
}

impl ResponseTopic {
    /// The topic as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut topic = format!("{RESPONSE}{}/?$rid={}", self.status, self.request_id);
        if let Some(wait) = &self.retry_after {
            topic.push_str("&retry-after=");
            topic.push_str(wait);
        }
        topic
    }

    /// Reads the topic of an answer: parameters in any order, unknown ones ignored.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if it is another topic, or status or request id are missing.
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

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const OPERATION: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
const RESPONSE: &str = "$dps/registrations/res/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order() {
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
