//! The JSON bodies of certificate requests at a hub, and of the hub's answers.
//!
//! Source of all bodies: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md` (a live run
//! of 2026-01-30); `[sdk]` Azure/azure-iot-sdk.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hub::{ErrorBody, credential_code};
use crate::{CertificateRequestId, Csr, ProtoError};

/// The body of a certificate request: `{"id":…,"csr":…,"replace":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssueCertificate {
    /// The id of the device.
    pub id: String,
    /// The certificate request.
    pub csr: Csr,
    /// The pending request that this request replaces.
    pub replace: Option<Replace>,
}

/// The pending request that a certificate request replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replace {
    /// Whatever request is pending, if any: `*`.
    Any,
    /// The request with this id.
    Request(CertificateRequestId),
}

/// Why a hub refuses the body of a certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MalformedRequest {
    /// The body is not JSON.
    Json,
    /// The body is empty, or a part of it is not valid. Contains the broken rule.
    Argument(&'static str),
}

impl IssueCertificate {
    /// Creates a request that replaces no other request.
    #[must_use]
    pub fn new(id: impl Into<String>, csr: Csr) -> Self {
        Self { id: id.into(), csr, replace: None }
    }

    /// Sets [`IssueCertificate::replace`].
    #[must_use]
    pub fn replace(mut self, replace: Option<Replace>) -> Self {
        self.replace = replace;
        self
    }

    /// Encodes the body as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            id: &'a str,
            csr: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            replace: Option<&'a str>,
        }
        let replace = self.replace.as_ref().map(Replace::as_str);
        serde_json::to_vec(&Body { id: &self.id, csr: self.csr.as_str(), replace }).expect("strings always serialize")
    }

    /// Parses a body as strictly as a hub: refuses an unknown member, a wrong type, an empty id, and a certificate
    /// request that is empty, too long or not base64. Does not compare the id with the device.
    ///
    /// # Errors
    /// [`MalformedRequest`], which names the hub's error code.
    ///
    /// `[guess]`: `null` as `replace` counts as absent.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedRequest> {
        use MalformedRequest::{Argument, Json};
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Argument("the body is empty"));
        }
        let body: Value = serde_json::from_slice(body).map_err(|_| Json)?;
        let Value::Object(mut members) = body else { return Err(Argument("the body is not an object")) };
        let id = text(&mut members, "id").ok_or(Argument("the id is missing or not a text"))?;
        if id.is_empty() {
            return Err(Argument("the id is empty"));
        }
        let csr = text(&mut members, "csr").ok_or(Argument("the csr is missing or not a text"))?;
        let csr = Csr::new(csr).map_err(|_| Argument("the csr is empty, too long or not base64"))?;
        let replace = match members.remove("replace") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(Replace::parse(text)?),
            Some(_) => return Err(Argument("replace is not a text")),
        };
        if !members.is_empty() {
            return Err(Argument("the body has an unknown member"));
        }
        Ok(Self { id, csr, replace })
    }
}

impl Replace {
    fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Request(id) => id.as_str(),
        }
    }

    fn parse(text: String) -> Result<Self, MalformedRequest> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let id = CertificateRequestId::new(text);
        id.map(Self::Request).map_err(|_| MalformedRequest::Argument("replace is neither * nor the id of a request"))
    }
}

impl MalformedRequest {
    /// Returns the error code with which a hub refuses the body. The status is 400.
    #[must_use]
    pub const fn error_code(&self) -> u32 {
        match self {
            Self::Json => credential_code::MALFORMED_JSON,
            Self::Argument(_) => credential_code::ARGUMENT_INVALID,
        }
    }
}

impl fmt::Display for MalformedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the body is not JSON",
            Self::Argument(rule) => rule,
        })
    }
}

/// The body of the answer 202: the hub works on the request. The parser accepts any body, because the status alone says
/// this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateAccepted {
    /// The hub's id of the operation.
    pub correlation_id: Option<String>,
    /// When the hub gives up the request, about 12 hours later; UTC with nine fractional digits.
    pub operation_expires: Option<String>,
}

