//! Methods for the registries of the hubs and for telemetry.

use std::time::SystemTime;

use hubward_proto::DeviceId;
use hubward_proto::service::X509Thumbprint;
use hubward_sas::SharedKey;

use super::Emulator;
use crate::state::model::{
    Device, DeviceAuthentication, DeviceView, EndReason, EnrollError, Key, KeyPair, State, Table, Thumbprints,
};
use crate::state::telemetry::TelemetryLog;
use crate::state::wire_id;

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

    /// Creates a device with symmetric keys at a hub, without DPS. Returns the primary key of the device. If the device
    /// exists already, does not change it.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, if no hub has this name, if the device exists and has a
    /// certificate instead of keys, or if the system provides no random numbers for the keys.
    pub fn add_device(&self, hub: &str, device_id: &str) -> Result<SharedKey, EnrollError> {
        let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: device_id.to_owned(), problem })?;
        match self.add(hub, device_id, DeviceAuthentication::Sas(keys), false)? {
            DeviceAuthentication::Sas(keys) => Ok(keys.primary),
            _ => Err(EnrollError::NoKeys { id: device_id.to_owned() }),
        }
    }

    /// Creates a device at a hub that authenticates with a certificate of one of these thumbprints (SHA-1 or SHA-256).
    /// The type of its authentication is `selfSigned`. If the device exists already, replaces its authentication and
    /// does not change the rest.
    ///
    /// [`hubward_x509::Certificate::sha256_thumbprint`] computes the thumbprint of a certificate.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id or a thumbprint, or if no hub has this name.
    pub fn add_self_signed_device(
        &self,
        hub: &str,
        device_id: &str,
        primary: &str,
        secondary: Option<&str>,
    ) -> Result<(), EnrollError> {
        self.add(hub, device_id, self_signed(device_id, primary, secondary)?, true).map(drop)
    }

    /// Creates a device at a hub that authenticates with a certificate of a verified authority (see
    /// [`Emulator::add_authority`]). The common name of the certificate must be the device id. The type of its
    /// authentication is `certificateAuthority`. If the device exists already, replaces its authentication and does not
    /// change the rest.
    ///
    /// # Errors
    /// [`EnrollError`] if the service would not accept the id, or if no hub has this name.
    pub fn add_ca_signed_device(&self, hub: &str, device_id: &str) -> Result<(), EnrollError> {
        self.add(hub, device_id, DeviceAuthentication::CertificateAuthority, true).map(drop)
    }

    /// Creates a device, or replaces the authentication of an existing device if `replaces` is true. Returns the
    /// authentication of the device.
    fn add(
        &self,
        hub: &str,
        device_id: &str,
        authentication: DeviceAuthentication,
        replaces: bool,
    ) -> Result<DeviceAuthentication, EnrollError> {
        DeviceId::new(device_id)?;
        let now = self.cloud.clock.now();
        self.cloud.store.change(|state| {
            let unknown = || EnrollError::UnknownHub { id: device_id.to_owned(), hub: hub.to_owned() };
            let hub = state.hub_mut(hub).ok_or_else(unknown)?;
            Ok(put(&mut hub.devices, device_id, authentication, replaces, now))
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

/// The authentication `selfSigned` of an identity.
pub(super) fn self_signed(
    id: &str,
    primary: &str,
    secondary: Option<&str>,
) -> Result<DeviceAuthentication, EnrollError> {
    let thumbprint = X509Thumbprint {
        primary_thumbprint: Some(primary.to_owned()),
        secondary_thumbprint: secondary.map(str::to_owned),
    };
    let wrong = |problem: &str| EnrollError::Authentication { id: id.to_owned(), problem: problem.to_owned() };
    Thumbprints::new(thumbprint).map(DeviceAuthentication::SelfSigned).map_err(wrong)
}

/// Creates an identity, or replaces the authentication of an existing one if `replaces` is true. Returns the
/// authentication of the identity.
pub(super) fn put(
    identities: &mut Table<Device>,
    client_id: &str,
    authentication: DeviceAuthentication,
    replaces: bool,
    now: SystemTime,
) -> DeviceAuthentication {
    let identity = identities.get_or_insert_with(client_id.to_owned(), || Device::new(authentication.clone(), now));
    if replaces && identity.authentication != authentication {
        identity.authentication = authentication;
        identity.etag = wire_id::next_identity_etag(&identity.etag);
    }
    identity.authentication.clone()
}

fn view(state: &State, host: &str, device_id: &str, device: &Device) -> DeviceView {
    device.view(host, device_id, state.live.is_live(&Key::hub(host, device_id)))
}
