//! `hubward device twin`: reads the twin, reports properties, follows the desired properties.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::EndArgs;
use super::connection::{Connection, ConnectionArgs, ended};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::{DeviceEvent, Output};
use crate::stop::Stop;

#[derive(Debug, Subcommand)]
pub(crate) enum TwinCommand {
    /// Show the desired and the reported properties.
    Show(Box<ShowArgs>),
    /// Change the reported properties.
    Report(Box<ReportArgs>),
    /// Show the desired properties now and after each change.
    Watch(Box<WatchArgs>),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hubward device twin show --output json")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward device twin report '{\"firmware\": \"2.1\", \"obsolete\": null}'
  hubward device twin report --file state.json

The hub merges objects; null removes a member. The command refuses a report that a hub would not
accept before it connects.")]
pub(crate) struct ReportArgs {
    /// Change of the reported properties, a JSON object.
    #[arg(value_name = "JSON", required_unless_present = "file")]
    json: Option<String>,
    /// File with the JSON object; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  hubward device twin watch --for 1h --output json

After a reconnect, the command shows the changes that were made in the meantime. If changes follow each other quickly,
the command may show several changes as one. The version grows, except after the twin is deleted and created again.")]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(command: &TwinCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        TwinCommand::Show(args) => {
            let connection = args.connection.read()?;
            Stop::listen()?.or_interrupt(show(&connection, output)).await
        }
        TwinCommand::Report(args) => {
            let patch = args.patch()?;
            let connection = args.connection.read()?;
            Stop::listen()?.or_interrupt(report(&connection, &patch, output)).await
        }
        TwinCommand::Watch(args) => {
            let connection = args.connection.read()?;
            watch(&connection, &args.end, output).await
        }
    }
}

impl ReportArgs {
    fn patch(&self) -> Result<Map<String, Value>, Failure> {
        if let Some(text) = &self.json {
            return input::json("the report", text).and_then(|it| input::patch("the report", it));
        }
        let file = self.file.as_deref().ok_or_else(|| Failure::usage("no report is given"))?;
        if file.as_os_str() == "-" && self.connection.reads_stdin() {
            return Err(Failure::usage("standard input holds the key, so it cannot hold the report too")
                .hint("read the key from a file, or give the report as an argument"));
        }
        input::json_file("the report", file).and_then(|it| input::patch("the report", it))
    }
}

async fn show(connection: &Connection, output: &Output) -> Result<ExitCode, Failure> {
    let online = connection.open(output).await?;
    let twin = online.client.twin().await.map_err(|error| online.failed(error))?;
    output.tell_device_event(&DeviceEvent::Twin(&twin)).await;
    Ok(online.finish(&[], output).await)
}

async fn report(connection: &Connection, patch: &Map<String, Value>, output: &Output) -> Result<ExitCode, Failure> {
    let online = connection.open(output).await?;
    let reported = online.client.report(patch).await.map_err(|error| online.failed(error))?;
    output.tell_device_event(&DeviceEvent::Reported(reported.version)).await;
    Ok(online.finish(&[], output).await)
}

async fn watch(connection: &Connection, end: &EndArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let online = stop.or_interrupt(connection.open(output)).await?;
    let since = Instant::now();
    let mut desired = online.client.desired()?;
    let mut changes = 0;
    let watching = async {
        loop {
            let properties = desired.changed().await.map_err(|reason| online.failed(ended(reason)))?;
            changes += 1;
            output.tell_device_event(&DeviceEvent::Desired(&properties)).await;
        }
    };
    tokio::select! {
        biased;
        () = end.reached(since, &mut stop, output) => {}
        failed = watching => return failed,
    }
    Ok(online.finish(&[("desired", changes)], output).await)
}
