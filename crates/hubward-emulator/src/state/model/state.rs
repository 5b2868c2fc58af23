//! All objects of an emulator: enrollments, registrations, hubs with their devices, policies, and connections.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};
use hubward_x509::Certificate;

use super::authorities::{AUTHORITIES_MAX, Authorities, Authority, AuthorityError, new_authority};
use super::credential_policies::CredentialPolicies;
use super::enrollment::Entry;
use super::live::{EndReason, Key, Live};
use super::policy::Policies;
use super::record::{Operations, Records};
use super::registry::{Device, Hub};
use super::table::Table;
use crate::state::clock::timestamp;
use crate::state::wire_id;

/// The state. The keys of the maps are in lower case if the service ignores the letter case of the name.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) individuals: Table<Entry<IndividualEnrollment>>,
    pub(crate) groups: Table<Entry<EnrollmentGroup>>,
    /// The CA certificates of DPS and the hubs.
    pub(crate) authorities: Authorities,
    pub(crate) credential_policies: CredentialPolicies,
    pub(crate) records: Records,
    pub(crate) operations: Operations,
    pub(crate) hubs: BTreeMap<String, Hub>,
    /// The keys of the shared access policies. With one of these keys, a client can use the service APIs or connect as
    /// any device, if the policy allows this.
    pub(crate) policies: Policies,
    pub(crate) live: Live,
}

impl State {
    /// A state that contains hubs without devices, and nothing else.
    pub(crate) fn new<'a>(hubs: impl IntoIterator<Item = &'a str>) -> Self {
        let hub = |host: &str| Hub { host: host.to_owned(), ..Hub::default() };
        let hubs = hubs.into_iter().map(|host| (host.to_ascii_lowercase(), hub(host))).collect();
        Self { hubs, ..Self::default() }
    }

    pub(crate) fn hub(&self, host: &str) -> Option<&Hub> {
        self.hubs.get(&host.to_ascii_lowercase())
    }

    pub(crate) fn hub_mut(&mut self, host: &str) -> Option<&mut Hub> {
        self.hubs.get_mut(&host.to_ascii_lowercase())
    }

    pub(crate) fn device(&self, host: &str, device_id: &str) -> Option<&Device> {
        self.hub(host)?.devices.get(device_id)
    }

    pub(crate) fn device_mut(&mut self, host: &str, device_id: &str) -> Option<&mut Device> {
        self.hub_mut(host)?.devices.get_mut(device_id)
    }

    /// Enables or disables a device. Disabling closes the connections of the device and of its modules. Returns whether
    /// the device exists.
    pub(crate) fn set_enabled(&mut self, host: &str, device_id: &str, enabled: bool, now: SystemTime) -> bool {
        let device = self.hub_mut(host).filter(|it| it.is_device(device_id));
        let Some(device) = device.and_then(|it| it.devices.get_mut(device_id)) else { return false };
        if device.enabled != enabled {
            (device.enabled, device.status_updated) = (enabled, timestamp(now));
        }
        device.etag = wire_id::next_identity_etag(&device.etag);
        if !enabled {
            self.close_device(host, device_id);
        }
        true
    }

    /// Deletes a device with its modules and messages. Closes the connections of the device and of its modules. Returns
    /// the device if it existed.
    pub(crate) fn remove_device(&mut self, host: &str, device_id: &str) -> Option<Device> {
        self.close_device(host, device_id);
        self.hub_mut(host)?.remove(device_id)
    }

    /// Closes the connections of a device and its modules.
    pub(crate) fn close_device(&mut self, host: &str, device_id: &str) {
        let modules = self.hub(host).map_or_else(Vec::new, |it| it.modules(device_id));
        for client_id in modules.into_iter().chain([device_id.to_owned()]) {
            self.live.close(&Key::hub(host, &client_id), EndReason::NotAllowed);
        }
    }

    /// The CA certificate of this name. Ignores the letter case.
    #[cfg(feature = "admin")]
    pub(crate) fn authority(&self, name: &str) -> Option<&Authority> {
        self.authorities.get(&name.to_ascii_lowercase())
    }

    /// Adds a CA certificate, or replaces the one of this name. A replaced certificate keeps the time of its creation.
    pub(crate) fn put_authority(
        &mut self,
        name: &str,
        certificate: &Certificate,
        is_verified: bool,
        now: SystemTime,
    ) -> Result<Authority, AuthorityError> {
        let key = name.to_ascii_lowercase();
        let before = self.authorities.get(&key);
        if before.is_none() && self.authorities.len() >= AUTHORITIES_MAX {
            return Err(AuthorityError::TooMany { limit: AUTHORITIES_MAX });
        }
        let authority = new_authority(name, certificate, is_verified, before, now);
        self.authorities.insert(key, authority.clone());
        Ok(authority)
    }

    /// Removes everything except the keys of policies, and ends every connection.
    pub(crate) fn forget(&mut self) {
        let Self {
            individuals,
            groups,
            authorities,
            credential_policies,
            records,
            operations,
            hubs,
            policies: _,
            live,
        } = self;
        individuals.clear();
        groups.clear();
        authorities.clear();
        credential_policies.clear();
        records.clear();
        operations.clear();
        for hub in hubs.values_mut() {
            hub.devices.clear();
            hub.feedback.clear();
        }
        live.close_all(EndReason::NotAllowed);
    }

    /// Returns when an identity was last active. If it was never active, the time is in the year 1.
    pub(crate) fn activity(&self, hub: &str, client_id: &str, device: &Device) -> String {
        self.live.activity(&Key::hub(hub, client_id)).unwrap_or_else(|| device.last_activity.clone())
    }
}
