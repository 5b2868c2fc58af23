//! Finds the key of a device in a running emulator.

use hubward::{RegistrationId, SharedKey};
use hubward_emulator::DEV_GROUP;
use hubward_service::model::Attestation;
use hubward_service::{AdminPort, Call, DpsService};
use zeroize::Zeroizing;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::AdminArgs;

/// Returns the key with which the device can register.
///
/// It is the key of the device's individual enrollment. If there is none, the key is derived from the key of an
/// enrollment group: the group of `--dev-keys`, or the only group.
pub(super) async fn device_key(admin: &AdminPort, id: &RegistrationId) -> Result<Zeroizing<String>, Failure> {
    let dps = admin.dps();
    if let Some(attestation) = found(dps.enrollment_attestation(id.as_str())).await? {
        return primary(attestation, &format!("the enrollment {id}"));
    }
    if let Some(attestation) = found(dps.group_attestation(DEV_GROUP)).await? {
        return derived(attestation, DEV_GROUP, id);
    }
    let group = only_group(&dps, id).await?;
    let attestation = found(dps.group_attestation(&group)).await?.ok_or_else(|| missing(id))?;
    derived(attestation, &group, id)
}

/// Returns the answer, or `None` if the record does not exist.
async fn found(call: Call<Attestation>) -> Result<Option<Attestation>, Failure> {
    match call.await {
        Ok(attestation) => Ok(Some(attestation)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(AdminArgs::absent(error.into())),
    }
}

/// Returns the name of the only enrollment group. Returns an error if there is no group or more than one.
async fn only_group(dps: &DpsService, id: &RegistrationId) -> Result<String, Failure> {
    let groups = dps.groups().all().await.map_err(|error| AdminArgs::absent(error.into()))?;
    match &groups[..] {
        [group] => Ok(group.enrollment_group_id.clone()),
        [] => Err(missing(id)),
        groups => Err(refused(format!(
            "the emulator has no individual enrollment {id}, and {} enrollment groups whose key could be meant",
            groups.len()
        ))
        .hint(format!(
            "derive the key from the key of one group: hubward dps enrollment-group compute-device-key --emulator \
             --enrollment-id GROUP --registration-id {id}"
        ))),
    }
}

fn derived(attestation: Attestation, group: &str, id: &RegistrationId) -> Result<Zeroizing<String>, Failure> {
    let what = format!("the enrollment group {group}");
    let key = SharedKey::from_base64(&primary(attestation, &what)?)
        .map_err(|error| refused(format!("the key of {what} is not valid: {error}")))?;
    Ok(key.derive(id.as_str()).expose_base64())
}

fn primary(attestation: Attestation, of: &str) -> Result<Zeroizing<String>, Failure> {
    let key = attestation.symmetric_key.map(|it| Zeroizing::new(it.primary_key)).unwrap_or_default();
    if key.is_empty() { Err(refused(format!("{of} has no symmetric keys"))) } else { Ok(key) }
}

fn missing(id: &RegistrationId) -> Failure {
    refused(format!("the emulator has no individual enrollment {id}, and no enrollment group")).hint(format!(
        "create the enrollment: hubward dps enrollment create --emulator --enrollment-id {id}; or start the emulator \
         with --dev-keys, which accepts any registration id"
    ))
}

fn refused(message: String) -> Failure {
    Failure::new(ExitCode::Refused, "service-request", hubward::Fault::Service.to_string(), message)
}
