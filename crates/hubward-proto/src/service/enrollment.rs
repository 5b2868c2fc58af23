//! Enrollments, as the DPS service API writes them and a seed file holds them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::dps::RegistrationState;
use crate::dps::model::word;

word! {
    /// How devices of an enrollment prove who they are.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    AttestationType {
        /// Not at all.
        None = "none",
        /// With a trusted platform module.
        Tpm = "tpm",
        /// With a certificate.
        X509 = "x509",
        /// With a shared key.
        SymmetricKey = "symmetricKey",
    }
}

word! {
    /// Whether devices may register through an enrollment.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    ProvisioningStatus {
        /// They may.
        Enabled = "enabled",
        /// They may not.
        Disabled = "disabled",
    }
}

word! {
    /// How a hub is chosen for a device.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    AllocationPolicy {
        /// Evenly over the hubs.
        Hashed = "hashed",
        /// The hub that answers fastest from where the device is.
        GeoLatency = "geoLatency",
        /// The hub the enrollment names.
        Static = "static",
        /// As a webhook decides.
        Custom = "custom",
    }
}

/// An enrollment of one device.
///
/// Source: `[doc]` azure-rest-api-specs, `IndividualEnrollment`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct IndividualEnrollment {
    /// Whose; found without regard to letter case.
    pub registration_id: String,
    /// The id the device gets at its hub; the registration id if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What individual enrollments and groups have in common.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
    /// Free-form facts about the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional_device_information: Option<Value>,
    /// What became of the device; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

impl IndividualEnrollment {
    /// An enrollment with a symmetric key that the service generates, for the device of this id.
    #[must_use]
    pub fn new(registration_id: impl Into<String>) -> Self {
        Self {
            registration_id: registration_id.into(),
            settings: EnrollmentSettings::symmetric_key(),
            ..Self::default()
        }
    }
}

/// An enrollment of any number of devices, each with a key derived from the group's.
///
/// Source: `[doc]` azure-rest-api-specs, `EnrollmentGroup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EnrollmentGroup {
    /// The name of the group.
    pub enrollment_group_id: String,
    /// What individual enrollments and groups have in common.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
}

impl EnrollmentGroup {
    /// A group with a symmetric key that the service generates.
    #[must_use]
    pub fn new(enrollment_group_id: impl Into<String>) -> Self {
        Self { enrollment_group_id: enrollment_group_id.into(), settings: EnrollmentSettings::symmetric_key() }
    }
}

/// What individual enrollments and groups have in common.
///
/// Source: `[doc]` azure-rest-api-specs, `IndividualEnrollment` and `EnrollmentGroup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct EnrollmentSettings {
    /// How devices prove who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// Whether devices may register; enabled if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_status: Option<ProvisioningStatus>,
    /// What happens when a device registers again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// How a hub is chosen; the service's default (hashed) if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// Host names of the hubs to choose from; all linked ones if absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// The old way to name a single hub; implies a static allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hub_host_name: Option<String>,
    /// What the device's twin starts with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwin>,
    /// Edge and the like, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Value>,
    /// The webhook of a custom allocation, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_allocation_definition: Option<Value>,
    /// The policy by which certificates of devices are issued, of 2025-07-01-preview, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_policy_name: Option<Value>,
    /// The same of 2021-11-01-preview, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_issuance_policy: Option<Value>,
    /// The authority that issues certificates of devices, of further previews, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_name: Option<Value>,
    /// How that authority issues them, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_policy_name: Option<Value>,
    /// What devices trust, of previews, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_bundle_id: Option<Value>,
    /// Version of the enrollment; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was made; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// When it last changed; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
}

impl EnrollmentSettings {
    /// Symmetric-key attestation, the keys left to the service; all else absent.
    #[must_use]
    pub fn symmetric_key() -> Self {
        Self { attestation: Some(Attestation::symmetric_key(None)), ..Self::default() }
    }

    /// Whether devices may register.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !matches!(self.provisioning_status, Some(ProvisioningStatus::Disabled))
    }
}

/// How devices of an enrollment prove who they are.
///
/// Source: `[doc]` azure-rest-api-specs, `AttestationMechanism`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attestation {
    /// Which way.
    #[serde(rename = "type")]
    pub kind: AttestationType,
    /// The keys; generated by the service if absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// Certificates, as they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<Value>,
    /// Keys of a TPM, as they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Value>,
}

impl Attestation {
    /// With a shared key; `None` leaves the keys to the service.
    #[must_use]
    pub const fn symmetric_key(keys: Option<SymmetricKeys>) -> Self {
        Self { kind: AttestationType::SymmetricKey, symmetric_key: keys, x509: None, tpm: None }
    }
}

