//! The shell commands that `create` prints after a new enrollment. They set the variables for a device.

use std::path::Path;

use hubward::limits::{HTTPS_PORT, MQTT_PORT};
use hubward_service::DpsService;
use serde_json::Value;

use super::kind::Kind;
use crate::failure::Failure;
use crate::service_login::{LoginArgs, Service};
use crate::service_reach::{Emulator, Reached};
use crate::shell::Shell;

/// Position of the column with the primary key in the output of `enrollment show`, counted from 1.
const PRIMARY_KEY: usize = 7;

/// Returns the lines that text mode prints after the enrollment. The lines work in a shell that has none of hubward's
/// variables.
///
/// If the lines need a secret login, they do not contain it. A comment tells the user which variable to set first.
pub(super) fn steps(
    kind: Kind,
    id: &str,
    made: &str,
    reached: &Reached<DpsService>,
    login: &LoginArgs,
    show_keys: bool,
) -> Result<String, Failure> {
    let shell = Shell::here();
    let (device, title) = match kind {
        Kind::Individual => (id, "For a device with this enrollment:"),
        Kind::Group => ("dev-1", "For a device of the group (its key is derived from its ID and the group's key):"),
    };
    let mut lines = vec![String::new(), title.to_owned()];
    lines.extend(settings(shell, reached, login, device)?);
    if show_keys && kind == Kind::Individual {
        lines.push(shell.export(hubward::vars::SYMMETRIC_KEY, &key(made)));
    } else {
        let emulator = reached.emulator.as_ref().map(|it| it.url.as_str());
        let login_arguments = login.again(shell, emulator);
        if login_arguments.is_none() {
            lines.push(shell.comment(&format!("with the login in {}:", Service::Dps.variable())));
        }
        lines.push(export_key(shell, kind, &shell.word(id), &login_arguments.unwrap_or_default()));
    }
    lines.push(shell.comment("then: hubward provision --messages 10, or hubward device run"));
    Ok(lines.join("\n"))
}

/// Returns the lines that set the DPS host, the ID scope, the registration ID and the network settings.
fn settings(shell: Shell, reached: &Reached<DpsService>, login: &LoginArgs, id: &str) -> Result<Vec<String>, Failure> {
    use hubward::vars;
    let mut lines = Vec::new();
    let (host, scope) = match &reached.emulator {
        Some(emulator) => {
            lines.extend(network_of(shell, emulator));
            ("localhost", emulator.facts["idScope"].as_str().map(str::to_owned))
        }
        None => {
            lines.extend(network(shell, login)?);
            (device_host(&reached.host), crate::environment::variable(vars::ID_SCOPE))
        }
    };
    // The service API does not return the ID scope.
    let scope = scope.unwrap_or_else(|| "the ID scope: see the overview page of the DPS".to_owned());
    lines.extend([
        shell.export(vars::HOST, host),
        shell.export(vars::ID_SCOPE, &scope),
        shell.export(vars::REGISTRATION_ID, id),
    ]);
    Ok(lines)
}

/// Returns the lines that set the CA file and the dial rules that this command uses. The device needs the same
/// settings.
fn network(shell: Shell, login: &LoginArgs) -> Result<Vec<String>, Failure> {
    use hubward::vars;
    let (ca_file, connect_to) = login.network()?;
    let ca_file = ca_file.map(|it| shell.export(vars::CA_FILE, &absolute(&it)));
    let rules: Vec<String> = connect_to.iter().map(ToString::to_string).collect();
    let connect_to = (!rules.is_empty()).then(|| shell.export(vars::CONNECT_TO, &rules.join(",")));
    Ok(ca_file.into_iter().chain(connect_to).collect())
}

/// Returns the lines that set the CA file and the dial rules for an emulator. The settings come from the health report
/// of the emulator.
fn network_of(shell: Shell, emulator: &Emulator) -> Vec<String> {
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
    /// Returns the rules with which a device on this machine connects to the emulator by one of the emulator's names.
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

/// Returns the host name for devices. All DPS instances in Azure share one global host name. Any other DPS uses its own
/// host name.
fn device_host(host: &str) -> &str {
    let name = host.to_ascii_lowercase();
    if name.ends_with(".azure-devices-provisioning.net") { "global.azure-devices-provisioning.net" } else { host }
}

fn key(made: &str) -> String {
    let made: Value = serde_json::from_str(made).unwrap_or_default();
    made["attestation"]["symmetricKey"]["primaryKey"].as_str().unwrap_or_default().to_owned()
}

/// Returns a line that sets the variable of the device's key. The line contains a `hubward` command that reads the key,
/// not the key itself. `login` contains the login arguments of this command.
fn export_key(shell: Shell, kind: Kind, id: &str, login: &str) -> String {
    let command = match (kind, shell) {
        (Kind::Group, _) => format!(
            "hubward dps enrollment-group compute-device-key --enrollment-id {id} --registration-id dev-1{login} \
             --output text"
        ),
        (Kind::Individual, Shell::Sh) => format!(
            "hubward dps enrollment show --enrollment-id {id} --show-keys{login} --output tsv | cut -f{PRIMARY_KEY}"
        ),
        (Kind::Individual, Shell::Pwsh | Shell::Cmd) => format!(
            "(hubward dps enrollment show --enrollment-id {id} --show-keys{login} --output json | ConvertFrom-Json)\
             .attestation.symmetricKey.primaryKey"
        ),
    };
    match shell {
        Shell::Sh => format!("export {}=\"$({command})\"", hubward::vars::SYMMETRIC_KEY),
        Shell::Pwsh | Shell::Cmd => format!("$env:{} = {command}", hubward::vars::SYMMETRIC_KEY),
    }
}

#[cfg(test)]
mod tests {
    use hubward_service::{AdminPort, ServiceOptions};
    use serde_json::json;

    use super::*;

    #[test]
    fn cut_selects_the_column_of_the_primary_key() {
        assert_eq!(Kind::Individual.columns()[PRIMARY_KEY - 1].0, "PrimaryKey");
    }

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
            let lines = network_of(Shell::Sh, &emulator).join("\n");
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
        let lines = network_of(Shell::Sh, &emulator).join("\n");
        assert!(lines.contains(hubward::vars::CA_FILE) && !lines.contains(hubward::vars::CONNECT_TO), "{lines}");
    }

    #[test]
    fn devices_of_every_dps_in_azure_use_the_global_host() {
        for (host, expected) in [
            ("contoso.azure-devices-provisioning.net", "global.azure-devices-provisioning.net"),
            ("Contoso.Azure-Devices-Provisioning.net", "global.azure-devices-provisioning.net"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(device_host(host), expected);
        }
    }

    #[test]
    fn each_shell_reads_the_key_in_an_explicit_format() {
        for (kind, shell, expected) in [
            (Kind::Individual, Shell::Sh, "--show-keys --emulator=u --output tsv | cut -f7)\""),
            (Kind::Individual, Shell::Pwsh, "--show-keys --emulator=u --output json | ConvertFrom-Json).att"),
            (Kind::Group, Shell::Sh, "--registration-id dev-1 --emulator=u --output text)\""),
            (Kind::Group, Shell::Pwsh, "--registration-id dev-1 --emulator=u --output text"),
        ] {
            let line = export_key(shell, kind, "dev-1", " --emulator=u");
            assert!(line.contains(expected), "{line}");
        }
    }
}
