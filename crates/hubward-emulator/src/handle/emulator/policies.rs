//! The policies of the service APIs and their connection strings.

use super::Emulator;
use crate::services::policies;
use crate::state::model::{Policy, PolicyView};

impl Emulator {
    /// Returns the service connection string of DPS.
    ///
    /// The connection string contains the name of DPS, the policy `provisioningserviceowner`, and the key of this
    /// policy, which is a secret. It does not contain the port of the emulator, because the format has no field for a
    /// port.
    #[must_use]
    pub fn dps_connection_string(&self) -> String {
        let policies = policies::all(&self.cloud);
        policies.iter().find(|it| it.is_dps).map(PolicyView::connection_string).unwrap_or_default()
    }

    /// Returns the service connection string of a hub. Returns `None` if no hub has this name.
    ///
    /// The connection string contains the name of the hub, the policy `iothubowner`, and the key of this policy, which
    /// is a secret. It does not contain the port of the emulator, because the format has no field for a port.
    #[must_use]
    pub fn hub_connection_string(&self, hub: &str) -> Option<String> {
        let policies = policies::all(&self.cloud);
        let owner = policies
            .iter()
            .find(|it| !it.is_dps && it.host.eq_ignore_ascii_case(hub) && it.name == Policy::IotHubOwner.name());
        owner.map(PolicyView::connection_string)
    }

    /// Returns the policies of all hubs and of DPS, with their keys.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyView> {
        policies::all(&self.cloud)
    }
}
