//! A hub's refusal of an operator's request. A header contains the name of the error code. The body contains details,
//! in one of two forms.

use serde_json::{Value, json};

use crate::hub::ErrorBody;

/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md; `[sdk]` azure-iot-sdk-csharp, ErrorCode.cs.
const CODES: [(u32, &str); 44] = [
    (400_000, "GenericBadRequest"),
    (400_001, "InvalidProtocolVersion"),
    (400_003, "InvalidOperation"),
    (400_004, "ArgumentInvalid"),
    (400_005, "ArgumentNull"),
    (400_006, "IotHubFormatError"),
    (400_011, "DeviceDefinedMultipleTimes"),
    (400_013, "BulkRegistryOperationFailure"),
    (400_027, "ConnectionForcefullyClosedOnNewConnection"),
    (401_001, "IotHubNotFound"),
    (401_002, "IotHubUnauthorizedAccess"),
    (401_003, "IotHubUnauthorized"),
    (403_001, "IotHubSuspended"),
    (403_002, "IotHubQuotaExceeded"),
    (403_003, "JobQuotaExceeded"),
    (403_004, "DeviceMaximumQueueDepthExceeded"),
    (403_006, "DeviceMaximumActiveFileUploadLimitExceeded"),
    (403_012, "DeviceDisabled"),
    (403_100, "DeviceModelMaxPropertiesExceeded"),
    (403_101, "DeviceModelMaxIndexablePropertiesExceeded"),
    (403_800, "DeviceMaximumInflightMethodExceeded"),
    (404_001, "DeviceNotFound"),
    (404_002, "JobNotFound"),
    (404_010, "ModuleNotFound"),
    (404_103, "DeviceNotOnline"),
    (404_104, "DeviceConnectionClosedRemotely"),
    (409_001, "DeviceAlreadyExists"),
    (409_002, "LinkCreationConflict"),
    (409_301, "ModuleAlreadyExistsOnDevice"),
    (412_001, "PreconditionFailed"),
    (412_002, "DeviceMessageLockLost"),
    (413_001, "MessageTooLarge"),
    (413_002, "TooManyDevices"),
    (413_003, "TooManyModulesOnDevice"),
    (415_000, "GenericUnsupportedMediaType"),
    (429_000, "GenericTooManyRequests"),
    (429_001, "ThrottlingException"),
    (429_002, "ThrottleBacklogLimitExceeded"),
    (429_003, "ThrottlingBacklogTimeout"),
    (500_001, "ServerError"),
    (500_008, "GenericTimeout"),
    (503_001, "ServiceUnavailable"),
    (503_003, "PartitionNotFound"),
    (504_101, "GatewayTimeout"),
];

/// The details of a refusal: an answer of a hub with a status of 400 or more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubRefusal {
    /// The name of the error code, such as `DeviceNotFound`.
    pub name: Option<String>,
    /// The error code, such as 404001.
    pub code: Option<u32>,
    /// The error message.
    pub message: Option<String>,
    /// The hub's id of this refusal. Microsoft's support asks for it.
    pub tracking_id: Option<String>,
    /// When the hub refused the request, in the hub's format.
    pub timestamp: Option<String>,
}

impl HubRefusal {
    /// Header with the name of the error code.
    ///
    /// Source: `[sdk]` azure-iot-sdk-csharp, ExceptionHandlingHelper.cs.
    pub const HEADER: &str = "iothub-errorcode";

    /// Creates a refusal with this code and, if the code is known, its name.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            name: name_of(code).map(str::to_owned),
            code: Some(code),
            message: Some(message.into()),
            ..Self::default()
        }
    }

    /// Parses the header, if there is one, and the body in either form. Never fails: an answer with an invalid header
    /// and an invalid body is still a refusal, without details.
    ///
    /// Source: `[sdk]` azure-iot-sdk-csharp, ExceptionHandlingHelper.cs and its tests.
    #[must_use]
    pub fn parse(header: Option<&str>, body: &[u8]) -> Self {
        let error_body = ErrorBody::parse(body);
        let (mut name, mut message) =
            (header.map(str::trim).filter(|it| !it.is_empty()), error_body.message.as_deref());
        if let Some((inner, text)) = message.and_then(named) {
            name = name.or(Some(inner));
            message = Some(text);
        }
        // Some hubs send the number in the header.
        let number = name.and_then(|it| it.parse().ok());
        let name = name.filter(|_| number.is_none());
        let code = error_body.error_code.or(number).or_else(|| code_of(name?));
        Self {
            name: name.or_else(|| name_of(code?)).map(str::to_owned),
            code,
            message: message.map(str::to_owned),
            tracking_id: error_body.tracking_id,
            timestamp: timestamp(body),
        }
    }

    /// Encodes the body in the form that contains the number of the code: JSON text inside `Message`.
    #[must_use]
    pub fn to_nested(&self) -> Value {
        let inner = json!({
            "errorCode": self.code,
            "trackingId": self.tracking_id.as_deref().unwrap_or_default(),
            "message": self.message.as_deref().unwrap_or_default(),
            "timestampUtc": self.timestamp.as_deref().unwrap_or_default(),
        });
        json!({ "Message": inner.to_string(), "ExceptionMessage": "" })
    }

    /// Encodes the body in the form that contains the name of the code: `ErrorCode:{name};{message}`.
    #[must_use]
    pub fn to_named(&self) -> Value {
        let (name, message) = (self.name.as_deref().unwrap_or_default(), self.message.as_deref().unwrap_or_default());
        let tracking_id = self.tracking_id.as_deref().unwrap_or_default();
        json!({
            "Message": format!("ErrorCode:{name};{message}"),
            "ExceptionMessage": format!("Tracking ID:{tracking_id}"),
        })
    }
}

