//! `hubward emulator env`: prints the environment variables of a running emulator again.

use std::path::PathBuf;

use clap::Args;
use hubward::{RegistrationId, vars};

use super::device_key::device_key;
use crate::cloud;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::{AdminArgs, Running, data_dir};
use crate::output::{Event, Outcome, Output};
use crate::shell::Shell;

#[derive(Debug, Args)]
pub(super) struct EnvArgs {
    /// Shell that the lines are for.
    #[arg(long, default_value = if cfg!(windows) { "pwsh" } else { "sh" })]
    shell: Shell,
    /// Print the variables of this device, with its own key.
    ///
    /// The key is the one of the device's individual enrollment. If there is none, the key is derived from the key of
    /// the emulator's enrollment group, such as the group of --dev-keys.
    #[arg(long, value_name = "ID", visible_alias = "rid")]
    registration_id: Option<RegistrationId>,
    /// Data directory of the running emulator [env: HUBWARD_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) async fn run(args: &EnvArgs, output: &Output) -> Result<ExitCode, Failure> {
    let data_dir = data_dir(args.data_dir.as_deref())?;
    let mut running = Running::with(&data_dir).ok_or_else(|| {
        Failure::local(format!("no emulator runs with the data directory {}", data_dir.display()))
            .hint("start one: hubward emulator")
    })?;
    if let Some(id) = &args.registration_id {
        select(&mut running, id).await?;
    }
    if output.is_text() {
        output.line(&cloud::block(&running.variables, &running.operator, running.ports, args.shell)).await;
    } else {
        output.tell(&Event::Device { variables: &running.variables }).await;
        output.tell(&Event::Operator { variables: &running.operator }).await;
        output.tell(&Event::Result { outcome: &Outcome::default() }).await;
    }
    Ok(ExitCode::Ok)
}

/// Changes the variables to those of this device.
async fn select(running: &mut Running, id: &RegistrationId) -> Result<(), Failure> {
    let key = device_key(&AdminArgs::at(&running.admin)?, id).await?;
    for (name, value) in &mut running.variables {
        match name.as_str() {
            vars::REGISTRATION_ID => *value = id.to_string(),
            vars::SYMMETRIC_KEY => key.as_str().clone_into(value),
            _ => {}
        }
    }
    Ok(())
}
