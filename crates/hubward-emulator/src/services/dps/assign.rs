//! Carries out a registration: assigns a hub, and writes the device identity and the registration record.

use std::time::SystemTime;

use hubward_proto::dps::{AssignmentStatus, RegistrationState, Substatus};
use hubward_proto::service::{AllocationPolicy, EnrollmentSettings};
use serde_json::{Value, json};

use super::admit::{Admitted, Caller};
use super::allocate::allocate;
use crate::state::clock::timestamp;
use crate::state::model::{Assigned, Device, DeviceAuthentication, Issuance, Record, State, Twin};
use crate::state::wire_id;

/// The values of an identity that a registration sets.
struct Identity<'a> {
    authentication: DeviceAuthentication,
    /// The name of the credential policy, if DPS issues a certificate to the device.
    credential_policy: Option<&'a str>,
}

impl Identity<'_> {
    /// How the hub issues certificates to the device. `before` is the value of the existing identity: the unique id
    /// stays, so the earlier certificates of the device stay valid.
    fn issuance(&self, before: Option<Issuance>) -> Option<Issuance> {
        let policy = self.credential_policy?;
        Some(match before {
            Some(before) => Issuance { policy: policy.to_owned(), ..before },
            None => Issuance::new(policy),
        })
    }
}

/// Registers a device that has authenticated. Writes its registration record, and its identity in the registry of the
/// hub. `credential_policy` is the name of the policy if DPS issues a certificate to the device.
///
/// Source: `[doc]` iot-dps/concepts-device-reprovision.md, and azure-rest-api-specs, device registration `substatus`:
/// a device that moves to another hub is removed from its old hub. `[seen]` Azure/iotedge, issue 6697: each
/// registration has its own creation date. For `x509` of the answer, which has no further members: `[seen]`
/// Azure/azure-iot-sdk-c, issue 2270, and a trace of a u-blox module of 2022.
///
/// `[guess]`:
///
/// * An existing identity with the same id gets the new keys or thumbprints, and keeps its status and its connection.
/// * If DPS issues a certificate, the type of the identity is `certificateAuthority`. A later registration without a
///   certificate request sets the authentication of the enrollment again.
/// * If a registration fails, the device stays at its hub.
/// * If the old hub no longer has the device, the device gets a new twin.
pub(crate) fn assign(
    state: &mut State,
    caller: &Caller,
    admitted: &Admitted,
    payload: Option<Value>,
    credential_policy: Option<&str>,
    now: SystemTime,
) {
    let Some(Plan { settings, device_id, group, answer_payload }) = plan(state, caller, admitted) else { return };
    let assigned = state.records.get(&caller.key()).and_then(|it| it.assigned.clone());
    let assignment = assigned.as_ref().map(|it| (it.hub.as_str(), it.device_id.as_str()));
    // If the operator changes the deviceId of the enrollment, the old deviceId stays in use until the record is
    // deleted.
    let device_id = assignment.map_or(device_id, |(_, device)| device.to_owned());
    let mut result = RegistrationState::default();
    result.registration_id = Some(caller.registration_id.to_string());
    result.created_date_time_utc = Some(timestamp(now));
    result.last_updated_date_time_utc = Some(timestamp(now));
    result.etag = Some(wire_id::record_etag());

    let policy = settings.reprovision_policy.unwrap_or_default();
    let linked: Vec<&str> = state.hubs.values().map(|it| it.host.as_str()).collect();
    // With custom allocation, the real DPS calls the webhook at every registration, even if the reprovisioning policy
    // is `never`. So with custom allocation, a device does not keep its hub here, and the code below calls `allocate`
    // again.
    let is_custom =
        settings.iot_hub_host_name.is_none() && settings.allocation_policy == Some(AllocationPolicy::Custom);
    let stays = assignment.filter(|(hub, _)| !policy.update_hub_assignment && !is_custom && linked.contains(hub));
    let moved = admitted.moved_to.as_deref().filter(|it| linked.contains(it));
    let hub = match moved.or_else(|| stays.map(|(hub, _)| hub)) {
        Some(hub) => Ok(hub.to_owned()),
        None => allocate(caller.registration_id.as_str(), &settings, &linked),
    };
    let authentication = match credential_policy {
        Some(_) => DeviceAuthentication::CertificateAuthority,
        None => admitted.authentication.clone(),
    };
    let identity = Identity { authentication, credential_policy };
    let mut now_assigned = None;
    match hub {
        Err(no_hub) => {
            tracing::info!(registration_id = %caller.registration_id, code = no_hub.code, "DPS assigns no hub");
            result.status = Some(AssignmentStatus::Failed);
            result.error_code = Some(no_hub.code);
            result.error_message = Some(no_hub.message);
        }
        Ok(hub) => {
            let from = assignment.map(|(old, _)| old.to_owned()).filter(|old| *old != hub);
            result.substatus = Some(match from {
                None => create_or_update(state, &hub, &device_id, &settings, &identity, now),
                Some(old) => relocate(state, (&old, &hub), &device_id, &settings, &identity, now),
            });
            tracing::info!(registration_id = %caller.registration_id, hub, device_id, "DPS assigns a hub");
            result.status = Some(AssignmentStatus::Assigned);
            result.assigned_hub = Some(hub.clone());
            result.device_id = Some(device_id.clone());
            result.payload = answer_payload;
            let of_group = group.as_ref().map(|it| json!({ "enrollmentGroupId": it }));
            match admitted.authentication {
                DeviceAuthentication::Sas(_) => result.symmetric_key = of_group,
                _ => result.x509 = Some(of_group.unwrap_or_else(|| json!({}))),
            }
            now_assigned = Some(Assigned { hub, device_id });
        }
    }
    let assigned = now_assigned.or(assigned);
    let record = Record { state: result, group, received_payload: payload, assigned, issued: None };
    state.records.insert(caller.key(), record);
}

