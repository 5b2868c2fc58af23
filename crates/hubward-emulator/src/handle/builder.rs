//! Configures and starts an emulator.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use hubward_proto::dps::GLOBAL_HOST;
use hubward_proto::{HubHost, IdScope};
use hubward_sas::{KeyError, SharedKey};

use super::error::StartError;
use crate::doors::tls::BadCertificate;
#[cfg(feature = "admin")]
use crate::services::simulated::{RunDevice, SimulatedDevice};
use crate::state::model::{DEV_ID_SCOPE, DPS_POLICY, Rules, State, hub_policy, set_policy_keys};
use crate::state::model::{Policy, Seed};

/// The Retry-After of the real service's answer to a registration request. The device waits for this time before it
/// polls.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md, transcripts (`Retry-After: 3`).
pub const SERVICE_RETRY_AFTER: Duration = Duration::from_secs(3);

pub(crate) const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Configures an emulator. [`Emulator::builder`](crate::Emulator::builder) returns a builder, in which every option has
/// a default.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(crate) addresses: Option<Vec<IpAddr>>,
    pub(crate) mqtt_port: u16,
    pub(crate) https_port: u16,
    #[cfg(feature = "admin")]
    pub(crate) admin_port: u16,
    #[cfg(feature = "admin")]
    pub(crate) admin_address: Option<IpAddr>,
    #[cfg(feature = "admin")]
    pub(crate) allowed_hosts: Vec<String>,
    #[cfg(feature = "admin")]
    pub(crate) run_device: Option<RunDevice>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) hubs: Vec<String>,
    pub(crate) id_scope: String,
    pub(crate) dps_hosts: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) seed: Option<Seed>,
    pub(crate) dev_keys: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) polls_before_assigned: u32,
    pub(crate) clock_ahead: Duration,
    pub(crate) max_connections: usize,
    pub(crate) telemetry_retention: usize,
    pub(crate) certificate: Option<BadCertificate>,
    pub(crate) rules: Rules,
    pub(crate) close_on_refused_filter: bool,
    pub(crate) shuffle: Option<u64>,
    pub(crate) policy_keys: BTreeMap<Policy, (SharedKey, Option<SharedKey>)>,
    pub(crate) dps_policy_key: Option<SharedKey>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            addresses: None,
            mqtt_port: 0,
            https_port: 0,
            #[cfg(feature = "admin")]
            admin_port: 0,
            #[cfg(feature = "admin")]
            admin_address: None,
            #[cfg(feature = "admin")]
            allowed_hosts: Vec::new(),
            #[cfg(feature = "admin")]
            run_device: None,
            data_dir: None,
            hubs: vec!["localhost".to_owned()],
            id_scope: DEV_ID_SCOPE.to_owned(),
            dps_hosts: vec![GLOBAL_HOST.to_owned()],
            names: Vec::new(),
            seed: None,
            dev_keys: false,
            retry_after: Some(Duration::ZERO),
            polls_before_assigned: 1,
            clock_ahead: Duration::ZERO,
            max_connections: 10_000,
            telemetry_retention: 100_000,
            certificate: None,
            rules: Rules::default(),
            close_on_refused_filter: false,
            shuffle: None,
            policy_keys: BTreeMap::new(),
            dps_policy_key: None,
        }
    }
}

impl Builder {
    /// Sets the IP addresses of the MQTT and HTTPS ports. The default addresses are 127.0.0.1, ::1, and each hub name
    /// that is a loopback address.
    ///
    /// [`Builder::admin_address`] sets the address of the admin port.
    pub fn bind(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses = Some(addresses.into_iter().collect());
        self
    }

    /// Sets the port of MQTT over TLS. The default, 0, selects a free port.
    pub const fn mqtt_port(mut self, port: u16) -> Self {
        self.mqtt_port = port;
        self
    }

    /// Sets the port of HTTPS and of MQTT over WebSocket. The default, 0, selects a free port.
    pub const fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// Sets the port of the admin listener, which uses plain HTTP. The default, 0, selects a free port.
    #[cfg(feature = "admin")]
    pub const fn admin_port(mut self, port: u16) -> Self {
        self.admin_port = port;
        self
    }

    /// Sets the address of the admin port. By default, the admin port has the addresses 127.0.0.1 and ::1.
    ///
    /// The admin port requires no password and returns every key. If `address` is not a loopback address, every client
    /// that can reach the address can control the emulator.
    #[cfg(feature = "admin")]
    pub const fn admin_address(mut self, address: IpAddr) -> Self {
        self.admin_address = Some(address);
        self
    }

