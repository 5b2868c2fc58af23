//! Converts changes of the state to events of the journal. A change is an object that was created, updated or deleted.

use super::table::{Table, TableChange};
use super::{Model as _, State};
use crate::state::journal::{EventKind, EventSource, Note};

impl State {
    /// Starts to record changes for the journal.
    pub(crate) fn record_changes(&mut self) {
        self.individuals.record_changes();
        self.groups.record_changes();
        self.records.record_changes();
        self.authorities.record_changes();
        self.hubs.values_mut().for_each(|it| it.devices.record_changes());
    }

    /// The changes since the last call.
    pub(crate) fn drain_changes(&mut self) -> Vec<Note> {
        use EventKind::{
            AuthorityCreated, AuthorityDeleted, AuthorityUpdated, DeviceCreated, DeviceDeleted, DeviceUpdated,
            EnrollmentCreated, EnrollmentDeleted, EnrollmentGroupCreated, EnrollmentGroupDeleted,
            EnrollmentGroupUpdated, EnrollmentUpdated, RegistrationDeleted,
        };
        let mut notes = Vec::new();
        let individual = [EnrollmentCreated, EnrollmentUpdated, EnrollmentDeleted];
        for (key, change) in self.individuals.drain_changes() {
            notes.push(note(&self.individuals, &key, |it| it.model.id(), kind_of(change, individual)));
        }
        let group = [EnrollmentGroupCreated, EnrollmentGroupUpdated, EnrollmentGroupDeleted];
        for (key, change) in self.groups.drain_changes() {
            notes.push(note(&self.groups, &key, |it| it.model.id(), kind_of(change, group)));
        }
        for (key, change) in self.records.drain_changes() {
            // Report only deleted records here. For a created or updated record, DPS itself adds an event to the
            // journal when the device registers.
            if change == TableChange::Deleted {
                notes.push(Note::new(RegistrationDeleted, EventSource::Dps).id(&key));
            }
        }
        let authority = [AuthorityCreated, AuthorityUpdated, AuthorityDeleted];
        for (key, change) in self.authorities.drain_changes() {
            notes.push(note(&self.authorities, &key, |it| &it.name, kind_of(change, authority)));
        }
        for hub in self.hubs.values_mut() {
            for (key, change) in hub.devices.drain_changes() {
                let kind = kind_of(change, [DeviceCreated, DeviceUpdated, DeviceDeleted]);
                notes.push(Note::new(kind, EventSource::Hub).id(&key).hub(&hub.host));
            }
        }
        notes
    }
}

/// Returns an event about an enrollment. If the enrollment still exists, the event contains the id in its original
/// letter case. Otherwise the id is in lower case.
fn note<V>(table: &Table<V>, key: &str, name: impl Fn(&V) -> &str, kind: EventKind) -> Note {
    Note::new(kind, EventSource::Dps).id(table.get(key).map_or(key, name))
}

/// Selects the event kind for a change.
const fn kind_of(change: TableChange, [created, updated, deleted]: [EventKind; 3]) -> EventKind {
    match change {
        TableChange::Created => created,
        TableChange::Updated => updated,
        TableChange::Deleted => deleted,
    }
}
