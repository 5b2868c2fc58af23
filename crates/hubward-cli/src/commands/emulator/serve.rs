//! `hubward emulator`: a local cloud that runs until somebody ends it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use hubward_emulator::{Builder, Emulator, SERVICE_RETRY_AFTER, Seed};

use super::data_dir::data_dir;
use super::note::Note;
use crate::admin::ADMIN_PORT;
use crate::cloud;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Output};
use crate::shell::Shell;
use crate::stop::Stop;

/// Each option has a variable as its twin, for containers and pipelines.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Where the emulator keeps what outlives it [env: HUBWARD_DATA_DIR] [default: a folder of this
    /// user's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep nothing: neither state nor certificate authority outlive this run.
    #[arg(long, env = "HUBWARD_IN_MEMORY", conflicts_with = "data_dir", value_parser = BoolishValueParser::new())]
    in_memory: bool,
    /// A JSON file of enrollments and groups, in the service's own model; applied at each start.
    #[arg(long, value_name = "FILE", env = "HUBWARD_SEED")]
    seed: Option<PathBuf>,
    /// A well-known enrollment group, so that any registration id works. Loopback only.
    #[arg(long, env = "HUBWARD_DEV_KEYS", value_parser = BoolishValueParser::new())]
    dev_keys: bool,
    /// Port of MQTT over TLS; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8883, env = "HUBWARD_MQTT_PORT")]
    mqtt_port: u16,
    /// Port of HTTPS and MQTT over WebSocket; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443, env = "HUBWARD_HTTPS_PORT")]
    https_port: u16,
    /// Port of the plain-HTTP admin listener with the portal; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = ADMIN_PORT, env = "HUBWARD_ADMIN_PORT")]
    admin_port: u16,
    /// Where the admin listener is, instead of on loopback. It asks for no password and hands out every
    /// key: whoever reaches this address owns the emulator.
    #[arg(long, value_name = "ADDRESS", env = "HUBWARD_ADMIN_ADDRESS")]
    admin_address: Option<IpAddr>,
    /// A name that the admin listener answers to, besides localhost and its addresses; may be repeated,
    /// or several with commas.
    #[arg(long, value_name = "NAME", env = "HUBWARD_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// HTTPS and WebSocket on 443, where Microsoft's SDKs look for them. May need root.
    #[arg(long, conflicts_with = "https_port", env = "HUBWARD_STANDARD_PORTS", value_parser = BoolishValueParser::new())]
    standard_ports: bool,
    /// Host name of a hub; may be repeated, or several with commas [default: localhost]
    #[arg(long, value_name = "NAME", env = "HUBWARD_HUBS", value_delimiter = ',')]
    hub: Vec<String>,
    /// One more name that certificates are made for; may be repeated, or several with commas.
    #[arg(long, value_name = "NAME", env = "HUBWARD_NAMES", value_delimiter = ',')]
    name: Vec<String>,
    /// The id scope of the DPS instance.
    #[arg(long, value_name = "SCOPE", env = "HUBWARD_ID_SCOPE")]
    id_scope: Option<String>,
    /// Listen on this address instead of loopback; may be repeated, or several with commas. Anybody
    /// who reaches it can use it.
    #[arg(long, value_name = "ADDRESS", env = "HUBWARD_BIND", value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// What DPS asks devices to wait between questions.
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse, env = "HUBWARD_RETRY_AFTER")]
    retry_after: Option<Duration>,
}

pub(super) async fn run(args: &StartArgs, output: &Output) -> Result<ExitCode, Failure> {
    let kept = if args.in_memory { None } else { Some(data_dir(args.data_dir.as_deref())?) };
    let seed = args.seed.as_deref().map(read_seed).transpose()?;
    let mut stop = Stop::listen()?;
    let emulator = builder(args, kept.as_deref(), seed.as_ref()).start().await.map_err(cloud::not_started)?;
    let variables = device(&emulator, args.dev_keys, seed.as_ref())?;
    let operator = operator(&emulator);
    emulator.settled().await.map_err(|error| Failure::local_with_causes(&error))?;
    let ready = serde_json::to_value(emulator.ready()).map_err(|error| Failure::local(error.to_string()))?;
    let note = kept.map(|it| Note::write(&it, &ready, &variables, &operator)).transpose()?;
    if output.is_text() {
        let open = args.admin_address.is_some_and(|it| !it.is_loopback());
        output.line(&introduction(&emulator, &variables, &operator, open)).await;
    } else {
        let (device, operator) = (Event::Device { variables: &variables }, Event::Operator { variables: &operator });
        output.tell_together(&[Event::Ready(&ready), device, operator]).await;
    }
    let lost = tokio::select! {
        () = stop.heard() => None,
        // Nothing is acknowledged any more.
        lost = emulator.failed() => Some(lost),
    };
    drop(note);
    emulator.shutdown().await;
    match lost {
        None => Ok(ExitCode::Ok),
        Some(lost) => Err(Failure::local_with_causes(&lost).hint("is the disk full, or the data directory gone?")),
    }
}

fn introduction(
    emulator: &Emulator,
    variables: &[(String, String)],
    operator: &[(String, String)],
    open: bool,
) -> String {
    let ready = emulator.ready();
    format!(
        "A local Azure DPS and IoT Hub (not Microsoft's), until Ctrl-C\n  \
         portal and admin API at {}{}\n  MQTT on port {}, HTTPS and WebSocket on port {}\n  CA file {}\n\n\
         In a second shell:\n\n{}\n",
        ready.admin,
        if open { OPEN } else { "" },
        emulator.mqtt_addr().port(),
        emulator.https_addr().port(),
        ready.ca_file.display(),
        cloud::block(variables, operator, Shell::here())
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
        .retry_after(Some(args.retry_after.unwrap_or(SERVICE_RETRY_AFTER)));
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

/// The settings of a device that works at once: of the well-known group, or the seed's first, or one
/// that is made for the purpose.
fn device(emulator: &Emulator, dev_keys: bool, seed: Option<&Seed>) -> Result<Vec<(String, String)>, Failure> {
    let seeded = seed.and_then(|it| it.enrollments.first()).map(|it| it.registration_id.as_str());
    let has_group = dev_keys || seed.is_some_and(|it| it.enrollment_groups.len() == 1);
    let known = match seeded {
        Some(id) => emulator.vars(id).ok(),
        // More groups than one may be there from an earlier run.
        None if has_group => emulator.vars(DEVICE).ok(),
        None => None,
    };
    let variables = known.map_or_else(|| emulator.enroll(DEVICE).map(|it| it.vars()), Ok);
    variables.map(cloud::owned).map_err(|error| Failure::local_with_causes(&error))
}

const DEVICE: &str = "dev-1";

/// Beside an admin address that others may reach.
const OPEN: &str = "\n  Whoever reaches that address owns this emulator: it asks for no password.";

/// The logins of the service's side.
fn operator(emulator: &Emulator) -> Vec<(String, String)> {
    let ready = emulator.ready();
    let hub = ready.hubs.first().and_then(|it| emulator.hub_connection_string(it));
    let logins = [
        (crate::DPS_LOGIN, Some(emulator.dps_connection_string())),
        (crate::HUB_LOGIN, hub),
        (crate::EMULATOR_ADMIN, Some(ready.admin)),
    ];
    logins.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
