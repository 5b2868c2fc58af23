//! The policies of the service APIs.

use super::cloud::Cloud;
use crate::state::model::{DPS_POLICY, DPS_RIGHTS, Policy, PolicyView, hub_policy};

/// Returns all policies: first the policies of each hub, in the order of the hubs; then the policy of DPS.
pub(crate) fn all(cloud: &Cloud) -> Vec<PolicyView> {
    cloud.store.read(|state| {
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
        let dps = view(DPS_POLICY, true, &cloud.access.name, DPS_POLICY, DPS_RIGHTS.to_vec());
        cloud.info.hubs.iter().flat_map(of_hub).chain(dps).collect()
    })
}