/// The settings of the enrollment for this device.
struct Plan {
    settings: EnrollmentSettings,
    device_id: String,
    /// The group's name in its original letter case.
    group: Option<String>,
    answer_payload: Option<Value>,
}

fn plan(state: &State, caller: &Caller, admitted: &Admitted) -> Option<Plan> {
    let registration_id = caller.registration_id.to_string();
    Some(match &admitted.group {
        Some(name) => {
            let entry = state.groups.get(name)?;
            Plan {
                settings: entry.model.settings.clone(),
                device_id: registration_id,
                group: Some(entry.model.enrollment_group_id.clone()),
                answer_payload: entry.answer_payload.clone(),
            }
        }
        None => {
            let entry = state.individuals.get(&caller.key())?;
            Plan {
                settings: entry.model.settings.clone(),
                device_id: entry.model.device_id.clone().unwrap_or(registration_id),
                group: None,
                answer_payload: entry.answer_payload.clone(),
            }
        }
    })
}

/// Creates or updates the identity of the device at its hub. The caller uses this function in two cases: DPS assigns
/// the device to a hub for the first time, or assigns it to the same hub again.
///
/// If the hub already has the identity, this function replaces its keys with the keys of the enrollment, or its
/// thumbprints with those of the presented certificate. It does not change the twin.
///
/// Source: `[issue]` Azure/azure-iot-sdk-csharp 2397, by Microsoft, and `[sdk]` azure-iot-cli-extension, integration
/// tests: if the hub already has the device, the substatus is `reprovisionedToInitialAssignment`.
fn create_or_update(
    state: &mut State,
    hub: &str,
    device_id: &str,
    settings: &EnrollmentSettings,
    identity: &Identity<'_>,
    now: SystemTime,
) -> Substatus {
    let Some(hub) = state.hub_mut(hub) else { return Substatus::InitialAssignment };
    match hub.devices.get_mut(device_id) {
        None => {
            hub.devices.insert(device_id.to_owned(), new_device(settings, identity, now));
            return Substatus::InitialAssignment;
        }
        Some(device) => {
            device.issuance = identity.issuance(device.issuance.take());
            if device.authentication != identity.authentication {
                device.authentication = identity.authentication.clone();
                device.etag = wire_id::identity_etag();
            }
        }
    }
    Substatus::ReprovisionedToInitialAssignment
}

/// Moves a device to another hub. The policy of the enrollment decides whether the twin moves too.
///
/// If the new hub already has a device with this id, this function overwrites the authentication and the twin of that
/// device. The status of that device stays.
fn relocate(
    state: &mut State,
    (from, to): (&str, &str),
    device_id: &str,
    settings: &EnrollmentSettings,
    identity: &Identity<'_>,
    now: SystemTime,
) -> Substatus {
    let migrates = settings.reprovision_policy.unwrap_or_default().migrate_device_data;
    let old = state.remove_device(from, device_id).filter(|_| migrates);
    let substatus = if old.is_some() { Substatus::DeviceDataMigrated } else { Substatus::DeviceDataReset };
    let mut fresh = new_device(settings, identity, now);
    if let Some(old) = old {
        (fresh.initial_twin, fresh.twin) = (old.initial_twin, old.twin);
        fresh.issuance = identity.issuance(old.issuance);
    }
    // A client may be connected to the new hub under this id. That client has read a twin that is now overwritten.
    // Close the connection of the client.
    state.close_device(to, device_id);
    if let Some(hub) = state.hub_mut(to) {
        match hub.devices.get_mut(device_id) {
            None => {
                hub.devices.insert(device_id.to_owned(), fresh);
            }
            Some(device) => {
                (device.authentication, device.etag) = (fresh.authentication, fresh.etag);
                device.issuance = fresh.issuance;
                (device.initial_twin, device.twin) = (fresh.initial_twin, fresh.twin);
            }
        }
    }
    substatus
}

/// A new device with the initial twin of its enrollment.
fn new_device(settings: &EnrollmentSettings, identity: &Identity<'_>, now: SystemTime) -> Device {
    let twin = Twin::new(settings.initial_twin.as_ref(), &timestamp(now));
    let initial_twin = settings.initial_twin.clone();
    let issuance = identity.issuance(None);
    Device { initial_twin, twin, issuance, ..Device::new(identity.authentication.clone(), now) }
}
