//! Methods for enrollments and registrations.

use std::sync::Arc;

use hubward_proto::dps::RegistrationState;
use hubward_proto::service::ProvisioningStatus;
use serde_json::Value;

use super::Emulator;
use crate::handle::enroll::{Enrollment, EnrollmentBuilder, EnrollmentGroup, EnrollmentGroupBuilder};
use crate::state::model::{DEV_GROUP, EnrollError, Record, Seed, SeedError, SeedReport, apply};

impl Emulator {
    /// Creates an individual enrollment with generated keys. If the enrollment exists already, returns it unchanged.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, if the enrollment exists and has certificates instead of
    /// keys, or if the system provides no random numbers for the keys.
    pub fn enroll(&self, registration_id: &str) -> Result<Enrollment, EnrollError> {
        let existing = self.cloud.store.read(|state| {
            let entry = state.individuals.get(&registration_id.to_ascii_lowercase())?;
            Some(Enrollment::new(Arc::clone(&self.cloud.info), entry))
        });
        existing.unwrap_or_else(|| self.enrollment(registration_id).create())
    }

    /// Configures an individual enrollment; finish with [`create`](EnrollmentBuilder::create) for keys, or with
    /// [`create_with_certificates`](EnrollmentBuilder::create_with_certificates).
    pub fn enrollment(&self, registration_id: impl Into<String>) -> EnrollmentBuilder<'_> {
        EnrollmentBuilder::new(&self.cloud, registration_id.into())
    }

    /// Creates an enrollment group with generated keys. If the group exists already, returns it unchanged.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the name, if the group exists and has certificates instead of
    /// keys, or if the system provides no random numbers for the keys.
    pub fn enroll_group(&self, name: &str) -> Result<EnrollmentGroup, EnrollError> {
        let existing = self.cloud.store.read(|state| {
            let entry = state.groups.get(&name.to_ascii_lowercase())?;
            Some(EnrollmentGroup::new(Arc::clone(&self.cloud.info), entry))
        });
        existing.unwrap_or_else(|| self.enrollment_group(name).create())
    }

    /// Configures an enrollment group; finish with [`create`](EnrollmentGroupBuilder::create) for keys, or with
    /// [`create_with_certificates`](EnrollmentGroupBuilder::create_with_certificates) or
    /// [`create_with_authorities`](EnrollmentGroupBuilder::create_with_authorities).
    pub fn enrollment_group(&self, name: impl Into<String>) -> EnrollmentGroupBuilder<'_> {
        EnrollmentGroupBuilder::new(&self.cloud, name.into())
    }

    /// Applies a seed. If one part of the seed is not valid, applies nothing.
    ///
    /// # Errors
    /// [`SeedError`] if the seed cannot be applied.
    pub fn apply_seed(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| apply(state, seed, now))
    }

    /// Disables an individual enrollment. The identity of the device at a hub does not change.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn disable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Disabled)
    }

    /// Enables an individual enrollment.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn enable(&self, registration_id: &str) -> Result<(), EnrollError> {
        self.set_enrollment(registration_id, ProvisioningStatus::Enabled)
    }

    /// Deletes an individual enrollment. The registration record and the identity of the device at a hub do not change.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn delete(&self, registration_id: &str) -> Result<(), EnrollError> {
        let removed =
            self.cloud.store.change(|state| state.individuals.remove(&registration_id.to_ascii_lowercase()).is_some());
        found(removed, registration_id)
    }

    /// Disables a group.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn disable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Disabled)
    }

    /// Enables a group.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn enable_group(&self, name: &str) -> Result<(), EnrollError> {
        self.set_group(name, ProvisioningStatus::Enabled)
    }

    /// Deletes a group. The registration records and the identities of its devices at hubs do not change.
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if the enrollment does not exist.
    pub fn delete_group(&self, name: &str) -> Result<(), EnrollError> {
        let removed = self.cloud.store.change(|state| state.groups.remove(&name.to_ascii_lowercase()).is_some());
        found(removed, name)
    }

    /// Returns the settings of a device as environment variables. One of them contains the key of the device.
    ///
    /// The key comes from the first of these enrollments that exists:
    ///
    /// * the individual enrollment of the device
    /// * the only enrollment group, if exactly one group exists
    /// * the group of [`Builder::dev_keys`](crate::Builder::dev_keys)
    ///
    /// # Errors
    /// [`EnrollError::NotFound`] if none of these enrollments exists. [`EnrollError::NoKeys`] if the enrollment has
    /// certificates; [`Ready::x509_vars`](crate::Ready::x509_vars) returns the settings of such a device.
    pub fn vars(&self, registration_id: &str) -> Result<Vec<(&'static str, String)>, EnrollError> {
        let no_keys = |id: &str| EnrollError::NoKeys { id: id.to_owned() };
        let key = self.cloud.store.read(|state| {
            if let Some(entry) = state.individuals.get(&registration_id.to_ascii_lowercase()) {
                let keys = entry.proof.keys().ok_or_else(|| no_keys(registration_id))?;
                return Ok(keys.primary.clone());
            }
            let only = if state.groups.len() == 1 { state.groups.values().next() } else { None };
            let group = only.or_else(|| state.groups.get(DEV_GROUP));
            let group = group.ok_or_else(|| EnrollError::NotFound { id: registration_id.to_owned() })?;
            let keys = group.proof.keys().ok_or_else(|| no_keys(&group.model.enrollment_group_id))?;
            Ok::<_, EnrollError>(keys.primary.derive(registration_id))
        })?;
        Ok(self.ready().vars(registration_id, &key))
    }

    /// The registration record of a device.
    #[must_use]
    pub fn registration(&self, registration_id: &str) -> Option<RegistrationState> {
        self.record(registration_id, |it| Some(it.state.clone()))
    }

    /// Returns the payload that a device sent with its last registration; `None` if the device sent none.
    #[must_use]
    pub fn received_payload(&self, registration_id: &str) -> Option<Value> {
        self.record(registration_id, |it| it.received_payload.clone())
    }

    /// Deletes a device's registration record; returns whether it existed.
    pub fn delete_registration(&self, registration_id: &str) -> bool {
        self.cloud.store.change(|state| state.records.remove(&registration_id.to_ascii_lowercase()).is_some())
    }

    fn set_enrollment(&self, registration_id: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.cloud.store.change(|state| {
            let entry = state.individuals.get_mut(&registration_id.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, registration_id)
    }

    fn set_group(&self, name: &str, status: ProvisioningStatus) -> Result<(), EnrollError> {
        let changed = self.cloud.store.change(|state| {
            let entry = state.groups.get_mut(&name.to_ascii_lowercase());
            entry.map(|it| it.model.settings.provisioning_status = Some(status)).is_some()
        });
        found(changed, name)
    }

    fn record<T>(&self, registration_id: &str, read: impl FnOnce(&Record) -> Option<T>) -> Option<T> {
        self.cloud.store.read(|state| state.records.get(&registration_id.to_ascii_lowercase()).and_then(read))
    }
}

fn found(found: bool, id: &str) -> Result<(), EnrollError> {
    if found { Ok(()) } else { Err(EnrollError::NotFound { id: id.to_owned() }) }
}
