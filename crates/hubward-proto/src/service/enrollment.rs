//! Enrollments, in the JSON format of the DPS service API and of seed files.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::dps::RegistrationState;
use crate::dps::model::word;

word! {
    /// How the devices of an enrollment authenticate.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    AttestationType {
        /// Devices do not authenticate.
        None = "none",
        /// With a trusted platform module (TPM).
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
        /// Devices may register.
        Enabled = "enabled",
        /// Devices may not register.
        Disabled = "disabled",
    }
}

word! {
    /// How DPS chooses a hub for a device.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    AllocationPolicy {
        /// DPS distributes devices evenly over the hubs.
        Hashed = "hashed",
        /// DPS chooses the hub with the lowest latency to the device.
        GeoLatency = "geoLatency",
        /// DPS chooses the hub that the enrollment names.
        Static = "static",
        /// A webhook chooses the hub.
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
    /// The registration id of the device. DPS ignores its letter case.
    pub registration_id: String,
    /// The id of the device at its hub. If it is absent, the registration id is also the device id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The settings that individual enrollments and groups share.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
    /// Additional information about the device, in any form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional_device_information: Option<Value>,
    /// The record of the device's registration; read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

impl IndividualEnrollment {
    /// Creates an enrollment for this registration id, with a symmetric key that the service generates.
    #[must_use]
    pub fn new(registration_id: impl Into<String>) -> Self {
        Self {
            registration_id: registration_id.into(),
            settings: EnrollmentSettings::symmetric_key(),
            ..Self::default()
        }
    }
}

/// An enrollment of any number of devices. With symmetric keys, the key of each device is derived from the group key.
///
/// Source: `[doc]` azure-rest-api-specs, `EnrollmentGroup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EnrollmentGroup {
    /// The name of the group.
    pub enrollment_group_id: String,
    /// The settings that individual enrollments and groups share.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
}

impl EnrollmentGroup {
    /// Creates a group with a symmetric key that the service generates.
    #[must_use]
    pub fn new(enrollment_group_id: impl Into<String>) -> Self {
        Self { enrollment_group_id: enrollment_group_id.into(), settings: EnrollmentSettings::symmetric_key() }
    }
}

/// The settings that individual enrollments and groups share.
///
/// Source: `[doc]` azure-rest-api-specs, `IndividualEnrollment` and `EnrollmentGroup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct EnrollmentSettings {
    /// How the devices authenticate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// Whether devices may register; enabled if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_status: Option<ProvisioningStatus>,
    /// How DPS handles a device that registers again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// How DPS chooses a hub; the service's default (hashed) if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// Host names of the hubs that DPS may choose from. If the list is absent or empty, DPS chooses from all linked
    /// hubs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// The host name of one hub: an older form of `iot_hubs`. If this member is present, DPS uses static allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hub_host_name: Option<String>,
    /// The initial twin of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwin>,
    /// Capabilities such as IoT Edge; not interpreted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Value>,
    /// The webhook of a custom allocation; not interpreted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_allocation_definition: Option<Value>,
    /// The name of the policy by which DPS issues certificates to the devices, in 2025-07-01-preview. See
    /// [`EnrollmentSettings::certificate_policy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_policy_name: Option<Value>,
    /// The policy for issuing device certificates, in 2021-11-01-preview; not interpreted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_issuance_policy: Option<Value>,
    /// The namespace of the authority that issues certificates to the devices, in 2026-11-01. This version has three
    /// members: all of them are present, or none. See [`EnrollmentSettings::certificate_policy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_name: Option<Value>,
    /// The name of the authority in `namespace_name`, in 2026-11-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_name: Option<Value>,
    /// The name of the policy of the authority in `certificate_authority_name`, in 2026-11-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_policy_name: Option<Value>,
    /// The certificates that devices trust, in previews; not interpreted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_bundle_id: Option<Value>,
    /// The version of the enrollment; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the enrollment was created; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// When the enrollment last changed; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
}

impl EnrollmentSettings {
    /// Creates settings with symmetric-key attestation only. The service generates the keys.
    #[must_use]
    pub fn symmetric_key() -> Self {
        Self { attestation: Some(Attestation::symmetric_key(None)), ..Self::default() }
    }

