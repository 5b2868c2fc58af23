//! Shared access policies. A policy has keys for the service APIs, and the rights of these keys.

use hubward_sas::{KeyError, SharedKey};

use super::{KeyPair, Table};

/// The only policy of the emulated DPS. This policy has all rights.
///
/// Source: `[doc]` iot-dps/how-to-control-access.md, the policy of a new DPS.
pub(crate) const DPS_POLICY: &str = "provisioningserviceowner";

/// The rights of the policy of DPS.
///
/// Source: `[doc]` iot-dps/how-to-control-access.md, "Device Provisioning Service permissions".
pub(crate) const DPS_RIGHTS: [&str; 5] =
    ["ServiceConfig", "EnrollmentRead", "EnrollmentWrite", "RegistrationStatusRead", "RegistrationStatusWrite"];

/// The shared access policies of a new hub.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md, "IoT hub-level shared access policies".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// `iothubowner`: all rights.
    IotHubOwner,
    /// `service`: twins, methods, messages to devices and their feedback.
    Service,
    /// `device`: connects as any device.
    Device,
    /// `registryRead`: reads identities.
    RegistryRead,
    /// `registryReadWrite`: reads and writes identities.
    RegistryReadWrite,
}

/// A right of a policy.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
}

impl Right {
    /// The name that the service uses.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 5] =
        [Self::IotHubOwner, Self::Service, Self::Device, Self::RegistryRead, Self::RegistryReadWrite];

    /// The name in connection strings and tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IotHubOwner => "iothubowner",
            Self::Service => "service",
            Self::Device => "device",
            Self::RegistryRead => "registryRead",
            Self::RegistryReadWrite => "registryReadWrite",
        }
    }

    /// The policy with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(crate) const fn rights(self) -> &'static [Right] {
        use Right::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
        match self {
            Self::IotHubOwner => &[RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect],
            Self::Service => &[ServiceConnect],
            Self::Device => &[DeviceConnect],
            Self::RegistryRead => &[RegistryRead],
            Self::RegistryReadWrite => &[RegistryRead, RegistryWrite],
        }
    }

    pub(crate) fn gives(self, right: Right) -> bool {
        self.rights().contains(&right)
    }
}

/// The keys of each policy. The name of an entry is the result of [`hub_policy`], or [`DPS_POLICY`].
pub(crate) type Policies = Table<KeyPair>;

/// Returns the name of a hub's policy in the table [`Policies`].
pub(crate) fn hub_policy(hub: &str, policy: Policy) -> String {
    format!("{}/{}", hub.to_ascii_lowercase(), policy.name())
}

/// Sets the keys of a policy to the keys in `given`. If `given` does not contain a key, keeps the existing key. If
/// there is also no existing key, generates a random key.
pub(crate) fn set_policy_keys(
    policies: &mut Policies,
    id: String,
    given: (Option<&SharedKey>, Option<&SharedKey>),
) -> Result<(), KeyError> {
    let known = policies.get(&id).cloned();
    let choose = |given: Option<&SharedKey>, known: Option<SharedKey>| match (given, known) {
        (Some(given), _) => Ok(given.clone()),
        (None, Some(known)) => Ok(known),
        (None, None) => SharedKey::generate(),
    };
    let (primary, secondary) = known.clone().map_or((None, None), |it| (Some(it.primary), Some(it.secondary)));
    let keys = KeyPair { primary: choose(given.0, primary)?, secondary: choose(given.1, secondary)? };
    // If the state already contains these keys, write nothing. Without this check, a start with a read-only file would
    // fail.
    if known.as_ref() != Some(&keys) {
        policies.insert(id, keys);
    }
    Ok(())
}

/// A policy of a hub or of DPS, with its keys. The `Debug` output does not contain the keys.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyView {
    /// The host name of the hub. For the policy of DPS, the name of DPS.
    pub host: String,
    /// Whether this is the policy of DPS.
    pub is_dps: bool,
    /// The name, such as `iothubowner`.
    pub name: String,
    /// The rights, with the service's names.
    pub rights: Vec<&'static str>,
    /// The primary key.
    pub primary_key: SharedKey,
    /// The secondary key.
    pub secondary_key: SharedKey,
}

impl PolicyView {
    /// `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`, which is a secret.
    #[must_use]
    pub fn connection_string(&self) -> String {
        let key = self.primary_key.expose_base64();
        format!("HostName={};SharedAccessKeyName={};SharedAccessKey={}", self.host, self.name, key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copied from the documentation's table of default policies.
    #[test]
    fn policies_give_the_documented_rights() {
        for (name, rights) in [
            ("iothubowner", "RegistryRead RegistryWrite ServiceConnect DeviceConnect"),
            ("service", "ServiceConnect"),
            ("device", "DeviceConnect"),
            ("registryRead", "RegistryRead"),
            ("registryReadWrite", "RegistryRead RegistryWrite"),
        ] {
            let policy = Policy::named(name).expect(name);
            let given: Vec<&str> = policy.rights().iter().map(|it| it.as_str()).collect();
            assert_eq!(given.join(" "), rights, "{name}");
        }
        assert_eq!((Policy::named("IotHubOwner"), Policy::named("")), (None, None));
    }

    #[test]
    fn keys_do_not_change_unless_others_are_given() {
        let key = || SharedKey::generate().expect("a key");
        let (mut policies, id) = (Policies::default(), hub_policy("Hub-1", Policy::Service));
        assert_eq!(id, "hub-1/service");
        set_policy_keys(&mut policies, id.clone(), (None, None)).expect("random ones");
        let first = policies[&id].clone();
        policies.track();
        set_policy_keys(&mut policies, id.clone(), (None, None)).expect("the same");
        assert_eq!(policies[&id], first);
        assert!(policies.drain_touched().is_empty(), "the same keys are not written again");
        let given = key();
        set_policy_keys(&mut policies, id.clone(), (Some(&given), None)).expect("another one");
        assert_eq!(policies[&id], KeyPair { primary: given, secondary: first.secondary });
    }
}
