//! The shell commands that `create` prints after a new enrollment. They set the variables for a device.

use hubward_service::DpsService;
use serde_json::Value;

use super::certificate_args::Certificates;
use super::kind::Kind;
use crate::certificate_file::{CertificateFile, export_files};
use crate::device_network;
use crate::failure::Failure;
use crate::service_login::{LoginArgs, Service};
use crate::service_reach::Reached;
use crate::shell::Shell;

/// The primary key in the output of `enrollment show`, for `--query`.
const PRIMARY_KEY: &str = "attestation.symmetricKey.primaryKey";

/// Returns the lines that `create` prints in text mode after the enrollment. They set the variables for a device. The
/// lines work in a shell that has none of hubward's variables.
///
/// A line may contain a `hubward` command that reads the device's key, and this command needs a login to DPS. If the
/// login is secret, the line does not contain it. A comment then tells the user which variable to set first.
///
/// A device with a certificate gets the paths of two files in place of the key.
pub(super) fn steps(
    kind: Kind,
    id: &str,
    made: &str,
    reached: &Reached<DpsService>,
    login: &LoginArgs,
    show_keys: bool,
    certificates: &Certificates,
) -> Result<String, Failure> {
    let shell = Shell::here();
    let (device, title) = match kind {
        Kind::Individual => (id, "For a device with this enrollment:"),
        Kind::Group if !certificates.is_empty() => {
            ("dev-1", "For a device of the group (its certificate has its ID as common name, CN):")
        }
        Kind::Group => ("dev-1", "For a device of the group (its key is derived from its ID and the group's key):"),
    };
    let mut lines = vec![String::new(), title.to_owned()];
    lines.extend(settings(shell, reached, login, device)?);
    if !certificates.is_empty() {
        // The file of a group is that of the authority.
        let file = certificates.primary.as_ref().filter(|_| kind == Kind::Individual);
        lines.extend(export_files(shell, file.map(CertificateFile::device_files)));
    } else if show_keys && kind == Kind::Individual {
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
    let mut lines = device_network::lines(shell, reached, login)?;
    let (host, scope) = match &reached.emulator {
        Some(emulator) => ("localhost", emulator.facts["idScope"].as_str().map(str::to_owned)),
        None => (device_host(&reached.host), crate::environment::variable(vars::ID_SCOPE)),
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

/// Returns a line that sets the variable of the device's key. The line does not contain the key. It contains a
/// `hubward` command that reads the key. `login` contains the login arguments for that command.
fn export_key(shell: Shell, kind: Kind, id: &str, login: &str) -> String {
    let command = match kind {
        Kind::Group => format!(
            "hubward dps enrollment-group compute-device-key --enrollment-id {id} --registration-id dev-1{login} \
             --output text"
        ),
        Kind::Individual => format!(
            "hubward dps enrollment show --enrollment-id {id} --show-keys{login} --query {PRIMARY_KEY} --output tsv"
        ),
    };
    shell.export_output(hubward::vars::SYMMETRIC_KEY, &command)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (
                Kind::Individual,
                Shell::Sh,
                "--show-keys --emulator=u --query attestation.symmetricKey.primaryKey --output tsv)\"",
            ),
            (Kind::Individual, Shell::Pwsh, "--emulator=u --query attestation.symmetricKey.primaryKey --output tsv"),
            (Kind::Group, Shell::Sh, "--registration-id dev-1 --emulator=u --output text)\""),
            (Kind::Group, Shell::Pwsh, "--registration-id dev-1 --emulator=u --output text"),
        ] {
            let line = export_key(shell, kind, "dev-1", " --emulator=u");
            assert!(line.contains(expected), "{line}");
        }
    }
}
