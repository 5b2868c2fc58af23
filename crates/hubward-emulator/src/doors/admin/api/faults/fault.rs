//! A fault as JSON: `{"kind": "Delay", "millis": 500}`.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::doors::http;
use crate::state::fault::{Fault, Point};

const LONGEST: u64 = 86_400_000;

/// Maximum size of a fault, in bytes. The limit exists because the emulator keeps all fault scripts in memory.
const FAULT_MAX: usize = 64 * 1024;

/// Maximum size in bytes of a header's name, and also of its value.
///
/// The limit also applies to Retry-After over MQTT: there, the value is part of a topic, whose length is limited.
const HEADER_MAX: usize = 1024;

/// The JSON form of a [`Fault`]. The member `kind` contains the name of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum FaultBody {
    Cut,
    CutAfter {
        bytes: usize,
    },
    Never,
    Delay {
        millis: u64,
    },
    Drip {
        millis: u64,
    },
    Status {
        status: u16,
        /// By default, the status followed by 000.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
    Body {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default = "json")]
        content_type: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body_base64: Option<String>,
    },
    WrongJson,
    RetryAfter {
        value: Option<String>,
    },
    Chunked {
        bytes: usize,
    },
    Duplicate,
    Stray,
    BeforePuback,
    Connack {
        code: u8,
    },
    Suback128,
    HoldPuback,
    HoldPubackFor {
        millis: u64,
    },
    TokenExpired,
    DeviceDisabled,
    DeviceDeleted,
    HubMoved,
}

/// Checks a header of a fault. Returns the size of the header in bytes.
fn header(name: &str, text: &str) -> Result<usize, String> {
    if name.len() > HEADER_MAX || text.len() > HEADER_MAX {
        return Err("A header of a fault may have at most 1 KB.".to_owned());
    }
    match http::header(name, text) {
        Some(_) => Ok(name.len() + text.len()),
        None => Err(format!("The header `{name}` is not allowed, or its value is not valid.")),
    }
}

/// Returns an error if a fault contains too many bytes or an invalid text.
fn check(fault: &Fault) -> Result<(), String> {
    let size = match fault {
        Fault::Status { message, retry_after, .. } => {
            message.len() + retry_after.as_ref().map_or(Ok(0), |it| header("Retry-After", it))?
        }
        Fault::StatusWith { message, headers, .. } => {
            let headers: Result<Vec<_>, _> = headers.iter().map(|(name, text)| header(name, text)).collect();
            message.len() + headers?.into_iter().sum::<usize>()
        }
        Fault::Body { content_type, bytes, .. } => bytes.len().max(header("Content-Type", content_type)?),
        Fault::RetryAfter(Some(value)) => header("Retry-After", value)?,
        _ => 0,
    };
    if size > FAULT_MAX {
        return Err("A fault may have at most 64 KB: its body, or its message and headers together.".to_owned());
    }
    Ok(())
}

const fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json; charset=utf-8".to_owned()
}

impl TryFrom<FaultBody> for Fault {
    type Error = String;

    fn try_from(body: FaultBody) -> Result<Self, String> {
        let fault = match body {
            FaultBody::Cut => Self::Cut,
            FaultBody::CutAfter { bytes } => Self::CutAfter(bytes),
            FaultBody::Never => Self::Never,
            FaultBody::Delay { millis } => Self::Delay(time(millis)?),
            FaultBody::Drip { millis } => Self::Drip(time(millis)?),
            FaultBody::Status { status, code, message, retry_after, headers } => {
                let status = answer(status)?;
                let code = code.unwrap_or_else(|| u32::from(status) * 1000);
                let message = message.unwrap_or_else(|| "A scripted fault.".to_owned());
                if headers.is_empty() {
                    Self::Status { status, code, message, retry_after }
                } else {
                    let retry_after = retry_after.map(|it| ("Retry-After".to_owned(), it));
                    let headers = headers.into_iter().chain(retry_after).collect();
                    Self::StatusWith { status, code, message, headers }
                }
            }
            FaultBody::Body { status, content_type, body, body_base64 } => {
                let bytes = match (body, body_base64) {
                    (Some(text), None) => text.into_bytes(),
                    (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| "bodyBase64 is not base64.")?,
                    (None, None) => Vec::new(),
                    (Some(_), Some(_)) => return Err("Give either body or bodyBase64, not both.".to_owned()),
                };
                Self::Body { status: answer(status)?, content_type, bytes }
            }
            FaultBody::WrongJson => Self::wrong_json(),
            FaultBody::RetryAfter { value } => Self::RetryAfter(value),
            FaultBody::Chunked { bytes } => Self::Chunked(bytes),
            FaultBody::Duplicate => Self::Duplicate,
            FaultBody::Stray => Self::Stray,
            FaultBody::BeforePuback => Self::BeforePuback,
            FaultBody::Connack { code } => Self::Connack(code),
            FaultBody::Suback128 => Self::Suback128,
            FaultBody::HoldPuback => Self::HoldPuback,
            FaultBody::HoldPubackFor { millis } => Self::HoldPubackFor(time(millis)?),
            FaultBody::TokenExpired => Self::TokenExpired,
            FaultBody::DeviceDisabled => Self::DeviceDisabled,
            FaultBody::DeviceDeleted => Self::DeviceDeleted,
            FaultBody::HubMoved => Self::HubMoved,
        };
        check(&fault)?;
        Ok(fault)
    }
}

