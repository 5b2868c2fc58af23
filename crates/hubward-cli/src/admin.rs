//! The arguments that select a running emulator.

use std::path::PathBuf;

use clap::Args;
use hubward_service::{AdminPort, ServiceOptions};

use crate::EMULATOR_ADMIN as VARIABLE;
use crate::commands::emulator::{Running, data_dir};
use crate::failure::Failure;

/// The default admin port.
pub(crate) const ADMIN_PORT: u16 = 8480;

/// Selects an emulator.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Admin port of a running emulator [env: HUBWARD_EMULATOR_ADMIN]
    ///
    /// Such as http://127.0.0.1:8480. The default is the emulator that runs with the data directory, or
    /// port 8480 of this machine.
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// Data directory of the emulator [env: HUBWARD_DATA_DIR] [default: per user]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl AdminArgs {
    /// The emulator that the arguments or the variable name, otherwise the one that runs on this machine.
    pub(crate) fn port(&self) -> Result<AdminPort, Failure> {
        if let Some((named, _)) = self.named()? {
            return Ok(named);
        }
        let running = data_dir(self.data_dir.as_deref()).ok().and_then(|it| Running::with(&it));
        Self::at(&running.map_or_else(|| format!("http://127.0.0.1:{ADMIN_PORT}"), |it| it.admin))
    }

    /// The emulator that an argument or the variable names, and its URL.
    pub(crate) fn named(&self) -> Result<Option<(AdminPort, String)>, Failure> {
        let (by, url) = match (&self.admin, crate::variable(VARIABLE)) {
            (Some(url), _) => ("--admin", url.clone()),
            // --data-dir on the command line wins over the variable.
            (None, Some(url)) if self.data_dir.is_none() => (VARIABLE, url),
            _ => return Ok(None),
        };
        match Self::at(&url) {
            Ok(port) => Ok(Some((port, url))),
            Err(mut failure) => {
                failure.messages[0] = format!("{by}: {}", failure.messages[0]);
                Err(failure)
            }
        }
    }

    /// The emulator with this URL.
    pub(crate) fn at(url: &str) -> Result<AdminPort, Failure> {
        AdminPort::new(url, &ServiceOptions::new()).map_err(|error| {
            Failure::usage(error.to_string())
                .hint("use the URL that the emulator prints at its start, such as http://127.0.0.1:8480")
        })
    }
}

/// Adds a hint if no emulator answers.
pub(crate) fn absent(mut failure: Failure) -> Failure {
    if failure.exit_code == crate::exit_code::ExitCode::Network {
        failure.hint = Some(format!(
            "start an emulator: hubward emulator; or name the admin port of a running one: --admin URL, {VARIABLE}"
        ));
    }
    failure
}
