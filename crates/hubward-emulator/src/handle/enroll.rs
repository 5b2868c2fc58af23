//! Creates enrollments from a test, and returns their keys and settings.

use std::sync::Arc;

use hubward_proto::service::{
    AllocationPolicy, Attestation, EnrollmentGroup as GroupModel, IndividualEnrollment, InitialTwin,
    ProvisioningStatus, ReprovisionPolicy, SymmetricKeys,
};
use hubward_sas::SharedKey;
use serde_json::Value;

use crate::services::cloud::{Cloud, Info};
use crate::services::ready::Ready;
use crate::state::model::{EnrollError, Entry, KeyPair, complete};

/// An individual enrollment that exists.
#[derive(Debug, Clone)]
pub struct Enrollment {
    info: Arc<Info>,
    registration_id: String,
    keys: KeyPair,
}

impl Enrollment {
    pub(crate) fn new(info: Arc<Info>, entry: &Entry<IndividualEnrollment>) -> Self {
        Self { info, registration_id: entry.model.registration_id.clone(), keys: entry.keys.clone() }
    }

    /// The registration id.
    #[must_use]
    pub fn registration_id(&self) -> &str {
        &self.registration_id
    }

    /// The primary key.
    #[must_use]
    pub const fn primary_key(&self) -> &SharedKey {
        &self.keys.primary
    }

    /// The secondary key.
    #[must_use]
    pub const fn secondary_key(&self) -> &SharedKey {
        &self.keys.secondary
    }

    /// Returns the device's settings as environment variables: `PROVISIONING_*`, `HUBWARD_CA_FILE`,
    /// `HUBWARD_CONNECT_TO`. One of the variables contains the key of the device.
    #[must_use]
    pub fn vars(&self) -> Vec<(&'static str, String)> {
        Ready::new(&self.info).vars(&self.registration_id, &self.keys.primary)
    }
}

/// An enrollment group that exists.
#[derive(Debug, Clone)]
pub struct EnrollmentGroup {
    info: Arc<Info>,
    name: String,
    keys: KeyPair,
}

impl EnrollmentGroup {
    pub(crate) fn new(info: Arc<Info>, entry: &Entry<GroupModel>) -> Self {
        Self { info, name: entry.model.enrollment_group_id.clone(), keys: entry.keys.clone() }
    }

    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the primary key of the group. The keys of the group's devices are derived from this key.
    #[must_use]
    pub const fn primary_key(&self) -> &SharedKey {
        &self.keys.primary
    }

    /// The secondary key of the group.
    #[must_use]
    pub const fn secondary_key(&self) -> &SharedKey {
        &self.keys.secondary
    }

    /// Returns the key of a device of this group. The key is derived from the primary key of the group.
    #[must_use]
    pub fn device_key(&self, registration_id: &str) -> SharedKey {
        self.keys.primary.derive(registration_id)
    }

    /// Returns the settings of a device of this group as environment variables. See [`Enrollment::vars`].
    #[must_use]
    pub fn vars(&self, registration_id: &str) -> Vec<(&'static str, String)> {
        Ready::new(&self.info).vars(registration_id, &self.device_key(registration_id))
    }
}

