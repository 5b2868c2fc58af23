//! Creates enrollments from a test, and returns their keys and settings.

use std::sync::Arc;

use hubward_proto::service::{
    AllocationPolicy, Attestation, EnrollmentGroup as GroupModel, IndividualEnrollment, InitialTwin,
    ProvisioningStatus, ReprovisionPolicy, SymmetricKeys, X509Attestation,
};
use hubward_sas::SharedKey;
use serde_json::Value;

use crate::services::cloud::{Cloud, Info};
use crate::services::ready::Ready;
use crate::state::model::{EnrollError, Entry, KeyPair, Model, complete, named_policy};

/// An individual enrollment with symmetric keys that exists.
#[derive(Debug, Clone)]
pub struct Enrollment {
    info: Arc<Info>,
    registration_id: String,
    keys: KeyPair,
}

impl Enrollment {
    pub(crate) fn new(info: Arc<Info>, entry: &Entry<IndividualEnrollment>) -> Result<Self, EnrollError> {
        let (registration_id, keys) = (entry.model.registration_id.clone(), keys_of(entry)?);
        Ok(Self { info, registration_id, keys })
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

/// An enrollment group with symmetric keys that exists.
#[derive(Debug, Clone)]
pub struct EnrollmentGroup {
    info: Arc<Info>,
    name: String,
    keys: KeyPair,
}

impl EnrollmentGroup {
    pub(crate) fn new(info: Arc<Info>, entry: &Entry<GroupModel>) -> Result<Self, EnrollError> {
        let (name, keys) = (entry.model.enrollment_group_id.clone(), keys_of(entry)?);
        Ok(Self { info, name, keys })
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

/// The keys of an enrollment. Returns an error if it has certificates.
fn keys_of<M: Model>(entry: &Entry<M>) -> Result<KeyPair, EnrollError> {
    entry.proof.keys().cloned().ok_or_else(|| EnrollError::NoKeys { id: entry.model.id().to_owned() })
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

        /// Lets DPS issue a certificate to each device that sends a certificate request with its registration. `name`
        /// is a credential policy; see [`Emulator::put_credential_policy`](crate::Emulator::put_credential_policy).
        pub fn credential_policy(mut self, name: impl Into<String>) -> Self {
            self.model.settings.credential_policy_name = Some(Value::String(name.into()));
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

    /// Creates the enrollment with symmetric keys. If an enrollment with this registration id exists, updates the
    /// existing enrollment.
    ///
    /// # Errors
    /// [`EnrollError`] if an id, a key, the initial twin or another setting is not valid, or if the system provides no
    /// random numbers for the keys.
    pub fn create(self) -> Result<Enrollment, EnrollError> {
        let info = Arc::clone(&self.cloud.info);
        Enrollment::new(info, &self.put()?)
    }

    /// Creates the enrollment with certificates: the device authenticates with a certificate that equals one of these.
    /// Each text is PEM, or the base64 of DER. If an enrollment with this registration id exists, updates the existing
    /// enrollment; [`keys`](Self::keys) has no effect.
    ///
    /// [`Ready::x509_vars`](crate::Ready::x509_vars) returns the settings of the device.
    ///
    /// ```no_run
    /// # fn doc(emulator: hubward_emulator::Emulator, pem: &str) -> Result<(), hubward_emulator::EnrollError> {
    /// emulator.enrollment("dev-1").create_with_certificates(pem, None)?;
    /// let vars = emulator.ready().x509_vars("dev-1", "dev-1.pem".as_ref(), "dev-1.key".as_ref());
    /// # let _ = vars;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EnrollError`] if an id, a certificate, the initial twin or another setting is not valid.
    pub fn create_with_certificates(mut self, primary: &str, secondary: Option<&str>) -> Result<(), EnrollError> {
        let certificates = X509Attestation::client(primary, secondary.map(str::to_owned));
        self.model.settings.attestation = Some(Attestation::x509(certificates));
        self.put().map(drop)
    }

    fn put(self) -> Result<Entry<IndividualEnrollment>, EnrollError> {
        let Self { cloud, model, payload } = self;
        let now = cloud.clock.now();
        let key = model.registration_id.to_ascii_lowercase();
        cloud.store.change(|state| {
            let (entry, _) = complete(model, state.individuals.get(&key), now)?;
            named_policy(&state.credential_policies, &[], entry.model.id(), entry.model.settings())?;
            let entry = entry.answering(payload)?;
            state.individuals.insert(key, entry.clone());
            Ok(entry)
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

    /// Creates the group with symmetric keys. If a group with this name exists, updates the existing group.
    ///
    /// # Errors
    /// [`EnrollError`] if the name, a key, the initial twin or another setting is not valid, or if the system provides
    /// no random numbers for the keys.
    pub fn create(self) -> Result<EnrollmentGroup, EnrollError> {
        let info = Arc::clone(&self.cloud.info);
        EnrollmentGroup::new(info, &self.put()?)
    }

    /// Creates the group with signing certificates: a device authenticates with a certificate that one of these
    /// certificates has issued, directly or through others that the device presents. Each text is PEM, or the base64 of
    /// DER. If a group with this name exists, updates the existing group; [`keys`](Self::keys) has no effect.
    ///
    /// # Errors
    /// [`EnrollError`] if the name, a certificate, the initial twin or another setting is not valid.
    pub fn create_with_certificates(self, primary: &str, secondary: Option<&str>) -> Result<(), EnrollError> {
        self.put_x509(X509Attestation::signing(primary, secondary.map(str::to_owned)))
    }

    /// Creates the group with the names of CA certificates
    /// ([`Emulator::add_authority`](crate::Emulator::add_authority)). The group works like one with signing
    /// certificates, but only while the CA certificates are verified. If a group with this name exists, updates the
    /// existing group; [`keys`](Self::keys) has no effect.
    ///
    /// The emulator may lack a CA certificate of one of the names. Its devices are then refused.
    ///
    /// # Errors
    /// [`EnrollError`] if the name, the initial twin or another setting is not valid.
    pub fn create_with_authorities(self, primary: &str, secondary: Option<&str>) -> Result<(), EnrollError> {
        self.put_x509(X509Attestation::authorities(primary, secondary.map(str::to_owned)))
    }

    fn put_x509(mut self, certificates: X509Attestation) -> Result<(), EnrollError> {
        self.model.settings.attestation = Some(Attestation::x509(certificates));
        self.put().map(drop)
    }

    fn put(self) -> Result<Entry<GroupModel>, EnrollError> {
        let Self { cloud, model, payload } = self;
        let now = cloud.clock.now();
        let key = model.enrollment_group_id.to_ascii_lowercase();
        cloud.store.change(|state| {
            let (entry, _) = complete(model, state.groups.get(&key), now)?;
            named_policy(&state.credential_policies, &[], entry.model.id(), entry.model.settings())?;
            let entry = entry.answering(payload)?;
            state.groups.insert(key, entry.clone());
            Ok(entry)
        })
    }
}
