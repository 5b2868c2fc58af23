//! Which emulator the commands for a running one talk to.

use std::path::PathBuf;

use clap::Args;
use hubward_service::{AdminPort, ServiceOptions};

use crate::EMULATOR_ADMIN as VARIABLE;
use crate::commands::emulator::{Running, data_dir};
use crate::failure::Failure;

/// Where the admin port is unless chosen.
pub(crate) const ADMIN_PORT: u16 = 8480;

/// Which emulator is meant.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The admin port of a running emulator, such as http://127.0.0.1:8480 [env:
    /// HUBWARD_EMULATOR_ADMIN] [default: that of the emulator that runs with the data directory, or
    /// port 8480]
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// The data directory that the emulator was started with [env: HUBWARD_DATA_DIR] [default: a folder
    /// of this user's]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl AdminArgs {
    /// The emulator that was named, or else the one that runs here.
    pub(crate) fn port(&self) -> Result<AdminPort, Failure> {
        if let Some((named, _)) = self.named()? {
            return Ok(named);
        }
        let running = data_dir(self.data_dir.as_deref()).ok().and_then(|it| Running::with(&it));
        Self::at(&running.map_or_else(|| format!("http://127.0.0.1:{ADMIN_PORT}"), |it| it.admin))
    }

    /// The one that an argument or the variable names, and its URL.
    pub(crate) fn named(&self) -> Result<Option<(AdminPort, String)>, Failure> {
        let (by, url) = match (&self.admin, crate::variable(VARIABLE)) {
            (Some(url), _) => ("--admin", url.clone()),
            // A directory on the command line says more than what stands in the environment.
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

    /// The one with this URL.
    pub(crate) fn at(url: &str) -> Result<AdminPort, Failure> {
        AdminPort::new(url, &ServiceOptions::new()).map_err(|error| {
            Failure::usage(error.to_string()).hint("the emulator prints it at its start: http://127.0.0.1:8480")
        })
    }
}

/// What to do where nobody answers.
pub(crate) fn absent(mut failure: Failure) -> Failure {
    if failure.exit_code == crate::exit_code::ExitCode::Network {
        failure.hint = Some(format!(
            "start one: hubward emulator; or name the admin port of a running one: --admin URL, {VARIABLE}"
        ));
    }
    failure
}
