//! The endpoints and names that an emulator publishes for its clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hubward_proto::limits::{HTTPS_PORT, MQTT_PORT};
use hubward_sas::SharedKey;
use serde::{Deserialize, Serialize};

use crate::services::cloud::Info;

/// The name of DPS in the settings of a device.
pub(crate) const DPS_NAME: &str = "localhost";

/// Endpoints and names of a running emulator. When the emulator is ready, it prints this value as one line of JSON.
/// Scripts wait for this line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Ready {
    /// Version of the emulator.
    pub version: String,
    /// Addresses of MQTT over TLS.
    pub mqtt: Vec<SocketAddr>,
    /// Addresses of HTTPS and MQTT over WebSocket.
    pub https: Vec<SocketAddr>,
    /// The plain-HTTP admin address; empty without the feature `admin`.
    pub admin: String,
    /// File with the certificate to trust.
    pub ca_file: PathBuf,
    /// The id scope.
    pub id_scope: String,
    /// Names of DPS.
    pub dps_hosts: Vec<String>,
    /// Names of the hubs.
    pub hubs: Vec<String>,
    /// Names that belong to this emulator: `localhost`, the loopback addresses, the hubs, and the names that the
    /// program added. [`Ready::connect_to`] returns rules for these names.
    ///
    /// The emulator also has a certificate for the global name of DPS. This name belongs to Azure, so the list contains
    /// it only if the program added it.
    pub names: Vec<String>,
    /// Whether the emulator started with the group of [`DEV_GROUP_KEY`](crate::DEV_GROUP_KEY).
    pub dev_keys: bool,
}

impl Ready {
    pub(crate) fn new(info: &Info) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mqtt: info.mqtt.clone(),
            https: info.https.clone(),
            admin: info
                .admin
                .first()
                .map(|it| format!("http://{}", SocketAddr::new(reachable(it.ip()), it.port())))
                .unwrap_or_default(),
            ca_file: info.ca_file.clone(),
            id_scope: info.id_scope.clone(),
            dps_hosts: info.dps_hosts.clone(),
            hubs: info.hubs.clone(),
            names: info.names.clone(),
            dev_keys: info.dev_keys,
        }
    }

    /// Returns the settings of a device as environment variables: `PROVISIONING_*`, `HUBWARD_CA_FILE` and
    /// `HUBWARD_CONNECT_TO`. One of the variables contains the key.
    #[must_use]
    pub fn vars(&self, registration_id: &str, key: &SharedKey) -> Vec<(&'static str, String)> {
        vec![
            ("PROVISIONING_HOST", DPS_NAME.to_owned()),
            ("PROVISIONING_IDSCOPE", self.id_scope.clone()),
            ("PROVISIONING_REGISTRATION_ID", registration_id.to_owned()),
            ("PROVISIONING_SYMMETRIC_KEY", key.expose_base64().to_string()),
            ("HUBWARD_CA_FILE", self.ca_file.display().to_string()),
            ("HUBWARD_CONNECT_TO", self.connect_to()),
        ]
    }

    /// Returns the settings of a device with a certificate as environment variables: `PROVISIONING_*` without a key,
    /// `X509_CERT_FILE`, `X509_KEY_FILE`, `HUBWARD_CA_FILE` and `HUBWARD_CONNECT_TO`. The files have to contain the
    /// chain of certificates and the private key of the device; this method does not read them.
    #[must_use]
    pub fn x509_vars(&self, registration_id: &str, chain: &Path, key: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("PROVISIONING_HOST", DPS_NAME.to_owned()),
            ("PROVISIONING_IDSCOPE", self.id_scope.clone()),
            ("PROVISIONING_REGISTRATION_ID", registration_id.to_owned()),
            ("X509_CERT_FILE", chain.display().to_string()),
            ("X509_KEY_FILE", key.display().to_string()),
            ("HUBWARD_CA_FILE", self.ca_file.display().to_string()),
            ("HUBWARD_CONNECT_TO", self.connect_to()),
        ]
    }

    /// Returns rules of the form `HOST:PORT:ADDR:PORT`, separated by commas. A client with these rules connects to this
    /// emulator when it dials the MQTT or HTTPS port of one of [`Ready::names`].
    ///
    /// The rules do not apply to other host names. For example, a client that dials the global name of DPS still
    /// connects to Azure. If a client dials a mistyped name, its DNS lookup fails.
    #[must_use]
    pub fn connect_to(&self) -> String {
        let ports = [(MQTT_PORT, &self.mqtt), (HTTPS_PORT, &self.https)];
        let ports = ports.map(|(port, addresses)| (port, addresses.first()));
        let mut rules = Vec::new();
        for name in &self.names {
            for (port, address) in ports {
                let Some(address) = address else { continue };
                let from = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
                let to = SocketAddr::new(reachable(address.ip()), address.port()).to_string();
                // If the emulator already listens at this name and port, a rule would change nothing.
                if from != to {
                    rules.push(format!("{from}:{to}"));
                }
            }
        }
        rules.join(",")
    }
}

/// Returns an address that a client on this machine can dial. A listener may use the unspecified address, such as
/// 0.0.0.0. Not every system can dial that address, so this function then returns the loopback address.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_that_clients_can_dial() {
        let info = |mqtt: &str, https: &str| Info {
            id_scope: "0ne1".into(),
            hubs: vec!["localhost".into()],
            dps_hosts: vec![],
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            mqtt: vec![mqtt.parse().expect("address")],
            https: vec![https.parse().expect("address")],
            admin: vec!["127.0.0.1:7".parse().expect("address")],
            ca_pem: String::new(),
            ca_file: "certs/ca.pem".into(),
            dev_keys: false,
        };
        let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODw==").expect("a key");
        let one = info("127.0.0.1:4001", "127.0.0.1:4002");
        assert_eq!(
            Ready::new(&one).vars("dev-1", &key),
            [
                ("PROVISIONING_HOST", "localhost".to_owned()),
                ("PROVISIONING_IDSCOPE", "0ne1".to_owned()),
                ("PROVISIONING_REGISTRATION_ID", "dev-1".to_owned()),
                ("PROVISIONING_SYMMETRIC_KEY", "AAECAwQFBgcICQoLDA0ODw==".to_owned()),
                ("HUBWARD_CA_FILE", "certs/ca.pem".to_owned()),
                (
                    "HUBWARD_CONNECT_TO",
                    "localhost:8883:127.0.0.1:4001,localhost:443:127.0.0.1:4002,\
                     127.0.0.1:8883:127.0.0.1:4001,127.0.0.1:443:127.0.0.1:4002,\
                     [::1]:8883:127.0.0.1:4001,[::1]:443:127.0.0.1:4002"
                        .to_owned()
                ),
            ]
        );
        assert_eq!(
            Ready::new(&info("0.0.0.0:8883", "[::]:443")).connect_to(),
            "localhost:8883:127.0.0.1:8883,localhost:443:[::1]:443,127.0.0.1:443:[::1]:443,[::1]:8883:127.0.0.1:8883"
        );
        let everywhere = Info { admin: vec!["0.0.0.0:7".parse().expect("address")], ..info("0.0.0.0:1", "[::]:2") };
        assert_eq!(Ready::new(&everywhere).admin, "http://127.0.0.1:7");
        let line = serde_json::to_string(&Ready::new(&one)).expect("JSON");
        assert!(line.contains(r#""mqtt":["127.0.0.1:4001"]"#), "{line}");
        assert!(line.contains(r#""admin":"http://127.0.0.1:7""#), "{line}");
        assert_eq!(serde_json::from_str::<Ready>(&line).expect("read back"), Ready::new(&one));
    }
}
