//! `hubward device c2d`: receives cloud-to-device messages.

use clap::{Args, Subcommand};
use hubward::CloudMessages;
use tokio::time::Instant;

use super::EndArgs;
use super::connection::{Connection, ConnectionArgs, ended};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{DeviceEvent, Output};
use crate::stop::Stop;

/// Maximum number of uncompleted messages: messages that the hub has sent to the device, and that the device has not
/// completed. At this number, the hub sends the next message only after the device has completed one.
///
/// Source: `[sdk]` Azure/iotedge, edge-hub settings; for the cloud a `[guess]`.
const UNCOMPLETED_MAX: u64 = 16;

#[derive(Debug, Subcommand)]
pub(crate) enum C2dCommand {
    /// Print each message, then complete it.
    Receive(Box<ReceiveArgs>),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward device c2d receive --count 1
  hubward device c2d receive --for 1h --output json

A module (a connection string with ModuleId) receives the messages that other modules send to its
inputs. The command completes a message after it was written to stdout. With --no-complete the hub
keeps the messages and delivers them again. A hub sends at most 16 messages that are not completed,
so the command prints no more than that.")]
pub(crate) struct ReceiveArgs {
    /// Number of messages after which the command ends.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Do not complete the messages; the hub delivers them again.
    #[arg(long)]
    no_complete: bool,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: &ReceiveArgs, output: &Output) -> Result<ExitCode, Failure> {
    if args.no_complete && args.count.is_some_and(|it| it > UNCOMPLETED_MAX) {
        return Err(Failure::usage(format!("--no-complete --count: at most {UNCOMPLETED_MAX}"))
            .hint("use a smaller count: a hub sends no more messages until one is completed"));
    }
    let connection = args.connection.read()?;
    receive(&connection, args, output).await
}

async fn receive(connection: &Connection, args: &ReceiveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let online = stop.or_interrupt(connection.open(output)).await?;
    let since = Instant::now();
    let mut inbox = if connection.is_module() { online.client.inputs()? } else { online.client.cloud_messages()? };
    let mut counts = Counts::default();
    tokio::select! {
        biased;
        () = args.end.reached(since, &mut stop, output) => {}
        shown = show(&mut inbox, args, &mut counts, output) => shown?,
    }
    let Counts { received, completed } = counts;
    Ok(online.finish(&[("received", received), ("completed", completed)], output).await)
}

#[derive(Debug, Default)]
struct Counts {
    received: u64,
    completed: u64,
}

/// Prints at most `--count` messages. Completes each message after its text is written, unless `--no-complete` is
/// given.
async fn show(
    inbox: &mut CloudMessages,
    args: &ReceiveArgs,
    counts: &mut Counts,
    output: &Output,
) -> Result<(), Failure> {
    // The messages that the command has received, but not completed. Keep each message until the command ends. If the
    // command dropped a message earlier, the hub would deliver it again, and the command would print it twice.
    let mut kept = Vec::new();
    while args.count.is_none_or(|it| counts.received < it) {
        if kept.len() as u64 == UNCOMPLETED_MAX {
            // With `--no-complete`, the command completes no message, so the hub sends no further message. Wait for
            // Ctrl-C or the end of `--for`.
            return std::future::pending().await;
        }
        let message = inbox.next().await.map_err(ended)?;
        counts.received += 1;
        let number = counts.received;
        output.tell_device_event(&DeviceEvent::Received { number, message: message.message() }).await;
        if args.no_complete {
            let left = DeviceEvent::Left { number, reason: "not completed because of --no-complete" };
            output.tell_device_event(&left).await;
            kept.push(message);
            continue;
        }
        output.written().await?;
        match message.complete().await {
            Ok(()) => {
                counts.completed += 1;
                output.tell_device_event(&DeviceEvent::Completed { number }).await;
            }
            Err(error) => output.tell_device_event(&DeviceEvent::Left { number, reason: &error.to_string() }).await,
        }
    }
    Ok(())
}
