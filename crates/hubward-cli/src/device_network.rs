//! Shell commands that set the CA file and the dial rules for a device. A dial rule names the address to connect to in
//! place of a host. With these settings, the device reaches the service that an operator command has used.

use std::path::Path;

use hubward::limits::{HTTPS_PORT, MQTT_PORT};
use serde_json::Value;

use crate::failure::Failure;
use crate::service_login::LoginArgs;
use crate::service_reach::{Emulator, Reached};
use crate::shell::Shell;

/// Returns the lines that set the CA file and the dial rules. If the command uses an emulator, the settings come from
/// the health report of the emulator. Otherwise, they are the settings of the command itself.
pub(crate) fn lines<S>(shell: Shell, reached: &Reached<S>, login: &LoginArgs) -> Result<Vec<String>, Failure> {
    match &reached.emulator {
        Some(emulator) => Ok(of_emulator(shell, emulator)),
        None => of_command(shell, login),
    }
}

/// Returns the lines that set the CA file and the dial rules that this command uses. The device needs the same
/// settings.
fn of_command(shell: Shell, login: &LoginArgs) -> Result<Vec<String>, Failure> {
    use hubward::vars;
    let (ca_file, connect_to) = login.network()?;
    let ca_file = ca_file.map(|it| shell.export(vars::CA_FILE, &absolute(&it)));
    let rules: Vec<String> = connect_to.iter().map(ToString::to_string).collect();
    let connect_to = (!rules.is_empty()).then(|| shell.export(vars::CONNECT_TO, &rules.join(",")));
    Ok(ca_file.into_iter().chain(connect_to).collect())
}

/// Returns the lines that set the CA file and the dial rules for an emulator. The settings come from the health report
/// of the emulator.
fn of_emulator(shell: Shell, emulator: &Emulator) -> Vec<String> {
    use hubward::vars;
    let mut lines = Vec::new();
    let ca_file = emulator.facts["caFile"].as_str().unwrap_or_default();
    if Path::new(ca_file).exists() {
        lines.push(shell.export(vars::CA_FILE, ca_file));
    } else {
        // The CA file is not on this machine, because the emulator runs on another machine or in a container.
        let url = emulator.url.trim_end_matches('/');
        lines.push(shell.comment(&format!("once: curl -o hubward-ca.pem {url}/ca.pem")));
        lines.push(shell.export(vars::CA_FILE, "hubward-ca.pem"));
    }
    let rules = emulator.dial_rules();
    if !rules.is_empty() {
        lines.push(shell.export(vars::CONNECT_TO, &rules.join(",")));
    }
    lines
}

impl Emulator {
    /// Returns the dial rules for a device on this machine. With them, the device connects to the emulator when it
    /// dials one of the emulator's names.
    fn dial_rules(&self) -> Vec<String> {
        let ports = [("mqtt", MQTT_PORT), ("https", HTTPS_PORT)].map(|(name, port)| (port, self.address(name)));
        let mut rules = Vec::new();
        for name in self.facts["names"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
            for (port, address) in &ports {
                let from = format!("{name}:{port}");
                rules.extend(address.as_ref().filter(|to| **to != from).map(|to| format!("{from}:{to}")));
            }
        }
        rules
    }

    /// Returns the address at which a device reaches a listener of the emulator, such as `mqtt`.
    fn address(&self, listener: &str) -> Option<String> {
        let address: std::net::SocketAddr = self.facts[listener][0].as_str()?.parse().ok()?;
        if !address.ip().is_unspecified() {
            return Some(address.to_string());
        }
        // The emulator listens on every address of its machine. Use the host of the admin port.
        let (host, port) = (self.admin.host(), address.port());
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }
}

/// Converts a path to an absolute path.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use hubward_service::{AdminPort, ServiceOptions};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_remote_emulator_is_dialed_at_a_reachable_address_and_its_certificate_downloaded() {
        for (url, listens, host) in [
            ("http://10.0.0.7:8480", "0.0.0.0", "10.0.0.7"),
            ("box:8480/", "[::]", "box"),
            ("http://emulator", "0.0.0.0", "emulator"),
            ("http://[::1]", "[::]", "[::1]"),
            ("http://127.0.0.1:1", "127.0.0.1", "127.0.0.1"),
        ] {
            let emulator = Emulator {
                admin: AdminPort::new(url, &ServiceOptions::new()).expect("a URL"),
                url: url.to_owned(),
                facts: json!({"mqtt": [format!("{listens}:8883")], "https": [format!("{listens}:8443")],
                    "names": ["localhost", "127.0.0.1"], "caFile": "/no/such/ca.pem"}),
            };
            let mut expected = vec![
                format!("localhost:8883:{host}:8883"),
                format!("localhost:443:{host}:8443"),
                format!("127.0.0.1:8883:{host}:8883"),
                format!("127.0.0.1:443:{host}:8443"),
            ];
            expected.retain(|it| it != "127.0.0.1:8883:127.0.0.1:8883");
            let expected = expected.join(",");
            let lines = of_emulator(Shell::Sh, &emulator).join("\n");
            assert!(lines.contains(&format!("export HUBWARD_CONNECT_TO='{expected}'")), "{lines}");
            let url = url.trim_end_matches('/');
            assert!(lines.contains(&format!("# once: curl -o hubward-ca.pem {url}/ca.pem")), "{lines}");
        }
    }

    #[test]
    fn an_emulator_without_known_listeners_needs_no_dial_rules() {
        let emulator = Emulator {
            admin: AdminPort::new("http://emulator", &ServiceOptions::new()).expect("a URL"),
            url: "http://emulator".to_owned(),
            facts: json!({}),
        };
        let lines = of_emulator(Shell::Sh, &emulator).join("\n");
        assert!(lines.contains(hubward::vars::CA_FILE) && !lines.contains(hubward::vars::CONNECT_TO), "{lines}");
    }
}
