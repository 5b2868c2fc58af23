//! The body of a hub's refusal. The body only adds details: a refusal with an invalid body is still a refusal.

use serde_json::Value;

/// The body of a refusal by a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorBody {
    /// The six-digit error code. Its first three digits are usually the HTTP status.
    pub error_code: Option<u32>,
    /// The error message, unchanged.
    pub message: Option<String>,
    /// The hub's id of this refusal. Microsoft's support asks for it.
    pub tracking_id: Option<String>,
}

impl ErrorBody {
    /// Parses the body of a refusal. Returns an empty value if the body has none of these forms:
    ///
    /// * `{"errorCode":…,"message":…,"trackingId":…}`
    /// * `{"Message":"…"}`, in which the string contains the JSON of the first form
    /// * `{"Message":"ErrorCode:…","ExceptionMessage":"Tracking ID:…"}`
    ///
    /// Source: `[sdk]` azure-iot-sdk-node, device twin errors; azure-iot-sdk-csharp,
    /// ExceptionHandlingHelper.cs and its tests.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice(body) else { return Self::default() };
        let outer = Self::read(&body);
        let inner = outer.message.as_deref().and_then(|it| serde_json::from_str(it).ok());
        match inner {
            Some(inner @ Value::Object(_)) => {
                let inner = Self::read(&inner);
                Self {
                    error_code: inner.error_code.or(outer.error_code),
                    tracking_id: inner.tracking_id.or(outer.tracking_id),
                    message: inner.message,
                }
            }
            _ => outer,
        }
    }

    fn read(body: &Value) -> Self {
        let text = |names: [&str; 2]| {
            let text = names.into_iter().find_map(|it| body.get(it)?.as_str());
            text.filter(|it| !it.trim().is_empty()).map(str::to_owned)
        };
        let code = ["errorCode", "ErrorCode"].into_iter().find_map(|it| body.get(it));
        Self {
            error_code: code.and_then(|it| match it {
                Value::String(text) => text.parse().ok(),
                number => number.as_u64().and_then(|it| u32::try_from(it).ok()),
            }),
            message: text(["message", "Message"]),
            tracking_id: text(["trackingId", "TrackingId"]).or_else(|| {
                let text = text(["ExceptionMessage", "exceptionMessage"])?;
                Some(text.strip_prefix("Tracking ID:")?.to_owned())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_body(error_code: Option<u32>, message: Option<&str>, tracking_id: Option<&str>) -> ErrorBody {
        ErrorBody { error_code, message: message.map(str::to_owned), tracking_id: tracking_id.map(str::to_owned) }
    }

    #[test]
    fn parses_every_form_and_never_fails() {
        for (body, expected) in [
            (
                concat!(
                    r#"{"errorCode":429001,"trackingId":"t-1","message":"Slow down","#,
                    r#""timestampUtc":"2022-10-19T16:47:22Z"}"#
                ),
                error_body(Some(429_001), Some("Slow down"), Some("t-1")),
            ),
            (
                concat!(
                    r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"95ae\",\"message\":\"offline\"}","#,
                    r#""ExceptionMessage":""}"#
                ),
                error_body(Some(404_103), Some("offline"), Some("95ae")),
            ),
            (
                r#"{"Message":"ErrorCode:DeviceNotFound;d1","ExceptionMessage":"Tracking ID:aeec-G:0"}"#,
                error_body(None, Some("ErrorCode:DeviceNotFound;d1"), Some("aeec-G:0")),
            ),
            (r#"{"errorCode":"400004","message":" "}"#, error_body(Some(400_004), None, None)),
            (r#"{"errorCode":-1,"message":7,"trackingId":null}"#, error_body(None, None, None)),
            (r#"{"errorCode":99999999999,"message":"m"}"#, error_body(None, Some("m"), None)),
            (r#"{"message":"{\"a\":"}"#, error_body(None, Some(r#"{"a":"#), None)),
            (r#""no object""#, error_body(None, None, None)),
            ("[1]", error_body(None, None, None)),
            ("", error_body(None, None, None)),
            ("<html>", error_body(None, None, None)),
        ] {
            assert_eq!(ErrorBody::parse(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(ErrorBody::parse(b"\xff\xfe"), ErrorBody::default());
    }
}
