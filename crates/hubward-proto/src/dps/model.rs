//! The JSON bodies of the DPS device API. Parsers ignore unknown fields. They keep an unknown status word as text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Csr, ProtoError, RegistrationId};

/// Defines an enum for a JSON string of the service. A known string becomes a variant. An unknown string becomes
/// `Unknown` and keeps its text.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A word that this version does not know.
            Unknown(String),
        }

        impl $name {
            /// Returns the service's word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use word;

word! {
    /// The status of a registration.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices device models.
    AssignmentStatus {
        /// The service has not started to assign a hub. No recorded exchange of a device with DPS contains this status.
        Unassigned = "unassigned",
        /// The service is still assigning a hub: poll again.
        Assigning = "assigning",
        /// Finished: the answer names the hub and the device id.
        Assigned = "assigned",
        /// Finished: the service could not assign a hub.
        Failed = "failed",
        /// Finished: the enrollment is disabled.
        Disabled = "disabled",
    }
}

word! {
    /// How an assignment changed the device's data.
    ///
    /// Source: `[doc]` iot-dps/concepts-device-reprovision.md.
    Substatus {
        /// The first assignment, or a later one that changed nothing.
        InitialAssignment = "initialAssignment",
        /// The device moved to another hub with its twin.
        DeviceDataMigrated = "deviceDataMigrated",
        /// The device moved to another hub; its twin was reset to the enrollment's initial twin.
        DeviceDataReset = "deviceDataReset",
        /// The device was reset to the state of the enrollment.
        ReprovisionedToInitialAssignment = "reprovisionedToInitialAssignment",
    }
}

/// The body of a registration.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistration`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRegistration {
    /// The registration id. It must equal the id in the path or user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// Data for the custom allocation webhook. JSON `null` counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// A certificate request in the form of a [`Csr`]. A server checks the form with [`Csr::new`].
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk, c/tests: the bodies with `csr`, with and without `payload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
}

impl DeviceRegistration {
    /// Creates the body for a device, with or without a payload.
    #[must_use]
    pub fn new(registration_id: &RegistrationId, payload: Option<Value>) -> Self {
        Self { registration_id: Some(registration_id.to_string()), payload, csr: None }
    }

    /// Sets [`DeviceRegistration::csr`].
    #[must_use]
    pub fn csr(mut self, csr: Option<&Csr>) -> Self {
        self.csr = csr.map(|it| it.as_str().to_owned());
        self
    }

    /// Encodes the body as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and JSON values always serialize")
    }

    /// Parses a body. An empty body counts as `{}`, because one SDK sends no body.
    ///
    /// # Errors
    /// [`ProtoError::Json`].
    pub fn parse(body: &[u8]) -> Result<Self, ProtoError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|problem| ProtoError::json(&problem, body))
    }
}

/// The answer to a registration or a poll.
///
/// Source: `[doc]` azure-rest-api-specs, `RegistrationOperationStatus`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationOperation {
    /// The id of the operation to poll; empty or absent in some answers.
    #[serde(default)]
    pub operation_id: String,
    /// The status of the registration.
    pub status: AssignmentStatus,
    /// The details; absent in the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

/// The record of a device's registration at DPS.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistrationResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RegistrationState {
    /// The registration id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// When the record was created; UTC with seven fractional digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// The host name of the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    /// The device's id at that hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The status of the registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<AssignmentStatus>,
    /// How the assignment changed the device's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substatus: Option<Substatus>,
    /// The service's error code, if the registration failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// The service's error message, if the registration failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When the record last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
    /// The version of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The payload that the custom allocation webhook returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Present if the device authenticated with a symmetric key: `{"enrollmentGroupId": …}` or `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<Value>,
    /// Present if the device authenticated with a certificate: `{"enrollmentGroupId": …}` or `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509: Option<Value>,
    /// The certificates that DPS issued for the certificate request of the registration: the certificate of the device
    /// first, then its issuers. Absent if the registration had no certificate request.
    ///
    /// The encoding of each text differs between the sources: the specification and the SDKs of C, C# and Java say
    /// base64 of DER, a page of the documentation shows PEM, and a live service sent base64 of PEM. `hubward-x509`
    /// reads all three.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `DeviceRegistrationResult` of 2025-07-01-preview; `[sdk]`
    /// Azure/azure-iot-sdk; for base64 of PEM, `[seen]` a public report of a live run, 2026-09.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_certificate_chain: Option<Vec<String>>,
    /// The name of the protocol that the hub requires. If this member is absent or `null`, the hub uses `classic`, the
    /// usual protocol over MQTT 3.1.1. The other known name is `mqttV5`.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk, c/docs/architecture.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_profile: Option<String>,
}

