//! What a test does with enrollments, and what it sees of registrations.

use std::sync::Arc;

use hubward_proto::dps::RegistrationState;
use hubward_proto::service::ProvisioningStatus;
use serde_json::Value;

use super::Emulator;
use crate::enroll::{Enrollment, EnrollmentBuilder, EnrollmentGroup, EnrollmentGroupBuilder};
use crate::store::{EnrollError, Record, Seed, SeedError, SeedReport, apply};

impl Emulator {
    /// Makes an individual enrollment with generated keys, or gives the one that exists.
    ///
    /// # Errors
    /// [`EnrollError`] for an id that the service would not accept.
    pub fn enroll(&self, registration_id: &str) -> Result<Enrollment, EnrollError> {
        let existing = self.shared.store.read(|state| {
            let entry = state.individuals.get(&registration_id.to_ascii_lowercase())?;
            Some(Enrollment::new(Arc::clone(&self.shared.info), entry))
        });
        existing.map_or_else(|| self.enrollment(registration_id).create(), Ok)
    }

    /// An individual enrollment to be configured; ends with
    /// [`create`](EnrollmentBuilder::create).
    pub fn enrollment(&self, registration_id: impl Into<String>) -> EnrollmentBuilder<'_> {
        EnrollmentBuilder::new(&self.shared, registration_id.into())
    }

    /// Makes an enrollment group with generated keys, or gives the one that exists.
    ///
    /// # Errors
    /// [`EnrollError`] for a name that the service would not accept.
    pub fn enroll_group(&self, name: &str) -> Result<EnrollmentGroup, EnrollError> {
        let existing = self.shared.store.read(|state| {
            let entry = state.groups.get(&name.to_ascii_lowercase())?;
            Some(EnrollmentGroup::new(Arc::clone(&self.shared.info), entry))
        });
        existing.map_or_else(|| self.enrollment_group(name).create(), Ok)
    }

    /// An enrollment group to be configured; ends with
    /// [`create`](EnrollmentGroupBuilder::create).
    pub fn enrollment_group(&self, name: impl Into<String>) -> EnrollmentGroupBuilder<'_> {
        EnrollmentGroupBuilder::new(&self.shared, name.into())
    }

    /// Applies a seed: all of it or nothing.
    ///
    /// # Errors
    /// [`SeedError`].
    pub fn apply_seed(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        let now = self.shared.clock.now();
        self.shared.store.change(|state| apply(state, seed, now))
    }

    /// Switches an individual enrollment off. A hub's identity stays as it is.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn disable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Disabled)
    }

    /// Switches an individual enrollment on again.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn enable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Enabled)
    }

    /// Deletes an individual enrollment. A hub's identity stays as it is, and so does the record of
    /// the registration.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn delete(&self, registration_id: &str) -> Result<(), EnrollError> {
        let removed =
            self.shared.store.change(|state| state.individuals.remove(&registration_id.to_ascii_lowercase()).is_some());
        found(removed, registration_id)
    }

    /// Switches a group off.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn disable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Disabled)
    }

    /// Switches a group on again.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn enable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Enabled)
    }

    /// Deletes a group. Identities at hubs and records of registrations stay.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`].
    pub fn delete_group(&self, name: &str) -> Result<(), EnrollError> {
        let removed = self.shared.store.change(|state| state.groups.remove(&name.to_ascii_lowercase()).is_some());
        found(removed, name)
    }

    /// The settings of a device as environment variables: of its individual enrollment, else of the
    /// only group, else of the group of [`Builder::dev_keys`](crate::Builder::dev_keys). One of them is a key.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if there is neither.
    pub fn vars(&self, registration_id: &str) -> Result<Vec<(&'static str, String)>, EnrollError> {
        let key = self.shared.store.read(|state| {
            if let Some(entry) = state.individuals.get(&registration_id.to_ascii_lowercase()) {
                return Some(entry.keys.primary.clone());
            }
            let only = if state.groups.len() == 1 { state.groups.values().next() } else { None };
            let group = only.or_else(|| state.groups.get(crate::DEV_GROUP))?;
            Some(group.keys.primary.derive(registration_id))
        });
        let key = key.ok_or_else(|| EnrollError::NotFound { id: registration_id.to_owned() })?;
        Ok(self.ready().vars(registration_id, &key))
    }

    /// What DPS remembers of a device's registration.
    #[must_use]
    pub fn registration(&self, registration_id: &str) -> Option<RegistrationState> {
        self.record(registration_id, |it| Some(it.state.clone()))
    }

    /// The payload that a device sent with its last registration.
    #[must_use]
    pub fn received_payload(&self, registration_id: &str) -> Option<Value> {
        self.record(registration_id, |it| it.received_payload.clone())
    }

    /// Forgets a device's registration; gives whether there was one.
    pub fn delete_registration(&self, registration_id: &str) -> bool {
        self.shared.store.change(|state| state.records.remove(&registration_id.to_ascii_lowercase()).is_some())
    }

    fn set_enrollment(&self, registration_id: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.shared.store.change(|state| {
            let entry = state.individuals.get_mut(&registration_id.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, registration_id)
    }

    fn set_group(&self, name: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.shared.store.change(|state| {
            let entry = state.groups.get_mut(&name.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, name)
    }

    fn record<T>(&self, registration_id: &str, read: impl FnOnce(&Record) -> Option<T>) -> Option<T> {
        self.shared.store.read(|state| state.records.get(&registration_id.to_ascii_lowercase()).and_then(read))
    }
}

fn found(found: bool, id: &str) -> Result<(), EnrollError> {
    if found { Ok(()) } else { Err(EnrollError::NotFound { id: id.to_owned() }) }
}
