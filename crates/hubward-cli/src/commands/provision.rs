//! `hubward provision`: registers a device with DPS, and optionally sends telemetry to its hub.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hubward::{Message, Settings, TransportKind};

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::Output;
use crate::provisioning::{DpsArgs, NetworkArgs};
use crate::session::{self, Telemetry};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward provision                                   # everything from PROVISIONING_* variables
  hubward provision --transport mqtt-ws --messages 10 # over port 443, then ten messages
  hubward provision --dps-host global.azure-devices-provisioning.net --id-scope 0ne00123ABC \\
      --registration-id dev-1 --group-key-file group.key --output json

Exit codes: 0 ok, 2 usage, 3 network, 4 TLS trust, 5 credential, 6 refused, 7 throttled, 8 deadline,
9 protocol, 10 some messages unacknowledged, 11 unsupported, 12 stdout not written,
130 Ctrl-C, 141 closed pipe.")]
pub(crate) struct ProvisionArgs {
    /// Transport to DPS: https, mqtt or mqtt-ws [env: HUBWARD_TRANSPORT] [default: mqtt]
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportKind>,
    /// Transport to the hub: mqtt or mqtt-ws [default: as to DPS; mqtt with https]
    #[arg(long, value_name = "TRANSPORT")]
    hub_transport: Option<TransportKind>,
    #[command(flatten)]
    dps: DpsArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Time limit for registration, connection and messages together.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::duration::parse_positive)]
    timeout: Duration,
    /// Number of telemetry messages to send to the hub after the registration.
    #[arg(long, value_name = "N", default_value_t = 0)]
    messages: usize,
    /// File with the body of each message, in place of a sample wind speed.
    #[arg(long, value_name = "FILE", requires = "messages")]
    body_file: Option<PathBuf>,
}

/// The settings of the command. The files, variables and keys are already read.
#[derive(Debug)]
pub(crate) struct Prepared {
    settings: Settings,
    telemetry: Telemetry,
}

/// Reads the files and variables that the arguments name. Also reads the key if the user types it at a terminal.
///
/// Reading blocks the thread, so call this before the program handles Ctrl-C. Until then, Ctrl-C ends the process
/// immediately.
pub(crate) fn prepare(args: &ProvisionArgs) -> Result<Prepared, Failure> {
    let mut settings = args.dps.settings(&args.network, args.transport)?;
    settings.options.timeout = args.timeout;
    settings.hub_transport = args.hub_transport;
    let body = args.body_file.as_ref().map(|file| input::body(file).and_then(|it| input::checked(Message::new(it))));
    if args.messages > 0 || args.hub_transport.is_some() {
        // Refuse a transport that cannot reach the hub, before the device registers.
        hubward::transport::check_hub_transport(settings.effective_hub_transport())?;
    }
    let body = body.transpose()?;
    Ok(Prepared { settings, telemetry: Telemetry { messages: args.messages, body } })
}

impl Prepared {
    pub(crate) async fn run(&self, output: &Output) -> Result<ExitCode, Failure> {
        session::run(&self.settings, &self.telemetry, output).await.map(|_| ExitCode::Ok)
    }
}