/// Two keys, each of which a device may sign with, as base64. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SymmetricKeys {
    /// The first key, base64 of 16 to 64 bytes.
    #[serde(deserialize_with = "null_is_default")]
    pub primary_key: String,
    /// The second key, base64 of 16 to 64 bytes.
    #[serde(deserialize_with = "null_is_default")]
    pub secondary_key: String,
}

impl fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

/// What happens when a device registers again.
///
/// Source: `[doc]` iot-dps/concepts-device-reprovision.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReprovisionPolicy {
    /// Whether the hub is chosen anew.
    #[serde(default = "yes")]
    pub update_hub_assignment: bool,
    /// Whether the twin moves along to another hub.
    #[serde(default = "yes")]
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    fn default() -> Self {
        Self { update_hub_assignment: true, migrate_device_data: true }
    }
}

/// What a device's twin starts with.
///
/// Source: `[doc]` azure-rest-api-specs, `InitialTwin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitialTwin {
    /// Tags, which the device does not see.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub tags: Map<String, Value>,
    /// Properties.
    #[serde(deserialize_with = "null_is_default")]
    pub properties: TwinProperties,
}

/// The properties of an initial twin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TwinProperties {
    /// What the device should be like.
    #[serde(deserialize_with = "null_is_default")]
    pub desired: Map<String, Value>,
    /// What the device has said; of previews.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub reported: Map<String, Value>,
}

/// Some clients write `null` for what they leave out.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_the_documented_enrollment() {
        let text = json!({
            "registrationId": "d1", "deviceId": "dev-1",
            "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": "YQ==", "secondaryKey": "Yg=="}},
            "capabilities": {"iotEdge": false},
            "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true},
            "allocationPolicy": "static", "iotHubs": ["contoso.azure-devices.net"],
            "initialTwin": {"tags": {"site": "a"}, "properties": {"desired": {"interval": 30}}},
            "optionalDeviceInformation": {"note": "x"},
            "registrationState": {"registrationId": "d1", "status": "assigned", "substatus": "initialAssignment"},
            "etag": "\"4f003a1b-0000-0100-0000-65a1b2c30000\"",
            "createdDateTimeUtc": "2024-01-02T03:04:05.1234567Z",
            "lastUpdatedDateTimeUtc": "2024-01-02T03:04:05.1234567Z"
        });
        let enrollment: IndividualEnrollment = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(enrollment.settings.allocation_policy, Some(AllocationPolicy::Static));
        assert!(enrollment.settings.is_enabled());
        assert_eq!(serde_json::to_value(&enrollment).expect("JSON"), text);
    }

    #[test]
    fn absent_members_stay_absent() {
        let group: EnrollmentGroup =
            serde_json::from_str(r#"{"enrollmentGroupId":"g","provisioningStatus":"disabled","news":1}"#)
                .expect("an unknown field is ignored");
        assert!(!group.settings.is_enabled());
        let text = serde_json::to_string(&group).expect("JSON");
        assert_eq!(text, r#"{"enrollmentGroupId":"g","provisioningStatus":"disabled"}"#);
        let half: ReprovisionPolicy = serde_json::from_str(r#"{"migrateDeviceData":false}"#).expect("half a policy");
        assert_eq!(half, ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: false });
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let text = r#"{"registrationId":"d1","deviceId":null,"iotHubs":null,"attestation":{"type":"symmetricKey",
            "symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509":null},
            "initialTwin":{"tags":null,"properties":{"desired":null}}}"#;
        let enrollment: IndividualEnrollment = serde_json::from_str(text).expect("nulls");
        assert_eq!(enrollment.settings.initial_twin, Some(InitialTwin::default()));
        let keys = enrollment.settings.attestation.expect("an attestation").symmetric_key.expect("keys");
        assert_eq!(keys, SymmetricKeys::default());
        let twin: InitialTwin = serde_json::from_str(r#"{"properties":null}"#).expect("nulls");
        assert_eq!(twin, InitialTwin::default());
    }

    #[test]
    fn debug_shows_no_key() {
        let mut enrollment = IndividualEnrollment::new("d1");
        let keys = SymmetricKeys { primary_key: "c2VjcmV0".into(), secondary_key: "c2VjcmV0".into() };
        enrollment.settings.attestation = Some(Attestation::symmetric_key(Some(keys)));
        assert!(!format!("{enrollment:?}").contains("c2VjcmV0"));
    }
}