/// Splits `ErrorCode:{name};{message}` into name and message.
fn named(message: &str) -> Option<(&str, &str)> {
    let (name, text) = message.strip_prefix("ErrorCode:")?.split_once(';')?;
    Some((name.trim(), text.trim()))
}

fn timestamp(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |it: &Value| it.get("timestampUtc")?.as_str().map(str::to_owned);
    text(&body).or_else(|| text(&serde_json::from_str(body.get("Message")?.as_str()?).ok()?))
}

/// Returns the name of a hub's error code. Returns `None` for a code that is not documented.
#[must_use]
pub fn name_of(code: u32) -> Option<&'static str> {
    CODES.iter().find_map(|(it, name)| (*it == code).then_some(*name))
}

/// Returns the number of a hub's error code. Returns `None` for a name that is not documented.
#[must_use]
pub fn code_of(name: &str) -> Option<u32> {
    CODES.iter().find_map(|(code, it)| it.eq_ignore_ascii_case(name).then_some(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_refusal(name: &str, code: u32, message: &str, tracking_id: &str) -> HubRefusal {
        let tracking_id = Some(tracking_id.to_owned());
        HubRefusal { name: Some(name.into()), tracking_id, ..HubRefusal::new(code, message) }
    }

    #[test]
    fn parses_both_documented_bodies() {
        let named = concat!(
            r#"{"Message":"ErrorCode:DeviceNotFound;d1","#,
            r#""ExceptionMessage":"Tracking ID:aeec-G:0-TimeStamp:10/18/2022 20:50:39"}"#
        );
        let expected = make_refusal("DeviceNotFound", 404_001, "d1", "aeec-G:0-TimeStamp:10/18/2022 20:50:39");
        assert_eq!(HubRefusal::parse(Some("DeviceNotFound"), named.as_bytes()), expected);
        assert_eq!(HubRefusal::parse(None, named.as_bytes()), expected);

        let nested = concat!(
            r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"95ae-TimeStamp:10/19/2022 16:47:22\","#,
            r#"\"message\":\"offline\",\"timestampUtc\":\"2022-10-19T16:47:22.0203257Z\"}","ExceptionMessage":""}"#
        );
        let mut expected = make_refusal("DeviceNotOnline", 404_103, "offline", "95ae-TimeStamp:10/19/2022 16:47:22");
        expected.timestamp = Some("2022-10-19T16:47:22.0203257Z".into());
        assert_eq!(HubRefusal::parse(Some("DeviceNotOnline"), nested.as_bytes()), expected);
        assert_eq!(HubRefusal::parse(None, nested.as_bytes()), expected);
    }

    #[test]
    fn parses_incomplete_refusals() {
        for (header, body, name, code) in [
            (Some("DeviceNotFound"), "", Some("DeviceNotFound"), Some(404_001)),
            (Some("Brandnew"), "<html>", Some("Brandnew"), None),
            (Some(" "), r#"{"errorCode":429001}"#, Some("ThrottlingException"), Some(429_001)),
            (Some("404001"), "", Some("DeviceNotFound"), Some(404_001)),
            (None, r#"{"Message":"ErrorCode:PreconditionFailed"}"#, None, None),
            (None, "[1]", None, None),
        ] {
            let read = HubRefusal::parse(header, body.as_bytes());
            assert_eq!((read.name.as_deref(), read.code), (name, code), "{header:?} {body}");
        }
    }

    #[test]
    fn encodes_both_documented_bodies() {
        let mut refusal = make_refusal("DeviceNotFound", 404_001, "d1", "aeec");
        let named = refusal.to_named().to_string();
        assert_eq!(named, r#"{"ExceptionMessage":"Tracking ID:aeec","Message":"ErrorCode:DeviceNotFound;d1"}"#);
        assert_eq!(HubRefusal::parse(None, named.as_bytes()), refusal);
        refusal.timestamp = Some("2022-10-19T16:47:22Z".into());
        let nested = refusal.to_nested();
        let inner: Value = serde_json::from_str(nested["Message"].as_str().expect("a text")).expect("JSON inside");
        assert_eq!((&inner["errorCode"], &inner["message"]), (&json!(404_001), &json!("d1")));
        assert_eq!(nested["ExceptionMessage"], "");
        assert_eq!(HubRefusal::parse(None, nested.to_string().as_bytes()), refusal);
    }

    #[test]
    fn every_code_has_one_name_and_every_name_one_code() {
        for (code, name) in CODES {
            assert_eq!((name_of(code), code_of(name)), (Some(name), Some(code)));
        }
        assert_eq!((name_of(404_999), code_of("Nothing")), (None, None));
    }
}