    /// Returns whether devices may register.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !matches!(self.provisioning_status, Some(ProvisioningStatus::Disabled))
    }
}

/// How the devices of an enrollment authenticate.
///
/// Source: `[doc]` azure-rest-api-specs, `AttestationMechanism`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attestation {
    /// The type of attestation.
    #[serde(rename = "type")]
    pub kind: AttestationType,
    /// The keys. The service generates them if they are absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// The certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Attestation>,
    /// The keys of a TPM; not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Value>,
}

impl Attestation {
    /// Attestation with symmetric keys. With `None`, the service generates the keys.
    #[must_use]
    pub const fn symmetric_key(keys: Option<SymmetricKeys>) -> Self {
        Self { kind: AttestationType::SymmetricKey, symmetric_key: keys, x509: None, tpm: None }
    }

    /// Attestation with certificates.
    #[must_use]
    pub const fn x509(certificates: X509Attestation) -> Self {
        Self { kind: AttestationType::X509, symmetric_key: None, x509: Some(certificates), tpm: None }
    }
}

/// The certificates of an enrollment. Exactly one member is set.
///
/// Source: `[doc]` azure-rest-api-specs, `X509Attestation`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct X509Attestation {
    /// The device's own certificates, for an individual enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<X509Certificates>,
    /// The certificates of the authority that issues the devices' certificates, for a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_certificates: Option<X509Certificates>,
    /// The names of authorities whose certificates the service knows, for a group.
    #[serde(rename = "caReferences", skip_serializing_if = "Option::is_none")]
    pub ca_references: Option<X509CaReferences>,
}

impl X509Attestation {
    /// The certificates of one device. A device can use either.
    #[must_use]
    pub fn client(primary: impl Into<String>, secondary: Option<String>) -> Self {
        Self { client_certificates: Some(X509Certificates::new(primary, secondary)), ..Self::default() }
    }

    /// The certificates of an authority that issues the certificates of a group's devices.
    #[must_use]
    pub fn signing(primary: impl Into<String>, secondary: Option<String>) -> Self {
        Self { signing_certificates: Some(X509Certificates::new(primary, secondary)), ..Self::default() }
    }

    /// The names of authorities that issue the certificates of a group's devices.
    #[must_use]
    pub fn authorities(primary: impl Into<String>, secondary: Option<String>) -> Self {
        let references = X509CaReferences { primary: Some(primary.into()), secondary };
        Self { ca_references: Some(references), ..Self::default() }
    }
}

/// A primary and a secondary certificate.
///
/// Source: `[doc]` azure-rest-api-specs, `X509Certificates`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Certificates {
    /// The first certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<X509CertificateWithInfo>,
    /// The second certificate, for example while certificates are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<X509CertificateWithInfo>,
}

impl X509Certificates {
    fn new(primary: impl Into<String>, secondary: Option<String>) -> Self {
        let with = |certificate| X509CertificateWithInfo { certificate: Some(certificate), info: None };
        Self { primary: Some(with(primary.into())), secondary: secondary.map(with) }
    }
}

/// A certificate, and what the service read from it.
///
/// Source: `[doc]` azure-rest-api-specs, `X509CertificateWithInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509CertificateWithInfo {
    /// The certificate: PEM, or base64 of DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The contents of the certificate; read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<X509CertificateInfo>,
}

/// The contents of a certificate, as the service shows them. JSON that this type writes has all members. In JSON that
/// it reads, an absent member or `null` is the default.
///
/// Source: `[doc]` azure-rest-api-specs, `X509CertificateInfo`; `[sdk]` azure-iot-sdk-java, which fails if a member is
/// absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509CertificateInfo {
    /// The subject, such as `CN=dev-1, O=Contoso`.
    #[serde(deserialize_with = "null_is_default")]
    pub subject_name: String,
    /// SHA-1 of the certificate, 40 upper-case hexadecimal digits.
    #[serde(deserialize_with = "null_is_default")]
    pub sha1_thumbprint: String,
    /// SHA-256 of the certificate, 64 upper-case hexadecimal digits.
    #[serde(deserialize_with = "null_is_default")]
    pub sha256_thumbprint: String,
    /// The issuer.
    #[serde(deserialize_with = "null_is_default")]
    pub issuer_name: String,
    /// The start of the validity.
    #[serde(deserialize_with = "null_is_default")]
    pub not_before_utc: String,
    /// The end of the validity.
    #[serde(deserialize_with = "null_is_default")]
    pub not_after_utc: String,
    /// The serial number, hexadecimal.
    #[serde(deserialize_with = "null_is_default")]
    pub serial_number: String,
    /// The X.509 version: 1, 2 or 3.
    #[serde(deserialize_with = "null_is_default")]
    pub version: i32,
}