impl CertificateAccepted {
    /// Encodes the body as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings always serialize")
    }

    /// Parses a body. Returns an empty value if the body is not the expected JSON.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// The body of the answer 200: the issued certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IssuedCertificates {
    /// The hub's id of the operation.
    pub correlation_id: Option<String>,
    /// The certificate of the device first, then its issuers. For the encoding of each text, see
    /// [`RegistrationState::issued_certificate_chain`](crate::dps::RegistrationState::issued_certificate_chain).
    pub certificates: Vec<String>,
}

impl IssuedCertificates {
    /// Encodes the body as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings always serialize")
    }

    /// Parses a body.
    ///
    /// # Errors
    /// [`ProtoError::Json`]. [`ProtoError::Missing`] if the list of certificates is absent or empty.
    pub fn parse(body: &[u8]) -> Result<Self, ProtoError> {
        let read: Self = serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))?;
        if read.certificates.is_empty() { Err(ProtoError::Missing("certificates")) } else { Ok(read) }
    }
}

/// The body of a refusal. The parser accepts any body, because the status alone is a refusal.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRefusal {
    /// The six-digit error code, see [`credential_code`].
    pub error_code: Option<u32>,
    /// The error message.
    pub message: Option<String>,
    /// The hub's id of this refusal. Microsoft's support asks for it.
    pub tracking_id: Option<String>,
    /// When the hub refused the request; UTC with nine fractional digits.
    pub timestamp_utc: Option<String>,
    /// Details: an object, or `null`. For [`credential_code::ALREADY_PENDING`], the object has the member `requestId`.
    pub info: Option<Map<String, Value>>,
    /// How many seconds to wait before the next request, if the hub names a time. That the unit is seconds is a
    /// `[guess]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl CertificateRefusal {
    /// Returns the `info` of [`credential_code::ALREADY_PENDING`]: the pending request, and the hub's answer to it.
    #[must_use]
    pub fn pending_info(request_id: &str, answer: &CertificateAccepted) -> Map<String, Value> {
        let CertificateAccepted { correlation_id, operation_expires } = answer;
        object([
            ("requestId", request_id.into()),
            ("operationExpires", operation_expires.clone().into()),
            ("correlationId", correlation_id.clone().into()),
        ])
    }

    /// Returns the `info` of [`credential_code::REPLACED_UNKNOWN`]: the id in the member `replace`.
    #[must_use]
    pub fn replaced_info(request_id: &str) -> Map<String, Value> {
        object([("requestId", request_id.into())])
    }

    /// Returns the `info` of [`credential_code::CSR_REFUSED`].
    #[must_use]
    pub fn csr_info() -> Map<String, Value> {
        object([("credentialError", "400000".into()), ("credentialMessage", "CSR did not pass verification".into())])
    }

    /// Encodes the body as JSON. Absent members are `null`, except for `retryAfter`, which is then absent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and JSON values always serialize")
    }

    /// Parses a body. Returns an empty value if the body is not the expected JSON.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let ErrorBody { error_code, message, tracking_id } = ErrorBody::parse(body);
        let read: Value = serde_json::from_slice(body).unwrap_or_default();
        Self {
            error_code,
            message,
            tracking_id,
            timestamp_utc: read["timestampUtc"].as_str().map(str::to_owned),
            info: read["info"].as_object().cloned(),
            retry_after: read["retryAfter"].as_u64(),
        }
    }

    /// Returns [`CertificateRefusal::retry_after`] as a duration.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after.map(Duration::from_secs)
    }

    /// Returns the id of the pending request that `info` names.
    #[must_use]
    pub fn pending_request(&self) -> Option<&str> {
        self.info.as_ref()?.get("requestId")?.as_str()
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> IssueCertificate {
        IssueCertificate::new("d1", Csr::new("AAAA").expect("base64"))
    }

    #[test]
    fn parses_its_own_request() {
        let id = CertificateRequestId::new("a1b2").expect("an id");
        for (replace, expected) in [
            (None, r#"{"id":"d1","csr":"AAAA"}"#),
            (Some(Replace::Any), r#"{"id":"d1","csr":"AAAA","replace":"*"}"#),
            (Some(Replace::Request(id)), r#"{"id":"d1","csr":"AAAA","replace":"a1b2"}"#),
        ] {
            let request = request().replace(replace);
            assert_eq!(String::from_utf8(request.encode()).as_deref(), Ok(expected));
            assert_eq!(IssueCertificate::parse(expected.as_bytes()), Ok(request));
        }
    }

    /// Source: `[seen]` `csr-scenarions.md`; which rule the hub names is our choice.
    #[test]
    fn refuses_what_the_service_refuses() {
        let long = format!(r#"{{"id":"d1","csr":"{}"}}"#, "A".repeat(8196));
        for (body, code) in [
            ("", 400_004),
            (" ", 400_004),
            ("[]", 400_004),
            (r#"["d1","AAAA"]"#, 400_004),
            (r#"{"id":"d1","csr":""}"#, 400_004),
            (&long, 400_004),
            (r#"{"id":"d1","csr":"not base64"}"#, 400_004),
            (r#"{"id":"d1"}"#, 400_004),
            (r#"{"id":"d1","csr":7}"#, 400_004),
            (r#"{"id":"","csr":"AAAA"}"#, 400_004),
            (r#"{"csr":"AAAA"}"#, 400_004),
            (r#"{"id":"d1","csr":"AAAA","more":1}"#, 400_004),
            (r#"{"id":"d1","csr":"AAAA","replace":""}"#, 400_004),
            (r#"{"id":"d1","csr":"AAAA","replace":"-ab-"}"#, 400_004),
            (r#"{"id":"d1","csr":"AAAA","replace":true}"#, 400_004),
            (r#"{"id":"d1","csr":"AA"#, 400_006),
            ("csr", 400_006),
        ] {
            let read = IssueCertificate::parse(body.as_bytes()).map_err(|it| it.error_code());
            assert_eq!(read, Err(code), "{body:.60}");
        }
        let null = IssueCertificate::parse(br#"{"id":"d1","csr":"AAAA","replace":null}"#);
        assert_eq!(null, Ok(request()), "a null replace is absent");
    }

    #[test]
    fn answers_are_parsed_as_far_as_they_are_readable() {
        assert_eq!(CertificateAccepted::parse(b"<html>"), CertificateAccepted::default());
        let accepted = CertificateAccepted { correlation_id: Some("c".into()), operation_expires: Some("t".into()) };
        assert_eq!(CertificateAccepted::parse(&accepted.encode()), accepted);

        let issued = IssuedCertificates { correlation_id: Some("c".into()), certificates: vec!["AAAA".into()] };
        assert_eq!(IssuedCertificates::parse(&issued.encode()), Ok(issued));
        for body in ["{}", r#"{"certificates":[]}"#] {
            let read = IssuedCertificates::parse(body.as_bytes());
            assert_eq!(read, Err(ProtoError::Missing("certificates")), "{body}");
        }
        for body in ["", "[1]", r#"{"certificates":"AAAA"}"#, r#"{"certificates":[1]}"#] {
            assert!(matches!(IssuedCertificates::parse(body.as_bytes()), Err(ProtoError::Json { .. })), "{body}");
        }
    }

    #[test]
    fn refusals_keep_their_details() {
        let body = concat!(
            r#"{"errorCode":409004,"message":"m","trackingId":"t","timestampUtc":"2026","#,
            r#""info":{"requestId":"a1b2"},"retryAfter":5}"#
        );
        let refusal = CertificateRefusal::parse(body.as_bytes());
        assert_eq!(refusal.encode(), body.as_bytes());
        assert_eq!((refusal.pending_request(), refusal.wait()), (Some("a1b2"), Some(Duration::from_secs(5))));
        let short = br#"{"errorCode":400004,"message":"m","trackingId":"t","timestampUtc":"2026","info":null}"#;
        assert_eq!(CertificateRefusal::parse(short).encode(), short);
        for body in ["", "[]", "<html>", r#"{"info":7,"retryAfter":-1}"#] {
            let read = CertificateRefusal::parse(body.as_bytes());
            assert_eq!(read, CertificateRefusal::default(), "{body}");
        }
    }
}
