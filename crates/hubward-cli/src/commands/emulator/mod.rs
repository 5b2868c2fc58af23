//! `hubward emulator`: a local DPS and IoT Hub until Ctrl-C.

mod data_dir;
mod env;
mod note;
mod serve;

use clap::{Args, Subcommand};

pub(crate) use self::data_dir::data_dir;
pub(crate) use self::note::Running;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  hubward emulator --dev-keys                       # any registration id works
  hubward emulator --seed cloud.json --output json  # enrollments from a file, for a pipeline
  hubward emulator env --shell pwsh                 # the lines to paste, once more

A local stand-in for Azure DPS and IoT Hub, for tests and by hand; not for production. Microsoft's
SDKs reach it over MQTT at once; over HTTPS and WebSocket they insist on port 443: --standard-ports."
)]
pub(crate) struct EmulatorArgs {
    #[command(subcommand)]
    command: Option<EmulatorCommand>,
    #[command(flatten)]
    start: serve::StartArgs,
}

#[derive(Debug, Subcommand)]
enum EmulatorCommand {
    /// Print the lines that make a shell use the emulator that runs with this data directory.
    #[command(after_help = "Examples:
  eval \"$(hubward emulator env --shell sh)\"
  hubward emulator env --shell pwsh | Out-String | Invoke-Expression")]
    Env(env::EnvArgs),
}

pub(crate) async fn run(args: &EmulatorArgs, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        None => serve::run(&args.start, output).await,
        Some(EmulatorCommand::Env(args)) => env::run(args, output),
    }
}