impl From<&Fault> for FaultBody {
    fn from(fault: &Fault) -> Self {
        let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match fault {
            Fault::Cut => Self::Cut,
            Fault::CutAfter(bytes) => Self::CutAfter { bytes: *bytes },
            Fault::Never => Self::Never,
            Fault::Delay(time) => Self::Delay { millis: millis(time) },
            Fault::Drip(every) => Self::Drip { millis: millis(every) },
            Fault::Status { status, code, message, retry_after } => Self::Status {
                status: *status,
                code: Some(*code),
                message: Some(message.clone()),
                retry_after: retry_after.clone(),
                headers: BTreeMap::new(),
            },
            Fault::StatusWith { status, code, message, headers } => Self::Status {
                status: *status,
                code: Some(*code),
                message: Some(message.clone()),
                retry_after: None,
                headers: headers.iter().cloned().collect(),
            },
            Fault::Body { status, content_type, bytes } => {
                let text = String::from_utf8(bytes.clone()).ok();
                let body_base64 = text.is_none().then(|| STANDARD.encode(bytes));
                Self::Body { status: *status, content_type: content_type.clone(), body: text, body_base64 }
            }
            Fault::RetryAfter(value) => Self::RetryAfter { value: value.clone() },
            Fault::Chunked(bytes) => Self::Chunked { bytes: *bytes },
            Fault::Duplicate => Self::Duplicate,
            Fault::Stray => Self::Stray,
            Fault::BeforePuback => Self::BeforePuback,
            Fault::Connack(code) => Self::Connack { code: *code },
            Fault::Suback128 => Self::Suback128,
            Fault::HoldPuback => Self::HoldPuback,
            Fault::HoldPubackFor(time) => Self::HoldPubackFor { millis: millis(time) },
            Fault::TokenExpired => Self::TokenExpired,
            Fault::DeviceDisabled => Self::DeviceDisabled,
            Fault::DeviceDeleted => Self::DeviceDeleted,
            Fault::HubMoved => Self::HubMoved,
        }
    }
}

/// The kinds that can happen at a point.
pub(super) fn kinds(point: Point) -> Vec<&'static str> {
    let none = Duration::ZERO;
    let all = [
        ("Cut", Fault::Cut),
        ("CutAfter", Fault::CutAfter(0)),
        ("Never", Fault::Never),
        ("Delay", Fault::Delay(none)),
        ("Drip", Fault::Drip(none)),
        ("Status", Fault::status(500, 500_000, "")),
        ("Body", Fault::body("")),
        ("WrongJson", Fault::wrong_json()),
        ("RetryAfter", Fault::RetryAfter(None)),
        ("Chunked", Fault::Chunked(1)),
        ("Duplicate", Fault::Duplicate),
        ("Stray", Fault::Stray),
        ("BeforePuback", Fault::BeforePuback),
        ("Connack", Fault::Connack(5)),
        ("Suback128", Fault::Suback128),
        ("HoldPuback", Fault::HoldPuback),
        ("HoldPubackFor", Fault::HoldPubackFor(none)),
        ("TokenExpired", Fault::TokenExpired),
        ("DeviceDisabled", Fault::DeviceDisabled),
        ("DeviceDeleted", Fault::DeviceDeleted),
        ("HubMoved", Fault::HubMoved),
    ];
    all.into_iter().filter(|(_, fault)| fault.fits(point)).map(|(name, _)| name).collect()
}

/// Returns an error if the status is not from 200 to 599. A scripted response must be final, and a 1xx status is not:
/// HTTP requires another response after it.
fn answer(status: u16) -> Result<u16, String> {
    if (200..600).contains(&status) { Ok(status) } else { Err("status must be 200 to 599.".to_owned()) }
}

