//! Methods for the modules of devices.

use hubward_proto::ModuleId;
use hubward_sas::SharedKey;

use super::Emulator;
use super::devices::{put, self_signed};
use crate::state::model::{DeviceAuthentication, EndReason, EnrollError, Key, KeyPair, ModuleView, State};

impl Emulator {
    /// The modules of a device, in the order of their ids.
    #[must_use]
    pub fn modules(&self, hub: &str, device_id: &str) -> Vec<ModuleView> {
        self.cloud.store.read(|state| {
            let Some(registry) = state.hub(hub) else { return Vec::new() };
            registry.modules(device_id).iter().filter_map(|it| view(state, hub, it)).collect()
        })
    }

    /// One module of a device.
    #[must_use]
    pub fn module(&self, hub: &str, device_id: &str, module_id: &str) -> Option<ModuleView> {
        self.cloud.store.read(|state| view(state, hub, &format!("{device_id}/{module_id}")))
    }

    /// Creates a module of a device at a hub and returns the primary key of the module. If the module exists already,
    /// does not change it.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, if the hub or the device does not exist, if the module
    /// exists and has a certificate instead of keys, or if the system provides no random numbers for the keys.
    pub fn add_module(&self, hub: &str, device_id: &str, module_id: &str) -> Result<SharedKey, EnrollError> {
        let client_id = format!("{device_id}/{module_id}");
        let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: client_id.clone(), problem })?;
        match self.add_identity(hub, device_id, module_id, DeviceAuthentication::Sas(keys), false)? {
            DeviceAuthentication::Sas(keys) => Ok(keys.primary),
            _ => Err(EnrollError::NoKeys { id: client_id }),
        }
    }

    /// Creates a module that authenticates with a certificate of one of these thumbprints (SHA-1 or SHA-256). If the
    /// module exists already, replaces its authentication and does not change the rest.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id or a thumbprint, or if the hub or the device does not
    /// exist.
    pub fn add_self_signed_module(
        &self,
        hub: &str,
        device_id: &str,
        module_id: &str,
        primary: &str,
        secondary: Option<&str>,
    ) -> Result<(), EnrollError> {
        let authentication = self_signed(&format!("{device_id}/{module_id}"), primary, secondary)?;
        self.add_identity(hub, device_id, module_id, authentication, true).map(drop)
    }

    /// Creates a module that authenticates with a certificate of a verified authority (see
    /// [`Emulator::add_authority`]). The common name of the certificate must be `{device}/{module}`. If the module
    /// exists already, replaces its authentication and does not change the rest.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, or if the hub or the device does not exist.
    pub fn add_ca_signed_module(&self, hub: &str, device_id: &str, module_id: &str) -> Result<(), EnrollError> {
        self.add_identity(hub, device_id, module_id, DeviceAuthentication::CertificateAuthority, true).map(drop)
    }

    fn add_identity(
        &self,
        hub: &str,
        device_id: &str,
        module_id: &str,
        authentication: DeviceAuthentication,
        replaces: bool,
    ) -> Result<DeviceAuthentication, EnrollError> {
        ModuleId::new(module_id)?;
        let client_id = format!("{device_id}/{module_id}");
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| {
            let unknown = || EnrollError::UnknownHub { id: client_id.clone(), hub: hub.to_owned() };
            let registry = state.hub_mut(hub).ok_or_else(unknown)?;
            if !registry.is_device(device_id) {
                return Err(EnrollError::UnknownDevice { id: client_id, device: device_id.to_owned() });
            }
            Ok(put(&mut registry.devices, &client_id, authentication, replaces, now))
        })
    }

    /// Deletes a module and closes its connection. Returns whether the module existed.
    pub fn delete_module(&self, hub: &str, device_id: &str, module_id: &str) -> bool {
        let client_id = format!("{device_id}/{module_id}");
        self.cloud.store.change(|state| {
            let removed = state.hub_mut(hub).and_then(|it| it.remove(&client_id)).is_some();
            state.live.close(&Key::hub(hub, &client_id), EndReason::NotAllowed);
            removed
        })
    }
}

fn view(state: &State, hub: &str, client_id: &str) -> Option<ModuleView> {
    let registry = state.hub(hub)?;
    let (device_id, module_id) = client_id.split_once('/')?;
    let connected = state.live.is_live(&Key::hub(hub, client_id));
    Some(registry.devices.get(client_id)?.module_view(&registry.host, device_id, module_id, connected))
}
