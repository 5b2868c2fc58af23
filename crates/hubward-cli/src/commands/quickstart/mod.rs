//! `hubward quickstart`: starts a local cloud, and a device that registers and sends telemetry. Needs no setup.

mod certificates;

use std::time::Duration;

use clap::Args;
use hubward::{Settings, TransportKind};
use hubward_emulator::Emulator;

use self::certificates::Certificates;
use crate::cloud;
use crate::commands::simulated_device;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Outcome, Output};
use crate::session::{self, Telemetry};
use crate::stop::Stop;

/// What text mode prints at the end of the demo.
const NEXT: &str = "
What to try next:
  hubward emulator --dev-keys             # a local cloud that stays; prints the lines for a second shell
  hubward device run --interval 5s        # in the second shell: telemetry, twin, methods, messages
  hubward hub monitor-events --emulator   # in a third shell: the telemetry as it arrives
  hubward quickstart --keep               # this demo, and its local cloud runs on until Ctrl-C";

/// The same for `--x509`.
const NEXT_X509: &str = "
What to try next:
  hubward quickstart --x509 --keep          # this demo, and its local cloud runs on until Ctrl-C
  hubward x509 new-ca --name lab-root       # create the same certificates as files, step by step
  hubward emulator                          # a local cloud that stays, to enroll them";

const DEVICE: &str = "dev-1";
const MESSAGES: usize = 10;

/// The Retry-After of the local DPS. The DPS in Azure sends 3 s.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward quickstart
  hubward quickstart --transport mqtt-ws --output json
  hubward quickstart --keep       # and use the local cloud from a second shell
  hubward quickstart --x509       # with certificates in place of a symmetric key

Needs no network, no root and no Azure subscription, and leaves no files behind.")]
pub(crate) struct QuickstartArgs {
    /// Transport of the device: https (then MQTT to the hub), mqtt or mqtt-ws.
    #[arg(long, value_name = "TRANSPORT", default_value = "mqtt")]
    transport: TransportKind,
    /// Keep the local cloud running until Ctrl-C, and print how to use it.
    #[arg(long)]
    keep: bool,
    /// Use certificates: a root, an intermediate authority and the device.
    #[arg(long)]
    x509: bool,
}

/// The running local cloud, after the device has sent its messages.
pub(crate) struct LocalCloud {
    emulator: Emulator,
    outcome: Outcome,
    variables: Vec<(String, String)>,
    /// Keeps the files of the device while the local cloud runs.
    _certificates: Option<Certificates>,
}

/// Starts the local cloud, and runs the demo. Prints all events except `result`. Returns the running local cloud.
pub(crate) async fn run(args: &QuickstartArgs, output: &Output) -> Result<LocalCloud, Failure> {
    let builder = simulated_device::offer(Emulator::builder().retry_after(Some(RETRY_AFTER)));
    let emulator = builder.start().await.map_err(cloud::not_started)?;
    let (variables, certificates) = if args.x509 {
        let certificates = Certificates::create(DEVICE)?;
        certificates.enroll(&emulator)?;
        for (at, text) in Certificates::steps(DEVICE).iter().enumerate() {
            output.tell(&Event::Step { number: at + 1, text }).await;
        }
        let (chain, key) = certificates.files();
        (cloud::owned(emulator.ready().x509_vars(DEVICE, chain, key)), Some(certificates))
    } else {
        let enrolled = emulator.enroll(DEVICE).map_err(|error| Failure::local_with_causes(&error))?;
        (cloud::owned(enrolled.vars()), None)
    };
    output.tell(&Event::Device { variables: &variables }).await;

    let settings = Settings::from_vars(|name| cloud::value(&variables, name))?.transport(args.transport);
    let telemetry = Telemetry { messages: MESSAGES, body: None };
    let outcome = session::provision_and_send(&settings, &telemetry, output).await?;
    if let Some(assignment) = &outcome.assignment {
        let (hub, id) = (assignment.hub.as_str(), assignment.device_id.as_str());
        let device = emulator
            .device(hub, id)
            .ok_or_else(|| Failure::local(format!("{id} is missing in the registry of {hub}")))?;
        output.tell(&Event::Registry { device_id: id, hub, status: &device.status.to_string() }).await;
    }
    Ok(LocalCloud { emulator, outcome, variables, _certificates: certificates })
}

/// Prints the event `result` and stops the local cloud. With `--keep`, the local cloud first runs until Ctrl-C.
pub(crate) async fn leave(args: &QuickstartArgs, cloud: LocalCloud, output: &Output) -> Result<ExitCode, Failure> {
    let LocalCloud { emulator, outcome, variables, _certificates } = cloud;
    let stop = args.keep.then(Stop::listen).transpose()?;
    output.tell(&Event::Result { outcome: &outcome }).await;
    if let Some(mut stop) = stop {
        if output.is_text() {
            let ports = (emulator.mqtt_addr().port(), emulator.https_addr().port());
            output
                .line(&format!(
                    "\nThe local cloud runs until Ctrl-C. In a second shell:\n\n{}\n",
                    cloud::block(&variables, &[], ports, crate::shell::Shell::here())
                ))
                .await;
        }
        stop.heard().await;
    } else if output.is_text() {
        output.line(if args.x509 { NEXT_X509 } else { NEXT }).await;
    }
    emulator.shutdown().await;
    Ok(ExitCode::Ok)
}
