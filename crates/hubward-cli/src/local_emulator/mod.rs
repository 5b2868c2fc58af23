//! Finds an emulator by the URL of its admin port, or by its data directory.

#[cfg(feature = "emulator")]
mod admin_args;
#[cfg(feature = "emulator")]
mod data_dir;
#[cfg(feature = "emulator")]
mod env_command;
#[cfg(feature = "emulator")]
mod ready_file;

use std::path::Path;

use hubward_service::{AdminPort, ServiceOptions};

#[cfg(feature = "emulator")]
pub(crate) use self::admin_args::AdminArgs;
#[cfg(feature = "emulator")]
pub(crate) use self::data_dir::data_dir;
#[cfg(feature = "emulator")]
pub(crate) use self::env_command::{env_command, with_env_command};
#[cfg(feature = "emulator")]
pub(crate) use self::ready_file::{ReadyFile, Running};

use crate::environment::EMULATOR_ADMIN;
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// The default port of the admin API.
pub(crate) const ADMIN_PORT: u16 = 8480;

/// Returns the URL of the admin API at the default port of this machine.
pub(crate) fn default_admin_url() -> String {
    format!("http://127.0.0.1:{ADMIN_PORT}")
}

/// Returns the admin URL of the emulator that runs with the data directory. If none runs, returns the URL with the
/// default port. Without the feature `emulator`, always returns the URL with the default port.
pub(crate) fn running_or_default(data_dir: Option<&Path>) -> String {
    #[cfg(feature = "emulator")]
    if let Some(running) = self::data_dir(data_dir).ok().and_then(|it| Running::with(&it)) {
        return running.admin;
    }
    #[cfg(not(feature = "emulator"))]
    let _ = data_dir;
    default_admin_url()
}

/// The admin port with this URL.
pub(crate) fn admin_port(url: &str, options: &ServiceOptions) -> Result<AdminPort, Failure> {
    AdminPort::new(url, options).map_err(|error| {
        Failure::usage(error.to_string())
            .hint(format!("use the URL that the emulator prints at its start, such as {}", default_admin_url()))
    })
}

/// Adds a hint to the failure if the connection failed. `option` is the option of the command that selects another
/// emulator.
pub(crate) fn absent(mut failure: Failure, option: &str) -> Failure {
    if failure.exit_code == ExitCode::Network {
        failure.hint = Some(format!(
            "start an emulator: hubward emulator; or name the admin port of a running one: {option}, {EMULATOR_ADMIN}"
        ));
    }
    failure
}
