//! `hubward device`: commands that act as a device, one file each.

mod c2d;
mod connection;
mod event_printer;
mod exec;
mod method;
mod run;
pub(super) mod scripted_device;
mod send;
mod twin;

use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::Instant;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::stop::Stop;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  hubward device send 21.5 --property unit=C
  hubward device run --for 1m --report '{\"firmware\": \"2.1\"}' --method reboot=200

Each command connects either through DPS, like `hubward provision`, with the PROVISIONING_* variables
or their flags; or with a connection string from IOTHUB_DEVICE_CONNECTION_STRING or
--connection-string-file.")]
pub(crate) enum DeviceCommand {
    /// Send telemetry from arguments, a file, or the lines of standard input.
    Send(Box<send::SendArgs>),
    /// Read the twin, report properties, follow the desired properties.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward device twin report '{\"firmware\": \"2.1\"}'\n  hubward device twin watch"
    )]
    Twin(twin::TwinCommand),
    /// Answer direct methods.
    #[command(subcommand, after_help = "Example:\n  hubward device method serve --exec ./reboot.sh --name reboot")]
    Method(method::MethodCommand),
    /// Receive cloud-to-device messages.
    #[command(subcommand, after_help = "Example:\n  hubward device c2d receive --count 1")]
    C2d(c2d::C2dCommand),
    /// Run a complete device: twin, methods, messages, telemetry.
    Run(Box<run::RunArgs>),
    /// `az iot device c2d-message`.
    #[command(hide = true)]
    C2dMessage(AzCommand),
    /// `az iot device simulate`.
    #[command(hide = true)]
    Simulate(AzCommand),
    /// `az iot device send-d2c-message`.
    #[command(hide = true)]
    SendD2cMessage(AzCommand),
    /// `az iot device registration`.
    #[command(hide = true)]
    Registration(AzCommand),
}

/// The arguments of a command of `az iot device` that has another name in `hubward`. The parser accepts any arguments,
/// so that the program can print an error with the name of the `hubward` command.
#[derive(Debug, Args)]
pub(crate) struct AzCommand {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl AzCommand {
    /// Returns the failure that names the `hubward` command to use instead.
    fn refused(&self, name: &str, use_instead: &str) -> Failure {
        let subcommand = self.arguments.first().filter(|it| !it.starts_with('-')).map(|it| format!(" {it}"));
        Failure::usage(format!("`hubward device {name}{}` does not exist", subcommand.unwrap_or_default()))
            .hint(format!("use {use_instead}; docs/from-az-iot.md lists all commands next to those of az"))
    }
}

impl DeviceCommand {
    /// Returns whether this is a command of `az iot device` that has another name in `hubward`.
    pub(crate) const fn is_az_command(&self) -> bool {
        matches!(self, Self::C2dMessage(_) | Self::Simulate(_) | Self::SendD2cMessage(_) | Self::Registration(_))
    }
}

/// Runs the command.
pub(crate) async fn run(command: &DeviceCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        DeviceCommand::Send(args) => send::run(args, output).await,
        DeviceCommand::Twin(command) => twin::run(command, output).await,
        DeviceCommand::Method(method::MethodCommand::Serve(args)) => method::run(args, output).await,
        DeviceCommand::C2d(c2d::C2dCommand::Receive(args)) => c2d::run(args, output).await,
        DeviceCommand::Run(args) => run::run(args, output).await,
        DeviceCommand::C2dMessage(it) => Err(it.refused(
            "c2d-message",
            "`hubward hub c2d-message send` to send, or `hubward device c2d receive` to receive",
        )),
        DeviceCommand::Simulate(it) => Err(it.refused("simulate", "`hubward device run` for a complete device")),
        DeviceCommand::SendD2cMessage(it) => Err(it.refused("send-d2c-message", "`hubward device send BODY`")),
        DeviceCommand::Registration(it) => Err(it.refused(
            "registration",
            "`hubward provision` to register a device, or `hubward dps … registration` to show its registration",
        )),
    }
}

/// The option that ends a command after a time. Without it, the command runs until Ctrl-C.
#[derive(Debug, Args)]
struct EndArgs {
    /// Duration after which the command ends [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::parse_positive)]
    duration: Option<Duration>,
}

impl EndArgs {
    /// Waits for Ctrl-C, or until the duration `--for` has passed since `since`. Then marks the output as ended. From
    /// then on, a reader that has stopped reading the output delays the exit only for a limited time.
    async fn reached(&self, since: Instant, stop: &mut Stop, output: &Output) {
        let over = async {
            match self.duration.and_then(|it| since.checked_add(it)) {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.heard() => {}
            () = over => {}
        }
        output.over();
    }
}
