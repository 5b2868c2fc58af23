//! `hubward emulator`: runs a local cloud until Ctrl-C or SIGTERM.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use hubward_emulator::{Builder, Emulator, SERVICE_RETRY_AFTER, Seed};

use super::stdin_close::StdinClose;
use super::terminal::Terminal;
use crate::cloud;
use crate::commands::simulated_device;
use crate::environment;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::{ADMIN_PORT, ReadyFile, data_dir, env_command};
use crate::output::{Event, Output};
use crate::shell::Shell;
use crate::stop::Stop;

const DEVICE: &str = "dev-1";

/// The Retry-After that the emulator's DPS sends with `--dev-keys`. DPS in Azure sends [`SERVICE_RETRY_AFTER`], which
/// is longer, so a registration takes longer there.
const DEV_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The warning to print after an admin address that is not on loopback.
const OPEN: &str = "\n  Any client that can reach this address controls the emulator: it has no password.";

/// Each option can also be set with an environment variable, for containers and pipelines.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Data directory [env: HUBWARD_DATA_DIR] [default: in your home directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep neither state nor certificate authority after this run.
    #[arg(long, env = "HUBWARD_IN_MEMORY", conflicts_with = "data_dir", value_parser = BoolishValueParser::new())]
    in_memory: bool,
    /// JSON file of enrollments, groups and devices; applied at each start.
    #[arg(long, value_name = "FILE", env = "HUBWARD_SEED")]
    seed: Option<PathBuf>,
    /// Add an enrollment group with a published key; loopback only.
    ///
    /// A device can then register with any registration id. Its key is derived from the group's key.
    #[arg(long, env = "HUBWARD_DEV_KEYS", value_parser = BoolishValueParser::new())]
    dev_keys: bool,
    /// Port of MQTT over TLS; 0 for a free port.
    #[arg(long, value_name = "PORT", default_value_t = 8883, env = "HUBWARD_MQTT_PORT")]
    mqtt_port: u16,
    /// Port of HTTPS and MQTT over WebSocket; 0 for a free port.
    #[arg(long, value_name = "PORT", default_value_t = 8443, env = "HUBWARD_HTTPS_PORT")]
    https_port: u16,
    /// Port of the admin API and the portal, plain HTTP; 0 for a free port.
    #[arg(long, value_name = "PORT", default_value_t = ADMIN_PORT, env = "HUBWARD_ADMIN_PORT")]
    admin_port: u16,
    /// Address of the admin API, instead of loopback; has no password.
    ///
    /// The admin API has no password and returns every key: any client that can reach this address controls the
    /// emulator.
    #[arg(long, value_name = "ADDRESS", env = "HUBWARD_ADMIN_ADDRESS")]
    admin_address: Option<IpAddr>,
    /// Additional host name of the admin API.
    ///
    /// The admin API accepts requests for this name, for localhost, for loopback addresses and for the address that it
    /// listens on. It refuses requests for any other host name. Repeat the option for several names, or separate them
    /// by commas.
    #[arg(long, value_name = "NAME", env = "HUBWARD_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// Use port 443 for HTTPS and WebSocket, as Microsoft's SDKs do; may need root.
    #[arg(long, conflicts_with = "https_port", env = "HUBWARD_STANDARD_PORTS",
          value_parser = BoolishValueParser::new())]
    standard_ports: bool,
    /// Host name of a hub; repeat or separate by commas [default: localhost]
    #[arg(long, value_name = "NAME", env = "HUBWARD_HUBS", value_delimiter = ',')]
    hub: Vec<String>,
    /// Additional name for certificates; repeat or separate by commas.
    #[arg(long, value_name = "NAME", env = "HUBWARD_NAMES", value_delimiter = ',')]
    name: Vec<String>,
    /// ID scope of the DPS instance.
    #[arg(long, value_name = "SCOPE", env = "HUBWARD_ID_SCOPE")]
    id_scope: Option<String>,
    /// Listen on this address instead of loopback; repeat or separate by commas.
    ///
    /// Any client that can reach this address can use the emulator.
    #[arg(long, value_name = "ADDRESS", env = "HUBWARD_BIND", value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// Retry-After that DPS sends to devices [default: 3s, or 1s with --dev-keys]
    ///
    /// DPS in Azure sends 3s. A device waits for this time before each poll of its registration.
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse, env = "HUBWARD_RETRY_AFTER")]
    retry_after: Option<Duration>,
    /// Do not print the connections, registrations and refusals on stderr.
    #[arg(long, env = "HUBWARD_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
    /// End when standard input is closed; for programs that start the emulator.
    ///
    /// The program keeps the other end of a pipe. When the program ends for any reason, the emulator also ends.
    #[arg(long, env = "HUBWARD_EXIT_ON_STDIN_CLOSE", value_parser = BoolishValueParser::new())]
    exit_on_stdin_close: bool,
}

