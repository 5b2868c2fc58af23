//! The MQTT topics with which a device requests certificates from its hub.

use crate::ProtoError;

const ISSUE_CERTIFICATE: &str = "$iothub/credentials/POST/issueCertificate/?$rid=";
const RESPONSE: &str = "$iothub/credentials/res/";

/// The topic to which a device publishes a certificate request:
/// `$iothub/credentials/POST/issueCertificate/?$rid={id}`.
///
/// Source: `[sdk]` Azure/azure-iot-sdk; `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
/// `csr-scenarions.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueCertificateTopic {
    /// The id that the client chose. The answers repeat it. Its form is
    /// [`CertificateRequestId`](crate::CertificateRequestId); the parser accepts any text.
    pub request_id: String,
}

impl IssueCertificateTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{ISSUE_CERTIFICATE}{}", self.request_id)
    }

    /// Parses the topic of a publish to a hub. Everything after `$rid=` is the request id.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` is another topic or lacks the request id.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let request_id = topic.strip_prefix(ISSUE_CERTIFICATE).filter(|it| !it.is_empty());
        request_id
            .map(|it| Self { request_id: it.to_owned() })
            .ok_or_else(|| ProtoError::topic(topic, "expected $iothub/credentials/POST/issueCertificate/?$rid={id}"))
    }

    /// Returns whether `topic` is this topic, with or without a request id. A hub does not answer a request without an
    /// id.
    #[must_use]
    pub fn is_request(topic: &str) -> bool {
        let path = ISSUE_CERTIFICATE.strip_suffix("/?$rid=").unwrap_or(ISSUE_CERTIFICATE);
        topic.strip_prefix(path).is_some_and(|it| it.is_empty() || it.starts_with('/'))
    }
}

/// The topic of an answer to a certificate request: `$iothub/credentials/res/{status}/?$rid={id}`. Nothing follows the
/// request id, because azure-iot-sdk-csharp takes everything after `$rid=` as the id.
///
/// Source: `[sdk]` Azure/azure-iot-sdk, azure-iot-sdk-csharp; `[seen]` azure-iot-sdk-csharp, branch
/// feature/iot-csr-preview, `csr-scenarions.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialResponseTopic {
    /// 202 while the hub works on the request; 200 with the certificates; 4xx or 5xx for a refusal.
    pub status: u16,
    /// The id that the client chose in the request.
    pub request_id: String,
}

impl CredentialResponseTopic {
    /// The status of the answer that the hub has accepted the request and works on it.
    pub const ACCEPTED: u16 = 202;

    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{RESPONSE}{}/?$rid={}", self.status, self.request_id)
    }

    /// Parses the topic of a publish by a hub. Ignores parameters after the request id.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, if the status is missing or not a number, or if the
    /// request id is missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected $iothub/credentials/res/{status}/?$rid={id}");
        let (status, rest) = topic.strip_prefix(RESPONSE).and_then(|it| it.split_once('/')).ok_or_else(wrong)?;
        let status = status.parse().map_err(|_| wrong())?;
        let mut parameters = rest.strip_prefix('?').ok_or_else(wrong)?.split('&');
        let request_id = parameters.find_map(|it| it.strip_prefix("$rid=")).filter(|it| !it.is_empty());
        Ok(Self { status, request_id: request_id.ok_or_else(wrong)?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_requests() {
        for (topic, expected, is_request) in [
            ("$iothub/credentials/POST/issueCertificate/?$rid=a1b2", Some("a1b2"), true),
            ("$iothub/credentials/POST/issueCertificate/?$rid=a&b", Some("a&b"), true),
            ("$iothub/credentials/POST/issueCertificate/?$rid=", None, true),
            ("$iothub/credentials/POST/issueCertificate/", None, true),
            ("$iothub/credentials/POST/issueCertificate", None, true),
            ("$iothub/credentials/POST/issueCertificates/?$rid=a1b2", None, false),
            ("$iothub/credentials/POST/?$rid=a1b2", None, false),
            ("$iothub/twin/GET/?$rid=a1b2", None, false),
        ] {
            let read = IssueCertificateTopic::parse(topic).ok();
            assert_eq!(read.as_ref().map(|it| it.request_id.as_str()), expected, "{topic}");
            assert_eq!(IssueCertificateTopic::is_request(topic), is_request, "{topic}");
            if let Some(read) = read {
                assert_eq!(read.encode(), topic);
            }
        }
    }

    #[test]
    fn parses_answers() {
        let answer = |status, id: &str| CredentialResponseTopic { status, request_id: id.into() };
        for (topic, expected) in [
            ("$iothub/credentials/res/202/?$rid=a1b2", Some(answer(202, "a1b2"))),
            ("$iothub/credentials/res/400/?$rid=a1b2&x=y", Some(answer(400, "a1b2"))),
            ("$iothub/credentials/res/200/?x=y&$rid=a1b2", Some(answer(200, "a1b2"))),
            ("$iothub/credentials/res/ok/?$rid=a1b2", None),
            ("$iothub/credentials/res/200/?$rid=", None),
            ("$iothub/credentials/res/200/", None),
            ("$iothub/credentials/res/200", None),
            ("$iothub/twin/res/200/?$rid=a1b2", None),
        ] {
            assert_eq!(CredentialResponseTopic::parse(topic).ok(), expected, "{topic}");
        }
        assert_eq!(answer(202, "a1b2").encode(), "$iothub/credentials/res/202/?$rid=a1b2");
    }
}
