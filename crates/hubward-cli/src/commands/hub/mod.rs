//! `hubward hub`: commands for operators of a hub. They have the names of `az iot hub`. Each command has its own file.

mod auth_args;
mod az_command;
mod c2d;
mod connection_string;
mod device_identity;
mod invoke;
mod member_path;
mod module_identity;
mod monitor;
mod next;
mod query;
mod renew_key;
mod sas_token;
mod shared;
mod twin;

use clap::{Args, Subcommand};

use crate::az_args::AzArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::service_login::LoginArgs;
use crate::stop::Stop;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward hub device-identity create -d dev-2 --emulator
  hubward hub query -q \"SELECT * FROM devices WHERE tags.site = 'a'\" --output table
  hubward hub invoke-device-method -d dev-1 --mn reboot --mp '{\"delay\": 3}'

The login is the connection string of a policy, in IOTHUB_CONNECTION_STRING or a file (--login-file).
An emulator needs no login: --emulator. The commands have the names of `az iot hub`;
docs/from-az-iot.md compares them.")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    command: HubCommand,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    az: AzArgs,
}

#[derive(Debug, Subcommand)]
enum HubCommand {
    /// Manage the devices of a hub.
    #[command(subcommand, after_help = "Example:\n  hubward hub device-identity create -d dev-2 --emulator")]
    DeviceIdentity(device_identity::DeviceIdentityCommand),
    /// Manage the modules of devices.
    #[command(subcommand, after_help = "Example:\n  hubward hub module-identity create -d dev-2 -m valve --emulator")]
    ModuleIdentity(module_identity::ModuleIdentityCommand),
    /// Show or change the twin of a device.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward hub device-twin update -d dev-1 --desired '{\"interval\": 30}'"
    )]
    DeviceTwin(twin::DeviceTwinCommand),
    /// Show or change the twin of a module.
    #[command(subcommand, after_help = "Example:\n  hubward hub module-twin show -d dev-1 -m valve")]
    ModuleTwin(twin::ModuleTwinCommand),
    /// Call a direct method of a device.
    InvokeDeviceMethod(invoke::DeviceMethodArgs),
    /// Call a direct method of a module.
    InvokeModuleMethod(invoke::ModuleMethodArgs),
    /// Run a query over twins.
    Query(query::QueryArgs),
    /// Sign a SAS token for a policy, a device or a module.
    GenerateSasToken(sas_token::TokenArgs),
    /// Send cloud-to-device messages (preview for hubs in Azure).
    #[command(subcommand, after_help = "Example:\n  hubward hub c2d-message send -d dev-1 --data reboot --emulator")]
    C2dMessage(c2d::C2dMessageCommand),
    /// Print the telemetry of devices as it arrives (emulator only).
    MonitorEvents(monitor::MonitorArgs),
}

impl HubArgs {
    /// Returns whether the answer of the command has rows and columns. The endless stream of `monitor-events` has
    /// neither.
    pub(crate) const fn has_rows(&self) -> bool {
        !matches!(self.command, HubCommand::MonitorEvents(_))
    }
}

/// Runs the command.
pub(crate) async fn run(args: &HubArgs, output: &Output) -> Result<ExitCode, Failure> {
    let query = args.az.query().await?;
    match &args.command {
        HubCommand::MonitorEvents(_) if query.is_some() => {
            Err(Failure::usage("monitor-events does not support --query, because it prints a stream of messages")
                .hint("use --output json with a program such as jq, which reads one message per line"))
        }
        // Ctrl-C is the normal end of this command.
        HubCommand::MonitorEvents(events) => monitor::run(events, &args.login, output).await,
        command => {
            let output = output.with_query(query);
            Stop::listen()?.or_interrupt(ask(command, &args.login, &output)).await
        }
    }
}

async fn ask(command: &HubCommand, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        HubCommand::DeviceIdentity(command) => device_identity::run(command, login, output).await,
        HubCommand::ModuleIdentity(command) => module_identity::run(command, login, output).await,
        HubCommand::DeviceTwin(command) => twin::run_device(command, login, output).await,
        HubCommand::ModuleTwin(command) => twin::run_module(command, login, output).await,
        HubCommand::InvokeDeviceMethod(args) => invoke::run_device(args, login, output).await,
        HubCommand::InvokeModuleMethod(args) => invoke::run_module(args, login, output).await,
        HubCommand::Query(args) => query::run(args, login, output).await,
        HubCommand::GenerateSasToken(args) => sas_token::run(args, login, output).await,
        HubCommand::C2dMessage(c2d::C2dMessageCommand::Send(args)) => c2d::run(args, login, output).await,
        HubCommand::MonitorEvents(args) => monitor::run(args, login, output).await,
    }
}
