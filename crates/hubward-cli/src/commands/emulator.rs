//! `hubward emulator`: a local DPS and IoT Hub until Ctrl-C.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use hubward_emulator::{Builder, Emulator, SERVICE_RETRY_AFTER, Seed};
use serde_json::{Value, json};

use crate::cloud::{self, Shell};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Outcome, Output};
use crate::stop::Stop;

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
    start: StartArgs,
}

#[derive(Debug, Subcommand)]
enum EmulatorCommand {
    /// Print the lines that make a shell use the emulator that runs with this data directory.
    #[command(after_help = "Examples:
  eval \"$(hubward emulator env --shell sh)\"
  hubward emulator env --shell pwsh | Out-String | Invoke-Expression")]
    Env {
        /// Which shell.
        #[arg(long, default_value = if cfg!(windows) { "pwsh" } else { "sh" })]
        shell: Shell,
        /// The data directory that the emulator was started with. [env: HUBWARD_DATA_DIR]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct StartArgs {
    /// Where the certificate authority is kept [env: HUBWARD_DATA_DIR] [default: a folder of this
    /// user's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A JSON file of enrollments and groups, in the service's own model; applied at each start.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// A well-known enrollment group, so that any registration id works. Loopback only.
    #[arg(long)]
    dev_keys: bool,
    /// Port of MQTT over TLS; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtt_port: u16,
    /// Port of HTTPS and MQTT over WebSocket; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,
    /// Port of the plain-HTTP admin listener, on loopback; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8480)]
    admin_port: u16,
    /// HTTPS and WebSocket on 443, where Microsoft's SDKs look for them. May need root.
    #[arg(long, conflicts_with = "https_port")]
    standard_ports: bool,
    /// Host name of a hub; may be repeated [default: localhost]
    #[arg(long, value_name = "NAME")]
    hub: Vec<String>,
    /// One more name that certificates are made for; may be repeated.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// The id scope of the DPS instance.
    #[arg(long, value_name = "SCOPE")]
    id_scope: Option<String>,
    /// Listen on this address instead of loopback; may be repeated. Anybody who reaches it can use it.
    #[arg(long, value_name = "ADDRESS")]
    bind: Vec<IpAddr>,
    /// What DPS asks devices to wait between questions.
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    retry_after: Option<Duration>,
}

pub(crate) async fn run(args: &EmulatorArgs, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        Some(EmulatorCommand::Env { shell, data_dir }) => env(data_dir.as_deref(), *shell, output),
        None => serve(&args.start, output).await,
    }
}

async fn serve(args: &StartArgs, output: &Output) -> Result<ExitCode, Failure> {
    let data_dir = data_dir(args.data_dir.as_deref())?;
    let seed = args.seed.as_deref().map(read_seed).transpose()?;
    let emulator = builder(args, &data_dir, seed.as_ref()).start().await.map_err(cloud::not_started)?;
    let variables = device(&emulator, args.dev_keys, seed.as_ref())?;
    let mut stop = Stop::listen()?;
    let note = ReadyFile::write(&data_dir, &emulator, &variables)?;
    if output.is_text() {
        let ready = emulator.ready();
        output.line(&format!(
            "A local Azure DPS and IoT Hub (not Microsoft's), until Ctrl-C\n  \
             MQTT on port {}, HTTPS and WebSocket on port {}\n  admin at {}\n  CA file {}\n\n\
             In a second shell:\n\n{}\n",
            emulator.mqtt_addr().port(),
            emulator.https_addr().port(),
            ready.admin,
            ready.ca_file.display(),
            cloud::block(&variables, Shell::here())
        ));
    } else {
        output.ready(&note.content);
        output.tell(&Event::Device { variables: &variables });
    }
    stop.heard().await;
    drop(note);
    emulator.shutdown().await;
    Ok(ExitCode::Ok)
}

