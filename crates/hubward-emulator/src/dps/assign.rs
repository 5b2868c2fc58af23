//! What a registration does: hub, device identity, record.

use std::time::SystemTime;

use hubward_proto::dps::{AssignmentStatus, RegistrationState, Substatus};
use hubward_proto::service::EnrollmentSettings;
use serde_json::{Value, json};

use super::admit::{Admitted, Caller};
use super::allocate::allocate;
use crate::clock::timestamp;
use crate::store::{Device, Record, State, Twin};
use crate::wire_id;

/// Registers an admitted device: writes its record, and its identity into the hub's registry.
///
/// Source: `[doc]` iot-dps/concepts-device-reprovision.md. That a device which moves leaves its old
/// hub's registry is a `[guess]`; so is that a hub's identity of the same id gets the new keys and
/// keeps its status.
pub(crate) fn assign(state: &mut State, caller: &Caller, admitted: &Admitted, payload: Option<Value>, now: SystemTime) {
    let Some(Plan { settings, device_id, group, answer_payload }) = plan(state, caller, admitted) else { return };
    let previous = state.records.get(&caller.key()).cloned();
    let assignment = previous.as_ref().and_then(Record::assignment);
    // A changed deviceId of the enrollment counts only once the record has been deleted.
    let device_id = assignment.map_or(device_id, |(_, device)| device.to_owned());
    let mut result = RegistrationState::default();
    result.registration_id = Some(caller.registration_id.to_string());
    result.created_date_time_utc = previous.as_ref().and_then(|it| it.state.created_date_time_utc.clone());
    result.created_date_time_utc.get_or_insert_with(|| timestamp(now));
    result.last_updated_date_time_utc = Some(timestamp(now));
    result.etag = Some(wire_id::record_etag());

    let policy = settings.reprovision_policy.unwrap_or_default();
    let linked: Vec<&str> = state.hubs.values().map(|it| it.host.as_str()).collect();
    let stays = assignment.filter(|(hub, _)| !policy.update_hub_assignment && linked.contains(hub));
    let hub = match stays {
        Some((hub, _)) => Ok(hub.to_owned()),
        None => allocate(caller.registration_id.as_str(), &settings, &linked),
    };
    match hub {
        Err(no_hub) => {
            tracing::info!(registration_id = %caller.registration_id, code = no_hub.code, "DPS assigns no hub");
            result.status = Some(AssignmentStatus::Failed);
            result.error_code = Some(no_hub.code);
            result.error_message = Some(no_hub.message);
        }
        Ok(hub) => {
            let from = assignment.map(|(old, _)| old.to_owned()).filter(|old| *old != hub);
            result.substatus = Some(match &from {
                None => Substatus::InitialAssignment,
                Some(_) if policy.migrate_device_data => Substatus::DeviceDataMigrated,
                Some(_) => Substatus::DeviceDataReset,
            });
            let old = from.and_then(|old| state.remove_device(&old, &device_id, now));
            let (initial_twin, twin) = match old.filter(|_| policy.migrate_device_data) {
                Some(old) => (old.initial_twin, Some(old.twin)),
                None => (settings.initial_twin.clone(), None),
            };
            let fresh = Device::new(admitted.keys.clone(), now);
            let twin = twin.unwrap_or_else(|| Twin::new(initial_twin.as_ref(), &timestamp(now)));
            join(state, &hub, &device_id, Device { initial_twin, twin, ..fresh });
            tracing::info!(registration_id = %caller.registration_id, hub, device_id, "DPS assigns a hub");
            result.status = Some(AssignmentStatus::Assigned);
            result.assigned_hub = Some(hub);
            result.device_id = Some(device_id);
            result.payload = answer_payload;
            result.symmetric_key = group.as_ref().map(|it| json!({ "enrollmentGroupId": it }));
        }
    }
    let record = Record { state: result, group, received_payload: payload };
    state.records.insert(caller.key(), record);
}

/// What the enrollment says about the device.
struct Plan {
    settings: EnrollmentSettings,
    device_id: String,
    /// The group's name as it was given.
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

/// Makes the device known to a hub, or gives the known one its keys.
fn join(state: &mut State, hub: &str, device_id: &str, fresh: Device) {
    let Some(hub) = state.hub_mut(hub) else { return };
    match hub.devices.get_mut(device_id) {
        None => {
            hub.devices.insert(device_id.to_owned(), fresh);
        }
        Some(device) if device.keys != fresh.keys => {
            device.keys = fresh.keys;
            device.etag = wire_id::etag();
        }
        Some(_) => {}
    }
}
