//! The policies of the service APIs and their connection strings.

use super::Emulator;
use crate::shared::Shared;
use crate::store::{DPS_POLICY, DPS_RIGHTS, Policy, PolicyView, hub_policy};

impl Emulator {
    /// The service connection string of DPS: its name, the policy `provisioningserviceowner` and its key, which is
    /// a secret. A connection string cannot contain a port.
    #[must_use]
    pub fn dps_connection_string(&self) -> String {
        let policies = self.shared.policies();
        policies.iter().find(|it| it.is_dps).map(PolicyView::connection_string).unwrap_or_default()
    }

    /// The service connection string of a hub: its name, the policy `iothubowner` and its key, which is a secret. A
    /// connection string cannot contain a port. `None` if there is no such hub.
    #[must_use]
    pub fn hub_connection_string(&self, hub: &str) -> Option<String> {
        let policies = self.shared.policies();
        let owner = policies
            .iter()
            .find(|it| !it.is_dps && it.host.eq_ignore_ascii_case(hub) && it.name == Policy::IotHubOwner.name());
        owner.map(PolicyView::connection_string)
    }

    /// The policies of all hubs and of DPS, with their keys.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyView> {
        self.shared.policies()
    }
}

impl Shared {
    /// The policies of all hubs in their order, followed by the policy of DPS.
    pub(crate) fn policies(&self) -> Vec<PolicyView> {
        self.store.read(|state| {
            let view = |id: &str, is_dps, host: &str, name: &str, rights| {
                let keys = state.policies.get(id)?;
                Some(PolicyView {
                    host: host.to_owned(),
                    is_dps,
                    name: name.to_owned(),
                    rights,
                    primary_key: keys.primary.clone(),
                    secondary_key: keys.secondary.clone(),
                })
            };
            let of_hub = |host: &'_ String| {
                let one = |policy: Policy| {
                    let rights = policy.rights().iter().map(|it| it.as_str()).collect();
                    view(&hub_policy(host, policy), false, host, policy.name(), rights)
                };
                Policy::ALL.into_iter().filter_map(one).collect::<Vec<_>>()
            };
            let dps = view(DPS_POLICY, true, &self.access.name, DPS_POLICY, DPS_RIGHTS.to_vec());
            self.info.hubs.iter().flat_map(of_hub).chain(dps).collect()
        })
    }
}