/// The body of a refusal, over HTTPS and MQTT.
///
/// Source: `[doc]` azure-rest-api-specs, `ProvisioningServiceErrorDetails`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceError {
    /// The six-digit error code. Its first three digits are the HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// The service's id of this refusal. Microsoft's support asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_id: Option<String>,
    /// The error message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the service refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_utc: Option<String>,
    /// Additional details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_documented_answers() {
        let operation: RegistrationOperation = serde_json::from_str(
            r#"{"operationId":"4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d","status":"assigned",
             "registrationState":{"registrationId":"d1","createdDateTimeUtc":"2024-01-02T03:04:05.1234567Z",
              "assignedHub":"contoso.azure-devices.net","deviceId":"d1","status":"assigned",
              "substatus":"initialAssignment",
              "lastUpdatedDateTimeUtc":"2024-01-02T03:04:05.9876543Z","etag":"IjYx","x509":{}}}"#,
        )
        .expect("the documented answer");
        let state = operation.registration_state.expect("a state");
        assert_eq!(operation.status, AssignmentStatus::Assigned);
        assert_eq!(state.assigned_hub.as_deref(), Some("contoso.azure-devices.net"));
        assert_eq!(state.substatus, Some(Substatus::InitialAssignment));
    }

    #[test]
    fn keeps_unknown_words() {
        let operation: RegistrationOperation =
            serde_json::from_str(r#"{"status":"thinking","news":1}"#).expect("unknown word and field");
        assert_eq!(operation.status, AssignmentStatus::Unknown("thinking".into()));
        assert_eq!(serde_json::to_string(&operation.status).expect("JSON"), "\"thinking\"");
    }

    /// Source: vectors `dps-*`, the form of Node.
    #[test]
    fn encodes_the_shortest_body() {
        let id = RegistrationId::new("device1").expect("id");
        assert_eq!(DeviceRegistration::new(&id, None).encode(), br#"{"registrationId":"device1"}"#);
        let null = DeviceRegistration::parse(br#"{"payload": null, "registrationId": "device1"}"#).expect("JSON");
        assert_eq!(null.payload, None);
        assert_eq!(DeviceRegistration::parse(b" ").expect("empty"), DeviceRegistration::default());
    }

    #[test]
    fn parses_its_own_body_with_a_certificate_request() {
        let (id, csr) = (RegistrationId::new("d1").expect("id"), Csr::new("AAAA").expect("a request"));
        let body = DeviceRegistration::new(&id, None).csr(Some(&csr));
        assert_eq!(body.encode(), br#"{"registrationId":"d1","csr":"AAAA"}"#);
        assert_eq!(DeviceRegistration::parse(&body.encode()).expect("JSON"), body);
        let null = DeviceRegistration::parse(br#"{"csr":null}"#).expect("JSON");
        assert_eq!(null.csr, None);
    }

    #[test]
    fn the_issued_chain_may_be_absent_or_null() {
        for (text, expected) in [
            (r#"{}"#, None),
            (r#"{"issuedCertificateChain":null}"#, None),
            (r#"{"issuedCertificateChain":[]}"#, Some(vec![])),
            (r#"{"issuedCertificateChain":["MII","MIJ"]}"#, Some(vec!["MII".to_owned(), "MIJ".to_owned()])),
        ] {
            let state: RegistrationState = serde_json::from_str(text).expect(text);
            assert_eq!(state.issued_certificate_chain, expected, "{text}");
        }
    }
}
