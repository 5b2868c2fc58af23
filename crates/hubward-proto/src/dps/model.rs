//! The JSON bodies of the DPS device API. Unknown fields are ignored; unknown words are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ProtoError, RegistrationId};

/// A word of the service: known ones as variants, others kept as they came.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A word that did not exist when this was written.
            Unknown(String),
        }

        impl $name {
            /// The service's word.
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
    /// How far a registration is.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices device models.
    AssignmentStatus {
        /// Nothing decided yet; never seen in traces of devices.
        Unassigned = "unassigned",
        /// The service is looking for a hub: ask again.
        Assigning = "assigning",
        /// Done: the answer names hub and device id.
        Assigned = "assigned",
        /// Done: the service could not assign a hub.
        Failed = "failed",
        /// Done: the enrollment is switched off.
        Disabled = "disabled",
    }
}

word! {
    /// What an assignment did to the device's data.
    ///
    /// Source: `[doc]` iot-dps/concepts-device-reprovision.md.
    Substatus {
        /// First assignment, or a repeated one that changed nothing.
        InitialAssignment = "initialAssignment",
        /// Moved to another hub, twin taken along.
        DeviceDataMigrated = "deviceDataMigrated",
        /// Moved to another hub, twin as the enrollment says.
        DeviceDataReset = "deviceDataReset",
        /// Back to the state of the enrollment.
        ReprovisionedToInitialAssignment = "reprovisionedToInitialAssignment",
    }
}

/// The body of a registration.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistration`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRegistration {
    /// Who registers; must be the id of path or user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// Anything the custom allocation should see. JSON `null` counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

impl DeviceRegistration {
    /// The body for a device, with or without a payload.
    #[must_use]
    pub fn new(registration_id: &RegistrationId, payload: Option<Value>) -> Self {
        Self { registration_id: Some(registration_id.to_string()), payload }
    }

    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and JSON values always serialize")
    }

    /// Reads a body; an empty one (one SDK sends none) counts as `{}`.
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
    /// Which operation to ask about; empty or absent in some answers.
    #[serde(default)]
    pub operation_id: String,
    /// How far it is.
    pub status: AssignmentStatus,
    /// The details; absent in the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

/// What DPS knows of a device's registration.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistrationResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RegistrationState {
    /// Who registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// When the record was made; UTC with seven fractional digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// Host name of the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    /// The device's id at that hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<AssignmentStatus>,
    /// What it did to the device's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substatus: Option<Substatus>,
    /// Why it failed, as a number of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// Why it failed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When the record last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
    /// Version of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What the custom allocation sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// How the device proved itself, for a symmetric key: `{"enrollmentGroupId": …}` or `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<Value>,
    /// Which protocol the hub speaks; absent means the MQTT 3.1.1 one everybody uses.
    ///
    /// Source: `[sdk]` Azure/azure-iot-sdk, c/docs/architecture.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_profile: Option<String>,
}

/// The body of a refusal, over HTTPS and MQTT alike.
///
/// Source: `[doc]` azure-rest-api-specs, `ProvisioningServiceErrorDetails`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceError {
    /// Six digits, of which the first three are the HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// The service's id of this refusal; what its support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_id: Option<String>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_utc: Option<String>,
    /// More.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_documented_answers() {
        let operation: RegistrationOperation = serde_json::from_str(
            r#"{"operationId":"4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d","status":"assigned",
             "registrationState":{"registrationId":"d1","createdDateTimeUtc":"2024-01-02T03:04:05.1234567Z",
              "assignedHub":"contoso.azure-devices.net","deviceId":"d1","status":"assigned","substatus":"initialAssignment",
              "lastUpdatedDateTimeUtc":"2024-01-02T03:04:05.9876543Z","etag":"IjYx","x509":{}}}"#,
        )
        .expect("the documented answer");
        let state = operation.registration_state.expect("a state");
        assert_eq!(operation.status, AssignmentStatus::Assigned);
        assert_eq!(state.assigned_hub.as_deref(), Some("contoso.azure-devices.net"));
        assert_eq!(state.substatus, Some(Substatus::InitialAssignment));
    }

    #[test]
    fn keeps_words_it_does_not_know() {
        let operation: RegistrationOperation =
            serde_json::from_str(r#"{"status":"thinking","news":1}"#).expect("unknown word and field");
        assert_eq!(operation.status, AssignmentStatus::Unknown("thinking".into()));
        assert_eq!(serde_json::to_string(&operation.status).expect("JSON"), "\"thinking\"");
    }

    /// Vectors `dps-*`, Node's form.
    #[test]
    fn writes_the_shortest_body() {
        let id = RegistrationId::new("device1").expect("id");
        assert_eq!(DeviceRegistration::new(&id, None).encode(), br#"{"registrationId":"device1"}"#);
        let null = DeviceRegistration::parse(br#"{"payload": null, "registrationId": "device1"}"#).expect("JSON");
        assert_eq!(null.payload, None);
        assert_eq!(DeviceRegistration::parse(b" ").expect("empty"), DeviceRegistration::default());
    }
}
