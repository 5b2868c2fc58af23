//! Enrollments in the emulator. An enrollment consists of the service's JSON without keys, and of the keys. The JSON
//! contains the certificates of an enrollment that has certificates.

use std::time::SystemTime;

use hubward_proto::service::{
    Attestation, AttestationType, EnrollmentGroup, EnrollmentSettings, IndividualEnrollment, SymmetricKeys,
};
use hubward_proto::{DeviceId, RegistrationId};
use hubward_sas::SharedKey;
use serde::{Deserialize, Serialize};

use super::enroll_error::EnrollError;
use super::keys::KeyPair;
use super::proof::Proof;
use super::put::Put;
use super::{enrollment_rules, enrollment_x509, levels};
use crate::state::clock::timestamp;
use crate::state::wire_id;

/// An enrollment: the JSON that the service returns, and the keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry<M> {
    /// The service's JSON without keys and without read-only members.
    pub(crate) model: M,
    /// The name in the state file dates from versions that knew only keys.
    #[serde(rename = "keys", default, skip_serializing_if = "Proof::is_certificates")]
    pub(crate) proof: Proof,
    /// The `payload` of the registration result. In the real service, a custom allocation webhook returns this payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer_payload: Option<serde_json::Value>,
}

impl<M: Model> Entry<M> {
    /// Sets the payload of the registration result.
    pub(crate) fn answering(self, payload: Option<serde_json::Value>) -> Result<Self, EnrollError> {
        levels::check(self.model.id(), "the payload", &payload)?;
        Ok(Self { answer_payload: payload, ..self })
    }
}

/// The common interface of individual enrollments and groups.
pub(crate) trait Model: Clone + PartialEq + Serialize {
    const IS_GROUP: bool;

    fn id(&self) -> &str;
    fn settings(&self) -> &EnrollmentSettings;
    fn settings_mut(&mut self) -> &mut EnrollmentSettings;
    /// Checks the settings that only this kind of enrollment has, and removes read-only members.
    fn clean(&mut self) -> Result<(), EnrollError>;
}

impl Model for IndividualEnrollment {
    const IS_GROUP: bool = false;

    fn id(&self) -> &str {
        &self.registration_id
    }

    fn settings(&self) -> &EnrollmentSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut EnrollmentSettings {
        &mut self.settings
    }

    fn clean(&mut self) -> Result<(), EnrollError> {
        self.registration_state = None;
        if let Some(id) = &self.device_id {
            DeviceId::new(id)?;
        }
        match &self.optional_device_information {
            None | Some(serde_json::Value::Object(_)) => Ok(()),
            Some(_) => {
                let problem = "optionalDeviceInformation must be an object".to_owned();
                Err(EnrollError::Setting { id: self.registration_id.clone(), problem })
            }
        }
    }
}

impl Model for EnrollmentGroup {
    const IS_GROUP: bool = true;

    fn id(&self) -> &str {
        &self.enrollment_group_id
    }

    fn settings(&self) -> &EnrollmentSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut EnrollmentSettings {
        &mut self.settings
    }

    fn clean(&mut self) -> Result<(), EnrollError> {
        Ok(())
    }
}

/// Checks a new or changed enrollment, and adds keys, ETag and dates. `before` is the existing enrollment with this
/// name. Returns the entry, and whether it is new, changed or unchanged.
pub(crate) fn complete<M: Model>(
    mut model: M,
    before: Option<&Entry<M>>,
    now: SystemTime,
) -> Result<(Entry<M>, Put), EnrollError> {
    // A group name follows the same rule as a registration id.
    RegistrationId::new(model.id())?;
    model.clean()?;
    let id = model.id().to_owned();
    enrollment_rules::check(&id, model.settings())?;
    levels::check(&id, "the enrollment", &model)?;
    let proof = take_proof(&mut model, before)?;
    let settings = model.settings_mut();
    (settings.etag, settings.created_date_time_utc, settings.last_updated_date_time_utc) = (None, None, None);
    if let Some(before) = before {
        let mut same = before.model.clone();
        let old = same.settings_mut();
        let created = old.created_date_time_utc.take();
        (old.etag, old.last_updated_date_time_utc) = (None, None);
        if same == model && before.proof == proof {
            return Ok((before.clone(), Put::Unchanged));
        }
        model.settings_mut().created_date_time_utc = created;
    }
    let settings = model.settings_mut();
    settings.etag = Some(wire_id::etag());
    settings.last_updated_date_time_utc = Some(timestamp(now));
    settings.created_date_time_utc.get_or_insert_with(|| timestamp(now));
    let put = if before.is_some() { Put::Updated } else { Put::Created };
    let answer_payload = before.and_then(|it| it.answer_payload.clone());
    Ok((Entry { model, proof, answer_payload }, put))
}

