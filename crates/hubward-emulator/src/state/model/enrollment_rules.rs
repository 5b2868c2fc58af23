//! The rules for the settings of an enrollment. Every interface that can change the settings checks these rules.

use hubward_proto::hub::twin;
use hubward_proto::limits;
use hubward_proto::service::{AllocationPolicy, Attestation, AttestationType, EnrollmentSettings, ProvisioningStatus};
use serde_json::Value;

use super::enroll_error::EnrollError;

/// Refuses settings that the service refuses. Also refuses settings that the emulator does not support.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
pub(crate) fn check(id: &str, settings: &EnrollmentSettings) -> Result<(), EnrollError> {
    let wrong = |problem: String| Err(EnrollError::Setting { id: id.to_owned(), problem });
    let not_emulated = |what: String| Err(EnrollError::NotEmulated { id: id.to_owned(), what });
    match &settings.attestation {
        Some(Attestation { kind: AttestationType::SymmetricKey, x509: None, tpm: None, .. }) | None => {}
        Some(Attestation { kind: AttestationType::SymmetricKey, .. }) => {
            return wrong("an attestation of type symmetricKey must have the member symmetricKey only".to_owned());
        }
        Some(Attestation { kind: AttestationType::X509, symmetric_key: None, x509: Some(_), tpm: None, .. }) => {}
        Some(Attestation { kind: AttestationType::X509, .. }) => {
            return wrong("an attestation of type x509 must have the member x509 only".to_owned());
        }
        Some(Attestation { kind, .. }) => match kind {
            AttestationType::Unknown(word) => return wrong(format!("unknown attestation type `{word}`")),
            known => return not_emulated(format!("the attestation `{known}`")),
        },
    }
    if let Some(ProvisioningStatus::Unknown(word)) = &settings.provisioning_status {
        return wrong(format!("unknown provisioningStatus `{word}`"));
    }
    if let Some(AllocationPolicy::Unknown(word)) = &settings.allocation_policy {
        return wrong(format!("unknown allocationPolicy `{word}`"));
    }
    match &settings.capabilities {
        None => {}
        Some(Value::Object(capabilities)) => match capabilities.get("iotEdge") {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::Bool(true)) => return not_emulated("an edge device (capabilities.iotEdge)".to_owned()),
            Some(_) => return wrong("capabilities.iotEdge must be true or false".to_owned()),
        },
        Some(_) => return wrong("capabilities must be an object".to_owned()),
    }
    for (name, value) in [
        ("clientCertificateIssuancePolicy", &settings.client_certificate_issuance_policy),
        ("trustBundleId", &settings.trust_bundle_id),
    ] {
        if value.as_ref().is_some_and(|it| !is_nothing(it)) {
            return not_emulated(name.to_owned());
        }
    }
    if let Err(problem) = settings.certificate_policy() {
        return wrong(problem.to_string());
    }
    let Some(initial) = &settings.initial_twin else { return Ok(()) };
    if !initial.properties.reported.is_empty() {
        return not_emulated("initialTwin.properties.reported".to_owned());
    }
    for (name, values, limit) in [
        ("tags", &initial.tags, limits::TWIN_TAGS_MAX),
        ("properties.desired", &initial.properties.desired, limits::TWIN_PROPERTIES_MAX),
    ] {
        if let Err(problem) = twin::check(values, limit) {
            return wrong(format!("initialTwin.{name} is refused: {problem}"));
        }
    }
    Ok(())
}

/// The values that some clients send for absent members.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused_and_others_are_accepted() {
        let long = "x".repeat(limits::TWIN_TAGS_MAX);
        for (settings, expected) in [
            ("{}", None),
            (r#"{"attestation": {"type": "symmetricKey"}, "provisioningStatus": "disabled"}"#, None),
            (r#"{"allocationPolicy": "custom", "capabilities": {"iotEdge": false}}"#, None),
            (r#"{"attestation": {"type": "x509"}}"#, Some("must have the member x509 only")),
            (r#"{"attestation": {"type": "x509", "x509": {}, "symmetricKey": {}}}"#, Some("the member x509 only")),
            (r#"{"attestation": {"type": "x509", "x509": {}, "tpm": {}}}"#, Some("must have the member x509 only")),
            (r#"{"attestation": {"type": "x509", "x509": {}, "symmetricKey": null, "tpm": null}}"#, None),
            (r#"{"attestation": {"type": "tpm"}}"#, Some("requires the attestation `tpm`, which is not emulated")),
            (r#"{"attestation": {"type": "key"}}"#, Some("unknown attestation type `key`")),
            (
                r#"{"attestation": {"type": "symmetricKey", "tpm": {"endorsementKey": "a"}}}"#,
                Some("must have the member symmetricKey only"),
            ),
            (r#"{"provisioningStatus": "disbled"}"#, Some("unknown provisioningStatus `disbled`")),
            (r#"{"allocationPolicy": "statik"}"#, Some("unknown allocationPolicy `statik`")),
            (r#"{"capabilities": {"iotEdge": true}}"#, Some("requires an edge device (capabilities.iotEdge)")),
            (r#"{"capabilities": {"iotEdge": "yes"}}"#, Some("capabilities.iotEdge must be true or false")),
            (r#"{"capabilities": []}"#, Some("capabilities must be an object")),
            (r#"{"credentialPolicyName": "default"}"#, None),
            (r#"{"credentialPolicyName": 7}"#, Some("must be a text")),
            (r#"{"namespaceName": "n", "certificatePolicyName": "p"}"#, Some("must all be present")),
            (r#"{"clientCertificateIssuancePolicy": {"a": 1}}"#, Some("which is not emulated")),
            (r#"{"initialTwin": {"tags": {"a.b": 1}}}"#, Some("initialTwin.tags is refused")),
            (
                r#"{"initialTwin": {"properties": {"desired": {"a.b": 1}}}}"#,
                Some("initialTwin.properties.desired is refused"),
            ),
            (&format!(r#"{{"initialTwin": {{"tags": {{"a": "{long}"}}}}}}"#), Some("initialTwin.tags is refused")),
        ] {
            let read: EnrollmentSettings = serde_json::from_str(settings).expect(settings);
            let message = check("d1", &read).err().map(|it| it.to_string());
            match expected {
                None => assert_eq!(message, None, "{settings}"),
                Some(part) => assert!(message.as_ref().is_some_and(|it| it.contains(part)), "{settings}: {message:?}"),
            }
        }
    }
}
