//! `hubward emulator status|export|import|reset`: these commands use a running emulator, or a data directory.

use std::path::{Path, PathBuf};

use clap::Args;
use hubward_emulator::{Emulator, Seed};
use hubward_service::{AdminPort, Method, RawValue, ServiceError};
use serde_json::{Value, json};

use super::private_file::write_private;
use crate::cloud;
use crate::confirm::confirm;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::{AdminArgs, Running, data_dir};
use crate::output::{Answer, Column, Event, Output};

/// The order of the columns is a documented interface: see docs/cli.md.
const HUBS: &[Column] = &[
    ("Hub", "/hub"),
    ("Devices", "/devices"),
    ("Modules", "/modules"),
    ("Connected", "/connected"),
    ("Telemetry", "/telemetry"),
];

/// The order of the columns is a documented interface: see docs/cli.md.
const REPORT: &[Column] = &[("Created", "/created"), ("Updated", "/updated"), ("Unchanged", "/unchanged")];

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    at: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// File for the export, readable by you only [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    at: StateArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Export or seed of at most 64 MiB; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    at: StateArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    at: StateArgs,
}

/// Options that select the state: a running emulator or a data directory.
#[derive(Debug, Args)]
struct StateArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Hub of the data directory, if no emulator runs [default: localhost]
    ///
    /// Repeat the option for several hubs, or separate them by commas.
    #[arg(long, value_name = "NAME", env = "HUBWARD_HUBS", value_delimiter = ',')]
    hub: Vec<String>,
}

/// The emulator that a command uses. It is a running emulator with its URL, or an emulator that this command has
/// started with a data directory.
enum StateSource {
    Running(AdminPort, String),
    DataDir(Emulator, PathBuf),
}

impl StateArgs {
    /// Selects the emulator that `--admin` or `HUBWARD_EMULATOR_ADMIN` names. If neither is given, selects the emulator
    /// that runs with the data directory.
    ///
    /// If no emulator runs with the data directory, starts one with it. Returns an error if the directory contains no
    /// state.
    async fn source(&self) -> Result<StateSource, Failure> {
        if let Some((port, url)) = self.admin.named()? {
            return Ok(StateSource::Running(port, url));
        }
        let folder = data_dir(self.admin.data_dir.as_deref())?;
        if let Some(running) = Running::with(&folder) {
            let port = AdminArgs::at(&running.admin)?;
            if uses_data_dir(&port, &folder).await {
                return Ok(StateSource::Running(port, running.admin));
            }
        }
        if !folder.join("state.redb").exists() {
            let message =
                format!("the data directory {} contains no state, and no emulator runs with it", folder.display());
            return Err(Failure::local(message).hint(
                "start an emulator: hubward emulator; or name the admin port of a running one: --admin URL; or name \
                 another data directory: --data-dir DIR",
            ));
        }
        let mut builder = Emulator::builder().data_dir(&folder);
        if !self.hub.is_empty() {
            builder = builder.hubs(&self.hub);
        }
        // This emulator listens on free ports of loopback until the command ends.
        let emulator = builder.start().await.map_err(cloud::not_started)?;
        Ok(StateSource::DataDir(emulator, folder))
    }
}

/// Returns whether the emulator at this port uses this data directory.
///
/// The port comes from `ready.json`, which may be out of date. If an emulator is killed, this file stays. Another
/// emulator may use the port later.
async fn uses_data_dir(port: &AdminPort, folder: &Path) -> bool {
    let status = port.call::<Value>(Method::GET, "/api/status").await.unwrap_or_default();
    let same = |file: &str| Some(Path::new(file).canonicalize().ok()? == folder.join("ca.pem").canonicalize().ok()?);
    status.pointer("/emulator/caFile").and_then(Value::as_str).and_then(same).unwrap_or_default()
}

pub(super) async fn status(args: &StatusArgs, output: &Output) -> Result<ExitCode, Failure> {
    let body: Box<RawValue> = args.at.port()?.call(Method::GET, "/api/status").await.map_err(failed_call)?;
    let status: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let hubs = status["hubs"].as_array().cloned().unwrap_or_default();
    let answer = Answer::with_rows(body.get(), &hubs, HUBS).text(described(&status));
    output.answer(&answer).await
}

