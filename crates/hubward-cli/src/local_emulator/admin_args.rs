//! The arguments that select a running emulator.

use std::path::PathBuf;

use clap::Args;
use hubward_service::{AdminPort, ServiceOptions};

use super::{admin_port, running_or_default};
use crate::environment::{EMULATOR_ADMIN, variable};
use crate::failure::Failure;

/// Selects an emulator.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Admin port of a running emulator [env: HUBWARD_EMULATOR_ADMIN]
    ///
    /// An example is http://127.0.0.1:8480. The default is the emulator that runs with the data directory, or port 8480
    /// of this machine.
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// Data directory of the emulator [env: HUBWARD_DATA_DIR] [default: per user]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl AdminArgs {
    /// Returns the admin port of the emulator that `--admin` or `HUBWARD_EMULATOR_ADMIN` names. If neither is given,
    /// returns the port of the emulator on this machine.
    pub(crate) fn port(&self) -> Result<AdminPort, Failure> {
        if let Some((named, _)) = self.named()? {
            return Ok(named);
        }
        Self::at(&running_or_default(self.data_dir.as_deref()))
    }

    /// Returns the admin port and the URL from `--admin`, or else from the variable `HUBWARD_EMULATOR_ADMIN`. If
    /// `--data-dir` is given, ignores the variable. Returns `None` if there is no URL.
    pub(crate) fn named(&self) -> Result<Option<(AdminPort, String)>, Failure> {
        let (by, url) = match (&self.admin, variable(EMULATOR_ADMIN)) {
            (Some(url), _) => ("--admin", url.clone()),
            // A `--data-dir` on the command line takes precedence over the variable.
            (None, Some(url)) if self.data_dir.is_none() => (EMULATOR_ADMIN, url),
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
        admin_port(url, &ServiceOptions::new())
    }

    /// Adds a hint to the failure if no emulator answered.
    pub(crate) fn absent(failure: Failure) -> Failure {
        super::absent(failure, "--admin URL")
    }
}
