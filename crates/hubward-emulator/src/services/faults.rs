//! Scripted faults at the services: finds the fault for an event, and applies faults that change a device.

use std::time::SystemTime;

use crate::services::cloud::Cloud;
use crate::state::clock::timestamp;
use crate::state::fault::{BadScript, Fault, FaultScript, Point};
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Assigned, Queue, State};

/// Takes the scripted fault for an event: returns the fault, and counts it as used. Use this function for an event that
/// has no device, or whose device the emulator does not know yet.
///
/// If there is a fault, the store reports a change, so that a test that waits for the fault continues.
pub(crate) fn take(cloud: &Cloud, point: Point) -> Option<Fault> {
    record(cloud, point, None, cloud.faults.take(point, None, true)?)
}

/// Returns the scripted fault for an event of `device`, and counts the fault as used.
///
/// `known` says whether the device has authenticated. If `known` is `false`, faults that change the device itself do
/// not happen.
pub(crate) fn take_of(cloud: &Cloud, point: Point, device: &str, known: bool) -> Option<Fault> {
    record(cloud, point, Some(device), cloud.faults.take(point, Some(device), known)?)
}

fn record(cloud: &Cloud, point: Point, device: Option<&str>, fault: Fault) -> Option<Fault> {
    tracing::debug!(?point, device, fault = fault.name(), "a scripted fault happens");
    let note = Note::new(EventKind::FaultHappened, EventSource::Emulator);
    let note = note.message(format!("{} at {point:?}", fault.name()));
    cloud.journal.note(match device {
        Some(device) => note.id(device),
        None => note,
    });
    cloud.store.change(|_| ());
    Some(fault)
}

/// Applies a fault that changes a device: it disables, deletes or moves the device. If the client is a module,
/// applies the fault to the device of the module.
pub(crate) fn apply_to_device(cloud: &Cloud, fault: &Fault, hub: &str, client_id: &str) {
    let device = client_id.split('/').next().unwrap_or_default();
    let now = cloud.clock.now();
    match fault {
        Fault::DeviceDisabled => {
            cloud.store.change(|state| state.set_enabled(hub, device, false, cloud.clock.now()));
            let note = Note::new(EventKind::DeviceUpdated, EventSource::Hub).hub(hub).id(device);
            cloud.journal.note(note.message("disabled"));
        }
        Fault::DeviceDeleted => {
            cloud.store.change(|state| state.remove_device(hub, device));
        }
        Fault::HubMoved => {
            let moved = cloud.store.change(|state| relocate(state, hub, device, now));
            if let Some((to, registrations)) = moved {
                cloud.registrar.moves.note(registrations, &to);
            }
        }
        _ => {}
    }
}

/// Applies a fault to the device that has the registration id `registration`: disables, deletes or moves the device. If
/// no hub is assigned to the device, nothing happens.
pub(crate) fn apply_to_registration(cloud: &Cloud, fault: &Fault, registration: &str) {
    let assigned = cloud.store.read(|state| state.records.get(&registration.to_ascii_lowercase())?.assigned.clone());
    if let Some(Assigned { hub, device_id }) = assigned {
        apply_to_device(cloud, fault, &hub, &device_id);
    }
}

pub(crate) fn script(cloud: &Cloud, script: FaultScript) -> Result<u64, BadScript> {
    let what = script.to_string();
    let id = cloud.faults.script(script)?;
    cloud.journal.note(Note::new(EventKind::FaultScripted, EventSource::Emulator).message(what));
    Ok(id)
}

/// Removes all scripts. Returns the number of removed scripts.
pub(crate) fn clear(cloud: &Cloud) -> usize {
    let cleared = cloud.faults.clear();
    cloud.registrar.moves.clear();
    cloud.journal.note(Note::new(EventKind::FaultsCleared, EventSource::Emulator));
    cleared
}

/// Moves a device to the next hub, with its modules and registration records. Returns the new hub, and the
/// registration ids of the records.
///
/// If there is no other hub, deletes the device.
fn relocate(state: &mut State, from: &str, device_id: &str, now: SystemTime) -> Option<(String, Vec<String>)> {
    let key = from.to_ascii_lowercase();
    let hub = state.hubs.get(&key)?;
    let mut ids = hub.modules(device_id);
    ids.push(device_id.to_owned());
    let taken: Vec<_> = ids.into_iter().filter_map(|id| Some((id.clone(), hub.devices.get(&id)?.clone()))).collect();
    let after = state.hubs.keys().find(|it| **it > key).or_else(|| state.hubs.keys().find(|it| **it != key)).cloned();
    if after.is_some() {
        // The messages move with the device. Take them out of the queues before the device is removed, because the
        // removal purges the queued messages and creates feedback for them.
        let hub = state.hub_mut(from)?;
        taken.iter().for_each(|(id, _)| hub.devices.get_mut(id).map_or((), |it| it.queue = Queue::default()));
    }
    state.remove_device(from, device_id)?;
    let to = state.hubs.get_mut(&after?)?;
    for (id, device) in taken {
        to.devices.insert(id, device);
    }
    let to = to.host.clone();
    let is_its = |it: &Assigned| it.hub.eq_ignore_ascii_case(from) && it.device_id == device_id;
    let records = state.records.iter().filter(|(_, it)| it.assigned.as_ref().is_some_and(is_its));
    let registrations: Vec<String> = records.map(|(id, _)| id.clone()).collect();
    for id in &registrations {
        if let Some(record) = state.records.get_mut(id) {
            record.assigned = Some(Assigned { hub: to.clone(), device_id: device_id.to_owned() });
            record.state.assigned_hub = Some(to.clone());
            record.state.last_updated_date_time_utc = Some(timestamp(now));
        }
    }
    Some((to, registrations))
}
