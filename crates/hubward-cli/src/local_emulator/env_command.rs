//! The command that prints the variables of a device of a local emulator.

use std::path::Path;

use hubward::Settings;

use super::{Running, data_dir};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::shell::Shell;

/// Returns the command that prints the variables of the device with this registration ID. `folder` is the data
/// directory of the emulator.
pub(crate) fn env_command(folder: &Path, registration_id: &str) -> String {
    command(folder, &format!("env --registration-id {registration_id}"))
}

/// If an emulator on this machine has refused the key or certificate of the device, changes the hint of the failed
/// registration. The new hint contains commands for this emulator.
pub(crate) fn with_env_command(failure: Failure, settings: &Settings) -> Failure {
    if failure.exit_code != ExitCode::Credential {
        return failure;
    }
    // Find the emulator. The refusal arrived over TLS, so the server has a certificate from the authority in the CA
    // file. If this file is in the data directory of a running emulator, the server is this emulator.
    let folder = settings.options.ca_file.as_deref().and_then(|it| std::path::absolute(it).ok());
    let Some(folder) = folder.as_deref().and_then(Path::parent).filter(|it| Running::with(it).is_some()) else {
        return failure;
    };
    let reason = format!("read the emulator's reason: {}", command(folder, "events --kind refused"));
    if settings.credential.certificate().is_some() {
        let hint = failure.hint.clone().map(|it| format!("; {it}")).unwrap_or_default();
        return failure.hint(format!("{reason}{hint}"));
    }
    failure.hint(format!(
        "{reason}; or print the variables with this device's own key: {}",
        env_command(folder, settings.registration_id.as_str())
    ))
}

/// Returns a command for the emulator with this data directory.
fn command(folder: &Path, arguments: &str) -> String {
    let command = format!("hubward emulator {arguments}");
    if data_dir(None).is_ok_and(|it| it == folder) {
        return command;
    }
    format!("{command} --data-dir {}", Shell::here().word(&folder.display().to_string()))
}
