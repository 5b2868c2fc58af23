//! A direct method, as a service calls it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A call of a direct method.
///
/// Source: `[sdk]` azure-iot-hub (Python), `CloudToDeviceMethod`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MethodRequest {
    /// The method's name.
    pub method_name: String,
    /// What the device gets: `None` nothing at all, `Some(Null)` the text `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    pub payload: Option<Value>,
    /// How long the device may take, in seconds: 5 to 300, 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_in_seconds: Option<u64>,
    /// How long to wait for a device that is not connected, in seconds: 0 to 300, 0 if absent, and not
    /// longer than the device may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_in_seconds: Option<u64>,
}

impl MethodRequest {
    /// A call without a payload, the times left to the service.
    #[must_use]
    pub fn new(method_name: impl Into<String>) -> Self {
        Self { method_name: method_name.into(), ..Self::default() }
    }
}

/// What a device has answered; the status is its own, and no matter of the service.
///
/// Source: `[sdk]` azure-iot-hub (Python), `CloudToDeviceMethodResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodResult {
    /// The method's own verdict; any number.
    pub status: i32,
    /// What the method says; `Null` if it says nothing.
    #[serde(default)]
    pub payload: Value,
}

/// Tells `null` from absent.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_the_documented_call() {
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
    fn null_is_a_payload_and_nothing_is_none() {
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
