//! Methods for the modules of devices.

use hubward_proto::ModuleId;
use hubward_sas::SharedKey;

use super::Emulator;
use crate::state::model::{Device, EndReason, EnrollError, Key, KeyPair, ModuleView, State};

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
    /// [`EnrollError`] if the service would not accept the id, if the hub or the device does not exist, or if the
    /// system provides no random numbers for the keys.
    pub fn add_module(&self, hub: &str, device_id: &str, module_id: &str) -> Result<SharedKey, EnrollError> {
        ModuleId::new(module_id)?;
        let client_id = format!("{device_id}/{module_id}");
        let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: client_id.clone(), problem })?;
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| {
            let unknown = || EnrollError::UnknownHub { id: client_id.clone(), hub: hub.to_owned() };
            let registry = state.hub_mut(hub).ok_or_else(unknown)?;
            if !registry.is_device(device_id) {
                return Err(EnrollError::UnknownDevice { id: client_id, device: device_id.to_owned() });
            }
            let module = registry.devices.get_or_insert_with(client_id, || Device::new(keys, now));
            Ok(module.keys.primary.clone())
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