    /// Adds a name that the admin port accepts in the `Host` header of a request. By default, the admin port accepts
    /// only `localhost`, loopback addresses and its own addresses.
    ///
    /// The admin port refuses all other names. Otherwise, a web page could let its own host name resolve to the address
    /// of the port, and then use the port (DNS rebinding).
    #[cfg(feature = "admin")]
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.allowed_hosts.push(name.into());
        self
    }

    /// Sets the function that runs a simulated device. Users of the portal and of the admin API can then start
    /// simulated devices.
    ///
    /// The emulator contains no device client, so your program provides one. The function `run` connects a device with
    /// the settings in [`SimulatedDevice`], and runs the device until [`SimulatedDevice::stopped`] returns.
    ///
    /// An emulator runs at most 10 simulated devices at a time. It stops all of them when it ends or is reset.
    ///
    /// If `run` returns an error, the portal shows the error. The error must not contain a secret.
    ///
    /// Without this option, the portal offers no simulated devices.
    #[cfg(feature = "admin")]
    pub fn simulated_device<F, R>(mut self, run: F) -> Self
    where
        F: Fn(SimulatedDevice) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.run_device = Some(RunDevice::new(run));
        self
    }

    /// Keeps all state in this directory. If the directory does not exist, the emulator creates it with mode 0700. The
    /// certificate authority has its own files, and the file `state.redb` contains the rest of the state.
    ///
    /// Only one emulator at a time can use the directory. The emulator acknowledges a change only after the change is
    /// on disk.
    ///
    /// Without a data directory, all state is in memory and is lost when the emulator ends.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Sets the names of the hubs. A device connects to its hub by this name. DPS can assign devices to each of these
    /// hubs. The default is one hub named `localhost`.
    pub fn hubs(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.hubs = names.into_iter().map(Into::into).collect();
        self
    }

    /// The id scope; [`DEV_ID_SCOPE`](crate::DEV_ID_SCOPE) by default.
    pub fn id_scope(mut self, id_scope: impl Into<String>) -> Self {
        self.id_scope = id_scope.into();
        self
    }

    /// Adds a name of DPS, besides `global.azure-devices-provisioning.net`.
    pub fn dps_host(mut self, name: impl Into<String>) -> Self {
        self.dps_hosts.push(name.into());
        self
    }

    /// Adds names and addresses for which the emulator presents certificates. The emulator always presents certificates
    /// for DPS, the hubs, `localhost`, 127.0.0.1 and ::1.
    pub fn names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Starts with the contents of this seed.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// With `true`, creates the enrollment group [`DEV_GROUP`](crate::DEV_GROUP) at the start, with the keys
    /// [`DEV_GROUP_KEY`](crate::DEV_GROUP_KEY). A device can register with any registration id. Its key must be the key
    /// that is derived from the group's key and this id.
    ///
    /// The keys of the group are public. [`Builder::start`] therefore fails if one of the emulator's addresses is not a
    /// loopback address.
    pub const fn dev_keys(mut self, dev_keys: bool) -> Self {
        self.dev_keys = dev_keys;
        self
    }

    /// Sets the Retry-After of DPS, in whole seconds. A device waits for this time before it polls. With `None`,
    /// answers contain no Retry-After.
    ///
    /// The default is zero, which makes tests fast. The real service sends [`SERVICE_RETRY_AFTER`].
    pub const fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Sets how many polls of a registration DPS answers with `assigning`. The next poll gets the result. The default
    /// is 1.
    pub const fn polls_before_assigned(mut self, polls: u32) -> Self {
        self.polls_before_assigned = polls;
        self
    }

    /// Sets how far the emulator's clock is ahead of the system clock (at most a hundred years). The emulator uses its
    /// own clock to decide whether a token has expired.
    pub const fn clock_ahead(mut self, ahead: Duration) -> Self {
        self.clock_ahead = ahead;
        self
    }

    /// Sets the maximum number of connections that the MQTT and HTTPS ports together serve at a time. The default is
    /// 10,000.
    ///
    /// If this number is reached, a further connection waits until a served connection ends or becomes idle.
    ///
    /// A connection counts only after it has sent a complete request and has authenticated. Before that, it is pending.
    /// The maximum number of pending connections is also `connections`, but at most 2,048.
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets the maximum number of messages in the telemetry log of each hub. The default is 100,000. In addition, a log
    /// holds at most 32 MiB.
    pub const fn telemetry_retention(mut self, messages: usize) -> Self {
        self.telemetry_retention = messages;
        self
    }

    /// Presents a certificate that clients must refuse.
    pub const fn certificate(mut self, bad: BadCertificate) -> Self {
        self.certificate = Some(bad);
        self
    }

    /// Sets how long a hub keeps a message to a device if its sender sets no expiry time. The default is one hour. The
    /// real service allows one minute to two days.
    pub const fn message_ttl(mut self, ttl: Duration) -> Self {
        self.rules.ttl = ttl;
        self
    }

    /// Sets how long a delivered message to a device stays locked. If the device does not acknowledge the message in
    /// this time, the hub delivers the message again. The default is one minute.
    pub const fn message_lock(mut self, lock: Duration) -> Self {
        self.rules.lock = lock;
        self
    }

    /// Sets the maximum number of deliveries of a message to a device. By default, there is no limit. The real service
    /// allows 1 to 100.
    ///
    /// With a limit, the hub counts a delivery when the lock of the message ends and the device has not acknowledged
    /// the message. It does not count the delivery if the connection ends before the lock.
    ///
    /// When the count reaches the limit, the hub dead-letters the message (`DeliveryCountExceeded`).
    ///
    /// Until 2026, the service's documentation described this way of counting. The newer documentation counts only an
    /// explicit abandon, which a device cannot send over MQTT.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Understanding delivery count behavior".
    pub const fn message_deliveries(mut self, most: u32) -> Self {
        self.rules.max_deliveries = Some(most);
        self
    }

    /// Sets what happens when a client subscribes to a filter that the emulator does not accept.
    ///
    /// With `true`, the emulator ends the connection. With `false`, the default, the emulator refuses only the filter
    /// (SUBACK 0x80).
    ///
    /// Microsoft engineers have said that the services end the connection. No public trace shows this.
    ///
    /// Source: `[seen]` Azure/azure-iot-middleware-freertos, issues 65 and 89.
    pub const fn close_on_refused_filter(mut self, close: bool) -> Self {
        self.close_on_refused_filter = close;
        self
    }

    /// Shuffles what the services return in no fixed order:
    ///
    /// * the rows of lists and of query pages
    /// * the properties in the topic of a message to a device
    ///
    /// The same seed and the same requests give the same order. Without this option, rows are sorted by id, and
    /// properties have a fixed order.
    ///
    /// Source: `[seen]`: for queries, recordings of azure-sdk-for-net; for topics, Azure/azure-iot-explorer, issue 530,
    /// and others.
    pub const fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self.rules.shuffle = Some(seed);
        self
    }

    /// Sets the primary key of the policies `iothubowner` and `device` of all hubs; see [`Builder::policy_keys`].
    pub fn policy_key(mut self, key: SharedKey) -> Self {
        for policy in [Policy::IotHubOwner, Policy::Device] {
            self.policy_keys.insert(policy, (key.clone(), None));
        }
        self
    }

    /// Sets the keys of a policy of every hub. [`Emulator::policies`](crate::Emulator::policies) returns them.
    ///
    /// A policy without configured keys gets random keys. If there is a data directory, the emulator keeps the random
    /// keys there.
    pub fn policy_keys(mut self, policy: Policy, primary: SharedKey, secondary: SharedKey) -> Self {
        self.policy_keys.insert(policy, (primary, Some(secondary)));
        self
    }

    /// Sets the primary key of the policy `provisioningserviceowner`, which can manage enrollments over HTTPS. By
    /// default, the key is random.
    ///
    /// [`Emulator::dps_connection_string`](crate::Emulator::dps_connection_string) contains the key.
    pub fn dps_policy_key(mut self, key: SharedKey) -> Self {
        self.dps_policy_key = Some(key);
        self
    }

    /// Validates the names. Returns the addresses to listen on.
    pub(crate) fn check(&self) -> Result<Vec<IpAddr>, StartError> {
        IdScope::new(self.id_scope.as_str())?;
        let mut seen = std::collections::BTreeSet::new();
        for hub in &self.hubs {
            HubHost::new(hub.as_str())?;
            if !seen.insert(hub.to_ascii_lowercase()) {
                return Err(StartError::Hubs);
            }
        }
        if seen.is_empty() {
            return Err(StartError::Hubs);
        }
        let mut addresses = self.addresses.clone().unwrap_or_else(|| LOOPBACK.to_vec());
        if self.addresses.is_none() {
            let named = self.hubs.iter().filter_map(|it| it.parse::<IpAddr>().ok());
            for address in named.filter(IpAddr::is_loopback) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        #[cfg(feature = "admin")]
        let asked = addresses.iter().chain(&self.admin_address);
        #[cfg(not(feature = "admin"))]
        let asked = addresses.iter();
        match asked.copied().find(|it| !it.is_loopback()) {
            Some(address) if self.dev_keys => Err(StartError::DevKeys { address }),
            _ if addresses.is_empty() => Err(StartError::NoAddress),
            _ => Ok(addresses),
        }
    }

    /// Sets the keys of every policy. A configured key has priority over a key in the state. If there is neither, the
    /// key is random.
    pub(crate) fn apply_policy_keys(&self, state: &mut State) -> Result<(), KeyError> {
        for hub in &self.hubs {
            for policy in Policy::ALL {
                let given = self.policy_keys.get(&policy);
                let given = (given.map(|it| &it.0), given.and_then(|it| it.1.as_ref()));
                set_policy_keys(&mut state.policies, hub_policy(hub, policy), given)?;
            }
        }
        set_policy_keys(&mut state.policies, DPS_POLICY.to_owned(), (self.dps_policy_key.as_ref(), None))
    }

    /// The addresses of the admin port.
    #[cfg(feature = "admin")]
    pub(crate) fn admin_addresses(&self) -> Vec<IpAddr> {
        self.admin_address.map_or_else(|| LOOPBACK.to_vec(), |it| vec![it])
    }

    /// Returns the names that belong to this emulator, each once: `localhost`, the loopback addresses, the hubs, and
    /// the names that the caller added.
    ///
    /// The global name of DPS belongs to Azure, so the list contains it only if the caller added it.
    pub(crate) fn own_names(&self) -> Vec<String> {
        let mut names = Vec::from(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        // The first name of DPS is the global name.
        for name in self.dps_hosts.iter().skip(1).chain(&self.hubs).chain(&self.names) {
            if !names.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        names
    }

    /// All names that certificates may be issued for.
    pub(crate) fn certificate_names(&self) -> Result<crate::doors::tls::Names, StartError> {
        let mut names = self.own_names();
        names.extend(self.dps_hosts.first().cloned());
        for name in &names {
            let is_name = !name.is_empty()
                && name.len() <= 253
                && name.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
                });
            if !is_name && name.parse::<IpAddr>().is_err() {
                return Err(StartError::Name { name: name.clone() });
            }
        }
        Ok(crate::doors::tls::Names::new(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_invalid_options() {
        let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
        for (builder, message) in [
            (Builder::default().id_scope("0ne 1"), "id scope `0ne 1` is not valid"),
            (Builder::default().hubs(["a:1"]), "hub host name `a:1` is not valid"),
            (Builder::default().hubs(["a", "A"]), "name one or more hubs"),
            (Builder::default().hubs(Vec::<String>::new()), "name one or more hubs"),
            (Builder::default().bind([]), "no address to listen on is configured"),
            (Builder::default().bind([any]).dev_keys(true), "the development keys are only for loopback"),
            #[cfg(feature = "admin")]
            (Builder::default().admin_address(any).dev_keys(true), "the development keys are only for loopback"),
        ] {
            let error = builder.check().expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error = Builder::default().names(["a b"]).certificate_names().expect_err("a space").to_string();
        assert!(error.starts_with("`a b` is not a host name"), "{error}");
    }

    #[test]
    fn the_global_name_of_dps_is_its_own_only_if_it_was_added() {
        let local = ["localhost", "127.0.0.1", "::1"];
        assert_eq!(Builder::default().own_names(), local);
        assert!(Builder::default().certificate_names().expect("valid").all.contains(GLOBAL_HOST));
        let builder = Builder::default().dps_host("dps.example").hubs(["localhost", "a"]).names(["A", GLOBAL_HOST]);
        assert_eq!(builder.own_names(), [&local[..], &["dps.example", "a", GLOBAL_HOST]].concat());
    }

    #[test]
    fn listens_on_the_addresses_of_its_hubs() {
        let second: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
        let builder = Builder::default().hubs(["localhost", "127.0.0.2"]);
        assert_eq!(builder.check().expect("valid"), [LOOPBACK[0], LOOPBACK[1], second]);
        assert!(builder.certificate_names().expect("valid").all.contains("127.0.0.2"));
    }
}