impl StartArgs {
    fn retry_after(&self) -> Duration {
        let default = if self.dev_keys { DEV_RETRY_AFTER } else { SERVICE_RETRY_AFTER };
        self.retry_after.unwrap_or(default)
    }
}

pub(super) async fn run(args: &StartArgs, output: &Output) -> Result<ExitCode, Failure> {
    let kept = if args.in_memory { None } else { Some(data_dir(args.data_dir.as_deref())?) };
    let seed = args.seed.as_deref().map(read_seed).transpose()?;
    let mut stop = Stop::listen()?;
    let mut stdin = StdinClose::listen(args.exit_on_stdin_close)?;
    let builder = simulated_device::offer(builder(args, kept.as_deref(), seed.as_ref()));
    let emulator = builder.start().await.map_err(cloud::not_started)?;
    let variables = device(&emulator, args.dev_keys, seed.as_ref())?;
    let operator = operator(&emulator);
    emulator.flush().await.map_err(|error| Failure::local_with_causes(&error))?;
    let ready = serde_json::to_value(emulator.ready()).map_err(|error| Failure::local(error.to_string()))?;
    let ready_file = kept.as_ref().map(|it| ReadyFile::write(it, &ready, &variables, &operator)).transpose()?;
    if output.is_text() {
        let open = args.admin_address.is_some_and(|it| !it.is_loopback());
        let other_devices = kept.filter(|_| args.dev_keys).map(|it| other_devices(&it)).unwrap_or_default();
        output.line(&introduction(&emulator, &variables, &operator, &other_devices, open)).await;
    } else {
        let (device, operator) = (Event::Device { variables: &variables }, Event::Operator { variables: &operator });
        output.tell_together(&[Event::Ready(&ready), device, operator]).await;
    }
    let mut terminal = (!args.quiet).then(|| Terminal::new(emulator.events(), output.stderr()));
    let lost = tokio::select! {
        () = stop.heard() => None,
        () = stdin.heard() => None,
        // The emulator can no longer write its state, so it acknowledges nothing more. End the command.
        lost = emulator.failed() => Some(lost),
        never = show(terminal.as_mut()) => match never {},
    };
    drop(ready_file);
    emulator.shutdown().await;
    if let Some(terminal) = terminal {
        terminal.finish();
    }
    match lost {
        None => Ok(ExitCode::Ok),
        Some(lost) => {
            Err(Failure::local_with_causes(&lost)
                .hint("check whether the disk is full or the data directory was removed"))
        }
    }
}

/// Prints the events of the emulator on the terminal, until the future is dropped. If `terminal` is `None`, prints
/// nothing.
async fn show(terminal: Option<&mut Terminal>) -> Infallible {
    match terminal {
        Some(terminal) => terminal.run().await,
        None => std::future::pending().await,
    }
}

