//! `hubward emulator env`: prints the environment variables of a running emulator again.

use std::path::PathBuf;

use clap::Args;

use crate::cloud;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::{Running, data_dir};
use crate::output::{Event, Outcome, Output};
use crate::shell::Shell;

#[derive(Debug, Args)]
pub(super) struct EnvArgs {
    /// Shell that the lines are for.
    #[arg(long, default_value = if cfg!(windows) { "pwsh" } else { "sh" })]
    shell: Shell,
    /// Data directory of the running emulator [env: HUBWARD_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) async fn run(args: &EnvArgs, output: &Output) -> Result<ExitCode, Failure> {
    let data_dir = data_dir(args.data_dir.as_deref())?;
    let running = Running::with(&data_dir).ok_or_else(|| {
        Failure::local(format!("no emulator runs with the data directory {}", data_dir.display()))
            .hint("start one: hubward emulator")
    })?;
    if output.is_text() {
        output.line(&cloud::block(&running.variables, &running.operator, args.shell)).await;
    } else {
        output.tell(&Event::Device { variables: &running.variables }).await;
        output.tell(&Event::Operator { variables: &running.operator }).await;
        output.tell(&Event::Result { outcome: &Outcome::default() }).await;
    }
    Ok(ExitCode::Ok)
}
