//! Faults that affect a device rather than a response: the device is disabled, deleted, or moved.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Fault;
use crate::clock::timestamp;
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::store::{Assigned, Queue, State};

/// Maps the registration id (in lower case) of each moved device to its new hub. DPS assigns this hub whatever the
/// enrollment says.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    hubs: Mutex<HashMap<String, String>>,
}

impl Moves {
    pub(crate) fn of(&self, registration: &str) -> Option<String> {
        self.hubs().get(registration).cloned()
    }

    pub(crate) fn clear(&self) {
        self.hubs().clear();
    }

    fn note(&self, registrations: Vec<String>, hub: &str) {
        self.hubs().extend(registrations.into_iter().map(|it| (it, hub.to_owned())));
    }

    fn hubs(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Applies a fault that affects a device to a device of a hub. For a module, this is the device of the module.
    pub(crate) fn apply_fault_to_device(&self, fault: &Fault, hub: &str, client_id: &str) {
        let device = client_id.split('/').next().unwrap_or_default();
        let now = self.clock.now();
        match fault {
            Fault::DeviceDisabled => {
                self.store.change(|state| state.set_enabled(hub, device, false, self.clock.now()));
                let note = Note::new(EventKind::DeviceUpdated, EventSource::Hub).hub(hub).id(device);
                self.journal.note(note.message("disabled"));
            }
            Fault::DeviceDeleted => {
                self.store.change(|state| state.remove_device(hub, device));
            }
            Fault::HubMoved => {
                let moved = self.store.change(|state| relocate(state, hub, device, now));
                if let Some((to, registrations)) = moved {
                    self.registrar.moves.note(registrations, &to);
                }
            }
            _ => {}
        }
    }

    /// Applies such a fault to a device that registers, if a hub knows it.
    pub(crate) fn apply_fault_to_registration(&self, fault: &Fault, registration: &str) {
        let assigned = self.store.read(|state| state.records.get(&registration.to_ascii_lowercase())?.assigned.clone());
        if let Some(Assigned { hub, device_id }) = assigned {
            self.apply_fault_to_device(fault, &hub, &device_id);
        }
    }
}

/// Moves a device with its modules and registration records to the next hub. Returns the new hub and the
/// registration ids of the records. If there is no other hub, deletes the device.
fn relocate(state: &mut State, from: &str, device_id: &str, now: SystemTime) -> Option<(String, Vec<String>)> {
    let key = from.to_ascii_lowercase();
    let hub = state.hubs.get(&key)?;
    let mut ids = hub.modules(device_id);
    ids.push(device_id.to_owned());
    let taken: Vec<_> = ids.into_iter().filter_map(|id| Some((id.clone(), hub.devices.get(&id)?.clone()))).collect();
    let after = state.hubs.keys().find(|it| **it > key).or_else(|| state.hubs.keys().find(|it| **it != key)).cloned();
    if after.is_some() {
        // The messages move too; emptying the queues first avoids feedback that they were purged.
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