/// Moves the keys out of the model and returns them, so that the keys are stored in only one place. Checks certificates
/// and leaves them in the model.
///
/// Source: `[guess]`: the type of attestation of an existing enrollment can change. If an enrollment changes to
/// symmetric keys and the request contains no keys, the service generates new ones.
fn take_proof<M: Model>(model: &mut M, before: Option<&Entry<M>>) -> Result<Proof, EnrollError> {
    let id = model.id().to_owned();
    let attestation = model.settings_mut().attestation.get_or_insert_with(|| Attestation::symmetric_key(None));
    if attestation.kind == AttestationType::X509 {
        let before = before.and_then(|it| it.model.settings().attestation.as_ref()?.x509.as_ref());
        enrollment_x509::complete(&id, M::IS_GROUP, attestation.x509.get_or_insert_default(), before)?;
        return Ok(Proof::Certificates);
    }
    let keys = match (read_keys(&id, attestation.symmetric_key.take())?, before.and_then(|it| it.proof.keys())) {
        (Some(keys), _) => keys,
        (None, Some(keys)) => keys.clone(),
        (None, None) => KeyPair::generate().map_err(|problem| EnrollError::Key { id, problem })?,
    };
    Ok(Proof::Keys(keys))
}

/// Parses two keys. If only one of the two texts is empty, generates the missing key.
///
/// Returns `None` if both texts are empty. The caller must then keep the existing keys, or generate both keys.
pub(crate) fn read_keys(id: &str, keys: Option<SymmetricKeys>) -> Result<Option<KeyPair>, EnrollError> {
    let SymmetricKeys { primary_key, secondary_key } = keys.unwrap_or_default();
    let read = |text: &str| {
        let key = if text.trim().is_empty() { SharedKey::generate() } else { SharedKey::from_base64(text) };
        key.map_err(|problem| EnrollError::Key { id: id.to_owned(), problem })
    };
    if primary_key.trim().is_empty() && secondary_key.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(KeyPair { primary: read(&primary_key)?, secondary: read(&secondary_key)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    fn with_keys(primary: &str, secondary: &str) -> IndividualEnrollment {
        let mut model = IndividualEnrollment::new("d1");
        let keys = SymmetricKeys { primary_key: primary.into(), secondary_key: secondary.into() };
        model.settings.attestation = Some(Attestation::symmetric_key(Some(keys)));
        model
    }

    fn keys(entry: &Entry<IndividualEnrollment>) -> &KeyPair {
        entry.proof.keys().expect("symmetric keys")
    }

    #[test]
    fn keys_are_generated_kept_or_replaced() {
        let now = SystemTime::UNIX_EPOCH;
        let (first, put) = complete(IndividualEnrollment::new("d1"), None, now).expect("valid");
        assert_eq!(put, Put::Created);
        assert_ne!(keys(&first).primary, keys(&first).secondary);
        let (same, put) = complete(IndividualEnrollment::new("d1"), Some(&first), now).expect("valid");
        assert_eq!((put, &same.proof, &same.model), (Put::Unchanged, &first.proof, &first.model));
        let (other, put) = complete(with_keys(KEY, KEY), Some(&first), now).expect("valid");
        assert_eq!((put, keys(&other).primary.expose_base64().as_str()), (Put::Updated, KEY));
        assert_ne!(other.model.settings.etag, first.model.settings.etag);
        assert_eq!(other.model.settings.created_date_time_utc, first.model.settings.created_date_time_utc);
    }

    #[test]
    fn the_form_on_disk_includes_that_of_earlier_versions() {
        let keys = format!(r#"["{KEY}","{KEY}"]"#);
        let old =
            format!(r#"{{"model":{{"registrationId":"d1","attestation":{{"type":"symmetricKey"}}}},"keys":{keys}}}"#);
        let read: Entry<IndividualEnrollment> = serde_json::from_str(&old).expect("the form of earlier versions");
        assert_eq!(read.proof.keys().expect("keys").primary.expose_base64().as_str(), KEY);
        assert_eq!(serde_json::to_string(&read).expect("JSON"), old);
        let certificate = crate::lab::self_signed("d1").certificate;
        let mut model = IndividualEnrollment::new("d1");
        let x509 = hubward_proto::service::X509Attestation::client(certificate.to_pem(), None);
        model.settings.attestation = Some(Attestation::x509(x509));
        let (entry, _) = complete(model, Some(&read), SystemTime::UNIX_EPOCH).expect("valid");
        let text = serde_json::to_string(&entry).expect("JSON");
        let again: Entry<IndividualEnrollment> = serde_json::from_str(&text).expect(&text);
        assert_eq!((again.proof, again.model), (Proof::Certificates, entry.model));
    }

    #[test]
    fn refuses_unsupported_settings() {
        let now = SystemTime::UNIX_EPOCH;
        for (model, message) in [
            (IndividualEnrollment::new("d 1"), "registration id `d 1` is not valid"),
            (with_keys("AAEC", KEY), "the enrollment `d1` has no usable key: the symmetric key has 3 bytes"),
        ] {
            let error = complete(model, None, now).expect_err(message);
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
}
