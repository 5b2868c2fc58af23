//! What a user needs after an enrollment is made: the lines to paste for a device.

use serde_json::Value;

use super::kind::Kind;
use crate::shell::Shell;

/// The lines that follow the enrollment in text for people.
pub(super) fn steps(kind: Kind, id: &str, made: &str, host: &str, show_keys: bool) -> String {
    let shell = Shell::here();
    let word = shell.word(id);
    let mut lines = vec![String::new()];
    match kind {
        Kind::Individual => {
            lines.push("For a device with this enrollment:".to_owned());
            lines.extend(settings(shell, host, id));
            lines.push(if show_keys {
                shell.export(hubward::vars::SYMMETRIC_KEY, &key(made))
            } else {
                asked(shell, &word)
            });
        }
        Kind::Group => {
            lines.push("For a device of the group, whose key is derived from its id and the group's key:".to_owned());
            lines.extend(settings(shell, host, "dev-1"));
            let command = format!(
                "hubward dps enrollment-group compute-device-key --enrollment-id {word} --registration-id dev-1"
            );
            lines.push(substituted(shell, &command));
        }
    }
    lines.push(shell.comment("then: hubward provision --messages 10, or hubward device run"));
    lines.join("\n")
}

fn settings(shell: Shell, host: &str, id: &str) -> [String; 3] {
    use hubward::vars;
    let scope = crate::variable(vars::ID_SCOPE);
    [
        shell.export(vars::HOST, device_host(host)),
        match scope {
            Some(scope) => shell.export(vars::ID_SCOPE, &scope),
            // No service API tells it.
            None => shell.export(vars::ID_SCOPE, "the ID scope: it stands on the overview page of the DPS"),
        },
        shell.export(vars::REGISTRATION_ID, id),
    ]
}

/// Devices of all DPS in Azure begin at one name; those of an emulator at its own.
fn device_host(host: &str) -> &str {
    let name = host.to_ascii_lowercase();
    if name.ends_with(".azure-devices-provisioning.net") { "global.azure-devices-provisioning.net" } else { host }
}

fn key(made: &str) -> String {
    let made: Value = serde_json::from_str(made).unwrap_or_default();
    made["attestation"]["symmetricKey"]["primaryKey"].as_str().unwrap_or_default().to_owned()
}

/// A line that works though it shows no key: the shell asks for it.
fn asked(shell: Shell, id: &str) -> String {
    let command = format!("hubward dps enrollment show --enrollment-id {id} --show-keys");
    match shell {
        Shell::Sh => substituted(shell, &format!("{command} --output tsv | cut -f{PRIMARY_KEY}")),
        Shell::Pwsh | Shell::Cmd => {
            let value = format!("({command} --output json | ConvertFrom-Json).attestation.symmetricKey.primaryKey");
            format!("$env:{} = {value}", hubward::vars::SYMMETRIC_KEY)
        }
    }
}

/// The line that sets the key to what a command prints.
fn substituted(shell: Shell, command: &str) -> String {
    match shell {
        Shell::Sh => format!("export {}=\"$({command})\"", hubward::vars::SYMMETRIC_KEY),
        Shell::Pwsh | Shell::Cmd => format!("$env:{} = {command}", hubward::vars::SYMMETRIC_KEY),
    }
}

/// Which column of an enrollment the first key is, from 1.
const PRIMARY_KEY: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_the_key_is_the_one_that_is_cut() {
        assert_eq!(Kind::Individual.columns()[PRIMARY_KEY - 1].0, "PrimaryKey");
    }

    #[test]
    fn devices_begin_at_one_name_in_azure() {
        for (host, expected) in [
            ("contoso.azure-devices-provisioning.net", "global.azure-devices-provisioning.net"),
            ("Contoso.Azure-Devices-Provisioning.net", "global.azure-devices-provisioning.net"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(device_host(host), expected);
        }
    }

    #[test]
    fn a_key_stands_there_only_on_demand() {
        let made = r#"{"attestation":{"symmetricKey":{"primaryKey":"c2VjcmV0","secondaryKey":"b3RoZXI="}}}"#;
        let masked = steps(Kind::Individual, "dev-1", made, "localhost", false);
        assert!(!masked.contains("c2VjcmV0") && masked.contains("hubward dps enrollment show"), "{masked}");
        assert!(steps(Kind::Individual, "dev-1", made, "localhost", true).contains("c2VjcmV0"));
    }
}
