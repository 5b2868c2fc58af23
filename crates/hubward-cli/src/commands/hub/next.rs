//! The shell commands that `device-identity create` prints after a new device. They set the variables for the device.

use hubward_service::HubService;
use serde_json::Value;

use crate::certificate_file::{DeviceFiles, export_files};
use crate::device_network;
use crate::failure::Failure;
use crate::service_login::{LoginArgs, Service};
use crate::service_reach::Reached;
use crate::shell::Shell;

/// Returns the lines that `create` prints in text mode after the device. They set the variables for the device. The
/// lines work in a shell that has none of hubward's variables.
///
/// With `show_keys`, a line contains the connection string. Otherwise, this line contains a `hubward` command that
/// reads the connection string. This command needs a login. If the login is secret, the line does not contain it, and a
/// comment tells the user which variable to set first.
///
/// For a device with a certificate, the lines contain the paths of the certificate and of its private key. `files` are
/// these paths, as far as they are known.
///
/// Returns an empty text if the device is disabled, or if it has neither a symmetric key nor a certificate.
pub(super) fn steps(
    made: &str,
    reached: &Reached<HubService>,
    login: &LoginArgs,
    show_keys: bool,
    files: Option<DeviceFiles>,
) -> Result<String, Failure> {
    let made: Value = serde_json::from_str(made).unwrap_or_default();
    let has_certificate = ["selfSigned", "certificateAuthority"].iter().any(|it| made["authentication"]["type"] == *it);
    let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().filter(|it| !it.is_empty());
    let (Some(id), true) = (made["deviceId"].as_str(), key.is_some() || has_certificate) else {
        return Ok(String::new());
    };
    if made["status"] == "disabled" {
        return Ok(String::new());
    }
    let shell = Shell::here();
    let mut lines = vec![String::new(), "For the device:".to_owned()];
    lines.extend(device_network::lines(shell, reached, login)?);
    let variable = hubward::vars::CONNECTION_STRING;
    if has_certificate {
        lines.push(shell.export(variable, &format!("HostName={};DeviceId={id};x509=true", reached.host)));
        lines.extend(export_files(shell, files));
    } else if let Some(key) = key.filter(|_| show_keys) {
        let text = format!("HostName={};DeviceId={id};SharedAccessKey={key}", reached.host);
        lines.push(shell.export(variable, &text));
    } else {
        let login_arguments = login.again(shell, reached.emulator.as_ref().map(|it| it.url.as_str()));
        if login_arguments.is_none() {
            lines.push(shell.comment(&format!("with the login in {}:", Service::Hub.variable())));
        }
        lines.push(shell.export_output(variable, &read_command(shell, id, &login_arguments.unwrap_or_default())));
    }
    lines.push(shell.comment("then: hubward device send 21.5, or hubward device run"));
    Ok(lines.join("\n"))
}

/// Returns the command that prints the connection string of the device. `login` contains the login arguments of the
/// command.
fn read_command(shell: Shell, id: &str, login: &str) -> String {
    // Write `--device-id=ID` as one word. An ID can begin with a hyphen, and as a separate word it would look like an
    // option.
    let id = shell.word(&format!("--device-id={id}"));
    format!("hubward hub device-identity connection-string show {id}{login} --output text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_quotes_the_id() {
        for (id, expected) in [
            ("dev-1", "show --device-id=dev-1 --emulator=u --output text"),
            ("-x", "show --device-id=-x --emulator=u --output text"),
            ("it's$1", r"show '--device-id=it'\''s$1' --emulator=u --output text"),
        ] {
            assert!(read_command(Shell::Sh, id, " --emulator=u").ends_with(expected));
        }
    }
}
