//! Methods for the registries of the hubs and for telemetry.

use hubward_proto::DeviceId;
use hubward_sas::SharedKey;

use super::Emulator;
use crate::state::model::{Device, DeviceView, EndReason, EnrollError, Key, KeyPair, State};
use crate::state::telemetry::TelemetryLog;

impl Emulator {
    /// Returns the devices of all hubs, sorted by hub and then by id.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceView> {
        self.cloud.store.read(|state| {
            let hubs = state.hubs.values();
            hubs.flat_map(|hub| {
                let devices = hub.devices.iter().filter(|(id, _)| !id.contains('/'));
                devices.map(|(id, it)| view(state, &hub.host, id, it))
            })
            .collect()
        })
    }

    /// One device of a hub.
    #[must_use]
    pub fn device(&self, hub: &str, device_id: &str) -> Option<DeviceView> {
        self.cloud.store.read(|state| {
            let host = &state.hub(hub).filter(|it| it.is_device(device_id))?.host;
            Some(view(state, host, device_id, state.device(hub, device_id)?))
        })
    }

    /// Creates a device at a hub without DPS. Returns the primary key of the device. If the device exists already, does
    /// not change it.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, if no hub has this name, or if the system provides no
    /// random numbers for the keys.
    pub fn add_device(&self, hub: &str, device_id: &str) -> Result<SharedKey, EnrollError> {
        DeviceId::new(device_id)?;
        let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: device_id.to_owned(), problem })?;
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| {
            let unknown = || EnrollError::UnknownHub { id: device_id.to_owned(), hub: hub.to_owned() };
            let hub = state.hubs.get_mut(&hub.to_ascii_lowercase()).ok_or_else(unknown)?;
            let device = hub.devices.get_or_insert_with(device_id.to_owned(), || Device::new(keys, now));
            Ok(device.keys.primary.clone())
        })
    }

    /// Enables or disables a device of a hub. Disabling closes the connections of the device and of its modules.
    /// Returns whether the device exists.
    pub fn set_device_enabled(&self, hub: &str, device_id: &str, enabled: bool) -> bool {
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| state.set_enabled(hub, device_id, enabled, now))
    }

    /// Deletes a device, its modules and its messages from a hub. Closes the connections of the device and of its
    /// modules. Returns whether the device existed.
    pub fn delete_device(&self, hub: &str, device_id: &str) -> bool {
        self.cloud.store.change(|state| {
            let known = state.hub(hub).is_some_and(|it| it.is_device(device_id));
            known && state.remove_device(hub, device_id).is_some()
        })
    }

    /// Closes the connection of a device, or of a module if `device_id` is `{device}/{module}`. A real hub does this
    /// when it moves a device to another node.
    ///
    /// The device may reconnect at once. Returns whether the device was connected.
    pub fn disconnect_device(&self, hub: &str, device_id: &str) -> bool {
        self.cloud.store.change(|state| state.live.close(&Key::hub(hub, device_id), EndReason::Dropped))
    }

    /// Returns the telemetry log of a hub; `None` if no hub has this name.
    #[must_use]
    pub fn telemetry(&self, hub: &str) -> Option<TelemetryLog> {
        self.cloud.logs.get(&hub.to_ascii_lowercase()).cloned()
    }
}

fn view(state: &State, host: &str, device_id: &str, device: &Device) -> DeviceView {
    device.view(host, device_id, state.live.is_live(&Key::hub(host, device_id)))
}
