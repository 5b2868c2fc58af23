//! What changes of the state are told in the journal: things that come and go.

use super::{State, Table};
use crate::journal::{EventKind, EventSource, Note};
use crate::store::Model as _;

/// What has happened to a key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Created,
    /// Another value took its place.
    Updated,
    Deleted,
}

impl News {
    /// The kind that stands for it.
    const fn of(self, [created, updated, deleted]: [EventKind; 3]) -> EventKind {
        match self {
            Self::Created => created,
            Self::Updated => updated,
            Self::Deleted => deleted,
        }
    }
}

impl State {
    /// Gathers news from now on.
    pub(super) fn gather_news(&mut self) {
        self.individuals.gather_news();
        self.groups.gather_news();
        self.records.gather_news();
        self.hubs.values_mut().for_each(|it| it.devices.gather_news());
    }

    /// What has happened since the last call.
    pub(super) fn drain_news(&mut self) -> Vec<Note> {
        use EventKind::{
            DeviceCreated, DeviceDeleted, DeviceUpdated, EnrollmentCreated, EnrollmentDeleted, EnrollmentGroupCreated,
            EnrollmentGroupDeleted, EnrollmentGroupUpdated, EnrollmentUpdated, RegistrationDeleted,
        };
        let mut notes = Vec::new();
        let individual = [EnrollmentCreated, EnrollmentUpdated, EnrollmentDeleted];
        for (key, news) in self.individuals.drain_news() {
            notes.push(note(&self.individuals, &key, |it| it.model.id(), news.of(individual)));
        }
        let group = [EnrollmentGroupCreated, EnrollmentGroupUpdated, EnrollmentGroupDeleted];
        for (key, news) in self.groups.drain_news() {
            notes.push(note(&self.groups, &key, |it| it.model.id(), news.of(group)));
        }
        for (key, news) in self.records.drain_news() {
            // The registration itself tells of the others.
            if news == News::Deleted {
                notes.push(Note::new(RegistrationDeleted, EventSource::Dps).id(&key));
            }
        }
        for hub in self.hubs.values_mut() {
            for (key, news) in hub.devices.drain_news() {
                let kind = news.of([DeviceCreated, DeviceUpdated, DeviceDeleted]);
                notes.push(Note::new(kind, EventSource::Hub).id(&key).hub(&hub.host));
            }
        }
        notes
    }
}

/// An enrollment by the name it was given, as long as it is there.
fn note<V>(table: &Table<V>, key: &str, name: impl Fn(&V) -> &str, kind: EventKind) -> Note {
    Note::new(kind, EventSource::Dps).id(table.get(key).map_or(key, name))
}
