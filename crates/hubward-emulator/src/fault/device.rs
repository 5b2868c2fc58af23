//! Faults that happen to a device rather than to an answer: it is disabled, deleted, or moved.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Fault;
use crate::clock::timestamp;
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::store::{Assigned, Queue, State};

/// Where DPS sends devices that were moved, whatever their enrollments say: by registration id in lower
/// case, the name of a hub.
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
    /// Does to a device of a hub, or to that of a module, what a fault says happens to it.
    pub(crate) fn strike(&self, fault: &Fault, hub: &str, client_id: &str) {
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

    /// The same to a device that registers, as far as a hub knows it.
    pub(crate) fn strike_registration(&self, fault: &Fault, registration: &str) {
        let assigned = self.store.read(|state| state.records.get(&registration.to_ascii_lowercase())?.assigned.clone());
        if let Some(Assigned { hub, device_id }) = assigned {
            self.strike(fault, &hub, &device_id);
        }
    }
}

/// Moves a device with its modules to the next hub, and the records of registrations with it; gives the
/// hub and whose records these are. Deletes it where there is no other hub.
fn relocate(state: &mut State, from: &str, device_id: &str, now: SystemTime) -> Option<(String, Vec<String>)> {
    let key = from.to_ascii_lowercase();
    let hub = state.hubs.get(&key)?;
    let mut ids = hub.modules(device_id);
    ids.push(device_id.to_owned());
    let taken: Vec<_> = ids.into_iter().filter_map(|id| Some((id.clone(), hub.devices.get(&id)?.clone()))).collect();
    let after = state.hubs.keys().find(|it| **it > key).or_else(|| state.hubs.keys().find(|it| **it != key)).cloned();
    if after.is_some() {
        // The messages go along: to their senders they are not purged.
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