fn time(millis: u64) -> Result<Duration, String> {
    if millis > LONGEST {
        return Err("millis must be at most 86400000 (a day). For no response, use kind Never.".to_owned());
    }
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fault(value: Value) -> Result<Fault, String> {
        let body: FaultBody = serde_json::from_value(value).map_err(|problem| problem.to_string())?;
        body.try_into()
    }

    #[test]
    fn every_kind_is_read_and_written() {
        let kinds: Vec<&str> = Point::ALL.into_iter().flat_map(kinds).collect();
        for (value, expected) in [
            (json!({"kind": "Cut"}), Fault::Cut),
            (json!({"kind": "CutAfter", "bytes": 7}), Fault::CutAfter(7)),
            (json!({"kind": "Never"}), Fault::Never),
            (json!({"kind": "Delay", "millis": 1500}), Fault::Delay(Duration::from_millis(1500))),
            (json!({"kind": "Drip", "millis": 1}), Fault::Drip(Duration::from_millis(1))),
            (
                json!({"kind": "Status", "status": 404, "code": 404_001, "message": "m"}),
                Fault::status(404, 404_001, "m"),
            ),
            (
                json!({
                    "kind": "Status", "status": 429, "code": 429_001, "message": "m",
                    "headers": {"Retry-After": "7"},
                }),
                Fault::StatusWith {
                    status: 429,
                    code: 429_001,
                    message: "m".into(),
                    headers: vec![("Retry-After".into(), "7".into())],
                },
            ),
            (
                json!({"kind": "Body", "status": 502, "contentType": "text/html", "body": "<p>"}),
                Fault::Body { status: 502, content_type: "text/html".into(), bytes: b"<p>".to_vec() },
            ),
            (
                json!({"kind": "Body", "status": 200, "contentType": "a/b", "bodyBase64": "/wA="}),
                Fault::Body { status: 200, content_type: "a/b".into(), bytes: vec![0xff, 0] },
            ),
            (json!({"kind": "RetryAfter", "value": "3"}), Fault::RetryAfter(Some("3".into()))),
            (json!({"kind": "RetryAfter", "value": null}), Fault::RetryAfter(None)),
            (json!({"kind": "Chunked", "bytes": 3}), Fault::Chunked(3)),
            (json!({"kind": "Duplicate"}), Fault::Duplicate),
            (json!({"kind": "Stray"}), Fault::Stray),
            (json!({"kind": "BeforePuback"}), Fault::BeforePuback),
            (json!({"kind": "Connack", "code": 3}), Fault::Connack(3)),
            (json!({"kind": "Suback128"}), Fault::Suback128),
            (json!({"kind": "HoldPuback"}), Fault::HoldPuback),
            (json!({"kind": "HoldPubackFor", "millis": 9}), Fault::HoldPubackFor(Duration::from_millis(9))),
            (json!({"kind": "TokenExpired"}), Fault::TokenExpired),
            (json!({"kind": "DeviceDisabled"}), Fault::DeviceDisabled),
            (json!({"kind": "DeviceDeleted"}), Fault::DeviceDeleted),
            (json!({"kind": "HubMoved"}), Fault::HubMoved),
        ] {
            assert_eq!(fault(value.clone()), Ok(expected.clone()));
            assert_eq!(json!(FaultBody::from(&expected)), value);
            assert!(kinds.contains(&value["kind"].as_str().expect("a kind")), "{value}");
        }
        assert_eq!(fault(json!({"kind": "WrongJson"})), Ok(Fault::wrong_json()));
        assert_eq!(
            fault(json!({"kind": "Status", "status": 412})),
            Ok(Fault::status(412, 412_000, "A scripted fault."))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for value in [
            json!({"kind": "cut"}),
            json!({"kind": "Delay"}),
            json!({"kind": "Delay", "millis": -1}),
            json!({"kind": "Delay", "millis": 86_400_001}),
            json!({"kind": "Delay", "seconds": 1, "millis": 1}),
            json!({"kind": "Connack", "code": 256}),
            json!({"kind": "Status", "status": 99}),
            json!({"kind": "Status", "status": 101}),
            json!({"kind": "Body", "status": 1000}),
            json!({"kind": "Body", "body": "x", "bodyBase64": "eA=="}),
            json!({"kind": "Body", "bodyBase64": "?"}),
            json!({"kind": "Body", "body": "x".repeat(64 * 1024 + 1)}),
            json!({"kind": "Body", "body": "x", "contentType": "x".repeat(1025)}),
            json!({"kind": "Body", "body": "x", "contentType": "a\nb"}),
            json!({"kind": "RetryAfter", "value": "x".repeat(1025)}),
            json!({"kind": "RetryAfter", "value": "a\nb"}),
            json!({"kind": "Status", "status": 500, "message": "x".repeat(64 * 1024 + 1)}),
            json!({"kind": "Status", "status": 500, "retryAfter": "x".repeat(1025)}),
            json!({"kind": "Status", "status": 500, "headers": {"a": "x".repeat(1025)}}),
            json!({"kind": "Status", "status": 500, "headers": {"a": "b"}, "message": "x".repeat(64 * 1024)}),
            json!({"kind": "Status", "status": 500, "headers": {"content-length": "0"}}),
            json!({"kind": "Status", "status": 500, "headers": {"Transfer-Encoding": "chunked"}}),
            json!({}),
        ] {
            assert!(fault(value.clone()).is_err(), "{value}");
        }
    }
}