/// Returns a line that tells the user how to get the variables of a device with another registration ID. `folder` is
/// the data directory.
fn other_devices(folder: &Path) -> String {
    format!("  any registration ID works; for its variables: {}\n", env_command(folder, "ID"))
}

fn introduction(
    emulator: &Emulator,
    variables: &[(String, String)],
    operator: &[(String, String)],
    other_devices: &str,
    open: bool,
) -> String {
    let ready = emulator.ready();
    let ports = (emulator.mqtt_addr().port(), emulator.https_addr().port());
    format!(
        "A local Azure DPS and IoT Hub (not Microsoft's), until Ctrl-C\n  \
         portal and admin API at {}{}\n  MQTT on port {}, HTTPS and WebSocket on port {}\n  CA file {}\n\
         {other_devices}\nIn a second shell:\n\n{}\n",
        ready.admin,
        if open { OPEN } else { "" },
        ports.0,
        ports.1,
        ready.ca_file.display(),
        cloud::block(variables, operator, ports, Shell::here())
    )
}

fn read_seed(file: &Path) -> Result<Seed, Failure> {
    let text = crate::input::state_text("the seed", file)?;
    Seed::from_json(&text).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn builder(args: &StartArgs, data_dir: Option<&Path>, seed: Option<&Seed>) -> Builder {
    let mut builder = Emulator::builder()
        .mqtt_port(args.mqtt_port)
        .https_port(if args.standard_ports { 443 } else { args.https_port })
        .admin_port(args.admin_port)
        .names(&args.name)
        .dev_keys(args.dev_keys)
        .retry_after(Some(args.retry_after()));
    if !args.hub.is_empty() {
        builder = builder.hubs(&args.hub);
    }
    if let Some(address) = args.admin_address {
        builder = builder.admin_address(address);
    }
    for name in &args.allow_host {
        builder = builder.allow_host(name);
    }
    if let Some(id_scope) = &args.id_scope {
        builder = builder.id_scope(id_scope);
    }
    if !args.bind.is_empty() {
        builder = builder.bind(args.bind.iter().copied());
    }
    if let Some(data_dir) = data_dir {
        builder = builder.data_dir(data_dir);
    }
    if let Some(seed) = seed {
        builder = builder.seed(seed.clone());
    }
    builder
}

/// Returns the settings of a device that can register: the device of the seed's first enrollment.
///
/// If the seed has no enrollment, the device is [`DEVICE`]. The function then derives the key from the only group of
/// the seed, or from the group of `--dev-keys`. If neither group exists, it creates an enrollment for [`DEVICE`].
fn device(emulator: &Emulator, dev_keys: bool, seed: Option<&Seed>) -> Result<Vec<(String, String)>, Failure> {
    let seeded = seed.and_then(|it| it.enrollments.first()).map(|it| it.registration_id.as_str());
    let has_group = dev_keys || seed.is_some_and(|it| it.enrollment_groups.len() == 1);
    let known = match seeded {
        Some(id) => emulator.vars(id).ok(),
        // The state may also contain groups from an earlier run. If there are several groups, `vars` uses the group of
        // `--dev-keys`. If this group is not among them, `vars` fails, and the code below creates an enrollment.
        None if has_group => emulator.vars(DEVICE).ok(),
        None => None,
    };
    let variables = known.map_or_else(|| emulator.enroll(DEVICE).map(|it| it.vars()), Ok);
    variables.map(cloud::owned).map_err(|error| Failure::local_with_causes(&error))
}

/// The logins for operators.
fn operator(emulator: &Emulator) -> Vec<(String, String)> {
    let ready = emulator.ready();
    let hub = ready.hubs.first().and_then(|it| emulator.hub_connection_string(it));
    let logins = [
        (environment::DPS_LOGIN, Some(emulator.dps_connection_string())),
        (environment::HUB_LOGIN, hub),
        (environment::EMULATOR_ADMIN, Some(ready.admin)),
    ];
    logins.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
