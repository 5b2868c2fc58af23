//! Direct method calls in the service API.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A direct method call.
///
/// Source: `[sdk]` azure-iot-hub (Python), `CloudToDeviceMethod`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MethodRequest {
    /// The method's name.
    pub method_name: String,
    /// The payload for the device. With `None`, the device gets an empty body. With `Some(Value::Null)`, the device
    /// gets the text `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    pub payload: Option<Value>,
    /// How long the hub waits for the device's response, in seconds: from 5 to 300; 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_in_seconds: Option<u64>,
    /// How long the hub waits for a device that is not connected, in seconds: from 0 to 300; 0 if absent. This timeout
    /// must not exceed the response timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_in_seconds: Option<u64>,
}

impl MethodRequest {
    /// Creates a call without a payload and with the default timeouts of the service.
    #[must_use]
    pub fn new(method_name: impl Into<String>) -> Self {
        Self { method_name: method_name.into(), ..Self::default() }
    }
}

/// The response of a device. The device chooses the status; the service does not interpret it.
///
/// Source: `[sdk]` azure-iot-hub (Python), `CloudToDeviceMethodResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodResult {
    /// The status that the method returned; any number.
    pub status: i32,
    /// The payload of the response; `Null` if it is empty.
    #[serde(default)]
    pub payload: Value,
}

/// Deserializes `null` as `Some(Null)`, because a payload of `null` and an absent payload have different meanings.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_call() {
        let text = json!({"methodName": "reboot", "payload": {"delay": 3}, "responseTimeoutInSeconds": 30,
            "connectTimeoutInSeconds": 0});
        let call: MethodRequest = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!((call.method_name.as_str(), call.response_timeout_in_seconds), ("reboot", Some(30)));
        assert_eq!(serde_json::to_value(&call).expect("JSON"), text);
        let result: MethodResult =
            serde_json::from_value(json!({"status": 200, "payload": {"ok": true}})).expect("the documented JSON");
        assert_eq!((result.status, result.payload), (200, json!({"ok": true})));
    }

    #[test]
    fn a_null_payload_differs_from_an_absent_payload() {
        for (text, expected) in
            [(r#"{"methodName":"m","payload":null}"#, Some(Value::Null)), (r#"{"methodName":"m"}"#, None)]
        {
            let call: MethodRequest = serde_json::from_str(text).expect("a call");
            assert_eq!(call.payload, expected, "{text}");
            assert_eq!(serde_json::to_string(&call).expect("JSON"), text);
        }
        let result: MethodResult = serde_json::from_str(r#"{"status":-1}"#).expect("a result");
        assert_eq!((result.status, result.payload), (-1, Value::Null));
    }
}