fn described(status: &Value) -> String {
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    };
    let mut lines = vec![
        format!("hubward emulator {}, since {}", text("/emulator/version"), text("/started")),
        format!("  portal and admin API  {}", text("/emulator/admin")),
        format!("  MQTT                  {}", text("/emulator/mqtt")),
        format!("  HTTPS and WebSocket   {}", text("/emulator/https")),
        format!("  CA file               {}", text("/emulator/caFile")),
        format!("  ID scope              {}", text("/emulator/idScope")),
        format!("  names                 {}", text("/emulator/names")),
        format!(
            "  DPS                   {}, {}, {}",
            many(status.pointer("/dps/enrollments"), "enrollment"),
            many(status.pointer("/dps/enrollmentGroups"), "enrollment group"),
            many(status.pointer("/dps/registrations"), "registration")
        ),
    ];
    for hub in status["hubs"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  hub {:<17} {} and {}, {} connected, {} of telemetry",
            hub["hub"].as_str().unwrap_or_default(),
            many(hub.get("devices"), "device"),
            many(hub.get("modules"), "module"),
            hub["connected"],
            many(hub.get("telemetry"), "message")
        ));
    }
    let ahead = status["clockAheadSeconds"].as_u64().unwrap_or_default();
    if ahead > 0 {
        lines.push(format!("  clock                 {ahead} s ahead"));
    }
    if let Some(faults) = status["faults"].as_u64().filter(|it| *it > 0) {
        lines.push(format!("  {} to come", many(Some(&faults.into()), "scripted fault")));
    }
    lines.join("\n")
}

/// Returns the number with the name of the thing, such as `1 device` or `2 devices`.
fn many(count: Option<&Value>, thing: &str) -> String {
    let count = count.and_then(Value::as_u64).unwrap_or_default();
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

pub(super) async fn export(args: &ExportArgs, output: &Output) -> Result<ExitCode, Failure> {
    let state = match args.at.source().await? {
        StateSource::Running(port, _) => {
            let body: Box<RawValue> = port.call(Method::GET, "/api/export").await.map_err(failed_call)?;
            serde_json::from_str(body.get()).map_err(|error| Failure::local(error.to_string()))?
        }
        StateSource::DataDir(emulator, _) => {
            let state = json!(emulator.export());
            emulator.shutdown().await;
            state
        }
    };
    // Indent the JSON. Users read this file, and keep it under version control.
    let text = format!("{state:#}\n");
    match &args.file {
        None if output.is_text() => output.exact(text.trim_end().to_owned()).await,
        None => output.exact(state.to_string()).await,
        Some(file) => {
            write_private(file, text.as_bytes()).map_err(|error| match error.kind() {
                // The file is a pipe, such as /dev/stdout.
                std::io::ErrorKind::BrokenPipe => Failure::unwritten(error),
                _ => Failure::local(format!("{} cannot be written: {error}", file.display())),
            })?;
            output.tell(&Event::Value { name: "file", value: &file.display().to_string() }).await;
        }
    }
    Ok(ExitCode::Ok)
}

pub(super) async fn import(args: &ImportArgs, output: &Output) -> Result<ExitCode, Failure> {
    let text = crate::input::state_text("the export", &args.file)?;
    let seed = Seed::from_json(&text).map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    let report = match args.at.source().await? {
        StateSource::Running(port, _) => {
            let call = port.call::<Box<RawValue>>(Method::POST, "/api/import").json(&seed);
            call.await.map_err(failed_call)?.get().to_owned()
        }
        StateSource::DataDir(emulator, _) => {
            let report = emulator.import(&seed).map_err(|error| Failure::of_arguments(&error))?;
            flush_and_end(emulator).await?;
            json!(report).to_string()
        }
    };
    let counts: Value = serde_json::from_str(&report).unwrap_or_default();
    let of = |name: &str| counts[name].as_u64().unwrap_or_default();
    let text = format!("{} created, {} updated, {} unchanged", of("created"), of("updated"), of("unchanged"));
    output.answer(&Answer::with_rows(report, std::slice::from_ref(&counts), REPORT).text(text)).await
}

pub(super) async fn reset(args: &ResetArgs, output: &Output) -> Result<ExitCode, Failure> {
    let source = args.at.source().await?;
    let of = match &source {
        StateSource::Running(_, url) => format!("the emulator at {url}"),
        StateSource::DataDir(_, folder) => format!("the data directory {}", folder.display()),
    };
    let question = format!("This deletes all enrollments, devices, twins, messages and telemetry of {of}. Continue?");
    confirm(&question, args.yes)?;
    match source {
        StateSource::Running(port, _) => {
            let done = port.call::<Box<RawValue>>(Method::POST, "/api/reset").await.map_err(failed_call)?;
            drop(done);
        }
        StateSource::DataDir(emulator, _) => {
            emulator.reset().map_err(|error| Failure::local_with_causes(&error))?;
            flush_and_end(emulator).await?;
        }
    }
    if output.is_text() {
        output.line(&format!("reset {of}")).await;
    } else {
        output.tell(&Event::Value { name: "reset", value: &of }).await;
    }
    Ok(ExitCode::Ok)
}

/// Waits until the changed state is on disk, and stops the emulator. Returns an error if the state cannot be written.
async fn flush_and_end(emulator: Emulator) -> Result<(), Failure> {
    let flushed = emulator.flush().await;
    emulator.shutdown().await;
    flushed.map_err(|error| Failure::local_with_causes(&error))
}

fn failed_call(error: ServiceError) -> Failure {
    AdminArgs::absent(error.into())
}