fn read_seed(file: &Path) -> Result<Seed, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("the seed {} cannot be read: {error}", file.display())))?;
    Seed::from_json(&text).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn builder(args: &StartArgs, data_dir: &Path, seed: Option<&Seed>) -> Builder {
    let mut builder = Emulator::builder()
        .mqtt_port(args.mqtt_port)
        .https_port(if args.standard_ports { 443 } else { args.https_port })
        .admin_port(args.admin_port)
        .data_dir(data_dir)
        .names(&args.name)
        .dev_keys(args.dev_keys)
        .retry_after(Some(args.retry_after.unwrap_or(SERVICE_RETRY_AFTER)));
    if !args.hub.is_empty() {
        builder = builder.hubs(&args.hub);
    }
    if let Some(id_scope) = &args.id_scope {
        builder = builder.id_scope(id_scope);
    }
    if !args.bind.is_empty() {
        builder = builder.bind(args.bind.iter().copied());
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
    let variables = match seeded {
        Some(id) => emulator.vars(id),
        None if has_group => emulator.vars(DEVICE),
        None => emulator.enroll(DEVICE).map(|it| it.vars()),
    };
    variables.map(cloud::owned).map_err(|error| Failure::local_with_causes(&error))
}

const DEVICE: &str = "dev-1";

/// What `emulator env` reads: written when everything listens, gone when it ends.
struct ReadyFile {
    path: PathBuf,
    content: Value,
}

impl ReadyFile {
    fn write(data_dir: &Path, emulator: &Emulator, variables: &[(String, String)]) -> Result<Self, Failure> {
        let path = data_dir.join("ready.json");
        let content = serde_json::to_value(emulator.ready()).map_err(|error| Failure::local(error.to_string()))?;
        let note = json!({ "ready": content, "variables": variables });
        write_private(&path, note.to_string().as_bytes())
            .map_err(|error| Failure::local(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Self { path, content })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // It says that an emulator runs; that ends here. Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// There is a device's key in it: for this user only.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

fn env(data_dir: Option<&Path>, shell: Shell, output: &Output) -> Result<ExitCode, Failure> {
    let data_dir = self::data_dir(data_dir)?;
    let path = data_dir.join("ready.json");
    let none = || Failure::local(format!("no emulator runs with the data directory {}", data_dir.display()));
    let text = std::fs::read(&path).map_err(|_| none().hint("start one: hubward emulator"))?;
    let note: Value = serde_json::from_slice(&text).map_err(|_| none())?;
    let variables: Vec<(String, String)> = serde_json::from_value(note["variables"].clone()).map_err(|_| none())?;
    // One that was killed leaves its note behind.
    if !answers(note["ready"]["admin"].as_str().unwrap_or_default()) {
        return Err(none().hint("start one: hubward emulator"));
    }
    if output.is_text() {
        output.line(&cloud::block(&variables, shell));
    } else {
        output.tell(&Event::Device { variables: &variables });
        output.tell(&Event::Result { outcome: &Outcome::default() });
    }
    Ok(ExitCode::Ok)
}

/// The data directory as a whole path: the lines to paste name files in it, and the shell they are
/// pasted into may stand elsewhere.
fn data_dir(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = chosen.map_or_else(default_data_dir, |it| Ok(it.to_owned()))?;
    std::path::absolute(&folder).map_err(|error| Failure::local(format!("where is {}? {error}", folder.display())))
}

/// Whether somebody listens at the admin address of a note.
fn answers(admin: &str) -> bool {
    let address = admin.strip_prefix("http://").and_then(|it| it.parse().ok());
    address.is_some_and(|it| std::net::TcpStream::connect_timeout(&it, Duration::from_secs(2)).is_ok())
}

/// A folder of this user's that survives reboots.
fn default_data_dir() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(chosen) = folder("HUBWARD_DATA_DIR") {
        return Ok(chosen);
    }
    folder("XDG_DATA_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
        .map(|base| base.join("hubward").join("emulator"))
        .ok_or_else(|| Failure::usage("there is no home directory").hint("choose one: --data-dir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_paste_work_in_any_folder() {
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(data_dir(Some(Path::new("cloud"))).ok(), Some(here.join("cloud")));
        let whole = here.join("elsewhere");
        assert_eq!(data_dir(Some(&whole)).ok(), Some(whole));
    }
}
