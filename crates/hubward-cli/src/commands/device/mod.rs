//! `hubward device`: be the device. One file a command.

mod c2d;
mod connection;
mod exec;
mod living;
mod method;
mod run;
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

Each command gets its connection as `hubward provision` does, from PROVISIONING_* variables or the
flags of the same names; or from a connection string: IOTHUB_DEVICE_CONNECTION_STRING or
--connection-string-file.")]
pub(crate) enum DeviceCommand {
    /// Send telemetry: arguments, a file, or standard input line by line.
    Send(Box<send::SendArgs>),
    /// Read the twin, report to it, follow what the cloud wants.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward device twin report '{\"firmware\": \"2.1\"}'\n  hubward device twin watch"
    )]
    Twin(twin::TwinCommand),
    /// Answer direct methods.
    #[command(subcommand, after_help = "Example:\n  hubward device method serve --exec ./reboot.sh --name reboot")]
    Method(method::MethodCommand),
    /// Receive messages from the cloud.
    #[command(subcommand, after_help = "Example:\n  hubward device c2d receive --count 1")]
    C2d(c2d::C2dCommand),
    /// Be a whole device for a while: twin, methods, messages, telemetry.
    Run(Box<run::RunArgs>),
    /// `az iot device c2d-message`.
    #[command(hide = true)]
    C2dMessage(Elsewhere),
    /// `az iot device simulate`.
    #[command(hide = true)]
    Simulate(Elsewhere),
    /// `az iot device send-d2c-message`.
    #[command(hide = true)]
    SendD2cMessage(Elsewhere),
    /// `az iot device registration`.
    #[command(hide = true)]
    Registration(Elsewhere),
}

/// A command that `az iot device` has, and that has another name here.
#[derive(Debug, Args)]
pub(crate) struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Elsewhere {
    fn named(&self, name: &str, here: &str) -> Failure {
        let typed = self.arguments.first().filter(|it| !it.starts_with('-')).map(|it| format!(" {it}"));
        Failure::usage(format!("there is no `hubward device {name}{}`", typed.unwrap_or_default()))
            .hint(format!("{here}; docs/from-az-iot.md has the commands beside each other"))
    }
}

impl DeviceCommand {
    /// Whether it has another name.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::C2dMessage(_) | Self::Simulate(_) | Self::SendD2cMessage(_) | Self::Registration(_))
    }
}

/// Does what was asked for.
pub(crate) async fn run(command: &DeviceCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        DeviceCommand::Send(args) => send::run(args, output).await,
        DeviceCommand::Twin(command) => twin::run(command, output).await,
        DeviceCommand::Method(method::MethodCommand::Serve(args)) => method::run(args, output).await,
        DeviceCommand::C2d(c2d::C2dCommand::Receive(args)) => c2d::run(args, output).await,
        DeviceCommand::Run(args) => run::run(args, output).await,
        DeviceCommand::C2dMessage(it) => {
            Err(it
                .named("c2d-message", "to send: hubward hub c2d-message send; to receive: hubward device c2d receive"))
        }
        DeviceCommand::Simulate(it) => Err(it.named("simulate", "hubward device run is a whole device")),
        DeviceCommand::SendD2cMessage(it) => Err(it.named("send-d2c-message", "hubward device send BODY")),
        DeviceCommand::Registration(it) => {
            Err(it.named("registration", "hubward provision registers a device; hubward dps … registration shows it"))
        }
    }
}

/// When a command ends that would go on.
#[derive(Debug, Args)]
struct EndArgs {
    /// End after this time [default: on Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::parse_positive)]
    duration: Option<Duration>,
}

impl EndArgs {
    /// Waits for the end, which began to be waited for at `since`. Ctrl-C is a proper one. From then on
    /// no reader of the output may delay the command.
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
