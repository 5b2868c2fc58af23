//! `hubward emulator`: runs a local DPS and IoT Hub until Ctrl-C. Its subcommands, such as `events` and `export`, use a
//! running emulator or a data directory.

mod device_key;
mod env;
mod event_line;
mod events;
mod private_file;
mod serve;
mod state;
mod stdin_close;
mod terminal;
mod trust;

use clap::{Args, Subcommand};

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  hubward emulator --dev-keys                       # any registration id works
  hubward emulator --seed cloud.json --output json  # enrollments from a file, for a pipeline
  hubward emulator env --shell pwsh                 # print the environment variables again
  hubward emulator trust                            # how other programs trust its certificates

A local stand-in for Azure DPS and IoT Hub, for development and tests; not for production. Microsoft's
SDKs reach it over MQTT without options. Over HTTPS and WebSocket they always use port 443; start the
emulator with --standard-ports for them."
)]
pub(crate) struct EmulatorArgs {
    #[command(subcommand)]
    command: Option<EmulatorCommand>,
    #[command(flatten)]
    start: serve::StartArgs,
}

#[derive(Debug, Subcommand)]
enum EmulatorCommand {
    /// Print the shell commands that set the variables for a running emulator.
    #[command(after_help = "Examples:
  eval \"$(hubward emulator env --shell sh)\"
  hubward emulator env --registration-id sensor-42    # a device with its own key
  hubward emulator env --shell pwsh | Out-String | Invoke-Expression")]
    Env(env::EnvArgs),
    /// Print how Python, Node, Java, .NET, curl and OS stores trust the emulator.
    #[command(after_help = "Examples:
  hubward emulator trust                             # all programs
  eval \"$(hubward emulator trust --for node,curl)\"   # in this shell
  hubward emulator trust --for os                    # the lines for a machine, with sudo")]
    Trust(trust::TrustArgs),
    /// Show the addresses and the contents of a running emulator.
    #[command(after_help = "Examples:
  hubward emulator status
  hubward emulator status --admin http://127.0.0.1:8480 --output json")]
    Status(state::StatusArgs),
    /// Print what has happened: registrations, connections, refusals, changes.
    #[command(after_help = "Examples:
  hubward emulator events --kind refused,handshakeFailed
  hubward emulator events --follow --id dev-1 --output json")]
    Events(events::EventsArgs),
    /// Print enrollments, devices, twins and registrations as a JSON seed with keys.
    #[command(after_help = "Examples:
  hubward emulator export --file cloud.json
  hubward emulator export --data-dir ./cloud > cloud.json    # also while no emulator runs")]
    Export(state::ExportArgs),
    /// Import an export or a seed into an emulator, all or nothing.
    ///
    /// Records that the file does not contain stay as they are.
    #[command(after_help = "Examples:
  hubward emulator import cloud.json
  hubward emulator export --data-dir ./one | hubward emulator import - --data-dir ./two")]
    Import(state::ImportArgs),
    /// Delete everything except the CA and the operators' keys; asks first.
    #[command(after_help = "Examples:
  hubward emulator reset
  hubward emulator reset --yes --admin http://127.0.0.1:8480    # between two tests")]
    Reset(state::ResetArgs),
}

impl EmulatorArgs {
    /// Whether the answer has rows and columns.
    pub(crate) const fn has_rows(&self) -> bool {
        matches!(self.command, Some(EmulatorCommand::Status(_) | EmulatorCommand::Import(_)))
    }
}

pub(crate) async fn run(args: &EmulatorArgs, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        None => serve::run(&args.start, output).await,
        Some(EmulatorCommand::Env(args)) => env::run(args, output).await,
        Some(EmulatorCommand::Trust(args)) => trust::run(args, output).await,
        Some(EmulatorCommand::Status(args)) => state::status(args, output).await,
        Some(EmulatorCommand::Events(args)) => events::run(args, output).await,
        Some(EmulatorCommand::Export(args)) => state::export(args, output).await,
        Some(EmulatorCommand::Import(args)) => state::import(args, output).await,
        Some(EmulatorCommand::Reset(args)) => state::reset(args, output).await,
    }
}