/// The setters that both builders have.
macro_rules! settings {
    () => {
        /// Assigns devices only to these hubs. The default is all linked hubs.
        ///
        /// A name in the list may name a hub that the emulator does not have. If the emulator has none of the hubs in
        /// the list, registrations fail (400208).
        pub fn hubs(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
            self.model.settings.iot_hubs = Some(names.into_iter().map(Into::into).collect());
            self
        }

        /// Sets how DPS selects a hub. The default is `hashed`.
        ///
        /// The emulator supports neither `geoLatency` nor `custom`. With one of these policies, registrations fail.
        pub fn allocation(mut self, policy: AllocationPolicy) -> Self {
            self.model.settings.allocation_policy = Some(policy);
            self
        }

        /// What happens when a device registers again.
        pub fn reprovision(mut self, policy: ReprovisionPolicy) -> Self {
            self.model.settings.reprovision_policy = Some(policy);
            self
        }

        /// The initial twin of the device.
        pub fn initial_twin(mut self, twin: InitialTwin) -> Self {
            self.model.settings.initial_twin = Some(twin);
            self
        }

        /// Uses these keys instead of generated ones.
        pub fn keys(mut self, primary: &SharedKey, secondary: &SharedKey) -> Self {
            self.model.settings.attestation = Some(Attestation::symmetric_key(Some(SymmetricKeys {
                primary_key: primary.expose_base64().to_string(),
                secondary_key: secondary.expose_base64().to_string(),
            })));
            self
        }

        /// Disables the enrollment: its devices cannot register.
        pub fn disabled(mut self) -> Self {
            self.model.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
            self
        }

        /// Adds `payload` to the registration results of devices. The real service does this if a custom allocation
        /// webhook returns a payload.
        pub fn payload(mut self, payload: Value) -> Self {
            self.payload = Some(payload);
            self
        }
    };
}

/// Configures an individual enrollment; from [`Emulator::enrollment`](crate::Emulator::enrollment).
#[derive(Debug)]
#[must_use = "the enrollment is created only by `create`"]
pub struct EnrollmentBuilder<'a> {
    cloud: &'a Cloud,
    model: IndividualEnrollment,
    payload: Option<Value>,
}

impl<'a> EnrollmentBuilder<'a> {
    pub(crate) fn new(cloud: &'a Cloud, registration_id: String) -> Self {
        Self { cloud, model: IndividualEnrollment::new(registration_id), payload: None }
    }

    settings!();

    /// Sets the device's id at its hub. The default is the registration id.
    pub fn device_id(mut self, device_id: impl Into<String>) -> Self {
        self.model.device_id = Some(device_id.into());
        self
    }

    /// Creates the enrollment. If an enrollment with this registration id exists, updates the existing enrollment.
    ///
    /// # Errors
    /// [`EnrollError`] if an id, a key, the initial twin or another setting is not valid, or if the system provides no
    /// random numbers for the keys.
    pub fn create(self) -> Result<Enrollment, EnrollError> {
        let Self { cloud, model, payload } = self;
        let now = cloud.clock.now();
        let key = model.registration_id.to_ascii_lowercase();
        cloud.store.change(|state| {
            let (entry, _) = complete(model, state.individuals.get(&key), now)?;
            let entry = entry.answering(payload)?;
            let handle = Enrollment::new(Arc::clone(&cloud.info), &entry);
            state.individuals.insert(key, entry);
            Ok(handle)
        })
    }
}

/// Configures an enrollment group; from [`Emulator::enrollment_group`](crate::Emulator::enrollment_group).
#[derive(Debug)]
#[must_use = "the group is created only by `create`"]
pub struct EnrollmentGroupBuilder<'a> {
    cloud: &'a Cloud,
    model: GroupModel,
    payload: Option<Value>,
}

impl<'a> EnrollmentGroupBuilder<'a> {
    pub(crate) fn new(cloud: &'a Cloud, name: String) -> Self {
        Self { cloud, model: GroupModel::new(name), payload: None }
    }

    settings!();

    /// Creates the group. If a group with this name exists, updates the existing group.
    ///
    /// # Errors
    /// [`EnrollError`] if the name, a key, the initial twin or another setting is not valid, or if the system provides
    /// no random numbers for the keys.
    pub fn create(self) -> Result<EnrollmentGroup, EnrollError> {
        let Self { cloud, model, payload } = self;
        let now = cloud.clock.now();
        let key = model.enrollment_group_id.to_ascii_lowercase();
        cloud.store.change(|state| {
            let (entry, _) = complete(model, state.groups.get(&key), now)?;
            let entry = entry.answering(payload)?;
            let handle = EnrollmentGroup::new(Arc::clone(&cloud.info), &entry);
            state.groups.insert(key, entry);
            Ok(handle)
        })
    }
}