/// The names of two authorities whose certificates the service knows.
///
/// Source: `[doc]` azure-rest-api-specs, `X509CAReferences`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509CaReferences {
    /// The name of the first authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The name of the second authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<String>,
}

/// Two keys as base64. A device may sign with either key. `Debug` output contains no key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SymmetricKeys {
    /// The first key, base64 of 16 to 64 bytes. An empty text is `null` in JSON.
    #[serde(serialize_with = "empty_is_null", deserialize_with = "null_is_default")]
    pub primary_key: String,
    /// The second key, base64 of 16 to 64 bytes. An empty text is `null` in JSON.
    #[serde(serialize_with = "empty_is_null", deserialize_with = "null_is_default")]
    pub secondary_key: String,
}

impl fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

/// How DPS handles a device that registers again.
///
/// Source: `[doc]` iot-dps/concepts-device-reprovision.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReprovisionPolicy {
    /// Whether DPS chooses a hub again.
    #[serde(default = "yes")]
    pub update_hub_assignment: bool,
    /// Whether DPS moves the twin to the new hub.
    #[serde(default = "yes")]
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    fn default() -> Self {
        Self { update_hub_assignment: true, migrate_device_data: true }
    }
}

/// The initial twin of a device.
///
/// Source: `[doc]` azure-rest-api-specs, `InitialTwin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitialTwin {
    /// The tags. Devices do not get the tags.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub tags: Map<String, Value>,
    /// The properties.
    #[serde(deserialize_with = "null_is_default")]
    pub properties: TwinProperties,
}

/// The properties of an initial twin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TwinProperties {
    /// The desired properties.
    #[serde(deserialize_with = "null_is_default")]
    pub desired: Map<String, Value>,
    /// The reported properties, in previews.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub reported: Map<String, Value>,
}

/// Deserializes `null` as the default, because some clients send `null` for absent members.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Serializes an empty text as `null`, as the service does.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `SymmetricKey` of a device without keys.
fn empty_is_null<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() { to.serialize_none() } else { to.serialize_str(text) }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_enrollment() {
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
    fn null_means_the_same_as_absent() {
        let text = r#"{"registrationId":"d1","deviceId":null,"iotHubs":null,"attestation":{"type":"symmetricKey",
            "symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509":null},
            "initialTwin":{"tags":null,"properties":{"desired":null}}}"#;
        let enrollment: IndividualEnrollment = serde_json::from_str(text).expect("nulls");
        assert_eq!(enrollment.settings.initial_twin, Some(InitialTwin::default()));
        let keys = enrollment.settings.attestation.expect("an attestation").symmetric_key.expect("keys");
        assert_eq!(keys, SymmetricKeys::default());
        let info: X509CertificateInfo =
            serde_json::from_str(r#"{"subjectName":"CN=a","version":null,"serialNumber":null}"#).expect("half an info");
        assert_eq!(info, X509CertificateInfo { subject_name: "CN=a".into(), ..X509CertificateInfo::default() });
        let twin: InitialTwin = serde_json::from_str(r#"{"properties":null}"#).expect("nulls");
        assert_eq!(twin, InitialTwin::default());
    }

    #[test]
    fn debug_prints_no_key() {
        let mut enrollment = IndividualEnrollment::new("d1");
        let keys = SymmetricKeys { primary_key: "c2VjcmV0".into(), secondary_key: "c2VjcmV0".into() };
        enrollment.settings.attestation = Some(Attestation::symmetric_key(Some(keys)));
        assert!(!format!("{enrollment:?}").contains("c2VjcmV0"));
    }
}
